# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""Ask a node over its RPC address (Connect unary JSON and plain HTTP, no authentication).

Shapes: proto3 JSON. uint64 are strings, bytes are standard base64, and zero or empty fields are left out,
so an absent ``lastBlockHeight`` is height 0.
"""

from __future__ import annotations

import base64
import http.client
import json
import socket
import typing as t

from ._errors import HaError

_STORE = "/evnode.v1.StoreService/"
_P2P = "/evnode.v1.P2PService/"
_CONFIG = "/evnode.v1.ConfigService/"


class RpcError(HaError):
    """A node did not give the answer asked for.

    ``kind``: ``refused`` (nothing listens: down, or no role yet), ``timeout``, ``empty`` (connection closed with no
    answer: what a non-Raft node does on /raft/node), ``not_found``, ``http`` (any other error answer), ``bad_answer``.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class NodeClient:
    """One node's RPC; a new connection a question, since a node closes its listener when it stops."""

    def __init__(self, address: str, *, timeout: float = 2.0) -> None:
        """``address`` is host:port, ``timeout`` seconds for connecting and for each read."""
        host, _colon, port = address.rpartition(":")
        self.address = address
        self._host, self._port, self._timeout = host.strip("[]"), int(port), timeout

    def state(self) -> dict[str, t.Any]:
        """Return chain id, ``height`` (int), ``time`` (RFC 3339 or None), ``app_hash`` (hex or None), ``da_height``."""
        state = self._call(_STORE + "GetState", {}).get("state", {})
        return {
            "chain_id": state.get("chainId"),
            "initial_height": int(state.get("initialHeight", 0)),
            "height": int(state.get("lastBlockHeight", 0)),
            "time": state.get("lastBlockTime"),
            "app_hash": to_hex(state.get("appHash")),
            "da_height": int(state.get("daHeight", 0)),
            "next_proposer": state.get("nextProposerAddress"),
        }

    def block(self, height: int) -> dict[str, t.Any]:
        """Return a block as ``height``, ``time_ns``, ``parent`` (hex), ``header`` (whole), ``txs`` (list of bytes).

        Height 0 asks for the newest. The answer has no hash of its own: see ``head_hash`` and a child's ``parent``.
        """
        block = self._call(_STORE + "GetBlock", {"height": str(height)}).get("block", {})
        signed = block.get("header", {})
        header = signed.get("header", {})
        return {
            "height": int(header.get("height", 0)),
            "time_ns": int(header.get("time", 0)),
            "parent": to_hex(header.get("lastHeaderHash")),
            "app_hash": to_hex(header.get("appHash")),
            "proposer": header.get("proposerAddress"),
            "header": signed,
            "txs": [base64.b64decode(tx) for tx in block.get("data", {}).get("txs", [])],
        }

    def p2p_head(self) -> dict[str, t.Any]:
        """Return ``height`` and ``hash`` (hex) of the header store's head; the hash is the block's own."""
        for store in self._call(_STORE + "GetP2PStoreInfo", {}).get("stores", []):
            if store.get("label") == "Header Store":
                head = store.get("head", {})
                return {"height": int(head.get("height", 0)), "hash": hash_text(head.get("hash"))}
        return {"height": 0, "hash": None}

    def metadata(self, key: str) -> int | None:
        """Return a metadata value of eight little-endian bytes as a number, None where the node has none."""
        try:
            value = self._call(_STORE + "GetMetadata", {"key": key}).get("value", "")
        except RpcError as exc:
            if exc.kind == "not_found":
                return None
            raise
        return int.from_bytes(base64.b64decode(value)[:8], "little")

    def net_info(self) -> dict[str, t.Any]:
        """Return the peer ``id`` and the ``listen`` addresses."""
        info = self._call(_P2P + "GetNetInfo", {}).get("netInfo", {})
        return {"id": info.get("id"), "listen": info.get("listenAddresses", [])}

    def peers(self) -> list[str]:
        """Return the ids of the peers that discovery knows."""
        return [str(peer.get("id")) for peer in self._call(_P2P + "GetPeerInfo", {}).get("peers", [])]

    def namespaces(self) -> dict[str, t.Any]:
        """Return the DA namespaces in use, ``header`` and ``data`` (hex)."""
        found = self._call(_CONFIG + "GetNamespace", {})
        return {"header": bare_hex(found.get("headerNamespace")), "data": bare_hex(found.get("dataNamespace"))}

    def raft_node(self) -> dict[str, t.Any] | None:
        """Return ``is_leader`` and ``node_id``; None where Raft is off (the node closes without an answer)."""
        try:
            return self._parse(self._request("GET", "/raft/node", None), "/raft/node")
        except RpcError as exc:
            if exc.kind in ("empty", "not_found"):
                return None
            raise

    def ready(self) -> tuple[bool, str]:
        """Return whether the node calls itself ready, and its own words."""
        status, body = self._request("GET", "/health/ready", None)
        return status == 200, body.decode(errors="replace").strip()

    def _call(self, path: str, body: dict[str, t.Any]) -> dict[str, t.Any]:
        return self._parse(self._request("POST", path, body), path)

    def _request(self, method: str, path: str, body: dict[str, t.Any] | None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        where = f"{self.address}{path}"
        try:
            payload = None if body is None else json.dumps(body)
            headers = (
                {"Connection": "close"} if body is None else {"Content-Type": "application/json", "Connection": "close"}
            )
            connection.request(method, path, body=payload, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (socket.timeout, TimeoutError) as exc:
            raise RpcError("timeout", f"{where} gave no answer within {self._timeout:g} s") from exc
        except ConnectionRefusedError as exc:
            raise RpcError("refused", f"{where} refused the connection: the node is down or has no role yet") from exc
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as exc:
            raise RpcError("empty", f"{where} closed the connection without an answer") from exc
        except (OSError, http.client.HTTPException) as exc:
            raise RpcError("bad_answer", f"{where} could not be asked: {exc}") from exc
        finally:
            connection.close()

    @staticmethod
    def _parse(answer: tuple[int, bytes], path: str) -> dict[str, t.Any]:
        status, body = answer
        try:
            parsed = json.loads(body)
        except ValueError as exc:
            kind = "not_found" if status == 404 else "bad_answer"
            raise RpcError(kind, f"{path} answered {status} with something that is not JSON") from exc
        if not isinstance(parsed, dict):
            raise RpcError("bad_answer", f"{path} answered {status} with JSON that is not an object")
        if status != 200:
            words = str(parsed.get("message") or parsed.get("code"))
            # A block that does not exist is answered with 500 and the words of the store, not with 404.
            missing = parsed.get("code") == "not_found" or "key not found" in words
            raise RpcError("not_found" if missing else "http", f"{path} answered {status}: {words}")
        return parsed


def to_hex(value: str | None) -> str | None:
    """Turn standard base64 into hex; None stays None."""
    return base64.b64decode(value).hex() if value else None


def bare_hex(value: str | None) -> str | None:
    """Return hex in lower case without the ``0x`` that nodes and execution clients put before it."""
    if not value:
        return None
    text = value.lower()
    return text[2:] if text.startswith("0x") else text


def hash_text(value: str | None) -> str | None:
    """Return a hash as lower-case hex, whether the node wrote it as hex or as base64."""
    if not value:
        return None
    try:
        return bytes.fromhex(value).hex()
    except ValueError:
        return to_hex(value)
