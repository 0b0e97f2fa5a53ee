#!/usr/bin/python

# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: phase_gate
short_description: Decide from the members' receipts whether to go on
version_added: 0.1.0
author: The evnode.sequencer_ha authors (@evnode)
description:
  - Reads the result that every member registered under one name, and says whether all of them left a receipt and agree.
  - Never fails. A play on C(localhost) decides from RV(passed), because a task that fails in a play over the members
    would leave members out of the plays that repair.
  - Runs on the controller and contacts no host.
extends_documentation_fragment:
  - evnode.sequencer_ha._attributes
  - evnode.sequencer_ha._attributes.actiongroup
  - evnode.sequencer_ha._attributes.info
options:
  receipt:
    description: Name of the variable that the members registered.
    type: str
    required: true
  members:
    description: The members that are asked, with or without an answer.
    type: list
    elements: str
    required: true
  equal:
    description: Keys of the receipts that must be there and must have the same value on all members that answered.
    type: list
    elements: str
    default: []
  quorum:
    description:
      - This many good receipts are enough. By default all members must have left one.
      - A member that answered with a different value stands in the way in any case.
    type: int
"""

EXAMPLES = r"""
- name: Compare the receipts
  evnode.sequencer_ha.phase_gate:
    receipt: cutover_prepared
    members: "{{ groups['evnode_members'] }}"
    equal: [height, hash]
  register: cutover_gate
"""

RETURN = r"""
passed:
  description: Whether to go on.
  returned: always
  type: bool
problems:
  description: A reason for every member that stands in the way or is missing.
  returned: always
  type: dict
  sample: {node-3: 'was unreachable: connection timed out'}
good:
  description: The members whose receipts are in order.
  returned: always
  type: list
  elements: str
"""
