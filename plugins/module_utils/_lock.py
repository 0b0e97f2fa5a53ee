# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.
"""One run at a time on a member: who holds it, since when, and whether that run's controller is still there.

The lock lies in /run: a member that was rebooted has lost what the run was doing there anyway.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import typing as t

from ._errors import HaError
from ._files import make_dirs, read_bytes, remove_files, write_atomic
from ._proc import ESTABLISHED, stat_fields, tcp_sockets

if t.TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class LockError(HaError):
    """The lock cannot be read or written."""


class Taken(t.NamedTuple):
    """``mine``: whether the caller holds the lock now. ``holder``: who had it before, empty where nobody did."""

    mine: bool
    holder: dict[str, t.Any]


def take(path: str, wanted: Mapping[str, t.Any], *, over: bool = False, proc: str = "/proc") -> Taken:
    """Take the lock for a run, unless another run holds it whose controller is still connected to this host.

    ``wanted`` names the run and its controller: ``run``, ``controller`` (anything that is the same for one process of
    one controller and no other), ``user``, ``host``. ``over`` takes it from whoever has it.
    """
    with _guarded(path):
        held = read(path)
        if _same(held, wanted):
            return Taken(True, {})
        if held and not over and _there(held, proc):
            return Taken(False, held)
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        record = {**wanted, "since": now, "connection": connection_of(os.getpid(), proc)}
        write_atomic(path, (json.dumps(record, sort_keys=True) + "\n").encode(), mode=0o600)
        return Taken(True, held)


def release(path: str, wanted: Mapping[str, t.Any]) -> bool:
    """Give the lock back; False where the caller does not hold it."""
    with _guarded(path):
        if not _same(read(path), wanted):
            return False
        remove_files([path])
        return True


def read(path: str) -> dict[str, t.Any]:
    """Return who holds the lock, empty where nobody does."""
    try:
        found = json.loads(read_bytes(path) or b"{}")
    except ValueError as exc:
        raise LockError(f"{path} is not JSON; if no run is under way, remove it") from exc
    return found if isinstance(found, dict) else {}


def connection_of(pid: int, proc: str = "/proc") -> str:
    """Return the ssh connection that a process came over, as sshd tells it: client, port, server, port.

    sudo takes it out of the environment, so the processes above are asked. Empty for a local connection.
    """
    seen: set[int] = set()
    while pid > 1 and pid not in seen:
        seen.add(pid)
        for item in (read_bytes(f"{proc}/{pid}/environ") or b"").split(b"\0"):
            if item.startswith(b"SSH_CONNECTION="):
                return item.partition(b"=")[2].decode("ascii", "replace")
        fields = stat_fields(f"{proc}/{pid}/stat")
        pid = int(fields[1]) if len(fields) > 1 else 0
    return ""


def established(connection: str, proc: str = "/proc") -> bool:
    """Tell whether the client's end of an ssh connection is connected to this host."""
    words = connection.split()
    if len(words) != 4 or not words[1].isdigit():
        return False
    # The client's address would have to be read in three ways; its port alone tells connections apart here.
    port = int(words[1])
    return any(seen.state == ESTABLISHED and seen.peer_port == port for seen in tcp_sockets(proc))


def _there(held: Mapping[str, t.Any], proc: str) -> bool:
    connection = str(held.get("connection") or "")
    # Without a connection to look at there is no sign either way, and a run may be under way.
    return established(connection, proc) if connection else True


def _same(held: Mapping[str, t.Any], wanted: Mapping[str, t.Any]) -> bool:
    return bool(held) and all(held.get(name) == wanted[name] for name in ("run", "controller"))


@contextlib.contextmanager
def _guarded(path: str) -> Iterator[None]:
    make_dirs(os.path.dirname(path), mode=0o700)
    try:
        fd = os.open(f"{path}.guard", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise LockError(f"{path}.guard cannot be opened: {exc.strerror}") from exc
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
