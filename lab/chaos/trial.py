# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One lab in which one case after the other is tried, each from a saved state of all hosts.

A case is: a run, a fault at an event of some member's journal, everything mended once the run and the windows have
ended, an end state waited for and judged, and a second run, which has to finish the job or to take it back.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lab import chain, fleet, machine
from lab.chaos import faults
from lab.chaos.cases import CONTROLLER, MAYBE, PLACES, Case, Row
from lab.errors import LabError
from lab.rpc import Block
from lab.settings import Host, Settings
from lab.shell import wait_for
from lab.trial import history
from lab.trial.play import Controller, Outcome, Running

# What a fault keeps away is waited for as long as these say; the defaults suit hosts that are only slow.
LIMITS = {
    "evnode_arm_timeout": 10,
    "evnode_agree_timeout": 5,
    "evnode_health_timeout": 30,
    "evnode_follow_timeout": 30,
    "evnode_resume_timeout": 30,
}
ROLLBACK = ("--tags", "rollback")
# What leads on from a starting point, and what finishes the job after it was hit: the stages that are not done yet.
RUN = {
    "single": ("--skip-tags", "preflight,plan,cutover,verify,finalize"),
    "staged": ("--tags", "cutover,verify,finalize"),
    "cluster": ROLLBACK,
}
FINISH = {
    # Preflight too: what a run that was hit has left on the hosts may not stand in the way of the next one.
    "single": ("--skip-tags", "plan,finalize"),
    "staged": ("--tags", "sync,cutover,verify"),
    "cluster": ("--tags", "sync,cutover,verify"),
}
EVENT_LIMIT_S = 240.0
# The longest that a member waits, stopped, for word of the commit, and then some.
END_LIMIT_S = 150.0
# A stopped cluster starts again by itself, then has to elect a leader.
PRODUCE_LIMIT_S = 90.0
# A run that fails has to say how it left the chain, or that it could not even begin.
_SAYS = re.compile(r"produces|as before|not touched|[Nn]othing was changed|[Rr]un (the same command |rollback )?again")
# What a run that has done its job leaves, and what one that failed may say: then it has to be so.
_LEFT = {"single": "single", "staged": "cluster", "cluster": "single"}
_SAID = {"single sequencer produces": "single", "members run as before": "cluster"}


_own: Trial | None = None


def begin(free: multiprocessing.SimpleQueue[tuple[Settings, Path]]) -> None:
    """Take one of the free labs for this process."""
    global _own
    _own = own = Trial(*free.get())

    def end(*_what: object) -> None:
        try:
            own.abandon()
        finally:
            # An exception would end the case only, and the pool would go on with the next one.
            os._exit(1)

    signal.signal(signal.SIGTERM, end)


def run(case: Case) -> Row:
    """Run a case in the lab of this process."""
    if _own is None:
        raise RuntimeError("this process has taken no lab")
    return _own.case(case)


