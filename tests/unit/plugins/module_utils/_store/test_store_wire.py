# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames: what is passed over, what is refused, and that no wait is endless."""

from __future__ import annotations

import os
import threading
import typing as t

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.module_utils._store import wire
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._store.tree import StoreError


class Ends(t.NamedTuple):
    """A channel, and the other side of its two pipes."""

    channel: wire.Channel
    feed: int
    drain: int


@pytest.fixture
def ends() -> t.Iterator[Ends]:
    (reader, feed), (drain, writer) = os.pipe(), os.pipe()
    yield Ends(wire.Channel(reader, writer, silence=0.2, longest=1000), feed, drain)
    for fd in (reader, feed, drain, writer):
        try:
            os.close(fd)
        except OSError:
            continue


def test_a_login_message_before_the_greeting_does_no_harm(ends: Ends) -> None:
    os.write(ends.feed, b"Welcome to Debian!\n" + wire.MAGIC + b"J\0\0\0\x02{}")
    ends.channel.await_greeting()
    assert ends.channel.receive_json() == {}


def test_something_else_is_told_apart(ends: Ends) -> None:
    noise = threading.Thread(target=os.write, args=(ends.feed, b"HTTP/1.1 400 Bad Request\r\n" * 3000))
    noise.start()
    with pytest.raises(StoreError, match="does not speak the store protocol"):
        ends.channel.await_greeting()
    noise.join(timeout=5)
    assert not noise.is_alive()


@pytest.mark.parametrize("frame", [b"X\0\0\0\x01x", b"J\x7f\xff\xff\xffx", b"D\0\0\x03\xe9"])
def test_a_frame_of_another_kind_or_too_long_is_refused(ends: Ends, frame: bytes) -> None:
    os.write(ends.feed, frame)
    with pytest.raises(StoreError, match="which is not the store protocol"):
        ends.channel.receive()


@pytest.mark.parametrize("frame", [b"J\0\0\0\x02[]", b"J\0\0\0\x01{", b"D\0\0\0\x02{}"])
def test_a_message_that_is_no_object_is_refused(ends: Ends, frame: bytes) -> None:
    os.write(ends.feed, frame)
    with pytest.raises(StoreError, match="not a message"):
        ends.channel.receive_json()


def test_silence_has_a_limit(ends: Ends) -> None:
    os.write(ends.feed, b"J\0\0")
    with pytest.raises(StoreError, match=r"said nothing for 0\.2 s"):
        ends.channel.receive()


def test_a_deadline_is_a_limit_too(ends: Ends) -> None:
    ends.channel.deadline = 0.0
    with pytest.raises(StoreError, match="within the time it was given"):
        ends.channel.receive()


def test_a_reader_that_stops_reading_does_not_hold_the_writer_for_ever(ends: Ends) -> None:
    with pytest.raises(StoreError, match="said nothing"):
        ends.channel.send_data(bytes(1 << 22))


def test_the_end_of_the_other_side_is_seen(ends: Ends) -> None:
    os.close(ends.feed)
    with pytest.raises(EOFError):
        ends.channel.receive()
