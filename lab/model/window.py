# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The window's world: the product's two state machines, and hosts, disks, links and faults around them.

The machines are imported, not rewritten. What stands here is the rest of the world, as adverse as it may be:

* a message arrives at any later moment, after or before anything that happens elsewhere, or never, when its connection
  ends first;
* a process is killed, a host loses power, a network is cut, a disk refuses between any two steps; what a power cut may
  undo is what was not yet forced to disk;
* a limit runs out when nothing else can happen, which is what limits are long for; one that runs out before that (a
  host was paused, a link was slow) is a fault like the others.

All joiners are alike, so worlds that differ only in which joiner is which are one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, NamedTuple, TypeVar, cast

from ansible_collections.evnode.sequencer_ha.plugins.module_utils._window import coordinator, participant
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._window.protocol import (
    Ack,
    Action,
    Begin,
    Cancel,
    Commit,
    Committed,
    Connected,
    Digest,
    Due,
    Event,
    Failed,
    Finish,
    Freeze,
    Frozen,
    Head,
    Lost,
    Match,
    Matched,
    Nack,
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
    Timer,
    Told,
)

N, HASH, FILES = 10, "H", "F"
ALTERED = ("X", "Y", "Z")
"""Hashes of a block N that is not the chain's: no two stores are altered alike."""


class Sequencer(NamedTuple):
    """node-1: the window's process, what it is doing, and the host under it."""

    process: str = "runs"
    """runs, ended (its unit's last step is still to come), gone, or lost with the host."""
    machine: coordinator.State = coordinator.State()
    """Without the peers: each joiner carries its own."""
    timers: frozenset[str] = frozenset()
    doing: str = ""
    token: bool = False
    listening: bool = True
    switch: str = "single"
    durable: bool = True
    """Whether the switch is on disk as it is seen."""
    fence: bool = False
    node: str = "single"
    """single, halting (its last block is made, its process still there), raft, or empty."""
    up: bool = True


class Joiner(NamedTuple):
    """A joiner, its connection, and what node-1's window knows about it."""

    peer: coordinator.Peer
    runs: bool = True
    """Whether its window's process runs."""
    machine: participant.State = participant.State()
    timers: frozenset[str] = frozenset()
    doing: str = ""
    probing: bool = False
    switch: str = "follower"
    durable: bool = True
    node: str = "follower"
    """follower, raft, or empty."""
    store: str = ""
    """The hash of block N in its store; empty where it has not been seen there."""
    link: str = ""
    """empty, up, or broken: each side has still to notice."""
    near_lost: bool = False
    """Of a broken link: whether this joiner has noticed."""
    far_lost: bool = False
    """Of a broken link: whether node-1 has noticed."""
    inbound: tuple[Told, ...] = ()
    outbound: tuple[Event, ...] = ()
    cut: bool = False


World = tuple[int, tuple[int, ...], int]
"""Numbers of the sequencer and of the joiners, smaller ones first, and how many faults may still happen."""
Step = tuple[str, World]
Thing = TypeVar("Thing")


class Numbered(Generic[Thing]):
    """Every value has a number: worlds are compared and kept as a few numbers."""

    def __init__(self) -> None:
        self.values: list[Thing] = []
        self._numbers: dict[Thing, int] = {}

    def __getitem__(self, number: int) -> Thing:
        return self.values[number]

    def of(self, value: Thing) -> int:
        """The number of a value, a new one for a new value."""
        number = self._numbers.setdefault(value, len(self.values))
        if number == len(self.values):
            self.values.append(value)
        return number


