#!/usr/bin/python

# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cutover_window
short_description: Turn a single sequencer and its followers into a cluster, in one step on all members
version_added: 0.1.0
author: The evnode.sequencer_ha authors (@evnode)
description:
  - Runs on all members at once, in one task. On each host it starts a transient unit of systemd that carries the window
    through without the controller, follows it, and returns its receipt.
  - The coordinator is the member that produces blocks. It waits for the others, stops right after a block, has the
    others prove that they hold the same block, and decides by one atomic rename. Until that rename the single
    sequencer comes back whatever happens; after it, only a member of the cluster.
  - C(docs/protocol.md) of the collection describes states and messages.
notes:
  - The receipt says how the window ended; the task fails only where a window could not be started or was not found.
  - Called again with the same O(run) it finds the window, or its receipt, and starts nothing.
extends_documentation_fragment:
  - evnode.sequencer_ha._attributes
  - evnode.sequencer_ha._attributes.actiongroup
attributes:
  check_mode:
    support: partial
    details:
      - In check mode the host's readiness is looked at, and no window is started.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  role:
    description: V(coordinator) on the sequencer, V(participant) on all other members.
    type: str
    choices: [coordinator, participant]
    required: true
  member:
    description: Raft node id of this host.
    type: str
    required: true
  members:
    description: All members of the cluster, this host included.
    type: list
    elements: dict
    required: true
    suboptions:
      node_id:
        description: Raft node id.
        type: str
        required: true
      address:
        description: Raft address as V(IP:port).
        type: str
        required: true
      voter:
        description: Whether the member counts for the quorum.
        type: bool
        default: true
  key:
    description: One-time key of this run, the same on all members, 32 random bytes or more as text.
    type: str
    required: true
  run:
    description: Name of this run, new for each attempt.
    type: str
    required: true
  seed:
    description:
      - How the joiners got their store.
      - V(follow) for joiners that follow the chain when the window opens (copied and then following, too).
      - V(copy) for joiners whose last copy is made inside the window.
    type: str
    choices: [follow, copy]
    default: follow
  require_all:
    description: Whether all participants have to acknowledge, or a quorum is enough.
    type: bool
    default: true
  max_lag:
    description: Blocks that a follower may be behind when the window freezes the sequencer.
    type: int
    default: 3
  unit:
    description: Name of the node's unit, without the suffix C(.service).
    type: str
    required: true
  config_dir:
    description: Directory that holds C(<unit>/current).
    type: path
    default: /etc/evnode-ha
  state_dir:
    description: Directory that holds C(<unit>/journal.jsonl) and the receipt.
    type: path
    default: /var/lib/evnode-ha
  rpc_address:
    description: RPC of this host's node as V(host:port), reachable on this host.
    type: str
    required: true
  raft_address:
    description: Raft address of the coordinator as V(IP:port); the coordinator listens there until the commit.
    type: str
    required: true
  raft_dir:
    description: Raft directory of this member.
    type: path
    required: true
  store_paths:
    description: Directories of the node's databases; after the stop no process may hold a file below them.
    type: list
    elements: path
    required: true
  closed_ports:
    description: TCP ports on which nothing may listen after the stop (RPC, P2P).
    type: list
    elements: int
    default: []
  execution_rpc:
    description:
      - JSON-RPC of the node's execution client, which has to be at the last block like its node before anything is
        committed; empty for a chain without one.
    type: str
  intake_ports:
    description:
      - TCP ports of clients, closed on the coordinator before the freeze, opened at the first cluster block or after an
        abort.
    type: list
    elements: int
    default: []
  scrape_interval:
    description: Seconds in which the node moves accepted transactions into its queue (C(node.scrape_interval)).
    type: float
    default: 1.0
  block_time:
    description: Seconds between two blocks.
    type: float
    default: 1.0
  copy:
    description:
      - For O(seed=copy). On the coordinator C(roots) and C(exclude); on a participant C(source) (C(address), C(port),
        C(host_key)), C(roots), C(key), C(owner), C(group), C(exclude) and C(bandwidth), as in
        M(evnode.sequencer_ha.store_pull).
    type: dict
    default: {}
  fingerprints:
    description:
      - Short names and values that have to be equal on all members, such as genesis, proposer, namespaces and binary.
    type: dict
    default: {}
  limits:
    description: Seconds that the parts may take.
    type: dict
    default: {}
    suboptions:
      arm:
        description: Until all participants are armed.
        type: float
        default: 60
      freeze:
        description: Until a new block has appeared.
        type: float
        default: 30
      stop:
        description: Until a stopping unit has ended.
        type: float
        default: 45
      agree:
        description: From the stop to the commit; what a failed window costs the chain at most.
        type: float
        default: 10
      hold:
        description:
          - How long a participant waits, stopped, for a commit or for proof of it. At least twice O(limits.agree).
        type: float
        default: 60
      health:
        description: Until the first block of the cluster is in this member's store.
        type: float
        default: 60
