#!/usr/bin/python

# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: peer_id_info
short_description: Derive a node's peer id from its key file
version_added: 0.1.0
author: The evnode.sequencer_ha authors (@evnode)
description:
  - Computes the libp2p peer id from C(node_key.json), so the node need not run.
  - Where the node runs, its own answer is compared, and a difference is an error.
extends_documentation_fragment:
  - evnode.sequencer_ha._attributes
  - evnode.sequencer_ha._attributes.actiongroup
  - evnode.sequencer_ha._attributes.info
options:
  node_key:
    description: Path of C(node_key.json).
    type: path
    required: true
  rpc_address:
    description: Where the node answers, as C(host:port); without it only the file is read.
    type: str
  timeout:
    description: Seconds to wait for the node.
    type: float
    default: 2.0
"""

EXAMPLES = r"""
- name: Derive the peer id
  evnode.sequencer_ha.peer_id_info:
    node_key: /var/lib/ev-node/config/node_key.json
    rpc_address: 127.0.0.1:7331
  register: member_peer
"""

RETURN = r"""
peer_id:
  description: The peer id. V(null) only in check mode, where an earlier task would have created the key.
  returned: success
  type: str
  sample: 12D3KooWA4Xop1JaT3MHxwYMkCepYsv4iPVopMXwCz5iHYdBfeSB
running_id:
  description: What the running node calls itself, V(null) where it did not answer or was not asked.
  returned: success
  type: str
reason:
  description: Why a value is V(null), else V(null).
  returned: success
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evnode.sequencer_ha.plugins.module_utils._errors import HaError
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._peer_id import peer_id_in
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._rpc import NodeClient, RpcError


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "node_key": {"type": "path", "required": True},
            "rpc_address": {"type": "str"},
            "timeout": {"type": "float", "default": 2.0},
        },
        supports_check_mode=True,
    )
    path, address = module.params["node_key"], module.params["rpc_address"]
    running: str | None = None
    reason: str | None = "not asked, no rpc_address was given"
    try:
        own = peer_id_in(path)
        if address:
            try:
                running = NodeClient(address, timeout=module.params["timeout"]).net_info()["id"]
                reason = None if running else f"{address} answered without an id"
            except RpcError as exc:
                reason = exc.message
    except HaError as exc:
        module.fail_json(msg=exc.message)
    if own is None:
        missing = f"Expected a node key at {path}, found none; create it with evnode.sequencer_ha.node_key"
        if not module.check_mode:
            module.fail_json(msg=missing)
        module.exit_json(changed=False, peer_id=None, running_id=running, reason=missing)
    if running and running != own:
        module.fail_json(
            msg=f"{path} belongs to {own}, the node that answers at {address} is {running}; "
            "restart the node, or give the path of the key it uses",
            peer_id=own,
            running_id=running,
        )
    module.exit_json(changed=False, peer_id=own, running_id=running, reason=reason)


if __name__ == "__main__":
    main()
