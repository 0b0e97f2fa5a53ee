# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""Whether TCP ports can be reached from host to host, before anything that will use them runs."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import time
import typing as t

from ._errors import HaError
from ._process import run as _run
from ._systemd import show
from ._transient import Transient, end, last_words, launch
from ._wait import SYSTEM_CLOCK, Clock, wait_until

if t.TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ._process import Runner

# Accepts and closes, until systemd ends it. Given as text, so that nothing is written to the host's disk.
_LISTENER = """
import select, socket, sys
address, ports = sys.argv[1], sys.argv[2:]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
sockets = []
for port in ports:
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, int(port)))
    listener.listen(16)
    listener.setblocking(False)
    sockets.append(listener)
while True:
    for ready in select.select(sockets, [], [])[0]:
        try:
            ready.accept()[0].close()
        except OSError:
            pass
"""
_IN_PROGRESS = (0, errno.EINPROGRESS)


class PortError(HaError):
    """Ports cannot be opened for the probe."""


class Target(t.NamedTuple):
    """A port of a peer, at an IP address or a name."""

    peer: str
    address: str
    port: int


def targets(items: Sequence[Mapping[str, t.Any]]) -> list[Target]:
    """Return what a task names as targets; PortError where one of them lacks something."""
    try:
        return [Target(str(item["peer"]), str(item["address"]), int(item["port"])) for item in items]
    except (KeyError, ValueError) as exc:
        raise PortError(f"Expected peer, address and port for each target, found a bad or missing one: {exc}") from exc


def unit_name(label: str) -> str:
    """Return the name of the probe's transient unit."""
    return f"evnode-probe-{label}.service"


def listen(
    label: str,
    address: str,
    ports: Sequence[int],
    lifetime: float,
    *,
    python: str,
    run: Runner = _run,
    clock: Clock = SYSTEM_CLOCK,
) -> None:
    """Open the ports at ``address`` for at most ``lifetime`` seconds, and return when all of them are open."""
    unit = unit_name(label)
    argv = [python, "-c", _LISTENER, address, *(str(port) for port in ports)]
    # Not a user of its own: systemd would make directories for it.
    properties = {
        "CapabilityBoundingSet": "CAP_NET_BIND_SERVICE",
        "NoNewPrivileges": "yes",
        "ProtectSystem": "strict",
        "ProtectHome": "yes",
    }
    launch(Transient(unit, argv, lifetime, properties), run=run)

    def closed() -> list[int] | None:
        if show(unit, ["ActiveState"], run=run).get("ActiveState") not in ("active", "activating"):
            return None
        answers = connect([Target(address, address, port) for port in ports], timeout=1.0)
        return [int(answer["port"]) for answer in answers if answer["state"] != "open"]

    waited = wait_until(closed, lambda left: not left, timeout=10, interval=0.1, clock=clock)
    if waited.last is None or waited.last:
        words = last_words(unit, run=run)
        end(unit, run=run)
        raise PortError(
            f"Expected to open ports {', '.join(map(str, ports))} at {address} for the probe, found: {words}"
        )


def close(label: str, *, run: Runner = _run) -> bool:
    """Close what ``listen`` opened; True if it was open."""
    unit = unit_name(label)
    was_open = show(unit, ["ActiveState"], run=run).get("ActiveState") in ("active", "activating")
    end(unit, run=run)
    return was_open


def connect(targets: Sequence[Target], *, timeout: float) -> list[dict[str, t.Any]]:
    """Try all targets at once; each gets a ``state``, the milliseconds it took, and ``source``, the address it had.

    ``open``: somebody listens. ``refused``: the host answers and nobody listens, so nothing filters. ``filtered``: no
    answer. ``unreachable``: no way there.
    """
    results: list[dict[str, t.Any]] = []
    waiting: dict[int, tuple[int, socket.socket, float]] = {}
    poll = select.poll()
    with contextlib.ExitStack() as stack:
        for index, target in enumerate(targets):
            results.append(
                {
                    **target._asdict(),
                    "state": "filtered",
                    "ms": None,
                    "reason": f"no answer within {timeout:g} s",
                    "source": None,
                }
            )
            try:
                family, _kind, _protocol, _name, where = socket.getaddrinfo(
                    target.address, target.port, type=socket.SOCK_STREAM
                )[0]
            except (OSError, UnicodeError) as exc:
                words = f"{target.address} cannot be resolved: {getattr(exc, 'strerror', None) or exc}"
                results[index].update(state="unreachable", reason=words)
                continue
            probe = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            probe.setblocking(False)
            began = time.monotonic()
            code = probe.connect_ex(where)
            if code in _IN_PROGRESS:
                waiting[probe.fileno()] = (index, probe, began)
                poll.register(probe, select.POLLOUT)
            else:
                results[index].update(_verdict(code, time.monotonic() - began))
        deadline = time.monotonic() + timeout
        while waiting and (left := deadline - time.monotonic()) > 0:
            for fd, _event in poll.poll(left * 1000):
                poll.unregister(fd)
                index, probe, began = waiting.pop(fd)
                code = probe.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                results[index].update(_verdict(code, time.monotonic() - began))
                if code == 0:
                    results[index]["source"] = str(probe.getsockname()[0])
    return results


def _verdict(code: int, seconds: float) -> Mapping[str, t.Any]:
    if code == 0:
        return {"state": "open", "ms": round(seconds * 1000, 3), "reason": None}
    if code == errno.ECONNREFUSED:
        return {"state": "refused", "ms": round(seconds * 1000, 3), "reason": os.strerror(code)}
    if code in (errno.ETIMEDOUT, errno.EACCES, errno.EPERM):
        return {"state": "filtered", "ms": None, "reason": os.strerror(code)}
    return {"state": "unreachable", "ms": None, "reason": os.strerror(code)}