"""

EXAMPLES = r"""
- name: Turn the sequencer into a cluster
  evnode.sequencer_ha.cutover_window:
    role: "{{ 'coordinator' if member_is_sequencer else 'participant' }}"
    member: "{{ member_node_id }}"
    members: "{{ cluster_members }}"
    key: "{{ cutover_key }}"
    run: 20260101T120000Z
    unit: ev-node
    rpc_address: 127.0.0.1:7331
    raft_address: 10.0.0.1:5001
    raft_dir: /var/lib/ev-node/raft
    store_paths: [/var/lib/ev-node/data]
    closed_ports: [7331, 7676]
  no_log: true
  register: cutover_receipt
"""

RETURN = r"""
receipt:
  description: How the window ended on this host.
  returned: success
  type: dict
  contains:
    outcome:
      description:
        - V(committed), V(aborted), V(failed) (this host took no part), or V(unknown) (it heard of neither).
      type: str
    reason:
      description: Why, in words; empty where all went well.
      type: str
    n:
      description: Height of the last block of the single sequencer.
      type: int
    hash:
      description: Hash of that block, as hex.
      type: str
    parts:
      description: Seconds that the parts took, by the clock of this host.
      type: dict
    started_at:
      description: When the member's process was started, in seconds since 1970 with microseconds.
      type: float
    height:
      description: Height when the member was first seen beyond RV(receipt.n).
      type: int
    hash_next:
      description: Hash of the block after RV(receipt.n).
      type: str
    leader:
      description: Whether this member led then.
      type: bool
    healthy:
      description: Whether the member holds the first block of the cluster on top of block RV(receipt.n).
      type: bool
    problem:
      description: What was seen instead, where it is not healthy.
      type: str
