#!/usr/bin/python

# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kms_access_info
short_description: Try whether a host gets at a signing key in a KMS
version_added: 0.1.0
author: The evnode.sequencer_ha authors (@evnode)
description:
  - Reads the key's public half with the provider's own tool (C(aws) or C(gcloud)), as the service user, or as root
    where that does not exist yet. The tool's output is thrown away.
  - Nothing is signed, so the right to sign is not proven.
extends_documentation_fragment:
  - evnode.sequencer_ha._attributes
  - evnode.sequencer_ha._attributes.actiongroup
  - evnode.sequencer_ha._attributes.info
options:
  provider:
    description: V(aws) or V(gcp); for any other RV(readable) is V(null).
    type: str
    required: true
  key:
    description: Id, alias or ARN of the key, or the resource name of the key's version.
    type: str
    required: true
  region:
    description: Region of the key at O(provider=aws).
    type: str
    default: ""
  profile:
    description: Profile of the tool at O(provider=aws).
    type: str
    default: ""
  credentials_file:
    description: File with the credentials of a service account at O(provider=gcp).
    type: str
    default: ""
  user:
    description: Name of the service user.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Try whether this host gets at the key
  evnode.sequencer_ha.kms_access_info:
    provider: aws
    key: alias/sequencer
    region: eu-central-1
    user: evnode
  register: sequencer_key
"""

RETURN = r"""
readable:
  description: Whether the public key could be read; V(null) where the tool is not installed.
  returned: success
  type: bool
reason:
  description: Why RV(readable) is not V(true), the last line that the tool said among others.
  returned: success
  type: str
command:
  description: The command, to be repeated by a person.
  returned: success
  type: str
user:
  description: Who ran it.
  returned: success
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evnode.sequencer_ha.plugins.module_utils._errors import HaError
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._kms import Key, access


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "provider": {"type": "str", "required": True},
            # The name of a key, and of a file.
            "key": {"type": "str", "required": True, "no_log": False},
            "region": {"type": "str", "default": ""},
            "profile": {"type": "str", "default": ""},
            "credentials_file": {"type": "str", "default": ""},
            "user": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    params = module.params
    key = Key(params["provider"], params["key"], params["region"], params["profile"], params["credentials_file"])
    try:
        found = access(key, params["user"])
    except HaError as exc:
        module.fail_json(msg=exc.message)
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
