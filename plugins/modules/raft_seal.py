#!/usr/bin/python

# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: raft_seal
short_description: Write the Raft membership of a joiner before the window
version_added: 0.1.0
author: The evnode.sequencer_ha authors (@evnode)
description:
  - Starts the node alone in Raft mode, in a transient unit, until it has written its membership into its Raft
    directory, and stops it again. Alone it is no quorum, so it never leads and its store does not change.
  - The follower that ran before is stopped meanwhile and started again, whatever happens.
  - Must run on one joiner at a time, since members that are sealed together could be a quorum.
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
  state:
    description: V(present) seals, V(absent) empties the Raft directory and forgets the seal.
    type: str
    choices: [present, absent]
    default: present
  force:
    description: For O(state=absent), whether a directory that holds a cluster's log entries is emptied too.
    type: bool
    default: false
  unit:
    description: Name of the node's unit, without the suffix C(.service).
    type: str
    required: true
  binary:
    description: Path of the node's binary.
    type: path
  arguments:
    description:
      - Arguments of the node for the sealing, as M(evnode.sequencer_ha.member_config) returns them in
        C(seal_arguments).
    type: list
    elements: str
    default: []
  environment:
    description: Environment of the node as C(NAME=value); no secrets.
    type: list
    elements: str
    default: []
  user:
    description: Account that the node runs as.
    type: str
  group:
    description: Group that the node runs as.
    type: str
  working_directory:
    description: Working directory of the node.
    type: path
  raft_dir:
    description: Raft directory.
    type: path
    required: true
  config_dir:
    description: Directory that holds C(<unit>/current).
    type: path
    default: /etc/evnode-ha
  state_dir:
    description: Directory that holds C(<unit>/sealed.json).
    type: path
    default: /var/lib/evnode-ha
  run:
    description: Name of this run, for the journal.
    type: str
    default: "-"
  timeout:
    description: Seconds until the membership has to be written.
    type: float
    default: 60
"""

EXAMPLES = r"""
- name: Seal the membership
  evnode.sequencer_ha.raft_seal:
    unit: ev-node
    binary: /usr/local/bin/testapp
    arguments: "{{ member_config_result.seal_arguments }}"
    user: evnode
    group: evnode
    raft_dir: /var/lib/ev-node/raft
  throttle: 1
"""

RETURN = r"""
sealed:
  description: Whether the Raft directory is exactly what sealing left there.
  returned: always
  type: bool
sealed_at:
  description: When it was sealed.
  returned: when sealed
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evnode.sequencer_ha.plugins.module_utils import _seal
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._errors import HaError


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "force": {"type": "bool", "default": False},
            "unit": {"type": "str", "required": True},
            "binary": {"type": "path"},
            "arguments": {"type": "list", "elements": "str", "default": []},
            "environment": {"type": "list", "elements": "str", "default": []},
            "user": {"type": "str"},
            "group": {"type": "str"},
            "working_directory": {"type": "path"},
            "raft_dir": {"type": "path", "required": True},
            "config_dir": {"type": "path", "default": "/etc/evnode-ha"},
            "state_dir": {"type": "path", "default": "/var/lib/evnode-ha"},
            "run": {"type": "str", "default": "-"},
            "timeout": {"type": "float", "default": 60.0},
        },
        required_if=[("state", "present", ("binary", "arguments", "user", "group"))],
        supports_check_mode=True,
    )
    given = module.params
    wanted = _seal.Seal(
        unit=given["unit"],
        binary=given["binary"] or "",
        arguments=given["arguments"],
        user=given["user"] or "",
        group=given["group"] or "",
        working_directory=given["working_directory"],
        raft_dir=given["raft_dir"],
        config_dir=given["config_dir"],
        state_dir=given["state_dir"],
        timeout=given["timeout"],
        run_id=given["run"],
        environment=tuple(given["environment"]),
    )
    try:
        if given["state"] == "absent":
            changed = _seal.unseal(wanted, force=given["force"], check=module.check_mode)
            module.exit_json(changed=changed, sealed=False)
        changed, state = _seal.seal(wanted, check=module.check_mode)
        module.exit_json(changed=changed, sealed=state.ok, sealed_at=state.sealed_at)
    except HaError as exc:
        module.fail_json(msg=exc.message)


if __name__ == "__main__":
    main()
