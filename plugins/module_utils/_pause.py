# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""Stop the sequencer for a moment, with the host itself starting it again if nobody else does.

An execution client stops after its node and answers before its node starts: a node without its client ends at once.
"""

from __future__ import annotations

import shlex
import typing as t

from . import _client_service, _systemd
from ._process import run as _run
from ._systemd import UnitError
from ._wait import SYSTEM_CLOCK

if t.TYPE_CHECKING:
    from ._client_service import Client
    from ._process import Runner
    from ._wait import Clock

# The host's own way back knows no more than systemctl: a node that ended without its client is started again.
_WAY_BACK_S = 300


def timer_unit(unit: str) -> str:
    """Return the name of the transient timer that ends the pause."""
    return f"evnode-pause-{unit}"


def is_paused(unit: str, *, run: Runner = _run) -> bool:
    """Tell whether a pause of this unit is under way."""
    return _systemd.active_state(f"{timer_unit(unit)}.timer", run=run) == "active"


def pause(unit: str, limit: int, *, client: Client | None = None, run: Runner = _run) -> bool:
    """Stop the unit, and its client; systemd starts them again after ``limit`` seconds whatever happens to the caller.

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
            *_way_back(unit, client),
        ]
    )
    if armed.rc != 0:
        raise UnitError(f"The timer that would start {unit}.service again cannot be armed: {armed.stderr.strip()}")
    _systemd.stop(f"{unit}.service", run=run)
    if client:
        _client_service.stop(client, run=run)
    return True


def resume(unit: str, *, client: Client | None = None, run: Runner = _run, clock: Clock = SYSTEM_CLOCK) -> bool:
    """Start the unit, after its client, and drop the timer; True if the unit had to be started."""
    started = _systemd.active_state(f"{unit}.service", run=run) != "active"
    if started:
        if client:
            _client_service.start(client, run=run, clock=clock)
        _systemd.start(f"{unit}.service", run=run)
    if is_paused(unit, run=run):
        _systemd.stop(f"{timer_unit(unit)}.timer", run=run)
    return started


def _way_back(unit: str, client: Client | None) -> list[str]:
    service = f"{unit}.service"
    if client is None:
        return ["systemctl", "start", service]
    quoted = shlex.quote(service)
    # No dollar in it: systemd would take it for one of its own variables.
    again = f"until systemctl start {quoted} && sleep 2 && systemctl is-active --quiet {quoted}; do sleep 1; done"
    first = f"systemctl start {shlex.quote(client.service)}"
    return ["/bin/sh", "-c", f"{first}; exec timeout {_WAY_BACK_S} sh -c {shlex.quote(again)}"]
