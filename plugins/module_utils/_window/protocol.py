# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""What both sides of the window share: the plan, events, actions, and how a machine meets time.

A machine is a pure function ``step(plan, state, event) -> (state, actions)``: no clock, no randomness, no I/O, and a
state that is hashable and compares by value, so that every schedule can be walked through by a checker. Time comes in
as ``Due`` events; ``Driver`` turns ``Timer`` actions and a caller's clock into them.
"""

from __future__ import annotations

import dataclasses
import typing as t

if t.TYPE_CHECKING:
    from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class Limits:
    """Seconds that each part may take."""

    arm: float = 60.0
    """Until all participants are armed."""
    freeze: float = 30.0
    """Until there is a new block to stop after."""
    agree: float = 10.0
    """From the stop, as the node's log tells it, until enough have acknowledged. A failed window adds this to the gap
    at most, and what the node's process still needs to end (``stop_limit``)."""
    straggler: float = 1.0
    """With ``require_all`` off: how long a quorum waits for the rest."""
    grace: float = 2.0
    """How long a lost connection may take to come back between the stop and the commit."""
    hold: float = 60.0
    """How long a participant waits, stopped, for a commit or for proof of it. Longer than ``agree`` and ``stop_limit``
    together, so that nobody whose acknowledgement counts has gone away when the commit happens."""
    probe: float = 0.25
    """Between two questions for proof."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What does not change during a window."""

    me: str
    coordinator: str
    participants: tuple[str, ...]
    seed: str = "follow"
    require_all: bool = True
    clients: bool = False
    """Whether every member has an execution client, whose block ``n`` has to be everybody's too."""
    intake: bool = False
    max_lag: int = 3
    fingerprints: tuple[tuple[str, str], ...] = ()
    limits: Limits = dataclasses.field(default_factory=Limits)

    @property
    def quorum(self) -> int:
        """Members, the coordinator counted, that a Raft cluster of this size needs."""
        return (len(self.participants) + 1) // 2 + 1

    @property
    def digests(self) -> bool:
        """Whether more than the header of block ``n`` has to be equal: the files (copy), or the clients' block."""
        return self.seed != "follow" or self.clients

    @property
    def enough(self) -> int:
        """Participants whose acknowledgement a commit needs, at the least."""
        return len(self.participants) if self.require_all else self.quorum - 1


# ---- events -----------------------------------------------------------------------------------------------------


class Due(t.NamedTuple):
    """A timer that was set has run out."""

    timer: str


class Begin(t.NamedTuple):
    """The first event of a machine."""


class Head(t.NamedTuple):
    """The coordinator's own height, while its node runs."""

    height: int


class Report(t.NamedTuple):
    """A participant describes itself: the first message of a connection, repeated while it is armed."""

    member: str
    height: int
    hash: str
    fingerprints: tuple[tuple[str, str], ...] = ()
    trouble: str = ""


class Ack(t.NamedTuple):
    """A participant is stopped and holds block ``n`` with this hash (``Plan.digests``: and this digest)."""

    member: str
    n: int
    hash: str
    digest: str = ""


class Nack(t.NamedTuple):
    """A participant cannot be at block ``n``, and follows again."""

    member: str
    n: int
    reason: str


class Lost(t.NamedTuple):
    """The connection of a participant (for a participant: its own) is gone."""

    member: str


class Connected(t.NamedTuple):
    """A participant's connection stands and is authenticated."""


class IntakeClosed(t.NamedTuple):
    """Clients reach the node no more, and what it had accepted is in blocks."""


class Frozen(t.NamedTuple):
    """The sequencer is stopped, fenced, proven so; ``n`` is its last block. ``hash`` empty: nobody saw it here."""

    n: int
    hash: str


class Digest(t.NamedTuple):
    """What has to be equal on all besides the header: the digest of the coordinator's stopped files (copy), or the hash
    of its execution client's block ``n``."""

    digest: str


class Failed(t.NamedTuple):
    """An action could not be done; the node may or may not be stopped."""

    reason: str


class Committed(t.NamedTuple):
    """The rename is on disk."""


class Thawed(t.NamedTuple):
    """The coordinator's node runs again as the single sequencer (or ``trouble`` says why not)."""

    trouble: str = ""


class Started(t.NamedTuple):
    """The member's node was started in Raft mode."""

    trouble: str = ""


class Told(t.NamedTuple):
    """Message of the coordinator: ``frozen``, ``commit`` or ``abort``."""

    kind: str
    n: int = 0
    hash: str = ""
    reason: str = ""


class Matched(t.NamedTuple):
    """The participant's node is stopped at block ``n``."""

    n: int
    hash: str
    digest: str = ""


