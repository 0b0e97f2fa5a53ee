#!/usr/bin/python

# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: run_journal
short_description: Leave a receipt in a member's journal
version_added: 0.1.0
author: The evnode.sequencer_ha authors (@evnode)
description:
  - Appends one line to the journal on the member and returns it as RV(receipt) after it has reached the disk. So a
    receipt in a registered variable means a line on that member's disk, which is what
    M(evnode.sequencer_ha.phase_gate) decides from.
  - Never put a secret in O(facts).
extends_documentation_fragment:
  - evnode.sequencer_ha._attributes
  - evnode.sequencer_ha._attributes.actiongroup
attributes:
  check_mode:
    support: full
    details:
      - In check mode the receipt is returned with RV(written=false) and nothing is written.
  diff_mode:
    support: N/A
    details:
      - A journal only grows.
  idempotent:
    support: N/A
    details:
      - Each call adds a line. It is never reported as a change, since it records the run and is no state of the host.
options:
  path:
    description: The journal file. Its directory is created with mode C(0700) if it is missing.
    type: path
    required: true
  run:
    description: Name of the run, the same on all members.
    type: str
    required: true
  event:
    description: What happened.
    type: str
    required: true
  facts:
    description: Details of the event. The names C(at), C(run) and C(event) are taken.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Leave the receipt of the preparation
  evnode.sequencer_ha.run_journal:
    path: /var/lib/evnode-ha/ev-node/journal.jsonl
    run: "{{ evnode_run }}"
    event: prepared
    facts:
      height: 4711
  register: prepared
"""

RETURN = r"""
receipt:
  description: The entry, with the time C(at) in RFC 3339, C(run), C(event) and the facts.
  returned: always
  type: dict
  sample: {at: '2026-01-01T00:00:00.000000Z', run: 20260101T000000Z, event: prepared, height: 4711}
written:
  description: Whether the entry is on disk.
  returned: always
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evnode.sequencer_ha.plugins.module_utils._errors import HaError
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._journal import append, entry_of


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "run": {"type": "str", "required": True},
            "event": {"type": "str", "required": True},
            "facts": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    path, run, event, facts = (module.params[name] for name in ("path", "run", "event", "facts"))
    try:
        receipt = entry_of(path, run, event, facts) if module.check_mode else append(path, run, event, facts)
    except HaError as exc:
        module.fail_json(msg=exc.message)
    module.exit_json(changed=False, receipt=receipt, written=not module.check_mode)


if __name__ == "__main__":
    main()
