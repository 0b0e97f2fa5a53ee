# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from lab.bench import __main__ as bench
from lab.bench import copies, floor, migration, report
from lab.conformance.guide import Outcome
from lab.errors import LabError
from lab.settings import from_environment


def run(gap: float, *, anchor: bool = True, **changes: Any) -> migration.Run:
    made = migration.Run(
        anchor=anchor,
        seed="follow",
        healthy=5,
        n=40,
        gap_s=gap,
        parts_s={"agree_s": 0.1, "block_s": 1.0},
        spread_ms=8.0,
        coordination_s=0.2,
        total_s=80.0,
        continuous=True,
    )
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def fired(gap: float, *, anchor: bool = True, failed: str = "") -> floor.Floor:
    return floor.Floor(anchor=anchor, healthy=5, n=40, gap_s=gap, failed=failed)


def outcome(healthy: int, *, fork: bool = False, stalled: bool = False) -> report.Guide:
    return report.Guide(Outcome(healthy, fork, stalled, 20, 10, 30, {}, {}, {}))


def result(**parts: Any) -> report.Result:
    return report.Result("/bin/node", "00", "v1", "default", {"cpus": 2}, **parts)


def test_each_run_is_held_against_the_floor_of_its_kind() -> None:
    made = report.as_json(
        result(
            runs=[run(3.0), run(6.0, anchor=False)],
            floors=[fired(2.0), fired(2.4), fired(9.0), fired(4.0, anchor=False)],
        )
    )
    assert [(one["floor_s"], one["ratio"]) for one in made["runs"]] == [(2.4, 1.25), (4.0, 1.5)]
    assert made["summary"]["with_anchor"]["ratio_p50"] == 1.25
    assert made["summary"]["without_anchor"]["floor"]["firings"] == 1


def test_what_failed_counts_as_a_run_and_not_as_a_measurement() -> None:
    made = report.as_json(
        result(runs=[run(3.0), run(99.0, failed="no quorum", healthy=2, fork=True)], floors=[fired(1.0, failed="late")])
    )
    group = made["summary"]["with_anchor"]
    assert (group["runs"], group["healthy_runs"], group["forks"]) == (2, 1, 1)
    assert (group["gap_s"]["max"], group["gap_s"]["count"]) == (3.0, 1)
    assert group["floor"]["gap_s"]["count"] == 0 and group["ratio_p50"] is None
    assert (group["floor"]["healthy_firings"], group["floor"]["firings"]) == (0, 1)
    targets = made["summary"]["targets"]
    assert (targets["all_healthy"], targets["no_fork"], targets["ratio_p50_at_most_1.5"]) == (False, False, None)


def test_targets_are_about_the_worst_run() -> None:
    made = report.as_json(
        result(runs=[run(3.0), run(3.0, spread_ms=25.0), run(3.1, coordination_s=0.31)], floors=[fired(2.9)])
    )
    assert made["summary"]["targets"] == {
        "all_healthy": True,
        "no_fork": True,
        "ratio_p50_at_most_1.5": True,
        "spread_at_most_20_ms": False,
        "coordination_at_most_0.3_s": False,
        "gap_foretold_in_90%": None,
    }


def test_a_gap_is_foretold_where_the_plans_interval_holds_it() -> None:
    right = [run(3.0, predicted_s=[2.5, 4.0]) for _run in range(9)]
    made = report.as_json(result(runs=[*right, run(4.1, predicted_s=[2.6, 4.05])]))
    assert made["summary"]["with_anchor"]["foretold"] == {"runs": 10, "held": 9, "low_s": 2.5, "high_s": 4.05}
    assert made["summary"]["targets"]["gap_foretold_in_90%"] is True
    assert "foretold: 2.50 to 4.05 s, 9 of 10 gaps within their own interval" in report.table(
        result(runs=[*right, run(4.1, predicted_s=[2.6, 4.05])])
    )
    late = [run(4.1, predicted_s=[2.5, 4.0]), run(4.1, predicted_s=[2.5, 4.0], failed="no quorum")]
    assert report.as_json(result(runs=right + late + late))["summary"]["targets"]["gap_foretold_in_90%"] is False


