#!/usr/bin/python

# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_info
short_description: Look at a host that is, or will be, a member
version_added: 0.1.0
author: The evnode.sequencer_ha authors (@evnode)
description:
  - Returns what a migration depends on and a host alone can tell, such as its addresses, its systemd, the chain in a
    home, what is in the Raft directory, listening ports, free space, and the clock.
  - The controller adds the time before and after, so that V(host.clock) bounds the difference to the controller's
    clock.
extends_documentation_fragment:
  - evnode.sequencer_ha._attributes
  - evnode.sequencer_ha._attributes.actiongroup
  - evnode.sequencer_ha._attributes.info
options:
  address:
    description: The address that this member is to use, to tell whether it is on this host.
    type: str
  unit:
    description: Name of the node's systemd unit without C(.service).
    type: str
  home:
    description: The node's home.
    type: path
  db_path:
    description: The store, absolute or below O(home).
    type: str
    default: data
  raft_dir:
    description: The member's Raft directory.
    type: path
  binary:
    description: The node's binary, to return its checksum.
    type: path
  user:
    description: The service user, to tell whether it exists.
    type: str
  config_dir:
    description: Where this collection keeps the configuration of the members.
    type: path
    default: /etc/evnode-ha
  state_dir:
    description: Where this collection keeps its journal and state.
    type: path
    default: /var/lib/evnode-ha
  ports:
    description: TCP ports to look at.
    type: list
    elements: int
    default: []
  space_paths:
    description: Paths whose file systems' free space to return. A path need not exist yet.
    type: list
    elements: path
    default: []
  execution_rpc:
    description: JSON-RPC of the node's execution client as this host reaches it; empty for a chain without one.
    type: str
  client_unit:
    description: Unit of the execution client, where its data are to be copied; empty otherwise.
    type: str
  jwt_file:
    description: File with the secret of the client's Engine API, to return its checksum.
    type: path
  environment_files:
    description: Environment files of the sequencer's unit, to return their fingerprints.
    type: list
    elements: path
    default: []
"""

EXAMPLES = r"""
- name: Look at the host
  evnode.sequencer_ha.host_info:
    address: 10.0.0.2
    unit: ev-node
    home: /var/lib/ev-node
    raft_dir: /var/lib/ev-node/raft
    binary: /usr/local/bin/evm
    ports: [5001, 7676]
    space_paths: [/var/lib/ev-node]
  register: member_host
