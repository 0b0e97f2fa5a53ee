# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""Stop the sequencer for a moment, with the host itself starting it again if nobody else does."""

from __future__ import annotations

import typing as t

from . import _systemd
from ._process import run as _run
from ._systemd import UnitError

if t.TYPE_CHECKING:
    from ._process import Runner


def timer_unit(unit: str) -> str:
    """Return the name of the transient timer that ends the pause."""
    return f"evnode-pause-{unit}"


def is_paused(unit: str, *, run: Runner = _run) -> bool:
    """Tell whether a pause of this unit is under way."""
    return _systemd.active_state(f"{timer_unit(unit)}.timer", run=run) == "active"


def pause(unit: str, limit: int, *, run: Runner = _run) -> bool:
    """Stop the unit; systemd starts it again after ``limit`` seconds whatever happens to the caller.

    The timer is armed before the stop, so there is no instant at which the stop is not bounded.
    """
    if _systemd.active_state(f"{unit}.service", run=run) != "active":
        if is_paused(unit, run=run):
            return False
        raise UnitError(f"Expected {unit}.service to run, found it stopped; start the chain first")
    armed = run(
        [
            "systemd-run",
            f"--unit={timer_unit(unit)}",
            f"--on-active={limit}s",
            "--timer-property=AccuracySec=100ms",
            "--collect",
            "systemctl",
            "start",
            f"{unit}.service",
        ]
    )
    if armed.rc != 0:
        raise UnitError(f"The timer that would start {unit}.service again cannot be armed: {armed.stderr.strip()}")
    _systemd.stop(f"{unit}.service", run=run)
    return True


def resume(unit: str, *, run: Runner = _run) -> bool:
    """Start the unit and drop the timer; True if the unit had to be started."""
    started = _systemd.active_state(f"{unit}.service", run=run) != "active"
    if started:
        _systemd.start(f"{unit}.service", run=run)
    if is_paused(unit, run=run):
        _systemd.stop(f"{timer_unit(unit)}.timer", run=run)
    return started
