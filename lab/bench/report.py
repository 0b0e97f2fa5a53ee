# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The result file and the table, out of what was measured."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.bench import stats
from lab.bench.copies import Copies
from lab.bench.floor import Floor
from lab.bench.migration import Run
from lab.conformance.guide import Outcome

MEMBERS = 5
RATIO_AT_MOST = 1.5
SPREAD_MS_AT_MOST = 20.0
FORETOLD_AT_LEAST = 0.9
COORDINATION_S_AT_MOST = 0.3


@dataclass
class Guide:
    """One run of the guide: its outcome, or why there is none."""

    outcome: Outcome | None = None
    failed: str = ""


@dataclass
class Result:
    """Everything that one bench has measured."""

    binary: str
    sha256: str
    version: str
    layout: str
    machine: dict[str, Any]
    runs: list[Run] = field(default_factory=list)
    floors: list[Floor] = field(default_factory=list)
    guide: list[Guide] = field(default_factory=list)
    copies: Copies | None = None
    preflight_s: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """What went wrong beside the runs."""
    finished: bool = False


def with_floor(runs: Iterable[Run], floors: Sequence[Floor]) -> list[Run]:
    """The runs, each with the median of the floors that have an anchor as it has, and its ratio to it."""
    found = []
    for run in runs:
        value = stats.percentile(gaps(floor for floor in floors if floor.anchor == run.anchor), 0.5)
        found.append(dataclasses.replace(run, floor_s=value, ratio=stats.ratio(run.gap_s, value)))
    return found


def gaps(measured: Iterable[Run | Floor]) -> list[float]:
    """Gaps of those that ended well; a pause that nothing healthy followed is no measurement."""
    return [one.gap_s for one in measured if one.gap_s is not None and not one.failed]


def group(runs: Sequence[Run], floors: Sequence[Floor]) -> dict[str, Any]:
    """What several runs and their floors come to."""
    good = [run for run in runs if not run.failed]
    still = [floor for floor in floors if not floor.failed]
    gap, floor = stats.spread_of(gaps(runs)), stats.spread_of(gaps(floors))
    return {
        "runs": len(runs),
        "healthy_runs": sum(run.healthy == MEMBERS and not run.fork and not run.failed for run in runs),
        "forks": sum(run.fork for run in runs),
        "continuous": sum(run.continuous for run in runs),
        "gap_s": gap,
        "parts_s": stats.by_name(run.parts_s for run in good),
        "floor": {
            "firings": len(floors),
            "healthy_firings": sum(one.healthy == MEMBERS and not one.fork and not one.failed for one in floors),
            "forks": sum(one.fork for one in floors),
            "gap_s": floor,
            "parts_s": stats.by_name(one.parts_s for one in still),
            "spread_ms": stats.spread_of(one.spread_ms for one in still),
        },
        "foretold": foretold(good),
        "ratio_p50": stats.ratio(gap["p50"], floor["p50"]),
        "ratio_p95": stats.ratio(gap["p95"], floor["p95"]),
        "spread_ms": stats.spread_of(run.spread_ms for run in good),
        "coordination_s": stats.spread_of(run.coordination_s for run in good),
        "missed_slots": stats.spread_of(run.missed_slots for run in good),
        "transactions": sum(run.transactions or 0 for run in good),
        "inclusion_s": stats.spread_of(run.inclusion_s for run in good),
        "total_s": stats.spread_of(run.total_s for run in good),
        "load": stats.spread_of(run.load for run in runs),
    }


def foretold(runs: Iterable[Run]) -> dict[str, Any]:
    """How often the plan's interval held the gap, with the extremes of both."""
    judged = [(run.gap_s, *run.predicted_s) for run in runs if run.gap_s is not None and run.predicted_s]
    held = sum(low <= gap <= high for gap, low, high in judged)
    return {
        "runs": len(judged),
        "held": held,
        "low_s": min((low for _gap, low, _high in judged), default=None),
        "high_s": max((high for _gap, _low, high in judged), default=None),
    }