"""

import json
import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evnode.sequencer_ha.plugins.module_utils._errors import HaError
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._units import RUNTIME_DIR
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._window import launch, program
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._window.host import HostError, Settings
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._window.protocol import Limits


def settings_of(params: dict) -> Settings:
    """Turn the module's options into what the window reads; HostError where they contradict each other."""
    limits = params["limits"]
    by_id = {member["node_id"]: member for member in params["members"]}
    coordinators = [member["node_id"] for member in params["members"] if member["address"] == params["raft_address"]]
    if len(by_id) != len(params["members"]) or len(coordinators) != 1:
        raise HostError(
            f"expected exactly one member with address {params['raft_address']} and no node id twice in members"
        )
    if params["member"] not in by_id:
        raise HostError(f"{params['member']} is not among the members {', '.join(sorted(by_id))}")
    if (params["member"] == coordinators[0]) != (params["role"] == "coordinator"):
        raise HostError(
            f"{params['member']} has role {params['role']}, but the coordinator of {params['raft_address']} is "
            f"{coordinators[0]}"
        )
    if limits["hold"] < 2 * limits["agree"]:
        raise HostError(
            f"limits.hold is {limits['hold']:g} s, expected at least twice limits.agree ({limits['agree']:g} s): a "
            "participant must not have gone away while its acknowledgement counts"
        )
    if limits["hold"] <= limits["stop"] + limits["agree"]:
        raise HostError(
            f"limits.hold is {limits['hold']:g} s, expected more than limits.stop and limits.agree together "
            f"({limits['stop'] + limits['agree']:g} s): the last proof of the stop may take that long before the commit"
        )
    if len(params["key"]) < 32:
        raise HostError("the one-time key is shorter than 32 characters")
    return Settings(
        run=params["run"],
        role=params["role"],
        member=params["member"],
        coordinator=coordinators[0],
        members=tuple(params["members"]),
        unit=params["unit"],
        config_dir=params["config_dir"],
        state_dir=params["state_dir"],
        run_dir=RUNTIME_DIR,
        rpc_address=params["rpc_address"],
        raft_address=params["raft_address"],
        own_raft_address=by_id[params["member"]]["address"],
        raft_dir=params["raft_dir"],
        store_paths=tuple(params["store_paths"]),
        closed_ports=tuple(params["closed_ports"]),
        seed=params["seed"],
        require_all=params["require_all"],
        max_lag=params["max_lag"],
        intake_ports=tuple(params["intake_ports"]) if params["role"] == "coordinator" else (),
        execution_rpc=params["execution_rpc"] or "",
        scrape_interval=params["scrape_interval"],
        block_time=params["block_time"],
        copy=params["copy"],
        fingerprints={str(name): _text(value) for name, value in params["fingerprints"].items()},
        limits=Limits(arm=limits["arm"], freeze=limits["freeze"], agree=limits["agree"], hold=limits["hold"]),
        stop_limit=limits["stop"],
        health=limits["health"],
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def main() -> None:
    """Entry point."""
    seconds = {"arm": 60.0, "freeze": 30.0, "stop": 45.0, "agree": 10.0, "hold": 60.0, "health": 60.0}
    module = AnsibleModule(
        argument_spec={
            "role": {"type": "str", "choices": ["coordinator", "participant"], "required": True},
            "member": {"type": "str", "required": True},
            "members": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "node_id": {"type": "str", "required": True},
                    "address": {"type": "str", "required": True},
                    "voter": {"type": "bool", "default": True},
                },
            },
            "key": {"type": "str", "required": True, "no_log": True},
            "run": {"type": "str", "required": True},
            "seed": {"type": "str", "choices": ["follow", "copy"], "default": "follow"},
            "require_all": {"type": "bool", "default": True},
            "max_lag": {"type": "int", "default": 3},
            "unit": {"type": "str", "required": True},
            "config_dir": {"type": "path", "default": "/etc/evnode-ha"},
            "state_dir": {"type": "path", "default": "/var/lib/evnode-ha"},
            "rpc_address": {"type": "str", "required": True},
            "raft_address": {"type": "str", "required": True},
            "raft_dir": {"type": "path", "required": True},
            "store_paths": {"type": "list", "elements": "path", "required": True},
            "closed_ports": {"type": "list", "elements": "int", "default": []},
            "intake_ports": {"type": "list", "elements": "int", "default": []},
            "execution_rpc": {"type": "str"},
            "scrape_interval": {"type": "float", "default": 1.0},
            "block_time": {"type": "float", "default": 1.0},
            "copy": {"type": "dict", "default": {}},
            "fingerprints": {"type": "dict", "default": {}},
            "limits": {
                "type": "dict",
                "default": {},
                "apply_defaults": True,
                "options": {name: {"type": "float", "default": value} for name, value in seconds.items()},
            },
        },
        supports_check_mode=True,
    )
    try:
        settings = settings_of(module.params)
        if module.check_mode:
            program.Window(settings).machine.check()
            module.exit_json(
                changed=True,
                receipt={"outcome": "planned", "run": settings.run, "member": settings.member, "reason": ""},
            )
        os.umask(0o077)
        started = launch.start(settings, module.params["key"])
        receipt = launch.follow(settings)
        module.exit_json(changed=started, receipt=receipt)
    except HaError as exc:
        module.fail_json(msg=exc.message)


if __name__ == "__main__":
    main()
