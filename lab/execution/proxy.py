# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands between the real evm node and geth on one host, and translates what geth does not know.

The node hands the transactions of a block over with the payload attributes and asks for the pool's in one piece; geth
builds a block from a list with testing_buildBlockV1 only. Run as `python3 proxy.py ETH_PORT ENGINE_PORT PROXY_ETH_PORT
PROXY_ENGINE_PORT`, with the standard library alone.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_KNOWN_ATTRIBUTES = ("prevRandao", "suggestedFeeRecipient", "withdrawals", "parentBeaconBlockRoot")
_NOT_FOUND = {"code": -32601, "message": "the method does not exist"}

Headers = dict[str, str]


class RpcFault(Exception):
    """What geth called an error, as it was."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(str(error.get("message")))
        self.error = error


class Geth:
    """One endpoint of geth on this host."""

    def __init__(self, port: int) -> None:
        self.port = port

    def raw(self, body: bytes, headers: Headers) -> tuple[int, bytes]:
        """Pass a question on as it is; status and answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("POST", "/", body, {"Content-Type": "application/json", **headers})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def call(self, method: str, *params: Any, headers: Headers | None = None) -> Any:
        """Ask a question of our own. RpcFault for an error."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}).encode()
        status, answer = self.raw(body, headers or {})
        if status != 200:
            raise RpcFault({"code": -32000, "message": f"{method}: status {status}"})
        parsed = json.loads(answer)
        if parsed.get("error"):
            raise RpcFault(parsed["error"])
        return parsed["result"]


class Translator:
    """What is answered here and not by geth."""

    def __init__(self, eth: Geth, engine: Geth) -> None:
        self.eth, self.engine = eth, engine
        self._built: dict[str, Any] = {}
        self._lock = threading.Lock()

    def answer(self, method: str, params: list[Any], headers: Headers) -> Any:
        """The result, None where geth is to be asked. RpcFault for an error."""
        if method == "txpoolExt_getTxs":
            return self._pool()
        if method == "evolve_getNextProposer":
            raise RpcFault(_NOT_FOUND)
        if method.startswith("engine_forkchoiceUpdated") and len(params) > 1 and params[1]:
            return self._begin(params[0], params[1], headers)
        if method.startswith("engine_getPayload") and params[0] in self._built:
            return self._built[params[0]]
        return None

    def _pool(self) -> list[str]:
        """The raw transactions that wait, those of a sender by their nonces."""
        found = []
        for by_nonce in self.eth.call("txpool_content")["pending"].values():
            for nonce in sorted(by_nonce, key=int):
                raw = self.eth.call("eth_getRawTransactionByHash", by_nonce[nonce]["hash"])
                if raw and raw != "0x":
                    found.append(raw)
        return found

    def _begin(self, state: dict[str, Any], attributes: dict[str, Any], headers: Headers) -> dict[str, Any]:
        """Choose the parent, build the block at once, and keep it until it is asked for."""
        chosen: dict[str, Any] = self.engine.call("engine_forkchoiceUpdatedV3", state, None, headers=headers)
        if chosen["payloadStatus"]["status"] != "VALID":
            return chosen
        parent = self.eth.call("eth_getBlockByHash", state["headBlockHash"], False)
        kept = {name: attributes[name] for name in _KNOWN_ATTRIBUTES}
        # Geth wants later seconds from block to block; who knows the parent comes to the same one.
        kept["timestamp"] = hex(max(_number(attributes["timestamp"]), _number(parent["timestamp"]) + 1))
        built = self._build(state["headBlockHash"], kept, attributes.get("transactions") or [])
        identity = "0x" + hashlib.sha256(built["executionPayload"]["blockHash"].encode()).hexdigest()[:16]
        with self._lock:
            self._built = {identity: built}
        return {**chosen, "payloadId": identity}

    def _build(self, parent: str, attributes: dict[str, Any], transactions: list[str]) -> dict[str, Any]:
        """Build with all transactions, or with those of them that fit, in their order."""
        try:
            return dict(self.eth.call("testing_buildBlockV1", parent, attributes, transactions, None))
        except RpcFault:
            if not transactions:
                raise
        fit: list[str] = []
        for transaction in transactions:
            try:
                self.eth.call("testing_buildBlockV1", parent, attributes, [*fit, transaction], None)
            except RpcFault:
                continue
            fit.append(transaction)
        return dict(self.eth.call("testing_buildBlockV1", parent, attributes, fit, None))


def _number(value: int | str) -> int:
    return value if isinstance(value, int) else int(value, 16)


def handler(translator: Translator, behind: Geth) -> type[BaseHTTPRequestHandler]:
    """Answers questions that came to one port, with geth's endpoint behind it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            token = self.headers.get("Authorization")
            headers = {"Authorization": token} if token else {}
            status, answer = self._answer(body, headers)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def _answer(self, body: bytes, headers: Headers) -> tuple[int, bytes]:
            question = json.loads(body)
            if not isinstance(question, dict):
                return behind.raw(body, headers)
            reply: dict[str, Any] = {"jsonrpc": "2.0", "id": question.get("id")}
            try:
                result = translator.answer(str(question.get("method")), question.get("params") or [], headers)
                if result is None:
                    return behind.raw(body, headers)
                reply["result"] = result
            except RpcFault as fault:
                reply["error"] = fault.error
            except (OSError, http.client.HTTPException) as error:
                reply["error"] = {"code": -32000, "message": f"the execution client does not answer: {error}"}
            return 200, json.dumps(reply).encode()

        def log_message(self, *_given: object) -> None:
            """Geth has a log of its own."""

    return Handler


def serve(eth_port: int, engine_port: int, *own_ports: int) -> list[ThreadingHTTPServer]:
    """Listen on two ports of loopback, and serve them in threads."""
    eth, engine = Geth(eth_port), Geth(engine_port)
    translator = Translator(eth, engine)
    servers = [
        ThreadingHTTPServer(("127.0.0.1", port), handler(translator, behind))
        for port, behind in zip(own_ports, (eth, engine), strict=True)
    ]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    return servers


if __name__ == "__main__":
    serve(*(int(word) for word in sys.argv[1:5]))
    threading.Event().wait()