def guide_summary(guide: Sequence[Guide]) -> dict[str, Any]:
    """How often the guide ended how."""
    ended = [one.outcome for one in guide if one.outcome is not None]
    return {
        "runs": len(ended),
        "not_run": len(guide) - len(ended),
        "healthy": sum(one.healthy == MEMBERS and not one.fork and not one.stalled for one in ended),
        "forked": sum(one.fork for one in ended),
        "stalled": sum(one.stalled for one in ended),
        "members_lost": sum(not one.fork and not one.stalled and one.healthy < MEMBERS for one in ended),
    }


def targets(runs: Sequence[Run], groups: Mapping[str, Mapping[str, Any]]) -> dict[str, bool | None]:
    """Whether what was promised was measured; None where it was not measured."""
    good = [run for run in runs if not run.failed]
    ratios = [one["ratio_p50"] for one in groups.values() if one["ratio_p50"] is not None]
    spreads = [run.spread_ms for run in good if run.spread_ms is not None]
    shares = [run.coordination_s for run in good if run.coordination_s is not None]
    told = foretold(good)
    return {
        "all_healthy": len(good) == len(runs) if runs else None,
        "no_fork": not any(run.fork for run in runs) if runs else None,
        f"ratio_p50_at_most_{RATIO_AT_MOST}": max(ratios) <= RATIO_AT_MOST if ratios else None,
        f"spread_at_most_{SPREAD_MS_AT_MOST:g}_ms": max(spreads) <= SPREAD_MS_AT_MOST if spreads else None,
        f"coordination_at_most_{COORDINATION_S_AT_MOST:g}_s": (
            max(shares) <= COORDINATION_S_AT_MOST if shares else None
        ),
        f"gap_foretold_in_{FORETOLD_AT_LEAST:.0%}": (
            told["held"] >= FORETOLD_AT_LEAST * told["runs"] if told["runs"] else None
        ),
    }


def as_json(result: Result) -> dict[str, Any]:
    """The result file's content."""
    runs = with_floor(result.runs, result.floors)
    groups = {}
    for name, anchor in (("with_anchor", True), ("without_anchor", False)):
        mine = [run for run in runs if run.anchor == anchor]
        floors = [floor for floor in result.floors if floor.anchor == anchor]
        if mine or floors:
            groups[name] = group(mine, floors)
    return {
        "binary": result.binary,
        "binary_sha256": result.sha256,
        "node_version": result.version,
        "layout": result.layout,
        "machine": result.machine,
        "finished": result.finished,
        "runs": [dataclasses.asdict(run) for run in runs],
        "floors": [dataclasses.asdict(floor) for floor in result.floors],
        "guide": [_guide(one) for one in result.guide],
        "copies": dataclasses.asdict(result.copies) if result.copies else None,
        "preflight_s": result.preflight_s,
        "problems": result.problems,
        "summary": {
            **groups,
            "guide": guide_summary(result.guide),
            "preflight_s": stats.spread_of(result.preflight_s),
            "targets": targets(runs, groups),
        },
    }


def _guide(one: Guide) -> dict[str, Any]:
    if one.outcome is None:
        return {"healthy": None, "fork": None, "stalled": None, "failed": one.failed}
    return {**dataclasses.asdict(one.outcome), "failed": ""}


