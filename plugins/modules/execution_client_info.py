#!/usr/bin/python

# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: execution_client_info
short_description: Read where an execution client keeps its data
version_added: 0.1.0
author: The evnode.sequencer_ha authors (@evnode)
description:
  - Reads the systemd unit of an execution client (reth, ev-reth or geth) and tells what of its data a copy takes along.
extends_documentation_fragment:
  - evnode.sequencer_ha._attributes
  - evnode.sequencer_ha._attributes.actiongroup
  - evnode.sequencer_ha._attributes.info
options:
  unit:
    description: Name of the client's unit, without the suffix C(.service).
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Read the client's unit
  evnode.sequencer_ha.execution_client_info:
    unit: reth
  register: execution_client
"""

RETURN = r"""
client:
  description: The client of this host.
  returned: success
  type: dict
  contains:
    unit:
      description: Name of its unit.
      type: str
    active:
      description: Whether the unit is active.
      type: bool
    user:
      description: The account that the client runs under.
      type: str
    group:
      description: The group of that account.
      type: str
    kind:
      description: V(reth) or V(geth).
      type: str
    data_dir:
      description: Its data directory, as its command line names it.
      type: str
    root:
      description: The directory in it that is copied.
      type: str
    exclude:
      description: Patterns of names below C(root) that belong to this host only and are never copied.
      type: list
      elements: str
    bytes:
      description: What the files below C(root) take on disk.
      type: int
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evnode.sequencer_ha.plugins.module_utils._client_unit import read
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._errors import HaError


def main() -> None:
    """Entry point."""
    module = AnsibleModule(argument_spec={"unit": {"type": "str", "required": True}}, supports_check_mode=True)
    try:
        client = read(module.params["unit"])
    except HaError as exc:
        module.fail_json(msg=exc.message)
    module.exit_json(changed=False, client=client._asdict())


if __name__ == "__main__":
    main()
