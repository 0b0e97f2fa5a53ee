# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers out of many runs: percentiles, parts of a pause, and whether several stores hold one chain."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# Order in which a pause is told; what a run lacks is left out.
PARTS = (
    "until_start_s",
    "stop_s",
    "seen_s",
    "last_block_s",
    "agree_s",
    "commit_s",
    "start_s",
    "process_s",
    "election_s",
    "takeover_s",
    "p2p_s",
    "block_s",
)


def percentile(values: Sequence[float], share: float) -> float | None:
    """The nearest-rank percentile, a value that was seen; None of nothing. `share` is 0..1."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def spread_of(values: Iterable[float | None]) -> dict[str, Any]:
    """p50, p95 and max of the values that are there, and how many they were."""
    there = [value for value in values if value is not None]
    return {
        "p50": percentile(there, 0.5),
        "p95": percentile(there, 0.95),
        "max": max(there) if there else None,
        "count": len(there),
    }


def by_name(rows: Iterable[Mapping[str, float]]) -> dict[str, dict[str, Any]]:
    """`spread_of` each name in the rows; known parts first, in the order of a pause."""
    found: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.items():
            found.setdefault(name, []).append(value)
    names = [name for name in PARTS if name in found] + sorted(set(found) - set(PARTS))
    return {name: spread_of(found[name]) for name in names}


def ratio(one: float | None, other: float | None) -> float | None:
    """Quotient, None where it has no meaning."""
    return round(one / other, 3) if one is not None and other else None


def conflicts(stores: Mapping[str, Mapping[int, str]]) -> dict[int, dict[str, str]]:
    """The heights at which not all stores that have a block have the same one, with what each holds.

    `stores` maps a name to its blocks, height to a digest of the header.
    """
    heights = sorted({height for blocks in stores.values() for height in blocks})
    found = {}
    for height in heights:
        held = {name: blocks[height] for name, blocks in stores.items() if height in blocks}
        if len(set(held.values())) > 1:
            found[height] = held
    return found


def glued(parents: Mapping[int, str], hashes: Mapping[int, str]) -> list[int]:
    """The heights whose block names another parent than the block below it was seen to be: a chain signed twice.

    `parents` has the parent's hash of each block by height, `hashes` the hashes that are known.
    """
    return [height for height in sorted(parents) if parents[height] != hashes.get(height - 1, parents[height])]


def pause_parts(
    *,
    block_ns: int,
    next_ns: int,
    receipt: Mapping[str, Any],
    marks: Mapping[str, float],
) -> tuple[dict[str, float], float | None]:
    """The parts of a pause in seconds, and the share of coordination in it.

    `block_ns` and `next_ns` are the times of block N and N+1, `receipt` is the coordinator's, `marks` are moments of
    its node's log (seconds since 1970): `raft`, `leader`, `leading`, `ready`.

    The receipt's parts between the notice of block N and the start add up with the moment of the start, which gives the
    first part, from the time in the header until the window has noticed the block. Coordination is everything from the
    time of block N to the start of the leader's process but the stop of the old one. The four parts after it are cut by
    the node's own log lines; the last ends at the time of block N+1.
    """
    parts: dict[str, float] = {}
    given = receipt.get("parts") or {}
    started = receipt.get("started_at")
    inner = [name for name in ("last_block_s", "agree_s", "commit_s", "start_s") if name in given]
    coordination = None
    if started is not None and len(inner) == 4:
        until_start = started - block_ns / 1e9
        parts["seen_s"] = until_start - sum(given[name] for name in inner)
        parts.update({name: given[name] for name in inner})
        coordination = until_start - given.get("stop_s", 0.0)
    if started is not None:
        parts.update(_after_start(started, marks, next_ns))
    return {name: round(value, 4) for name, value in parts.items()}, _rounded(coordination)


def _after_start(started: float, marks: Mapping[str, float], next_ns: int) -> dict[str, float]:
    steps = (("process_s", "raft"), ("election_s", "leader"), ("takeover_s", "leading"), ("p2p_s", "ready"))
    found: dict[str, float] = {}
    before = started
    for part, mark in steps:
        if mark not in marks:
            return found
        found[part] = marks[mark] - before
        before = marks[mark]
    found["block_s"] = next_ns / 1e9 - before
    return found


def floor_parts(*, block_ns: int, next_ns: int, started: float, marks: Mapping[str, float]) -> dict[str, float]:
    """The parts of a pause that nobody coordinated: until the leader's process starts, and the parts after it."""
    parts = {"until_start_s": started - block_ns / 1e9, **_after_start(started, marks, next_ns)}
    return {name: round(value, 4) for name, value in parts.items()}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def spread_ms(starts: Iterable[float]) -> float | None:
    """Milliseconds from the first to the last of some moments in seconds; None for fewer than two."""
    moments = list(starts)
    return round((max(moments) - min(moments)) * 1000, 3) if len(moments) > 1 else None
