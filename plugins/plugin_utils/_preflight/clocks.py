# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""Clocks: a block carries the time of its leader."""

from __future__ import annotations

import typing as t
from itertools import combinations

from .._verdicts import BLOCK, OK, WARN, Verdict

if t.TYPE_CHECKING:
    from collections.abc import Iterator

    from .evidence import Data, Evidence

# Parts of a block time. A leader whose clock is behind the last block has to wait for it.
_CLOCK_BLOCKS, _CLOCK_WARNS = 0.5, 0.1


def clocks(evidence: Evidence) -> Iterator[Verdict]:
    """The members agree on the time."""
    block_time = float(evidence.sequencer.get("block_time_s") or 1.0)
    most = float(evidence.options.get("max_clock_offset") or block_time * _CLOCK_BLOCKS)
    for name, host in evidence.answering.items():
        clock = host.get("clock") or {}
        if clock.get("synchronized") is False:
            remedy = "run chrony, systemd-timesyncd or another NTP client: a block's time is its leader's clock"
            yield Verdict(
                "clock-unsynchronized", WARN, name, "a synchronized clock", "the kernel says it is not", remedy
            )
    bounds = {name: found for name, host in evidence.answering.items() if (found := clock_bounds(host)) is not None}
    worst = OK
    for (one, first), (other, second) in combinations(bounds.items(), 2):
        offset = apart(first, second)
        if offset <= min(most, block_time * _CLOCK_WARNS):
            continue
        worst = BLOCK if offset > most else WARN
        remedy = "synchronize both clocks: a leader whose clock is behind the last block cannot go on"
        expected = f"clocks less than {most:g} s apart"
        yield Verdict("clock-offset", worst, f"{one}, {other}", expected, f"at least {offset:.2f} s apart", remedy)
    if bounds and worst == OK:
        yield Verdict("clocks", OK, "all", f"clocks less than {most:g} s apart", "as far as can be told")


def clock_bounds(host: Data) -> tuple[float, float] | None:
    """Return between which seconds the host's clock is ahead of the controller's; None where it was not bounded."""
    clock = host.get("clock") or {}
    values = [clock.get(key) for key in ("epoch", "controller_before", "controller_after")]
    if None in values:
        return None
    epoch, before, after = (float(value) for value in values if value is not None)
    return epoch - after, epoch - before


def apart(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Return how far two clocks are apart at least, given the bounds of both."""
    return max(0.0, one[0] - other[1], other[0] - one[1])
