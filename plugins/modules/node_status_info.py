#!/usr/bin/python

# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_status_info
short_description: Ask a node for its height, hash, role and peers
version_added: 0.1.0
author: The evnode.sequencer_ha authors (@evnode)
description:
  - Asks the node over its RPC address, best on the host itself over loopback, and the execution client where there is
    one.
  - Never fails because of the node. What is missing is V(null), and C(reasons) in RV(status) says why. A Raft member
    answers nothing at all before a leader is known.
extends_documentation_fragment:
  - evnode.sequencer_ha._attributes
  - evnode.sequencer_ha._attributes.actiongroup
  - evnode.sequencer_ha._attributes.info
options:
  rpc_address:
    description: Where the node answers, as C(host:port).
    type: str
    required: true
  unit:
    description: The node's systemd unit, to tell whether it is active.
    type: str
  raft_address:
    description: The member's Raft address as C(host:port), to tell whether it is open.
    type: str
  execution_rpc:
    description: The execution client's JSON-RPC, as a URL or C(host:port).
    type: str
  heights:
    description: Heights whose headers and hashes to return.
    type: list
    elements: int
    default: []
  timeout:
    description: Seconds to wait for each answer.
    type: float
    default: 2.0
  grow_by:
    description:
      - Blocks by which the chain has to grow before RV(status) is taken, from the height at the first look. A node that
        does not answer is taken to be at height 0.
    type: int
    default: 0
  grow_timeout:
    description: Seconds to wait for O(grow_by). After that RV(status) is what was seen last.
    type: float
    default: 60.0
"""

EXAMPLES = r"""
- name: Ask the node
  evnode.sequencer_ha.node_status_info:
    rpc_address: 127.0.0.1:7331
    unit: ev-node
    heights: [4711, 4712]
  register: member_status

- name: See whether the chain goes on
  evnode.sequencer_ha.node_status_info:
    rpc_address: 127.0.0.1:7331
    grow_by: 2
    grow_timeout: 30
  register: member_grown
"""

RETURN = r"""
earlier:
  description: What the node said at the first look, as RV(status).
  returned: when O(grow_by) is not 0
  type: dict
status:
  description: What the node said. Every value that is missing is V(null) and has its entry in C(reasons).
  returned: always
  type: dict
  contains:
    height:
      description: Height of the last block in the node's own store.
      type: int
    time:
      description: Time of that block, RFC 3339.
      type: str
    app_hash:
      description: State of the application after it, hex.
      type: str
    chain_id:
      description: Name of the chain.
      type: str
    da_height:
      description: How far the node has read the data availability layer.
      type: int
    next_proposer:
      description: Address of the key that may sign the next block, Base64.
      type: str
    head_hash:
      description: Hash of the block at C(height), hex.
      type: str
    headers:
      description: For each height asked for and present its C(hash), C(parent), C(time_ns) and C(header_digest).
      type: dict
    namespaces:
      description: The data availability namespaces in use, C(header) and C(data), hex.
      type: dict
    raft:
      description: Whether the node runs in Raft mode.
      type: bool
    leader:
      description: Whether it is the leader.
      type: bool
    node_id:
      description: Its name in the Raft cluster.
      type: str
    p2p_head:
      description: C(height) and C(hash) of the newest header the node serves to peers.
      type: dict
    da_included:
      description: Newest height that is included in the data availability layer.
      type: int
    last_submitted_header:
      description: Newest header submitted to the data availability layer.
      type: int
    last_submitted_data:
      description: Newest data submitted to the data availability layer.
      type: int
    peer_id:
      description: The node's peer id.
      type: str
    unit_active:
      description: Whether the unit is active.
      type: bool
    strays:
      description:
        - Processes of this host that run a node and do not belong to O(unit) or to the collection.
        - Each with C(pid), C(program), C(started_by) (unit or scope), C(home), C(chain_id) of the genesis there and
          C(aggregator), whether it makes blocks (V(null) where that cannot be told).
      type: list
      elements: dict
    raft_port_open:
      description: Whether the Raft address accepts connections.
      type: bool
    execution:
      description:
        - C(height) and C(hash) of the execution client's newest block, C(hashes) of the heights asked for, the heights
          C(safe) and C(finalized) that the client has been told of (V(null) before that), and C(syncing), whether it
          fetches blocks from peers instead of being driven by its node.
      type: dict
    reasons:
      description: Why a value is V(null), by its name.
      type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evnode.sequencer_ha.plugins.module_utils._errors import HaError
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._status import Questions, watch


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "rpc_address": {"type": "str", "required": True},
            "unit": {"type": "str"},
            "raft_address": {"type": "str"},
            "execution_rpc": {"type": "str"},
            "heights": {"type": "list", "elements": "int", "default": []},
            "timeout": {"type": "float", "default": 2.0},
            "grow_by": {"type": "int", "default": 0},
            "grow_timeout": {"type": "float", "default": 60.0},
        },
        supports_check_mode=True,
    )
    asked = {name: module.params[name] for name in Questions._fields}
    grow_by = module.params["grow_by"]
    try:
        earlier, status = watch(Questions(**asked), grow_by, module.params["grow_timeout"])
    except (HaError, ValueError) as exc:
        module.fail_json(msg=f"Expected addresses as host:port, found something else: {exc}")
    module.exit_json(changed=False, status=status, **({"earlier": earlier} if grow_by else {}))


if __name__ == "__main__":
    main()
