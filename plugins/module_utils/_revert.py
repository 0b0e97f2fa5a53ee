# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.
"""Take one member back to what it was before the cutover.

With everything stopped nobody can produce. With the joiners held no quorum of a cluster can start unless the sequencer
starts as a member of it. Only then the sequencer is cleaned, which it is by the turn of its switch, and starts alone;
the joiners are cleaned after that. A member that was stopped starts again by itself where the run that stopped it does
not come back: as what its switch says, and a held joiner on proof that the sequencer did so as a member (``_rejoin``).
"""

from __future__ import annotations

import contextlib
import os
import typing as t

from . import _fence, _files, _journal, _rejoin, _systemd
from ._errors import HaError
from ._half_copy import marker_path, unfinished
from ._intake import intake_table, open_intake
from ._mode import ABSENT, current, missing_files, switch
from ._process import run as _run
from ._raft_store import LOG, last_index
from ._rpc import NodeClient, RpcError
from ._seal import raft_dir_trouble, record_path, wipe
from ._units import is_held, window_unit
from ._wait import SYSTEM_CLOCK, Clock, wait_until

if t.TYPE_CHECKING:
    from ._process import Runner

STOPPED = ("inactive", "failed")
SOON = 5.0
"""Seconds until a clean sequencer starts by itself, where nobody does it: one task of the run, and then some."""

LONGEST_LOOK = 5.0
"""Seconds that a stop waits for a block at most, however slow the chain is."""


class RevertError(HaError):
    """A member could not be taken back, or must not be."""


class Revert(t.NamedTuple):
    """One member."""

    unit: str
    sequencer: bool
    config_dir: str
    state_dir: str
    run_dir: str
    raft_dir: str
    follow: bool = True
    rpc_address: str = ""
    block_time: float = 0.0
    above: int = 0
    timeout: float = 60.0
    resume_after: float = 0.0
    run_id: str = "-"
    node_id: str = ""
    leader: str = ""
    leader_address: str = ""
    units: str = "/etc/systemd/system"

    @property
    def service(self) -> str:
        """The unit's full name."""
        return f"{self.unit}.service"

    @property
    def resume_timer(self) -> str:
        """The timer that starts a stopped member again."""
        return f"evnode-resume-{self.unit}.timer"

    @property
    def target(self) -> str:
        """The mode that the member has when it is clean."""
        if self.sequencer:
            return "single"
        # A joiner that was seeded by copying alone never had a follower's files.
        follows = self.follow and not missing_files(self.config_dir, self.unit, "follower")
        return "follower" if follows else ABSENT

    @property
    def rejoin(self) -> _rejoin.Rejoin:
        """What brings a held joiner back."""
        return _rejoin.Rejoin(
            unit=self.unit,
            config_dir=self.config_dir,
            state_dir=self.state_dir,
            raft_dir=self.raft_dir,
            leader=self.leader,
            address=self.leader_address,
            me=self.node_id,
            run_id=self.run_id,
        )

    @property
    def stopped(self) -> str:
        """Which start of the sequencer's node was its last one when it was stopped; gone after a boot."""
        return os.path.join(self.run_dir, self.unit, "stopped")


class Reverted(t.NamedTuple):
    """What a phase changed (or would), in words, and what was found."""

    changes: list[str]
    state: dict[str, t.Any]


def stop(wanted: Revert, *, check: bool = False, run: Runner = _run, clock: Clock = SYSTEM_CLOCK) -> Reverted:
    """Stop window, sealing and node, in this order: the end of a window starts the node.

    A member of the cluster that ran starts again after ``resume_after`` seconds (0: never), unless it is cleaned first.
    With ``rpc_address`` and ``block_time`` (seconds) it is stopped right after a block, if one comes soon.
    """
    units = [window_unit(wanted.unit), f"evnode-seal-{wanted.unit}.service", wanted.service]
    active = [unit for unit in units if _systemd.active_state(unit, run=run) not in STOPPED]
    if window_unit(wanted.unit) in active and wanted.service not in active:
        active.append(wanted.service)
    if not check:
        due = _take_resume_back(wanted, run)
        if wanted.resume_after > 0 and (due or active) and current(wanted.config_dir, wanted.unit) == "raft":
            # Before the stop, so that there is no moment at which nobody would start it.
            _schedule_resume(wanted, run)
        for unit in units:
            if unit == wanted.service and unit in active and current(wanted.config_dir, wanted.unit) == "raft":
                _await_next_block(wanted, clock)
            if unit in active or unit == wanted.service:
                # The node's own stop is asked for in any case: it also takes a start back that is still waiting.
                _systemd.stop(unit, run=run)
        left = {unit: _systemd.active_state(unit, run=run) for unit in units}
        wrong = [f"{unit} is {state}" for unit, state in left.items() if state not in STOPPED]
        if wrong:
            raise RevertError(f"after the stop {', '.join(wrong)}; nothing else was done on this host")
        if wanted.sequencer:
            # Before any joiner is held, so that no start in between goes unseen.
            _files.make_dirs(os.path.dirname(wanted.stopped), mode=0o700)
            _files.write_atomic(wanted.stopped, _last_start(wanted, run), mode=0o600)
    changes = [f"stop {unit}" for unit in active]
    _note(wanted, "revert_stop", changes, check)
    return Reverted(changes, {"active": bool(active) if check else False})


