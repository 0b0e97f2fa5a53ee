# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The node's answers, recorded from a real one: single sequencer, plain follower, Raft leader."""

from __future__ import annotations

import base64
import json
import socket
import threading
import typing as t

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.module_utils import _execution, _status
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._execution import ExecutionClient, ExecutionError
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._process import Result
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._rpc import NodeClient, RpcError, bare_hex, hash_text

STORE = "/evnode.v1.StoreService/"


def ask(node: t.Any, **more: t.Any) -> dict[str, t.Any]:
    return _status.collect(_status.Questions(node.address, **more), sleep=lambda _seconds: None)


def state_of(node: t.Any) -> dict[str, t.Any]:
    state: dict[str, t.Any] = json.loads(node.find("POST", STORE + "GetState", {})["body"])["state"]
    return state


def test_state_of_a_chain(recorded_node):
    node = recorded_node("single")
    state = NodeClient(node.address).state()
    assert (state["chain_id"], state["height"], state["da_height"]) == ("rec-chain", 41, 3)
    assert bytes.fromhex(state["app_hash"]).startswith(b"/height/40/k1:v1")


def test_state_without_a_block_is_height_zero(recorded_node):
    node = recorded_node("single")
    node.put("POST", STORE + "GetState", {}, {"status": 200, "body": '{"state":{"chainId":"c","initialHeight":"1"}}'})
    state = NodeClient(node.address).state()
    assert (state["height"], state["app_hash"], state["time"]) == (0, None, None)


def test_a_block_names_its_parent(recorded_node):
    client = NodeClient(recorded_node("single").address)
    head = client.p2p_head()
    newest = client.block(0)
    assert newest["height"] == head["height"] == 41
    assert client.block(41) == newest
    assert newest["parent"] == _status.hash_of(client, 40)
    assert client.block(40)["parent"] != newest["parent"]


@pytest.mark.parametrize("height", [1040, 42])
def test_a_block_that_does_not_exist_is_not_found(recorded_node, height):
    with pytest.raises(RpcError) as caught:
        NodeClient(recorded_node("single").address).block(height)
    assert caught.value.kind == "not_found"


def test_metadata_is_a_number_or_nothing(recorded_node):
    client = NodeClient(recorded_node("single").address)
    assert client.metadata("d") is not None
    assert client.metadata("nosuch") is None


def test_raft_is_off_where_the_node_closes_without_an_answer(recorded_node):
    assert NodeClient(recorded_node("single").address).raft_node() is None
    assert NodeClient(recorded_node("raft").address).raft_node() == {"is_leader": True, "node_id": "node-1"}


def test_namespaces_are_bare_hex(recorded_node):
    found = NodeClient(recorded_node("single").address).namespaces()
    assert found["header"] == found["data"]
    assert len(bytes.fromhex(found["header"])) == 29


def test_nothing_listens():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        with pytest.raises(RpcError) as caught:
            NodeClient(f"127.0.0.1:{held.getsockname()[1]}").state()
    assert caught.value.kind == "refused"


def test_somebody_listens_and_says_nothing():
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        with pytest.raises(RpcError) as caught:
            NodeClient(f"127.0.0.1:{mute.getsockname()[1]}", timeout=0.05).state()
    assert caught.value.kind == "timeout"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        pytest.param({"status": 200, "body": "<html>"}, "bad_answer", id="not-json"),
        pytest.param({"status": 200, "body": "[]"}, "bad_answer", id="not-an-object"),
        pytest.param({"status": 404, "body": "404 page not found\n"}, "not_found", id="no-such-endpoint"),
        pytest.param({"status": 500, "body": '{"code":"internal","message":"x"}'}, "http", id="internal"),
        pytest.param({"error": "closed"}, "empty", id="closed-without-an-answer"),
    ],
)
def test_kinds_of_bad_answers(recorded_node, answer, kind):
    node = recorded_node("single")
    node.put("POST", STORE + "GetState", {}, answer)
    with pytest.raises(RpcError) as caught:
        NodeClient(node.address).state()
    assert caught.value.kind == kind


def test_hashes_in_either_spelling():
    raw = bytes(range(32))
    assert hash_text(base64.b64encode(raw).decode()) == hash_text(raw.hex().upper()) == raw.hex()
    assert hash_text(None) is None
    assert bare_hex("0xABcd") == bare_hex("abcd") == "abcd"


def test_status_of_a_single_sequencer(recorded_node):
    node = recorded_node("single")
    status = ask(node, heights=[40, 41, 900])
    assert (status["height"], status["chain_id"], status["raft"], status["leader"]) == (41, "rec-chain", False, None)
    assert status["head_hash"] == status["p2p_head"]["hash"] == status["headers"]["41"]["hash"]
    assert status["headers"]["40"]["hash"] == status["headers"]["41"]["parent"]
    assert status["headers"]["40"]["time_ns"] < status["headers"]["41"]["time_ns"]
    assert status["peer_id"].startswith("12D3KooW")
    assert "900" not in status["headers"]
    assert "key not found" in status["reasons"]["headers.900"]
    assert status["reasons"]["leader"] == "Raft is off"
    assert {name for name, value in status.items() if value is None} <= set(status["reasons"])


