# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""Verdicts: what was expected, what was found, on whom, and what to do. Shared by preflight and verification."""

from __future__ import annotations

import typing as t

if t.TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

OK, WARN, BLOCK = "ok", "warn", "block"
_RANK = {BLOCK: 0, WARN: 1, OK: 2}


class Verdict(t.NamedTuple):
    """One finding. ``severity``: ``ok``, ``warn`` (told, does not stop), ``block``; ``member`` may be a pair or all."""

    id: str
    severity: str
    member: str
    expected: str
    found: str
    remedy: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return it as plain data."""
        return dict(self._asdict())


def worst_first(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Sort by severity; what is equally bad keeps its order."""
    return sorted(verdicts, key=lambda verdict: _RANK[verdict.severity])


def is_blocked(verdicts: Iterable[Verdict]) -> bool:
    """Tell whether any verdict blocks."""
    return any(verdict.severity == BLOCK for verdict in verdicts)


def table(verdicts: Sequence[Verdict]) -> str:
    """Return the verdicts as text for a screen, worst first; the good ones are only counted."""
    lines = []
    bad = [verdict for verdict in worst_first(verdicts) if verdict.severity != OK]
    width = max((len(verdict.member) for verdict in bad), default=0)
    for verdict in bad:
        lines.append(
            f"{verdict.severity.upper():5}  {verdict.member:{width}}  {verdict.id}: "
            f"expected {verdict.expected}; found {verdict.found}"
        )
        if verdict.remedy:
            lines.append(f"{'':5}  {'':{width}}  -> {verdict.remedy}")
    counts = {severity: sum(verdict.severity == severity for verdict in verdicts) for severity in _RANK}
    lines.append(f"{counts[OK]} ok, {counts[WARN]} to look at, {counts[BLOCK]} in the way")
    return "\n".join(lines)
