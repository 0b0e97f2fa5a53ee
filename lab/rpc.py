# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Talk to a node inside a host, on the host's own loopback."""

from __future__ import annotations

import base64
import http.client
import json
import socket
from dataclasses import dataclass
from typing import Any

from lab import network
from lab.settings import Host


class RpcError(Exception):
    """The node did not answer, or not with what was asked for; the message says which."""


class _Connection(http.client.HTTPConnection):
    """An HTTP connection whose socket is made in a host's network namespace."""

    def __init__(self, host: Host, port: int, timeout: float) -> None:
        super().__init__("127.0.0.1", port, timeout=timeout)
        self._netns = host.netns_path

    def connect(self) -> None:
        with network.inside(self._netns):
            self.sock = socket.create_connection((self.host, self.port), self.timeout)
        # Head and body are two writes; without this each call costs 40 ms.
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


@dataclass(frozen=True)
class Block:
    """A block as the node's RPC gives it. `time_ns` is nanoseconds since 1970."""

    height: int
    time_ns: int
    last_header_hash: str
    transactions: tuple[bytes, ...]
    header: dict[str, Any]


class Node:
    """The RPC of the node on one host; a connection is kept between calls. Not for use from several threads."""

    def __init__(self, host: Host, port: int, *, timeout: float = 3.0) -> None:
        self._connection = _Connection(host, port, timeout)
        self._where = f"{host.name} 127.0.0.1:{port}"

    def call(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """POST `body` as JSON, or GET when there is none. RpcError for anything but a JSON object and status 200."""
        method = "GET" if body is None else "POST"
        payload = None if body is None else json.dumps(body)
        try:
            self._connection.request(method, path, payload, {"Content-Type": "application/json"})
            answer = self._connection.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise RpcError(f"{self._where}{path}: {error or type(error).__name__}") from error
        try:
            parsed = json.loads(data)
        except ValueError:
            parsed = None
        if answer.status != 200 or not isinstance(parsed, dict):
            raise RpcError(f"{self._where}{path}: status {answer.status}, {data[:200]!r}")
        return parsed

    def height(self) -> int:
        """Height of the last block in the node's store; 0 before the first."""
        state = self.call("/evnode.v1.StoreService/GetState", {}).get("state", {})
        return int(state.get("lastBlockHeight", 0))

    def block(self, height: int) -> Block:
        """One block; RpcError when the node does not have it."""
        found = self.call("/evnode.v1.StoreService/GetBlock", {"height": str(height)})
        return parse_block(found)

    def is_leader(self) -> bool | None:
        """Whether the node leads a Raft cluster; None when it is not a Raft member."""
        try:
            return bool(self.call("/raft/node").get("is_leader"))
        except RpcError:
            return None

    def close(self) -> None:
        self._connection.close()


def parse_block(answer: dict[str, Any]) -> Block:
    """A block out of the answer to GetBlock; RpcError when it has no header."""
    block = answer.get("block", {})
    header = block.get("header", {}).get("header")
    if not isinstance(header, dict):
        raise RpcError(f"no header in {json.dumps(answer)[:200]}")
    transactions = block.get("data", {}).get("txs", [])
    return Block(
        height=int(header.get("height", 0)),
        time_ns=int(header.get("time", 0)),
        last_header_hash=str(header.get("lastHeaderHash", "")),
        transactions=tuple(base64.b64decode(transaction) for transaction in transactions),
        header=header,
    )