class Window:
    """A window with so many joiners and faults.

    ``synced``: whether what brings node-1 back forces the switch to disk before it starts the node. ``lead`` and
    ``take_part`` are the product's; others are for tests that want to see a protocol fail.
    """

    def __init__(
        self,
        joiners: int = 4,
        faults: int = 2,
        *,
        require_all: bool = True,
        seed: str = "follow",
        clients: bool = False,
        synced: bool = True,
        lead: Callable[[Plan, coordinator.State, Event], coordinator.Result] = coordinator.step,
        take_part: Callable[[Plan, participant.State, Event], participant.Result] = participant.step,
    ) -> None:
        self.names = tuple(f"p{number}" for number in range(joiners))
        self.plan = Plan("s", "s", self.names, seed=seed, require_all=require_all, clients=clients)
        self.faults, self.synced, self.follows = faults, synced, seed == "follow"
        self._lead, self._take_part = lead, take_part
        self.sequencers: Numbered[Sequencer] = Numbered()
        self.joiners: Numbered[Joiner] = Numbered()
        self._peers: Numbered[coordinator.Peer] = Numbered()
        self._peer_of: dict[int, int] = {}
        self._led_before: dict[object, tuple[int, tuple[tuple[int, tuple[Told, ...]], ...]]] = {}
        self._told_before: dict[object, int] = {}
        self._alone_before: dict[object, tuple[tuple[str, int], ...]] = {}
        self._limits_before: dict[int, tuple[tuple[str, int], ...]] = {}
        self._broken_before: dict[object, tuple[tuple[str, int], ...]] = {}
        self._hung_up_before: dict[int, int] = {}

    def initial(self) -> World:
        """Both sides have begun, nobody is connected."""
        node = "follower" if self.follows else ""
        joiner = Joiner(_plain(coordinator.Peer("")), machine=participant.initial(self.plan), node=node)
        number = self.joiners.of(self._took_part(joiner, Begin()))
        joiners = (number,) * len(self.names)
        sequencer = self.sequencers.of(Sequencer())
        for event in (Begin(), Head(N)):
            sequencer, joiners = self._led(sequencer, joiners, event)
        return self._world(sequencer, joiners, self.faults)

    @staticmethod
    def _world(sequencer: int, joiners: Iterable[int], faults: int) -> World:
        return sequencer, tuple(sorted(joiners)), faults

    # ---- the two machines -------------------------------------------------------------------------------------------

    def _led(self, sequencer: int, joiners: tuple[int, ...], event: Event) -> tuple[int, tuple[int, ...]]:
        """Let node-1's machine take an event, and do what it asks for."""
        peers = tuple(self._peer(number) for number in joiners)
        key = (sequencer, peers, type(event), event)
        if key not in self._led_before:
            self._led_before[key] = self._lead_once(self.sequencers[sequencer], peers, event)
        after, told = self._led_before[key]
        return after, tuple(
            number if peer == old and not messages else self._tell(number, peer, messages)
            for number, old, (peer, messages) in zip(joiners, peers, told, strict=True)
        )

    def _lead_once(
        self, sequencer: Sequencer, peers: tuple[int, ...], event: Event
    ) -> tuple[int, tuple[tuple[int, tuple[Told, ...]], ...]]:
        known = tuple(self._peers[peer]._replace(id=name) for name, peer in zip(self.names, peers, strict=True))
        state, actions = self._lead(self.plan, dataclasses.replace(sequencer.machine, peers=known), event)
        machine = dataclasses.replace(state, peers=(), reason="said" if state.reason else "")
        sequencer = sequencer._replace(machine=machine)
        messages: dict[str, tuple[Told, ...]] = {}
        for action in actions:
            if isinstance(action, Send):
                assert isinstance(action.message, Told)
                messages[action.member] = (*messages.get(action.member, ()), action.message._replace(reason=""))
            else:
                sequencer = _asked(sequencer, action)
        told = tuple((self._peers.of(_plain(peer)), messages.get(peer.id, ())) for peer in state.peers)
        return self.sequencers.of(sequencer), told

    def _peer(self, number: int) -> int:
        if number not in self._peer_of:
            self._peer_of[number] = self._peers.of(self.joiners[number].peer)
        return self._peer_of[number]

    def _tell(self, number: int, peer: int, messages: tuple[Told, ...]) -> int:
        key = (number, peer, messages)
        if key not in self._told_before:
            joiner = self.joiners[number]._replace(peer=self._peers[peer])
            if joiner.link == "up":
                joiner = joiner._replace(inbound=(*joiner.inbound, *messages))
            self._told_before[key] = self.joiners.of(joiner)
        return self._told_before[key]

    def _took_part(self, joiner: Joiner, event: Event) -> Joiner:
        """Let a joiner's machine take an event, and do what it asks for."""
        machine, actions = self._take_part(self.plan, joiner.machine, event)
        joiner = joiner._replace(machine=dataclasses.replace(machine, reason=""))
        for action in actions:
            if isinstance(action, Timer):
                joiner = joiner._replace(timers=_timers(joiner.timers, action))
            elif isinstance(action, Send):
                joiner = _sent(joiner, cast("Ack | Nack", action.message))
            elif isinstance(action, SendReport):
                silent = self.follows and not joiner.node and not joiner.store
                joiner = _sent(joiner, Report("", N, "", (), "its follower does not answer" if silent else ""))
            elif isinstance(action, Probe):
                joiner = joiner._replace(probing=True)
            elif isinstance(action, Match):
                joiner = joiner._replace(doing="Match")
            # What cannot go two ways is done at once. Work is done one by one: what was called off has ended before.
            elif isinstance(action, Start):
                joiner = joiner._replace(switch="raft", node="raft", durable=False)
                joiner = self._took_part(joiner, Started())
            elif isinstance(action, Resume):
                joiner = self._took_part(self._back(joiner._replace(doing="")), Resumed())
            elif isinstance(action, Finish):
                joiner = _without_window(joiner)
        return joiner

    # ---- steps ------------------------------------------------------------------------------------------------------

    def successors(self, now: World) -> Iterator[Step]:
        """Every step that may come next, with words for it; those of a fault begin with "!"."""
        any_quick = False
        for step in self._steps(now):
            any_quick = True
            yield step
        limits = list(self._limits(now))
        if not any_quick:
            yield from limits
            yield from self._mended(now)
        faults = now[2]
        if faults:
            if any_quick:
                for words, (after, changed, _faults) in limits:
                    yield f"!{words}, too early", (after, changed, faults - 1)
            for words, after, changed in self._broken(now):
                yield f"!{words}", self._world(after, changed, faults - 1)

    def _steps(self, now: World) -> Iterator[Step]:
        number, joiners, faults = now
        sequencer = self.sequencers[number]
        for words, after, changed in self._sequencer_alone(number, joiners):
            yield words, self._world(after, changed, faults)
        listening = sequencer.process == "runs" and sequencer.listening
        led = sequencer.node == "raft"
        for place, joiner in _different(joiners):
            for words, after in self._joiner_alone(joiner, listening, led):
                yield words, self._world(number, _put(joiners, place, after), faults)
            if sequencer.process == "runs":
                for words, after, changed in self._heard(number, joiners, place):
                    yield words, self._world(after, changed, faults)

    def _heard(
        self, sequencer: int, joiners: tuple[int, ...], place: int
    ) -> Iterator[tuple[str, int, tuple[int, ...]]]:
        """What node-1 hears of one joiner: its next message, or that the connection is gone."""
        joiner = self.joiners[joiners[place]]
        if joiner.far_lost:
            return
        if joiner.outbound:
            event, rest = cast("Report | Ack | Nack", joiner.outbound[0]), joiner.outbound[1:]
            left = self.joiners.of(joiner._replace(outbound=rest))
            heard = event._replace(member=self.names[place])
            yield (f"node-1 hears {type(event).__name__}", *self._led(sequencer, _put(joiners, place, left), heard))
        if joiner.link == "broken":
            left = self.joiners.of(_settled(joiner._replace(outbound=(), far_lost=True)))
            lost = Lost(self.names[place])
            yield ("node-1 notices a lost connection", *self._led(sequencer, _put(joiners, place, left), lost))

    def _sequencer_alone(self, number: int, joiners: tuple[int, ...]) -> Iterator[tuple[str, int, tuple[int, ...]]]:
        sequencer = self.sequencers[number]
        of = self.sequencers.of

        def told(words: str, after: Sequencer, event: Event) -> tuple[str, int, tuple[int, ...]]:
            return (words, *self._led(of(after._replace(doing="")), joiners, event))

        if sequencer.process == "lost":
            return
        if not sequencer.up:
            yield "node-1 boots", of(sequencer._replace(up=True, node=sequencer.switch)), joiners
            return
        if sequencer.node == "halting":
            yield "the old node's process is gone", of(sequencer._replace(node="")), joiners
        if sequencer.process == "ended" and sequencer.node != "halting":
            back = sequencer._replace(process="gone", fence=False, node=sequencer.node or sequencer.switch)
            yield "systemd lifts the fence and starts node-1's unit", of(self._forced(back)), joiners
        if sequencer.process != "runs":
            return
        doing, stopped = sequencer.doing, sequencer.node != "halting"
        if doing == "Finish":
            ended = sequencer._replace(process="ended", doing="", timers=frozenset(), machine=coordinator.State())
            yield "node-1's window ends", of(ended), self._hung_up(joiners)
        elif doing == "Freeze":
            if sequencer.token:
                yield told("node-1 calls the freeze off", sequencer, Failed("called off"))
            frozen = sequencer._replace(doing="Halted", fence=True, node="halting")
            yield "node-1 is fenced and stops: N is its last block", of(frozen), joiners
        elif doing == "Halted":
            yield told("node-1 knows that N was the last, and its hash", sequencer, Frozen(N, HASH))
            yield told("node-1 knows that N was the last, not its hash", sequencer, Frozen(N, ""))
        elif doing == "Commit" and stopped:
            if not sequencer.fence or sequencer.node:
                yield told("node-1 is not stopped", sequencer, Failed("not stopped"))
            else:
                turned = sequencer._replace(doing="Renamed", switch="raft", durable=False)
                yield "node-1 RENAMES its switch", of(turned), joiners
        elif doing == "Renamed":
            yield told("the rename is on disk", sequencer._replace(durable=True), Committed())
        elif doing == "Start":
            member = sequencer._replace(fence=False, node=sequencer.switch)
            yield told("node-1 starts as a member", member, Started())
        elif doing == "Thaw" and stopped:
            back = sequencer._replace(fence=False, node=sequencer.node or sequencer.switch)
            yield told("node-1 runs again", self._forced(back), Thawed())
        if self.plan.digests and sequencer.machine.phase == coordinator.AGREE and not sequencer.machine.digest:
            yield ("node-1 has read its files, or its client", *self._led(number, joiners, Digest(FILES)))

    def _forced(self, sequencer: Sequencer) -> Sequencer:
        return sequencer._replace(durable=True) if self.synced and sequencer.switch == "raft" else sequencer

    def _joiner_alone(self, number: int, listening: bool, led: bool) -> tuple[tuple[str, int], ...]:
        key = (number, listening, led)
        if key not in self._alone_before:
            steps = self._joiner_steps(self.joiners[number], listening, led)
            self._alone_before[key] = tuple((words, self.joiners.of(after)) for words, after in steps)
        return self._alone_before[key]

    def _joiner_steps(self, joiner: Joiner, listening: bool, led: bool) -> Iterator[tuple[str, Joiner]]:
        if not joiner.runs:
            return
        if not joiner.link and listening and not joiner.cut:
            yield "a joiner connects", self._took_part(joiner._replace(link="up"), Connected())
        if joiner.inbound and not joiner.near_lost:
            left = joiner._replace(inbound=joiner.inbound[1:])
            yield f"a joiner hears {joiner.inbound[0].kind}", self._took_part(left, joiner.inbound[0])
        if joiner.link == "broken" and not joiner.near_lost:
            left = _settled(joiner._replace(inbound=(), near_lost=True))
            yield "a joiner notices a lost connection", self._took_part(left, Lost("p"))
        if joiner.probing:
            seen = led and not joiner.cut
            words = "a joiner finds a member on node-1" if seen else "a joiner finds no member on node-1"
            yield words, self._took_part(joiner._replace(probing=False), Proof(seen))
        if "probe" in joiner.timers and (joiner.machine.connected or (led and not joiner.cut)):
            # It asks four times a second; only the time that gives another answer is a step.
            again = joiner._replace(timers=joiner.timers - {"probe"})
            yield "a joiner asks node-1 again", self._took_part(again, Due("probe"))
        if joiner.doing == "Match":
            done = joiner._replace(doing="")
            digest, wanted = joiner.store or HASH, joiner.machine.hash
            stopped = done._replace(node="", store=digest)
            if self.follows and self.plan.clients:
                # Its header is the right one always; what may be another one is its client's block.
                proof = FILES if digest == HASH else digest
                yield "a joiner and its client stop at N", self._took_part(stopped, Matched(N, HASH, proof))
            elif digest != HASH and (wanted or not self.follows):
                # It was told the hash, or its copy has to be equal to the last file.
                yield "a joiner finds its store to be another one", self._took_part(done, Failed("another"))
            elif not self.follows:
                yield "a joiner has copied", self._took_part(stopped, Matched(N, wanted, FILES))
            else:
                yield "a joiner stops at N", self._took_part(stopped, Matched(N, digest))

    def _back(self, joiner: Joiner) -> Joiner:
        """With its unit started, in the mode that the switch names; one that is copied to has no unit to start."""
        starts = self.follows or joiner.switch == "raft"
        return joiner._replace(node=joiner.node or (joiner.switch if starts else ""))

    # ---- limits and faults ------------------------------------------------------------------------------------------

    def _limits(self, now: World) -> Iterator[Step]:
        number, joiners, faults = now
        sequencer = self.sequencers[number]
        if sequencer.process == "runs":
            for timer in sorted(sequencer.timers):
                rest = self.sequencers.of(sequencer._replace(timers=sequencer.timers - {timer}))
                after, changed = self._led(rest, joiners, Due(timer))
                yield f"node-1's limit {timer} runs out", self._world(after, changed, faults)
        for place, own in _different(joiners):
            for words, ended in self._joiner_limits(own):
                yield words, self._world(number, _put(joiners, place, ended), faults)

    def _joiner_limits(self, number: int) -> tuple[tuple[str, int], ...]:
        if number not in self._limits_before:
            joiner = self.joiners[number]
            ended = []
            for timer in sorted(joiner.timers - {"probe"}) if joiner.runs else ():
                rest = joiner._replace(timers=joiner.timers - {timer})
                after = self.joiners.of(self._took_part(rest, Due(timer)))
                ended.append((f"a joiner's limit {timer} runs out", after))
            self._limits_before[number] = tuple(ended)
        return self._limits_before[number]

    def _mended(self, now: World) -> Iterator[Step]:
        number, joiners, faults = now
        for place, own in _different(joiners):
            joiner = self.joiners[own]
            if joiner.cut:
                whole = self.joiners.of(joiner._replace(cut=False))
                yield "a network is whole again", self._world(number, _put(joiners, place, whole), faults)

    def _broken(self, now: World) -> Iterator[tuple[str, int, tuple[int, ...]]]:
        number, joiners, _faults = now
        sequencer = self.sequencers[number]
        of = self.sequencers.of
        if sequencer.process == "runs":
            dead = sequencer._replace(
                process="ended",
                doing="",
                token=False,
                timers=frozenset(),
                listening=False,
                machine=coordinator.State(),
            )
            yield "node-1's window is killed", of(dead), self._hung_up(joiners)
            yield from self._refused(sequencer, joiners)
        if sequencer.up:
            for switch in (sequencer.switch,) if sequencer.durable else ("single", "raft"):
                off = Sequencer(process="gone", listening=False, switch=switch, node="", up=False)
                yield f"node-1 loses power, its disk says {switch}", of(off), self._hung_up(joiners)
                lost = off._replace(process="lost")
                yield f"node-1 is lost for good, its disk says {switch}", of(lost), self._hung_up(joiners)
        known = frozenset(self.joiners[own].store for own in joiners)
        for place, own in _different(joiners):
            key = (own, known)
            if key not in self._broken_before:
                steps = self._broken_joiner(self.joiners[own], known)
                self._broken_before[key] = tuple((words, self.joiners.of(after)) for words, after in steps)
            for words, after in self._broken_before[key]:
                yield words, number, _put(joiners, place, after)

    def _refused(self, sequencer: Sequencer, joiners: tuple[int, ...]) -> Iterator[tuple[str, int, tuple[int, ...]]]:
        idle = sequencer._replace(doing="")
        if sequencer.doing in ("Freeze", "Halted", "Commit"):
            number = self.sequencers.of(idle)
            yield (f"node-1: {sequencer.doing} cannot be done", *self._led(number, joiners, Failed("refused")))
        if sequencer.doing == "Renamed":
            # A disk that refuses this too is a second fault; what was taken back is on disk.
            taken_back = self.sequencers.of(idle._replace(switch="single", durable=True))
            yield ("node-1's disk refuses, the rename is taken back", *self._led(taken_back, joiners, Failed("disk")))

    def _broken_joiner(self, joiner: Joiner, known: frozenset[str]) -> Iterator[tuple[str, Joiner]]:
        if joiner.runs:
            yield "a joiner's window is killed", self._back(_without_window(joiner))
            if not joiner.cut:
                yield "a joiner is cut off", _parted(joiner._replace(cut=True))
            if joiner.doing == "Match":
                yield "a joiner cannot stop at N", self._took_part(joiner._replace(doing=""), Failed("refused"))
            if joiner.machine.phase == participant.ARMED and not joiner.store:
                other = next(digest for digest in ALTERED if digest not in known)
                yield "a joiner's block N is another one", joiner._replace(store=other)
        if not joiner.durable:
            undone = _without_window(joiner)._replace(switch="follower", durable=True, node="")
            yield "a joiner loses power and its rename", self._back(undone)

    def _hung_up(self, joiners: tuple[int, ...]) -> tuple[int, ...]:
        """Node-1's side of every link is gone; the joiners hear what was sent before, then of the loss."""
        for number in joiners:
            if number not in self._hung_up_before:
                joiner = self.joiners[number]._replace(peer=_plain(coordinator.Peer("")), outbound=())
                if joiner.link:
                    joiner = _settled(joiner._replace(link="broken", far_lost=True))
                self._hung_up_before[number] = self.joiners.of(joiner)
        return tuple(self._hung_up_before[number] for number in joiners)

    # ---- properties -------------------------------------------------------------------------------------------------

    def violated(self, now: World) -> str:
        """The promise that does not hold in this world; empty where all do."""
        sequencer = self.sequencers[now[0]]
        joiners = [self.joiners[number] for number in now[1]]
        members = [joiner for joiner in joiners if "raft" in (joiner.switch, joiner.node)]
        if members and sequencer.node in ("single", "halting"):
            return "one writer: the single sequencer runs beside a member of the cluster"
        if members and (sequencer.switch != "raft" or not sequencer.durable):
            return "fence: a joiner is a member while node-1's disk may still say single"
        if sequencer.node in ("single", "halting") and sequencer.switch == "raft":
            return "fence: the single sequencer runs with the switch turned"
        if sequencer.node == "raft" and sequencer.switch != "raft":
            return "fence: node-1 is a member with the switch not turned"
        if any(joiner.node == "raft" and joiner.store != HASH for joiner in joiners):
            return "equal heads: a joiner is a member without block N, or with another one"
        if sequencer.switch == "raft":
            holding = sum(1 for joiner in joiners if joiner.store == HASH)
            if holding < self.plan.enough:
                return f"equal heads: committed while {holding} joiners hold block N, {self.plan.enough} are needed"
        return ""

    def end(self, now: World) -> tuple[str, str]:
        """What a world is called from which nothing leads on, and what is wrong with ending there."""
        sequencer = self.sequencers[now[0]]
        members = sum(1 for number in now[1] if self.joiners[number].node == "raft")
        if sequencer.process == "lost":
            # Nobody can know that it will not come back, so nothing starts by itself: the operator has the word.
            runs = "produce" if members >= self.plan.quorum else "run, and nothing starts by itself"
            return f"node-1 is lost, {members} members {runs}", ""
        if sequencer.switch == "single":
            wrong = "" if sequencer.node == "single" else "two end states: the switch says single and nothing produces"
            return "the single sequencer produces", wrong
        if sequencer.node != "raft":
            return "nobody produces", "two end states: node-1 is committed and does not run"
        if members + 1 < self.plan.quorum:
            # A cutover that was content with a quorum has nothing to spare for a second fault.
            spared = not self.plan.require_all and self.faults - now[2] > 1
            return "committed, the next run brings the joiners in", "" if spared else "two end states: no quorum runs"
        return f"a cluster of {members + 1} produces", ""


