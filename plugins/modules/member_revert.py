#!/usr/bin/python

# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: member_revert
short_description: Take one member back to what it was before the cutover
version_added: 0.1.0
author: The evnode.sequencer_ha authors (@evnode)
description:
  - Rollback in phases. V(stop) has to be complete on all members before V(hold) begins on any, V(hold) on all members
    (and with a quorum of joiners held) before V(clean) on the sequencer, and that before V(clean) on a joiner. A
    member is started, V(start), when it is clean.
  - V(stop) stops window and node. V(hold) takes a joiner out of the cluster and leaves a unit behind that brings it
    back if the sequencer answers as a Raft member. V(clean) turns the switch back, empties the Raft directory, forgets
    the seal and disables a joiner's unit. V(start) lifts the fence, starts the single sequencer, or the follower, and
    opens the intake. V(resume) takes V(stop) back. V(release) stops and cleans a joiner that is held, and no other.
  - The module cannot know what the other members hold. The caller proves that no block is lost.
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
  phase:
    description: What to do.
    type: str
    choices: [stop, hold, clean, start, resume, release]
    required: true
  role:
    description: V(sequencer) on the member that produced before, V(joiner) on the others.
    type: str
    choices: [sequencer, joiner]
    required: true
  follow:
    description:
      - Whether a joiner follows the chain afterwards, where it has a follower's configuration. Otherwise its switch is
        taken away and it cannot start.
    type: bool
    default: true
  unit:
    description: Name of the node's unit, without the suffix C(.service).
    type: str
    required: true
  raft_dir:
    description: Raft directory.
    type: path
    required: true
  rpc_address:
    description:
      - RPC of this host's node as V(host:port). With O(phase=start) to wait until it goes on, with O(phase=stop) and
        O(block_time) to stop a member of the cluster right after a block.
    type: str
    default: ""
  block_time:
    description:
      - For O(phase=stop), the chain's block time in seconds. The stop of a member of the cluster then waits up to 1.2
        block times and 0.2 s, five seconds at most, for the next block. A member that is stopped between the agreement
        on a block and its own commit of it would make that block again, were it to lead after the next start. 0 means
        to stop at once.
    type: float
    default: 0
  above:
    description: For O(phase=start) on the sequencer, the height above which it has to produce.
    type: int
    default: 0
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
  resume_after:
    description:
      - Seconds after which a member of the cluster that ran before O(phase=stop) starts again by itself, unless it is
        held, cleaned or resumed before. A clean sequencer does so after five seconds at most. A held joiner has no such
        time, it goes by what the sequencer does. 0 means never, for all of them, and takes back what an earlier run has
        asked for.
    type: float
    default: 0
  node_id:
    description: For O(phase=hold) on a joiner, its Raft node id.
    type: str
    default: ""
  leader:
    description: For O(phase=hold) on a joiner, the Raft node id of the sequencer.
    type: str
    default: ""
  leader_address:
    description: For O(phase=hold) on a joiner, the Raft address of the sequencer as V(host:port).
    type: str
    default: ""
  timeout:
    description: Seconds until the sequencer has to produce again.
    type: float
    default: 60
"""

EXAMPLES = r"""
- name: Stop the member
  evnode.sequencer_ha.member_revert:
    phase: stop
    role: joiner
    unit: ev-node
    raft_dir: /var/lib/ev-node/raft
"""

RETURN = r"""
changes:
  description: What was done, or would be.
  returned: success
  type: list
  elements: str
state:
  description:
    - What is now. C(active) after V(stop), C(held) after V(hold), C(mode) and C(last_index) after V(clean), C(height)
      after V(start).
  returned: success
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evnode.sequencer_ha.plugins.module_utils import _revert
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._errors import HaError
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._units import RUNTIME_DIR

PHASES = {
    "stop": _revert.stop,
    "hold": _revert.hold,
    "clean": _revert.clean,
    "start": _revert.start,
    "resume": _revert.resume,
    "release": _revert.release,
}


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "phase": {"type": "str", "choices": list(PHASES), "required": True},
            "role": {"type": "str", "choices": ["sequencer", "joiner"], "required": True},
            "follow": {"type": "bool", "default": True},
            "unit": {"type": "str", "required": True},
            "raft_dir": {"type": "path", "required": True},
            "rpc_address": {"type": "str", "default": ""},
            "block_time": {"type": "float", "default": 0.0},
            "above": {"type": "int", "default": 0},
            "config_dir": {"type": "path", "default": "/etc/evnode-ha"},
            "state_dir": {"type": "path", "default": "/var/lib/evnode-ha"},
            "run": {"type": "str", "default": "-"},
            "resume_after": {"type": "float", "default": 0.0},
            "node_id": {"type": "str", "default": ""},
            "leader": {"type": "str", "default": ""},
            "leader_address": {"type": "str", "default": ""},
            "timeout": {"type": "float", "default": 60.0},
        },
        required_if=[("phase", "hold", ["node_id", "leader", "leader_address"])],
        supports_check_mode=True,
    )
    given = module.params
    wanted = _revert.Revert(
        unit=given["unit"],
        sequencer=given["role"] == "sequencer",
        config_dir=given["config_dir"],
        state_dir=given["state_dir"],
        run_dir=RUNTIME_DIR,
        raft_dir=given["raft_dir"],
        follow=given["follow"],
        rpc_address=given["rpc_address"],
        block_time=given["block_time"],
        above=given["above"],
        timeout=given["timeout"],
        resume_after=given["resume_after"],
        run_id=given["run"],
        node_id=given["node_id"],
        leader=given["leader"],
        leader_address=given["leader_address"],
    )
    try:
        result = PHASES[given["phase"]](wanted, check=module.check_mode)
        module.exit_json(changed=bool(result.changes), changes=result.changes, state=result.state)
    except HaError as exc:
        module.fail_json(msg=exc.message)


if __name__ == "__main__":
    main()