class Proof(t.NamedTuple):
    """Whether a Raft member with the coordinator's id answered on the coordinator's Raft port."""

    seen: bool
    last: str = ""


class Resumed(t.NamedTuple):
    """The participant's node does again what it did before the window."""

    trouble: str = ""


Event = t.Union[
    Due,
    Begin,
    Head,
    Report,
    Ack,
    Nack,
    Lost,
    Connected,
    IntakeClosed,
    Frozen,
    Digest,
    Failed,
    Committed,
    Thawed,
    Started,
    Told,
    Matched,
    Proof,
    Resumed,
]

# ---- actions ----------------------------------------------------------------------------------------------------


class Timer(t.NamedTuple):
    """Set a timer; None takes it back."""

    name: str
    seconds: float | None


class Send(t.NamedTuple):
    """Send to one peer, if its connection stands: ``member`` is the coordinator's id on a participant."""

    member: str
    message: Told | Report | Ack | Nack


class SendReport(t.NamedTuple):
    """Describe this participant to the coordinator, now."""


class CloseIntake(t.NamedTuple):
    """Close the ports of clients and wait until accepted transactions are in blocks. Answer: IntakeClosed, Failed."""


class Freeze(t.NamedTuple):
    """Stop the sequencer right after a block, fence it, prove it. Answer: Frozen or Failed."""


class Cancel(t.NamedTuple):
    """End the running action early, if it still can be."""


class Commit(t.NamedTuple):
    """Prove once more that the sequencer is stopped, then rename. Answer: Committed or Failed."""

    n: int
    hash: str


class Thaw(t.NamedTuple):
    """Let the node run again in the mode that the switch names, and open the intake. Answer: Thawed."""


class Match(t.NamedTuple):
    """Reach block ``n``, stop the node (copy: fetch the files), prove it. Answer: Matched or Failed."""

    n: int
    hash: str


class Probe(t.NamedTuple):
    """Ask the coordinator's Raft port who answers. Answer: Proof."""


class Start(t.NamedTuple):
    """Start this member in Raft mode: participants turn their switch first. Answer: Started."""

    n: int
    hash: str


class Resume(t.NamedTuple):
    """Do again what was done before the window: follow. Answer: Resumed."""


class Note(t.NamedTuple):
    """Put this into the journal."""

    event: str
    facts: tuple[tuple[str, t.Any], ...] = ()


class Finish(t.NamedTuple):
    """The machine is done: committed, aborted, failed or unknown."""

    outcome: str
    reason: str = ""


Action = t.Union[
    Timer,
    Send,
    SendReport,
    CloseIntake,
    Freeze,
    Cancel,
    Commit,
    Thaw,
    Match,
    Probe,
    Start,
    Resume,
    Note,
    Finish,
]

S = t.TypeVar("S")


def differing(mine: tuple[tuple[str, str], ...], theirs: tuple[tuple[str, str], ...]) -> str:
    """Say which fingerprints differ; empty where all that the first side has are equal on the second."""
    other = dict(theirs)
    wrong = [
        f"{name} is {other.get(name, 'missing')}, expected {value}" for name, value in mine if other.get(name) != value
    ]
    return "; ".join(wrong)


class Driver(t.Generic[S]):
    """A machine with its state and its timers; the caller brings the clock.

    ``handle`` delivers the timers that are due *before* the event: after a pause of the whole host an
    acknowledgement that waited in a socket buffer must not beat the limit that ran out meanwhile.
    """

    def __init__(self, step: Callable[[Plan, S, Event], tuple[S, tuple[Action, ...]]], plan: Plan, state: S) -> None:
        self.plan = plan
        self.state = state
        self._step = step
        self._timers: dict[str, float] = {}

    def handle(self, event: Event | None, now: float) -> list[Action]:
        """Advance to ``now`` (seconds of any clock that never goes back), then by the event; return what to do."""
        actions: list[Action] = []
        while True:
            due = min(self._timers, key=lambda name: (self._timers[name], name), default=None)
            if due is None or self._timers[due] > now:
                break
            del self._timers[due]
            actions += self._advance(Due(due), now)
        if event is not None:
            actions += self._advance(event, now)
        return actions

    def next_due(self) -> float | None:
        """Return when ``handle(None, …)`` has something to do, or None."""
        return min(self._timers.values(), default=None)

    def _advance(self, event: Event, now: float) -> list[Action]:
        self.state, actions = self._step(self.plan, self.state, event)
        for action in actions:
            if isinstance(action, Timer):
                if action.seconds is None:
                    self._timers.pop(action.name, None)
                else:
                    self._timers[action.name] = now + action.seconds
        return [action for action in actions if not isinstance(action, Timer)]
