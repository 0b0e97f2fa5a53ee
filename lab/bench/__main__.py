# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m lab.bench`: measure migrations, their floor, copies and the guide, and write it down."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import os
import platform
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

from lab import chain, execution, fleet
from lab.bench import copies, floor, guide, migration, report
from lab.conformance.node import ConformanceError
from lab.errors import LabError
from lab.rpc import RpcError
from lab.settings import CHECKOUT, Settings, from_environment

# What a run may end with and the bench goes on. Anything else is a defect of the bench itself.
EXPECTED = (LabError, RpcError, ConformanceError, OSError, ValueError, KeyError, subprocess.SubprocessError)


def parse(argv: Sequence[str] | None, environ: Mapping[str, str]) -> argparse.Namespace:
    """Read the command line; the environment has the defaults, as `make bench N=20 SEED=copy` gives them."""
    parser = argparse.ArgumentParser(prog="python -m lab.bench", description=__doc__)

    def number(name: str, default: int) -> int:
        text = environ.get(name) or str(default)
        if not text.isdigit():
            parser.error(f"{name}={text}: expected a number")
        return int(text)

    parser.add_argument("--runs", type=int, default=number("N", 5), help="migrations (N)")
    parser.add_argument("--seed", default=environ.get("SEED") or "follow", help="evnode_seed of the migrations (SEED)")
    parser.add_argument("--anchor", default=environ.get("ANCHOR") or "both", help="both (in turns), yes or no (ANCHOR)")
    parser.add_argument("--floor", type=int, default=number("FLOOR", 5), help="firings of the floor, each (FLOOR)")
    parser.add_argument("--guide", type=int, default=number("GUIDE", 10), help="runs of the guide (GUIDE)")
    parser.add_argument("--copy", type=int, default=number("COPY", 1), help="0 leaves the copies out (COPY)")
    parser.add_argument("--random-seed", type=int, default=None, help="of the start offsets of the guide")
    parser.add_argument("--keep", action="store_true", help="leave the lab up at the end")
    parser.add_argument("--output", type=Path, default=CHECKOUT / "build" / "bench")
    chosen = parser.parse_args(argv)
    if chosen.seed not in ("follow", "copy", "copy_then_follow"):
        parser.error(f"SEED={chosen.seed}: expected follow, copy or copy_then_follow")
    if chosen.anchor not in ("both", "yes", "no"):
        parser.error(f"ANCHOR={chosen.anchor}: expected both, yes or no")
    return chosen


def anchors(choice: str, seed: str) -> list[bool]:
    """Which migrations there are: with an anchor, without, or both in turns. None on EVM chains and where copied."""
    if seed == "copy" or execution.wanted():
        return [False]
    return {"both": [True, False], "yes": [True], "no": [False]}[choice]


