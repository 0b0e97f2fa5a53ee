#!/usr/bin/python

# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: member_settle
short_description: Restart one member of a cluster and wait until it follows again
version_added: 0.1.0
author: The evnode.sequencer_ha authors (@evnode)
description:
  - Restarts the member when its unit is down, or when its configuration is newer than its process, and waits until it
    has caught up and grows with the chain.
  - Refuses to take a member down while the others are no quorum, and never restarts the leader unless asked to.
extends_documentation_fragment:
  - evnode.sequencer_ha._attributes
  - evnode.sequencer_ha._attributes.actiongroup
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  unit:
    description: Name of the node's unit, without the suffix C(.service).
    type: str
    required: true
  member:
    description: Raft node id of this member, for messages; the unit's name where it is not given.
    type: str
    default: ""
  members:
    description: Number of voting members of the cluster, this one included.
    type: int
    required: true
  peers_healthy:
    description: How many of the other members are up and follow the chain right now.
    type: int
    required: true
  height:
    description: Height of the chain now; the member has to reach it, and to grow beyond what it shows first.
    type: int
    default: 0
  expected:
    description: A block that the member has to hold, to prove that its history is the cluster's.
    type: dict
    default: {}
    suboptions:
      height:
        description: Height of the block.
        type: int
      hash:
        description: Hash of the block, as hex.
        type: str
  restart:
    description: V(auto) restarts when it has to be, V(always) in any case, V(never) only starts a unit that is down.
    type: str
    choices: [auto, always, never]
    default: auto
  allow_leader:
    description: Whether the leader may be restarted; block production pauses until another one is elected.
    type: bool
    default: false
  rpc_address:
    description: RPC of this host's node as V(host:port), reachable on this host.
    type: str
    required: true
  config_dir:
    description: Directory that holds C(<unit>/current).
    type: path
    default: /etc/evnode-ha
  state_dir:
    description: Directory that holds C(<unit>/journal.jsonl).
    type: path
    default: /var/lib/evnode-ha
  run:
    description: Name of this run, for the journal.
    type: str
    default: "-"
  timeout:
    description: Seconds until the member has to follow again.
    type: float
    default: 90
"""

EXAMPLES = r"""
- name: Give a follower its final timings
  evnode.sequencer_ha.member_settle:
    unit: ev-node
    member: node-2
    members: 5
    peers_healthy: 4
    height: 1200
    rpc_address: 127.0.0.1:7331
  throttle: 1
"""

RETURN = r"""
height:
  description: Height of this member at the end.
  returned: success
  type: int
leader:
  description: Whether this member leads.
  returned: success
  type: bool
reason:
  description: Why it was restarted; empty where it was not.
  returned: success
  type: str
seconds:
  description: How long it took to follow again.
  returned: success
  type: float
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evnode.sequencer_ha.plugins.module_utils import _settle
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._errors import HaError


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "unit": {"type": "str", "required": True},
            "member": {"type": "str", "default": ""},
            "members": {"type": "int", "required": True},
            "peers_healthy": {"type": "int", "required": True},
            "height": {"type": "int", "default": 0},
            "expected": {
                "type": "dict",
                "default": {},
                "apply_defaults": True,
                "options": {"height": {"type": "int"}, "hash": {"type": "str"}},
            },
            "restart": {"type": "str", "choices": ["auto", "always", "never"], "default": "auto"},
            "allow_leader": {"type": "bool", "default": False},
            "rpc_address": {"type": "str", "required": True},
            "config_dir": {"type": "path", "default": "/etc/evnode-ha"},
            "state_dir": {"type": "path", "default": "/var/lib/evnode-ha"},
            "run": {"type": "str", "default": "-"},
            "timeout": {"type": "float", "default": 90.0},
        },
        supports_check_mode=True,
    )
    given = module.params
    wanted = _settle.Settle(
        unit=given["unit"],
        member=given["member"] or given["unit"],
        config_dir=given["config_dir"],
        state_dir=given["state_dir"],
        rpc_address=given["rpc_address"],
        members=given["members"],
        peers_healthy=given["peers_healthy"],
        height=given["height"],
        restart=given["restart"],
        allow_leader=given["allow_leader"],
        expected_height=given["expected"]["height"] or 0,
        expected_hash=given["expected"]["hash"] or "",
        timeout=given["timeout"],
        run_id=given["run"],
    )
    try:
        module.exit_json(**_settle.settle(wanted, check=module.check_mode)._asdict())
    except HaError as exc:
        module.fail_json(msg=exc.message)


if __name__ == "__main__":
    main()
