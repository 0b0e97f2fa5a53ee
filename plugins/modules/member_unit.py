#!/usr/bin/python
# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: member_unit
short_description: Put a member's systemd unit in place, or take it away
version_added: 0.1.0
author: The evnode.sequencer_ha authors (@evnode)
description:
  - On a joiner writes a whole unit, made from the sequencer's. It cannot start until a mode is chosen.
  - On the sequencer adds one drop-in, which makes the node take its command line from the mode that is set, and leaves
    the unit itself alone. While the mode is single, a restart starts exactly what runs today.
  - On both puts a link in the place of the node's C(evnode.yaml), so that one switch changes command line and file.
  - What was there before is saved first, and O(state=absent) puts it back with the same content, owner and mode. On the
    sequencer it takes the mode away as well.
  - systemd reads its files again only where a unit file changed. Nothing is started, stopped or enabled.
options:
  profile:
    description: The sequencer's profile, as RV(evnode.sequencer_ha.sequencer_info#module:sequencer).
    type: dict
    required: true
  role:
    description: Which kind of member this host is.
    type: str
    required: true
    choices: [sequencer, joiner]
  state:
    description: Whether the unit shall be in place.
    type: str
    default: present
    choices: [present, absent]
  config_dir:
    description: Where the collection keeps a member's configuration.
    type: path
    default: /etc/evnode-ha
  state_dir:
    description: Where the collection keeps what it has to remember.
    type: path
    default: /var/lib/evnode-ha
  raft_dir:
    description: The member's Raft directory, which the unit must be able to write to.
    type: path
  secret_environment:
    description:
      - C(NAME=value) of the variables whose values are secrets, as
        RV(evnode.sequencer_ha.sequencer_info#module:material).
      - They are kept in a file that only root can read, not in the unit.
    type: list
    elements: str
    default: []
  unit_dir:
    description: Where unit files of the administrator are.
    type: path
    default: /etc/systemd/system
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
seealso:
  - module: evnode.sequencer_ha.mode_switch
"""

EXAMPLES = r"""
- name: Install the joiner's unit
  evnode.sequencer_ha.member_unit:
    profile: "{{ sequencer }}"
    role: joiner
    raft_dir: /var/lib/ev-node-raft

- name: Put the old sequencer's own unit back
  evnode.sequencer_ha.member_unit:
    profile: "{{ sequencer }}"
    role: sequencer
    state: absent
"""

RETURN = r"""
unit_path:
  description: The file that the collection owns.
  returned: success
  type: str
yaml_path:
  description: The node's configuration file that is, or was, replaced by a link.
  returned: success
  type: str
reloaded:
  description: Whether systemd read its files again, or would.
  returned: success
  type: bool
original:
  description: Where what was there before is kept.
  returned: success
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._errors import HaError
from ..module_utils._member_unit import Outcome, Plan, put, remove
from ..module_utils._mode import ABSENT, switch
from ..module_utils._process import run
from ..module_utils._systemd import active_state, daemon_reload, show


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "profile": {"type": "dict", "required": True},
            "role": {"type": "str", "required": True, "choices": ["sequencer", "joiner"]},
            "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
            "config_dir": {"type": "path", "default": "/etc/evnode-ha"},
            "state_dir": {"type": "path", "default": "/var/lib/evnode-ha"},
            "raft_dir": {"type": "path"},
            "secret_environment": {"type": "list", "elements": "str", "default": [], "no_log": True},
            "unit_dir": {"type": "path", "default": "/etc/systemd/system"},
        },
        supports_check_mode=True,
    )
    parameters = module.params
    plan = Plan(
        profile=parameters["profile"],
        role=parameters["role"],
        config_dir=parameters["config_dir"],
        state_dir=parameters["state_dir"],
        raft_dir=parameters["raft_dir"],
        secret_environment=parameters["secret_environment"],
        unit_dir=parameters["unit_dir"],
    )
    missing = [key for key in ("unit", "binary", "home", "yaml_path", "user", "group") if not plan.profile.get(key)]
    if missing:
        module.fail_json(msg=f"the profile has no {', '.join(missing)}; pass what sequencer_info returned")
    try:
        outcome = _apply(plan, parameters["state"], check=module.check_mode)
    except HaError as exc:
        module.fail_json(msg=exc.message)
    for warning in outcome.warnings:
        module.warn(warning)
    module.exit_json(
        changed=outcome.changed,
        unit_path=plan.unit_path,
        yaml_path=plan.yaml_path,
        reloaded=outcome.reload,
        original=plan.saved_dir,
        diff=outcome.diffs,
    )


def _apply(plan: Plan, state: str, *, check: bool) -> Outcome:
    service = f"{plan.unit}.service"
    if state == "present":
        outcome = put(plan, check=check)
    else:
        active = active_state(service) in ("active", "activating", "reloading")
        if not check and plan.role == "joiner" and remove(plan, active=active, check=True).reload:
            # While the unit still exists: its start at boot would otherwise stay behind as a dangling link.
            run(["systemctl", "disable", "--quiet", "--", service])
        outcome = remove(plan, active=active, check=check)
    # A run that was killed between file and reload left the reload to this one.
    reload = outcome.reload or show(service, ["NeedDaemonReload"]).get("NeedDaemonReload") == "yes"
    if reload and not check:
        daemon_reload()
    outcome = outcome._replace(reload=reload, changed=outcome.changed or reload)
    if state == "present" or plan.role == "joiner":
        return outcome
    # Nothing reads it any more, and a later run must not take it for a mode.
    turned = switch(plan.config_dir, plan.unit, ABSENT, check=check)
    return outcome._replace(changed=outcome.changed or turned.changed)


if __name__ == "__main__":
    main()
