# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""Ask an execution client over its JSON-RPC. Reads only."""

from __future__ import annotations

import http.client
import json
import re
import typing as t
import urllib.error
import urllib.request

from ._errors import HaError
from ._rpc import bare_hex

_HEX = re.compile(r"(0x)?[0-9a-fA-F]+\Z")


class ExecutionError(HaError):
    """An execution client did not give the answer asked for."""


class ExecutionClient:
    """An execution client's JSON-RPC, the questions that matter here."""

    def __init__(self, url: str, *, timeout: float = 2.0) -> None:
        """``url`` is http://host:port (a bare host:port is taken as that), ``timeout`` in seconds."""
        self.url = url if "://" in url else f"http://{url}"
        self._timeout = timeout

    def block(self, height: int | None) -> dict[str, t.Any]:
        """Return ``height`` and ``hash`` (hex) of a block, the newest for None."""
        return self._block("latest" if height is None else hex(height))

    def tagged(self, tag: str) -> int | None:
        """Return the height of the block that the client calls ``safe`` or ``finalized``; None before there is one."""
        try:
            return int(self._block(tag)["height"])
        except ExecutionError:
            return None

    def syncing(self) -> bool:
        """Return whether the client fetches blocks from peers, which one driven by its node never does."""
        return self._call("eth_syncing", []) is not False

    def _block(self, name: str) -> dict[str, t.Any]:
        found = self._call("eth_getBlockByNumber", [name, False])
        if not isinstance(found, dict):
            raise ExecutionError(f"{self.url} has no block {name}")
        number, digest = found.get("number"), found.get("hash")
        if not all(isinstance(value, str) and _HEX.match(value) for value in (number, digest)):
            raise ExecutionError(
                f"Expected number and hash of block {name} from {self.url} in hex, found {number!r} and {digest!r}; "
                "check that an execution client answers there"
            )
        return {"height": int(str(number), 16), "hash": bare_hex(digest)}

    def version(self) -> str:
        """Return what the client calls itself."""
        return str(self._call("web3_clientVersion", []))

    def _call(self, method: str, params: list[t.Any]) -> t.Any:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        try:
            request = urllib.request.Request(self.url, data=body, headers={"Content-Type": "application/json"})
            # An empty proxy table: a proxy of the environment must not see questions to this host.
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(request, timeout=self._timeout) as answer:
                parsed = json.load(answer)
        except urllib.error.HTTPError as exc:
            raise ExecutionError(f"{self.url} answered {exc.code} to {method}") from exc
        except (OSError, ValueError, http.client.HTTPException) as exc:
            raise ExecutionError(f"{self.url} gave no answer to {method}: {getattr(exc, 'reason', exc)}") from exc
        if not isinstance(parsed, dict) or parsed.get("error"):
            raise ExecutionError(
                f"{self.url} refused {method}: {parsed.get('error') if isinstance(parsed, dict) else parsed}"
            )
        return parsed.get("result")


def facts(url: str, *, timeout: float = 2.0) -> dict[str, t.Any]:
    """Return what a client says of itself: ``version``, ``genesis_hash``, ``height``, ``hash``, and why not."""
    found: dict[str, t.Any] = {"version": None, "genesis_hash": None, "height": None, "hash": None, "reason": None}
    client = ExecutionClient(url, timeout=timeout)
    try:
        found["version"] = client.version()
        found["genesis_hash"] = client.block(0)["hash"]
        found.update(client.block(None))
    except ExecutionError as exc:
        found["reason"] = exc.message
    return found
