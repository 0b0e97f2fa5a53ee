#!/usr/bin/python
# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: sequencer_info
short_description: Find out how an ev-node sequencer is set up
version_added: 0.1.0
author: The evnode.sequencer_ha authors (@evnode)
description:
  - Reads the systemd unit with its drop-ins, the command line of the running process, C(evnode.yaml), genesis, the
    signer's public key and what the node answers over RPC, and returns one profile of all that.
  - The command line of the running process counts where it differs from the unit, and the difference is reported.
  - Once the collection manages the unit, the profile describes the original single sequencer, as it was saved, so it is
    the same before and after a migration. RV(sequencer.mode) tells what the unit runs now.
  - A setting that a migration cannot live with does not make the module fail; it is listed in RV(sequencer.problems).
  - YAML is parsed on the controller, so the host needs nothing beyond the Python standard library.
  - Needs root on the host.
options:
  unit:
    description: Name of the systemd unit, without C(.service).
    type: str
    required: true
  config_dir:
    description: Where the collection keeps a member's configuration.
    type: path
    default: /etc/evnode-ha
  overrides:
    description: What to believe instead of what is found.
    type: dict
    default: {}
    suboptions:
      binary:
        description: The node's program.
        type: path
      home:
        description: The node's home directory.
        type: path
      user:
        description: The account that the node runs as.
        type: str
      group:
        description: The group that the node runs as.
        type: str
      passphrase_file:
        description: The file that holds the signer's passphrase.
        type: path
      jwt_file:
        description: The file that holds the execution client's JWT secret.
        type: path
      signer_path:
        description: The directory that holds C(signer.json), or that file.
        type: path
      rpc_address:
        description: Where the node answers on this host, as C(host:port).
        type: str
  material:
    description:
      - Also return RV(material), which holds secrets. Only for tasks with C(no_log).
    type: bool
    default: false
  probe:
    description: Used by the module's controller half for its second question. Leave it out.
    type: dict
extends_documentation_fragment:
  - evnode.sequencer_ha._attributes
  - evnode.sequencer_ha._attributes.info
  - evnode.sequencer_ha._attributes.actiongroup
seealso:
  - module: evnode.sequencer_ha.member_config
"""

EXAMPLES = r"""
- name: Read the sequencer's setup
  evnode.sequencer_ha.sequencer_info:
    unit: ev-node
  register: found

- name: Read it again, with what the members' files are made from
  evnode.sequencer_ha.sequencer_info:
    unit: ev-node
    material: true
  register: sealed
  no_log: true
