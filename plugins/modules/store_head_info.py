#!/usr/bin/python

# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: store_head_info
short_description: Read the head of a stopped node's store
version_added: 0.1.0
author: The evnode.sequencer_ha authors (@evnode)
description:
  - Starts the node's binary as a plain full node in a transient unit with a network of its own, no peers and no data
    availability layer, reads the newest block, and stops it again. It can neither make nor fetch a block.
  - Refuses while the node's unit is active. A store that another process has open is an error too.
  - A store whose copy was begun and never proven equal is not opened. It may tell a height and lack older blocks.
extends_documentation_fragment:
  - evnode.sequencer_ha._attributes
  - evnode.sequencer_ha._attributes.actiongroup
attributes:
  check_mode:
    support: partial
    details:
      - In check mode nothing is started, and RV(head) is V(null). RV(half_copied) is read.
  diff_mode:
    support: N/A
    details:
      - This module changes nothing that a diff could show.
  idempotent:
    support: full
options:
  unit:
    description: The node's unit without the suffix C(.service), which must be stopped.
    type: str
    required: true
  binary:
    description: Absolute path of the node's binary.
    type: path
    required: true
  home:
    description: The node's home.
    type: path
    required: true
  user:
    description: Name of the service user.
    type: str
    required: true
  group:
    description: Name of its group.
    type: str
    required: true
  arguments:
    description:
      - Arguments after the binary with which the node would run as a follower, or its application's flags alone, to
        which C(start --home) with O(home) is added.
      - Peers and data availability are turned off in any case.
    type: list
    elements: str
    default: []
  heights:
    description: Heights whose headers and hashes to return as well; those above the head are left out.
    type: list
    elements: int
    default: []
  private_network:
    description:
      - Whether the node gets a network namespace of its own, where the host allows that. One with an execution client
        on the host needs the host's.
    type: bool
    default: true
  state_dir:
    description: Directory that holds C(<unit>/.copying) while the store is half a copy.
    type: path
    default: /var/lib/evnode-ha
  timeout:
    description: Seconds until the store has to be open.
    type: float
    default: 30
"""

EXAMPLES = r"""
- name: Read the head of the stopped node
  evnode.sequencer_ha.store_head_info:
    unit: ev-node
    binary: /usr/local/bin/evm
    home: /var/lib/ev-node
    user: evnode
    group: evnode
  register: member_head
"""

RETURN = r"""
running:
  description: V(true) where the node is not stopped, so that its store cannot be opened.
  returned: failure
  type: bool
head:
  description:
    - The newest block. V(null) only in check mode, where nothing is started, and where RV(half_copied) names anything.
  returned: success
  type: dict
  contains:
    height:
      description: Its height, 0 for an empty store.
      type: int
    hash:
      description: Its hash, hex; V(null) for an empty store.
      type: str
    app_hash:
      description: State of the application after it, hex.
      type: str
    chain_id:
      description: Name of the chain.
      type: str
    time:
      description: Its time, RFC 3339.
      type: str
    da_included:
      description: Height up to which the store knows blocks to be on the data availability layer, V(null) for none.
      type: int
    headers:
      description: For each of O(heights) its C(hash), C(parent), C(time_ns) and C(header_digest).
      type: dict
half_copied:
  description: Directories and files on this host whose copy was begun and never proven equal.
  returned: success
  type: list
  elements: str
  sample: []
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evnode.sequencer_ha.plugins.module_utils._errors import HaError
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._half_copy import unfinished
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._head import RunningError, Store, read_head


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "unit": {"type": "str", "required": True},
            "binary": {"type": "path", "required": True},
            "home": {"type": "path", "required": True},
            "user": {"type": "str", "required": True},
            "group": {"type": "str", "required": True},
            "arguments": {"type": "list", "elements": "str", "default": []},
            "heights": {"type": "list", "elements": "int", "default": []},
            "private_network": {"type": "bool", "default": True},
            "state_dir": {"type": "path", "default": "/var/lib/evnode-ha"},
            "timeout": {"type": "float", "default": 30},
        },
        supports_check_mode=True,
    )
    params = dict(module.params)
    params["private"] = params.pop("private_network")
    own = os.path.join(params.pop("state_dir"), params["unit"])
    try:
        half = sorted(unfinished(own))
        head = None if half or module.check_mode else read_head(Store(**params))
    except RunningError as exc:
        module.fail_json(msg=exc.message, running=True)
    except HaError as exc:
        module.fail_json(msg=exc.message)
    module.exit_json(changed=False, head=head, half_copied=half)


if __name__ == "__main__":
    main()