class Bench:
    """One bench on one lab."""

    def __init__(self, lab: Settings, chosen: argparse.Namespace) -> None:
        self.lab = lab
        self.chosen = chosen
        self.folder: Path = chosen.output
        self.begin = time.monotonic()
        binary = chain.binary(lab)
        self.result = report.Result(
            binary=str(binary),
            sha256=hashlib.sha256(binary.read_bytes()).hexdigest(),
            version="",
            layout=lab.layout.name,
            machine={"cpus": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()},
        )

    def say(self, words: str) -> None:
        """One line of progress, and the file as it is so far."""
        print(f"[{time.monotonic() - self.begin:6.0f} s] {words}", flush=True)
        report.write(self.result, self.folder / "result.json")

    def log(self, name: str) -> Path:
        """Where a playbook's output goes."""
        return self.folder / f"{name}.log"

    @contextlib.contextmanager
    def going_on(self, what: str, failed: Callable[[str], None]) -> Iterator[None]:
        """Keep a failure as a result."""
        try:
            yield
        except EXPECTED as error:
            words = str(error).strip() or type(error).__name__
            failed(words)
            self.say(f"{what}: FAILED: {words}")

    def all(self) -> None:
        """Everything that was asked for."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for old in self.folder.glob("*.log"):
            old.unlink()
        kinds = anchors(self.chosen.anchor, self.chosen.seed)
        for anchor in kinds if self.chosen.floor else []:
            self.floors(anchor)
        for number in range(1, self.chosen.runs + 1):
            self.migration(number, kinds[(number - 1) % len(kinds)])
        if self.chosen.copy:
            self.copies()
        chance = random.Random(self.chosen.random_seed)
        for number in range(1, self.chosen.guide + 1):
            self.guide(number, chance)

    def floors(self, anchor: bool) -> None:
        """Fire staged hosts several times; what a firing left in no state to be fired again is staged anew."""
        staged = False
        words = _words(anchor)
        for number in range(1, self.chosen.floor + 1):
            found = floor.Floor(anchor)

            def failed(why: str, found: floor.Floor = found) -> None:
                found.failed = why

            what = f"floor {number}/{self.chosen.floor} {words}"
            with self.going_on(what, failed):
                if not staged:
                    floor.stage(self.lab, anchor, self.log(f"stage-{'anchor' if anchor else 'plain'}-{number}"))
                    self.version()
                elif number > 1:
                    floor.put_back(self.lab)
                staged = False
                found = floor.rehearse(self.lab, anchor)
                staged = not found.failed
                self.say(f"{what}: gap {found.gap_s} s, {found.healthy} healthy {found.failed}".rstrip())
            self.result.floors.append(found)

    def version(self) -> None:
        """Ask the node once what it is."""
        if not self.result.version:
            self.result.version = migration.version(self.lab)

    def migration(self, number: int, anchor: bool) -> None:
        """One migration on a chain of its own."""
        found = migration.Run(anchor=anchor, seed=self.chosen.seed)
        what = f"migration {number}/{self.chosen.runs} {_words(anchor)}"

        def failed(why: str) -> None:
            found.failed = why

        with self.going_on(what, failed):
            migration.fresh_chain(self.lab)
            self.version()
            if number <= 3:
                self.preflight(number)
            found = migration.migrate(
                self.lab, anchor=anchor, seed=self.chosen.seed, log=self.log(f"migration-{number:02}")
            )
        self.result.runs.append(found)
        self.say(
            f"{what}: {found.healthy} healthy, {'FORK' if found.fork else 'no fork'}, gap {found.gap_s} s, "
            f"coordination {found.coordination_s} s, spread {found.spread_ms} ms, whole {found.total_s} s "
            f"{found.failed}".rstrip()
        )

    def preflight(self, number: int) -> None:
        """Time the preflight on its own."""
        with self.going_on("preflight", self.result.problems.append):
            self.result.preflight_s.append(migration.preflight(self.lab, self.log(f"preflight-{number}")))

    def copies(self) -> None:
        """rsync, and a migration with a last copy in the window, of one store."""
        found = self.result.copies = copies.Copies()

        def failed(why: str) -> None:
            found.failed = why

        with self.going_on("copies", failed):
            migration.fresh_chain(self.lab)
            self.version()
            copies.compare(self.lab, found)
            self.say(f"rsync -avz: {found.rsync_s} s, {found.rsync_written_bytes} bytes written")
            run = migration.migrate(self.lab, anchor=False, seed="copy", log=self.log("migration-copy"))
            copies.take(found, run, dataclasses.asdict(run))
            self.say(f"last copy: {found.last_copy_s}, gap {run.gap_s} s, {run.healthy} healthy {run.failed}".rstrip())

    def guide(self, number: int, chance: random.Random) -> None:
        """The guide, to the letter."""
        found = report.Guide()
        what = f"guide {number}/{self.chosen.guide}"

        def failed(why: str) -> None:
            found.failed = why

        with self.going_on(what, failed):
            migration.fresh_chain(self.lab)
            self.version()
            found.outcome = guide.follow(self.lab, chance)
        self.result.guide.append(found)
        if found.outcome:
            self.say(f"{what}: {guide_words(found)}")


def guide_words(found: report.Guide) -> str:
    """A run of the guide in one line."""
    outcome = found.outcome
    if outcome is None:
        return found.failed
    state = "FORK" if outcome.fork else "no fork"
    ended = ", ".join(f"{name} ({outcome.reasons.get(name) or code})" for name, code in outcome.ended.items())
    return f"{outcome.healthy} healthy, {state}, {'STALLED' if outcome.stalled else 'running'}; ended: {ended or '-'}"


def _words(anchor: bool) -> str:
    return "with anchor" if anchor else "without anchor"


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)


def main(argv: Sequence[str] | None = None) -> int:
    """0: every migration was healthy; 1: not every one; 2: the bench could not be run to its end."""
    chosen = parse(argv, os.environ)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        lab = from_environment()
        with fleet.exclusive(lab):
            return run(Bench(lab, chosen))
    except LabError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2


def run(bench: Bench) -> int:
    """Measure, print, take everything down."""
    code = 2
    try:
        bench.all()
        bench.result.finished = True
        good = [one for one in bench.result.runs if not one.failed]
        code = 0 if len(good) == len(bench.result.runs) else 1
    except KeyboardInterrupt as interrupt:
        bench.result.problems.append(f"interrupted by {interrupt.args[0] if interrupt.args else 'SIGINT'}")
    finally:
        report.write(bench.result, bench.folder / "result.json")
        print(report.table(bench.result), flush=True)
        print(f"\n{bench.folder / 'result.json'}", flush=True)
        if not bench.chosen.keep:
            fleet.down(bench.lab)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
