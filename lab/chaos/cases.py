# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What dies, where and when. A case is a pure function of its seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple


class Place(NamedTuple):
    """A moment: an event in the journal of a host, during the run that leads on from a starting point."""

    start: str
    event: str
    host: str


def _places(start: str, **by_host: Sequence[str]) -> list[Place]:
    return [Place(start, event, host.replace("_", "-")) for host, events in by_host.items() for event in events]


# Every event that a run writes into a member's journal, in the order in which it does. A trial checks it.
PREPARING = _places(
    "single",
    node_1=("secrets", "seeded", "configured"),
    node_2=("provisioned", "secrets", "seeded", "configured"),
)
CUTOVER = _places(
    "staged",
    node_1=(
        *("configured", "window_start", "window_open", "member_armed", "armed"),
        *("intake_closed", "frozen", "acknowledged", "committed", "window_closed"),
    ),
    node_2=(
        *("configured", "sealing", "sealed", "window_start", "window_open"),
        *("holding", "committed", "window_closed"),
        *("settling", "settled"),
    ),
)
# While there is a window to hit.
WINDOW = [place for place in CUTOVER if place.event not in ("configured", "sealing", "sealed", "settling", "settled")]
# Not of the member that happens to lead.
MAYBE = {"settling", "settled"}
ROLLBACK = _places(
    "cluster",
    node_1=("revert_stop", "revert_clean", "revert_start"),
    node_2=("revert_stop", "revert_hold", "revert_clean", "revert_start"),
)
PLACES = [*PREPARING, *CUTOVER, *ROLLBACK]

CONTROLLER = "controller killed"
FAULTS = (
    "power cut",
    "reboot",
    "cut off",
    "node killed",
    "node frozen",
    "window killed",
    "window frozen",
    "disk full",
    "disk read-only",
)
VICTIMS = (("node-1",), ("node-2",), ("node-3", "node-4"))


class Case(NamedTuple):
    """One fault in one run. `delay_s` is how long after the event it comes, `then` what is run afterwards."""

    seed: int
    place: Place
    fault: str
    victims: tuple[str, ...]
    delay_s: float
    then: str

    def __str__(self) -> str:
        who = f" on {', '.join(self.victims)}" if self.victims else ""
        when = f"{self.delay_s * 1000:.0f} ms after {self.place.event} of {self.place.host}"
        return f"seed {self.seed}: {self.place.start}, {self.fault}{who}, {when}, then {self.then}"


@cache
def _order() -> list[tuple[Place, str, tuple[str, ...]]]:
    """All combinations: the controller killed at every place first, the others shuffled, always in the same way."""
    others = [
        (place, fault, victims)
        for place in PLACES
        for fault in FAULTS
        for victims in VICTIMS
        if place in WINDOW or not fault.startswith("window")
    ]
    random.Random(0).shuffle(others)
    return [*((place, CONTROLLER, ()) for place in PLACES), *others]


def draw(seed: int) -> Case:
    """The case of a seed. Consecutive seeds go through all combinations; when exactly, and what then, is chance."""
    order = _order()
    chance = random.Random(seed)
    place, fault, victims = order[seed % len(order)]
    # Half of them at once, where two writes are closest together; and so every place the first time.
    late = round(chance.uniform(0, 1.5), 3)
    at_once = chance.random() < 0.5 or seed < len(PLACES)
    then = chance.choice(("the same again", "rollback" if place.start != "cluster" else "migrate"))
    return Case(seed, place, fault, victims, 0.0 if at_once else late, then)


def combinations() -> int:
    """How many seeds it takes to have had every fault at every place with every choice of victims."""
    return len(_order())


class Row(NamedTuple):
    """How a case went: in what state the fault left the chain, and what was wrong."""

    case: Case
    ended: str
    seconds: float
    pause_s: float | None
    wrong: Sequence[str]


def table(rows: Sequence[Row]) -> str:
    """A line a case: what it was, how it ended, the longest time without a block, seconds, and what was wrong."""
    lines = []
    for row in sorted(rows, key=lambda row: row.case.seed):
        pause = "" if row.pause_s is None else f"{row.pause_s:.1f} s"
        verdict = "; ".join(row.wrong) if row.wrong else "ok"
        lines.append(f"{row.case!s:<125} {row.ended:<8} {pause:>8} {row.seconds:5.0f} s  {verdict}")
    return "\n".join(lines)