"""

RETURN = r"""
sequencer:
  description:
    - The profile. Secret values are shown as fingerprints, and so is what stands before the C(@) of a URL.
  returned: success
  type: dict
  contains:
    unit:
      description: Name of the unit, without C(.service).
      type: str
    fragment_path:
      description: The unit file; null where there is none.
      type: str
    drop_ins:
      description: Drop-ins in the order in which systemd reads them.
      type: list
      elements: str
    active_state:
      description: What systemd calls the unit's state.
      type: str
    main_pid:
      description: The main process; 0 where none runs.
      type: int
    enabled:
      description: Whether the unit starts at boot.
      type: bool
    user:
      description: The account of the service.
      type: str
    group:
      description: The group of the service.
      type: str
    working_directory:
      description: Working directory of the service.
      type: str
    environment:
      description: C(NAME=value) of the unit, secret values as fingerprints.
      type: list
      elements: str
    environment_files:
      description:
        - Paths of the unit's environment files with specifiers expanded, one that may be missing with a C(-) in front.
        - Their content is not returned.
      type: list
      elements: str
    limit_nofile:
      description: The unit's limit of open files.
      type: str
    timeout_stop_s:
      description: How long systemd waits for the node to stop, in seconds; null for no limit.
      type: float
    after:
      description: Units that this unit names in C(After=).
      type: list
      elements: str
    binary:
      description: Absolute path of the program.
      type: str
    binary_sha256:
      description: Checksum of the program.
      type: str
    binary_version:
      description:
        - What the program calls its version, asked as the account that runs it; null for builds without one, and where
          that account has no name on this host.
      type: str
    argv:
      description: The whole command line, secret values as fingerprints.
      type: list
      elements: str
    subcommand:
      description: The subcommand that starts the node.
      type: str
    home:
      description: The node's home directory.
      type: str
    yaml_path:
      description: The node's configuration file.
      type: str
    yaml_present:
      description: Whether that file exists.
      type: bool
    node_key_path:
      description: The file with the peer identity.
      type: str
    genesis_path:
      description: The genesis file.
      type: str
    genesis_sha256:
      description: Checksum of the genesis file; null where it is missing.
      type: str
    db_path:
      description: Absolute path of the node's data.
      type: str
    raft_dir:
      description: The configured Raft directory; null where none is configured.
      type: str
    chain_id:
      description: Chain id of the genesis.
      type: str
    proposer_address:
      description: Address that may propose blocks, in base64.
      type: str
    signer:
      description:
        - C(type), C(path) of the key file and C(address), the address that this key has, and C(kms), how the node names
          a key in a KMS, as the options of M(evnode.sequencer_ha.kms_access_info).
      type: dict
    passphrase_file:
      description: The file with the signer's passphrase; null where none is given.
      type: str
    jwt_file:
      description: The file with the execution client's JWT secret; null where none is given.
      type: str
    application_flags:
      description: Words of the command line that belong to the application, in order, secret values as fingerprints.
      type: list
      elements: str
    evnode_flags:
      description: The node's own flags, by dotted key.
      type: dict
    effective:
      description: Every setting of the node with its C(value) and C(origin) (V(flag), V(yaml) or V(default)).
      type: dict
    ports:
      description: Ports C(p2p), C(rpc) and C(raft).
      type: dict
    rpc_address:
      description: Where the node answers on its own host.
      type: str
    p2p_listen_address:
      description: The multiaddr that the node listens on.
      type: str
    p2p_peers:
      description: The peers it dials.
      type: str
    block_time_s:
      description: Block time in seconds.
      type: float
    namespaces:
      description: C(header) and C(data) namespace as the running node answers; null where it does not.
      type: dict
    execution:
      description:
        - The execution client that the node drives, as C(eth_url), C(engine_url), C(genesis_hash) and
          C(fee_recipient) of its flags; V(null) for a chain without one.
      type: dict
    node:
      description:
        - What the running node says of itself, as C(height), C(age_s), the age of its newest block in seconds,
          C(interval_s), the median time between the newest blocks of a single sequencer, and C(reason), why there is
          no answer.
      type: dict
    mode:
      description: One of V(single), V(follower), V(raft), V(unmanaged) (not ours yet), V(absent) (no unit).
      type: str
    armed:
      description: Whether the unit is the collection's already.
      type: bool
    membership:
      description: >-
        Raft address (C(host:port)) of every member of this host's cluster by node id, as its own configuration has
        them; empty unless RV(sequencer.mode) is V(raft).
      type: dict
    problems:
      description: What stands in the way of a migration, each with C(id), C(found) and C(remedy).
      type: list
      elements: dict
material:
  description: What the members' files are made from. Holds secrets.
  returned: O(material=true)
  type: dict
  contains:
    base:
      description: The live C(evnode.yaml), in base64.
      type: str
    arguments:
      description: JSON list of every argument after the program, in base64.
      type: str
    environment:
      description: C(NAME=value) of the unit's secret variables.
      type: list
      elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._discovery import probe, read
from ..module_utils._errors import HaError


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "unit": {"type": "str", "required": True},
            "config_dir": {"type": "path", "default": "/etc/evnode-ha"},
            "overrides": {
                "type": "dict",
                "default": {},
                "options": {
                    "binary": {"type": "path"},
                    "home": {"type": "path"},
                    "user": {"type": "str"},
                    "group": {"type": "str"},
                    "passphrase_file": {"type": "path", "no_log": False},
                    "jwt_file": {"type": "path"},
                    "signer_path": {"type": "path"},
                    "rpc_address": {"type": "str"},
                },
            },
            "material": {"type": "bool", "default": False},
            "probe": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    parameters = module.params
    overrides = {name: value for name, value in parameters["overrides"].items() if value}
    try:
        if parameters["probe"] is not None:
            module.exit_json(changed=False, probed=probe(parameters["probe"]))
        module.exit_json(changed=False, raw=read(parameters["unit"], parameters["config_dir"], overrides))
    except HaError as exc:
        module.fail_json(msg=exc.message)


if __name__ == "__main__":
    main()
