# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m lab.chaos.trips`: one chain, taken to the cluster and back again and again, with nothing in its way."""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

from lab import fleet
from lab.chaos.trial import FINISH, ROLLBACK, Trial
from lab.rpc import Block
from lab.settings import CHECKOUT, from_environment
from lab.shell import end_on_sigterm
from lab.trial import history

FOLDER = CHECKOUT / "build" / "trips"


class Trip(NamedTuple):
    """There and back: the last block before each way, the pauses on each in seconds, and what was wrong."""

    heights: tuple[int, int]
    pauses_s: tuple[float, float]
    seconds: float
    wrong: Sequence[str]

    def __str__(self) -> str:
        there, back = (
            f"{way} at {height}: {pause:.2f} s without a block"
            for way, height, pause in zip(("there", "back"), self.heights, self.pauses_s, strict=True)
        )
        return f"{there}, {back}, {self.seconds:.0f} s in all: {'; '.join(self.wrong) or 'ok'}"


def travel(trial: Trial, number: int, known: list[Block]) -> Trip:
    """One trip. `known` are all blocks of the chain so far: they have to stay, and those that are new are added."""
    begin = time.monotonic()
    lab, wrong = trial.lab, []
    heights, pauses = [known[-1].height], []
    there = trial.play(f"{number}-there", *FINISH["staged"])
    if there.code != 0:
        wrong.append(there.errors(6))
    else:
        receipt = history.receipt(lab, lab.hosts[0])
        wrong += history.cluster_problems(lab, receipt["n"], receipt["hash"])
    pauses.append(history.longest_pause_s(lab, lab.hosts[1], known[-1].height))
    made = trial.so_far()
    heights.append(made[-1].height)
    back = trial.play(f"{number}-back", *ROLLBACK)
    wrong += [back.errors(6)] if back.code != 0 else history.single_problems(lab, made, cluster=True)
    wrong += [f"block {old.height} has changed" for old, now in zip(known, made, strict=False) if old != now]
    pauses.append(history.longest_pause_s(lab, lab.hosts[0], made[-1].height))
    known[:] = trial.so_far()
    return Trip((heights[0], heights[1]), (pauses[0], pauses[1]), time.monotonic() - begin, wrong)


def main(argv: Sequence[str] | None = None) -> int:
    """Go there and back; 0 when the chain was one chain all the way."""
    parser = argparse.ArgumentParser(prog="python -m lab.chaos.trips", description=__doc__)
    parser.add_argument("--trips", type=int, default=10, help="how many (N)")
    chosen = parser.parse_args(argv)
    lab = from_environment()
    shutil.rmtree(FOLDER, ignore_errors=True)
    trips: list[Trip] = []
    end_on_sigterm()
    try:
        trial = Trial(lab, FOLDER)
        trial.start_from("staged")
        known = trial.so_far()
        for number in range(1, chosen.trips + 1):
            trips.append(travel(trial, number, known))
            print(f"{number:3} {trips[-1]}", flush=True)
    finally:
        fleet.down(lab)
    there, back = (statistics.median(trip.pauses_s[way] for trip in trips) for way in (0, 1))
    bad = sum(1 for trip in trips if trip.wrong)
    print(f"{len(trips)} trips, {bad} not ok; median pause {there:.2f} s there, {back:.2f} s back")
    return 1 if bad or len(trips) < chosen.trips else 0


if __name__ == "__main__":
    sys.exit(main())
