#!/usr/bin/python

# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: execution_client
short_description: Stop an execution client, or start it until it answers
version_added: 0.1.0
author: The evnode.sequencer_ha authors (@evnode)
description:
  - Stops the systemd unit of an execution client while its data are copied, and starts it again.
  - A unit that has been started says nothing of a client that answers, and a node that starts before its client answers
    ends at once. So starting waits for an answer.
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
    description: Name of the client's unit, without the suffix C(.service).
    type: str
    required: true
  url:
    description: Its JSON-RPC, as a URL or C(host:port).
    type: str
    required: true
  state:
    description: V(stopped), or V(answering), which waits up to two minutes.
    type: str
    choices: [stopped, answering]
    required: true
"""

EXAMPLES = r"""
- name: Stop the client while its data are written
  evnode.sequencer_ha.execution_client:
    unit: reth
    url: http://127.0.0.1:8545
    state: stopped

- name: Start it
  evnode.sequencer_ha.execution_client:
    unit: reth
    url: http://127.0.0.1:8545
    state: answering
"""

RETURN = r"""
active:
  description: Whether the unit runs now.
  returned: success
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evnode.sequencer_ha.plugins.module_utils import _client_service
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._errors import HaError


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "unit": {"type": "str", "required": True},
            "url": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["stopped", "answering"], "required": True},
        },
        supports_check_mode=True,
    )
    client = _client_service.Client(module.params["unit"], module.params["url"])
    stopping = module.params["state"] == "stopped"
    try:
        if module.check_mode:
            active = _client_service.is_active(client)
            module.exit_json(changed=active is stopping, active=active)
        changed = _client_service.stop(client) if stopping else _client_service.start(client)
        module.exit_json(changed=changed, active=not stopping)
    except HaError as exc:
        module.fail_json(msg=exc.message)


if __name__ == "__main__":
    main()
