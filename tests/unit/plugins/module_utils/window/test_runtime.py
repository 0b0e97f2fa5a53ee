# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The window over real sockets on loopback; only the hosts are made up."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.module_utils._window import (
    coordinator,
    messages,
    participant,
    runtime,
)
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._window.protocol import (
    Committed,
    Driver,
    Failed,
    Frozen,
    IntakeClosed,
    Limits,
    Matched,
    Plan,
    Proof,
    Resumed,
    Started,
    Thawed,
)

KEY = b"k" * 32
OTHERS = ("node-2", "node-3", "node-4", "node-5")
LIMITS = Limits(arm=5, freeze=5, agree=2, straggler=0.2, grace=0.5, hold=4, probe=0.05)


class FakeHost:
    """Both roles' host: remembers what was asked of it, and when."""

    def __init__(self, name, digest="h21"):
        self.name, self.digest_found = name, digest
        self.did = []
        self.at = {}
        self.proof = Proof(False, "refused")
        self.hold_match = threading.Event()
        self.hold_match.set()
        self.frozen = Frozen(21, "h21")

    def note(self, what):
        self.did.append(what)
        self.at[what] = time.monotonic()

    def head(self):
        return 20

    def close_intake(self, token):
        self.note("close_intake")
        return IntakeClosed()

    def freeze(self, token):
        self.note("freeze")
        return self.frozen

    def commit(self, n, digest):
        self.note("commit")
        return Committed()

    def thaw(self):
        self.note("thaw")
        return Thawed()

    def start(self, n, digest):
        self.note("start")
        return Started()

    def describe(self):
        return 20, "h20", ""

    def match(self, n, digest, token):
        self.hold_match.wait(5)
        self.note("match")
        return Failed("called off") if token.is_set() else Matched(n, self.digest_found)

    def probe(self):
        return self.proof

    def resume(self):
        self.note("resume")
        return Resumed()


class Fleet:
    """Five members on loopback."""

    def __init__(self, **changes):
        self.changes = changes
        self.journals = {name: [] for name in ("node-1", *OTHERS)}
        self.hosts = {name: FakeHost(name) for name in ("node-1", *OTHERS)}
        self.runtimes = {}
        self.port = 0
        self.keys = {}

    def plan(self, name):
        return Plan(**{"me": name, "coordinator": "node-1", "participants": OTHERS, "limits": LIMITS, **self.changes})

    def make(self, name):
        plan = self.plan(name)
        side = coordinator if name == "node-1" else participant
        kind = runtime.CoordinatorRuntime if name == "node-1" else runtime.ParticipantRuntime
        self.runtimes[name] = kind(
            Driver(side.step, plan, side.initial(plan)),
            self.hosts[name],
            run="run-1",
            key=self.keys.get(name, KEY),
            address=("127.0.0.1", self.port),
            journal=lambda event, facts: self.journals[name].append((event, facts)),
        )
        return self.runtimes[name]

    def run(self, names=("node-1", *OTHERS), meanwhile=None):
        async def all_of_them():
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                self.port = free.getsockname()[1]
            tasks = [asyncio.create_task(self.make(name).serve()) for name in names]
            if meanwhile:
                await meanwhile(self)
            results = await asyncio.wait_for(asyncio.gather(*tasks), 20)
            return {name: results[index] for index, name in enumerate(names)}

        return {name: result.outcome for name, result in asyncio.run(all_of_them()).items()}

    def events(self, name):
        return [event for event, _facts in self.journals[name]]


async def until(condition, limit=10.0):
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        await asyncio.sleep(0.01)


def test_five_members_commit_and_start_together():
    fleet = Fleet(intake=True)
    assert set(fleet.run().values()) == {"committed"}
    assert fleet.hosts["node-1"].did == ["close_intake", "freeze", "commit", "start"]
    starts = [host.at["start"] for host in fleet.hosts.values()]
    assert all(fleet.hosts[name].did == ["match", "start"] for name in OTHERS)
    assert max(starts) - min(starts) < 0.25
    assert all(at >= fleet.hosts["node-1"].at["commit"] for at in starts)
    assert "committed" in fleet.events("node-1")
    assert "committed" in fleet.events("node-3")


def test_one_altered_store_brings_everybody_back():
    fleet = Fleet()
    fleet.hosts["node-4"].digest_found = "other"
    assert set(fleet.run().values()) == {"aborted"}
    assert fleet.hosts["node-1"].did == ["freeze", "thaw"]
    assert all(fleet.hosts[name].did[-1] == "resume" for name in OTHERS)
    assert not any("start" in host.did for host in fleet.hosts.values())


def test_a_missing_member_stops_nothing():
    fleet = Fleet(limits=LIMITS.__class__(**{**LIMITS.__dict__, "arm": 0.6}))
    outcomes = fleet.run(("node-1", "node-2", "node-3", "node-4"))
    assert outcomes["node-1"] == "aborted"
    assert fleet.hosts["node-1"].did == ["thaw"]
    assert not any("match" in host.did for host in fleet.hosts.values())


def test_another_key_takes_no_part_and_is_journaled():
    fleet = Fleet(limits=LIMITS.__class__(**{**LIMITS.__dict__, "arm": 1.0, "freeze": 0.2}))
    fleet.keys["node-5"] = b"x" * 32
    outcomes = fleet.run()
    assert outcomes["node-1"] == "aborted"
    assert fleet.hosts["node-1"].did == ["thaw"]
    assert ("stranger", {"reason": "the peer has another key"}) in fleet.journals["node-1"]
    assert "match" not in fleet.hosts["node-5"].did