def hold(wanted: Revert, *, check: bool = False, run: Runner = _run) -> Reverted:
    """Take a joiner out of the cluster, in a way that it can come back from; give the sequencer its full time again.

    Only with all members stopped. What a joiner may ever have heard from the sequencer before counts no more.
    """
    mode = current(wanted.config_dir, wanted.unit)
    held = is_held(wanted.unit, wanted.units)
    comes_back = wanted.resume_after > 0 and (mode == "raft" or held)
    if check:
        return Reverted([] if wanted.sequencer or mode != "raft" else [f"hold {wanted.service}"], {"held": True})
    if wanted.sequencer:
        _expect_stopped(wanted, "hold", run)
        if mode == "raft" and wanted.resume_after > 0:
            _take_resume_back(wanted, run)
            _schedule_resume(wanted, run)
        return Reverted([], {"held": True})
    if comes_back:
        _rejoin.pause(wanted.rejoin, run=run)
        _rejoin.install(wanted.rejoin, units=wanted.units, run=run)
    else:
        _rejoin.remove(wanted.rejoin, units=wanted.units, run=run)
    due = _take_resume_back(wanted, run)
    changes = []
    try:
        _expect_stopped(wanted, "hold", run)
        mode = current(wanted.config_dir, wanted.unit)
        if mode == "raft":
            switch(wanted.config_dir, wanted.unit, wanted.target)
            changes.append(f"switch {mode} -> {wanted.target}")
        if comes_back:
            _rejoin.begin(wanted.rejoin, run=run)
    except HaError:
        # Neither held nor asking: it has to stay what it was, or nobody brings it back before the next boot.
        if changes:
            switch(wanted.config_dir, wanted.unit, "raft")
        if due and wanted.resume_after > 0:
            _schedule_resume(wanted, run)
        raise
    _note(wanted, "revert_hold", changes, check)
    return Reverted(changes, {"held": True})


def clean(wanted: Revert, *, check: bool = False, run: Runner = _run) -> Reverted:
    """Take away everything that could make this member part of the cluster again."""
    # First, because it must not come between the look at the unit and the turn of the switch.
    due = not check and _take_resume_back(wanted, run)
    if not wanted.sequencer and not check:
        # Gone only when everything else is: what fails before leaves a joiner that the next run knows to be held.
        _rejoin.pause(wanted.rejoin, run=run)
    try:
        done = _clean(wanted, check, run)
    except HaError:
        # The sequencer has to produce again as what it is by now; a joiner that is no member any more has not.
        if due and wanted.resume_after > 0 and (wanted.sequencer or current(wanted.config_dir, wanted.unit) == "raft"):
            _schedule_resume(wanted, run)
        raise
    if wanted.sequencer and not check:
        _files.remove_files([wanted.stopped])
    if not wanted.sequencer and not check and _rejoin.remove(wanted.rejoin, units=wanted.units, run=run):
        done.changes.append(f"remove {wanted.rejoin.name}")
    if wanted.sequencer and wanted.resume_after > 0 and not check:
        # Nothing has to be waited for any more: it starts as what it is now, should the run not live to start it.
        _schedule_resume(wanted._replace(resume_after=min(wanted.resume_after, SOON)), run)
    return done


