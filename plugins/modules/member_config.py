#!/usr/bin/python
# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: member_config
short_description: Write what a member starts with in each mode
version_added: 0.1.0
author: The evnode.sequencer_ha authors (@evnode)
description:
  - Writes a command line (C(args.env)) and an C(evnode.yaml) for each mode below O(config_dir). Nothing that runs uses
    them before the mode is switched.
  - Mode V(single) is what the sequencer runs today, byte for byte. Mode V(follower) makes a plain full node of it, mode
    V(raft) a member.
  - Every key that the operator had stays, unknown ones too. The node's own flags move from the command line into the
    file, since a flag left behind would silently win over it. Flags of the application stay as they are.
  - Refuses, by name, what cannot work with Raft.
  - The files are made on the controller and written on the member. Secrets appear in diffs as fingerprints.
options:
  profile:
    description: The sequencer's profile, as RV(evnode.sequencer_ha.sequencer_info#module:sequencer).
    type: dict
    required: true
  base:
    description: The live C(evnode.yaml) of the sequencer, in base64. Empty where it has none.
    type: str
    required: true
  arguments:
    description:
      - The sequencer's command line after the program, in base64, as
        RV(evnode.sequencer_ha.sequencer_info#module:material).
      - Needed where the command line holds a secret, because the profile has only its fingerprint.
    type: str
    default: ''
  member:
    description: The member whose files these are.
    type: dict
    required: true
    suboptions:
      name:
        description: Name of the host.
        type: str
        required: true
      node_id:
        description: Its Raft node id.
        type: str
        required: true
      address:
        description: Its private IP address.
        type: str
        required: true
  members:
    description: All members, this one included.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the host.
        type: str
        required: true
      node_id:
        description: Its Raft node id.
        type: str
        required: true
      address:
        description: Its private IP address, which it binds and the others dial.
        type: str
        required: true
      peer_id:
        description: Its peer id.
        type: str
        required: true
      sequencer:
        description: Whether it is the sequencer of today. Exactly one is.
        type: bool
        default: false
      p2p_port:
        description: Its P2P port, where that is not the sequencer's.
        type: int
  raft_port:
    description: The port for Raft, the same on all members.
    type: int
    required: true
  raft_dir:
    description: The member's Raft directory.
    type: path
    required: true
  timings:
    description:
      - C(heartbeat_timeout), C(election_timeout), C(leader_lease_timeout) and C(send_timeout) as durations such as
        V(350ms).
    type: dict
    required: true
  trailing_logs:
    description: Log entries that are kept behind a snapshot.
    type: int
    default: 200
  snapshot_threshold:
    description: Log entries between two snapshots.
    type: int
    default: 500
  snap_count:
    description: Snapshots that are kept.
    type: int
    default: 3
  first_leader:
    description: Whether this member is to lead first. With O(stage=first) the others get long timeouts.
    type: bool
    default: false
  anchors:
    description:
      - Multiaddrs of full nodes that stay up through the cutover. With O(stage=first) they are the first leader's only
        peers.
    type: list
    elements: str
    default: []
  extra_peers:
    description: Multiaddrs of full nodes that every member is to dial besides the members.
    type: list
    elements: str
    default: []
  stage:
    description: Whether the files are for the first start of the cluster or for all later ones.
    type: str
    default: first
    choices: [first, final]
  mode_dirs:
    description: The modes to write.
    type: list
    elements: str
    default: [follower, raft]
    choices: [single, follower, raft]
  application_flags:
    description: Flags of the application on this member, in place of the sequencer's.
    type: list
    elements: str
  config_dir:
    description: Where the collection keeps a member's configuration.
    type: path
    default: /etc/evnode-ha
  overrides:
    description: Settings by dotted key, put over the sequencer's.
    type: dict
    default: {}
extends_documentation_fragment:
  - evnode.sequencer_ha._attributes
  - evnode.sequencer_ha._attributes.actiongroup
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
requirements:
  - netaddr (on the controller)
seealso:
  - module: evnode.sequencer_ha.sequencer_info
  - module: evnode.sequencer_ha.mode_switch
"""

EXAMPLES = r"""
- name: Stage the member's files
  evnode.sequencer_ha.member_config:
    profile: "{{ sequencer }}"
    base: "{{ material.base }}"
    arguments: "{{ material.arguments }}"
    member: {name: node-2, node_id: node-2, address: 10.0.0.2}
    members: "{{ members }}"
    raft_port: 5001
    raft_dir: /var/lib/ev-node-raft
    timings: {heartbeat_timeout: 350ms, election_timeout: 1000ms, leader_lease_timeout: 175ms, send_timeout: 200ms}
"""

RETURN = r"""
files:
  description: Every file that belongs to the modes asked for.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: The file.
      type: str
    changed:
      description: Whether it was written, or would be.
      type: bool
arguments:
  description: The command line after the program, by mode. Secret values are fingerprints.
  returned: success
  type: dict
seal_arguments:
  description: The command line that starts the member in Raft mode over the follower's file, to seal its membership.
  returned: success
  type: list
  elements: str
conflicts:
  description: What of the old command line could not stay as it was, each with C(flag), C(value) and C(remedy).
  returned: success
  type: list
  elements: dict
"""
