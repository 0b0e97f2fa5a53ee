# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.
"""What proc(5) says about processes and TCP sockets."""

from __future__ import annotations

import typing as t

from ._files import read_bytes

if t.TYPE_CHECKING:
    from collections.abc import Iterator

ESTABLISHED, LISTEN = "01", "0A"


class TcpSocket(t.NamedTuple):
    """A TCP socket of this network namespace: its state as two hex digits, both ports, its inode."""

    state: str
    port: int
    peer_port: int
    inode: str


def tcp_sockets(proc: str = "/proc") -> Iterator[TcpSocket]:
    """Give every TCP socket, of IPv4 and IPv6."""
    for table in ("tcp", "tcp6"):
        for line in (read_bytes(f"{proc}/net/{table}") or b"").decode("utf-8", "replace").splitlines()[1:]:
            words = line.split()
            if len(words) > 9:
                port, peer_port = (int(address.rpartition(":")[2], 16) for address in words[1:3])
                yield TcpSocket(words[3], port, peer_port, words[9])


def listening_sockets(proc: str = "/proc") -> dict[int, set[str]]:
    """Return the TCP ports that something listens on, with the inodes of the sockets."""
    found: dict[int, set[str]] = {}
    for seen in tcp_sockets(proc):
        if seen.state == LISTEN:
            found.setdefault(seen.port, set()).add(seen.inode)
    return found


def stat_fields(path: str) -> list[str]:
    """Return the fields of a process's ``stat`` that follow its name, the state first; none where there is no such."""
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            return handle.read().rpartition(")")[2].split()
    except OSError:
        # Also one that ended while it was being read.
        return []
