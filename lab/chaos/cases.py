# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What dies, where and when. A case is a pure function of its seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

# Events of the collection's journal, in the order in which a cutover writes them.
ON_NODE_1 = ("window_start", "window_open", "member_armed", "armed", "frozen", "acknowledged", "committed")
ON_A_JOINER = ("sealed", "window_start", "window_open", "holding", "committed")
# When the window has closed the controller still judges, brings members in and may roll back.
AFTERWARDS = ("window_closed",)

FAULTS = (
    "controller killed",
    "power cut",
    "cut off",
    "node killed",
    "window killed",
    "window frozen",
    "disk read-only",
)
VICTIMS = (("node-1",), ("node-2",), ("node-3", "node-4"))


class Case(NamedTuple):
    """One fault in one cutover. `delay_s` is how long after the event it comes."""

    seed: int
    event: str
    host: str
    fault: str
    victims: tuple[str, ...]
    delay_s: float

    def __str__(self) -> str:
        who = "" if self.fault == "controller killed" else f" on {', '.join(self.victims)}"
        return f"seed {self.seed}: {self.fault}{who}, {self.delay_s * 1000:.0f} ms after {self.event} of {self.host}"


def places() -> list[tuple[str, str]]:
    """Every moment at which a fault may come: an event, and the host whose journal tells it."""
    return [(event, "node-1") for event in (*ON_NODE_1, *AFTERWARDS)] + [
        (event, "node-2") for event in (*ON_A_JOINER, *AFTERWARDS)
    ]


def draw(seed: int) -> Case:
    """The case of a seed. Consecutive seeds go through all places and all faults; who is hit and when is chance."""
    chance = random.Random(seed)
    every = places()
    event, host = every[seed % len(every)]
    fault = FAULTS[(seed // len(every) + seed) % len(FAULTS)]
    victims = () if fault == "controller killed" else chance.choice(VICTIMS)
    # Half of them at once, where two writes are closest together.
    delay = 0.0 if chance.random() < 0.5 else round(chance.uniform(0, 1.5), 3)
    return Case(seed, event, host, fault, victims, delay)


def table(rows: Sequence[tuple[Case, str, float, Sequence[str]]]) -> str:
    """A line a case: what it was, how it ended, seconds, and what was wrong."""
    lines = []
    for case, ended, seconds, wrong in rows:
        verdict = "; ".join(wrong) if wrong else "ok"
        lines.append(f"{case!s:<100} {ended:<8} {seconds:6.0f} s  {verdict}")
    return "\n".join(lines)
