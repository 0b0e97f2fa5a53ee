#!/usr/bin/python

# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: store_manifest_info
short_description: Read what a stopped store holds as one digest
version_added: 0.1.0
author: The evnode.sequencer_ha authors (@evnode)
description:
  - Reads every file of a store and returns one digest over paths, sizes and contents.
  - Chunks of zeros count as holes, so two copies have the same digest whatever their file systems did with holes.
  - The store has to be at rest. A file that changes while it is read is an error.
extends_documentation_fragment:
  - evnode.sequencer_ha._attributes
  - evnode.sequencer_ha._attributes.actiongroup
  - evnode.sequencer_ha._attributes.info
options:
  root:
    description: Directory of the store, or one file.
    type: path
    required: true
  exclude:
    description:
      - Patterns of what does not count. One without a slash is compared with every component of a path, one with a
        slash with the path from the root.
      - Lock files, the node key, the signer, JWT secrets and C(evnode.yaml) never count.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Read the manifest of the store
  evnode.sequencer_ha.store_manifest_info:
    root: /var/lib/ev-node/data
    exclude: [raft]
  register: store
"""

RETURN = r"""
manifest:
  description: The store in four values.
  returned: success
  type: dict
  contains:
    digest:
      description: SHA-256 over paths, sizes and contents, hex.
      type: str
    files:
      description: Number of files.
      type: int
    apparent_bytes:
      description: Sum of the files' sizes.
      type: int
    real_bytes:
      description: What they take on disk.
      type: int
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evnode.sequencer_ha.plugins.module_utils._errors import HaError
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._store.pull import manifest


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "exclude": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    try:
        found = manifest(module.params["root"], module.params["exclude"])
    except HaError as exc:
        module.fail_json(msg=exc.message)
    module.exit_json(changed=False, manifest=found.as_dict())


if __name__ == "__main__":
    main()
