# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clusters: members with chosen stores and timings, sealing, pinning, and one hand-made vote request."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .node import Bench, ConformanceError, Json, Node, RpcError

# One member calls elections at once, the others not within a test. The leases are as long as may be: a busy machine
# must not end a leader that a test needs.
EAGER: dict[str, Any] = {
    "heartbeat_timeout": "350ms",
    "election_timeout": "1s",
    "leader_lease_timeout": "350ms",
    "send_timeout": "200ms",
}
PATIENT: dict[str, Any] = {
    "heartbeat_timeout": "20s",
    "election_timeout": "20s",
    "leader_lease_timeout": "5s",
    "send_timeout": "200ms",
}

BOOTSTRAPPED = "bootstrapped raft cluster"
EXISTING_STATE = "raft node started with existing local state"
HALTED = "full node halted successfully"
LEADING = "starting leader operations"
FOLLOWING = "starting follower operations"


@dataclass
class Head:
    """The head of a stopped chain: what a migration calls N."""

    height: int
    hash: str


def grow(node: Node, height: int) -> Head:
    """Runs the single sequencer until it has ``height``, stops it cleanly and reads the head that it kept."""
    node.start()
    node.wait_height(height)
    stop_cleanly(node)
    return offline_head(node)


def stop_cleanly(node: Node) -> None:
    """Stops a node that is no leader: exit code 0 and the line that says that the store is closed."""
    code = node.stop()
    if code != 0 or not node.log_has(HALTED):
        raise ConformanceError(f"expected {node.name} to stop with 0 and {HALTED!r}, found {code}\n{node.describe()}")


def stop_before(leader: Node, followers: Sequence[Node]) -> Head:
    """Stops a sequencer when all ``followers`` have its latest block, between two blocks; the head that it kept.

    A block is in the store before it is sent: a stop in that instant keeps it from the followers for good.
    """
    seen = leader.height()
    latest = leader.wait_height(seen + 1)
    for follower in followers:
        follower.wait_height(latest)
    stop_cleanly(leader)
    return offline_head(leader)


def probe_flags(node: Node) -> list[str]:
    """Flags that make a plain full node without peers and without DA of any home."""
    return [
        "--evnode.node.aggregator=false",
        "--evnode.raft.enable=false",
        "--evnode.p2p.peers=",
        "--evnode.da.address=",
        f"--evnode.rpc.address=127.0.0.1:{node.ports.rpc}",
    ]


def offline_head(node: Node) -> Head:
    """Head of a stopped node's store: the home is started as a full node that talks to nobody, asked, and stopped."""
    node.start(*probe_flags(node), passphrase=False)
    node.wait_rpc()
    height, digest = node.header_store_head()
    if height != node.height():
        raise ConformanceError(
            f"expected one head in {node.name}, found {height} in its P2P store and {node.height()} in its state"
        )
    stop_cleanly(node)
    return Head(height, digest)


def offline_chain(node: Node) -> list[Json]:
    """All signed headers of a stopped node's store, from height 1."""
    node.start(*probe_flags(node), passphrase=False)
    node.wait_rpc()
    found: list[Json] = []
    for height in range(1, node.height() + 1):
        try:
            found.append(node.header(height))
        except RpcError as error:
            raise ConformanceError(
                f"expected block {height} in the store of {node.name}, found none: {error}"
            ) from error
    stop_cleanly(node)
    return found


def members_of(bench: Bench, first: Node, count: int, *, data: bool = True) -> list[Node]:
    """``first`` (stopped) and ``count - 1`` joiners of its chain, with copies of its store if ``data``."""
    return [first, *(bench.joiner(f"node-{number}", first, data=data) for number in range(2, count + 1))]


def pin(members: Sequence[Node], leader: Node) -> None:
    """Writes Raft mode for all: ``leader`` calls elections at once, the others not within a test."""
    for member in members:
        member.as_member(members, EAGER if member is leader else PATIENT)


def seal(member: Node) -> None:
    """Writes the membership into the member's Raft directory: started alone, which is no quorum, and stopped."""
    member.start()
    member.wait_log(BOOTSTRAPPED)
    stop_cleanly(member)


def start_pinned(members: Sequence[Node], leader: Node) -> None:
    """Starts the others, waits until each is bootstrapped and listens, then starts ``leader``."""
    for member in members:
        if member is not leader:
            member.start()
    for member in members:
        if member is not leader:
            wait_bootstrapped(member)
    leader.start()


def wait_bootstrapped(member: Node) -> None:
    """Waits until a started member knows the membership: nothing that others send can harm it from there on."""
    member.wait("it is bootstrapped", lambda: member.log_has(BOOTSTRAPPED) or member.log_has(EXISTING_STATE))


def running_cluster(bench: Bench, count: int = 3, height: int = 4) -> tuple[list[Node], Head]:
    """A cluster with equal stores that has made blocks above N, led by its first member; and N."""
    first = bench.sequencer()
    head = grow(first, height)
    members = members_of(bench, first, count)
    pin(members, first)
    for member in members[1:]:
        seal(member)
    start_pinned(members, first)
    for member in members:
        member.wait_height(head.height + 2)
    return members, head


def same_header(members: Sequence[Node], height: int) -> bool:
    """Whether all members hold the same signed header at ``height``."""
    headers = [member.header(height) for member in members]
    return all(header == headers[0] for header in headers)


def _pack(value: object) -> bytes:
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int) and 0 <= value < 128:
        return bytes([value])
    if isinstance(value, (bytes, str)):
        raw = value.encode() if isinstance(value, str) else value
        if len(raw) < 32:
            return bytes([0xA0 | len(raw)]) + raw
    if isinstance(value, dict) and len(value) < 16:
        return bytes([0x80 | len(value)]) + b"".join(_pack(key) + _pack(item) for key, item in value.items())
    raise ValueError(f"cannot pack {value!r}")


def ask_for_vote(target: Node, candidate: Node, *, term: int = 2, timeout: float = 10.0) -> None:
    """Sends one hashicorp/raft RequestVote to ``target`` as soon as it listens, as ``candidate`` would.

    Returns once it is answered, or once ``target`` has ended: a process may die of the request before it answers.
    """
    request = b"\x01" + _pack(
        {
            "ProtocolVersion": 3,
            "ID": candidate.name,
            "Addr": candidate.raft_addr,
            "Term": term,
            "Candidate": candidate.raft_addr,
            "LastLogIndex": 1,
            "LastLogTerm": 1,
            "LeadershipTransfer": False,
        }
    )
    started = time.monotonic()
    while time.monotonic() - started < timeout:
        try:
            with socket.create_connection(("127.0.0.1", target.ports.raft), timeout=2.0) as connection:
                connection.sendall(request)
                if connection.recv(1):
                    return
        except OSError:
            if not target.alive:
                return
            time.sleep(0.0005)
    raise ConformanceError(f"expected an answer to a vote request within {timeout:g} s, got none\n{target.describe()}")
