# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import grp
import json
import os
import pwd
import socket
from pathlib import Path

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.module_utils._peer_id import peer_id
from ansible_collections.evnode.sequencer_ha.plugins.modules import (
    host_info,
    node_key,
    node_status_info,
    peer_id_info,
    port_probe,
    rtt_info,
    store_head_info,
)

PUBLIC = bytes(range(32))
KEY = json.dumps(
    {"priv_key": base64.b64encode(bytes(32) + PUBLIC).decode(), "pub_key": base64.b64encode(PUBLIC).decode()}
)


@pytest.fixture
def key_path(tmp_path: Path) -> str:
    path = tmp_path / "node_key.json"
    path.write_text(KEY)
    return str(path)


def test_peer_id_without_a_node(run_module, key_path, tmp_path):
    result = run_module(peer_id_info, {"node_key": key_path})
    assert (result["peer_id"], result["running_id"], result["changed"]) == (peer_id(PUBLIC), None, False)
    assert "no rpc_address" in result["reason"]
    missing = {"node_key": str(tmp_path / "none")}
    assert "create it with evnode.sequencer_ha.node_key" in run_module(peer_id_info, missing)["msg"]
    assert run_module(peer_id_info, missing, check=True)["peer_id"] is None


def test_peer_id_of_a_node_with_another_key(run_module, key_path, recorded_node):
    node = recorded_node("single")
    result = run_module(peer_id_info, {"node_key": key_path, "rpc_address": node.address})
    assert result["failed"] is True
    assert peer_id(PUBLIC) in result["msg"]
    assert result["running_id"] in result["msg"]


def test_peer_id_of_a_node_with_this_key(run_module, key_path, recorded_node):
    node = recorded_node("single")
    answer = {"status": 200, "body": json.dumps({"netInfo": {"id": peer_id(PUBLIC)}})}
    node.put("POST", "/evnode.v1.P2PService/GetNetInfo", {}, answer)
    result = run_module(peer_id_info, {"node_key": key_path, "rpc_address": node.address})
    assert (result["peer_id"], result["reason"]) == (result["running_id"], None)


def test_peer_id_of_a_node_that_is_down(run_module, key_path):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{held.getsockname()[1]}"
        result = run_module(peer_id_info, {"node_key": key_path, "rpc_address": address})
    assert (result["peer_id"], result["running_id"]) == (peer_id(PUBLIC), None)
    assert "refused" in result["reason"]


def test_node_key_is_made_by_the_binary_once(run_module, tmp_path):
    binary = tmp_path / "node"
    binary.write_text(f"#!/bin/sh\nmkdir $3/config && cat > $3/config/node_key.json <<'END'\n{KEY}\nEND\n")
    binary.chmod(0o755)
    home = tmp_path / "home"
    arguments = {
        "home": str(home),
        "binary": str(binary),
        "user": pwd.getpwuid(os.geteuid()).pw_name,
        "group": grp.getgrgid(os.getegid()).gr_name,
    }
    foreseen = run_module(node_key, arguments, check=True)
    assert (foreseen["changed"], foreseen["peer_id"]) == (True, None)
    assert not home.exists()
    done = run_module(node_key, arguments)
    assert (done["changed"], done["peer_id"]) == (True, peer_id(PUBLIC))
    binary.write_text("#!/bin/sh\nexit 9\n")
    again = run_module(node_key, arguments)
    assert (again["changed"], again["peer_id"]) == (False, peer_id(PUBLIC))


def test_status_module_never_fails_for_a_node_that_is_down(run_module):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{held.getsockname()[1]}"
        result = run_module(node_status_info, {"rpc_address": address})
    assert result.get("failed") is None
    assert result["status"]["height"] is None
    assert run_module(node_status_info, {"rpc_address": "nonsense"})["failed"] is True


def test_status_module(run_module, recorded_node):
    result = run_module(node_status_info, {"rpc_address": recorded_node("raft").address})
    assert (result["status"]["leader"], result["changed"]) == (True, False)


def test_status_module_tells_what_it_saw_before_it_waited(run_module, recorded_node):
    address = recorded_node("raft").address
    assert "earlier" not in run_module(node_status_info, {"rpc_address": address})
    result = run_module(node_status_info, {"rpc_address": address, "grow_by": 1, "grow_timeout": 0.01})
    assert result["earlier"]["height"] == result["status"]["height"] > 0


def test_rtt_module_takes_a_list_of_members_as_it_is(run_module):
    members = [{"name": "a", "address": "127.0.0.1", "node_id": "n", "peer_id": None, "sequencer": True}]
    result = run_module(rtt_info, {"peers": members, "count": 2, "interval": 0.001, "timeout": 0.5, "port": 1})
    assert [(entry["peer"], entry["sent"], entry["received"]) for entry in result["rtt"]] == [("a", 2, 2)]
    assert "one without 'address'" in run_module(rtt_info, {"peers": [{"name": "a"}]})["msg"]
    assert "above zero" in run_module(rtt_info, {"peers": members, "count": 0})["msg"]
    assert "Expected an IP address" in run_module(rtt_info, {"peers": [{"name": "a", "address": "x"}]})["msg"]


def test_port_module(run_module):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        target = {"peer": "a", "address": "127.0.0.1", "port": port}
        result = run_module(port_probe, {"state": "connect", "targets": [target]}, check=True)
        assert [(entry["peer"], entry["state"]) for entry in result["ports"]] == [("a", "open")]
        listening = {"state": "listen", "address": "127.0.0.1", "ports": [port, 1]}
        checked = run_module(port_probe, listening, check=True)
        assert (checked["occupied"], checked["listening"]) == ([port], [])
    assert "peer, address and port" in run_module(port_probe, {"state": "connect", "targets": [{"peer": "a"}]})["msg"]
    assert "address" in run_module(port_probe, {"state": "listen"})["msg"]


def test_host_module_reads_this_machine(run_module, tmp_path):
    result = run_module(host_info, {"address": "127.0.0.1", "home": str(tmp_path), "space_paths": [str(tmp_path)]})
    host = result["host"]
    assert (host["has_address"], host["home_exists"], host["home_has_blocks"]) == (True, True, False)
    assert host["free_bytes"][str(tmp_path)] > 0
    assert host["clock"]["epoch"] > 1_500_000_000


def test_head_module_starts_nothing_in_check_mode(run_module):
    arguments = {"unit": "chain", "binary": "/n", "home": "/h", "user": "u", "group": "g"}
    result = run_module(store_head_info, arguments, check=True)
    assert (result["head"], result["changed"]) == (None, False)


def test_head_module_does_not_open_half_a_copy(run_module, tmp_path):
    (tmp_path / "chain").mkdir()
    marker = tmp_path / "chain" / ".copying"
    marker.write_text('{"/srv/data": {"phase": "last", "from": "10.0.0.2"}}')
    arguments = {"unit": "chain", "binary": "/n", "home": "/h", "user": "u", "group": "g", "state_dir": str(tmp_path)}
    for check in (False, True):
        result = run_module(store_head_info, arguments, check=check)
        assert (result["head"], result["half_copied"], result["changed"]) == (None, ["/srv/data"], False)
    marker.write_text("")
    assert "cannot be read" in run_module(store_head_info, arguments)["msg"]
