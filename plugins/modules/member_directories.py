#!/usr/bin/python

# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: member_directories
short_description: Create a member's directories
version_added: 0.1.0
author: The evnode.sequencer_ha authors (@evnode)
description:
  - Creates directories with an owner and a mode in one call.
  - Missing parents are created as C(root) with mode C(0755). A parent that exists is never changed, so a person's home
    directory above the node's home keeps its owner and its mode.
  - A symbolic link in the place of a directory is followed where C(root) owns the link, and is an error otherwise.
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
  owner:
    description: Name of the user that owns the directories.
    type: str
    required: true
  group:
    description: Name of their group.
    type: str
    required: true
  directories:
    description: The directories.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Absolute path.
        type: path
        required: true
      mode:
        description: Mode as an octal string.
        type: str
        required: true
"""

EXAMPLES = r"""
- name: Create the directories of the node
  evnode.sequencer_ha.member_directories:
    owner: evnode
    group: evnode
    directories:
      - path: /var/lib/ev-node
        mode: "0750"
      - path: /var/lib/ev-node/raft
        mode: "0700"
"""

RETURN = r"""
directories:
  description: The directories that were changed, or would be in check mode, with what was found before.
  returned: always
  type: dict
  sample:
    /var/lib/ev-node/raft: absent
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evnode.sequencer_ha.plugins.module_utils import _account
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._directories import Directory, differs, ensure
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._errors import HaError


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "owner": {"type": "str", "required": True},
            "group": {"type": "str", "required": True},
            "directories": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "path": {"type": "path", "required": True},
                    "mode": {"type": "str", "required": True},
                },
            },
        },
        supports_check_mode=True,
    )
    found: dict[str, str] = {}
    try:
        uid, gid = _account.ids(module.params["owner"], module.params["group"], may_be_missing=module.check_mode)
        for item in module.params["directories"]:
            wanted = Directory(item["path"], int(item["mode"], 8), uid, gid)
            before = differs(wanted)
            if before is None:
                continue
            found[wanted.path] = before
            if not module.check_mode:
                ensure(wanted)
    except HaError as exc:
        module.fail_json(msg=exc.message)
    after = dict.fromkeys(found, f"{module.params['owner']}:{module.params['group']}")
    module.exit_json(changed=bool(found), directories=found, diff={"before": _lines(found), "after": _lines(after)})


def _lines(states: dict[str, str]) -> str:
    return "".join(f"{path}: {state}\n" for path, state in sorted(states.items()))


if __name__ == "__main__":
    main()
