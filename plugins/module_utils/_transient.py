# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""Transient systemd units: processes that end with their unit and never outlive a limit."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
import typing as t

from ._process import run as _run
from ._systemd import UnitError, active_state, reset_failed, show, stop, unit_log

if t.TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ._process import Runner

_CLONE_NEWNET = 0x40000000
_CAP_NET_ADMIN = 12
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1


class Transient(t.NamedTuple):
    """A unit to run: ``limit`` is the seconds after which systemd ends it, whatever happens to who started it."""

    unit: str
    argv: Sequence[str]
    limit: float
    properties: Mapping[str, str] = {}


def launch(wanted: Transient, *, run: Runner = _run) -> None:
    """Start the unit and return once its program is executed; a unit of the name that is left over is ended first."""
    if active_state(wanted.unit, run=run) not in ("inactive", "failed"):
        stop(wanted.unit, run=run)
    reset_failed(wanted.unit, run=run)
    settings = {"Type": "exec", "RuntimeMaxSec": f"{wanted.limit:g}", **wanted.properties}
    done = run(
        [
            "systemd-run",
            "--quiet",
            "--collect",
            f"--unit={wanted.unit}",
            *(f"--property={name}={value}" for name, value in settings.items()),
            "--",
            *(escape(item) for item in wanted.argv),
        ]
    )
    if done.rc != 0:
        raise UnitError(f"systemd-run of {wanted.unit} failed: {done.stderr.strip() or f'exit code {done.rc}'}")


def end(unit: str, *, timeout: float = 60, run: Runner = _run) -> None:
    """Stop the unit and forget it; a unit that is not there is fine."""
    if active_state(unit, run=run) not in ("inactive", "failed"):
        stop(unit, timeout=timeout, run=run)
    reset_failed(unit, run=run)


def main_pid(unit: str, *, run: Runner = _run) -> int | None:
    """Return the unit's main process, None where it has none."""
    return int(show(unit, ["MainPID"], run=run).get("MainPID") or 0) or None


def last_words(unit: str, *, run: Runner = _run) -> str:
    """Return what the unit wrote last, for a failure's message: its ``Error:`` line without the usage text after it."""
    lines = [line for line in unit_log(unit, lines=100, run=run) if line.strip()]
    errors = [line for line in lines if line.startswith("Error:")]
    return errors[-1] if errors else " | ".join(lines[-3:]) or "it wrote nothing"


def may_configure_networks(proc: str = "/proc") -> bool:
    """Tell whether a private network would be usable: in a container without CAP_NET_ADMIN its loopback stays off."""
    with open(f"{proc}/self/status", encoding="ascii", errors="replace") as handle:
        for line in handle:
            name, _colon, value = line.partition(":")
            if name == "CapEff":
                return bool(int(value, 16) >> _CAP_NET_ADMIN & 1)
    return False


def escape(item: str) -> str:
    """Keep systemd from expanding variables in an argument."""
    return item.replace("$", "$$")


@contextlib.contextmanager
def network_of(pid: int, *, proc: str = "/proc") -> Iterator[bool]:
    """Be in the network namespace of a process; yields False, and changes nothing, where it is this process's own."""
    own, theirs = f"{proc}/self/ns/net", f"{proc}/{pid}/ns/net"
    if os.readlink(own) == os.readlink(theirs):
        yield False
        return
    with open(own, "rb") as back, open(theirs, "rb") as there:
        _enter(there.fileno())
        try:
            _loopback_up()
            yield True
        finally:
            _enter(back.fileno())


def _loopback_up() -> None:
    """Turn loopback on: in a container systemd may be unable to do so for the namespaces it makes."""
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        asked = struct.pack("16sh22x", b"lo", 0)
        try:
            flags = struct.unpack("16sh22x", fcntl.ioctl(probe, _SIOCGIFFLAGS, asked))[1]
            fcntl.ioctl(probe, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | _IFF_UP))
        except OSError as exc:
            raise UnitError(f"loopback of a private network cannot be turned on: {exc.strerror}") from exc


def _enter(fd: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, _CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise UnitError(f"the network of a process cannot be entered: {os.strerror(code)}; run this with become")