def _clean(wanted: Revert, check: bool, run: Runner) -> Reverted:
    mode = current(wanted.config_dir, wanted.unit)
    if not check:
        _expect_stopped(wanted, "clean", run)
    # A log that is being written reads as anything, and check mode has stopped nothing.
    is_stopped = not check or _systemd.active_state(wanted.service, run=run) in STOPPED
    index = last_index(os.path.join(wanted.raft_dir, LOG)) if is_stopped else None
    filled = os.path.isdir(wanted.raft_dir) and bool(os.listdir(wanted.raft_dir))
    trouble = raft_dir_trouble(wanted.raft_dir) if filled else ""
    if trouble and wanted.sequencer:
        # Nobody else produces, so what will fail has to fail before the turn.
        raise RevertError(trouble)
    if wanted.sequencer and not check:
        # Once the switch is turned, its unit gets back what it was, without the condition that keeps it from starting.
        _expect_whole(wanted)
    changes = []
    seal = record_path(wanted.state_dir, wanted.unit)
    leaves = wanted.sequencer and mode == "raft"
    with contextlib.ExitStack() as fenced:
        if leaves and not check:
            # A start between the look and the turn would read the old switch, and held joiners would hear it.
            fenced.enter_context(_fence.raised(wanted.unit, wanted.run_dir))
            _expect_stopped(wanted, "clean", run)
            _expect_still(wanted, run)
        # The switch first: killed after it, this member cannot come back as part of a cluster.
        if mode != wanted.target:
            changes.append(f"switch {mode} -> {wanted.target}")
            if not check:
                switch(wanted.config_dir, wanted.unit, wanted.target)
    pending = os.path.join(wanted.config_dir, wanted.unit, "current.commit")
    if os.path.lexists(pending):
        changes.append(f"remove {pending}")
        if not check:
            _files.remove_files([pending])
    if trouble:
        raise RevertError(trouble)
    if filled:
        changes.append(f"empty {wanted.raft_dir}" + (f" (last Raft index {index})" if index is not None else ""))
        if not check:
            wipe(wanted.raft_dir)
    if os.path.exists(seal):
        changes.append(f"remove {seal}")
        if not check:
            _files.remove_files([seal])
    if not wanted.sequencer and _enabled(wanted, run):
        changes.append(f"disable {wanted.service}")
        if not check:
            done = run(["systemctl", "disable", "--", wanted.service], timeout=60)
            if done.rc != 0:
                raise RevertError(f"systemctl disable {wanted.service} failed: {done.stderr.strip()}")
    _note(wanted, "revert_clean", changes, check)
    return Reverted(changes, {"mode": wanted.target, "last_index": index})


def release(wanted: Revert, *, check: bool = False, run: Runner = _run) -> Reverted:
    """Clean a joiner that a rollback has held and could not clean; only where the sequencer is the single one again."""
    if not is_held(wanted.unit, wanted.units):
        return Reverted([], {})
    stopped = stop(wanted, check=check, run=run)
    cleaned = clean(wanted, check=check, run=run)
    return Reverted([*stopped.changes, *cleaned.changes], cleaned.state)


def start(wanted: Revert, *, check: bool = False, run: Runner = _run, clock: Clock = SYSTEM_CLOCK) -> Reverted:
    """Start the single sequencer (or the follower), lift the fence, open the intake, and wait until it goes on."""
    mode = current(wanted.config_dir, wanted.unit)
    # A sequencer whose switch has been taken away again runs what its own unit says.
    fits = mode == wanted.target or (wanted.sequencer and mode == ABSENT)
    if check:
        running = _systemd.active_state(wanted.service, run=run) == "active" and fits
        return Reverted([] if running else [f"start {wanted.service}"], {})
    if not fits:
        raise RevertError(
            f"{wanted.service} is in mode {mode}, expected {wanted.target}; phase clean comes before start"
        )
    if mode == ABSENT and not wanted.sequencer:
        return Reverted([], {"height": None})
    _expect_whole(wanted)
    changes = []
    _take_resume_back(wanted, run)
    changes += _fence.lift(wanted.unit, wanted.config_dir, wanted.run_dir, run=run)
    changes += _start_node(wanted, False, run)
    if wanted.sequencer:
        open_intake(intake_table(wanted.unit), run=run)
    height = _await_blocks(wanted, run, clock) if wanted.rpc_address else None
    _note(wanted, "revert_start", changes, check)
    return Reverted(changes, {"height": height})


def resume(wanted: Revert, *, check: bool = False, run: Runner = _run) -> Reverted:
    """Start a stopped member again as what it was."""
    if not check:
        _take_resume_back(wanted, run)
    if is_held(wanted.unit, wanted.units):
        return Reverted([], {})
    _expect_whole(wanted)
    changes = [] if check else _fence.lift(wanted.unit, wanted.config_dir, wanted.run_dir, run=run)
    changes += _start_node(wanted, check, run)
    _note(wanted, "revert_resume", changes, check)
    return Reverted(changes, {})


def _last_start(wanted: Revert, run: Runner) -> bytes:
    return _systemd.show(wanted.service, ["InvocationID"], run=run).get("InvocationID", "").encode()


def _expect_still(wanted: Revert, run: Runner) -> None:
    """Refuse where the node may have answered held joiners: they come back, and it must not leave them."""
    if _files.read_bytes(wanted.stopped) != _last_start(wanted, run):
        raise RevertError(
            f"expected {wanted.service} to have stood still since phase stop, found that it was started, or its host "
            "booted, since then: it goes on as a member, and the others come back to it. Run rollback again"
        )