def test_status_of_a_raft_leader(recorded_node):
    status = ask(recorded_node("raft"))
    assert (status["raft"], status["leader"], status["node_id"]) == (True, True, "node-1")


def test_two_members_give_one_digest_for_one_header(recorded_node):
    follower = recorded_node("follower")
    newest = state_of(follower)["lastBlockHeight"]
    theirs = ask(follower, heights=[int(newest)])["headers"][newest]
    raft = recorded_node("raft")
    raft.put(
        "POST", STORE + "GetBlock", {"height": newest}, follower.find("POST", STORE + "GetBlock", {"height": newest})
    )
    ours = ask(raft, heights=[int(newest)])["headers"][newest]
    assert theirs["header_digest"] == ours["header_digest"]
    altered = json.loads(follower.find("POST", STORE + "GetBlock", {"height": newest})["body"])
    altered["block"]["header"]["signature"] = base64.b64encode(b"another").decode()
    raft.put("POST", STORE + "GetBlock", {"height": newest}, {"status": 200, "body": json.dumps(altered)})
    assert ask(raft, heights=[int(newest)])["headers"][newest]["header_digest"] != ours["header_digest"]


def test_head_hash_although_the_chain_moved_on(recorded_node):
    """The header store is one block ahead of the state that was asked a moment before: the child tells the hash."""
    node = recorded_node("single")
    state = {"status": 200, "body": json.dumps({"state": {**state_of(node), "lastBlockHeight": "40"}})}
    node.put("POST", STORE + "GetState", {}, state)
    status = ask(node)
    assert status["height"] == 40
    assert status["head_hash"] == NodeClient(node.address).block(41)["parent"]


def test_head_hash_where_the_header_store_stays_behind(recorded_node):
    node = recorded_node("single")
    stores = json.loads(node.find("POST", STORE + "GetP2PStoreInfo", {})["body"])
    stores["stores"][0]["head"]["height"] = "39"
    node.put("POST", STORE + "GetP2PStoreInfo", {}, {"status": 200, "body": json.dumps(stores)})
    status = ask(node)
    assert (status["height"], status["head_hash"]) == (41, None)
    assert "header store" in status["reasons"]["head_hash"]


def test_status_of_a_node_that_is_down_asks_once_and_explains_everything():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{held.getsockname()[1]}"
        status = _status.collect(_status.Questions(address, heights=[5]))
    assert status["height"] is None
    assert status["headers"] == {}
    assert "refused" in status["reasons"]["height"]
    assert "refused" in status["reasons"]["headers.5"]
    assert {name for name, value in status.items() if value is None} <= set(status["reasons"])


def test_status_of_a_node_that_hangs_takes_two_time_outs():
    """Eleven questions to somebody who never answers must not take eleven time-outs."""
    accepted = []
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        mute.settimeout(2)

        def accept() -> None:
            try:
                while True:
                    accepted.append(mute.accept()[0])
            except OSError:
                return

        thread = threading.Thread(target=accept)
        thread.start()
        status = _status.collect(_status.Questions(f"127.0.0.1:{mute.getsockname()[1]}", timeout=0.1))
        mute.shutdown(socket.SHUT_RDWR)
        thread.join()
    for connection in accepted:
        connection.close()
    assert status["height"] is None
    assert "no answer within" in status["reasons"]["namespaces"]
    assert len(accepted) == 2


@pytest.mark.parametrize("path", ["GetState", "GetP2PStoreInfo", "GetMetadata", "GetBlock"])
def test_status_survives_answers_of_another_shape(recorded_node, path):
    node = recorded_node("single")
    for method, known, request in list(node.answers):
        if known.endswith(path):
            node.answers[method, known, request] = {
                "status": 200,
                "body": '{"state":"x","stores":[7],"block":3,"value":"!"}',
            }
    status = ask(node, heights=[41])
    assert status["peer_id"].startswith("12D3KooW")
    assert status["reasons"]


def test_unit_and_raft_port(recorded_node, commands):
    commands.answer(["systemctl", "show"], "ActiveState=active\n")
    with socket.socket() as raft:
        raft.bind(("127.0.0.1", 0))
        raft.listen()
        asked = _status.Questions(
            recorded_node("raft").address, unit="chain", raft_address=f"127.0.0.1:{raft.getsockname()[1]}"
        )
        status = _status.collect(asked, run=commands)
    assert (status["unit_active"], status["raft_port_open"]) == (True, True)
    assert commands.asked[0][-1] == "chain.service"
    closed = _status.collect(asked, run=lambda argv, **_more: Result(1, "", "no bus"))
    assert (closed["unit_active"], closed["raft_port_open"]) == (None, False)
    assert "no bus" in closed["reasons"]["unit_active"]


