# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""Raft timings from the largest round-trip time between two members."""

from __future__ import annotations

import math
import re
import typing as t

if t.TYPE_CHECKING:
    from collections.abc import Mapping

HEARTBEAT, ELECTION, LEASE, SEND = "heartbeat_timeout", "election_timeout", "leader_lease_timeout", "send_timeout"
NAMES = (HEARTBEAT, ELECTION, LEASE, SEND)
PROFILES = ("relaxed", "guide")

# The values upstream gives for members of one region. Tight: a pause of 46 ms on the leader costs the leadership.
GUIDE_MAX_RTT_MS = 25.0
_GUIDE_MS = {HEARTBEAT: 92.0, ELECTION: 368.0, LEASE: 46.0, SEND: 50.0}
# The defaults of ev-node: what a member is given unless the operator asks for the tight ones.
_RELAXED_MS = {HEARTBEAT: 350.0, ELECTION: 1000.0, LEASE: 175.0, SEND: 200.0}
# hashicorp/raft refuses less than this for heartbeat, election and lease.
_LEAST_MS = 5.0

_UNIT_MS = {"ns": 1e-6, "us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1000.0, "m": 60_000.0, "h": 3_600_000.0}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")


class TimingError(Exception):
    """Timings cannot be computed, or are ones that a Raft member would refuse."""


def timings(
    rtt_max_ms: float, *, profile: str = "relaxed", overrides: Mapping[str, t.Any] | None = None
) -> dict[str, str]:
    """Return the four timings as Go durations, and as ``profile`` where they come from.

    ``rtt_max_ms`` is the largest round-trip time between any two members in milliseconds. ``profile`` of the result:
    ``guide-25ms`` (upstream's values), ``relaxed`` (ev-node's defaults, all of them long enough), ``computed`` (at
    least one follows from the round-trip time).
    """
    if profile not in PROFILES:
        raise TimingError(f"Expected a timing profile out of {', '.join(PROFILES)}, found '{profile}'")
    if isinstance(rtt_max_ms, bool) or not math.isfinite(float(rtt_max_ms)) or float(rtt_max_ms) < 0:
        raise TimingError(f"Expected the largest round-trip time in milliseconds, found '{rtt_max_ms}'")
    values, source = _base(float(rtt_max_ms), profile)
    for name, value in (overrides or {}).items():
        if value is None or value == "":
            continue
        if name not in NAMES:
            raise TimingError(f"Expected an override out of {', '.join(NAMES)}, found '{name}'")
        values[name] = duration_ms(str(value))
        source = "computed"
    check(values)
    return {**{name: go_duration(values[name]) for name in NAMES}, "profile": source}


def _base(rtt_ms: float, profile: str) -> tuple[dict[str, float], str]:
    if profile == "guide" and rtt_ms <= GUIDE_MAX_RTT_MS:
        return dict(_GUIDE_MS), "guide-25ms"
    # Whole milliseconds, and an even heartbeat so that half of it is one as well.
    heartbeat = 2.0 * math.ceil(4 * rtt_ms / 2)
    computed = {HEARTBEAT: heartbeat, ELECTION: 4 * heartbeat, LEASE: heartbeat / 2, SEND: math.ceil(3 * rtt_ms)}
    floor = _GUIDE_MS if profile == "guide" else _RELAXED_MS
    if all(computed[name] <= floor[name] for name in NAMES):
        return dict(floor), "relaxed"
    # Only the floor of the heartbeat decides for election and lease: their ratios to it are what keeps a cluster calm.
    heartbeat = max(heartbeat, floor[HEARTBEAT])
    values = {
        HEARTBEAT: heartbeat,
        ELECTION: max(4 * heartbeat, floor[ELECTION]),
        LEASE: max(heartbeat / 2, floor[LEASE]),
        SEND: max(computed[SEND], floor[SEND]),
    }
    return values, "computed"


def check(values: Mapping[str, float]) -> None:
    """Raise for timings (milliseconds) that ev-node or hashicorp/raft would refuse at start."""
    for name in (HEARTBEAT, ELECTION, LEASE):
        if values[name] < _LEAST_MS:
            raise TimingError(f"Expected {name} of at least {_LEAST_MS:g} ms, found {values[name]:g} ms")
    if values[SEND] <= 0:
        raise TimingError(f"Expected {SEND} above zero, found {values[SEND]:g} ms")
    if values[LEASE] > values[HEARTBEAT]:
        raise TimingError(
            f"Expected {LEASE} of at most {HEARTBEAT} ({values[HEARTBEAT]:g} ms), found {values[LEASE]:g} ms"
        )
    if values[ELECTION] < values[HEARTBEAT]:
        raise TimingError(
            f"Expected {ELECTION} of at least {HEARTBEAT} ({values[HEARTBEAT]:g} ms), found {values[ELECTION]:g} ms"
        )


def duration_ms(text: str) -> float:
    """Return a Go duration such as ``92ms`` or ``1m30s`` in milliseconds.

    A bare number is refused: ev-node would take it as nanoseconds.
    """
    parts = _DURATION.findall(text.strip())
    if not parts or "".join(number + unit for number, unit in parts) != text.strip():
        raise TimingError(f"Expected a duration with a unit, such as 350ms or 1.5s, found '{text}'")
    return sum(float(number) * _UNIT_MS[unit] for number, unit in parts)


def go_duration(milliseconds: float) -> str:
    """Return milliseconds as a Go duration: whole seconds as ``1s``, anything else in ``ms``."""
    if milliseconds >= 1000 and milliseconds % 1000 == 0:
        return f"{milliseconds / 1000:.0f}s"
    return f"{milliseconds:.6f}".rstrip("0").rstrip(".") + "ms"