def _expect_whole(wanted: Revert) -> None:
    """Refuse where the node would run on half a copy: systemd would not start it, and would not call that a failure."""
    own = os.path.join(wanted.state_dir, wanted.unit)
    half = unfinished(own)
    if half:
        cure = (
            "run rollback again, which copies it anew from a member that holds all of it"
            if wanted.sequencer
            else f"finish the copy, or empty that directory and remove {marker_path(own)}"
        )
        raise RevertError(
            f"expected a whole store for {wanted.service}, found {', '.join(sorted(half))}, whose copy was begun and "
            f"never proven equal, so it was not started; {cure}"
        )


def _expect_stopped(wanted: Revert, phase: str, run: Runner) -> None:
    running = _systemd.active_state(wanted.service, run=run)
    if running not in STOPPED:
        raise RevertError(f"{wanted.service} is {running}; phase stop has to be done on all members before {phase}")


def _start_node(wanted: Revert, check: bool, run: Runner) -> list[str]:
    if _systemd.active_state(wanted.service, run=run) == "active":
        return []
    if not check:
        _systemd.reset_failed(wanted.service, run=run)
        _systemd.start(wanted.service, run=run)
    return [f"start {wanted.service}"]


def _schedule_resume(wanted: Revert, run: Runner) -> None:
    name = wanted.resume_timer.removesuffix(".timer")
    argv = ["systemd-run", "--quiet", "--collect", f"--unit={name}", f"--on-active={wanted.resume_after:g}s"]
    argv += ["--timer-property=AccuracySec=1s", "--", "systemctl", "start", "--no-block", "--", wanted.service]
    done = run(argv, timeout=60)
    if done.rc != 0:
        raise RevertError(f"systemd-run failed for {wanted.resume_timer}: {done.stderr.strip()}")


def _take_resume_back(wanted: Revert, run: Runner) -> bool:
    """Whether one was due."""
    due = _systemd.active_state(wanted.resume_timer, run=run) == "active"
    if due:
        _systemd.stop(wanted.resume_timer, run=run)
    # One that has just elapsed may be about to ask for the start.
    asking = wanted.resume_timer.replace(".timer", ".service")
    if _systemd.active_state(asking, run=run) not in STOPPED:
        _systemd.stop(asking, run=run)
        due = True
    return due


def _await_next_block(wanted: Revert, clock: Clock) -> None:
    """Wait, not for long, until the node has committed a block, so that the next one is a whole block time away.

    A node that is stopped between the cluster's agreement on a block and its own commit is below the height that Raft
    knows when it starts again, and ev-node does not keep such a node from leading: it would make that height again.
    """
    if not wanted.rpc_address or wanted.block_time <= 0:
        return
    node = NodeClient(wanted.rpc_address)

    def height() -> int | None:
        try:
            return int(node.state()["height"])
        except RpcError:
            return None

    first = height()
    if first is not None:
        limit = min(1.2 * wanted.block_time + 0.2, LONGEST_LOOK)
        wait_until(height, lambda seen: seen is None or seen > first, timeout=limit, interval=0.02, clock=clock)


def _await_blocks(wanted: Revert, run: Runner, clock: Clock) -> int:
    """Wait for a new block above ``above`` (a follower: for any answer)."""
    node = NodeClient(wanted.rpc_address)

    def probe() -> tuple[int, str]:
        try:
            height = int(node.state()["height"])
        except RpcError as exc:
            return -1, f"unit {_systemd.active_state(wanted.service, run=run)}, {exc.message}"
        return height, f"height {height}"

    seen_first: list[int] = []

    def goes_on(seen: tuple[int, str]) -> bool:
        if seen[0] < 0:
            return False
        seen_first.append(seen[0])
        # Answering is not producing: the sequencer has to add a block to what it came back with.
        return not wanted.sequencer or seen[0] > max(wanted.above, seen_first[0])

    result = wait_until(probe, goes_on, timeout=wanted.timeout, interval=0.1, clock=clock)
    if not result.ok:
        needed = max(wanted.above, seen_first[0] if seen_first else 0)
        log = " / ".join(_systemd.unit_log(wanted.service, lines=5, run=run))
        raise RevertError(
            f"{wanted.service} did not go on above height {needed} within {wanted.timeout:g} s: {result.last[1]}; "
            f"its log ends with: {log[-900:]}"
        )
    return int(result.last[0])


def _enabled(wanted: Revert, run: Runner) -> bool:
    return run(["systemctl", "is-enabled", "--", wanted.service]).stdout.strip() == "enabled"


def _note(wanted: Revert, event: str, changes: list[str], check: bool) -> None:
    if changes and not check:
        path = os.path.join(wanted.state_dir, wanted.unit, "journal.jsonl")
        _journal.append(path, wanted.run_id, event, {"changes": changes})
