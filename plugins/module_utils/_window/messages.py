# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.
"""What goes over the wire of the window, and why nobody without the key has a say in it.

A participant opens with its name and a nonce, the coordinator answers with its own nonce, and both derive one key a
direction from the one-time key, the run, the name and both nonces. Each frame carries an HMAC-SHA256 over its number
in that direction, its length and its content, so a frame that is forged, altered, repeated, left out, moved or taken
from another connection or run ends the connection. Content is not secret: heights, hashes, digests, reasons.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import struct
import typing as t

from .._errors import HaError
from .protocol import Ack, Nack, Report, Told

MAX_FRAME = 64 * 1024
NONCE = 32
TAG = 32
_HEAD = struct.Struct(">I")
_NUMBER = struct.Struct(">QI")
_MAGIC = b"evnode-ha window 1\n"


class MessageError(HaError):
    """A peer did not prove that it holds the key of this run, or sent what is no message."""


class Channel:
    """One direction pair of an authenticated connection: turns messages into frames and bytes into messages."""

    def __init__(self, send_key: bytes, receive_key: bytes) -> None:
        self._send_key, self._receive_key = send_key, receive_key
        self._sent = self._received = 0
        self._buffer = b""

    def pack(self, message: dict[str, t.Any]) -> bytes:
        """Return the next frame of this side."""
        body = json.dumps(message, separators=(",", ":")).encode()
        if len(body) > MAX_FRAME:
            raise MessageError(f"a message of {len(body)} bytes is longer than {MAX_FRAME}")
        tag = _tag(self._send_key, self._sent, body)
        self._sent += 1
        return _HEAD.pack(len(body)) + body + tag

    def feed(self, data: bytes) -> list[dict[str, t.Any]]:
        """Take received bytes and return the messages that are complete, each proven to be the next of the peer."""
        self._buffer += data
        messages: list[dict[str, t.Any]] = []
        while len(self._buffer) >= _HEAD.size:
            (length,) = _HEAD.unpack_from(self._buffer)
            if length > MAX_FRAME:
                raise MessageError(f"a frame claims {length} bytes, more than {MAX_FRAME}")
            end = _HEAD.size + length + TAG
            if len(self._buffer) < end:
                break
            body, tag = self._buffer[_HEAD.size : end - TAG], self._buffer[end - TAG : end]
            if not hmac.compare_digest(tag, _tag(self._receive_key, self._received, body)):
                raise MessageError(f"frame {self._received} is not authentic")
            self._received += 1
            self._buffer = self._buffer[end:]
            messages.append(_object(body))
        return messages


def hello(key: bytes, run: str, member: str, nonce: bytes) -> bytes:
    """Return a participant's opening: magic, name, nonce, and a tag that keeps strangers out at once."""
    body = json.dumps({"run": run, "member": member, "nonce": nonce.hex()}, separators=(",", ":")).encode()
    return _MAGIC + _HEAD.pack(len(body)) + body + _mac(key, b"hello", body)


def read_hello(key: bytes, run: str, data: bytes) -> tuple[str, bytes, int] | None:
    """Return the member, its nonce and how many bytes that took, or None where more bytes are needed."""
    if not (data.startswith(_MAGIC) or _MAGIC.startswith(data)):
        raise MessageError("the peer does not speak the window protocol")
    at = len(_MAGIC)
    if len(data) < at + _HEAD.size:
        return None
    (length,) = _HEAD.unpack_from(data, at)
    if length > 1024:
        raise MessageError(f"an opening claims {length} bytes")
    at += _HEAD.size
    if len(data) < at + length + TAG:
        return None
    body, tag = data[at : at + length], data[at + length : at + length + TAG]
    if not hmac.compare_digest(tag, _mac(key, b"hello", body)):
        raise MessageError("the peer has another key")
    opening = _object(body)
    try:
        member, nonce = str(opening["member"]), bytes.fromhex(opening["nonce"])
    except (KeyError, TypeError, ValueError) as exc:
        raise MessageError("an opening lacks its name or its nonce") from exc
    if opening.get("run") != run or len(nonce) != NONCE:
        raise MessageError(f"{member} belongs to run {opening.get('run')}, this window to {run}")
    return member, nonce, at + length + TAG


def welcome(key: bytes, run: str, member: str, theirs: bytes, mine: bytes) -> bytes:
    """Return the coordinator's answer to an opening: its nonce, proven fresh by the participant's own."""
    return mine + _mac(key, b"welcome", run.encode(), member.encode(), theirs, mine)


def read_welcome(key: bytes, run: str, member: str, mine: bytes, data: bytes) -> tuple[bytes, int] | None:
    """Return the coordinator's nonce and how many bytes that took, or None where more bytes are needed."""
    if len(data) < NONCE + TAG:
        return None
    theirs, tag = data[:NONCE], data[NONCE : NONCE + TAG]
    if not hmac.compare_digest(tag, _mac(key, b"welcome", run.encode(), member.encode(), mine, theirs)):
        raise MessageError("the coordinator's port answered without the key of this run")
    return theirs, NONCE + TAG


def channel(key: bytes, run: str, member: str, nonces: tuple[bytes, bytes], *, coordinator: bool) -> Channel:
    """Return the channel of a connection; ``nonces`` are the participant's and the coordinator's."""
    parts = (run.encode(), member.encode(), *nonces)
    up, down = _mac(key, b"to coordinator", *parts), _mac(key, b"to participant", *parts)
    return Channel(down, up) if coordinator else Channel(up, down)


def encode(message: Told | Report | Ack | Nack) -> dict[str, t.Any]:
    """Return a protocol message as a JSON object."""
    return {"type": type(message).__name__.lower(), **message._asdict()}


def decode(raw: dict[str, t.Any], *, member: str) -> Told | Report | Ack | Nack | None:
    """Return the protocol message, None for a sign of life; who sent it is the connection's word, not the message's."""
    kind = raw.get("type")
    try:
        if kind == "alive":
            return None
        if kind == "told":
            return Told(str(raw["kind"]), _height(raw["n"]), str(raw["hash"]), str(raw["reason"]))
        if kind == "report":
            prints = tuple((str(name), str(value)) for name, value in raw["fingerprints"])
            return Report(member, _height(raw["height"]), str(raw["hash"]), prints, str(raw["trouble"]))
        if kind == "ack":
            return Ack(member, _height(raw["n"]), str(raw["hash"]), str(raw["digest"]))
        if kind == "nack":
            return Nack(member, _height(raw["n"]), str(raw["reason"]))
    except (KeyError, TypeError, ValueError) as exc:
        raise MessageError(f"a message of type {kind} lacks a field or has a wrong one: {exc}") from exc
    raise MessageError(f"a message has the unknown type {kind}")


def _height(value: t.Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is no height")
    return value


def _object(body: bytes) -> dict[str, t.Any]:
    try:
        parsed = json.loads(body)
    except ValueError as exc:
        raise MessageError("a frame is not JSON") from exc
    if not isinstance(parsed, dict):
        raise MessageError("a frame is not a JSON object")
    return parsed


def _tag(key: bytes, number: int, body: bytes) -> bytes:
    return hmac.new(key, _NUMBER.pack(number, len(body)) + body, hashlib.sha256).digest()


def _mac(key: bytes, *parts: bytes) -> bytes:
    # Lengths first: no two lists of parts give the same bytes.
    data = b"".join(_HEAD.pack(len(part)) + part for part in parts)
    return hmac.new(key, data, hashlib.sha256).digest()
