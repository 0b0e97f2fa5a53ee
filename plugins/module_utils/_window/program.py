# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.
"""The process of a window: reads its settings and its key, runs the machine, leaves a receipt."""

from __future__ import annotations

import asyncio
import json
import os
import typing as t

from .. import _files, _journal
from .._errors import HaError
from . import coordinator, participant
from .host import Coordinator, Participant, Settings
from .protocol import Driver, Plan
from .runtime import CoordinatorRuntime, Outcome, ParticipantRuntime, boot_clock

RECEIPT = "window-receipt.json"


def main(argv: list[str]) -> int:
    """Run the window whose settings file is the only argument; programs read the receipt, not the exit code."""
    with open(argv[0], encoding="utf-8") as handle:
        settings = Settings.load(json.load(handle))
    key_path = os.path.join(os.path.dirname(argv[0]), "key")
    key = _files.read_bytes(key_path) or b""
    _files.remove_files([key_path])
    window = Window(settings)
    if len(key) < 16:
        window.finish("failed", f"{key_path} holds no key; it is read once, start the window again")
        return 1
    try:
        outcome = asyncio.run(window.serve(key))
    except (HaError, OSError) as exc:
        window.fail(exc.message if isinstance(exc, HaError) else f"{settings.own_raft_address}: {exc}")
        return 1
    finally:
        if isinstance(window.machine, Participant):
            window.machine.close()
    return 0 if outcome.outcome == "committed" else 1


class Window:
    """One window on one machine."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.state_dir = settings.own_state
        self.opened = boot_clock()
        self.receipt: dict[str, t.Any] = {
            "run": settings.run,
            "role": settings.role,
            "member": settings.member,
            "final": False,
            "outcome": "running",
            "reason": "",
            "n": None,
            "hash": None,
            "parts": {},
        }
        kind = Coordinator if settings.role == "coordinator" else Participant
        self.machine: Coordinator | Participant = kind(settings, journal=self.journal)
        self.marks: dict[str, float] = {}

    def journal(self, event: str, facts: dict[str, t.Any]) -> None:
        """Append to the member's journal."""
        _journal.append(os.path.join(self.state_dir, "journal.jsonl"), self.settings.run, event, facts)

    def write(self) -> None:
        """Put the receipt on disk."""
        data = (json.dumps(self.receipt, sort_keys=True) + "\n").encode()
        _files.make_dirs(self.state_dir, mode=0o700)
        _files.write_atomic(os.path.join(self.state_dir, RECEIPT), data, mode=0o600)

    def plan(self) -> Plan:
        """Return what the machine has to know."""
        wanted = self.settings
        ids = tuple(str(member["node_id"]) for member in wanted.members if member.get("voter", True))
        return Plan(
            me=wanted.member,
            coordinator=wanted.coordinator,
            participants=tuple(sorted(member for member in ids if member != wanted.coordinator)),
            seed=wanted.seed,
            require_all=wanted.require_all,
            clients=bool(wanted.execution_rpc),
            intake=bool(wanted.intake_ports) and wanted.role == "coordinator",
            max_lag=wanted.max_lag,
            fingerprints=tuple(sorted((str(name), str(value)) for name, value in wanted.fingerprints.items())),
            limits=wanted.limits,
        )

    async def serve(self, key: bytes) -> Outcome:
        """Run to the end."""
        self.machine.check()
        if isinstance(self.machine, Participant):
            # From the commit on a boot has to bring this member back, seen healthy or not; before it a follower.
            self.machine.enable()
        self.write()
        plan = self.plan()
        if isinstance(self.machine, Coordinator):
            driver: Driver[t.Any] = Driver(coordinator.step, plan, coordinator.initial(plan))
            address = _address(self.settings.own_raft_address)
            runtime: CoordinatorRuntime | ParticipantRuntime = CoordinatorRuntime(
                driver, self.machine, run=self.settings.run, key=key, address=address, journal=self.journal
            )
        else:
            driver = Driver(participant.step, plan, participant.initial(plan))
            address = _address(self.settings.raft_address)
            runtime = ParticipantRuntime(
                driver, self.machine, run=self.settings.run, key=key, address=address, journal=self.journal
            )
        self.marks = runtime.marks
        return await runtime.serve(lambda outcome: self.ended(outcome, driver))

    def ended(self, outcome: Outcome, driver: Driver[t.Any]) -> None:
        """Write the outcome at once, then what the following seconds show."""
        state = driver.state
        self.receipt.update(outcome=outcome.outcome, reason=outcome.reason, n=state.n or None, hash=state.hash or None)
        if getattr(state, "digest", ""):
            self.receipt["digest"] = state.digest
        self.receipt["parts"] = self.parts()
        self.write()
        if outcome.outcome == "committed":
            self.receipt["started_at"] = self.machine.started_at()
            self.receipt.update(self.machine.settle(state.n, state.hash))
            if isinstance(self.machine, Coordinator) and self.receipt.get("healthy"):
                self.machine.open_intake()
        elif isinstance(self.machine, Coordinator):
            self.receipt.update(self.machine.producing_again(state.n))
        self.finish(outcome.outcome, outcome.reason or str(self.receipt.get("problem", "")))

    def fail(self, reason: str) -> None:
        """End with an error; what has been decided before it stays decided."""
        decided = str(self.receipt["outcome"])
        if decided == "running":
            self.finish("failed", reason)
        else:
            self.receipt.update(healthy=False, problem=reason)
            self.finish(decided, str(self.receipt["reason"]) or reason)

    def finish(self, outcome: str, reason: str) -> None:
        """Write the last receipt and the journal's last word."""
        self.receipt.update(outcome=outcome, reason=reason, parts=self.parts(), final=True)
        self.journal(
            "window_closed", {name: self.receipt[name] for name in ("outcome", "reason", "n", "hash", "parts")}
        )
        self.write()

    def parts(self) -> dict[str, float]:
        """Return how long each part took, in seconds."""
        marks = {**self.marks, **self.machine.marks}
        spans = {
            "arm_s": ("opened", "freeze"),
            "wait_block_s": ("freeze", "block"),
            "stop_s": ("block", "stopped"),
            "last_block_s": ("block", "frozen"),
            "prove_s": ("stopped", "proven"),
            "agree_s": ("frozen", "agreed"),
            "commit_s": ("agreed", "committed"),
            "start_s": ("committed", "started"),
            "reach_s": ("asked", "reached"),
            "follower_stop_s": ("reached", "stopped"),
            "copy_s": ("asked", "copied"),
            "match_s": ("asked", "matched"),
            "hold_s": ("matched", "told"),
            "member_start_s": ("told", "started"),
            "first_block_s": ("started", "first_block"),
            "thaw_s": ("frozen", "thawed"),
        }
        marks["opened"] = self.opened
        if isinstance(self.machine, Participant):
            for name in ("block", "freeze"):
                marks.pop(name, None)
        return {
            name: round(marks[end] - marks[begin], 4)
            for name, (begin, end) in spans.items()
            if begin in marks and end in marks and marks[end] >= marks[begin]
        }


def _address(text: str) -> tuple[str, int]:
    host, _colon, port = text.rpartition(":")
    return host.strip("[]"), int(port)
