# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""The few things asked of systemd: a unit's properties, start, stop, its last lines."""

from __future__ import annotations

import typing as t

from ._errors import HaError
from ._process import run as _run

if t.TYPE_CHECKING:
    from collections.abc import Sequence

    from ._process import Runner


# systemctl's exit code, as for an init script of a program that is not installed.
_NOT_LOADED = 5


class UnitError(HaError):
    """systemd refused, or a unit is not in the state it should be in."""


def show(unit: str, properties: Sequence[str], *, run: Runner = _run) -> dict[str, str]:
    """Return the named properties of a unit; one that systemd does not know is absent.

    Properties that may stand several times (``ExecStart``, ``EnvironmentFiles``) are joined by newlines.
    """
    done = run(["systemctl", "show", "--no-pager", f"--property={','.join(properties)}", "--", unit])
    if done.rc != 0:
        raise UnitError(f"systemctl show {unit} failed: {done.stderr.strip() or done.stdout.strip()}")
    found: dict[str, str] = {}
    for line in done.stdout.splitlines():
        name, equals, value = line.partition("=")
        if equals:
            found[name] = f"{found[name]}\n{value}" if name in found else value
    return found


def active_state(unit: str, *, run: Runner = _run) -> str:
    """Return ``active``, ``activating``, ``deactivating``, ``inactive`` or ``failed``."""
    return show(unit, ["ActiveState"], run=run).get("ActiveState", "inactive")


def start(unit: str, *, timeout: float = 90, run: Runner = _run) -> None:
    """Start a unit and wait until systemd calls it started (for Type=simple: executed, not ready)."""
    _verb(["systemctl", "start", "--", unit], unit, timeout, run)


def stop(unit: str, *, timeout: float = 90, run: Runner = _run) -> None:
    """Stop a unit and wait until its processes are gone.

    One that systemd does not know has none: a transient unit is forgotten once it has ended, also between a look at it
    and the stop.
    """
    _verb(["systemctl", "stop", "--", unit], unit, timeout, run, fine=(0, _NOT_LOADED))


def restart(unit: str, *, timeout: float = 90, run: Runner = _run) -> None:
    """Restart a unit."""
    _verb(["systemctl", "restart", "--", unit], unit, timeout, run)


def reset_failed(unit: str, *, run: Runner = _run) -> None:
    """Forget failures and start counts, so that a start limit reached before does not stand in the way."""
    run(["systemctl", "reset-failed", "--", unit])


def daemon_reload(*, run: Runner = _run) -> None:
    """Make systemd read its unit files again."""
    _verb(["systemctl", "daemon-reload"], "the unit files", 90, run)


def unit_log(unit: str, *, lines: int = 50, invocation: str | None = None, run: Runner = _run) -> list[str]:
    """Return the last lines a unit wrote, oldest first, those of one invocation only where one is given."""
    chosen = [f"_SYSTEMD_INVOCATION_ID={invocation}"] if invocation else ["--unit", unit]
    done = run(["journalctl", "--no-pager", "--output=cat", f"--lines={lines}", *chosen])
    return done.stdout.splitlines() if done.rc == 0 else []


def _verb(argv: Sequence[str], what: str, timeout: float, run: Runner, fine: Sequence[int] = (0,)) -> None:
    done = run(argv, timeout=timeout)
    if done.rc not in fine:
        verb = argv[1]
        raise UnitError(f"systemctl {verb} failed for {what}: {done.stderr.strip() or f'exit code {done.rc}'}")