"""

RETURN = r"""
host:
  description: The facts. One that was not asked for or cannot be read is V(null).
  returned: success
  type: dict
  contains:
    addresses:
      description: The addresses of all interfaces.
      type: list
      elements: str
    has_address:
      description: Whether O(address) is on this host.
      type: bool
    hostname:
      description: The host's own name.
      type: str
    python:
      description: Version of the Python that ran this.
      type: str
    root:
      description: Whether the module ran as root.
      type: bool
    systemd_version:
      description: Version of systemd.
      type: int
    unit_exists:
      description: Whether systemd knows O(unit).
      type: bool
    unit_ours:
      description: Whether its file was written by this collection.
      type: bool
    unit_active:
      description: Whether it runs.
      type: bool
    unit_enabled:
      description: Whether it starts at boot.
      type: bool
    unit_pid:
      description: Its main process.
      type: int
    strays:
      description:
        - Processes of this host that run a node and do not belong to O(unit), as
          RV(evnode.sequencer_ha.node_status_info#module:status.strays).
      type: list
      elements: dict
    user_exists:
      description: Whether O(user) exists.
      type: bool
    home_exists:
      description: Whether O(home) exists.
      type: bool
    home_chain_id:
      description: Chain id in the genesis in O(home).
      type: str
    home_genesis_sha256:
      description: Checksum of that genesis.
      type: str
    home_has_blocks:
      description: Whether there is a store in O(home).
      type: bool
    store_bytes:
      description: What that store takes on disk, holes left out; V(null) where there is none.
      type: int
    node_key_exists:
      description: Whether there is a node key in O(home).
      type: bool
    peer_id:
      description: Peer ID that follows from that node key.
      type: str
    raft_dir_entries:
      description: Names in O(raft_dir), V(null) where it does not exist.
      type: list
      elements: str
    sealed:
      description: Whether O(raft_dir) is exactly what sealing left there; V(null) where it was never sealed.
      type: bool
    held:
      description: Whether a rollback that was broken off has left this joiner waiting for word of the sequencer.
      type: bool
    binary_sha256:
      description: Checksum of O(binary).
      type: str
    listening:
      description: For each of O(ports), whether something listens on it.
      type: dict
    listeners:
      description: Who listens, as C(name[pid]), where it can be seen.
      type: dict
    free_bytes:
      description: Free space for each of O(space_paths).
      type: dict
    free_inodes:
      description: How many files may still be created on each of them, V(null) where the file system sets no number.
      type: dict
    read_only:
      description: Paths that a migration writes to and that are on a file system mounted read-only.
      type: list
      elements: path
    no_exec:
      description: Whether O(binary) is, or would be, on a file system mounted C(noexec).
      type: bool
    reboot_pending:
      description: Whether an upgrade waits for a reboot, as Debian and Ubuntu mark it.
      type: bool
    clock:
      description:
        - C(epoch) on the host, whether it is C(synchronized), and the controller's C(controller_before) and
          C(controller_after), between which C(epoch) was read.
      type: dict
    fstype:
      description: Type of the file system of O(home).
      type: str
    architecture:
      description: The machine's architecture.
      type: str
    mode:
      description:
        - Mode that the member is switched to, V(absent) where this collection has left something without a mode, or
          V(unmanaged).
      type: str
    memory:
      description: C(total) and C(available) memory, and what of it is C(swapped) out, in bytes.
      type: dict
    sync:
      description:
        - How long a write of 4 KiB takes to the disk of O(raft_dir), as C(p50_ms), C(p99_ms) and C(max_ms) of so many
          C(samples). All of them V(null), with a C(reason), where it cannot be measured without leaving a file.
      type: dict
    selinux:
      description: Whether SELinux enforces its policy; V(null) where there is none.
      type: bool
    execution:
      description:
        - What the execution client says of itself, as C(version), C(genesis_hash), C(height) and C(hash) of its newest
          block, and C(reason), why one of them is V(null).
      type: dict
    client:
      description:
        - What M(evnode.sequencer_ha.execution_client_info) returns of O(client_unit), with C(free_bytes) of the file
          system of its data and C(half_copied), whether an earlier copy to it was broken off.
        - Only a C(reason) where it cannot be read, V(null) without O(client_unit).
      type: dict
    jwt_sha256:
      description: Checksum of O(jwt_file), V(null) where there is none.
      type: str
    environment_files:
      description: Fingerprint of each of O(environment_files) by its path, V(null) for one that is not there.
      type: dict
    upgrades:
      description: Active units that upgrade packages by themselves.
      type: list
      elements: str
    tools:
      description: Paths of the programs that the collection uses, V(null) for a missing one.
      type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evnode.sequencer_ha.plugins.module_utils._errors import HaError
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._host import Wanted, collect


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str"},
            "unit": {"type": "str"},
            "home": {"type": "path"},
            "db_path": {"type": "str", "default": "data"},
            "raft_dir": {"type": "path"},
            "binary": {"type": "path"},
            "user": {"type": "str"},
            "config_dir": {"type": "path", "default": "/etc/evnode-ha"},
            "state_dir": {"type": "path", "default": "/var/lib/evnode-ha"},
            "ports": {"type": "list", "elements": "int", "default": []},
            "space_paths": {"type": "list", "elements": "path", "default": []},
            "execution_rpc": {"type": "str"},
            "client_unit": {"type": "str"},
            "jwt_file": {"type": "path"},
            "environment_files": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    try:
        host = collect(Wanted(**module.params))
    except HaError as exc:
        module.fail_json(msg=exc.message)
    module.exit_json(changed=False, host=host)


if __name__ == "__main__":
    main()
