#!/usr/bin/python

# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: secret_read
short_description: Read small secret files into memory
version_added: 0.1.0
author: The evnode.sequencer_ha authors (@evnode)
description:
  - Returns the contents of files, such as the signer, its passphrase or a JWT, so that
    M(evnode.sequencer_ha.secret_write) can place them on another host without a copy on the controller's disk.
  - Refuses to run in a task without C(no_log=true), since the result is the secret.
extends_documentation_fragment:
  - evnode.sequencer_ha._attributes
  - evnode.sequencer_ha._attributes.actiongroup
  - evnode.sequencer_ha._attributes.info
options:
  paths:
    description: Absolute paths of the files. A symbolic link is followed.
    type: list
    elements: path
    required: true
  max_bytes:
    description: A larger file is refused, as it is not the secret that was meant.
    type: int
    default: 65536
"""

EXAMPLES = r"""
- name: Read signer and passphrase of the sequencer
  evnode.sequencer_ha.secret_read:
    paths:
      - /var/lib/ev-node/config/signer.json
      - /var/lib/ev-node/passphrase
  register: keys
  no_log: true
"""

RETURN = r"""
files:
  description: The files, in the order in which they were asked for.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: The path that was asked for.
      type: str
    present:
      description: Whether the file is there.
      type: bool
    content:
      description: The content in Base64; empty where the file is absent.
      type: str
    sha256:
      description: Fingerprint of the content, fit for logs and comparisons; V(null) where the file is absent.
      type: str
      sample: sha256:9f86d081884c
"""

import base64
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evnode.sequencer_ha.plugins.module_utils._errors import HaError
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._secrets import read_secret


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "paths": {"type": "list", "elements": "path", "required": True},
            "max_bytes": {"type": "int", "default": 65536},
        },
        supports_check_mode=True,
    )
    paths = module.params["paths"]
    if not module.no_log:
        module.fail_json(
            msg=f"Expected no_log: true on the task that reads {', '.join(paths)}, found none; the result is a secret"
        )
    files: list[dict[str, t.Any]] = []
    unread = []
    for path in paths:
        try:
            secret = read_secret(path, module.params["max_bytes"])
        except HaError as exc:
            unread.append(exc.message)
            continue
        files.append(
            {
                "path": path,
                "present": secret is not None,
                "content": base64.b64encode(secret.content).decode() if secret else "",
                "sha256": secret.fingerprint if secret else None,
            }
        )
    if unread:
        module.fail_json(msg=". ".join(unread))
    module.exit_json(changed=False, files=files)


if __name__ == "__main__":
    main()
