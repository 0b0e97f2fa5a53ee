# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""What a node says about itself, every part on its own: one that is missing is None with a reason."""

from __future__ import annotations

import hashlib
import json
import socket
import time
import typing as t

from . import _strays
from ._errors import HaError
from ._execution import ExecutionClient, ExecutionError
from ._process import run as _run
from ._rpc import NodeClient, RpcError
from ._systemd import active_state
from ._wait import SYSTEM_CLOCK, wait_until

if t.TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ._process import Runner
    from ._wait import Clock

# A chain moves on between two questions; this many tries catch a head that both answers agree on.
_HEAD_TRIES = 5
_HEAD_PAUSE_S = 0.03
_GROWTH_PAUSE_S = 0.5
_EXPECTED = (HaError, OSError, ValueError, KeyError, TypeError, AttributeError)


class Questions(t.NamedTuple):
    """Whom to ask and for what; None leaves a part out."""

    rpc_address: str
    unit: str | None = None
    raft_address: str | None = None
    execution_rpc: str | None = None
    heights: Sequence[int] = ()
    timeout: float = 2.0


def collect(
    asked: Questions, *, run: Runner | None = None, sleep: Callable[[float], None] = time.sleep
) -> dict[str, t.Any]:
    """Return the status of the node; never raises for a node that is down, slow or strange."""
    status: dict[str, t.Any] = dict.fromkeys(_FIELDS)
    status["headers"] = {}
    reasons: dict[str, str] = {}
    status["reasons"] = reasons
    node = NodeClient(asked.rpc_address, timeout=asked.timeout)
    silent: list[HaError] = []

    def part(names: str, ask: Callable[[], dict[str, t.Any]]) -> None:
        try:
            if silent:
                raise silent[0]
            found = ask()
        except _EXPECTED as exc:
            text = (
                exc.message
                if isinstance(exc, HaError)
                else f"{asked.rpc_address} gave an answer of another shape: {exc!r}"
            )
            found = dict.fromkeys(names.split(), None)
            reasons.update(dict.fromkeys(found, text))
        for name in names.split():
            status[name] = found.get(name)
            if status[name] is None:
                reasons.setdefault(name, _UNSAID.get(name, "the node left it out of its answer"))

    part("height time app_hash chain_id da_height next_proposer head_hash", lambda: _head(node, sleep, reasons))
    if status["height"] is None and (cause := _silence(node)):
        # One question tells that nobody answers; ten more would each wait for the same time-out.
        silent.append(cause)
    part("p2p_head", lambda: {"p2p_head": node.p2p_head()})
    part("peer_id", lambda: {"peer_id": node.net_info()["id"]})
    part("namespaces", lambda: {"namespaces": node.namespaces()})
    part("raft leader node_id", lambda: _role(node))
    for name, key in _METADATA.items():
        part(name, lambda name=name, key=key: {name: node.metadata(key)})  # type: ignore[misc]
    for height in asked.heights:
        try:
            if silent:
                raise silent[0]
            status["headers"][str(height)] = header_at(node, height, status)
        except _EXPECTED as exc:
            reasons[f"headers.{height}"] = (
                exc.message if isinstance(exc, HaError) else f"answer of another shape: {exc!r}"
            )
    silent.clear()
    if asked.unit is not None:
        part("unit_active", lambda: {"unit_active": _unit_active(str(asked.unit), run)})
        part("strays", lambda: {"strays": _strays.find(str(asked.unit), run=run or _run)})
    if asked.raft_address is not None:
        part("raft_port_open", lambda: _port_open(str(asked.raft_address), asked.timeout))
    if asked.execution_rpc is not None:
        part("execution", lambda: {"execution": _execution(asked)})
    for name in ("unit_active", "strays", "raft_port_open", "execution"):
        if status[name] is None:
            reasons.setdefault(name, "not asked")
    return status


def watch(
    asked: Questions, grow_by: int, timeout: float, *, clock: Clock = SYSTEM_CLOCK
) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
    """Return the status at once, and the one with so many blocks more or, if there are none, that after the timeout."""
    first = collect(asked)
    if grow_by == 0:
        return first, first
    goal = (first["height"] or 0) + grow_by
    waited = wait_until(
        lambda: collect(asked),
        lambda status: (status["height"] or 0) >= goal,
        timeout=timeout,
        interval=_GROWTH_PAUSE_S,
        clock=clock,
    )
    return first, waited.last


