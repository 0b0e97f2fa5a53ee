# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m lab.chaos`: cutovers with one fault each, on one chain that is taken back after every one of them.

A case is: a cutover, a fault at an event of some member's journal, everything mended once the run and the windows have
ended, an end state waited for and judged, the same command once more, which has to finish the job, and a rollback,
which has to keep every block. The chain of one case goes into the next, so nothing may be left behind either.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lab import chain, fleet, machine
from lab.chaos import faults
from lab.chaos.cases import Case, draw, table
from lab.errors import LabError
from lab.rpc import Block, RpcError
from lab.settings import CHECKOUT, Settings, from_environment
from lab.shell import wait_for
from lab.trial import history
from lab.trial.play import Controller, Outcome, Running

SEED_WAY = ("-e", "evnode_seed=follow", "-e", "evnode_anchor=false")
# What a fault keeps away is waited for as long as these say; the defaults suit hosts that are only slow.
LIMITS = ("-e", '{"evnode_arm_timeout": 10, "evnode_agree_timeout": 5, "evnode_health_timeout": 30}')
EVENT_LIMIT_S = 120.0
# The longest that a member waits, stopped, for word of the commit, and then some.
END_LIMIT_S = 150.0


class Chaos:
    """Cases, one after the other, in one lab."""

    def __init__(self, lab: Settings, folder: Path) -> None:
        self.lab, self.folder = lab, folder
        self.controller = Controller(lab, folder)
        self.rows: list[tuple[Case, str, float, Sequence[str]]] = []

    def prepare(self) -> None:
        """A new lab with a chain, and everything before the cutover done."""
        fleet.down(self.lab)
        chain.up(self.lab)
        staged = self._play("stage", "--skip-tags", "cutover,verify,finalize")
        if staged.code != 0:
            raise LabError(f"nothing to cut over: {staged.errors()}")

    def case(self, case: Case) -> None:
        """Run one and keep what came of it."""
        begin = time.monotonic()
        wrong: list[str] = []
        ended = "?"
        try:
            ended = self._case(case, wrong)
        except (LabError, RpcError, OSError, AssertionError) as error:
            wrong.append(f"{type(error).__name__}: {str(error).splitlines()[0]}")
        self.rows.append((case, ended, time.monotonic() - begin, wrong))
        print(table(self.rows[-1:]), flush=True)
        self._write()
        if wrong:
            # What the next case would start from cannot be trusted.
            self._keep_logs(case)
            self.prepare()

    def _case(self, case: Case, wrong: list[str]) -> str:
        before = self._so_far()
        known = len(history.events(self.lab, self.lab.host(case.host)))
        run = self.controller.start(f"{case.seed}-cutover", self._arguments("--tags", "cutover"))
        struck = self._await(case, run, known)
        if struck:
            time.sleep(case.delay_s)
            faults.strike(self.lab, case.fault, case.victims, run)
        first = run.wait() if case.fault != "controller killed" else None
        self._until("the end of every window", self._windows, END_LIMIT_S)
        faults.mend(self.lab)
        self._until("the end of every window", self._windows, END_LIMIT_S)
        ended = self._end(before, wrong)
        if first is not None and first.code != 0 and "produces" not in first.text and "runs" not in first.text:
            wrong.append(f"the run did not say who produces: {first.log.name}")
        self._again(case, wrong)
        self._back(case, wrong)
        return ended if struck else f"{ended} (no fault: {case.event} never came)"

    # ---- parts of a case --------------------------------------------------------------------------------------------

    def _await(self, case: Case, run: Running, known: int) -> bool:
        """Wait for the event; False when the run ended without it."""

        def told() -> list[str]:
            return history.events(self.lab, self.lab.host(case.host))[known:]

        def missing() -> str | None:
            return None if case.event in told() or run.ended() else f"{told()}"

        wait_for(f"{case.event} on {case.host}", missing, timeout=EVENT_LIMIT_S, interval=0.005)
        return case.event in told()

    def _windows(self) -> str | None:
        """Who still has a window under way, in words."""
        unit = f"evnode-window-{self.lab.layout.unit}.service"
        busy = [
            host.name
            for host in self.lab.hosts
            if machine.is_on(host)
            and machine.execute(host, ["systemctl", "is-active", unit], check=False).stdout.strip()
            in ("active", "activating", "deactivating")
        ]
        return f"windows on {', '.join(busy)}" if busy else None

    def _end(self, before: Sequence[Block], wrong: list[str]) -> str:
        """Wait until somebody produces, and judge it."""
        start = self._highest()

        def nobody() -> str | None:
            return None if self._highest() > max(start, before[-1].height) + 1 else f"highest block {self._highest()}"

        first = self.lab.hosts[0]
        committed = history.mode(self.lab, first) == "raft"
        quorum = sum(1 for host in self.lab.hosts if history.mode(self.lab, host) == "raft") > len(self.lab.hosts) // 2
        if not committed or quorum:
            self._until("a block", nobody, 60)
        wrong += history.second_writers(self.lab)
        wrong += self._lost(before)
        if not committed:
            members = [host.name for host in self.lab.hosts if history.mode(self.lab, host) == "raft"]
            wrong += [f"{name} is a member" for name in members]
            return "single"
        # Windows that were killed leave their joiners following: the same command brings them in.
        return "cluster" if quorum else "waiting"

    def _again(self, case: Case, wrong: list[str]) -> None:
        """The same command once more has to finish the job."""
        outcome = self._play(f"{case.seed}-again", "--tags", "sync,cutover,verify")
        if outcome.code != 0:
            wrong.append(f"the second run failed: {outcome.errors(6)}")
            return
        receipt = history.receipt(self.lab, self.lab.hosts[0])
        wrong += history.cluster_problems(self.lab, receipt["n"], receipt["hash"])

    def _back(self, case: Case, wrong: list[str]) -> None:
        """And the way back has to keep every block."""
        made = self._so_far(self.lab.hosts[1].name)
        outcome = self._play(f"{case.seed}-back", "--tags", "rollback")
        if outcome.code != 0:
            wrong.append(f"the rollback failed: {outcome.errors(6)}")
            return
        wrong += history.single_problems(self.lab, made, cluster=True)
        pause = history.longest_pause_s(self.lab, self.lab.hosts[0], made[-1].height)
        print(f"  rollback: {pause:.2f} s without a block", flush=True)

    # ---- looking ----------------------------------------------------------------------------------------------------

    def _so_far(self, name: str = "node-1") -> list[Block]:
        host = self.lab.host(name)
        return history.blocks(self.lab, host, 1, history.height(self.lab, host) or 0)

    def _highest(self) -> int:
        return max((history.height(self.lab, host) or 0) for host in self.lab.hosts)

    def _lost(self, before: Sequence[Block]) -> list[str]:
        """Blocks of before that are not what they were, on any host that answers."""
        words = []
        for host in self.lab.hosts:
            tip = history.height(self.lab, host)
            if tip is None:
                continue
            for old, now in zip(before, history.blocks(self.lab, host, 1, min(tip, before[-1].height)), strict=False):
                if old.header != now.header:
                    words.append(f"block {old.height} on {host.name} is not what it was")
                    break
        return words

    @staticmethod
    def _until(what: str, missing: Callable[[], str | None], limit: float) -> None:
        wait_for(what, missing, timeout=limit, interval=0.2)

    # ---- running ----------------------------------------------------------------------------------------------------

    def _arguments(self, *more: str) -> list[str]:
        return [*SEED_WAY, *LIMITS, *more]

    def _play(self, name: str, *more: str) -> Outcome:
        return self.controller.run(name, *self._arguments(*more))

    def _keep_logs(self, case: Case) -> None:
        """What the hosts wrote, before they are made anew."""
        for host in self.lab.hosts:
            if machine.is_on(host):
                text = machine.execute(host, ["journalctl", "--no-pager", "--lines=3000"], check=False).stdout
                (self.folder / f"{case.seed}-{host.name}.journal").write_text(text, encoding="utf-8")

    def _write(self) -> None:
        rows: list[dict[str, Any]] = [
            {**case._asdict(), "ended": ended, "seconds": round(seconds, 1), "violations": list(wrong)}
            for case, ended, seconds, wrong in self.rows
        ]
        (self.folder / "result.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the cases of some seeds; 0 when nothing was violated in any."""
    parser = argparse.ArgumentParser(prog="python -m lab.chaos", description=__doc__)
    parser.add_argument("--cases", type=int, default=int(os.environ.get("N") or 10), help="how many (N)")
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED") or 0), help="of the first case (SEED)")
    chosen = parser.parse_args(argv)
    lab = from_environment()
    folder = CHECKOUT / "build" / "chaos"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    chaos = Chaos(lab, folder)
    try:
        chaos.prepare()
        for seed in range(chosen.seed, chosen.seed + chosen.cases):
            chaos.case(draw(seed))
    finally:
        fleet.down(lab)
        print(f"\n{table(chaos.rows)}\n", flush=True)
    bad = [case.seed for case, _ended, _seconds, wrong in chaos.rows if wrong]
    print(f"{len(chaos.rows)} cases, {len(bad)} with a violation{f': seeds {bad}' if bad else ''}")
    return 1 if bad or len(chaos.rows) < chosen.cases else 0


if __name__ == "__main__":
    sys.exit(main())
