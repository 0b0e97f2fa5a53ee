# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""The window: how five members agree to turn one sequencer into a cluster, without ever having two writers.

``coordinator`` and ``participant`` are pure state machines (``protocol`` has what they share), ``messages`` is the
authenticated framing, ``runtime`` moves bytes and time, ``host`` does what a machine has to do, ``program`` is the
process that a transient systemd unit runs and ``launch`` is how a module starts and follows it.
"""

from __future__ import annotations