def test_an_acknowledgement_that_never_comes_ends_at_the_limit():
    fleet = Fleet()
    fleet.hosts["node-5"].hold_match.clear()

    async def release(_fleet):
        await until(lambda: "thaw" in fleet.hosts["node-1"].did)
        fleet.hosts["node-5"].hold_match.set()

    assert set(fleet.run(meanwhile=release).values()) == {"aborted"}
    assert fleet.hosts["node-5"].did == ["match", "resume"]


def test_a_broken_connection_comes_back_and_the_window_goes_on():
    fleet = Fleet()
    fleet.hosts["node-5"].hold_match.clear()

    async def cut(_fleet):
        await until(lambda: "freeze" in fleet.hosts["node-1"].did)
        await until(lambda: fleet.runtimes["node-3"].driver.state.phase == "holding")
        fleet.runtimes["node-3"]._link.close()
        await until(lambda: not fleet.runtimes["node-3"].driver.state.connected)
        await until(lambda: fleet.runtimes["node-3"].driver.state.connected)
        fleet.hosts["node-5"].hold_match.set()

    assert set(fleet.run(meanwhile=cut).values()) == {"committed"}


def test_who_missed_the_commit_starts_on_proof_only():
    fleet = Fleet()

    async def deafen(_fleet):
        await until(lambda: fleet.runtimes["node-3"].driver.state.phase == "holding")
        link = fleet.runtimes["node-3"]._link
        # From here on node-3 hears nothing any more.
        deliver = fleet.runtimes["node-3"].deliver
        fleet.runtimes["node-3"].deliver = lambda event: (
            None if getattr(event, "kind", "") == "commit" else deliver(event)
        )
        fleet.hosts["node-5"].hold_match.set()
        await until(lambda: "start" in fleet.hosts["node-1"].did)
        link.close()
        await until(lambda: fleet.runtimes["node-3"].driver.state.probing)
        assert "start" not in fleet.hosts["node-3"].did
        fleet.hosts["node-3"].proof = Proof(True, "node-1 answers")

    fleet.hosts["node-5"].hold_match.clear()
    assert set(fleet.run(meanwhile=deafen).values()) == {"committed"}
    assert fleet.hosts["node-3"].did == ["match", "start"]


def test_who_hears_nothing_and_finds_no_proof_follows_again():
    fleet = Fleet()

    async def die(_fleet):
        await until(lambda: fleet.runtimes["node-3"].driver.state.phase == "holding")
        # The coordinator's process is stopped in its tracks: the port accepts, nobody answers.
        fleet.runtimes["node-1"].deliver = lambda event: None
        for name in OTHERS:
            fleet.runtimes[name]._link.close()
        fleet.runtimes["node-1"]._server.close()
        fleet.runtimes["node-1"]._finished.set_result(type("End", (), {"outcome": "gone", "reason": ""})())

    fleet.hosts["node-5"].hold_match.clear()
    threading.Timer(0.8, fleet.hosts["node-5"].hold_match.set).start()
    outcomes = fleet.run(meanwhile=die)
    assert {outcomes[name] for name in OTHERS} == {"unknown"}
    assert all(fleet.hosts[name].did == ["match", "resume"] for name in OTHERS)


def test_an_error_of_the_host_side_is_an_answer_and_not_silence():
    fleet = Fleet()

    def broken(token):
        raise RuntimeError("systemd is gone")

    fleet.hosts["node-1"].freeze = broken
    assert set(fleet.run().values()) == {"aborted"}
    assert fleet.hosts["node-1"].did == ["thaw"]
    assert any("systemd is gone" in str(facts) for _event, facts in fleet.journals["node-1"])


def test_the_port_can_be_bound_while_the_windows_connections_are_still_open():
    async def scene():
        server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0, reuse_address=True)
        port = server.sockets[0].getsockname()[1]
        _reader, writer = await asyncio.open_connection("127.0.0.1", port)
        server.close()
        with socket.socket() as node:
            node.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            node.bind(("127.0.0.1", port))
            node.listen()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    asyncio.run(scene())


@pytest.mark.parametrize("noise", [b"\x04garbage", b"GET / HTTP/1.0\r\n\r\n", b"evnode-ha window 1\n\xff\xff\xff\xff"])
def test_strangers_on_the_port_do_not_disturb(noise):
    fleet = Fleet()

    async def strangers(_fleet):
        await until(lambda: fleet.runtimes["node-1"]._server is not None)
        for _number in range(5):
            _reader, writer = await asyncio.open_connection("127.0.0.1", fleet.port)
            writer.write(noise)
        fleet.hosts["node-5"].hold_match.set()

    fleet.hosts["node-5"].hold_match.clear()
    assert set(fleet.run(meanwhile=strangers).values()) == {"committed"}


def test_a_recorded_opening_does_not_push_the_member_out():
    fleet = Fleet()

    async def replay(_fleet):
        await until(lambda: fleet.runtimes["node-3"].driver.state.phase == "holding")
        _reader, writer = await asyncio.open_connection("127.0.0.1", fleet.port)
        writer.write(messages.hello(KEY, "run-1", "node-3", b"n" * 32) + b"\0" * 200)
        await asyncio.sleep(0)
        fleet.hosts["node-5"].hold_match.set()

    fleet.hosts["node-5"].hold_match.clear()
    assert set(fleet.run(meanwhile=replay).values()) == {"committed"}
