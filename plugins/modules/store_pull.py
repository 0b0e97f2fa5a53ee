#!/usr/bin/python

# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: store_pull
short_description: Copy a store from a share and prove that both ends are equal
version_added: 0.1.0
author: The evnode.sequencer_ha authors (@evnode)
description:
  - Copies what M(evnode.sequencer_ha.store_share) serves onto this host, over one encrypted connection with a
    one-time key that never leaves this host.
  - Only chunks that differ are sent, and holes stay holes. Files that a database never rewrites are hashed once.
  - From before the first byte until the proof, the file C(.copying) in the member's state directory says that the
    copy is not one to start on.
  - The node on this host has to be stopped. The locks of its databases are taken while files are written, and a node
    that has one open is an error.
extends_documentation_fragment:
  - evnode.sequencer_ha._attributes
  - evnode.sequencer_ha._attributes.actiongroup
attributes:
  check_mode:
    support: partial
    details:
      - With O(state=present) check mode contacts nobody, so it always reports a change, and neither sizes nor a
        manifest.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  state:
    description:
      - V(keys) makes the one-time key unless there is one, and returns its public half.
      - V(present) copies.
      - V(absent) removes the key.
    type: str
    choices: [present, keys, absent]
    default: present
  unit:
    description: The node's systemd unit, without suffix.
    type: str
    required: true
  source:
    description:
      - Where to copy from, with C(address), C(port) and C(host_key); what M(evnode.sequencer_ha.store_share) returned.
      - Required with O(state=present).
    type: dict
    default: {}
  roots:
    description: Names of the share's roots, each with the absolute path here. A root that is one file keeps its name.
    type: dict
    default: {}
  exclude:
    description: Patterns of what is neither copied nor compared nor deleted, beside what the share leaves out.
    type: list
    elements: str
    default: []
  owner:
    description: User that owns what is copied. Required with O(state=present).
    type: str
  group:
    description: Group of what is copied. Required with O(state=present).
    type: str
  owners:
    description:
      - C(owner) and C(group) of roots that belong to others, by the root's name, such as those of an execution client.
    type: dict
    default: {}
  bandwidth:
    description: Bytes per second, V(0) for no limit.
    type: int
    default: 0
  phase:
    description:
      - V(warm) copies while the source goes on, as often as one likes. It proves nothing.
      - V(last) needs a source at rest, deletes here what the source lacks, and ends with a manifest over every file
        that is equal on both sides, or with an error that names the first files that differ.
    type: str
    choices: [warm, last]
    default: warm
  limit:
    description: Seconds after which the copy is given up, V(0) for no limit.
    type: int
    default: 0
  stop_name:
    description:
      - Names the stop of the source, new for every stop. Hosts that give the same name share one reading of the
        source's files.
      - Without it every host has them read for itself.
    type: str
    default: ''
  progress_file:
    description: File that holds the progress as JSON while the copy runs.
    type: path
  key:
    description: Path of the one-time key. By default C(copy_key) in the member's directory below O(run_dir).
    type: path
  run_dir:
    description: Directory in memory below which the one-time key lies.
    type: path
    default: /run/evnode-ha
  state_dir:
    description: Directory below which the marker and the remembered hashes lie.
    type: path
    default: /var/lib/evnode-ha
"""

EXAMPLES = r"""
- name: Make the one-time key
  evnode.sequencer_ha.store_pull:
    unit: ev-node
    state: keys
  register: copy_key

- name: Copy while the chain goes on
  evnode.sequencer_ha.store_pull:
    unit: ev-node
    source: "{{ hostvars['node-1'].share }}"
    roots:
      store: /var/lib/ev-node/data
    owner: evnode
    group: evnode
    bandwidth: 50000000
"""

RETURN = r"""
public_key:
  description: The public half of the one-time key; empty in check mode where there is none yet.
  returned: when O(state=keys)
  type: str
