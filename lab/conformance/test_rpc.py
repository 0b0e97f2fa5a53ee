# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands and answers of a running single sequencer: ``version``, ``net-info``, RPC, health."""

from __future__ import annotations

import base64
import json
import re

import pytest

from .node import CHAIN_ID, Bench, Node, RpcError


@pytest.fixture(scope="module")
def single(shared_bench: Bench) -> Node:
    """A single sequencer with some blocks; the tests of this module only read."""
    node = shared_bench.sequencer()
    node.start()
    node.wait_height(5)
    return node


def test_version_has_two_lines_between_empty_ones(bench: Bench) -> None:
    done = bench.binary.run("version")
    if done.rc != 0:
        # A build without stamps says so, and a tool has to fall back to a checksum.
        assert done.error in ("git SHA not set", "version not set"), done.describe()
        return
    assert re.fullmatch(r"\nevolve version:  \S+\nevolve git sha:  \S+\n\n", done.stdout), repr(done.stdout)


def test_an_unknown_command_fails(bench: Bench) -> None:
    done = bench.binary.run("no-such-command")
    assert done.rc == 1 and "unknown command" in done.error, done.describe()


def test_net_info_as_json(single: Node) -> None:
    done = single.bench.binary.run("net-info", "--home", str(single.home), "-o", "json")
    assert done.rc == 0, done.describe()
    answer = json.loads(done.stdout)
    assert set(answer) == {"node_id", "listen_addresses", "peers"}
    assert answer["node_id"] == single.peer_id
    assert answer["listen_addresses"] == [single.multiaddr]
    assert answer["peers"] == []


def test_net_info_as_text(single: Node) -> None:
    done = single.bench.binary.run("net-info", "--home", str(single.home))
    assert done.rc == 0, done.describe()
    rule = "=" * 50
    assert done.stdout.startswith(
        f"{rule}📊 NODE INFORMATION{rule}\n🆔 Node ID:      \x1b[1;36m{single.peer_id}\x1b[0m\n"
    )
    assert f"📡 Listen Addrs:   [1] Addr: \x1b[1;36m{single.multiaddr}\x1b[0m\n" in done.stdout
    assert done.stdout.endswith(
        f"👥 CONNECTED PEERS: \x1b[1;33m0\x1b[0m\n\n\x1b[3;33mNo peers connected\x1b[0m{rule}\n"
    )


def test_net_info_in_another_format_is_refused(single: Node) -> None:
    done = single.bench.binary.run("net-info", "--home", str(single.home), "--output", "yaml")
    assert done.rc == 1
    assert done.error == 'unsupported output format "yaml" (supported: text, json)'


def test_net_info_needs_a_running_node(bench: Bench) -> None:
    node = bench.sequencer()
    done = bench.binary.run("net-info", "--home", str(node.home))
    assert done.rc == 1
    assert done.error.startswith("GetNetInfo RPC: unavailable: dial tcp ") and "connection refused" in done.error


def test_get_net_info_agrees_with_the_node_key(single: Node) -> None:
    info = single.net_info()
    assert info["id"] == single.peer_id
    assert info["listenAddresses"] == [single.multiaddr]


def test_get_state(single: Node) -> None:
    state = single.state()
    assert state["chainId"] == CHAIN_ID
    assert state["initialHeight"] == "1"
    assert int(state["lastBlockHeight"]) >= 5
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", state["lastBlockTime"])
    assert "lastHeaderHash" not in state


def test_get_state_leaves_out_a_height_of_0(bench: Bench) -> None:
    """A full node that has nobody to follow has a state without a height."""
    leader = bench.sequencer()
    node = bench.joiner("node-2", leader)
    node.write_config(p2p={"peers": ""})
    node.start()
    node.wait_rpc()
    assert "lastBlockHeight" not in node.state()
    assert node.header_store_head() == (0, "")


def test_get_block(single: Node) -> None:
    answer = single.block(3)
    header = answer["block"]["header"]
    assert set(header) == {"header", "signature", "signer"}
    inner = header["header"]
    assert inner["height"] == "3" and inner["chainId"] == CHAIN_ID
    assert len(inner["time"]) == 19
    assert {"lastHeaderHash", "dataHash", "proposerAddress"} <= set(inner)
    assert len(base64.b64decode(inner["lastHeaderHash"])) == 32
    assert set(header["signer"]) == {"address", "pubKey"}
    assert answer["block"]["data"]["metadata"]["height"] == "3"
    assert "hash" not in answer["block"] and "hash" not in header


def test_get_block_0_is_the_latest(single: Node) -> None:
    before = single.height()
    assert int(single.header(0)["header"]["height"]) >= before


@pytest.mark.parametrize(
    "body", [{"height": "10000000"}, {"hash": base64.b64encode(bytes(32)).decode()}], ids=["height", "hash"]
)
def test_get_block_that_does_not_exist(single: Node, body: dict[str, str]) -> None:
    """v1.2.3 says 500 and ``internal`` here, where 404 and ``not_found`` are documented: a tool has to take both."""
    with pytest.raises(RpcError) as refused:
        single.call("StoreService/GetBlock", body)
    assert refused.value.kind == "http" and refused.value.status in (404, 500)
    assert refused.value.body["code"] in ("not_found", "internal")
    assert "not found" in refused.value.body["message"]


def test_get_metadata(single: Node) -> None:
    with pytest.raises(RpcError) as refused:
        single.call("StoreService/GetMetadata", {"key": "no-such-key"})
    assert refused.value.status == 404 and refused.value.body["code"] == "not_found"


def test_hash_of_the_head_is_named_by_the_next_block(single: Node) -> None:
    height, digest = single.header_store_head()
    assert height >= 5
    single.wait_height(height + 1)
    assert single.parent_hash(height + 1) == digest


def test_p2p_stores_have_labels_and_tails(single: Node) -> None:
    stores = single.call("StoreService/GetP2PStoreInfo")["stores"]
    assert [store["label"] for store in stores] == ["Header Store", "Data Store"]
    assert all(store["tail"]["height"] == "1" and {"height", "hash", "time"} <= set(store["head"]) for store in stores)


def test_time_and_links_grow(single: Node) -> None:
    blocks = [single.header(height)["header"] for height in range(1, 6)]
    times = [int(block["time"]) for block in blocks]
    assert times == sorted(set(times))
    assert len({block.get("lastHeaderHash", "") for block in blocks}) == 5


def test_get_namespace(single: Node) -> None:
    answer = single.namespaces()
    assert set(answer) == {"headerNamespace", "dataNamespace"}
    assert all(re.fullmatch(r"(0x)?[0-9a-f]{58}", value) for value in answer.values())


def test_the_same_namespace_setting_gives_the_same_namespace(single: Node) -> None:
    other = single.bench.joiner("node-2", single)
    other.start()
    other.wait_rpc()
    assert other.namespaces() == single.namespaces()
    other.write_config(da={"namespace": "another"})
    assert other.stop() == 0
    other.start()
    other.wait_rpc()
    assert other.namespaces() != single.namespaces()
    assert other.stop() == 0


def test_health(single: Node) -> None:
    assert single.request("GET", "/health/live") == (200, b"OK\n")
    assert single.request("GET", "/health/ready") == (200, b"READY\n")


def test_raft_node_of_a_node_without_raft_is_an_empty_reply(single: Node) -> None:
    with pytest.raises(RpcError) as nothing:
        single.request("GET", "/raft/node")
    assert nothing.value.kind == "empty"
    single.wait_rpc()


def test_no_cometbft_status(single: Node) -> None:
    assert single.request("GET", "/status")[0] == 404
