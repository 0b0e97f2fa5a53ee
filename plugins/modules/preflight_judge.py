#!/usr/bin/python

# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight_judge
short_description: Judge everything that was read before a migration
version_added: 0.1.0
author: The evnode.sequencer_ha authors (@evnode)
description:
  - Turns what was read from the inventory, the sequencer, the hosts and the network into verdicts, each with the
    member or pair, what was expected, what was found, and what to do.
  - Collects all of them. A host that cannot be reached does not hide what others show.
  - Never fails because of a verdict. Decide from RV(blocked).
  - Runs on the controller and contacts no host.
extends_documentation_fragment:
  - evnode.sequencer_ha._attributes
  - evnode.sequencer_ha._attributes.actiongroup
  - evnode.sequencer_ha._attributes.info
options:
  sequencer:
    description: The profile that M(evnode.sequencer_ha.sequencer_info) returned; empty where it could not be read.
    type: dict
    default: {}
  hosts:
    description:
      - C(host) of M(evnode.sequencer_ha.host_info) of each member by its name; for one that gave none, the failed or
        unreachable result.
    type: dict
    required: true
  inventory:
    description: What the inventory says.
    type: dict
    required: true
    suboptions:
      members:
        description: The members, each with C(name), C(node_id), C(address), and C(peer_id) where it is known.
        type: list
        elements: dict
        required: true
      sequencer:
        description: Names of the hosts in the group of the sequencer.
        type: list
        elements: str
        required: true
      joiners:
        description: Names of the hosts in the group of the joiners.
        type: list
        elements: str
        required: true
  rtt:
    description: C(rtt) of M(evnode.sequencer_ha.rtt_info) of each member by its name.
    type: dict
    default: {}
  ports:
    description:
      - C(ports) of M(evnode.sequencer_ha.port_probe) of each member by its name. With C(opened), which says that the
        peer listened there for the probe, a refused connection is a finding; without it, it is an answer. The peer
        V(DA) is the DA node of the chain.
    type: dict
    default: {}
  outside:
    description: C(ports) of M(evnode.sequencer_ha.port_probe), tried from a host that is no member, the controller.
    type: list
    elements: dict
    default: []
  options:
    description:
      - The operator's choices. C(state) of the migration, where V(committed) and V(cluster) leave out what only
        concerns a chain that is still to be migrated; C(seed); C(raft_port); C(raft_dir); C(overrides) of
        evnode.yaml; C(timing_profile) and C(timing_overrides); C(min_free_bytes); C(max_clock_offset) in seconds;
        C(forks) of Ansible; C(application_flags) by member, where they are its own;
        C(execution_service), the unit of the execution clients where their data are copied.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Collect every finding
  evnode.sequencer_ha.preflight_judge:
    sequencer: "{{ sequencer_profile }}"
    hosts: "{{ host_facts_by_member }}"
    inventory:
      members: "{{ member_list }}"
      sequencer: "{{ groups['evnode_sequencer'] }}"
      joiners: "{{ groups['evnode_joiners'] }}"
    rtt: "{{ round_trips_by_member }}"
    options:
      seed: follow
      raft_port: 5001
  register: preflight
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
      description: The member or the pair.
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
blocked:
  description: Whether anything stands in the way.
  returned: success
  type: bool
table:
  description: The verdicts as text, worst first, the good ones counted.
  returned: success
  type: str
"""
