# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Round-trip times and ports."""

from __future__ import annotations

import socket
import struct

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.module_utils import _port, _rtt
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._process import Result

TOKEN = bytes(8)


def test_checksum_of_a_packet_with_its_checksum_is_zero():
    packet = _rtt.echo_request(4, TOKEN, 1, 2)
    assert _rtt.checksum(packet) == 0


def reply_to(packet: bytes, version: int) -> bytes:
    answer = bytes([0 if version == 4 else 129]) + packet[1:]
    return bytes([0x45]) + bytes(19) + answer if version == 4 else answer


@pytest.mark.parametrize("version", [4, 6])
def test_a_reply_is_known_by_its_token(version):
    packet = _rtt.echo_request(version, TOKEN, 3, 17)
    answer = reply_to(packet, version)
    assert _rtt.read_reply(version, answer, TOKEN) == (3, 17)
    assert _rtt.read_reply(version, answer, b"another!") is None
    assert _rtt.read_reply(version, answer[:-1], TOKEN) is None
    assert _rtt.read_reply(version, b"", TOKEN) is None
    request = bytes([0x45]) + bytes(19) + packet if version == 4 else packet
    assert _rtt.read_reply(version, request, TOKEN) is None, "the kernel shows us our own requests to ourselves too"


def test_statistics():
    found = _rtt.statistics([0.010, 0.030, 0.020], 4)
    assert found == {
        "sent": 4,
        "received": 3,
        "loss": 0.25,
        "min_ms": 10.0,
        "avg_ms": 20.0,
        "max_ms": 30.0,
        "jitter_ms": 15.0,
    }
    assert _rtt.statistics([], 4) == {
        "sent": 4,
        "received": 0,
        "loss": 1.0,
        "min_ms": None,
        "avg_ms": None,
        "max_ms": None,
        "jitter_ms": None,
    }


def test_peers_in_parallel_over_tcp_where_echo_is_refused(monkeypatch):
    """One peer listens, one refuses, one drops: the first two have times and the third a reason."""

    def no_echo(_peers: object, _plan: object) -> list[list[float]]:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(_rtt, "icmp_times", no_echo)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        peers = [_rtt.Peer("open", "127.0.0.1"), _rtt.Peer("refused", "127.0.0.2")]
        found = _rtt.measure(peers, _rtt.Plan(3, 0.001, 1.0, port))
    assert [(entry["peer"], entry["method"], entry["received"]) for entry in found] == [
        ("open", "tcp", 3),
        ("refused", "tcp", 3),
    ]
    (silent,) = _rtt.measure(peers[:1], _rtt.Plan(3, 0.001, 0.05))
    assert silent["received"] == 0
    assert "echo requests need root" in silent["reason"]


def test_a_peer_that_answers_nothing(monkeypatch):
    monkeypatch.setattr(_rtt, "icmp_times", lambda peers, _plan: [[] for _peer in peers])
    monkeypatch.setattr(_rtt, "tcp_times", lambda peers, _plan: [[] for _peer in peers])
    (found,) = _rtt.measure([_rtt.Peer("n", "10.0.0.9")], _rtt.Plan(3, 0.001, 0.01, 22))
    assert (found["loss"], found["max_ms"]) == (1.0, None)
    assert "10.0.0.9 did not answer" in found["reason"]
    assert "TCP port 22" in found["reason"]


def test_only_the_silent_peers_are_tried_over_tcp(monkeypatch):
    monkeypatch.setattr(_rtt, "icmp_times", lambda _peers, _plan: [[0.001], []])
    monkeypatch.setattr(_rtt, "full_size", lambda peers, _timeout: [(1500, True) for _peer in peers])
    tried = []

    def tcp(peers: list[_rtt.Peer], _plan: object) -> list[list[float]]:
        tried.extend(peer.name for peer in peers)
        return [[0.002] for _peer in peers]

    monkeypatch.setattr(_rtt, "tcp_times", tcp)
    found = _rtt.measure([_rtt.Peer("a", "10.0.0.1"), _rtt.Peer("b", "10.0.0.2")], _rtt.Plan(1, 0.001, 0.01, 22))
    assert tried == ["b"]
    assert [entry["method"] for entry in found] == ["icmp", "tcp"]
    assert [(entry["mtu"], entry["full_size"]) for entry in found] == [(1500, True), (None, None)]


class Way:
    """A way that carries packets of some size; larger ones vanish, or a router tells and the kernel notes it."""

    def __init__(self, carries: int, *, route: int = 1500, tells: bool) -> None:
        self.carries, self.route, self.tells, self.sent = carries, route, tells, []

    def __enter__(self) -> Way:
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def setsockopt(self, *_given: object) -> None:
        pass

    def sendto(self, packet: bytes, _where: object) -> None:
        self.sent.append(len(packet) + 20)
        if len(packet) + 20 > self.carries and self.tells:
            self.route = self.carries

    def receive(self, sockets: dict, _token: bytes, sent: dict, times: list, _until: float, *, last: bool) -> None:
        assert sockets == {4: self}
        assert last
        if self.sent[-1] <= self.carries:
            times[0].update({sequence: 0.001 for _index, sequence in sent})


