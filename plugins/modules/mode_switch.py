#!/usr/bin/python
# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: mode_switch
short_description: Choose what a member's unit starts as
version_added: 0.1.0
author: The evnode.sequencer_ha authors (@evnode)
description:
  - Points the link C(current) in the unit's configuration directory at the files of one mode, by one rename.
  - The command line and C(evnode.yaml) change together, and systemd needs no reload. Nothing is started or stopped.
  - Refuses a mode whose files do not exist.
  - The cutover does this itself on every member; outside it this module is for staging and for rollback.
options:
  unit:
    description: Name of the systemd unit, without C(.service).
    type: str
    required: true
  config_dir:
    description: Where the collection keeps a member's configuration.
    type: path
    default: /etc/evnode-ha
  mode:
    description: The mode. With V(absent) the link is removed, and a unit of the collection cannot start.
    type: str
    required: true
    choices: [single, follower, raft, absent]
  state_dir:
    description:
      - Where the collection keeps what it has to remember.
      - Modes that run on a copied store are refused while a copy that was begun has not been proven equal.
    type: path
    default: /var/lib/evnode-ha
  raft_dir:
    description:
      - The member's Raft directory. Mode V(raft) is refused while there is no Raft log in it.
    type: path
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
"""

EXAMPLES = r"""
- name: Let the joiner start as a follower
  evnode.sequencer_ha.mode_switch:
    unit: ev-node
    mode: follower
"""

RETURN = r"""
mode:
  description: The mode that is set now, or would be set.
  returned: success
  type: str
previous:
  description: The mode that was set before; V(absent) for none.
  returned: success
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._errors import HaError
from ..module_utils._mode import ABSENT, MODES, link_path, switch


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "unit": {"type": "str", "required": True},
            "config_dir": {"type": "path", "default": "/etc/evnode-ha"},
            "state_dir": {"type": "path", "default": "/var/lib/evnode-ha"},
            "raft_dir": {"type": "path"},
            "mode": {"type": "str", "required": True, "choices": [*MODES, ABSENT]},
        },
        supports_check_mode=True,
    )
    unit, config_dir = module.params["unit"], module.params["config_dir"]
    try:
        change = switch(
            config_dir,
            unit,
            module.params["mode"],
            state_dir=module.params["state_dir"],
            raft_dir=module.params["raft_dir"],
            check=module.check_mode,
        )
    except HaError as exc:
        module.fail_json(msg=exc.message)
    link = link_path(config_dir, unit)
    module.exit_json(
        changed=change.changed,
        mode=change.after,
        previous=change.before,
        diff={
            "before": f"{change.before}\n",
            "after": f"{change.after}\n",
            "before_header": link,
            "after_header": link,
        },
    )


if __name__ == "__main__":
    main()
