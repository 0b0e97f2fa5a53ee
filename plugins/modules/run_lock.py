#!/usr/bin/python

# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: run_lock
short_description: Keep two runs apart on a member
version_added: 0.1.0
author: The evnode.sequencer_ha authors (@evnode)
description:
  - Takes the member's lock for a run, or fails and tells who holds it and since when.
  - A run is gone, and its lock is taken over, when the process of its controller has ended (where it ran on this very
    controller), or when the ssh connection over which it took the lock is not there any more. A member that was
    rebooted has no lock.
extends_documentation_fragment:
  - evnode.sequencer_ha._attributes
  - evnode.sequencer_ha._attributes.actiongroup
attributes:
  check_mode:
    support: full
    details:
      - In check mode nothing is taken and nobody is refused.
  diff_mode:
    support: N/A
    details:
      - A lock is no state of the host that a diff could show.
  idempotent:
    support: N/A
    details:
      - It is never reported as a change, since it is gone when the run has ended.
options:
  state:
    description: V(held) takes the lock, V(free) gives it back if this run has it.
    type: str
    choices: [held, free]
    default: held
  unit:
    description: The node's systemd unit, without suffix.
    type: str
    required: true
  run:
    description: Name of the run, the same on all members.
    type: str
    required: true
  take_over:
    description: Takes the lock from whoever has it. For a controller that is gone and whose connection is not.
    type: bool
    default: false
  controller:
    description: Set by the action plugin, not by hand.
    type: dict
    default: {}
  run_dir:
    description: Directory in memory below which the lock lies.
    type: path
    default: /run/evnode-ha
"""

EXAMPLES = r"""
- name: Keep other runs away
  evnode.sequencer_ha.run_lock:
    unit: ev-node
    run: 20260101T000000Z
"""

RETURN = r"""
holder:
  description: Who held the lock before, with C(run), C(user), C(host), C(since); empty where nobody did.
  returned: success
  type: dict
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evnode.sequencer_ha.plugins.module_utils._errors import HaError
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._lock import release, take


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["held", "free"], "default": "held"},
            "unit": {"type": "str", "required": True},
            "run": {"type": "str", "required": True},
            "take_over": {"type": "bool", "default": False},
            "controller": {"type": "dict", "default": {}},
            "run_dir": {"type": "path", "default": "/run/evnode-ha"},
        },
        supports_check_mode=True,
    )
    given = module.params
    path = os.path.join(given["run_dir"], given["unit"], "lock.json")
    known = given["controller"]
    wanted = {
        "run": given["run"],
        "controller": str(known.get("id") or ""),
        "user": str(known.get("user") or "somebody"),
        "host": str(known.get("host") or "somewhere"),
    }
    if module.check_mode:
        module.exit_json(changed=False, holder={})
    try:
        if given["state"] == "free":
            release(path, wanted)
            module.exit_json(changed=False, holder={})
        taken = take(path, wanted, over=given["take_over"])
    except HaError as exc:
        module.fail_json(msg=exc.message)
    if not taken.mine:
        held = taken.holder
        module.fail_json(
            msg=(
                f"Expected no other run on this host, found run {held.get('run')} of {held.get('user')} on "
                f"{held.get('host')}, since {held.get('since')}. Wait for its end; if that controller is gone, run "
                "again with evnode_take_over=true"
            ),
            holder=held,
        )
    module.exit_json(changed=False, holder=taken.holder)


if __name__ == "__main__":
    main()