def test_the_worse_kind_decides_on_the_ratio() -> None:
    runs = [run(3.0), run(6.4, anchor=False)]
    made = report.as_json(result(runs=runs, floors=[fired(3.0), fired(4.0, anchor=False)]))
    assert made["summary"]["targets"]["ratio_p50_at_most_1.5"] is False


def test_the_guide_is_counted_by_how_it_ended() -> None:
    guide = [
        outcome(5),
        outcome(5, fork=True),
        outcome(0, stalled=True),
        outcome(3, fork=True, stalled=True),
        outcome(4),
        report.Guide(failed="no chain"),
    ]
    made = report.as_json(result(guide=guide))
    assert made["summary"]["guide"] == {
        "runs": 5,
        "not_run": 1,
        "healthy": 1,
        "forked": 2,
        "stalled": 2,
        "members_lost": 1,
    }
    assert made["guide"][2]["healthy"] == 0 and made["guide"][2]["stalled"] is True
    assert made["guide"][5] == {"healthy": None, "fork": None, "stalled": None, "failed": "no chain"}


def test_the_file_is_plain_json_and_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "result.json"
    report.write(result(), path)
    report.write(result(runs=[run(3.0)], finished=True), path)
    read = json.loads(path.read_text())
    assert read["finished"] is True and read["runs"][0]["gap_s"] == 3.0
    assert {"binary", "runs", "guide", "summary"} <= set(read)
    wanted = {"healthy", "fork", "gap_s", "parts_s", "floor_s", "spread_ms", "coordination_s", "total_s"}
    assert wanted <= set(read["runs"][0])
    assert [one.name for one in path.parent.iterdir()] == ["result.json"]


def test_the_table_says_what_was_measured_and_what_was_not() -> None:
    made = copies.Copies(
        apparent_bytes=1 << 31, rsync_s=22.0, rsync_written_bytes=1 << 31, last_copy_s={"node-2": 0.25}
    )
    text = report.table(
        result(
            runs=[run(3.0), run(4.0, anchor=False)],
            floors=[fired(2.5)],
            guide=[outcome(0, stalled=True)],
            copies=made,
            preflight_s=[12.0],
            problems=["interrupted"],
        )
    )
    assert "1.20 x floor" in text
    assert "without anchor: 1 of 1 migrations healthy" in text
    assert "22.000 s, 2048 MiB written" in text and "0.250 s" in text
    assert "1 runs, 0 healthy, 0 forked, 1 stalled" in text
    assert "problem: interrupted" in text


def test_transactions_of_an_evm_chain_have_a_row_of_their_own() -> None:
    runs = [
        run(3.0, anchor=False, transactions=number, inclusion_s=slowest) for number, slowest in ((90, 4.1), (80, 9))
    ]
    made = result(runs=[*runs, run(3.0, anchor=False, failed="late")])
    group = report.as_json(made)["summary"]["without_anchor"]
    assert (group["transactions"], group["inclusion_s"]["max"], group["inclusion_s"]["count"]) == (170, 9, 2)
    assert "170 mined, each once" in report.table(made)
    assert "mined" not in report.table(result(runs=[run(3.0)]))


def test_nothing_measured_is_still_a_table() -> None:
    assert "unknown  all healthy" in report.table(result())


def parse(*argv: str, **environ: str) -> argparse.Namespace:
    return bench.parse(argv, environ)


def test_the_environment_of_make_is_read() -> None:
    chosen = parse(N="20", SEED="copy_then_follow", ANCHOR="yes", GUIDE="0", FLOOR="9", COPY="0")
    assert (chosen.runs, chosen.seed, chosen.anchor, chosen.guide, chosen.floor, chosen.copy) == (
        *(20, "copy_then_follow", "yes", 0, 9, 0),
    )
    assert parse("--runs", "3", N="20").runs == 3


