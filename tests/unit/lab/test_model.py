# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The model finds what it is there to find; `make model` runs it on five members and two faults."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.module_utils._window import coordinator, participant
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._window.protocol import (
    Ack,
    Commit,
    Event,
    Plan,
    Proof,
    Send,
    Told,
)
from lab.model import guide
from lab.model.__main__ import VARIANTS, examine, explore
from lab.model.back import Back
from lab.model.search import Found, search
from lab.model.window import Window
from lab.settings import CHECKOUT


def look(**how: Any) -> Found[Any]:
    """Three members and as many faults as are asked for, one if nothing is said."""
    window = Window(2, how.pop("faults", 1), **how)
    return search(window.initial(), window.successors, window.violated, window.end)


def test_a_search_visits_every_state_once_and_finds_the_shortest_way_to_a_violation() -> None:
    def steps(number: int) -> list[tuple[str, int]]:
        return [("one more", number + 1), ("twice", number * 2)] if number < 8 else [("!a fault", number)]

    whole = search(1, steps, lambda _number: "", lambda number: (str(number), ""))
    assert (whole.states, whole.complete) == (11, True)
    assert whole.ends == {str(number): 1 for number in (8, 10, 12, 14)}
    wrong = search(1, steps, lambda number: "six" if number == 6 else "", lambda _number: ("end", ""))
    assert (wrong.broken, wrong.trace) == ("six", ["one more", "one more", "twice"])
    bad_end = search(1, steps, lambda _number: "", lambda number: ("end", "too far" if number > 8 else ""))
    assert bad_end.broken == "too far"


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_every_schedule_of_three_members_with_a_fault_keeps_every_promise(variant: Any) -> None:
    found, _seconds = examine(variant, 3, 1)
    assert found.broken == "" and found.complete, found.trace
    # A search that never gets past the first message would find nothing wrong either.
    assert {"the single sequencer produces", "a cluster of 3 produces"} <= set(found.ends)


def test_without_faults_the_window_ends_with_a_cluster_of_all() -> None:
    assert set(look(faults=0).ends) == {"a cluster of 3 produces"}


def test_a_switch_that_is_not_forced_to_disk_before_a_start_is_found() -> None:
    found = look(synced=False)
    assert found.broken.startswith("fence")
    assert found.trace.index("node-1 RENAMES its switch") < found.trace.index("!node-1's window is killed")


def test_a_coordinator_that_tells_of_the_commit_before_it_is_found() -> None:
    def hasty(plan: Plan, state: coordinator.State, event: Event) -> coordinator.Result:
        after, actions = coordinator.step(plan, state, event)
        if any(isinstance(action, Commit) for action in actions):
            told = Told("commit", after.n, after.hash)
            actions = (*(Send(peer.id, told) for peer in after.peers), *actions)
        return after, actions

    assert look(faults=0, lead=hasty).broken.startswith(("one writer", "fence"))


def test_a_joiner_that_takes_an_open_port_for_proof_is_found() -> None:
    def credulous(plan: Plan, state: participant.State, event: Event) -> participant.Result:
        return participant.step(plan, state, Proof(True) if isinstance(event, Proof) else event)

    assert look(take_part=credulous).broken.startswith(("one writer", "fence"))


def test_a_coordinator_that_does_not_compare_hashes_is_found() -> None:
    def careless(plan: Plan, state: coordinator.State, event: Event) -> coordinator.Result:
        if isinstance(event, Ack) and state.hash:
            event = event._replace(hash=state.hash)
        return coordinator.step(plan, state, event)

    assert look(lead=careless).broken.startswith("equal heads")


def test_a_coordinator_that_is_content_with_fewer_is_found() -> None:
    def hurried(plan: Plan, state: coordinator.State, event: Event) -> coordinator.Result:
        after, actions = coordinator.step(plan, state, event)
        if isinstance(event, Ack) and after.phase == coordinator.AGREE:
            return dataclasses.replace(after, phase=coordinator.COMMITTING), (*actions, Commit(after.n, after.hash))
        return after, actions

    assert look(faults=0, lead=hurried).broken.startswith("equal heads")


def test_the_guide_forks_without_a_fault_and_the_docs_show_how() -> None:
    found = search(guide.initial(), guide.successors, guide.violated, guide.end)
    assert found.broken.startswith("nothing re-signed")
    assert "\n".join(found.trace) in (CHECKOUT / "docs" / "safety.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("by_hand", [False, True])
def test_every_schedule_of_a_rollback_of_three_members_keeps_every_promise(by_hand: bool) -> None:
    found, _seconds = explore(Back(2, faults=1, by_hand=by_hand))
    assert found.broken == "" and found.complete, found.trace
    assert "the single sequencer produces" in found.ends
    assert by_hand or "a cluster of 3 produces" in found.ends


@pytest.mark.parametrize(
    ("care", "faults", "promise"),
    [
        pytest.param({"comes_back": False}, 1, "two end states", id="joiners-that-leave-for-good"),
        pytest.param({"forgets": False}, 2, "one writer", id="an-answer-of-before-counts"),
        pytest.param({"looks_back": False, "by_hand": True}, 1, "one writer", id="a-sequencer-that-ran-meanwhile"),
        pytest.param({"fenced": False, "by_hand": True}, 1, "one writer", id="a-sequencer-started-before-the-turn"),
    ],
)
def test_each_care_of_a_rollback_is_needed(care: dict[str, bool], faults: int, promise: str) -> None:
    found, _seconds = explore(Back(2, faults=faults, **care))
    assert found.broken.startswith(promise)
    assert found.trace