def _asked(sequencer: Sequencer, action: Action) -> Sequencer:
    """What node-1's machine asks of its own host."""
    if isinstance(action, Timer):
        return sequencer._replace(timers=_timers(sequencer.timers, action))
    if isinstance(action, Cancel):
        return sequencer._replace(token=True)
    if isinstance(action, (Freeze, Commit, Thaw, Start, Finish)):
        assert not sequencer.doing, f"{action} while {sequencer.doing} is being done"
        listening = sequencer.listening and not isinstance(action, Start)
        return sequencer._replace(doing=type(action).__name__, token=False, listening=listening)
    return sequencer


def _timers(timers: frozenset[str], action: Timer) -> frozenset[str]:
    return timers - {action.name} if action.seconds is None else timers | {action.name}


def _plain(peer: coordinator.Peer) -> coordinator.Peer:
    """A peer without its name, and with words only where it matters that there are any."""
    return peer._replace(id="", trouble="some" if peer.trouble else "", out="out" if peer.out else "")


def _put(joiners: tuple[int, ...], place: int, number: int) -> tuple[int, ...]:
    return (*joiners[:place], number, *joiners[place + 1 :])


def _different(joiners: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Place and number of each joiner that is not like the one before: like ones do like things."""
    last = -1
    for place, number in enumerate(joiners):
        if number != last:
            yield place, number
        last = number


def _sent(joiner: Joiner, message: Report | Ack | Nack) -> Joiner:
    if joiner.link != "up":
        return joiner
    plain: Event = message._replace(member="")
    if isinstance(plain, Nack):
        plain = plain._replace(reason="told")
    return joiner._replace(outbound=(*joiner.outbound, plain))


def _parted(joiner: Joiner) -> Joiner:
    return joiner._replace(link="broken") if joiner.link == "up" else joiner


def _settled(joiner: Joiner) -> Joiner:
    """A broken link that both sides know of is none."""
    if joiner.near_lost and joiner.far_lost:
        return joiner._replace(link="", near_lost=False, far_lost=False, inbound=(), outbound=())
    return joiner


def _without_window(joiner: Joiner) -> Joiner:
    """Without its window's process; node-1 hears what was sent before, then of the loss."""
    machine = participant.State(phase=participant.DONE)
    joiner = joiner._replace(
        runs=False, machine=machine, doing="", probing=False, timers=frozenset(), inbound=(), cut=False
    )
    return _settled(joiner._replace(link="broken", near_lost=True)) if joiner.link else joiner
