#!/usr/bin/python

# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: chain_verify
short_description: Judge whether the chain went on as one
version_added: 0.1.0
author: The evnode.sequencer_ha authors (@evnode)
description:
  - Compares what M(evnode.sequencer_ha.node_status_info) returned on the members and gives a verdict on the seam,
    hashes, leader, lag, execution clients, times, peer ids and namespaces, each with the member, what was expected,
    what was found, and what to do.
  - Never fails because of a verdict. Decide from RV(passed).
  - Runs on the controller and contacts no host.
extends_documentation_fragment:
  - evnode.sequencer_ha._attributes
  - evnode.sequencer_ha._attributes.actiongroup
  - evnode.sequencer_ha._attributes.info
options:
  statuses:
    description: C(status) of each member by its name; for a member that gave none, the failed or unreachable result.
    type: dict
    required: true
  earlier:
    description:
      - What the members answered at an earlier moment, like O(statuses). Only a height that has grown since proves that
        blocks are made.
    type: dict
    default: {}
  seam:
    description:
      - Block N as it was before the freeze, with its height C(n) and its hash C(hash) in hex; other keys are ignored.
      - When it is empty the seam is not judged.
    type: dict
    default: {}
  window:
    description: Further heights whose hashes are compared.
    type: list
    elements: int
    default: []
  expect:
    description: Whether the members are to be a cluster or a single sequencer with followers.
    type: str
    choices: [raft, single]
    default: raft
  quorum:
    description: How many members have to answer; by default more than half.
    type: int
  max_lag:
    description: How many blocks a member may be behind the highest one.
    type: int
    default: 5
  require_all:
    description: Whether a member that gives no answer is in the way although a quorum answers.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Judge the chain
  evnode.sequencer_ha.chain_verify:
    statuses: "{{ member_statuses }}"
    seam:
      n: 4711
      hash: b7c06738a412ca24eabd2c12c1b16c75a8300ef7c7fb07d0355e9240b317be75
    window: [4712, 4713, 4714]
  register: chain
"""

RETURN = r"""
verdicts:
  description: All verdicts, worst first.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: Name of what was looked at.
      type: str
    severity:
      description: V(ok), V(warn) or V(block).
      type: str
    member:
      description: On whom.
      type: str
    expected:
      description: What should be.
      type: str
    found:
      description: What is.
      type: str
    remedy:
      description: What to do; empty for V(ok).
      type: str
passed:
  description: Whether nothing blocks.
  returned: success
  type: bool
producing:
  description: Who makes blocks, in a sentence, by what O(statuses) and O(earlier) show.
  returned: success
  type: str
  sample: "The cluster produces: node-1 leads, its height is 4715, and 5 of 5 members answer."
table:
  description: The verdicts as text, worst first, the good ones counted.
  returned: success
  type: str
"""