@pytest.mark.parametrize(
    ("way", "found"),
    [
        (Way(1500, tells=False), (1500, True)),
        (Way(1400, tells=False), (1500, False)),
        (Way(1400, tells=True), (1400, True)),
        (Way(9000, route=9000, tells=False), (9000, True)),
    ],
    ids=["carries-all", "black-hole", "a-router-that-tells", "jumbo-frames"],
)
def test_packets_of_the_routes_own_size(monkeypatch, way, found):
    monkeypatch.setattr(_rtt, "_route_mtu", lambda _address: way.route)
    monkeypatch.setattr(_rtt, "_icmp_socket", lambda _version: way)
    monkeypatch.setattr(_rtt, "_receive", way.receive)
    assert _rtt.full_size([_rtt.Peer("n", "10.0.0.9")], 0.01) == [found]
    assert max(way.sent) <= 9000


def test_packets_of_full_size_over_loopback_where_that_is_allowed():
    try:
        ((mtu, answered),) = _rtt.full_size([_rtt.Peer("a", "127.0.0.1")], 0.5)
    except PermissionError:
        with pytest.raises(PermissionError):
            socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        return
    assert mtu is not None
    assert mtu > 1280
    assert answered is True


def test_a_peer_may_be_named_and_a_name_may_not_resolve():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        named, unknown = _port.connect(
            [_port.Target("a", "localhost", port), _port.Target("b", "no..name", port)], timeout=1.0
        )
    assert named["state"] == "open"
    assert unknown["state"] == "unreachable"
    assert "no..name cannot be resolved" in unknown["reason"]


def test_a_name_is_no_address():
    with pytest.raises(_rtt.RttError, match="Expected an IP address for n, found 'node-2'"):
        _rtt.measure([_rtt.Peer("n", "node-2")], _rtt.Plan())


def test_echo_over_loopback_where_that_is_allowed():
    peers = [_rtt.Peer("a", "127.0.0.1"), _rtt.Peer("b", "127.0.0.3")]
    try:
        times = _rtt.icmp_times(peers, _rtt.Plan(5, 0.002, 0.5))
    except PermissionError:
        with pytest.raises(PermissionError):
            socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        return
    assert [len(answers) for answers in times] == [5, 5]
    assert all(0 < seconds < 0.5 for answers in times for seconds in answers)


def test_states_of_ports():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        targets = [_port.Target("one", "127.0.0.1", port), _port.Target("two", "127.0.0.2", port)]
        answers = _port.connect(targets, timeout=1)
    assert [(answer["peer"], answer["state"]) for answer in answers] == [("one", "open"), ("two", "refused")]
    assert answers[0]["reason"] is None
    assert "refused" in answers[1]["reason"]


def test_a_full_backlog_is_a_filter():
    """A listener that takes nobody in drops further connects, as a firewall does."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        target = _port.Target("n", *listener.getsockname())
        held = []
        try:
            for _each in range(3):
                waiting = socket.socket()
                waiting.setblocking(False)
                waiting.connect_ex(listener.getsockname())
                held.append(waiting)
            (answer,) = _port.connect([target], timeout=0.1)
        finally:
            for waiting in held:
                waiting.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                waiting.close()
    assert (answer["state"], answer["ms"]) == ("filtered", None)
    assert "no answer within 0.1 s" in answer["reason"]


def test_listening_waits_until_the_ports_are_open(commands, fake_clock):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        states = iter(["inactive", "activating", "active", "active"])
        commands.answer_with(["systemctl", "show"], lambda _argv: Result(0, f"ActiveState={next(states)}\n", ""))
        commands.answer(["systemctl", "reset-failed"])
        commands.answer(["systemd-run"])
        fake_clock.sleep = lambda seconds: listener.listen()
        _port.listen("chain", "127.0.0.1", [port], 30, python="/usr/bin/python3", run=commands, clock=fake_clock)
    (argv,) = commands.starting_with("systemd-run")
    assert "--unit=evnode-probe-chain.service" in argv
    assert "--property=RuntimeMaxSec=30" in argv
    assert argv[-2:] == ["127.0.0.1", str(port)]


def test_a_listener_that_ends_is_quoted_and_removed(commands, fake_clock):
    states = iter(["inactive", "failed", "failed"])
    commands.answer_with(["systemctl", "show"], lambda _argv: Result(0, f"ActiveState={next(states)}\n", ""))
    commands.answer(["systemctl", "reset-failed"])
    commands.answer(["systemd-run"])
    commands.answer(["journalctl"], "OSError: [Errno 98] Address already in use\n")

    with pytest.raises(_port.PortError, match="Address already in use"):
        _port.listen("chain", "127.0.0.1", [1], 30, python="python3", run=commands, clock=fake_clock)
