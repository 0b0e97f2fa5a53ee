# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Five members under random schedules: crashes, partitions, lost and late messages, hosts that pause.

The model of a host is as small as the promise allows: what is on disk (the switch), whether the node runs and in which
mode, whether the window's process lives. Its restore step is what systemd does after that process has gone.
"""

from __future__ import annotations

import dataclasses
import random

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.module_utils._window import coordinator, participant
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._window.protocol import (
    Begin,
    Cancel,
    CloseIntake,
    Commit,
    Committed,
    Connected,
    Driver,
    Failed,
    Finish,
    Freeze,
    Frozen,
    Head,
    IntakeClosed,
    Limits,
    Lost,
    Match,
    Matched,
    Nack,
    Note,
    Plan,
    Probe,
    Proof,
    Report,
    Resume,
    Resumed,
    Send,
    SendReport,
    Start,
    Started,
    Thaw,
    Thawed,
)

LEADER = "node-1"
OTHERS = ("node-2", "node-3", "node-4", "node-5")
N = 21
HASH = "h21"
HORIZON = 400.0


@dataclasses.dataclass
class Member:
    """One host."""

    name: str
    driver: Driver
    switch: str
    node: str = ""
    """How the node runs: empty, single, follower or raft."""
    fenced: bool = False
    alive: bool = True
    up: bool = True
    paused_until: float = 0.0
    outcome: str = ""
    link: int = 0
    """Number of the connection that stands, 0 for none."""
    busy: list = dataclasses.field(default_factory=list)


class World:
    """The members, the wires between them, and everything that can go wrong."""

    def __init__(self, seed: int, *, require_all: bool, intake: bool, storm: bool) -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self.queue: list[tuple[float, int, object, tuple]] = []
        self.serial = 0
        self.links = 0
        self.storm = storm
        self.committed_by_rename = False
        self.equal: set[str] = set()
        self.wrong = self.random.random() < 0.15
        limits = Limits(arm=20, freeze=10, agree=5, straggler=1, grace=2, hold=20, probe=0.25)
        self.members: dict[str, Member] = {}
        for name in (LEADER, *OTHERS):
            plan = Plan(name, LEADER, OTHERS, require_all=require_all, intake=intake, limits=limits)
            side = coordinator if name == LEADER else participant
            driver = Driver(side.step, plan, side.initial(plan))
            mode = "single" if name == LEADER else "follower"
            self.members[name] = Member(name, driver, mode, mode)
        self.cut: set[str] = set()

    # -- time

    def later(self, delay: float, action, *args) -> None:
        self.serial += 1
        self.queue.append((self.now + delay, self.serial, action, args))

    def delay(self) -> float:
        if self.storm and self.random.random() < 0.1:
            return self.random.uniform(0, 12)
        return self.random.uniform(0.001, 0.3)

    def run(self) -> None:
        for member in self.members.values():
            self.give(member, Begin())
        self.later(0.5, self.give, self.members[LEADER], Head(20))
        for name in OTHERS:
            self.later(self.delay(), self.connect, self.members[name])
        for _fault in range(self.random.randint(0, 6) if self.storm else 0):
            self.later(self.random.uniform(0, 30), self.fault)
        while True:
            self.queue.sort(key=lambda entry: entry[:2])
            timers = [(due, member) for member in self.members.values() if (due := self.due(member)) is not None]
            due, owner = min(timers, key=lambda entry: entry[0], default=(HORIZON, None))
            at = self.queue[0][0] if self.queue else HORIZON
            if min(at, due) >= HORIZON:
                break
            if due < at and owner is not None:
                self.now = max(self.now, due)
                self.give(owner, None)
            else:
                self.now, _serial, action, args = self.queue.pop(0)
                action(*args)
            self.check()

    def due(self, member: Member) -> float | None:
        due = member.driver.next_due()
        return None if due is None or not member.alive else max(due, member.paused_until)

    # -- wires

    def connect(self, member: Member) -> None:
        if not member.alive or member.outcome or member.link:
            return
        leader = self.members[LEADER]
        listening = leader.alive and leader.up and leader.node != "raft" and leader.driver.state.phase != "committed"
        if member.up and listening and not self.cut & {member.name, LEADER} and member.paused_until <= self.now:
            self.links += 1
            member.link = self.links
            self.give(member, Connected())
        else:
            self.later(0.2, self.connect, member)

    def drop(self, member: Member) -> None:
        if not member.link:
            return
        member.link = 0
        # Each side learns of it in its own time.
        self.later(self.delay(), self.give, self.members[LEADER], Lost(member.name))
        self.later(self.delay(), self.give, member, Lost(member.name))
        self.later(self.delay() + 0.3, self.connect, member)

    def send(self, member: Member, to: Member, message, link: int) -> None:
        def arrive() -> None:
            if member.link == link or to.link == link:
                self.give(to, message)

        if link and not self.cut & {member.name, to.name}:
            self.later(self.delay(), arrive)

    # -- faults

    def fault(self) -> None:
        member = self.random.choice(list(self.members.values()))
        kind = self.random.choice(["kill", "reboot", "lost", "pause", "cut", "drop", "by hand"])
        if kind == "kill" and member.alive:
            self.kill(member)
        elif kind == "reboot" and member.up:
            self.reboot(member)
        elif kind == "lost" and self.random.random() < 0.3:
            member.up = member.alive = False
            member.node = ""
            self.drop(member)
        elif kind == "pause":
            member.paused_until = self.now + self.random.uniform(1, 40)
            self.drop(member)
        elif kind == "cut":
            self.cut.add(member.name)
            for name in OTHERS if member.name == LEADER else (member.name,):
                self.drop(self.members[name])
            self.later(self.random.uniform(0.5, 60), self.cut.discard, member.name)
        elif kind == "drop":
            self.drop(member)
        elif kind == "by hand":
            self.start(member)

    def kill(self, member: Member) -> None:
        member.alive = False
        member.busy.clear()
        self.drop(member)
        self.later(0.05, self.restore, member)

    def restore(self, member: Member) -> None:
        if member.up:
            member.fenced = False
            self.start(member)

    def reboot(self, member: Member) -> None:
        member.alive = member.up = False
        member.node = ""
        member.busy.clear()
        self.drop(member)
        self.later(self.random.uniform(1, 30), self.booted, member)

    def booted(self, member: Member) -> None:
        member.up, member.fenced = True, False
        self.start(member)

    def start(self, member: Member) -> None:
        """What systemd does: the fence first, then the mode that the switch names; a running unit stays as it is."""
        if member.up and not member.fenced and not member.node:
            member.node = member.switch

    # -- machines

    def give(self, member: Member, event) -> None:
        if not member.alive:
            return
        if member.paused_until > self.now:
            self.later(member.paused_until - self.now, self.give, member, event)
            return
        for action in member.driver.handle(event, self.now):
            self.perform(member, action)

    def perform(self, member: Member, action) -> None:
        if isinstance(action, (Note, Cancel)):
            return
        if isinstance(action, Finish):
            member.outcome = action.outcome
            # The process ends; so does systemd's last step.
            self.later(1.0, self.kill, member)
        elif isinstance(action, SendReport):
            self.send(member, self.members[LEADER], Report(member.name, 20, "", ()), member.link)
        elif isinstance(action, Send):
            to = self.members[action.member]
            link = to.link if member.name == LEADER else member.link
            self.send(member, to, action.message, link)
        else:
            member.busy.append(action)
            if len(member.busy) == 1 or isinstance(action, Probe):
                self.later(self.delay(), self.work, member, action)

    def work(self, member: Member, action) -> None:
        if not member.alive or action not in member.busy:
            return
        if member.paused_until > self.now:
            self.later(member.paused_until - self.now, self.work, member, action)
            return
        event = self.result(member, action)
        member.busy.remove(action)
        if member.busy and not isinstance(action, Probe):
            self.later(self.delay(), self.work, member, member.busy[0])
        self.give(member, event)

    def result(self, member: Member, action):
        luck = self.random.random()
        if isinstance(action, CloseIntake):
            return IntakeClosed()
        if isinstance(action, Freeze):
            member.fenced = True
            if self.storm and luck < 0.05:
                return Failed("the unit did not stop")
            member.node = ""
            return Frozen(N, HASH if luck < 0.8 else "")
        if isinstance(action, Match):
            if member.node == "raft" or (self.storm and luck < 0.05):
                return Failed("the follower did not stop")
            member.node = ""
            digest = "other" if self.wrong and member.name == "node-4" else HASH
            if digest == HASH:
                self.equal.add(member.name)
            return Matched(N, digest)
        if isinstance(action, Commit):
            if member.node or not member.fenced or (self.storm and luck < 0.05):
                return Failed("not stopped any more")
            member.switch = "raft"
            self.committed_by_rename = True
            return Committed()
        if isinstance(action, Thaw):
            member.fenced = False
            self.start(member)
            return Thawed()
        if isinstance(action, Start):
            if member.name != LEADER:
                member.switch = "raft"
            member.fenced = False
            self.start(member)
            return Started()
        if isinstance(action, Resume):
            self.start(member)
            return Resumed()
        if isinstance(action, Probe):
            leader = self.members[LEADER]
            reached = leader.node == "raft" and leader.paused_until <= self.now and not self.cut & {member.name, LEADER}
            return Proof(reached, "" if reached else "no Raft answer")
        raise AssertionError(action)

    # -- promises

    def check(self) -> None:
        leader = self.members[LEADER]
        raft = [member.name for member in self.members.values() if member.node == "raft"]
        assert not (leader.node == "single" and raft), f"two kinds of writers: single on {LEADER}, raft on {raft}"
        if any(self.members[name].switch == "raft" for name in OTHERS):
            assert leader.switch == "raft", "a joiner turned its switch before the commit"
        for name in OTHERS:
            if self.members[name].node == "raft":
                assert name in self.equal, f"{name} runs in the cluster and does not hold block {N} of {LEADER}"
        if leader.switch == "raft":
            assert self.committed_by_rename


@pytest.mark.parametrize("require_all", [True, False], ids=["all", "quorum"])
@pytest.mark.parametrize("block", range(8))
def test_one_writer_under_any_schedule(require_all, block):
    outcomes = set()
    for seed in range(block * 250, block * 250 + 250):
        world = World(seed, require_all=require_all, intake=seed % 5 == 0, storm=True)
        world.run()
        outcomes.add(world.members[LEADER].outcome)
        leader = world.members[LEADER]
        if leader.up:
            assert leader.node, f"seed {seed}: the first member's node does not run at the end"
            assert not leader.fenced
        else:
            assert leader.outcome or not leader.alive
    assert {"committed", "aborted"} <= outcomes


def test_without_faults_all_five_start():
    for seed in range(200):
        world = World(seed, require_all=True, intake=False, storm=False)
        world.wrong = False
        world.run()
        assert {member.node for member in world.members.values()} == {"raft"}, seed


def test_with_one_altered_store_and_no_faults_the_single_sequencer_comes_back():
    for seed in range(100):
        world = World(seed, require_all=True, intake=False, storm=False)
        world.wrong = True
        world.run()
        assert world.members[LEADER].node == "single"
        assert {world.members[name].node for name in OTHERS} == {"follower"}


def test_a_commit_that_reaches_nobody_is_found_by_its_proof():
    world = World(1, require_all=True, intake=False, storm=False)
    world.wrong = False
    leader = world.members[LEADER]
    perform = world.perform

    def deaf(member, action):
        if member is leader and isinstance(action, Send) and getattr(action.message, "kind", "") == "commit":
            return
        perform(member, action)

    world.perform = deaf
    start = world.start

    def started(member):
        start(member)
        if member is leader and member.node == "raft":
            for name in OTHERS:
                world.drop(world.members[name])

    world.start = started
    world.run()
    assert {member.node for member in world.members.values()} == {"raft"}


def test_a_checker_that_is_lied_to_notices():
    world = World(1, require_all=True, intake=False, storm=False)
    world.members["node-3"].node = "raft"
    with pytest.raises(AssertionError, match="two kinds of writers"):
        world.check()


def test_nacks_end_in_following():
    world = World(3, require_all=False, intake=False, storm=False)
    world.wrong = True
    world.run()
    assert world.members["node-4"].node == "follower"
    assert world.members[LEADER].node == "raft"
    assert isinstance(Nack("node-4", N, "x"), Nack)
