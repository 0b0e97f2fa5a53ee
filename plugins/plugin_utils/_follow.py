# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""How far a follower is, from the heights it reports; the clock is the caller's."""

from __future__ import annotations

import collections
import typing as t

_MEMORY = 30.0


class Sight(t.NamedTuple):
    """One look at a follower. ``height`` is None while it does not answer, and ``reason`` says why."""

    height: int | None
    head: int | None
    reason: str = ""


class Follow:
    """Judges one look after another."""

    def __init__(self, name: str, target: int, *, lag: int, stall: float, now: float) -> None:
        """``target`` is a height to reach at least, ``stall`` (0: never) and ``now`` are seconds of a steady clock."""
        self.name, self.target = name, target
        self.height: int | None = None
        self._lag, self._stall = lag, stall
        self._reason = "it was not asked yet"
        self._grew = now
        self._seen: collections.deque[tuple[float, int]] = collections.deque()

    @property
    def reached(self) -> bool:
        """Whether the follower is at the tip."""
        return self.height is not None and self.height + self._lag >= self.target

    def look(self, sight: Sight, now: float) -> str:
        """Take in a look and return the line to print."""
        self._reason = sight.reason
        # A header that the follower knows of moves the target: the chain goes on while it is being followed.
        self.target = max(self.target, sight.head or 0)
        if sight.height is None:
            return f"{self.name}: no answer yet ({sight.reason or 'no reason given'})"
        if self.height is None or sight.height > self.height:
            self._grew = now
        self.height = sight.height
        self._seen.append((now, sight.height))
        while len(self._seen) > 2 and now - self._seen[0][0] > _MEMORY:
            self._seen.popleft()
        return self._line()

    def stuck(self, now: float) -> str | None:
        """Return what is wrong when nothing has moved for too long, and None otherwise."""
        if not self._stall or now - self._grew < self._stall:
            return None
        return f"{self.name} got no new block for {now - self._grew:.0f} s: {self.state()}"

    def state(self) -> str:
        """Return the last state seen in words."""
        if self.height is None:
            return f"it does not answer ({self._reason or 'no reason given'})"
        return f"height {self.height} of {self.target}"

    def rate(self) -> float | None:
        """Return blocks per second of the last half minute, None before two looks."""
        if len(self._seen) < 2:
            return None
        (then, low), (now, high) = self._seen[0], self._seen[-1]
        return (high - low) / (now - then) if now > then else None

    def _line(self) -> str:
        height = self.height or 0
        percent = 100 if height >= self.target else 100 * height // max(self.target, 1)
        line = f"{self.name}: {height}/{self.target} ({percent} %)"
        rate = self.rate()
        if rate is None or self.reached:
            return line
        left = f"{(self.target - height) / rate:.0f} s left" if rate > 0 else "time left unknown"
        return f"{line}, {rate:.0f} blocks/s, {left}" if rate >= 10 else f"{line}, {rate:.1f} blocks/s, {left}"


def sight_of(answer: t.Mapping[str, t.Any]) -> Sight:
    """Read a result of node_status_info."""
    status = answer.get("status")
    if answer.get("failed") or not isinstance(status, dict):
        return Sight(None, None, str(answer.get("msg") or "no status came back"))
    head = (status.get("p2p_head") or {}).get("height")
    return Sight(status.get("height"), head, str((status.get("reasons") or {}).get("height", "")))
