# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""Poll until something is true, with the clock passed in so that tests need no sleeping."""

from __future__ import annotations

import time
import typing as t

if t.TYPE_CHECKING:
    from collections.abc import Callable

T = t.TypeVar("T")


class Clock(t.Protocol):
    """The part of the time module that waiting needs."""

    def monotonic(self) -> float:
        """Seconds of a clock that never goes back."""

    def sleep(self, seconds: float) -> None:
        """Let time pass."""


SYSTEM_CLOCK: Clock = t.cast(Clock, time)


class WaitResult(t.NamedTuple):
    """What a wait ended with; ``last`` is the newest probe result, on a time-out too."""

    ok: bool
    last: t.Any
    attempts: int
    elapsed: float


def wait_until(
    probe: Callable[[], T],
    is_done: Callable[[T], bool],
    *,
    timeout: float,
    interval: float,
    clock: Clock = SYSTEM_CLOCK,
) -> WaitResult:
    """Probe at once, then every ``interval`` seconds, until done or ``timeout`` seconds are over.

    The last probe happens at the limit itself, so a condition that becomes true just before it counts.
    """
    start = clock.monotonic()
    attempts = 0
    while True:
        last = probe()
        attempts += 1
        elapsed = clock.monotonic() - start
        if is_done(last):
            return WaitResult(True, last, attempts, elapsed)
        left = timeout - elapsed
        if left <= 0:
            return WaitResult(False, last, attempts, elapsed)
        clock.sleep(min(interval, left))
