# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""Round-trip times from this host to its peers, all at once: ICMP echo, or TCP connects where that is filtered."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import select
import socket
import struct
import time
import typing as t

from ._errors import HaError

if t.TYPE_CHECKING:
    from collections.abc import Sequence

_ECHO = {4: 8, 6: 128}
_REPLY = {4: 0, 6: 129}
# A refusal has made the round trip as well.
_ANSWERS = (0, errno.ECONNREFUSED)
_TOKEN_BYTES = 8
# Linux, ip(7) and ipv6(7); Python names only some of them. DO: never fragment, and tell where a router said "too big".
_MTU = {4: (socket.IPPROTO_IP, 14), 6: (socket.IPPROTO_IPV6, 24)}
_MTU_DISCOVER = {4: (socket.IPPROTO_IP, 10), 6: (socket.IPPROTO_IPV6, 23)}
_DISCOVER_DO = 2
_IP_HEADER = {4: 20, 6: 40}
_FULL_REQUESTS = 3
# Larger packets than jumbo frames are made on loopback alone, and some of them fill a socket's buffer.
_LARGEST = 9216
# Each router on the way may tell a smaller size; more than three of them is no network for a cluster.
_FULL_ROUNDS = 4
_HEADER = struct.Struct("!BBHHH")
_BODY = struct.Struct(f"!{_TOKEN_BYTES}sHH")


class RttError(HaError):
    """Round-trip times cannot be measured here at all."""


class Peer(t.NamedTuple):
    """A peer and its address (IPv4 or IPv6, no name)."""

    name: str
    address: str


class Plan(t.NamedTuple):
    """How to measure: ``interval`` and ``timeout`` in seconds, ``port`` for TCP where ICMP gets no answer."""

    requests: int = 20
    interval: float = 0.05
    timeout: float = 1.0
    port: int | None = None


def measure(peers: Sequence[Peer], plan: Plan) -> list[dict[str, t.Any]]:
    """Return the statistics to every peer, measured in parallel; a peer that never answered has a ``reason``."""
    for peer in peers:
        try:
            ipaddress.ip_address(peer.address)
        except ValueError as exc:
            raise RttError(f"Expected an IP address for {peer.name}, found '{peer.address}'; set its address") from exc
    try:
        icmp = icmp_times(peers, plan)
        why_not = "no echo was answered"
    except PermissionError:
        icmp, why_not = [[] for _peer in peers], "echo requests need root"
    except OSError as exc:
        icmp, why_not = [[] for _peer in peers], f"echo requests cannot be sent: {exc.strerror}"
    silent = [index for index, times in enumerate(icmp) if not times]
    tcp: dict[int, list[float]] = {}
    if silent and plan.port is not None:
        tcp = dict(zip(silent, tcp_times([peers[index] for index in silent], plan)))
    results = []
    for index, peer in enumerate(peers):
        method = "tcp" if tcp.get(index) else "icmp"
        found = statistics(tcp[index] if tcp.get(index) else icmp[index], plan.requests)
        entry = {"peer": peer.name, "address": peer.address, "method": method, **found}
        if not found["received"]:
            also = "" if plan.port is None else f", and TCP port {plan.port} neither accepted nor refused a connection"
            entry["reason"] = f"{peer.address} did not answer: {why_not}{also}"
        results.append(entry)
    echoing = [entry for entry in results if entry["method"] == "icmp" and entry["received"]]
    for entry in results:
        entry.update(mtu=None, full_size=None)
    sizes = full_size([Peer(entry["peer"], entry["address"]) for entry in echoing], plan.timeout)
    for entry, (mtu, answered) in zip(echoing, sizes):
        entry.update(mtu=mtu, full_size=answered)
    return results


def statistics(times: Sequence[float], sent: int) -> dict[str, t.Any]:
    """Summarise round-trip times (seconds) in milliseconds; jitter is the mean step from one answer to the next."""
    received = len(times)
    found: dict[str, t.Any] = {
        "sent": sent,
        "received": received,
        "loss": round(1 - received / sent, 4) if sent else 0.0,
    }
    steps = [abs(later - earlier) for earlier, later in zip(times, times[1:])]
    values = {
        "min_ms": min(times) if times else None,
        "avg_ms": sum(times) / received if times else None,
        "max_ms": max(times) if times else None,
        "jitter_ms": (sum(steps) / len(steps) if steps else 0.0) if times else None,
    }
    found.update({name: None if value is None else round(value * 1000, 3) for name, value in values.items()})
    return found


