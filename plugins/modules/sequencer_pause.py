#!/usr/bin/python

# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: sequencer_pause
short_description: Stop the sequencer for a limited time
version_added: 0.1.0
author: The evnode.sequencer_ha authors (@evnode)
description:
  - Stops the unit of the sequencer so that its store can be copied, and starts it again. An execution client whose data
    are copied too is stopped after it, and answers before it starts.
  - Before the stop a transient timer of systemd is armed that starts the unit again after O(limit) seconds. The pause
    therefore ends even if the controller or the connection is lost.
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
    description: Name of the unit, without the suffix C(.service).
    type: str
    required: true
  state:
    description: V(paused) stops the unit, V(resumed) starts it and drops the timer.
    type: str
    choices: [paused, resumed]
    required: true
  limit:
    description: Seconds after which the host starts the unit by itself.
    type: int
    default: 60
  client:
    description: The execution client that is stopped and started with the unit, as C(unit) and C(url) of its JSON-RPC.
    type: dict
    suboptions:
      unit:
        description: Name of its unit, without the suffix C(.service).
        type: str
        required: true
      url:
        description: Where it answers, as a URL or C(host:port).
        type: str
        required: true
"""

EXAMPLES = r"""
- name: Stop the sequencer, for a limited time
  evnode.sequencer_ha.sequencer_pause:
    unit: ev-node
    state: paused
    limit: 60

- name: Start the sequencer again
  evnode.sequencer_ha.sequencer_pause:
    unit: ev-node
    state: resumed
"""

RETURN = r"""
active:
  description: Whether the unit runs now.
  returned: always
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evnode.sequencer_ha.plugins.module_utils import _pause
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._client_service import Client
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._errors import HaError
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._systemd import active_state


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "unit": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["paused", "resumed"], "required": True},
            "limit": {"type": "int", "default": 60},
            "client": {
                "type": "dict",
                "options": {"unit": {"type": "str", "required": True}, "url": {"type": "str", "required": True}},
            },
        },
        supports_check_mode=True,
    )
    unit = module.params["unit"]
    pausing = module.params["state"] == "paused"
    client = Client(**module.params["client"]) if module.params["client"] else None
    try:
        if module.check_mode:
            active = active_state(f"{unit}.service") == "active"
            module.exit_json(changed=active is pausing, active=active)
        if pausing:
            changed = _pause.pause(unit, module.params["limit"], client=client)
        else:
            changed = _pause.resume(unit, client=client)
        module.exit_json(changed=changed, active=not pausing)
    except HaError as exc:
        module.fail_json(msg=exc.message)


if __name__ == "__main__":
    main()