@pytest.mark.parametrize("wrong", [{"N": "many"}, {"SEED": "telepathy"}, {"ANCHOR": "maybe"}])
def test_what_means_nothing_is_refused(wrong: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(**wrong)
    assert next(iter(wrong.values())) in capsys.readouterr().err


def test_anchors_are_taken_in_turns_and_copied_joiners_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert bench.anchors("both", "follow") == [True, False]
    assert bench.anchors("no", "follow") == [False]
    assert bench.anchors("both", "copy") == [False]
    monkeypatch.setenv("LAB_EXECUTION", "geth")
    assert bench.anchors("both", "follow") == [False]


@pytest.fixture
def lab_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bench.Bench:
    node = tmp_path / "node"
    node.write_text("#!/bin/sh\n")
    node.chmod(0o755)
    monkeypatch.setenv("EVNODE_BINARY", str(node))
    lab = from_environment({"LAB_NAME": "unit"})
    chosen = parse("--runs", "3", "--floor", "2", "--guide", "1", "--copy", "0", "--anchor", "yes")
    chosen.output = tmp_path / "out"
    made = bench.Bench(lab, chosen)
    for name in ("fresh_chain", "version"):
        monkeypatch.setattr(bench.migration, name, lambda *_given: "v1")
    monkeypatch.setattr(bench.migration, "preflight", lambda *_given: 5.0)
    monkeypatch.setattr(bench.fleet, "down", lambda _lab: None)
    return made


def read(made: bench.Bench) -> Any:
    return json.loads((made.folder / "result.json").read_text())


def test_a_run_that_fails_is_recorded_and_the_bench_goes_on(
    lab_bench: bench.Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    staged: list[bool] = []
    runs = iter([run(3.0), LabError("node-3 is off"), run(3.2)])
    firings = iter([LabError("no block"), fired(2.5)])
    partial: list[int] = []

    def next_of(things: Any) -> Any:
        found = next(things)
        if isinstance(found, Exception):
            raise found
        return found

    def migrate(*_given: object, **_named: object) -> migration.Run:
        partial.append(len(read(lab_bench)["runs"]))
        return next_of(runs)  # type: ignore[no-any-return]

    def follow(*_given: object) -> Outcome:
        raise ValueError("unreadable")

    monkeypatch.setattr(bench.migration, "migrate", migrate)
    monkeypatch.setattr(bench.floor, "stage", lambda *_given: staged.append(True))
    monkeypatch.setattr(bench.floor, "rehearse", lambda *_given: next_of(firings))
    monkeypatch.setattr(bench.guide, "follow", follow)
    assert bench.run(lab_bench) == 1
    made = read(lab_bench)
    assert [one["failed"] for one in made["runs"]] == ["", "node-3 is off", ""]
    assert [one["failed"] for one in made["floors"]] == ["no block", ""]
    assert made["guide"][0]["failed"] == "unreadable"
    assert made["summary"]["with_anchor"]["healthy_runs"] == 2
    assert made["finished"] is True
    # Each run found what those before it had measured on disk already, and the hosts were staged anew after a failure.
    assert partial == [0, 1, 2]
    assert len(staged) == 2
    assert "migration 2/3 with anchor: FAILED: node-3 is off" in capsys.readouterr().out


def test_staged_hosts_are_fired_again_without_staging(lab_bench: bench.Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    did: list[str] = []
    firings = iter([fired(2.5), fired(2.6)])
    lab_bench.chosen.runs = lab_bench.chosen.guide = 0
    monkeypatch.setattr(bench.floor, "stage", lambda *_given: did.append("stage"))
    monkeypatch.setattr(bench.floor, "put_back", lambda *_given: did.append("put back"))
    monkeypatch.setattr(bench.floor, "rehearse", lambda *_given: did.append("fire") or next(firings))
    assert bench.run(lab_bench) == 0
    assert did == ["stage", "fire", "put back", "fire"]


def test_an_interrupted_bench_keeps_what_it_has_and_takes_the_lab_down(
    lab_bench: bench.Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    down: list[str] = []
    lab_bench.chosen.floor = 0

    def migrate(*_given: object, **_named: object) -> migration.Run:
        if lab_bench.result.runs:
            raise KeyboardInterrupt("SIGTERM")
        return run(3.0)

    monkeypatch.setattr(bench.migration, "migrate", migrate)
    monkeypatch.setattr(bench.fleet, "down", lambda lab: down.append(lab.name))
    assert bench.run(lab_bench) == 2
    made = read(lab_bench)
    assert (len(made["runs"]), made["finished"], made["problems"]) == (1, False, ["interrupted by SIGTERM"])
    assert down == ["unit"]
