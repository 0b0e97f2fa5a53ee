# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.
"""How fast a copy may be and how far it is, with the clock passed in."""

from __future__ import annotations

import json
import os
import time
import typing as t

from .._wait import SYSTEM_CLOCK
from .tree import StoreError

if t.TYPE_CHECKING:
    from collections.abc import Callable

    from .._wait import Clock


class TokenBucket:
    """Lets ``rate`` bytes a second through, a quarter of a second's worth of them at once; rate 0 is no limit."""

    def __init__(self, rate: float, *, clock: Clock = SYSTEM_CLOCK) -> None:
        """``rate`` is bytes per second."""
        if rate < 0:
            raise StoreError(f"Expected a bandwidth of 0 (no limit) or more bytes a second, found {rate:g}")
        self._rate, self._clock = rate, clock
        self._burst = rate / 4
        self._tokens = self._burst
        self._last = clock.monotonic()

    def take(self, amount: int) -> None:
        """Account for ``amount`` bytes, and wait until they were allowed."""
        if not self._rate:
            return
        now = self._clock.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._last) * self._rate) - amount
        self._last = now
        if self._tokens < 0:
            self._clock.sleep(-self._tokens / self._rate)


class Progress:
    """Counts bytes and files of one phase and tells ``listener`` twice a second at most."""

    def __init__(
        self,
        phase: str,
        listener: Callable[[dict[str, t.Any]], None] | None = None,
        *,
        interval: float = 0.5,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """``phase`` is warm or last."""
        self._listener, self._interval, self._clock = listener, interval, clock
        self._state: dict[str, t.Any] = {"phase": phase}
        self._started = self._told = clock.monotonic()
        self._step("compare", 0, 0)

    def copying(self, total_bytes: int, total_files: int) -> None:
        """The comparison is over and this much has to be fetched."""
        self._step("copy", total_bytes, total_files)

    def proving(self) -> None:
        """Everything was fetched; both ends are compared once more."""
        self._state["step"] = "prove"
        self._tell()

    def finished(self) -> None:
        """The phase is over."""
        self._state["step"] = "done"
        self._tell()

    def add(self, size: int, files: int = 0) -> None:
        """Count bytes and files that are there."""
        self._state["bytes_done"] += size
        self._state["files_done"] += files
        if self._clock.monotonic() - self._told >= self._interval:
            self._tell()

    def state(self) -> dict[str, t.Any]:
        """Return bytes and files done and total, bytes per second, and seconds left (None: not known)."""
        spent = self._clock.monotonic() - self._started
        done, total = self._state["bytes_done"], self._state["bytes_total"]
        rate = done / spent if spent > 0 else 0.0
        left = (total - done) / rate if rate > 0 and self._state["step"] == "copy" else None
        seconds_left = None if left is None else round(max(left, 0.0), 1)
        return {**self._state, "rate": round(rate, 1), "seconds_left": seconds_left}

    def _step(self, step: str, total_bytes: int, total_files: int) -> None:
        self._started = self._clock.monotonic()
        self._state.update(
            {"step": step, "bytes_done": 0, "bytes_total": total_bytes, "files_done": 0, "files_total": total_files}
        )
        self._tell()

    def _tell(self) -> None:
        self._told = self._clock.monotonic()
        if self._listener:
            self._listener(self.state())


def progress_writer(path: str, *, now: Callable[[], float] = time.time) -> Callable[[dict[str, t.Any]], None]:
    """Return a listener that keeps the newest state in a file, whole at every moment."""

    def write(state: dict[str, t.Any]) -> None:
        temporary = f"{path}.{os.getpid()}.new"
        try:
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(fd, "w", encoding="utf-8") as handle:
                json.dump({**state, "at": round(now(), 3)}, handle)
            os.rename(temporary, path)
        except OSError as exc:
            raise StoreError(f"The progress file {path} cannot be written: {exc.strerror}") from exc

    return write