def header_at(node: NodeClient, height: int, status: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return ``hash`` (None with no child yet), ``parent``, ``time_ns`` and a digest of the whole signed header."""
    block = node.block(height)
    if block["height"] != height:
        raise RpcError("bad_answer", f"{node.address} was asked for block {height} and answered with {block['height']}")
    digest = hashlib.sha256(json.dumps(block["header"], sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    found = {"hash": None, "parent": block["parent"], "time_ns": block["time_ns"], "header_digest": digest}
    if status.get("height") == height:
        found["hash"] = status.get("head_hash")
    if found["hash"] is None:
        found["hash"] = hash_of(node, height)
    return found


def hash_of(node: NodeClient, height: int) -> str | None:
    """Return the hash of a block: what its child calls its parent, or for the newest what the header store says."""
    try:
        return t.cast("str | None", node.block(height + 1)["parent"])
    except RpcError as exc:
        if exc.kind != "not_found":
            raise
    head = node.p2p_head()
    return head["hash"] if head["height"] == height else None


def _head(node: NodeClient, sleep: Callable[[float], None], reasons: dict[str, str]) -> dict[str, t.Any]:
    """Return the state with the hash of exactly its block, asking again while the chain moves on in between."""
    state = node.state()
    state["head_hash"] = None
    for attempt in range(_HEAD_TRIES):
        if attempt:
            sleep(_HEAD_PAUSE_S)
        if state["height"] == 0:
            break
        try:
            state["head_hash"] = hash_of(node, state["height"])
        except RpcError as exc:
            # The state is worth having without the hash.
            reasons["head_hash"] = exc.message
            break
        if state["head_hash"] is not None:
            break
        state = {**node.state(), "head_hash": None}
    return state


def _silence(node: NodeClient) -> RpcError | None:
    """Tell why nobody answers at all, None where somebody does."""
    try:
        node.ready()
    except RpcError as exc:
        return exc if exc.kind in ("refused", "timeout") else None
    return None


def _role(node: NodeClient) -> dict[str, t.Any]:
    answer = node.raft_node()
    if answer is None:
        return {"raft": False, "leader": None, "node_id": None}
    return {"raft": True, "leader": answer.get("is_leader", False), "node_id": answer.get("node_id")}


def _unit_active(unit: str, run: Runner | None) -> bool:
    name = unit if "." in unit else f"{unit}.service"
    return (active_state(name) if run is None else active_state(name, run=run)) == "active"


def _port_open(address: str, timeout: float) -> dict[str, t.Any]:
    host, _colon, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=timeout).close()
    except OSError:
        return {"raft_port_open": False}
    return {"raft_port_open": True}


def _execution(asked: Questions) -> dict[str, t.Any]:
    client = ExecutionClient(str(asked.execution_rpc), timeout=asked.timeout)
    found = client.block(None)
    found.update(safe=client.tagged("safe"), finalized=client.tagged("finalized"), syncing=client.syncing())
    found["hashes"] = {}
    for height in asked.heights:
        try:
            found["hashes"][str(height)] = client.block(height)["hash"]
        except ExecutionError:
            found["hashes"][str(height)] = None
    return found


_METADATA = {
    "da_included": "d",
    "last_submitted_header": "last-submitted-header-height",
    "last_submitted_data": "last-submitted-data-height",
}
_FIELDS = (
    "height",
    "time",
    "app_hash",
    "chain_id",
    "da_height",
    "next_proposer",
    "head_hash",
    "headers",
    "namespaces",
    "leader",
    "node_id",
    "raft",
    "p2p_head",
    *_METADATA,
    "peer_id",
    "unit_active",
    "strays",
    "raft_port_open",
    "execution",
)
_UNSAID = {
    "leader": "Raft is off",
    "node_id": "Raft is off",
    "app_hash": "the application has no state yet",
    "head_hash": "the node has no block, or its header store is not at the height of its state",
    **dict.fromkeys(_METADATA, "the node has not stored it"),
}