bytes:
  description: Bytes that came over the wire.
  returned: when O(state=present)
  type: int
files:
  description: Files that were written.
  returned: when O(state=present)
  type: int
removed:
  description:
    - Files and directories that were deleted because the source has none, or, before they were fetched anew, because
      other files here are hard links to them.
  returned: when O(state=present)
  type: int
seconds:
  description: How long it took.
  returned: when O(state=present)
  type: float
manifest:
  description: The proof that both ends are equal, as in M(evnode.sequencer_ha.store_manifest_info); V(null) after a
    warm copy.
  returned: when O(state=present)
  type: dict
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evnode.sequencer_ha.plugins.module_utils import _account
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._errors import HaError
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._store import share
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._store.client import Source
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._store.pace import progress_writer
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._store.pull import Puller, pull


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "keys", "absent"], "default": "present"},
            "unit": {"type": "str", "required": True},
            "source": {"type": "dict", "default": {}},
            "roots": {"type": "dict", "default": {}},
            "exclude": {"type": "list", "elements": "str", "default": []},
            "owner": {"type": "str"},
            "group": {"type": "str"},
            "owners": {"type": "dict", "default": {}},
            "bandwidth": {"type": "int", "default": 0},
            "phase": {"type": "str", "choices": ["warm", "last"], "default": "warm"},
            "limit": {"type": "int", "default": 0},
            "stop_name": {"type": "str", "default": ""},
            "progress_file": {"type": "path"},
            "key": {"type": "path", "no_log": False},
            "run_dir": {"type": "path", "default": "/run/evnode-ha"},
            "state_dir": {"type": "path", "default": "/var/lib/evnode-ha"},
        },
        required_if=[("state", "present", ["owner", "group"])],
        supports_check_mode=True,
    )
    given = module.params
    key = given["key"] or os.path.join(given["run_dir"], given["unit"], "copy_key")
    there = os.path.exists(key) and os.path.exists(f"{key}.pub")
    try:
        if given["state"] == "keys":
            public = "" if module.check_mode and not there else share.make_key(key, given["unit"])
            module.exit_json(changed=not there, public_key=public)
        if given["state"] == "absent":
            found = os.path.exists(key) or os.path.exists(f"{key}.pub")
            module.exit_json(changed=found if module.check_mode else share.remove_key(key))
        if module.check_mode:
            module.exit_json(changed=True, bytes=0, files=0, removed=0, seconds=0.0, manifest=None)
        _copy(module, key)
    except HaError as exc:
        module.fail_json(msg=exc.message)


def _copy(module: AnsibleModule, key: str) -> None:
    given = module.params
    missing = [name for name in ("address", "port", "host_key") if not given["source"].get(name)]
    if missing:
        module.fail_json(
            msg=f"Expected the share as source, found none with {', '.join(missing)}; share the store first"
        )
    source = given["source"]
    uid, gid = _account.ids(given["owner"], given["group"])
    puller = Puller(
        Source(str(source["address"]), int(source["port"]), str(source["host_key"])),
        {str(name): str(path) for name, path in given["roots"].items()},
        key=key,
        state_dir=os.path.join(given["state_dir"], given["unit"]),
        uid=uid,
        gid=gid,
        owners={
            str(name): _account.ids(str(account["owner"]), str(account["group"]))
            for name, account in given["owners"].items()
        },
        exclude=given["exclude"],
        bandwidth=given["bandwidth"],
        listener=progress_writer(given["progress_file"]) if given["progress_file"] else None,
    )
    outcome = pull(puller, given["phase"], limit=given["limit"] or None, once=given["stop_name"])
    module.exit_json(
        changed=outcome.changed,
        bytes=outcome.bytes,
        files=outcome.files,
        removed=outcome.removed,
        seconds=outcome.seconds,
        manifest=outcome.manifest.as_dict() if outcome.manifest else None,
    )


if __name__ == "__main__":
    main()