def write(result: Result, path: Path) -> None:
    """Write the file so that a reader finds the old or the new one, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(as_json(result), indent=2) + "\n", encoding="utf-8")
    os.replace(fresh, path)


def _cell(value: object, digits: int = 3) -> str:
    if value is None:
        return "-"
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)


def _row(name: str, spread: Mapping[str, Any], digits: int = 3, note: str = "") -> str:
    cells = "".join(f"{_cell(spread[key], digits):>10}" for key in ("p50", "p95", "max"))
    return f"  {name:<42}{cells}{spread['count']:>5}  {note}".rstrip()


NAMES = {
    "seen_s": "block N made and noticed",
    "last_block_s": "last block known, old node stopping",
    "agree_s": "equal heads, followers stopped",
    "commit_s": "commit",
    "start_s": "start asked for",
    "process_s": "process start",
    "election_s": "election",
    "takeover_s": "takeover by the leader",
    "p2p_s": "P2P wait",
    "block_s": "first block",
    "until_start_s": "stop and start, by local timers",
    "stop_s": "of these: stop of the old node",
}


def table(result: Result) -> str:
    """The summary for people."""
    data = as_json(result)
    summary = data["summary"]
    lines = [f"{data['binary']}  {data['node_version']}  layout {data['layout']}"]
    for name in ("with_anchor", "without_anchor"):
        if name in summary:
            lines += ["", *_group_lines(name.replace("_", " "), summary[name])]
    lines += ["", *_copy_lines(result.copies)] if result.copies else []
    if result.preflight_s:
        lines += ["", _row("preflight, s", summary["preflight_s"], 1)]
    if result.guide:
        guide = summary["guide"]
        lines += [
            "",
            f"the guide by hand: {guide['runs']} runs, {guide['healthy']} healthy, {guide['forked']} forked, "
            f"{guide['stalled']} stalled, {guide['members_lost']} lost members"
            + (f", {guide['not_run']} could not be run" if guide["not_run"] else ""),
        ]
    lines += ["", *(f"  {_verdict(met)}  {name.replace('_', ' ')}" for name, met in summary["targets"].items())]
    lines += [f"  problem: {problem}" for problem in result.problems]
    return "\n".join(lines)


def _verdict(met: bool | None) -> str:
    return {True: "met    ", False: "NOT MET", None: "unknown"}[met]


def _group_lines(name: str, data: Mapping[str, Any]) -> list[str]:
    floor = data["floor"]
    return [
        f"{name}: {data['healthy_runs']} of {data['runs']} migrations healthy, {data['forks']} forks; "
        f"floor: {floor['healthy_firings']} of {floor['firings']} healthy",
        f"  {'':<42}{'p50':>10}{'p95':>10}{'max':>10}{'n':>5}",
        _row("gap N to N+1, s", data["gap_s"], note=f"{_cell(data['ratio_p50'], 2)} x floor"),
        *(_row(f"    {NAMES.get(part, part)}", spread) for part, spread in data["parts_s"].items()),
        f"  foretold: {_cell(data['foretold']['low_s'], 2)} to {_cell(data['foretold']['high_s'], 2)} s, "
        f"{data['foretold']['held']} of {data['foretold']['runs']} gaps within their own interval",
        _row("floor of the gap, s", floor["gap_s"]),
        *(_row(f"    {NAMES.get(part, part)}", spread) for part, spread in floor["parts_s"].items()),
        _row("coordination's share, s", data["coordination_s"]),
        _row("spread of the five starts, ms", data["spread_ms"], 1),
        _row("missed slots", data["missed_slots"]),
        _row("whole migrate.yml, s", data["total_s"], 1),
        *(
            [_row("slowest transaction, s", data["inclusion_s"], 1, f"{data['transactions']} mined, each once")]
            if data["transactions"]
            else []
        ),
    ]


def _copy_lines(copies: Copies) -> list[str]:
    slowest = max(copies.last_copy_s.values(), default=None)
    mib = 1 << 20
    return [
        f"store: {copies.apparent_bytes / mib:.0f} MiB apparent, {copies.allocated_bytes / mib:.2f} MiB on disk, "
        f"with {copies.sparse_file or 'no sparse file'}",
        f"  last copy in the window, slowest of {len(copies.last_copy_s)}: {_cell(slowest)} s",
        f"  rsync -avz: {_cell(copies.rsync_s)} s, {(copies.rsync_written_bytes or 0) / mib:.0f} MiB written; "
        f"once more after some blocks: {_cell(copies.rsync_again_s)} s, "
        f"{(copies.rsync_again_written_bytes or 0) / mib:.0f} MiB written",
        *([f"  failed: {copies.failed}"] if copies.failed else []),
    ]
