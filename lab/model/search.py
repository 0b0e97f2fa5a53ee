# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Breadth-first search through a model: every state that can be reached, each once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

State = TypeVar("State", bound=Hashable)


@dataclass
class Found(Generic[State]):
    """What a search saw."""

    states: int = 0
    steps: int = 0
    complete: bool = True
    """Whether every reachable state was visited; False where the search stopped at its limit or a violation."""
    ends: dict[str, int] = field(default_factory=dict)
    """How many states without a further step there are, by what they are called."""
    broken: str = ""
    """The property that does not hold, empty where all do."""
    trace: list[str] = field(default_factory=list)
    """The steps that lead to the state in which it does not."""


def search(
    initial: State,
    successors: Callable[[State], Iterable[tuple[str, State]]],
    violated: Callable[[State], str],
    end: Callable[[State], tuple[str, str]],
    *,
    limit: int = 20_000_000,
) -> Found[State]:
    """Visit all states. Breadth first, so that the trace to a violation is a shortest one.

    ``violated`` names a property that a state breaks. ``end`` is asked about states from which no step leads on but
    faults, which are steps whose words begin with "!", and gives them a name and the property that such an end breaks.
    """
    found: Found[State] = Found()
    parents: dict[State, State | None] = {initial: None}
    level = [initial]
    while level:
        following: list[State] = []
        for state in level:
            broken = violated(state)
            resting = True
            if not broken:
                for words, after in successors(state):
                    found.steps += 1
                    resting = resting and words.startswith("!")
                    if after not in parents:
                        parents[after] = state
                        following.append(after)
            if resting and not broken:
                name, broken = end(state)
                found.ends[name] = found.ends.get(name, 0) + 1
            if broken:
                found.broken, found.trace, found.complete = broken, trace(parents, state, successors), False
                found.states = len(parents)
                return found
        if len(parents) > limit:
            found.complete = False
            break
        level = following
    found.states = len(parents)
    return found


def trace(
    parents: dict[State, State | None], state: State, successors: Callable[[State], Iterable[tuple[str, State]]]
) -> list[str]:
    """The steps from the initial state to this one."""
    steps: list[str] = []
    while (before := parents[state]) is not None:
        steps.append(next(words for words, after in successors(before) if after == state))
        state = before
    return steps[::-1]
