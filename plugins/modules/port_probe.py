#!/usr/bin/python

# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: port_probe
short_description: Try whether TCP ports can be reached from host to host
version_added: 0.1.0
author: The evnode.sequencer_ha authors (@evnode)
description:
  - With O(state=listen) ports are opened on the host by a transient unit that ends by itself, with O(state=connect)
    the ports of peers are tried, with O(state=absent) the listener is ended.
  - Together they tell before the migration whether a firewall stands between two members.
extends_documentation_fragment:
  - evnode.sequencer_ha._attributes
  - evnode.sequencer_ha._attributes.actiongroup
attributes:
  check_mode:
    support: full
    details:
      - In check mode ports are not opened, and RV(listening) is empty. Connecting changes nothing and is done in
        check mode too.
  diff_mode:
    support: N/A
    details:
      - A listener leaves nothing behind that could differ.
  idempotent:
    support: N/A
    details:
      - A listener ends by itself and is no state of the host, so it is never reported as a change.
options:
  state:
    description: What to do.
    type: str
    choices: [listen, connect, absent]
    required: true
  label:
    description: Distinguishes the listener's unit from others, such as the name of the node's unit.
    type: str
    default: ev-node
  address:
    description: Address to listen at; needed with O(state=listen).
    type: str
  ports:
    description: Ports to listen on. One that something listens on already is left alone and returned as such.
    type: list
    elements: int
    default: []
  lifetime:
    description: Seconds after which the listener ends by itself.
    type: float
    default: 60
  targets:
    description:
      - What to connect to with O(state=connect), each with C(peer), to be found again in the result, C(address), its
        IP address or name, and C(port).
    type: list
    elements: dict
    default: []
  from_controller:
    description:
      - As O(targets), but tried from the controller, at the same time and for a second at most. Needs the collection's
        action plugin of the same name.
    type: list
    elements: dict
    default: []
  timeout:
    description: Seconds to wait for a connection.
    type: float
    default: 2.0
"""

EXAMPLES = r"""
- name: Open the Raft port for the probe
  evnode.sequencer_ha.port_probe:
    state: listen
    address: 10.0.0.2
    ports: [5001]

- name: Try the peers' Raft ports
  evnode.sequencer_ha.port_probe:
    state: connect
    targets:
      - peer: node-2
        address: 10.0.0.2
        port: 5001
  register: member_ports

- name: Close the Raft port again
  evnode.sequencer_ha.port_probe:
    state: absent
"""

RETURN = r"""
listening:
  description: The ports that were opened.
  returned: O(state=listen)
  type: list
  elements: int
occupied:
  description: The ports that something listens on already.
  returned: O(state=listen)
  type: list
  elements: int
outside:
  description: As RV(ports), for O(from_controller).
  returned: O(state=connect), with O(from_controller)
  type: list
  elements: dict
ports:
  description: One entry for each target, in the order given.
  returned: O(state=connect)
  type: list
  elements: dict
  contains:
    peer:
      description: Name of the peer.
      type: str
    address:
      description: Its address.
      type: str
    port:
      description: Its port.
      type: int
    state:
      description: V(open), V(refused) where the host answers and nothing listens, V(filtered) or V(unreachable).
      type: str
    ms:
      description: Milliseconds to the answer, V(null) without one.
      type: float
    reason:
      description: Why the port is not open, else V(null).
      type: str
    source:
      description: The address that the connection came from, V(null) without one.
      type: str
"""

import sys

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evnode.sequencer_ha.plugins.module_utils._errors import HaError
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._port import close, connect, listen, targets
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._proc import listening_sockets


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["listen", "connect", "absent"], "required": True},
            "label": {"type": "str", "default": "ev-node"},
            "address": {"type": "str"},
            "ports": {"type": "list", "elements": "int", "default": []},
            "lifetime": {"type": "float", "default": 60},
            "targets": {"type": "list", "elements": "dict", "default": []},
            "from_controller": {"type": "list", "elements": "dict", "default": []},
            "timeout": {"type": "float", "default": 2.0},
        },
        required_if=[("state", "listen", ["address", "ports"])],
        supports_check_mode=True,
    )
    params = module.params
    try:
        if params["state"] == "connect":
            module.exit_json(changed=False, ports=connect(targets(params["targets"]), timeout=params["timeout"]))
        if params["state"] == "absent":
            if not module.check_mode:
                close(params["label"])
            module.exit_json(changed=False)
        if not module.check_mode:
            close(params["label"])
        taken = listening_sockets()
        free = [port for port in params["ports"] if port not in taken]
        if module.check_mode:
            free = []
        elif free:
            listen(params["label"], params["address"], free, params["lifetime"], python=sys.executable)
    except HaError as exc:
        module.fail_json(msg=exc.message)
    occupied = [port for port in params["ports"] if port in taken]
    module.exit_json(changed=False, listening=free, occupied=occupied)


if __name__ == "__main__":
    main()
