# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""Ask a Raft port who answers there, without leaving a trace on it.

A pre-vote request is the one question of hashicorp/raft that changes nothing on the side that is asked: its handler
builds an answer and returns. The answer's header names the member, so an open port, a frozen process or another
service is told from a running Raft member. Term 0 can never lead to a vote.
"""

from __future__ import annotations

import socket
import struct
import time
import typing as t

from ._errors import HaError

_PRE_VOTE = 4
_PROTOCOL_VERSION = 3
_MAX_ANSWER = 64 * 1024


class RaftProbeError(HaError):
    """Nobody answered as a Raft member; the message says what happened instead."""


class _Incomplete(Exception):
    """More bytes are needed to decode the answer."""


class RaftMember(t.NamedTuple):
    """Who answered: its node id, the address it advertises, and its term."""

    node_id: str
    address: str
    term: int


def ask(address: str, *, asker: str, asker_address: str = "", timeout: float = 1.0) -> RaftMember:
    """Return the Raft member that answers at ``address`` (host:port) within ``timeout`` seconds."""
    host, _colon, port = address.rpartition(":")
    deadline = time.monotonic() + timeout
    received = b""
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=timeout) as link:
            link.sendall(pre_vote_request(asker, asker_address))
            while True:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise RaftProbeError(
                        f"{address} accepted a connection and gave no Raft answer within {timeout:g} s"
                    )
                link.settimeout(left)
                piece = link.recv(4096)
                if not piece:
                    raise RaftProbeError(f"{address} closed the connection without a Raft answer")
                received += piece
                try:
                    return read_answer(received)
                except _Incomplete:
                    if len(received) > _MAX_ANSWER:
                        raise RaftProbeError(f"{address} answered with something that is not Raft") from None
    except (socket.timeout, TimeoutError) as exc:
        raise RaftProbeError(f"{address} gave no Raft answer within {timeout:g} s") from exc
    except OSError as exc:
        raise RaftProbeError(f"{address} cannot be reached: {exc.strerror or exc}") from exc


def ask_for(node_id: str, address: str, *, asker: str, asker_address: str = "", timeout: float = 1.0) -> RaftMember:
    """Return the Raft member ``node_id`` if it is the one that answers at ``address``; any other is no proof of it."""
    found = ask(address, asker=asker, asker_address=asker_address, timeout=timeout)
    if found.node_id != node_id:
        raise RaftProbeError(f"{address} is Raft member {found.node_id}, not {node_id}")
    return found


def pre_vote_request(asker: str, asker_address: str) -> bytes:
    """Encode the request: one type byte, then a msgpack map with the flattened header."""
    fields: list[tuple[str, int | bytes]] = [
        ("ProtocolVersion", _PROTOCOL_VERSION),
        ("ID", asker.encode()),
        ("Addr", asker_address.encode()),
        ("Term", 0),
        ("LastLogIndex", 0),
        ("LastLogTerm", 0),
    ]
    out = bytes([_PRE_VOTE, 0x80 | len(fields)])
    for name, value in fields:
        out += _raw(name.encode())
        out += bytes([value]) if isinstance(value, int) else _raw(value)
    return out


def read_answer(data: bytes) -> RaftMember:
    """Decode an error string and an answer map; an answer without a header, or with an error, is no proof."""
    error, at = _decode(data, 0)
    if error not in (b"", None):
        raise RaftProbeError(f"the Raft member refused the question: {_text(error)}")
    answer, _at = _decode(data, at)
    if not isinstance(answer, dict) or not isinstance(answer.get("ID"), bytes) or not answer["ID"]:
        raise RaftProbeError("the answer has no Raft header")
    if "Term" not in answer or "Granted" not in answer:
        raise RaftProbeError("the answer is not one to a pre-vote request")
    return RaftMember(_text(answer["ID"]), _text(answer.get("Addr") or b""), int(answer["Term"]))


def _raw(value: bytes) -> bytes:
    if len(value) < 32:
        return bytes([0xA0 | len(value)]) + value
    return bytes([0xDA]) + struct.pack(">H", len(value)) + value


def _text(value: t.Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


_FIXED = {0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q", 0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q"}
_LENGTHS = {0xC4: ">B", 0xC5: ">H", 0xC6: ">I", 0xD9: ">B", 0xDA: ">H", 0xDB: ">I"}


def _decode(data: bytes, at: int) -> tuple[t.Any, int]:
    """Decode one msgpack value of the kinds the answer is made of."""
    (kind,), at = _take(data, at, 1)
    if kind <= 0x7F:
        return kind, at
    if kind >= 0xE0:
        return kind - 0x100, at
    if kind & 0xF0 == 0x80 or kind == 0xDE:
        count = kind & 0x0F
        if kind == 0xDE:
            raw, at = _take(data, at, 2)
            count = struct.unpack(">H", raw)[0]
        found: dict[str, t.Any] = {}
        for _number in range(count):
            name, at = _decode(data, at)
            found[_text(name)], at = _decode(data, at)
        return found, at
    if kind & 0xE0 == 0xA0:
        return _take(data, at, kind & 0x1F)
    if kind in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[kind], at
    if kind in _FIXED:
        raw, at = _take(data, at, struct.calcsize(_FIXED[kind]))
        return struct.unpack(_FIXED[kind], raw)[0], at
    if kind in _LENGTHS:
        raw, at = _take(data, at, struct.calcsize(_LENGTHS[kind]))
        return _take(data, at, min(struct.unpack(_LENGTHS[kind], raw)[0], _MAX_ANSWER))
    raise RaftProbeError(f"the answer is not Raft: unexpected byte 0x{kind:02x}")


def _take(data: bytes, at: int, count: int) -> tuple[bytes, int]:
    if at + count > len(data):
        raise _Incomplete
    return data[at : at + count], at + count
