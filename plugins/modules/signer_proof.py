#!/usr/bin/python

# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: signer_proof
short_description: Prove that the passphrase opens the signer
version_added: 0.1.0
author: The evnode.sequencer_ha authors (@evnode)
description:
  - Lets the node's binary decrypt the signer as the service user, and compares the signer's address with the chain's
    proposer. A node checks the address only when it becomes the leader, so a wrong signer would show at the first
    failover.
  - The binary would print the key. Its output goes to C(/dev/null) and only its exit code is read.
  - Nothing is written below the node's home.
extends_documentation_fragment:
  - evnode.sequencer_ha._attributes
  - evnode.sequencer_ha._attributes.actiongroup
  - evnode.sequencer_ha._attributes.info
options:
  binary:
    description: Absolute path of the node's binary.
    type: path
    required: true
  signer_path:
    description: The signer file, or the directory that holds C(signer.json).
    type: path
    required: true
  passphrase_file:
    description: File with the passphrase.
    type: path
    required: true
  user:
    description: Name of the service user, as which the binary runs.
    type: str
    required: true
  expected_address:
    description: Address of the chain's proposer in Base64, as in the genesis; without it any address is accepted.
    type: str
"""

EXAMPLES = r"""
- name: Prove that the passphrase opens the signer
  evnode.sequencer_ha.signer_proof:
    binary: /usr/local/bin/evm
    signer_path: /var/lib/ev-node/config
    passphrase_file: /etc/ev-node/passphrase
    user: evnode
    expected_address: Vkdap1RjR0wChd9dvyvKtz2mUTWIOem3dIGy6rEHcIw=
"""

RETURN = r"""
address:
  description:
    - Address of the signer in Base64. V(null) only in check mode, where an earlier task would have placed the signer.
  returned: success
  type: str
reason:
  description: Why RV(address) is V(null), else V(null).
  returned: success
  type: str
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evnode.sequencer_ha.plugins.module_utils._errors import HaError
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._signer import Signer, file_of, prove


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "binary": {"type": "path", "required": True},
            "signer_path": {"type": "path", "required": True},
            # The name of a file, not a passphrase.
            "passphrase_file": {"type": "path", "required": True, "no_log": False},
            "user": {"type": "str", "required": True},
            "expected_address": {"type": "str"},
        },
        supports_check_mode=True,
    )
    params = module.params
    if module.check_mode:
        needed = (params["binary"], file_of(params["signer_path"]), params["passphrase_file"])
        missing = [path for path in needed if not os.path.exists(path)]
        if missing:
            module.exit_json(changed=False, address=None, reason=f"not there yet: {', '.join(missing)}")
    try:
        address = prove(
            Signer(
                params["binary"],
                params["signer_path"],
                params["passphrase_file"],
                params["user"],
                params["expected_address"],
            )
        )
    except HaError as exc:
        module.fail_json(msg=exc.message)
    module.exit_json(changed=False, address=address, reason=None)


if __name__ == "__main__":
    main()
