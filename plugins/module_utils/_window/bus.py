# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.
"""One message to systemd without a process in between: five members that start ``systemctl`` at once start late.

systemd listens on a private socket where root speaks D-Bus with it directly. The connection is made and authenticated
beforehand, so that a start costs one write. Whatever goes wrong here, the caller falls back to ``systemctl``.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import time
import typing as t

from .._errors import HaError

SOCKET = "/run/systemd/private"
_CALL, _RETURN, _ERROR = 1, 2, 3
_PATH, _INTERFACE, _MEMBER, _ERROR_NAME, _REPLY_SERIAL, _SIGNATURE = 1, 2, 3, 4, 5, 8
_MAX_MESSAGE = 1 << 20
_NUDGE = 0.02
"""Seconds without an answer after which systemd is written to again."""


class BusError(HaError):
    """systemd's private socket could not be used."""


class Bus:
    """An authenticated connection to systemd."""

    def __init__(self, path: str = SOCKET, *, timeout: float = 2.0) -> None:
        """Connect; BusError where there is no such socket or it does not let this user in."""
        self._serial = 0
        self._timeout = timeout
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(timeout)
            self._socket.connect(path)
            self._socket.sendall(b"\0AUTH EXTERNAL " + str(os.geteuid()).encode().hex().encode() + b"\r\n")
            answer = self._line()
            if not answer.startswith(b"OK "):
                raise BusError(f"{path} answered {answer.decode(errors='replace').strip()}")
            self._socket.sendall(b"BEGIN\r\n")
        except OSError as exc:
            self.close()
            raise BusError(f"{path} cannot be used: {exc}") from exc
        except BusError:
            self.close()
            raise

    def start(self, unit: str) -> None:
        """Ask for the start of a unit and wait until systemd has queued it; BusError where it has not."""
        self._serial += 1
        wanted = self._serial
        deadline = time.monotonic() + self._timeout
        try:
            self._socket.sendall(start_message(wanted, unit))
            while True:
                self._await_message(deadline)
                kind, serial, name = self._message()
                if serial != wanted:
                    continue
                if kind == _ERROR:
                    raise BusError(f"systemd refused to start {unit}: {name}")
                if kind == _RETURN:
                    return
        except OSError as exc:
            raise BusError(f"systemd did not answer: {exc}") from exc

    def _await_message(self, deadline: float) -> None:
        """Wait for the first byte of a message.

        A call that systemd has read together with the end of the authentication lies in its buffer, and it looks there
        only when more arrives. So it gets more, a call that does nothing, until it answers.
        """
        while not select.select([self._socket], [], [], _NUDGE)[0]:
            if time.monotonic() >= deadline:
                raise BusError(f"systemd did not answer within {self._timeout:g} s")
            self._serial += 1
            self._socket.sendall(_call(self._serial, "org.freedesktop.DBus.Peer", "Ping"))

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _line(self) -> bytes:
        got = b""
        while not got.endswith(b"\r\n") and len(got) < 1024:
            # Byte by byte: what follows the line belongs to the next reader.
            piece = self._socket.recv(1)
            if not piece:
                raise BusError("systemd closed its private socket")
            got += piece
        return got

    def _message(self) -> tuple[int, int, str]:
        head = self._exactly(16)
        order = "<" if head[:1] == b"l" else ">"
        kind = head[1]
        body, _serial, fields = struct.unpack_from(order + "III", head, 4)
        if body > _MAX_MESSAGE or fields > _MAX_MESSAGE:
            raise BusError("systemd sent a message that is too long")
        raw = self._exactly(_padded(fields) + body)
        reply, name = _read_fields(order, raw[:fields])
        return kind, reply, name

    def _exactly(self, count: int) -> bytes:
        got = b""
        while len(got) < count:
            piece = self._socket.recv(count - len(got))
            if not piece:
                raise BusError("systemd closed its private socket")
            got += piece
        return got


def start_message(serial: int, unit: str) -> bytes:
    """Encode the call of ``StartUnit(unit, "replace")``."""
    return _call(serial, "org.freedesktop.systemd1.Manager", "StartUnit", unit, "replace")


def _call(serial: int, interface: str, member: str, *arguments: str) -> bytes:
    fields = b""
    for code, kind, value in (
        (_PATH, b"o", "/org/freedesktop/systemd1"),
        (_INTERFACE, b"s", interface),
        (_MEMBER, b"s", member),
    ):
        fields = _align(fields, 8) + bytes([code, 1]) + kind + b"\0"
        fields = _string(_align(fields, 4), value)
    body = b""
    if arguments:
        signature = b"s" * len(arguments)
        fields = _align(fields, 8) + bytes([_SIGNATURE, 1]) + b"g\0" + bytes([len(signature)]) + signature + b"\0"
    for value in arguments:
        body = _string(_align(body, 4), value)
    head = struct.pack("<BBBBIII", ord("l"), _CALL, 0, 1, len(body), serial, len(fields))
    return _align(head + fields, 8) + body


def _string(before: bytes, value: str) -> bytes:
    data = value.encode()
    return before + struct.pack("<I", len(data)) + data + b"\0"


def _align(data: bytes, size: int) -> bytes:
    return data + b"\0" * (-len(data) % size)


def _padded(length: int) -> int:
    return length + (-length % 8)


def _read_fields(order: str, raw: bytes) -> tuple[int, str]:
    """Return the reply serial and the error name of a message's header fields."""
    reply, name, at = 0, "", 0
    while at < len(raw):
        at = _padded(at)
        if at >= len(raw):
            break
        code, size = raw[at], raw[at + 1]
        kind = raw[at + 2 : at + 2 + size]
        at += 3 + size
        value: t.Any = None
        if kind in (b"s", b"o"):
            at += -at % 4
            (length,) = struct.unpack_from(order + "I", raw, at)
            value = raw[at + 4 : at + 4 + length].decode(errors="replace")
            at += 5 + length
        elif kind == b"u":
            at += -at % 4
            (value,) = struct.unpack_from(order + "I", raw, at)
            at += 4
        elif kind == b"g":
            at += 2 + raw[at]
        else:
            raise BusError(f"systemd sent a header field of type {kind!r}")
        if code == _REPLY_SERIAL:
            reply = int(value)
        elif code == _ERROR_NAME:
            name = str(value)
    return reply, name
