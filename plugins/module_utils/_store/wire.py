# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""How the two ends of a copy talk: frames of one kind byte, four length bytes and a payload, over a pair of pipes."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import struct
import time
import typing as t

from .tree import StoreError

if t.TYPE_CHECKING:
    from collections.abc import Callable, Mapping

VERSION = 1
MAGIC = b"\x00evnode-store-1\n"
"""Marks where the talk begins, so that a login message before it does no harm."""

JSON, DATA = b"J", b"D"
LONGEST = 64 * 1024 * 1024
"""Bytes; a longer frame is a broken or hostile other end."""

_HEAD = struct.Struct(">cI")
_NOISE = 64 * 1024
# fcntl names it from Python 3.10 on only.
_SET_PIPE_SIZE = 1031
_PIPE_SIZE = 512 * 1024


class Channel:
    """One end of a talk over two file descriptors; every wait has a limit."""

    def __init__(
        self,
        reader: int,
        writer: int,
        *,
        silence: float = 30.0,
        longest: int = LONGEST,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``silence`` is how many seconds the other end may say nothing before it counts as gone.

        ``longest`` is the size in bytes of the longest frame to accept.
        """
        self._reader, self._writer = reader, writer
        # A write that blocks could not be given a limit.
        os.set_blocking(writer, False)
        for pipe in (reader, writer):
            # The usual 64 KiB cost four changes of process for one chunk; where it cannot be more, it stays so.
            with contextlib.suppress(OSError):
                fcntl.fcntl(pipe, _SET_PIPE_SIZE, _PIPE_SIZE)
        self._silence, self._longest, self._clock = silence, longest, clock
        self._buffer = bytearray()
        self.deadline: float | None = None

    def greet(self) -> None:
        """Tell the other end where the talk begins."""
        self._write(MAGIC)

    def await_greeting(self) -> None:
        """Pass over what stands before the greeting."""
        while MAGIC not in self._buffer:
            if len(self._buffer) > _NOISE:
                raise StoreError("The other end does not speak the store protocol; is another program answering there?")
            self._fill()
        del self._buffer[: self._buffer.index(MAGIC) + len(MAGIC)]

    def send(self, message: Mapping[str, t.Any]) -> None:
        """Send a JSON message."""
        self._frame(JSON, json.dumps(message, separators=(",", ":")).encode())

    def send_data(self, *parts: bytes) -> None:
        """Send raw bytes."""
        self._frame(DATA, b"".join(parts))

    def receive(self) -> tuple[bytes, bytes]:
        """Return kind and payload of the next frame."""
        kind, length = _HEAD.unpack(self._take(_HEAD.size))
        if kind not in (JSON, DATA) or length > self._longest:
            raise StoreError(f"The other end sent {length} bytes of kind {kind!r}, which is not the store protocol")
        return kind, self._take(length)

    def receive_json(self) -> dict[str, t.Any]:
        """Return the next frame, which has to be a JSON object."""
        kind, payload = self.receive()
        return self.parse(kind, payload)

    @staticmethod
    def parse(kind: bytes, payload: bytes) -> dict[str, t.Any]:
        """Turn a frame into its JSON object."""
        try:
            message = json.loads(payload) if kind == JSON else None
        except ValueError:
            message = None
        if not isinstance(message, dict):
            raise StoreError("The other end sent something that is not a message of the store protocol")
        return message

    def check_deadline(self) -> None:
        """Raise StoreError when the time that ``deadline`` gives is over."""
        if self.deadline is not None and self._clock() >= self.deadline:
            raise StoreError("The copy did not end within the time it was given")

    def _frame(self, kind: bytes, payload: bytes) -> None:
        self._write(_HEAD.pack(kind, len(payload)) + payload)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            self._wait(self._writer, select.POLLOUT)
            with contextlib.suppress(BlockingIOError):
                view = view[os.write(self._writer, view[: 1 << 20]) :]

    def _take(self, length: int) -> bytes:
        # Also where nothing has to be waited for: a reader that is paced takes its time over what is here already.
        self.check_deadline()
        while len(self._buffer) < length:
            self._fill()
        taken = bytes(self._buffer[:length])
        del self._buffer[:length]
        return taken

    def _fill(self) -> None:
        self._wait(self._reader, select.POLLIN)
        try:
            piece = os.read(self._reader, _PIPE_SIZE)
        except BlockingIOError:
            return
        if not piece:
            raise EOFError
        self._buffer += piece

    def _wait(self, fd: int, event: int) -> None:
        limit = self._silence
        if self.deadline is not None:
            limit = min(limit, max(0.0, self.deadline - self._clock()))
        poller = select.poll()
        poller.register(fd, event)
        if not poller.poll(limit * 1000):
            self.check_deadline()
            raise StoreError(f"The other end said nothing for {self._silence:g} s")
