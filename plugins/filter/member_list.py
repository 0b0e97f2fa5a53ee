# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The members of the cluster as data: what every role that concerns more than one host is given."""

from __future__ import annotations

import typing as t

if t.TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

DOCUMENTATION = """
name: member_list
short_description: List the members of the cluster with node id, address and peer id
version_added: 0.1.0
author: The evnode.sequencer_ha authors (@evnode)
description:
  - Turns the hosts of the group C(evnode_members) into the list of members that the roles take.
options:
  _input:
    description: Names of the members, in the order of the inventory.
    type: list
    elements: str
    required: true
  hostvars:
    description: The variables of all hosts.
    type: dict
    required: true
  sequencer:
    description: Names of the hosts in the group of the sequencer.
    type: list
    elements: str
    required: true
"""

EXAMPLES = """
- name: List the members
  ansible.builtin.debug:
    msg: "{{ groups['evnode_members'] | evnode.sequencer_ha.member_list(hostvars, groups['evnode_sequencer']) }}"
"""

RETURN = """
_value:
  description:
    - One dictionary a member, with C(name), C(node_id), C(address), C(sequencer), and C(peer_id) where it was read.
  type: list
  elements: dict
"""


def member_list(
    names: Sequence[str], hostvars: Mapping[str, t.Any], sequencer: Sequence[str]
) -> list[dict[str, t.Any]]:
    """Return one dictionary a member; ``peer_id`` is None until ``node_config_peer`` was registered on the host."""
    members = []
    for name in names:
        variables = hostvars[name]
        peer = variables.get("node_config_peer") or {}
        members.append(
            {
                "name": name,
                "node_id": str(variables.get("evnode_node_id") or name),
                "address": str(variables.get("evnode_address") or variables.get("ansible_host") or name),
                "peer_id": peer.get("peer_id"),
                "sequencer": name in sequencer,
            }
        )
    return members


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., t.Any]]:
        """Name the filters."""
        return {"member_list": member_list}
