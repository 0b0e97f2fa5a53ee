# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""Decide from what the members themselves answered, never from how far a play got."""

from __future__ import annotations

import typing as t
from collections import Counter

if t.TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Verdict(t.NamedTuple):
    """What the receipts say: go on or not, who stands in the way and why, and who is fine."""

    passed: bool
    problems: dict[str, str]
    good: list[str]


def judge(
    receipts: Mapping[str, Mapping[str, t.Any] | None],
    *,
    equal: Sequence[str] = (),
    quorum: int | None = None,
) -> Verdict:
    """Compare the members' receipts.

    ``receipts`` maps a member to the result it registered (with a ``receipt`` inside), or None where there is none.
    All members must have one; with ``quorum``, that many are enough. A member that answered and disagrees on a key of
    ``equal`` always stands in the way: a quorum makes up for silence, never for a different answer.
    """
    silent = {member: reason for member, result in receipts.items() if (reason := _missing(result))}
    answered = {
        member: t.cast("Mapping[str, t.Any]", result["receipt"])
        for member, result in receipts.items()
        if result and member not in silent
    }
    different: dict[str, str] = {}
    for key in equal:
        for member, reason in _disagreements(key, answered).items():
            different[member] = f"{different[member]}; {reason}" if member in different else reason
    good = [member for member in receipts if member not in silent and member not in different]
    enough = not silent if quorum is None else len(good) >= quorum
    passed = bool(receipts) and enough and not different
    return Verdict(passed, {**silent, **different}, good)


def _disagreements(key: str, answered: Mapping[str, Mapping[str, t.Any]]) -> dict[str, str]:
    """Name the members that differ from the majority, or all of them where there is none; a missing key is no value."""
    values = {member: str(receipt.get(key)) for member, receipt in answered.items()}
    found = {
        member: f"left no {key} in its receipt" for member, receipt in answered.items() if receipt.get(key) is None
    }
    counts = Counter(value for member, value in values.items() if member not in found)
    if len(counts) < 2:
        return found
    winner, votes = counts.most_common(1)[0]
    majority = winner if votes * 2 > len(answered) else None
    tally = ", ".join(f"{value} ({count})" for value, count in counts.most_common())
    for member, value in values.items():
        if member not in found and value != majority:
            found[member] = f"{key} is {value}; the members' answers are {tally}"
    return found


def _missing(result: Mapping[str, t.Any] | None) -> str | None:
    """Say what is wrong with one result taken alone."""
    if not result:
        return "gave no receipt"
    if result.get("unreachable"):
        return f"was unreachable: {result.get('msg', 'no message')}"
    if result.get("failed"):
        return str(result.get("msg") or "failed without a message")
    if not isinstance(result.get("receipt"), dict):
        return "gave no receipt"
    return None
