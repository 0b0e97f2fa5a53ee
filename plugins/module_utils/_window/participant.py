# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.
"""The side of the window that follows: a joiner.

It may do three things to its host: stop its follower, turn its switch and start in Raft mode, or follow again. The
second has two causes and no third: the coordinator's ``commit`` for exactly the block that was acknowledged, or proof
that the coordinator's member runs in Raft mode, which it can do only after the commit.
"""

from __future__ import annotations

import dataclasses

from .protocol import (
    Ack,
    Action,
    Begin,
    Cancel,
    Connected,
    Due,
    Event,
    Failed,
    Finish,
    Lost,
    Match,
    Matched,
    Nack,
    Note,
    Plan,
    Probe,
    Proof,
    Resume,
    Resumed,
    Send,
    SendReport,
    Start,
    Started,
    Timer,
    Told,
)

ARMED = "armed"
MATCHING = "matching"
HOLDING = "holding"
STARTING = "starting"
RESUMING = "resuming"
DONE = "done"


@dataclasses.dataclass(frozen=True)
class State:
    """Where a participant is."""

    phase: str = ARMED
    connected: bool = False
    asked: bool = False
    """Whether the coordinator asked for block ``n`` on the connection that stands: only then may it be answered."""
    n: int = 0
    hash: str = ""
    digest: str = ""
    checked: bool = False
    """Whether the coordinator named the hash of block ``n``, so that this side compared it."""
    probing: bool = False
    outcome: str = ""
    reason: str = ""


Result = tuple[State, tuple[Action, ...]]


def initial(plan: Plan) -> State:
    """Return the state before ``Begin``."""
    return State(reason="" if plan.me != plan.coordinator else "a coordinator takes no part in its own window")


def step(plan: Plan, state: State, event: Event) -> Result:
    """Advance by one event."""
    if state.phase == DONE:
        return state, ()
    if isinstance(event, Begin):
        wait = plan.limits.arm + plan.limits.freeze
        return state, (Timer("arm", wait), Note("window_open", (("role", "participant"),)))
    if isinstance(event, Connected):
        return _connected(plan, state)
    if isinstance(event, Lost):
        return _lost(plan, state)
    if isinstance(event, Told):
        return _told(plan, state, event)
    if isinstance(event, Due):
        return _due(plan, state, event.timer)
    if isinstance(event, Proof):
        return _proof(plan, state, event)
    if isinstance(event, Matched) and state.phase == MATCHING:
        return _matched(plan, state, event)
    if isinstance(event, Failed) and state.phase == MATCHING:
        nack = (Send(plan.coordinator, Nack(plan.me, state.n, event.reason)),) if state.connected else ()
        return _resume(state, "aborted", event.reason, nack)
    if isinstance(event, Started) and state.phase == STARTING:
        return dataclasses.replace(state, phase=DONE), (Finish("committed", event.trouble),)
    if isinstance(event, Resumed) and state.phase == RESUMING:
        reason = state.reason + (f"; and {event.trouble}" if event.trouble else "")
        return dataclasses.replace(state, phase=DONE), (Finish(state.outcome, reason),)
    return state, ()


def _connected(plan: Plan, state: State) -> Result:
    if state.phase in (ARMED, MATCHING, HOLDING):
        return dataclasses.replace(state, connected=True, asked=False), (SendReport(),)
    return dataclasses.replace(state, connected=True), ()


def _lost(plan: Plan, state: State) -> Result:
    state = dataclasses.replace(state, connected=False, asked=False)
    if state.phase == HOLDING and not state.probing:
        return dataclasses.replace(state, probing=True), (Probe(),)
    return state, ()


def _told(plan: Plan, state: State, event: Told) -> Result:
    if event.kind == "frozen":
        return _asked(plan, state, event)
    if event.kind == "commit":
        if state.phase == HOLDING and (event.n, event.hash) == (state.n, state.hash):
            return _start(state, "told")
        if state.phase in (ARMED, MATCHING, HOLDING):
            return state, (Note("commit_ignored", (("phase", state.phase), ("n", event.n), ("hash", event.hash))),)
        return state, ()
    if event.kind == "abort" and state.phase == ARMED:
        return _resume(state, "aborted", event.reason, ())
    if event.kind == "abort" and state.phase in (MATCHING, HOLDING):
        return _resume(state, "aborted", event.reason, (Cancel(),) if state.phase == MATCHING else ())
    return state, ()