def icmp_times(peers: Sequence[Peer], plan: Plan) -> list[list[float]]:
    """Send every peer its echo requests, one round every ``interval``; return the times in the order of sending."""
    versions = [ipaddress.ip_address(peer.address).version for peer in peers]
    token = os.urandom(_TOKEN_BYTES)
    times: list[dict[int, float]] = [{} for _peer in peers]
    sent: dict[tuple[int, int], float] = {}
    with contextlib.ExitStack() as stack:
        sockets: dict[int, socket.socket] = {
            version: stack.enter_context(_icmp_socket(version)) for version in set(versions)
        }
        start = time.monotonic()
        for sequence in range(plan.requests):
            for index, peer in enumerate(peers):
                packet = echo_request(versions[index], token, index, sequence)
                sent[index, sequence] = time.monotonic()
                # An unreachable network is a lost packet; the statistics tell.
                with contextlib.suppress(OSError):
                    sockets[versions[index]].sendto(packet, (peer.address, 0))
            last = sequence + 1 == plan.requests
            until = time.monotonic() + plan.timeout if last else start + (sequence + 1) * plan.interval
            _receive(sockets, token, sent, times, until, last=last)
    return [[found[sequence] for sequence in sorted(found)] for found in times]


def full_size(peers: Sequence[Peer], timeout: float) -> list[tuple[int | None, bool | None]]:
    """Return the largest packet of the route to every peer, in bytes, and whether one of that size is answered.

    A route on which small packets pass and full ones vanish lets connections open and hang. A router that says how
    large a packet may be is no such route: the kernel then sends smaller ones.
    """
    versions: list[int] = [ipaddress.ip_address(peer.address).version for peer in peers]
    sizes = [_route_mtu(peer.address) for peer in peers]
    answered: list[bool | None] = [None] * len(peers)
    left = [index for index, size in enumerate(sizes) if size]
    token = os.urandom(_TOKEN_BYTES)
    with contextlib.ExitStack() as stack:
        sockets = {version: stack.enter_context(_icmp_socket(version)) for version in set(versions)}
        for version, probe in sockets.items():
            probe.setsockopt(*_MTU_DISCOVER[version], _DISCOVER_DO)
        for turn in range(_FULL_ROUNDS):
            sent: dict[tuple[int, int], float] = {}
            times: list[dict[int, float]] = [{} for _peer in peers]
            for index in left:
                room = (sizes[index] or 0) - _IP_HEADER[versions[index]]
                for sequence in range(turn * _FULL_REQUESTS, (turn + 1) * _FULL_REQUESTS):
                    packet = echo_request(versions[index], token, index, sequence, room)
                    sent[index, sequence] = time.monotonic()
                    # Too big for what the kernel has learnt since: that is an answer, seen below.
                    with contextlib.suppress(OSError):
                        sockets[versions[index]].sendto(packet, (peers[index].address, 0))
            _receive(sockets, token, sent, times, time.monotonic() + timeout, last=True)
            told = {index: _route_mtu(peers[index].address) for index in left if not times[index]}
            for index in left:
                answered[index] = bool(times[index])
            left = [index for index, size in told.items() if size and size < (sizes[index] or 0)]
            for index in left:
                sizes[index] = told[index]
            if not left:
                break
    return list(zip(sizes, answered))


def _route_mtu(address: str) -> int | None:
    """Return the largest packet that the kernel would send there, a jumbo frame at most; None without a route."""
    version = ipaddress.ip_address(address).version
    with socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 9))
            return min(probe.getsockopt(*_MTU[version]), _LARGEST)
        except OSError:
            return None


