# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.
"""How a module starts a window in a unit of its own, finds it again, and reads its receipt."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
import typing as t

from .. import _files, _journal, _systemd
from .._errors import HaError
from .._intake import opening
from .._packed import SWITCHING, pack
from .._process import run as _run
from .._units import window_unit
from .._wait import SYSTEM_CLOCK, Clock, wait_until
from .host import Machine
from .program import RECEIPT

if t.TYPE_CHECKING:
    from .._process import Runner
    from .host import Settings

_PARTS = (
    *SWITCHING,
    "_account",
    "_execution",
    "_intake",
    "_proc",
    "_rpc",
    "_seal",
    "_store",
    "_store.client",
    "_store.disk",
    "_store.pace",
    "_store.pull",
    "_store.tree",
    "_store.wire",
    "_units",
    "_window",
    "_window.bus",
    "_window.coordinator",
    "_window.copying",
    "_window.host",
    "_window.messages",
    "_window.participant",
    "_window.program",
    "_window.protocol",
    "_window.runtime",
)


_UNIT_LOOK = 2.0
"""Seconds between two looks at the window's unit."""
WATCHDOG = 15
"""Seconds without a sign of life after which systemd kills the window."""


class LaunchError(HaError):
    """A window could not be started or found again."""


def folder(settings: Settings) -> str:
    """Return where program, settings and key lie: in memory, gone after a reboot."""
    return os.path.join(settings.run_dir, settings.unit, "window")


def longest(settings: Settings) -> int:
    """Return the seconds after which systemd ends the window, whatever state it is in."""
    limits = settings.limits
    parts = limits.arm + limits.freeze + settings.stop_limit * 2 + limits.agree + limits.hold + settings.health
    return int(parts) + 30


def program() -> bytes:
    """Return the window as one file that Python runs."""
    return pack(_PARTS, "_window.program")


def restore_script(settings: Settings) -> str:
    """Return what systemd runs when the window's process has ended, however it ended.

    The fence goes and the unit starts in the mode that the switch names; where it runs already nothing happens. A
    rename that was seen and may not be on disk yet is forced there first: others take this member's start for proof.
    """
    service = shlex.quote(settings.service)
    start = f"systemctl start --no-block -- {service}"
    if settings.role == "coordinator":
        link, where = shlex.quote(settings.current), shlex.quote(os.path.dirname(settings.current))
        lines = ["failed=0", f'[ "$(readlink {link})" != raft ] || sync -- {where} || failed=1']
        lines += [f'[ "$failed" = 1 ] || {{ rm -f -- {shlex.quote(settings.frozen)}; {start}; }}']
        if settings.intake_ports:
            lines += [f"{shlex.join(step)} 2>/dev/null" for step in opening(settings.table)]
        lines.append('exit "$failed"')
    else:
        lines = [f"rm -f -- {shlex.quote(settings.current + '.commit')}"]
        lines.append(
            start
            if settings.seed == "follow"
            else f'[ "$(readlink {shlex.quote(settings.current)})" = raft ] && {start}'
        )
    return "\n".join(["#!/bin/sh", *lines, "exit 0", ""])


def running(settings: Settings, *, run: Runner = _run) -> dict[str, t.Any] | None:
    """Return the settings of the window that is under way on this host, or None."""
    if _systemd.active_state(window_unit(settings.unit), run=run) not in ("active", "activating", "deactivating"):
        return None
    data = _files.read_bytes(os.path.join(folder(settings), "settings.json"))
    try:
        return dict(json.loads(data or b"{}"))
    except ValueError:
        return {}


def receipt(settings: Settings) -> dict[str, t.Any] | None:
    """Return the newest receipt of this run, or None."""
    data = _files.read_bytes(os.path.join(settings.own_state, RECEIPT))
    try:
        found = json.loads(data or b"null")
    except ValueError:
        return None
    return found if isinstance(found, dict) and found.get("run") == settings.run else None


def start(settings: Settings, key: str, *, python: str = sys.executable, run: Runner = _run) -> bool:
    """Start the window, or find that this run's is there already (False); LaunchError where another run's is."""
    other = running(settings, run=run)
    if other is not None:
        if other.get("run") == settings.run:
            return False
        raise LaunchError(
            f"a window of run {other.get('run', 'unknown')} is under way on this host; it ends by itself within "
            f"{longest(settings)} s, run again then"
        )
    if receipt(settings) is not None:
        return False
    where = folder(settings)
    _files.make_dirs(os.path.dirname(where), mode=0o700)
    _files.make_dirs(where, mode=0o700)
    _files.make_dirs(settings.own_state, mode=0o700)
    _files.write_atomic(os.path.join(where, "window.pyz"), program(), mode=0o600)
    _files.write_atomic(os.path.join(where, "settings.json"), json.dumps(settings.dump()).encode(), mode=0o600)
    _files.write_atomic(os.path.join(where, "restore.sh"), restore_script(settings).encode(), mode=0o600)
    _files.write_atomic(os.path.join(where, "key"), key.encode(), mode=0o600)
    _systemd.reset_failed(window_unit(settings.unit), run=run)
    facts = {"role": settings.role, "member": settings.member, "limit_s": longest(settings)}
    _journal.append(os.path.join(settings.own_state, "journal.jsonl"), settings.run, "window_start", facts)
    started = run(_command(settings, where, python))
    if started.rc != 0:
        _files.remove_files([os.path.join(where, "key")])
        raise LaunchError(f"{window_unit(settings.unit)} could not be started: {started.stderr.strip() or started.rc}")
    return True


