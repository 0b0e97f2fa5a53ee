# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""The side of the window that decides: the member that produces blocks today.

Everything up to ``committing`` can be taken back and is taken back by anything unforeseen; the only step forward that
cannot is the ``Commit`` action, and it is asked for in one place (``_agree``).
"""

from __future__ import annotations

import dataclasses
import typing as t

from .protocol import (
    Ack,
    Action,
    Begin,
    Cancel,
    CloseIntake,
    Commit,
    Committed,
    Digest,
    Due,
    Event,
    Failed,
    Finish,
    Freeze,
    Frozen,
    Head,
    IntakeClosed,
    Lost,
    Nack,
    Note,
    Plan,
    Report,
    Send,
    Start,
    Started,
    Thaw,
    Thawed,
    Timer,
    Told,
    differing,
)

LISTEN = "listen"
CLOSING = "closing"
FREEZING = "freezing"
AGREE = "agree"
COMMITTING = "committing"
COMMITTED = "committed"
ABORTING = "aborting"
DONE = "done"


class Peer(t.NamedTuple):
    """One participant as the coordinator knows it."""

    id: str
    connected: bool = False
    trouble: str = "never connected"
    height: int = 0
    told: bool = False
    acked: bool = False
    digest: str = ""
    out: str = ""
    """Why it takes no part any more (only where ``require_all`` is off)."""

    @property
    def holds(self) -> bool:
        """Whether its acknowledgement counts: given on a connection that stands."""
        return self.connected and self.acked and not self.out


@dataclasses.dataclass(frozen=True)
class State:
    """Where the coordinator is."""

    phase: str = LISTEN
    peers: tuple[Peer, ...] = ()
    height: int = 0
    n: int = 0
    hash: str = ""
    seen: bool = False
    """Whether this side saw the hash of block ``n`` itself; otherwise the first acknowledgement named it."""
    digest: str = ""
    patient: bool = True
    reason: str = ""


Result = tuple[State, tuple[Action, ...]]


def initial(plan: Plan) -> State:
    """Return the state before ``Begin``."""
    return State(peers=tuple(Peer(member) for member in sorted(plan.participants)))


def step(plan: Plan, state: State, event: Event) -> Result:
    """Advance by one event."""
    if isinstance(event, Begin):
        return state, (Timer("arm", plan.limits.arm), Note("window_open", (("role", "coordinator"),)))
    if isinstance(event, Report):
        return _reported(plan, state, event)
    if isinstance(event, Lost):
        return _lost(plan, state, event)
    if isinstance(event, Head):
        return _opened(plan, dataclasses.replace(state, height=max(state.height, event.height)), ())
    if isinstance(event, (Ack, Nack)):
        return _answered(plan, state, event)
    if isinstance(event, Due):
        return _due(plan, state, event.timer)
    if isinstance(event, Failed):
        if state.phase in (CLOSING, FREEZING, AGREE, COMMITTING):
            return _abort(state, event.reason)
        return state, ()
    if isinstance(event, IntakeClosed) and state.phase == CLOSING:
        missing = _unready(plan, state)
        if missing:
            return _abort(state, f"not all members were armed any more when the intake was closed: {missing}")
        return _freeze(plan, state, (Note("intake_closed"),))
    if isinstance(event, Frozen) and state.phase == FREEZING:
        return _frozen(plan, state, event)
    if isinstance(event, Digest) and state.phase == AGREE:
        return _agree(plan, dataclasses.replace(state, digest=event.digest), ())
    if isinstance(event, Committed) and state.phase == COMMITTING:
        return _committed(state)
    if isinstance(event, Started) and state.phase == COMMITTED:
        return state, (Finish("committed", event.trouble),)
    if isinstance(event, Thawed) and state.phase == ABORTING:
        reason = state.reason + (f"; and {event.trouble}" if event.trouble else "")
        return dataclasses.replace(state, phase=DONE, reason=reason), (Finish("aborted", reason),)
    return state, ()


# ---- arming -----------------------------------------------------------------------------------------------------


def _reported(plan: Plan, state: State, event: Report) -> Result:
    peer = _peer(state, event.member)
    if peer is None:
        return state, ()
    trouble = event.trouble or differing(plan.fingerprints, event.fingerprints)
    new = peer._replace(connected=True, trouble=trouble, height=event.height)
    state = _with(state, new)
    if state.phase == LISTEN:
        if plan.require_all and not event.trouble and trouble:
            return _abort(state, f"{event.member}: {trouble}")  # what was fingerprinted does not change by waiting
        notes = (
            (Note("member_armed", (("member", event.member), ("height", event.height))),)
            if trouble != peer.trouble and not trouble
            else ()
        )
        return _opened(plan, state, notes)
    if state.phase in (AGREE, COMMITTING, COMMITTED):
        return _tell(plan, state, new)
    if state.phase in (ABORTING, DONE) and state.reason:
        return state, (Send(event.member, Told("abort", reason=state.reason)),)
    return state, ()


def _opened(plan: Plan, state: State, actions: tuple[Action, ...]) -> Result:
    """Leave ``listen`` as soon as every participant is armed."""
    if state.phase != LISTEN or any(_trouble(plan, state, peer) for peer in state.peers) or not state.height:
        return state, actions
    return _close(plan, state, actions)


def _close(plan: Plan, state: State, actions: tuple[Action, ...]) -> Result:
    armed = tuple(peer.id for peer in state.peers if not _trouble(plan, state, peer))
    actions += (Timer("arm", None), Note("armed", (("members", armed), ("height", state.height))))
    if plan.intake:
        return dataclasses.replace(state, phase=CLOSING), (*actions, CloseIntake())
    return _freeze(plan, state, actions)


def _freeze(plan: Plan, state: State, actions: tuple[Action, ...]) -> Result:
    return dataclasses.replace(state, phase=FREEZING), (*actions, Freeze())


def _trouble(plan: Plan, state: State, peer: Peer) -> str:
    """Say why a participant cannot take part now; empty where it can."""
    if not peer.connected:
        return "not connected" if not peer.trouble else peer.trouble
    if peer.trouble:
        return peer.trouble
    lag = state.height - peer.height
    if plan.seed == "follow" and lag > plan.max_lag:
        return f"{lag} blocks behind the sequencer's height {state.height}"
    return ""


def _unready(plan: Plan, state: State) -> str:
    """Say what is missing to go on; empty where enough members are ready."""
    troubles = [(peer.id, _trouble(plan, state, peer)) for peer in state.peers]
    if sum(1 for _id, trouble in troubles if not trouble) >= plan.enough:
        return ""
    return "; ".join(f"{member}: {trouble}" for member, trouble in troubles if trouble)


# ---- frozen -----------------------------------------------------------------------------------------------------


def _frozen(plan: Plan, state: State, event: Frozen) -> Result:
    if event.n < state.height:
        return _abort(state, f"the sequencer stopped at height {event.n}, below {state.height} seen before")
    if plan.seed != "follow" and not event.hash:
        return _abort(state, f"the hash of block {event.n} was not seen before the sequencer stopped")
    state = dataclasses.replace(state, phase=AGREE, n=event.n, hash=event.hash, seen=bool(event.hash))
    actions: tuple[Action, ...] = ()
    for peer in state.peers:
        state, told = _tell(plan, state, peer)
        actions += told
    actions += (Timer("agree", plan.limits.agree), Note("frozen", (("n", event.n), ("hash", event.hash))))
    if any(not peer.connected for peer in state.peers):
        actions += (Timer("grace", plan.limits.grace),)
    return state, actions


def _tell(plan: Plan, state: State, peer: Peer) -> Result:
    """Ask a participant for block ``n``, once a connection; one with other fingerprints is never asked."""
    if peer.out or peer.told or not peer.connected or peer.trouble:
        return state, ()
    return _with(state, peer._replace(told=True)), (Send(peer.id, Told("frozen", state.n, state.hash)),)


def _answered(plan: Plan, state: State, event: Ack | Nack) -> Result:
    peer = _peer(state, event.member)
    if peer is None or not peer.connected or not peer.told or event.n != state.n:
        return state, ()
    if state.phase not in (AGREE, COMMITTING, COMMITTED):
        return state, ()
    if isinstance(event, Nack):
        return _excluded(plan, state, peer, event.reason)
    if not event.hash or (state.hash and event.hash != state.hash):
        found = event.hash or "an unknown hash"
        return _excluded(
            plan, state, peer, f"holds {found} at height {state.n} and not {state.hash or 'one with a hash'}"
        )
    if plan.digests and not event.digest:
        return _excluded(plan, state, peer, "acknowledged without a digest")
    if state.phase != AGREE:
        if plan.digests and event.digest != state.digest:
            return _excluded(plan, state, peer, _unlike(plan, state, event.digest))
        # Equal, only late: it is told with the others, or at once where they have been told.
        told = (Send(peer.id, Told("commit", state.n, state.hash)),) if state.phase == COMMITTED else ()
        return _with(state, peer._replace(acked=True, digest=event.digest)), told
    state = dataclasses.replace(state, hash=event.hash)
    state = _with(state, peer._replace(acked=True, digest=event.digest))
    return _agree(plan, state, (Note("acknowledged", (("member", peer.id),)),))


def _excluded(plan: Plan, state: State, peer: Peer, reason: str) -> Result:
    """Go on without this participant where that is allowed, or call the window off."""
    if plan.require_all and state.phase == AGREE:
        return _abort(state, f"{peer.id}: {reason}")
    state = _with(state, peer._replace(out=reason, acked=False))
    told: tuple[Action, ...] = (
        Send(peer.id, Told("abort", reason=reason)),
        Note("excluded", (("member", peer.id), ("reason", reason))),
    )
    if state.phase != AGREE:
        return state, told
    if sum(1 for other in state.peers if not other.out) < plan.enough:
        return _abort(state, _standing(state))
    return _agree(plan, state, told)


def _agree(plan: Plan, state: State, actions: tuple[Action, ...]) -> Result:
    """Commit as soon as what was asked for has been acknowledged: the only way to the commit."""
    if plan.digests:
        if not state.digest:
            return state, actions
        for peer in state.peers:
            if peer.acked and not peer.out and peer.digest != state.digest:
                state, more = _excluded(plan, state, peer, _unlike(plan, state, peer.digest))
                return state, actions + more
    holding = sum(1 for peer in state.peers if peer.holds)
    if holding < _needed(plan, state) or not state.hash:
        return state, actions
    waiting = any(not peer.holds and not peer.out for peer in state.peers)
    if waiting and state.patient:
        return state, (*actions, Timer("straggler", plan.limits.straggler))
    state = dataclasses.replace(state, phase=COMMITTING)
    off = (Timer("agree", None), Timer("grace", None), Timer("straggler", None))
    return state, (*actions, *off, Commit(state.n, state.hash))


def _needed(plan: Plan, state: State) -> int:
    """How many have to hold block ``n``. A hash that only one store vouches for may be that of a damaged store."""
    return plan.enough if state.seen else max(plan.enough, 2)


def _committed(state: State) -> Result:
    state = dataclasses.replace(state, phase=COMMITTED)
    told = tuple(Send(peer.id, Told("commit", state.n, state.hash)) for peer in state.peers if peer.holds)
    note = Note("committed", (("n", state.n), ("hash", state.hash), ("members", tuple(send.member for send in told))))
    return state, (*told, Start(state.n, state.hash), note)


# ---- losses, limits, abort --------------------------------------------------------------------------------------


def _lost(plan: Plan, state: State, event: Lost) -> Result:
    peer = _peer(state, event.member)
    if peer is None or not peer.connected:
        return state, ()
    # An acknowledgement counts only on a connection that stands: the next one brings it again.
    state = _with(state, peer._replace(connected=False, told=False, acked=False, digest="", trouble="connection lost"))
    if state.phase in (CLOSING, FREEZING) and _unready(plan, state):
        return state, (Cancel(),)
    if state.phase == AGREE:
        return state, (Timer("grace", plan.limits.grace),)
    return state, ()


def _due(plan: Plan, state: State, timer: str) -> Result:
    if timer == "arm" and state.phase == LISTEN:
        missing = _unready(plan, state)
        if missing or not state.height:
            missing = missing or f"{plan.coordinator} does not tell its height"
            return _abort(state, f"not enough members were armed within {plan.limits.arm:g} s: {missing}")
        return _close(plan, state, ())
    if state.phase != AGREE:
        return state, ()
    if timer == "straggler":
        # The quorum that set this timer may be gone; ``_agree`` counts again.
        return _agree(plan, dataclasses.replace(state, patient=False), ())
    if timer == "grace" and plan.require_all:
        gone = [peer.id for peer in state.peers if not peer.connected]
        if gone:
            return _abort(
                state, f"the connection of {', '.join(gone)} did not come back within {plan.limits.grace:g} s"
            )
    if timer == "agree":
        state, actions = _agree(plan, dataclasses.replace(state, patient=False), ())
        if state.phase != AGREE:
            return state, actions
        return _abort(state, f"no agreement on block {state.n} within {plan.limits.agree:g} s: {_standing(state)}")
    return state, ()


def _abort(state: State, reason: str) -> Result:
    told = tuple(Send(peer.id, Told("abort", reason=reason)) for peer in state.peers if peer.connected)
    off = tuple(Timer(name, None) for name in ("arm", "agree", "grace", "straggler"))
    # The node first: every message after it costs no time of the chain's.
    state = dataclasses.replace(state, phase=ABORTING, reason=reason)
    return state, (*off, Thaw(), *told, Note("aborting", (("reason", reason),)))


def _standing(state: State) -> str:
    """Say of each participant that does not hold what it does instead."""
    words = []
    for peer in state.peers:
        if peer.out:
            words.append(f"{peer.id}: {peer.out}")
        elif not peer.connected:
            words.append(f"{peer.id}: {peer.trouble or 'not connected'}")
        elif not peer.acked:
            words.append(f"{peer.id}: {peer.trouble or 'no acknowledgement'}, last reported height {peer.height}")
    if not state.seen and sum(1 for peer in state.peers if peer.holds) == 1:
        words.append("its hash is known from one store only")
    return "; ".join(words) or "the sequencer has no digest of its own yet"


def _unlike(plan: Plan, state: State, digest: str) -> str:
    """Say what differs on a participant that holds the right header."""
    if plan.seed != "follow":
        return f"its files have digest {digest}, those of {plan.coordinator} {state.digest}"
    return f"its execution client has {digest} at block {state.n}, that of {plan.coordinator} {state.digest}"


def _peer(state: State, member: str) -> Peer | None:
    return next((peer for peer in state.peers if peer.id == member), None)


def _with(state: State, new: Peer) -> State:
    return dataclasses.replace(state, peers=tuple(new if peer.id == new.id else peer for peer in state.peers))