def echo_request(version: int, token: bytes, index: int, sequence: int, size: int = 0) -> bytes:
    """Build an echo request that says whose it is: the kernel gives replies to every raw socket of the host.

    It is padded to ``size`` bytes, the IP header not counted, to an even number.
    """
    body = _BODY.pack(token, index, sequence)
    body += bytes(max(0, size - _HEADER.size - len(body)) & ~1)
    identifier = os.getpid() & 0xFFFF
    head = _HEADER.pack(_ECHO[version], 0, 0, identifier, sequence & 0xFFFF)
    # For ICMPv6 the kernel fills the checksum in, since it covers the addresses too.
    check = checksum(head + body) if version == 4 else 0
    return _HEADER.pack(_ECHO[version], 0, check, identifier, sequence & 0xFFFF) + body


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def read_reply(version: int, packet: bytes, token: bytes) -> tuple[int, int] | None:
    """Return the peer index and sequence of one of our replies, None for anything else."""
    # A raw IPv4 socket hands over the IP header too, an IPv6 one does not.
    start = (packet[0] & 0x0F) * 4 if version == 4 and packet else 0
    body = packet[start + _HEADER.size :]
    if len(packet) < start + _HEADER.size + _BODY.size or packet[start] != _REPLY[version]:
        return None
    found, index, sequence = _BODY.unpack(body[: _BODY.size])
    return (index, sequence) if found == token else None


def tcp_times(peers: Sequence[Peer], plan: Plan) -> list[list[float]]:
    """Return the times that connects to ``port`` took; a refusal is an answer too.

    One round of connects at a time: a second connect to a port that drops packets would only wait as well.
    """
    times: list[list[float]] = [[] for _peer in peers]
    asked = list(range(len(peers)))
    for _round in range(plan.requests):
        begin = time.monotonic()
        answered = _connect_round([peers[index] for index in asked], t.cast(int, plan.port), plan.timeout)
        for index, seconds in zip(asked, answered):
            if seconds is not None:
                times[index].append(seconds)
        asked = [index for index in asked if times[index]]
        if not asked:
            break
        time.sleep(max(0.0, plan.interval - (time.monotonic() - begin)))
    return times


def _connect_round(peers: Sequence[Peer], port: int, timeout: float) -> list[float | None]:
    found: list[float | None] = [None] * len(peers)
    waiting: dict[int, tuple[int, float]] = {}
    poll = select.poll()
    with contextlib.ExitStack() as stack:
        open_sockets = {}
        for index, peer in enumerate(peers):
            family = socket.AF_INET if ipaddress.ip_address(peer.address).version == 4 else socket.AF_INET6
            probe = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            probe.setblocking(False)
            began = time.monotonic()
            code = probe.connect_ex((peer.address, port))
            if code in _ANSWERS:
                found[index] = time.monotonic() - began
            if code != errno.EINPROGRESS:
                continue
            open_sockets[probe.fileno()] = probe
            waiting[probe.fileno()] = (index, began)
            poll.register(probe, select.POLLOUT | select.POLLERR | select.POLLHUP)
        deadline = time.monotonic() + timeout
        while waiting and (left := deadline - time.monotonic()) > 0:
            for fd, _event in poll.poll(left * 1000):
                now = time.monotonic()
                poll.unregister(fd)
                index, began = waiting.pop(fd)
                if open_sockets[fd].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) in _ANSWERS:
                    found[index] = now - began
    return found


def _icmp_socket(version: int) -> socket.socket:
    if version == 4:
        probe = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    else:
        probe = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    probe.setblocking(False)
    return probe


def _receive(
    sockets: dict[int, socket.socket],
    token: bytes,
    sent: dict[tuple[int, int], float],
    times: list[dict[int, float]],
    until: float,
    *,
    last: bool,
) -> None:
    """Take in replies until a moment; after the ``last`` round only until nothing is outstanding."""
    versions = {probe: version for version, probe in sockets.items()}
    while (left := until - time.monotonic()) > 0 and (sent or not last):
        readable, _writable, _broken = select.select(list(versions), [], [], left)
        now = time.monotonic()
        for probe in readable:
            with contextlib.suppress(OSError):
                found = read_reply(versions[probe], probe.recv(2048), token)
                if found is not None and found in sent:
                    times[found[0]][found[1]] = now - sent.pop(found)
