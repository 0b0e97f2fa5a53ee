#!/usr/bin/python

# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_key
short_description: Create a member's node key where it has none
version_added: 0.1.0
author: The evnode.sequencer_ha authors (@evnode)
description:
  - Creates C(config/node_key.json) below O(home) with the binary's own C(init), run in a temporary home of which only
    the key is kept. Everything else in O(home) stays as it is.
  - An existing key is never replaced, since the peer id would change with it.
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
options:
  home:
    description: The node's home.
    type: path
    required: true
  binary:
    description: Absolute path of the node's binary.
    type: path
    required: true
  user:
    description: Name of the service user. The binary runs as this user, and the key belongs to it.
    type: str
    required: true
  group:
    description: Name of the service user's group.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Create the node key
  evnode.sequencer_ha.node_key:
    home: /var/lib/ev-node
    binary: /usr/local/bin/evm
    user: evnode
    group: evnode
"""

RETURN = r"""
peer_id:
  description: The peer id that belongs to the key; V(null) in check mode where the key does not exist yet.
  returned: success
  type: str
  sample: 12D3KooWA4Xop1JaT3MHxwYMkCepYsv4iPVopMXwCz5iHYdBfeSB
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evnode.sequencer_ha.plugins.module_utils._errors import HaError
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._node_key import NewKey, create, existing


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "home": {"type": "path", "required": True},
            "binary": {"type": "path", "required": True},
            "user": {"type": "str", "required": True},
            "group": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    wanted = NewKey(**module.params)
    try:
        before = existing(wanted)
        peer_id = before if before is not None or module.check_mode else create(wanted)
    except HaError as exc:
        module.fail_json(msg=exc.message)
    module.exit_json(
        changed=before is None,
        peer_id=peer_id,
        diff={
            "before": f"{wanted.path}: {before or 'absent'}\n",
            "after": f"{wanted.path}: {peer_id or 'a new key'}\n",
        },
    )


if __name__ == "__main__":
    main()
