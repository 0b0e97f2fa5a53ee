# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way back as a model: what a rollback does on each host, in which order, and what may die meanwhile.

Unlike the window's, this is a model beside the product: its steps are the phases of `_revert`, the unit of `_rejoin`
and the plays of `rollback_apply.yml`, by hand. A module that has begun goes on when the controller dies (sshd ends the
connection, not the process) and ends with its host. A timer may be due at any moment after it was set.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

RAFT, OUT, SINGLE = "raft", "out", "single"


class Member(NamedTuple):
    """One host. `runs` is the mode in which its node runs, empty where it does not."""

    switch: str = RAFT
    runs: str = RAFT
    on: bool = True
    cut: bool = False
    """Reachable by nobody."""
    timer: bool = False
    asks: str = ""
    """The unit that asks for proof: `installed` (it will ask after a boot) or `asking`."""
    proof: bool = False
    """It has heard node-1 answer as a member, and has not acted on it yet."""
    ran: bool = False
    """Of node-1: whether it has been started since this run stopped it."""
    job: str = ""
    """What a module still has to do here."""
    told: str = ""
    """What the controller knows of this phase: `ok`, `no`, or nothing yet."""


class World(NamedTuple):
    """All hosts, and the controller's phase; `ended` where it has ended or died."""

    first: Member
    joiners: tuple[Member, ...]
    phase: str = "stop"
    faults: int = 0
    runs: int = 1


