# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that outlive the command which started them: recorded by pid and start time, ended by both."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.shell import wait_for

_STARTED: set[int] = set()


@dataclass(frozen=True)
class Recorded:
    """A process as it was recorded; `start` tells it from a later one with the same pid."""

    pid: int
    start: int

    def alive(self) -> bool:
        return start_time(self.pid) == self.start


def parse_stat(text: str) -> tuple[str, int, int]:
    """State letter, parent pid and start time (clock ticks since boot) from a /proc/<pid>/stat line."""
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[1]), int(fields[19])


def start_time(pid: int) -> int | None:
    """Start time of a living process; None for a dead one or a zombie."""
    try:
        state, _parent, start = parse_stat(Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace"))
    except (OSError, IndexError, ValueError):
        return None
    return None if state in "ZX" else start


def children(pid: int) -> list[int]:
    """Pids of the direct children of a process, of all its threads."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(child) for child in path.read_text(encoding="ascii").split()]
    return found


def start(
    argv: Sequence[str],
    *,
    record: Path,
    log: Path,
    env: Mapping[str, str] | None = None,
    cgroups: Iterable[Path] = (),
    cwd: Path | None = None,
) -> Recorded:
    """Start a process in a session of its own, inside `cgroups`, and record it in the file `record`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    record.parent.mkdir(parents=True, exist_ok=True)
    groups = list(cgroups)

    def enter() -> None:
        for group in groups:
            (group / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")

    with log.open("ab") as output:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=dict(env) if env is not None else None,
            preexec_fn=enter,
            cwd=cwd,
        )
    # Reaped by init later: it is meant to outlive this command.
    process.returncode = 0
    _STARTED.add(process.pid)
    found = Recorded(process.pid, start_time(process.pid) or 0)
    record.write_text(json.dumps({"pid": found.pid, "start": found.start, "argv": list(argv)}), encoding="utf-8")
    return found


def recorded(record: Path) -> Recorded | None:
    """The living process of a record file; None when there is no record or that process is gone."""
    try:
        data = json.loads(record.read_text(encoding="utf-8"))
        found = Recorded(int(data["pid"]), int(data["start"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if found.alive() else None


def end(record: Path, *, soft: float) -> bool:
    """End the recorded process: SIGTERM, up to `soft` seconds, then SIGKILL. Removes the record; True if it lived."""
    found = recorded(record)
    if found is not None:
        if soft > 0:
            signal_process(found, signal.SIGTERM)
            with contextlib.suppress(Exception):
                wait_for("end", lambda: "running" if found.alive() else None, timeout=soft)
        signal_process(found, signal.SIGKILL)
        wait_for(f"end of process {found.pid}", lambda: "running" if found.alive() else None, timeout=10)
    record.unlink(missing_ok=True)
    return found is not None


def signal_process(process: Recorded, number: signal.Signals) -> None:
    """Send a signal unless the process is gone."""
    if process.alive():
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)


def reap() -> None:
    """Collect what this process has started here and what has ended since, so that it does not stay as a zombie."""
    for pid in list(_STARTED):
        with contextlib.suppress(ChildProcessError):
            if os.waitpid(pid, os.WNOHANG)[0] == 0:
                continue
        _STARTED.discard(pid)
