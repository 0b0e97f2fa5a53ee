#!/usr/bin/python

# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: store_share
short_description: Serve a store to named hosts, read only and for a limited time
version_added: 0.1.0
author: The evnode.sequencer_ha authors (@evnode)
description:
  - Starts a one-time SSH server as a transient unit, with a host key of its own, on one address of this host. It
    accepts the given one-time keys from their addresses only, and they can do nothing but read the given roots.
  - The unit's file system is read-only but for its own two directories. It ends by itself after O(lifetime).
  - Lock files, the node key, the signer, JWT secrets and C(evnode.yaml) are never sent.
  - Whoever copies uses M(evnode.sequencer_ha.store_pull).
extends_documentation_fragment:
  - evnode.sequencer_ha._attributes
  - evnode.sequencer_ha._attributes.actiongroup
attributes:
  check_mode:
    support: full
    details:
      - A share that is not running has no port and no host key, so C(port) is V(0) and C(host_key) is empty in check
        mode.
  diff_mode:
    support: none
  idempotent:
    support: full
    details:
      - A share of the same arguments that has less than half of O(lifetime) left is replaced, which is a change.
options:
  state:
    description:
      - V(present) starts the share unless the very same one runs.
      - V(absent) ends it and removes all that it was.
    type: str
    choices: [present, absent]
    default: present
  unit:
    description: The node's systemd unit, without suffix.
    type: str
    required: true
  roots:
    description: Names of what is shared, each with the absolute path of a directory or of one file.
    type: dict
    default: {}
  exclude:
    description:
      - Patterns of what is not sent. One without a slash is compared with every component of a path, one with a slash
        with the path from the root.
    type: list
    elements: str
    default: []
  authorized_key:
    description: Who may read.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The host's name, for messages.
        type: str
        required: true
      key:
        description: Its public one-time key.
        type: str
        required: true
      from:
        description: The IP address that it has to come from.
        type: str
        required: true
  address:
    description: IP address of this host to listen on. Required with O(state=present).
    type: str
  port:
    description: TCP port to listen on, V(0) for a free one.
    type: int
    default: 0
  lifetime:
    description: Seconds after which the share ends by itself.
    type: int
    default: 3600
  run_dir:
    description: Directory in memory below which configuration and host key lie.
    type: path
    default: /run/evnode-ha
  state_dir:
    description: Directory below which hashes of files that never change are remembered.
    type: path
    default: /var/lib/evnode-ha
"""

EXAMPLES = r"""
- name: Serve the store to the new machines
  evnode.sequencer_ha.store_share:
    unit: ev-node
    roots:
      store: /var/lib/ev-node/data
    authorized_key:
      - name: node-2
        key: "{{ hostvars['node-2'].copy_key.public_key }}"
        from: 10.0.0.2
    address: 10.0.0.1
    lifetime: 3600
  register: share

- name: Stop serving
  evnode.sequencer_ha.store_share:
    unit: ev-node
    state: absent
"""

RETURN = r"""
address:
  description: Where it listens.
  returned: when O(state=present)
  type: str
port:
  description: The TCP port.
  returned: when O(state=present)
  type: int
host_key:
  description: Its public host key, the only one that a client may accept.
  returned: when O(state=present)
  type: str
source:
  description: C(address), C(port) and C(host_key) together.
  returned: when O(state=present)
  type: dict
roots:
  description: The roots as they were given.
  returned: when O(state=present)
  type: dict
exclude:
  description: The patterns as they were given.
  returned: when O(state=present)
  type: list
  elements: str
expires_at:
  description: When it ends by itself, in seconds since 1970; V(0) in check mode where it does not run.
  returned: when O(state=present)
  type: int
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evnode.sequencer_ha.plugins.module_utils._errors import HaError
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._store import share


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "unit": {"type": "str", "required": True},
            "roots": {"type": "dict", "default": {}},
            "exclude": {"type": "list", "elements": "str", "default": []},
            "authorized_key": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "no_log": False,
                "options": {
                    "name": {"type": "str", "required": True},
                    "key": {"type": "str", "required": True, "no_log": False},
                    "from": {"type": "str", "required": True},
                },
            },
            "address": {"type": "str"},
            "port": {"type": "int", "default": 0},
            "lifetime": {"type": "int", "default": 3600},
            "run_dir": {"type": "path", "default": "/run/evnode-ha"},
            "state_dir": {"type": "path", "default": "/var/lib/evnode-ha"},
        },
        required_if=[("state", "present", ["address"])],
        supports_check_mode=True,
    )
    given = module.params
    wanted = share.Share(
        unit=given["unit"],
        roots={str(name): str(path) for name, path in given["roots"].items()},
        joiners=[share.Joiner(item["name"], item["key"], item["from"]) for item in given["authorized_key"]],
        address=given["address"] or "",
        port=given["port"],
        lifetime=given["lifetime"],
        exclude=given["exclude"],
        folder=os.path.join(given["run_dir"], given["unit"], "share"),
        state_dir=os.path.join(given["state_dir"], given["unit"]),
    )
    try:
        if given["state"] == "absent":
            module.exit_json(changed=share.exists(wanted) if module.check_mode else share.absent(wanted))
        if module.check_mode:
            offer = share.running(share.check(wanted)) if wanted.joiners else None
            changed = offer is None
        else:
            changed, offer = share.present(wanted)
    except HaError as exc:
        module.fail_json(msg=exc.message)
    port, host_key, expires_at = offer or (0, "", 0)
    source = {"address": given["address"], "port": port, "host_key": host_key}
    module.exit_json(
        changed=changed, source=source, roots=given["roots"], exclude=given["exclude"], expires_at=expires_at, **source
    )


if __name__ == "__main__":
    main()