def test_execution_client(recorded_node):
    node = recorded_node("single")
    asked: list[str] = []

    def reply(method: str, path: str, request: dict[str, t.Any]) -> dict[str, t.Any]:
        if path != "/":
            return original(method, path, request)
        if request["method"] == "eth_syncing":
            return {"status": 200, "body": json.dumps({"jsonrpc": "2.0", "id": 1, "result": False})}
        asked.append(request["params"][0])
        block = {"latest": 41, "0x28": 40, "safe": 39}.get(request["params"][0])
        answer: dict[str, t.Any] = {"result": {"number": hex(block), "hash": f"0xAB{block:062x}"} if block else None}
        if request["params"][0] == "finalized":
            # What geth says before it has been told of one.
            answer = {"error": {"code": -39001, "message": "finalized block not found"}}
        return {"status": 200, "body": json.dumps({"jsonrpc": "2.0", "id": 1, **answer})}

    original, node.find = node.find, reply
    status = ask(node, execution_rpc=f"http://{node.address}", heights=[40, 99])
    assert status["execution"] == {
        "height": 41,
        "hash": f"ab{41:062x}",
        "hashes": {"40": f"ab{40:062x}", "99": None},
        "safe": 39,
        "finalized": None,
        "syncing": False,
    }
    assert asked == ["latest", "safe", "finalized", "0x28", "0x63"]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"garbage\r\n", "gave no answer to eth_getBlockByNumber: garbage"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", "gave no answer to eth_getBlockByNumber: IncompleteRead"),
        (b"HTTP/1.1 200 OK\r\n\r\n<html>", "gave no answer to eth_getBlockByNumber: Expecting value"),
        (b'HTTP/1.1 200 OK\r\n\r\n{"result": {"number": "0x1"}}', "found '0x1' and None"),
        (b'HTTP/1.1 200 OK\r\n\r\n{"result": {"number": 1, "hash": "0x1"}}', "found 1 and '0x1'"),
        (b'HTTP/1.1 200 OK\r\n\r\n{"result": {"number": "one", "hash": "0x1"}}', "found 'one' and '0x1'"),
    ],
)
def test_execution_client_that_answers_something_else(answer, words):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()

        def reply() -> None:
            with other.accept()[0] as connection:
                connection.sendall(answer)
                connection.shutdown(socket.SHUT_WR)
                # A request that was not read to its end would make the close a reset, which overtakes the answer.
                while connection.recv(65536):
                    pass

        thread = threading.Thread(target=reply)
        thread.start()
        try:
            with pytest.raises(ExecutionError) as caught:
                ExecutionClient(f"127.0.0.1:{other.getsockname()[1]}").block(None)
        finally:
            thread.join()
    assert words in caught.value.message


@pytest.mark.parametrize("url", ["://nowhere", "http://127.0.0.1:port"])
def test_execution_client_at_no_address(url):
    assert "gave no answer to web3_clientVersion" in _execution.facts(url)["reason"]


def test_execution_client_that_is_down(recorded_node):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        status = ask(recorded_node("single"), execution_rpc=f"127.0.0.1:{held.getsockname()[1]}")
    assert status["execution"] is None
    assert "gave no answer to eth_getBlockByNumber" in status["reasons"]["execution"]


class Minute:
    """A clock on which a chain makes a block each second, or none."""

    def __init__(self, node: t.Any, *, makes_blocks: bool = True) -> None:
        self._node, self._makes_blocks, self.now = node, makes_blocks, 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self._makes_blocks:
            state = {**state_of(self._node), "lastBlockHeight": str(41 + int(self.now))}
            answer = {"status": 200, "body": json.dumps({"state": state})}
            self._node.put("POST", STORE + "GetState", {}, answer)


@pytest.mark.parametrize(("makes_blocks", "grown", "seconds"), [(True, 43, 2.0), (False, 41, 5.0)])
def test_a_chain_is_watched_until_it_has_grown_or_the_time_is_over(recorded_node, makes_blocks, grown, seconds):
    node = recorded_node("single")
    clock = Minute(node, makes_blocks=makes_blocks)
    first, last = _status.watch(_status.Questions(node.address), 2, 5.0, clock=clock)
    assert (first["height"], last["height"], clock.now) == (41, grown, seconds)


def test_without_growth_to_wait_for_there_is_one_look(recorded_node):
    node = recorded_node("single")
    clock = Minute(node)
    first, last = _status.watch(_status.Questions(node.address), 0, 5.0, clock=clock)
    assert first is last and clock.now == 0.0
