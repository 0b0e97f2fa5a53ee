# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from typing import Any

import pytest

from lab.execution import proxy
from lab.execution.proxy import Geth, Translator

VALID = {"payloadStatus": {"status": "VALID"}, "payloadId": None}


class Recorded(Geth):
    """A geth whose pool has three transactions, one of which no block can hold."""

    def __init__(self) -> None:
        super().__init__(0)
        self.asked: list[tuple[str, tuple[Any, ...]]] = []

    def call(self, method: str, *params: Any, headers: proxy.Headers | None = None) -> Any:
        self.asked.append((method, params))
        if method == "txpool_content":
            return {"pending": {"a": {"10": {"hash": "h10"}, "9": {"hash": "h9"}}, "b": {"0": {"hash": "gone"}}}}
        if method == "eth_getRawTransactionByHash":
            return None if params == ("gone",) else f"0x{params[0]}"
        if method == "engine_forkchoiceUpdatedV3":
            assert headers == {"Authorization": "Bearer t"}
            return VALID
        if method == "eth_getBlockByHash":
            return {"timestamp": "0x64"}
        if method == "testing_buildBlockV1":
            if "0xbad" in params[2]:
                raise proxy.RpcFault({"code": -32000, "message": "nonce too low"})
            return {"executionPayload": {"blockHash": f"0x{len(params[2])}"}}
        raise AssertionError(method)

    def built_with(self) -> tuple[Any, ...]:
        return [params for method, params in self.asked if method == "testing_buildBlockV1"][-1]


@pytest.fixture
def geth() -> Recorded:
    return Recorded()


def begin(geth: Recorded, translator: Translator, **attributes: Any) -> Any:
    given = {name: name for name in proxy._KNOWN_ATTRIBUTES}
    given.update({"timestamp": 200, "transactions": [], "gasLimit": 30, "slotNumber": "0x1", **attributes})
    return translator.answer(
        "engine_forkchoiceUpdatedV3", [{"headBlockHash": "0xp"}, given], {"Authorization": "Bearer t"}
    )


def test_the_pool_in_one_piece_by_nonce(geth: Recorded) -> None:
    assert Translator(geth, geth).answer("txpoolExt_getTxs", [], {}) == ["0xh9", "0xh10"]


def test_a_block_is_built_from_the_attributes_transactions_and_kept(geth: Recorded) -> None:
    translator = Translator(geth, geth)
    begun = begin(geth, translator, transactions=["0xone", "0xtwo"])
    assert begun["payloadStatus"] == VALID["payloadStatus"]
    parent, attributes, transactions, _extra = geth.built_with()
    assert (parent, transactions) == ("0xp", ["0xone", "0xtwo"])
    assert set(attributes) == {*proxy._KNOWN_ATTRIBUTES, "timestamp"}
    assert attributes["timestamp"] == hex(200)
    assert translator.answer("engine_getPayloadV4", [begun["payloadId"]], {})["executionPayload"]["blockHash"] == "0x2"
    assert translator.answer("engine_getPayloadV4", ["0xother"], {}) is None


def test_a_second_has_one_block_at_most(geth: Recorded) -> None:
    begin(geth, Translator(geth, geth), timestamp=100)
    assert geth.built_with()[1]["timestamp"] == hex(101)


def test_what_does_not_fit_is_left_out(geth: Recorded) -> None:
    begin(geth, Translator(geth, geth), transactions=["0xone", "0xbad", "0xtwo"])
    assert geth.built_with()[2] == ["0xone", "0xtwo"]


def test_the_rest_is_for_geth(geth: Recorded) -> None:
    translator = Translator(geth, geth)
    assert translator.answer("engine_forkchoiceUpdatedV3", [{"headBlockHash": "0xp"}, None], {}) is None
    assert translator.answer("eth_chainId", [], {}) is None
    with pytest.raises(proxy.RpcFault):
        translator.answer("evolve_getNextProposer", ["0x1"], {})


@pytest.fixture
def ports() -> Iterator[tuple[int, int]]:
    """A geth that says who asked it how, and a proxy before it."""

    class Echo(proxy.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            result = [json.loads(body)["method"], self.headers.get("Authorization")]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}).encode())

        def log_message(self, *_given: object) -> None:
            pass

    behind = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    proxy.threading.Thread(target=behind.serve_forever, daemon=True).start()
    servers = proxy.serve(behind.server_port, behind.server_port, 0, 0)
    yield servers[0].server_port, servers[1].server_port
    for server in (behind, *servers):
        server.shutdown()
        server.server_close()


def test_questions_are_passed_on_with_their_token(ports: tuple[int, int]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", ports[1], timeout=5)
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "engine_newPayloadV4", "params": []})
    connection.request("POST", "/", body, {"Authorization": "Bearer t"})
    assert json.loads(connection.getresponse().read())["result"] == ["engine_newPayloadV4", "Bearer t"]
    connection.close()
