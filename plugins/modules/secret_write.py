#!/usr/bin/python

# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: secret_write
short_description: Place secret files with their final mode and owner, or take them away
version_added: 0.1.0
author: The evnode.sequencer_ha authors (@evnode)
description:
  - Writes each content to its file by one atomic rename. The temporary file is created with mode C(0600), and gets its
    owner and mode before it gets its name, so the content is never readable by anybody else.
  - Takes a file away only where it holds exactly this content, so never another key.
  - The diff shows fingerprints, modes and owners, never a content.
  - Nothing is written before all of O(files) was understood. Where one cannot be written, those before it are.
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
  files:
    description: The files, in the order in which they are written.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Absolute path of the file. A symbolic link at this place is replaced, not followed.
        type: path
        required: true
      content:
        description: The content in Base64, as M(evnode.sequencer_ha.secret_read) returns it.
        type: str
        required: true
      if_held:
        description:
          - What becomes of a file that holds the content already and that O(files[].owner) can read, such as one that
            another service of the host uses too.
          - V(replace) gives it the mode and owner of this task, in the place of a link too. V(keep) leaves it as it is,
            a link included. V(keep_closed) does so only where it is closed to everybody else but a group.
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
          - Mode, as an octal string, of the directory of the file where it has to be created; it gets the owner and
            group of the file. Directories above it are created as C(root) with C(0755).
          - Without it a missing directory is an error.
        type: str
  state:
    description:
      - V(present) writes the files, V(absent) removes each that holds the content and fails at one that holds another.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: Place signer and passphrase on the joiner
  evnode.sequencer_ha.secret_write:
    files:
      - path: /var/lib/ev-node/config/signer.json
        content: "{{ hostvars['node-1'].keys.files[0].content }}"
        owner: evnode
        group: evnode
        parents_mode: '0750'
      - path: /var/lib/ev-node/passphrase
        content: "{{ hostvars['node-1'].keys.files[1].content }}"
        owner: evnode
        group: evnode
  no_log: true

- name: Take the signer away from the joiner
  evnode.sequencer_ha.secret_write:
    files:
      - path: /var/lib/ev-node/config/signer.json
        content: "{{ hostvars['node-1'].keys.files[0].content }}"
    state: absent
  no_log: true
"""

RETURN = r"""
files:
  description: What became of each file, in the order of O(files).
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: The path.
      type: str
    changed:
      description: Whether it was written or removed, or would be in check mode.
      type: bool
    fingerprint:
      description: Fingerprint of the content; equal contents have equal fingerprints.
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


class Wanted(t.NamedTuple):
    """One file as it was asked for, its content and modes read."""

    path: str
    content: bytes
    if_held: str
    mode: int
    owner: str | None
    group: str | None
    parents_mode: int | None


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "files": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "path": {"type": "path", "required": True},
                    "content": {"type": "str", "required": True, "no_log": True},
                    "if_held": {"type": "str", "choices": ["replace", "keep_closed", "keep"], "default": "replace"},
                    "mode": {"type": "str", "default": "0600"},
                    "owner": {"type": "str"},
                    "group": {"type": "str"},
                    "parents_mode": {"type": "str"},
                },
            },
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    files, diffs = [], []
    try:
        for wanted in [_wanted(asked) for asked in module.params["files"]]:
            before = describe(wanted.path)
            if module.params["state"] == "absent":
                changed, after = take_away(wanted.path, wanted.content, check=module.check_mode), "absent"
            elif _stays(wanted):
                changed, after = False, before
            else:
                changed, after = _put(wanted, before, check=module.check_mode)
            files.append({"path": wanted.path, "changed": changed, "fingerprint": fingerprint(wanted.content)})
            if changed:
                headers = {"before_header": wanted.path, "after_header": wanted.path}
                diffs.append({**headers, "before": f"{before}\n", "after": f"{after}\n"})
    except HaError as exc:
        module.fail_json(msg=exc.message)
    module.exit_json(changed=any(file["changed"] for file in files), files=files, diff=diffs)


def _wanted(asked: dict[str, t.Any]) -> Wanted:
    parents_mode = asked["parents_mode"]
    return Wanted(
        path=asked["path"],
        content=decode(asked["content"]),
        if_held=asked["if_held"],
        mode=octal(asked["mode"]),
        owner=asked["owner"],
        group=asked["group"],
        parents_mode=None if parents_mode is None else octal(parents_mode),
    )


def _stays(wanted: Wanted) -> bool:
    if wanted.if_held == "replace":
        return False
    return holds(wanted.path, wanted.content, closed=wanted.if_held == "keep_closed") and _readable(wanted)


def _put(wanted: Wanted, before: str, *, check: bool) -> tuple[bool, str]:
    # In check mode an earlier task of the same run may be the one that creates the account.
    uid, gid = _account.ids(wanted.owner, wanted.group, may_be_missing=check)
    place = Placement(wanted.path, wanted.mode, uid, gid, wanted.parents_mode)
    if not (differs(place, wanted.content) if check else put(place, wanted.content)):
        return False, before
    owner = str(wanted.owner if uid < 0 else uid)
    group = str(wanted.group if gid < 0 else gid)
    return True, describe_as(wanted.content, place.mode, owner, group)


def _readable(wanted: Wanted) -> bool:
    """Let the kernel say it, as that user: groups and the directories above count too."""
    if wanted.owner is None:
        return True
    try:
        return _as_user.run_as(["test", "-r", wanted.path], wanted.owner, home="/").rc == 0
    except _as_user.AsUserError:
        return False  # in check mode the account may not have been created


if __name__ == "__main__":
    main()
