# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.module_utils._window import messages
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._window.messages import MessageError
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._window.protocol import Ack, Nack, Report, Told

KEY = b"k" * 32
RUN = "run-1"
NONCES = (b"p" * 32, b"c" * 32)


def pair(key=KEY, run=RUN, member="node-2", nonces=NONCES):
    return (
        messages.channel(key, run, member, nonces, coordinator=False),
        messages.channel(key, run, member, nonces, coordinator=True),
    )


@pytest.mark.parametrize(
    "message",
    [
        Told("frozen", 7, "ab", ""),
        Told("abort", 0, "", "node-3: lost"),
        Report("node-2", 5, "cd", (("genesis", "x"), ("binary", "y")), "slow"),
        Ack("node-2", 7, "ab", "digest"),
        Nack("node-2", 7, "no"),
    ],
)
def test_a_message_arrives_as_it_was_sent(message):
    below, above = pair()
    (raw,) = above.feed(below.pack(messages.encode(message)))
    assert messages.decode(raw, member="node-2") == message


def test_the_sender_is_the_connections_and_not_the_messages():
    assert messages.decode(messages.encode(Ack("node-5", 7, "ab")), member="node-2") == Ack("node-2", 7, "ab")


def test_frames_may_come_in_pieces_and_together():
    below, above = pair()
    data = below.pack({"type": "alive"}) + below.pack(messages.encode(Nack("node-2", 1, "x")))
    got = []
    for at in range(len(data)):
        got += above.feed(data[at : at + 1])
    assert [item["type"] for item in got] == ["alive", "nack"]


def test_a_truncated_frame_is_no_message():
    below, above = pair()
    assert above.feed(below.pack({"type": "alive"})[:-1]) == []


@pytest.mark.parametrize("at", [4, 10, -1, -32])
def test_a_changed_byte_ends_the_connection(at):
    below, above = pair()
    data = bytearray(below.pack(messages.encode(Ack("node-2", 7, "ab"))))
    data[at] ^= 1
    with pytest.raises(MessageError, match="not authentic"):
        above.feed(bytes(data))


def test_a_repeated_frame_ends_the_connection():
    below, above = pair()
    data = below.pack(messages.encode(Ack("node-2", 7, "ab")))
    above.feed(data)
    with pytest.raises(MessageError, match="frame 1 is not authentic"):
        above.feed(data)


def test_frames_in_another_order_end_the_connection():
    below, above = pair()
    first, second = below.pack({"type": "alive"}), below.pack(messages.encode(Ack("node-2", 7, "ab")))
    with pytest.raises(MessageError):
        above.feed(second + first)


def test_a_left_out_frame_ends_the_connection():
    below, above = pair()
    below.pack({"type": "alive"})
    with pytest.raises(MessageError):
        above.feed(below.pack(messages.encode(Ack("node-2", 7, "ab"))))


def test_a_frame_does_not_pass_in_the_other_direction():
    below, _above = pair()
    with pytest.raises(MessageError):
        below.feed(below.pack({"type": "alive"}))


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"key": b"x" * 32}, id="another-key"),
        pytest.param({"run": "run-2"}, id="another-run"),
        pytest.param({"member": "node-3"}, id="another-member"),
        pytest.param({"nonces": (b"p" * 32, b"d" * 32)}, id="a-recorded-connection"),
    ],
)
def test_a_frame_of_another_connection_does_not_pass(other):
    below, _above = pair(**other)
    _below, above = pair()
    with pytest.raises(MessageError):
        above.feed(below.pack({"type": "alive"}))


def test_a_frame_that_claims_too_much_is_refused_before_it_is_read():
    with pytest.raises(MessageError, match="more than"):
        pair()[1].feed(struct.pack(">I", 1 << 30))


def test_an_opening_names_the_member():
    data = messages.hello(KEY, RUN, "node-2", NONCES[0])
    assert messages.read_hello(KEY, RUN, data + b"rest") == ("node-2", NONCES[0], len(data))
    assert all(messages.read_hello(KEY, RUN, data[:at]) is None for at in range(len(data)))


def test_an_opening_with_another_key_is_refused():
    with pytest.raises(MessageError, match="another key"):
        messages.read_hello(KEY, RUN, messages.hello(b"x" * 32, RUN, "node-2", NONCES[0]))


def test_an_opening_of_another_run_is_refused():
    with pytest.raises(MessageError, match="belongs to run run-0"):
        messages.read_hello(KEY, RUN, messages.hello(KEY, "run-0", "node-2", NONCES[0]))


def test_another_protocol_is_refused_at_its_first_byte():
    with pytest.raises(MessageError, match="does not speak"):
        messages.read_hello(KEY, RUN, b"\x04")


def test_a_welcome_proves_the_key_for_this_nonce():
    data = messages.welcome(KEY, RUN, "node-2", *NONCES)
    assert messages.read_welcome(KEY, RUN, "node-2", NONCES[0], data) == (NONCES[1], len(data))
    assert messages.read_welcome(KEY, RUN, "node-2", NONCES[0], data[:-1]) is None
    with pytest.raises(MessageError, match="without the key"):
        messages.read_welcome(KEY, RUN, "node-2", b"q" * 32, data)


@pytest.mark.parametrize(
    "raw",
    [
        {"type": "commit"},
        {"type": "ack", "n": "7", "hash": "ab", "digest": ""},
        {"type": "ack", "n": True, "hash": "ab", "digest": ""},
        {"type": "told", "kind": "frozen", "n": -1, "hash": "", "reason": ""},
        {"type": "report", "height": 1, "hash": "", "fingerprints": [["one"]], "trouble": ""},
        {},
    ],
)
def test_what_is_no_message_is_refused(raw):
    with pytest.raises(MessageError):
        messages.decode(raw, member="node-2")
