# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not use from outside.

"""What a module of this collection promises, described once."""

from __future__ import annotations


class ModuleDocFragment:
    """Fragments a module names in ``extends_documentation_fragment``."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Reports what it would do, and does nothing, when a task runs in check mode.
  diff_mode:
    description: Shows what changed, or would change, when diff mode is on. Secrets appear as fingerprints only.
  idempotent:
    description: A second run with the same arguments, nothing having changed in between, reports no change.
"""

    ACTIONGROUP = r"""
options: {}
attributes:
  action_group:
    description: Set common options of all modules of this group once, with C(module_defaults).
    support: full
    membership:
      - evnode.sequencer_ha.sequencer_ha
"""

    INFO = r"""
options: {}
attributes:
  check_mode:
    description: Reports what it would do, and does nothing, when a task runs in check mode.
    support: full
    details:
      - This module only reads, in check mode too.
  diff_mode:
    description: Shows what changed, or would change, when diff mode is on. Secrets appear as fingerprints only.
    support: N/A
    details:
      - This module changes nothing.
  idempotent:
    description: A second run with the same arguments, nothing having changed in between, reports no change.
    support: full
    details:
      - This module never reports a change; what it returns follows the host.
"""