class Trial:
    """Cases, one after the other, in one lab."""

    def __init__(self, lab: Settings, folder: Path) -> None:
        self.lab, self.folder = lab, folder
        folder.mkdir(parents=True)
        self.controller = Controller(lab, folder)
        self._saved: set[str] = set()
        self._now: Running | None = None

    def case(self, case: Case) -> Row:
        """Run one."""
        begin = time.monotonic()
        wrong: list[str] = []
        ended, pause = "?", None
        try:
            self.start_from(case.place.start)
            ended, pause = self._case(case, wrong)
        except Exception as error:
            # One case that goes astray, in whatever way, is one row of the table and not the end of all.
            wrong.append(f"{type(error).__name__}: {str(error).splitlines()[0]}")
        if wrong:
            self._keep_logs(case)
        return Row(case, ended, time.monotonic() - begin, pause, wrong)

    def abandon(self) -> None:
        """End the playbook that runs, if one does."""
        if self._now is not None:
            self._now.kill()

    # ---- starting points --------------------------------------------------------------------------------------------

    def start_from(self, name: str) -> None:
        """Put the hosts where a case starts from; the first time, go there and save it."""
        if name not in self._saved:
            self._make(name)
        try:
            self._restore(name)
        except LabError:
            # ev-node can wedge where five members start at once: a member that is elected while it still waits for its
            # peers leads and makes nothing, without a word. That is no fault of the run that is about to be tried.
            self._restore(name)

    def _restore(self, name: str) -> None:
        chain.restore(self.lab, name)
        unit = f"{self.lab.layout.unit}.service"
        hosts = self.lab.hosts[:1] if name == "single" else self.lab.hosts
        # Before the cutover a follower is not started by a boot.
        fleet.each(hosts, lambda host: machine.execute(host, ["systemctl", "start", unit]))
        history.wait_for_height(self.lab, 1, hosts)
        history.wait_for_height(self.lab, self._highest() + 1, hosts)

    def keep(self, name: str) -> None:
        """Let later cases start from the hosts as they are."""
        fleet.save(self.lab, name)
        self._saved.add(name)

    def _make(self, name: str) -> None:
        if name == "single":
            fleet.down(self.lab)
            chain.up(self.lab)
        else:
            before, run = ("single", RUN["single"]) if name == "staged" else ("staged", RUN["staged"])
            self.start_from(before)
            known = self._told()
            outcome = self.play(f"make-{name}", *run)
            if outcome.code != 0:
                raise LabError(f"no starting point {name}: {outcome.errors()}")
            self._check_places(before, known)
        self.keep(name)
        if name == "cluster":
            known = self._told()
            outcome = self.play("undisturbed-rollback", *ROLLBACK)
            if outcome.code != 0:
                raise LabError(f"no way back from an undisturbed cluster: {outcome.errors()}")
            self._check_places(name, known)

    def _told(self) -> dict[str, int]:
        """How much each host has written into its journal."""
        return {host.name: len(history.events(self.lab, host)) for host in self.lab.hosts}

    def _check_places(self, start: str, known: Mapping[str, int]) -> None:
        """Every event of an undisturbed run is a place of a case, and the other way round."""
        for name in ("node-1", "node-2"):
            told = set(history.events(self.lab, self.lab.host(name))[known[name] :])
            places = {place.event for place in PLACES if (place.start, place.host) == (start, name)}
            if told - MAYBE != places - MAYBE:
                raise LabError(f"from {start}, {name} writes {sorted(told)}, the places of cases are {sorted(places)}")

    # ---- a case -----------------------------------------------------------------------------------------------------

    def _case(self, case: Case, wrong: list[str]) -> tuple[str, float | None]:
        before = self.so_far()
        faults.arrange(self.lab, case.fault, case.victims)
        watched = self.lab.host(case.place.host)
        known = len(history.events(self.lab, watched))
        run = self._start(f"{case.seed}-first", *RUN[case.place.start])
        try:
            struck = self._await(case, run, known)
            if struck:
                time.sleep(case.delay_s)
                faults.strike(self.lab, case.fault, case.victims, run)
            first = None if case.fault == CONTROLLER else run.wait()
        finally:
            run.kill()
        self._until("the end of every window", self._windows, END_LIMIT_S)
        faults.mend(self.lab, case.fault, case.victims)
        self._until("the end of every window", self._windows, END_LIMIT_S)
        ended = self._end(before, wrong)
        if not struck and case.place.event not in MAYBE:
            wrong.append(f"{case.place.event} never came, so there was no fault")
        if first is not None:
            wrong += untrue(case, first, ended)
        self._then(case, before, wrong)
        top, height = self._top()
        first_known = before[-1].height
        pause = history.longest_pause_s(self.lab, top, first_known) if height > first_known else None
        return (ended if struck else f"{ended} (no fault: {case.place.event} never came)"), pause

    def _await(self, case: Case, run: Running, known: int) -> bool:
        """Wait for the event; False when the run ended without it."""
        host = self.lab.host(case.place.host)

        def told() -> list[str]:
            return history.events(self.lab, host)[known:]

        def missing() -> str | None:
            return None if case.place.event in told() or run.ended() else f"{told()}"

        wait_for(f"{case.place.event} on {host.name}", missing, timeout=EVENT_LIMIT_S, interval=0.01)
        return case.place.event in told()

    def _windows(self) -> str | None:
        """Who still has a window under way, in words."""
        unit = faults.window_unit(self.lab)
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
        start = max(self._highest(), before[-1].height)

        def nobody() -> str | None:
            return None if self._highest() > start + 1 else f"highest block {self._highest()}, modes {self._modes()}"

        try:
            self._until("a block", nobody, PRODUCE_LIMIT_S)
        except LabError as error:
            wrong.append(f"nobody produces: {error}")
        wrong += history.second_writers(self.lab) + history.shut_out(self.lab)
        wrong += self._lost(before)
        members = [name for name, mode in self._modes().items() if mode == "raft"]
        if "node-1" not in members:
            wrong += [f"{name} is a member beside the single sequencer" for name in members]
            return "single"
        return "cluster"

    def _then(self, case: Case, before: Sequence[Block], wrong: list[str]) -> None:
        """The second run has to finish the job, or to take it back, and to keep every block."""
        made = self.so_far() or before
        onwards = case.then == "migrate" or (case.then == "the same again" and case.place.start != "cluster")
        outcome = self.play(f"{case.seed}-then", *(FINISH[case.place.start] if onwards else ROLLBACK))
        if outcome.code != 0:
            wrong.append(f"the second run failed: {outcome.errors(6)}")
        elif onwards:
            # Of a host whose disk was full at that moment there may be none.
            receipts = (history.receipt(self.lab, host) for host in self.lab.hosts)
            receipt = next((told for told in receipts if told.get("n") is not None), None)
            if receipt is None:
                raise LabError("no host has a receipt that tells block N")
            wrong += history.cluster_problems(self.lab, receipt["n"], receipt["hash"])
            history.wait_for_height(self.lab, made[-1].height)
            wrong += self._lost(made)
        else:
            wrong += history.single_problems(self.lab, made, cluster=True)

    # ---- looking ----------------------------------------------------------------------------------------------------

    def so_far(self) -> list[Block]:
        """All blocks, out of the store that has most."""
        host, height = self._top()
        return history.blocks(self.lab, host, 1, height)

    def _top(self) -> tuple[Host, int]:
        """The host whose store has most, and its height; 0 where nobody answers."""
        heights = {host: history.height(self.lab, host) or 0 for host in self.lab.hosts}
        host: Host = max(heights, key=lambda host: heights[host])
        return host, heights[host]

    def _highest(self) -> int:
        return self._top()[1]

    def _modes(self) -> dict[str, str | None]:
        return {host.name: history.mode(self.lab, host) for host in self.lab.hosts}

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

    def _start(self, name: str, *more: str) -> Running:
        chosen = {
            "evnode_seed": "follow",
            "evnode_anchor": False,
            "evnode_intake_ports": [self.lab.layout.ports["app"]],
        }
        self._now = self.controller.start(name, ["-e", json.dumps({**chosen, **LIMITS}), *more])
        return self._now

    def play(self, name: str, *more: str) -> Outcome:
        """Run stages to their end."""
        return self._start(name, *more).wait()

    def _keep_logs(self, case: Case) -> None:
        """What the hosts wrote, before they are put back."""
        for host in self.lab.hosts:
            if machine.is_on(host):
                text = machine.execute(host, ["journalctl", "--no-pager", "--lines=3000"], check=False).stdout
                (self.folder / f"{case.seed}-{host.name}.journal").write_text(text, encoding="utf-8")


def untrue(case: Case, first: Outcome, ended: str) -> list[str]:
    """What a run that was hit, and ended by itself, told otherwise than it was."""
    if first.code == 0:
        words = f"the run said that all was well and left a chain that is {ended}: {first.log.name}"
        return [] if ended == _LEFT[case.place.start] else [words]
    if not _SAYS.search(first.text):
        return [f"the run did not say how it left the chain: {first.log.name}"]
    said = {meant for words, meant in _SAID.items() if words in first.text}
    return [] if said <= {ended} else [f"the run said {', '.join(sorted(said))}, and it was {ended}: {first.log.name}"]
