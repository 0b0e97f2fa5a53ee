# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.
"""Restart one member of a running cluster, and wait until it follows again."""

from __future__ import annotations

import os
import time
import typing as t

from . import _fence, _journal, _systemd
from ._errors import HaError
from ._mode import current
from ._process import run as _run
from ._rpc import NodeClient, RpcError
from ._units import RUNTIME_DIR
from ._wait import SYSTEM_CLOCK, Clock, wait_until

if t.TYPE_CHECKING:
    from collections.abc import Callable

    from ._process import Runner


class SettleError(HaError):
    """A member may not be restarted now, or did not come back."""


class Settle(t.NamedTuple):
    """One member, and what is known of the others."""

    unit: str
    member: str
    config_dir: str
    state_dir: str
    rpc_address: str
    members: int
    peers_healthy: int
    height: int = 0
    restart: str = "auto"
    allow_leader: bool = False
    expected_height: int = 0
    expected_hash: str = ""
    timeout: float = 90.0
    run_id: str = "-"
    run_dir: str = RUNTIME_DIR

    @property
    def service(self) -> str:
        """The unit's full name."""
        return f"{self.unit}.service"


class Settled(t.NamedTuple):
    """Whether the member was (or would be) restarted and why, and where it is now."""

    changed: bool
    reason: str
    height: int
    leader: bool
    seconds: float


def restart_reason(wanted: Settle, *, run: Runner = _run, now: Callable[[], float] = time.time) -> str:
    """Say why the member has to be restarted; empty where it runs with the files as they are."""
    facts = _systemd.show(wanted.service, ["ActiveState", "ExecMainStartTimestampMonotonic"], run=run)
    if facts.get("ActiveState") != "active":
        return f"the unit is {facts.get('ActiveState', 'unknown')}"
    if wanted.restart == "always":
        return "asked for"
    if wanted.restart == "never":
        return ""
    micros = int(facts.get("ExecMainStartTimestampMonotonic") or 0)
    started = now() - (time.clock_gettime(time.CLOCK_MONOTONIC) - micros / 1e6)
    folder = os.path.join(wanted.config_dir, wanted.unit)
    for path in (os.path.join(folder, "raft", "args.env"), os.path.join(folder, "raft", "evnode.yaml")):
        if os.stat(path).st_mtime > started:
            return f"{path} changed since the start"
    # The switch is a link: its own time tells when it was turned.
    if os.lstat(os.path.join(folder, "current")).st_mtime > started:
        return "the mode was switched since the start"
    return ""


def guard(wanted: Settle, leader: bool) -> None:
    """Raise SettleError where taking this member down could stop the chain."""
    quorum = wanted.members // 2 + 1
    if wanted.peers_healthy < quorum:
        raise SettleError(
            f"{wanted.member} is not restarted: {wanted.peers_healthy} of the other members are healthy, and {quorum} "
            f"of {wanted.members} are needed while it is down; repair the others first"
        )
    if leader and not wanted.allow_leader:
        raise SettleError(
            f"{wanted.member} leads, and restarting it would stop block production until another is elected; "
            "settle the followers and leave the leader as it is"
        )


def settle(
    wanted: Settle,
    *,
    check: bool = False,
    run: Runner = _run,
    clock: Clock = SYSTEM_CLOCK,
    client: NodeClient | None = None,
) -> Settled:
    """Restart the member if it has to be, and wait until it grows with the chain."""
    mode = current(wanted.config_dir, wanted.unit)
    if mode != "raft":
        raise SettleError(
            f"{wanted.member} is in mode {mode}, expected raft: a member joins by the cutover, or by mode_switch "
            "once the cluster has made its first block"
        )
    node = client or NodeClient(wanted.rpc_address)
    reason = restart_reason(wanted, run=run)
    role = _role(node)
    leader = bool((role or {}).get("is_leader"))
    if reason:
        active = _systemd.active_state(wanted.service, run=run) == "active"
        # One that only follows, or has no role, holds no part of the quorum, and may be what the quorum lacks.
        if active and role is not None:
            guard(wanted, leader)
        if check:
            return Settled(True, reason, wanted.height, leader, 0.0)
        path = os.path.join(wanted.state_dir, wanted.unit, "journal.jsonl")
        _journal.append(path, wanted.run_id, "settling", {"reason": reason, "peers_healthy": wanted.peers_healthy})
        _fence.lift(wanted.unit, wanted.config_dir, wanted.run_dir, run=run)
        _systemd.reset_failed(wanted.service, run=run)
        verb = _systemd.restart if active else _systemd.start
        try:
            verb(wanted.service, run=run)
        except HaError as exc:
            raise SettleError(exc.message) from exc
    elif check:
        return Settled(False, "", wanted.height, leader, 0.0)
    found = _await_growth(wanted, node, run, clock)
    _check_hash(wanted, node)
    if reason:
        path = os.path.join(wanted.state_dir, wanted.unit, "journal.jsonl")
        _journal.append(path, wanted.run_id, "settled", {"height": found[0], "seconds": round(found[2], 3)})
    return Settled(bool(reason), reason, found[0], found[1], round(found[2], 3))


def _role(node: NodeClient) -> dict[str, t.Any] | None:
    try:
        return node.raft_node()
    except RpcError:
        return None


def _await_growth(wanted: Settle, node: NodeClient, run: Runner, clock: Clock) -> tuple[int, bool, float]:
    """Wait for a height above both the caller's and the first one seen here: caught up, and moving."""
    first: list[int] = []

    def probe() -> tuple[int, bool, str]:
        try:
            height = int(node.state()["height"])
            raft = node.raft_node()
        except RpcError as exc:
            return 0, False, f"unit {_systemd.active_state(wanted.service, run=run)}, {exc.message}"
        if raft is None:
            return height, False, f"height {height}, and Raft is off"
        first.append(height)
        return height, True, f"height {height}"

    def is_done(seen: tuple[int, bool, str]) -> bool:
        return seen[1] and seen[0] >= wanted.height and seen[0] > first[0]

    result = wait_until(probe, is_done, timeout=wanted.timeout, interval=0.1, clock=clock)
    if not result.ok:
        log = " / ".join(_systemd.unit_log(wanted.service, lines=5, run=run))
        raise SettleError(
            f"{wanted.member} did not get beyond height {max(wanted.height, first[0] if first else 0)} within "
            f"{wanted.timeout:g} s: {result.last[2]}; its log ends with: {log[-900:]}"
        )
    return result.last[0], bool((_role(node) or {}).get("is_leader")), result.elapsed


def _check_hash(wanted: Settle, node: NodeClient) -> None:
    if not wanted.expected_hash or not wanted.expected_height:
        return
    try:
        found = node.block(wanted.expected_height + 1)["parent"]
    except RpcError as exc:
        raise SettleError(f"{wanted.member} cannot show block {wanted.expected_height + 1}: {exc.message}") from exc
    if found != wanted.expected_hash:
        raise SettleError(
            f"{wanted.member} holds block {wanted.expected_height} with hash {found}, expected {wanted.expected_hash}: "
            "stop it, its history is another one"
        )