@dataclass(frozen=True)
class Back:
    """A rollback of a cluster with some joiners. The flags take away one care each, for a look at what it is for."""

    joiners: int = 4
    faults: int = 2
    runs: int = 2
    """How often it is begun."""
    comes_back: bool = True
    """Whether held joiners ask for proof."""
    looks_back: bool = True
    """Whether node-1 leaves only where it has not run since the joiners were held."""
    fenced: bool = True
    """Whether node-1's node cannot be started between that look and the turn of the switch."""
    forgets: bool = True
    """Whether an answer from before a joiner was held is thrown away."""

    by_hand: bool = False
    """Whether somebody stops node-1's node while it runs as a member, and starts it some time later."""

    def __str__(self) -> str:
        often = "once" if self.runs == 1 else f"up to {self.runs} times"
        return f"begun {often}{', node-1 stopped and started by hand' if self.by_hand else ''}"

    @property
    def quorum(self) -> int:
        """How many members can make blocks."""
        return (self.joiners + 1) // 2 + 1

    def initial(self) -> World:
        """A cluster that runs, and a rollback that begins."""
        return World(Member(), (Member(),) * self.joiners)

    def successors(self, now: World) -> Iterator[tuple[str, World]]:
        """What may come next; words of faults begin with "!"."""
        yield from self._controller(now)
        yield from self._hosts(now)
        yield from self._faults(now)

    # ---- the run ----------------------------------------------------------------------------------------------------

    def _controller(self, now: World) -> Iterator[tuple[str, World]]:
        if now.phase == "ended":
            return
        everybody = (now.first, *now.joiners)
        if now.phase in ("stop", "hold"):
            for place, member in ((0, now.first), *_different(now.joiners)):
                if not member.told and not member.job:
                    words = f"{now.phase} on {_name(place)}"
                    if not member.on or member.cut:
                        yield f"{words}: unreachable", _put(now, place, member._replace(told="no"))
                    else:
                        yield words, _put(now, place, self._begin(now.phase, place, member))
            if all(member.told and not member.job for member in everybody):
                yield f"{now.phase} is over", self._judge(now)
            return
        first = now.first
        if not first.on or first.cut:
            yield "node-1 is unreachable, the run ends", now._replace(phase="ended")
        elif now.phase == "turn" and not first.job:
            yield "node-1's timer is taken back", now._replace(first=first._replace(timer=False, job="turn"))
        elif now.phase == "start" and not first.job:
            yield "node-1 is started", now._replace(first=_started(first), phase="clean")
        elif now.phase == "clean":
            for place, member in _different(now.joiners):
                if member.on and not member.cut and member.told != "clean":
                    gone = member._replace(switch=OUT, runs="", timer=False, asks="", proof=False, told="clean")
                    yield f"clean {_name(place)}", _put(now, place, gone)
            yield "the run ends", now._replace(phase="ended")

    @staticmethod
    def _begin(phase: str, place: int, member: Member) -> Member:
        if phase == "stop":
            # A second time, too, for a member that waits for its timer.
            timer = member.switch == RAFT and (member.timer or bool(member.runs))
            return member._replace(timer=timer, runs="", ran=False, told="ok")
        if place > 0:
            return member._replace(job="hold")
        if member.runs:
            return member._replace(told="no")
        return member._replace(timer=member.switch == RAFT, told="ok")

    def _judge(self, now: World) -> World:
        """What the play on localhost makes of the receipts."""
        unknown = [member.told == "no" for member in (now.first, *now.joiners)]
        if now.phase == "stop":
            return _next(now, "ended" if any(unknown) else "hold")
        return _next(now, "ended" if sum(unknown[1:]) >= self.quorum else "turn")

    # ---- the hosts --------------------------------------------------------------------------------------------------

    def _hosts(self, now: World) -> Iterator[tuple[str, World]]:
        first = now.first
        if not first.on:
            yield "node-1 boots", now._replace(first=_started(first._replace(on=True)))
        if first.cut:
            yield "node-1 is reachable again", now._replace(first=first._replace(cut=False))
        if first.timer:
            yield "node-1's timer is due", now._replace(first=_started(first))
        if self.by_hand and first.on and first.runs == RAFT:
            yield "node-1 is stopped by hand", now._replace(first=first._replace(runs=""))
        if self.by_hand and first.on and not first.runs and first.job != "turn":
            yield "node-1 is started by hand", now._replace(first=_started(first)._replace(timer=first.timer))
        if first.job == "turn":
            if first.runs or (self.looks_back and first.ran):
                yield (
                    "node-1 has run since, and stays a member",
                    now._replace(first=first._replace(job="", timer=True), phase="ended"),
                )
            elif not self.fenced:
                yield "node-1 has stood still", now._replace(first=first._replace(job="turned"))
            else:
                yield self._turned(now)
        if first.job == "turned":
            yield self._turned(now)
        for place, member in _different(now.joiners):
            for words, after in self._joiner(first, member):
                yield f"{_name(place)} {words}", _put(now, place, after)

    @staticmethod
    def _turned(now: World) -> tuple[str, World]:
        turned = now.first._replace(switch=SINGLE, job="", timer=True)
        phase = "ended" if now.phase == "ended" else "start"
        return "node-1's switch is turned", now._replace(first=turned, phase=phase)

    def _joiner(self, first: Member, member: Member) -> Iterator[tuple[str, Member]]:
        if not member.on:
            booted = member._replace(on=True, runs=RAFT if member.switch == RAFT else "")
            yield "boots", booted._replace(asks="asking" if member.asks and member.switch == OUT else "")
            return
        if member.cut:
            yield "is reachable again", member._replace(cut=False)
        if member.timer:
            runs = RAFT if member.switch == RAFT else ""
            yield "has its timer due", member._replace(timer=False, runs=member.runs or runs)
        if member.job == "hold":
            asks = "installed" if self.comes_back else ""
            proof = member.proof and not self.forgets
            yield "stops to ask", member._replace(asks=asks, proof=proof, timer=False, job="turn")
        elif member.job == "turn":
            if member.runs:
                yield "runs, and stays", member._replace(job="", asks="", told="no")
            else:
                asks = "asking" if self.comes_back else ""
                yield "is held", member._replace(switch=OUT, asks=asks, job="", told="ok")
        heard = first.on and first.runs == RAFT and not first.cut and not member.cut
        if member.asks == "asking" and heard and not member.proof:
            yield "hears node-1", member._replace(proof=True)
        if member.proof:
            yield "comes back", member._replace(switch=RAFT, runs=RAFT, asks="", proof=False)

    # ---- what goes wrong --------------------------------------------------------------------------------------------

    def _faults(self, now: World) -> Iterator[tuple[str, World]]:
        busy = now.phase != "ended" or any(member.job for member in (now.first, *now.joiners))
        if not busy and now.runs < self.runs and now.first.switch == RAFT:
            yield "!rollback is begun again", _next(now, "stop")._replace(runs=now.runs + 1)
        if now.faults == self.faults:
            return
        hit = now._replace(faults=now.faults + 1)
        if now.phase != "ended":
            yield "!the controller dies", hit._replace(phase="ended")
        for place, member in ((0, now.first), *_different(now.joiners)):
            if member.on:
                # What a module was about to do is never done, and its run learns that.
                told = "no" if member.job or not member.told else member.told
                dark = member._replace(on=False, runs="", timer=False, proof=False, job="", told=told)
                after = _put(hit, place, dark)
                if place == 0 and member.job:
                    after = after._replace(phase="ended")
                yield f"!{_name(place)} loses power", after
            if not member.cut:
                yield f"!{_name(place)} is cut off", _put(hit, place, member._replace(cut=True))

    # ---- what has to hold -------------------------------------------------------------------------------------------

    def violated(self, now: World) -> str:
        """The promise that a state breaks; empty where it breaks none."""
        members = sum(1 for member in now.joiners if member.runs == RAFT)
        if now.first.runs == SINGLE and members >= self.quorum:
            return f"one writer: the single sequencer runs beside {members} members"
        return ""

    def end(self, now: World) -> tuple[str, str]:
        """What a state is called from which nothing leads on."""
        if now.first.runs == SINGLE:
            return "the single sequencer produces", ""
        members = sum(1 for member in (now.first, *now.joiners) if member.runs == RAFT)
        if members >= self.quorum:
            return f"a cluster of {members} produces", ""
        return (
            "nobody produces",
            f"two end states: {members} of {self.joiners + 1} members run, no single sequencer does",
        )


def _started(first: Member) -> Member:
    """Node-1 after a start: in the mode of its switch, unless it runs already."""
    return first._replace(timer=False, runs=first.runs or first.switch, ran=True)


def _next(now: World, phase: str) -> World:
    """The same hosts in another phase, of which the controller knows nothing yet."""
    joiners = _alike(member._replace(told="") for member in now.joiners)
    return now._replace(first=now.first._replace(told=""), joiners=joiners, phase=phase)


def _name(place: int) -> str:
    return f"node-{place + 1}"


def _different(joiners: tuple[Member, ...]) -> Iterator[tuple[int, Member]]:
    """Place and state of each joiner that is not like the one before: like ones do like things."""
    for place, member in enumerate(joiners, 1):
        if place == 1 or member != joiners[place - 2]:
            yield place, member


def _alike(joiners: Iterator[Member]) -> tuple[Member, ...]:
    """Joiners are alike: states that differ only in which is which are one."""
    return tuple(sorted(joiners))


def _put(now: World, place: int, member: Member) -> World:
    if place == 0:
        return now._replace(first=member)
    return now._replace(joiners=_alike(member if at == place else old for at, old in enumerate(now.joiners, 1)))
