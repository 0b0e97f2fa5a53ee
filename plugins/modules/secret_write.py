#!/usr/bin/python

# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: secret_write
short_description: Place a secret file with its final mode and owner, or take it away
version_added: 0.1.0
author: The evnode.sequencer_ha authors (@evnode)
description:
  - Writes a content to a file by one atomic rename. The temporary file is created with mode C(0600), and gets its
    owner and mode before it gets its name, so the content is never readable by anybody else.
  - Takes a file away only where it holds exactly this content, so never another key.
  - The diff shows fingerprints, modes and owners, never the content.
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
  path:
    description: Absolute path of the file. A symbolic link at this place is replaced, not followed.
    type: path
    required: true
  content:
    description: The content in Base64, as M(evnode.sequencer_ha.secret_read) returns it.
    type: str
    required: true
  state:
    description: V(present) writes the file, V(absent) removes it if it holds the content and fails if it holds another.
    type: str
    choices: [present, absent]
    default: present
  if_held:
    description:
      - What becomes of a file that holds the content already and that O(owner) can read, such as one that another
        service of the host uses too.
      - V(replace) gives it the mode and owner of this task, in the place of a link too. V(keep) leaves it as it is, a
        link included. V(keep_closed) does so only where it is closed to everybody else but a group.
    type: str
    choices: [replace, keep_closed, keep]
    default: replace
  mode:
    description: Mode as an octal string.
    type: str
    default: '0600'
  owner:
    description: Name of the user that owns the file; by default the user that the task runs as.
    type: str
  group:
    description: Name of the group; by default the group that the task runs as.
    type: str
  parents_mode:
    description:
      - Mode, as an octal string, of the directory of the file where it has to be created; it gets the owner and group
        of the file. Directories above it are created as C(root) with C(0755).
      - Without it a missing directory is an error.
    type: str
"""

EXAMPLES = r"""
- name: Place the signer on the joiner
  evnode.sequencer_ha.secret_write:
    path: /var/lib/ev-node/config/signer.json
    content: "{{ hostvars['node-1'].signer.content }}"
    owner: evnode
    group: evnode
    parents_mode: '0750'
  no_log: true

- name: Take the signer away from the joiner
  evnode.sequencer_ha.secret_write:
    path: /var/lib/ev-node/config/signer.json
    content: "{{ hostvars['node-1'].signer.content }}"
    state: absent
  no_log: true
"""

RETURN = r"""
fingerprint:
  description: Fingerprint of the content; equal contents have equal fingerprints.
  returned: always
  type: str
  sample: sha256:9f86d081884c
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evnode.sequencer_ha.plugins.module_utils import _account, _as_user
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._errors import HaError
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._files import fingerprint
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._secrets import (
    Placement,
    decode,
    describe,
    describe_as,
    differs,
    holds,
    octal,
    put,
    take_away,
)


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "content": {"type": "str", "required": True, "no_log": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "if_held": {"type": "str", "choices": ["replace", "keep_closed", "keep"], "default": "replace"},
            "mode": {"type": "str", "default": "0600"},
            "owner": {"type": "str"},
            "group": {"type": "str"},
            "parents_mode": {"type": "str"},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        content = decode(params["content"])
        before = describe(params["path"])
        if params["state"] == "absent":
            changed, after = take_away(params["path"], content, check=module.check_mode), "absent"
        elif _stays(params, content):
            changed, after = False, before
        else:
            changed, after = _put(params, content, before, check=module.check_mode)
    except HaError as exc:
        module.fail_json(msg=exc.message)
    module.exit_json(
        changed=changed,
        fingerprint=fingerprint(content),
        diff={
            "before_header": params["path"],
            "after_header": params["path"],
            "before": f"{before}\n",
            "after": f"{after}\n",
        },
    )


def _stays(params: dict[str, t.Any], content: bytes) -> bool:
    if params["if_held"] == "replace" or not holds(params["path"], content, closed=params["if_held"] == "keep_closed"):
        return False
    return _readable(params["path"], params["owner"])


def _put(params: dict[str, t.Any], content: bytes, before: str, *, check: bool) -> tuple[bool, str]:
    # In check mode an earlier task of the same run may be the one that creates the account.
    uid, gid = _account.ids(params["owner"], params["group"], may_be_missing=check)
    parents_mode = None if params["parents_mode"] is None else octal(params["parents_mode"])
    place = Placement(params["path"], octal(params["mode"]), uid, gid, parents_mode)
    if not (differs(place, content) if check else put(place, content)):
        return False, before
    owner = params["owner"] if uid < 0 else str(uid)
    group = params["group"] if gid < 0 else str(gid)
    return True, describe_as(content, place.mode, owner, group)


def _readable(path: str, owner: str | None) -> bool:
    """Let the kernel say it, as that user: groups and the directories above count too."""
    if owner is None:
        return True
    try:
        return _as_user.run_as(["test", "-r", path], owner, home="/").rc == 0
    except _as_user.AsUserError:
        return False  # in check mode the account may not have been created


if __name__ == "__main__":
    main()