def _asked(plan: Plan, state: State, event: Told) -> Result:
    if state.phase == ARMED:
        # What an execution client's block is elsewhere, only the coordinator learns.
        checked = bool(event.hash) and not (plan.clients and plan.seed == "follow")
        state = dataclasses.replace(state, phase=MATCHING, asked=True, n=event.n, hash=event.hash, checked=checked)
        # The limit of ``agree`` is the coordinator's to keep; this one only bounds a coordinator that is gone.
        return state, (Timer("arm", None), Timer("hold", plan.limits.hold), Match(event.n, event.hash))
    if state.phase not in (MATCHING, HOLDING):
        return state, ()
    if event.n != state.n or (event.hash and state.hash and event.hash != state.hash):
        reason = f"asked for block {event.n} after block {state.n}"
        return _resume(state, "failed", reason, (Cancel(), Send(plan.coordinator, Nack(plan.me, event.n, reason))))
    state = dataclasses.replace(state, asked=True)
    if state.phase == HOLDING:
        return state, (Send(plan.coordinator, Ack(plan.me, state.n, state.hash, state.digest)),)
    return state, ()


def _matched(plan: Plan, state: State, event: Matched) -> Result:
    if event.n != state.n or not event.hash or (state.hash and event.hash != state.hash):
        asked = f"{state.n} with {state.hash or 'any'}"
        reason = f"stopped at block {event.n} with hash {event.hash or 'unknown'}, asked for {asked}"
        return _resume(state, "aborted", reason, (Send(plan.coordinator, Nack(plan.me, state.n, reason)),))
    state = dataclasses.replace(state, phase=HOLDING, hash=event.hash, digest=event.digest)
    note = Note("holding", (("n", event.n), ("hash", event.hash), ("digest", event.digest)))
    if state.connected and state.asked:
        return state, (Send(plan.coordinator, Ack(plan.me, event.n, event.hash, event.digest)), note)
    if state.connected:
        return state, (note,)
    return dataclasses.replace(state, probing=True), (Probe(), note)


def _proof(plan: Plan, state: State, event: Proof) -> Result:
    state = dataclasses.replace(state, probing=False)
    if state.phase != HOLDING:
        return state, ()
    # A commit without everybody may have happened without this one: then only an own comparison counts.
    if event.seen and (state.checked or plan.require_all):
        return _start(state, "proof")
    if state.connected:
        return state, ()
    return dataclasses.replace(state, probing=True, reason=event.last), (Timer("probe", plan.limits.probe),)


def _due(plan: Plan, state: State, timer: str) -> Result:
    if timer == "probe" and state.phase == HOLDING:
        if state.connected:
            return dataclasses.replace(state, probing=False), ()
        return state, (Probe(),)
    if timer == "arm" and state.phase == ARMED:
        wait = plan.limits.arm + plan.limits.freeze
        how = "connected, never asked to stop" if state.connected else f"not connected to {plan.coordinator}"
        return _resume(state, "aborted", f"no freeze within {wait:g} s: {how}", ())
    if timer == "hold" and state.phase in (MATCHING, HOLDING):
        last = f"; last answer of its Raft port: {state.reason}" if state.reason else ""
        reason = f"neither a commit nor an abort of {plan.coordinator} within {plan.limits.hold:g} s{last}"
        return _resume(state, "unknown", reason, (Cancel(),) if state.phase == MATCHING else ())
    return state, ()


def _start(state: State, cause: str) -> Result:
    note = Note("committed", (("n", state.n), ("hash", state.hash), ("cause", cause)))
    off = (Timer("hold", None), Timer("probe", None))
    return dataclasses.replace(state, phase=STARTING, reason=""), (Start(state.n, state.hash), *off, note)


def _resume(state: State, outcome: str, reason: str, first: tuple[Action, ...]) -> Result:
    state = dataclasses.replace(state, phase=RESUMING, outcome=outcome, reason=reason)
    off = (Timer("arm", None), Timer("hold", None), Timer("probe", None))
    return state, (*first, Resume(), *off, Note("following_again", (("outcome", outcome), ("reason", reason))))
