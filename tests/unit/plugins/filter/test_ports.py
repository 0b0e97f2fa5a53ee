# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.filter.migration import FilterModule

FILTERS = FilterModule().filters()
MEMBERS = [{"name": f"node-{number}", "address": f"10.0.0.{number}"} for number in (1, 2)]


def test_a_member_tries_every_port_of_the_others_and_none_of_its_own():
    assert FILTERS["port_targets"](MEMBERS, "node-1", [5001, 7676]) == [
        {"peer": "node-2", "address": "10.0.0.2", "port": 5001},
        {"peer": "node-2", "address": "10.0.0.2", "port": 7676},
    ]


def test_only_what_was_opened_for_the_probe_has_to_be_open():
    answers = [{"peer": "node-2", "port": port, "state": "refused"} for port in (5001, 7676)]
    hostvars = {
        "node-1": {"preflight_reached": {"ports": answers}, "preflight_listener": {"failed": True, "msg": "no"}},
        "node-2": {"preflight_listener": {"listening": [5001]}},
    }
    found = FILTERS["reached_ports"](["node-1", "node-2"], hostvars)
    assert [answer["opened"] for answer in found["node-1"]] == [True, False]
    assert found["node-2"] == []


@pytest.mark.parametrize(
    ("address", "listen", "port", "dialled"),
    [
        ("10.0.0.2", "/ip4/0.0.0.0/tcp/7676", 0, "/ip4/10.0.0.2/tcp/7676"),
        ("10.0.0.2", "/ip4/10.0.0.1/udp/7676/quic-v1", 8676, "/ip4/10.0.0.2/udp/8676/quic-v1"),
        ("fd00::2", "/ip6/::/tcp/7676", 8676, "/ip6/fd00::2/tcp/8676"),
        ("[fd00::2]", "/ip4/0.0.0.0/tcp/7676", 0, "/ip6/fd00::2/tcp/7676"),
    ],
)
def test_a_node_is_dialled_by_the_address_of_its_member(address, listen, port, dialled):
    member = {"name": "node-2", "node_id": "two", "address": address, "peer_id": None}
    assert FILTERS["multiaddr"](member, listen, port) == dialled
    assert FILTERS["multiaddr"]({**member, "peer_id": "12D3"}, listen, port) == f"{dialled}/p2p/12D3"


@pytest.mark.parametrize(
    ("address", "overrides", "targets"),
    [
        ("http://10.0.0.9:7980", {}, [("10.0.0.9", 7980)]),
        ("https://da.example", {}, [("da.example", 443)]),
        ("da.example:26658", {}, [("da.example", 26658)]),
        ("http://[fd00::9]:26658/path", {}, [("fd00::9", 26658)]),
        ("http://10.0.0.9:7980", {"da.address": "http://10.0.0.8:7981"}, [("10.0.0.8", 7981)]),
        ("da.example", {}, []),
        ("http://da.example:port", {}, []),
        ("", {}, []),
    ],
)
def test_where_the_da_node_is(address, overrides, targets):
    profile = {"effective": {"da.address": {"value": address, "origin": "yaml"}}}
    found = FILTERS["da_targets"](profile, overrides)
    assert [(target["address"], target["port"]) for target in found] == targets
    assert all(target["peer"] == "DA" for target in found)


def test_a_sequencer_that_was_not_read_has_no_da_node():
    assert FILTERS["da_targets"]({}, {}) == []