def _command(settings: Settings, where: str, python: str) -> list[str]:
    properties = [
        "Type=exec",
        "KillMode=control-group",
        "Restart=no",
        "TimeoutStopSec=10",
        f"RuntimeMaxSec={longest(settings)}",
        # A process that hangs, or is stopped by somebody, must not keep the chain stopped until that limit.
        f"WatchdogSec={WATCHDOG}",
        "NotifyAccess=main",
        f"ExecStopPost=/bin/sh {where}/restore.sh",
        "UMask=0077",
        # The window is short, and the node that it stops is what everybody waits for.
        "Nice=-5",
        "OOMScoreAdjust=-900",
    ]
    return [
        "systemd-run",
        "--quiet",
        "--collect",
        f"--unit={window_unit(settings.unit)}",
        f"--description=Window of {settings.unit}, run {settings.run}",
        *(f"--property={item}" for item in properties),
        "--",
        python,
        "-I",
        os.path.join(where, "window.pyz"),
        os.path.join(where, "settings.json"),
    ]


def follow(settings: Settings, *, run: Runner = _run, clock: Clock = SYSTEM_CLOCK) -> dict[str, t.Any]:
    """Wait until the window has ended, and return its receipt; one that lost its process is judged by the switch."""

    next_look, alive = clock.monotonic(), True

    def probe() -> tuple[dict[str, t.Any] | None, bool]:
        nonlocal next_look, alive
        # Each look is a process beside a node that is being stopped or started: the receipt is read far more often.
        if clock.monotonic() >= next_look:
            next_look = clock.monotonic() + _UNIT_LOOK
            alive = running(settings, run=run) is not None
        # Read after the look at the unit: a receipt written between the two is seen.
        return receipt(settings), alive

    def is_done(seen: tuple[dict[str, t.Any] | None, bool]) -> bool:
        found, alive = seen
        return bool(found and found.get("final")) or not alive

    result = wait_until(probe, is_done, timeout=longest(settings) + 30, interval=0.2, clock=clock)
    found, alive = result.last
    mode = _files.read_link(settings.current)
    if found and found.get("final"):
        if settings.role == "coordinator" and mode == "raft" and found.get("outcome") != "committed":
            # Whatever it said: everything that starts on this host from now on reads the switch.
            found.update(outcome="committed", healthy=False, problem=f"the switch says raft; {found.get('reason')}")
        return t.cast("dict[str, t.Any]", found)
    log = _systemd.unit_log(window_unit(settings.unit), lines=10, run=run)
    if alive:
        raise LaunchError(
            f"{window_unit(settings.unit)} did not end within {result.elapsed:.0f} s; look at its journal"
        )
    ended = dict(found or {"run": settings.run, "role": settings.role, "member": settings.member, "parts": {}})
    said = " / ".join(log[-5:]) or "none"
    ended.update(
        final=True,
        outcome="committed" if mode == "raft" else "failed",
        reason=f"the process of the window was lost; the switch says {mode}. Its last lines: {said}",
        lost_at=time.time(),
    )
    if mode == "raft":
        ended.update(_settle_for_the_lost(settings, ended, run))
    return ended


def _settle_for_the_lost(settings: Settings, ended: dict[str, t.Any], run: Runner) -> dict[str, t.Any]:
    """Do what the lost process would have done: watch the member until it holds the cluster's first block."""

    def journal(event: str, facts: dict[str, t.Any]) -> None:
        _journal.append(os.path.join(settings.own_state, "journal.jsonl"), settings.run, event, facts)

    known = {name: ended.get(name) for name in ("n", "hash")}
    for entry in _journal.read(os.path.join(settings.own_state, "journal.jsonl")):
        if entry.get("run") == settings.run and entry.get("event") in ("frozen", "holding", "committed"):
            known = {"n": entry.get("n"), "hash": entry.get("hash")}
    if not known["n"]:
        return {"healthy": False, "problem": "the height at which the sequencer stopped is not in this host's journal"}
    machine = Machine(settings, journal=journal, run=run)
    return {**known, "started_at": machine.started_at(), **machine.settle(int(known["n"]), str(known["hash"] or ""))}
