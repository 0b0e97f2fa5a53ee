# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab.bench import chains, copies, migration, stats
from lab.errors import LabError


@pytest.mark.parametrize(
    ("values", "share", "wanted"),
    [
        ([], 0.5, None),
        ([3.0], 0.95, 3.0),
        ([1.0, 2.0, 3.0, 4.0], 0.5, 2.0),
        ([4.0, 1.0, 3.0, 2.0, 5.0], 0.5, 3.0),
        ([float(number) for number in range(1, 21)], 0.95, 19.0),
        ([float(number) for number in range(1, 21)], 1.0, 20.0),
        ([1.0, 2.0], 0.0, 1.0),
    ],
)
def test_a_percentile_is_a_value_that_was_seen(values: list[float], share: float, wanted: float | None) -> None:
    assert stats.percentile(values, share) == wanted


def test_a_spread_leaves_out_what_was_not_measured() -> None:
    assert stats.spread_of([2.0, None, 1.0, 4.0]) == {"p50": 2.0, "p95": 4.0, "max": 4.0, "count": 3}
    assert stats.spread_of([None]) == {"p50": None, "p95": None, "max": None, "count": 0}


def test_parts_keep_the_order_of_a_pause_and_count_only_who_has_them() -> None:
    found = stats.by_name([{"block_s": 1.0, "odd_s": 5.0, "seen_s": 0.1}, {"block_s": 2.0}])
    assert list(found) == ["seen_s", "block_s", "odd_s"]
    assert (found["block_s"]["count"], found["block_s"]["max"], found["seen_s"]["count"]) == (2, 2.0, 1)


def test_a_ratio_needs_both_sides() -> None:
    assert stats.ratio(3.0, 2.0) == 1.5
    assert stats.ratio(None, 2.0) is None
    assert stats.ratio(3.0, None) is None
    assert stats.ratio(3.0, 0.0) is None


def test_two_blocks_at_one_height_are_a_conflict_wherever_they_are() -> None:
    stores = {
        "node-1": {1: "a", 2: "b", 3: "c"},
        "node-2": {1: "a", 2: "b"},
        "as it was made": {1: "a", 2: "X"},
    }
    assert stats.conflicts(stores) == {2: {"node-1": "b", "node-2": "b", "as it was made": "X"}}
    stores["as it was made"][2] = "b"
    assert stats.conflicts(stores) == {}


def test_stores_of_different_length_are_no_conflict() -> None:
    assert stats.conflicts({"node-1": {1: "a", 2: "b"}, "node-2": {}}) == {}


def test_a_block_on_another_parent_is_glued() -> None:
    parents = {1: "", 2: "h1", 3: "other", 4: "h3"}
    assert stats.glued(parents, {1: "h1", 2: "h2"}) == [3]
    assert stats.glued(parents, {1: "h1"}) == []


RECEIPT = {
    "started_at": 1000.25,
    "parts": {"stop_s": 0.05, "last_block_s": 0.03, "agree_s": 0.12, "commit_s": 0.04, "start_s": 0.01, "arm_s": 9.0},
}
MARKS = {"raft": 1000.75, "leader": 1001.25, "leading": 1001.3, "ready": 1001.4}


def test_the_parts_of_a_pause_add_up_to_it() -> None:
    parts, coordination = stats.pause_parts(
        block_ns=1_000_000_000_000, next_ns=1_002_400_000_000, receipt=RECEIPT, marks=MARKS
    )
    assert list(parts) == [
        *("seen_s", "last_block_s", "agree_s", "commit_s", "start_s"),
        *("process_s", "election_s", "takeover_s", "p2p_s", "block_s"),
    ]
    assert sum(parts.values()) == pytest.approx(2.4)
    assert parts["seen_s"] == pytest.approx(0.05)
    assert parts["block_s"] == pytest.approx(1.0)
    # Everything between the old block and the start of the process, but the stop.
    assert coordination == pytest.approx(0.2)


def test_a_receipt_without_its_parts_has_no_share_of_coordination() -> None:
    receipt = {"started_at": 1000.25, "parts": {"stop_s": 0.05, "agree_s": 0.12}}
    parts, coordination = stats.pause_parts(
        block_ns=1_000_000_000_000, next_ns=1_002_400_000_000, receipt=receipt, marks=MARKS
    )
    assert coordination is None
    assert "seen_s" not in parts and parts["process_s"] == 0.5


def test_a_log_that_says_less_gives_fewer_parts() -> None:
    parts, _gap = stats.pause_parts(block_ns=1_000_000_000_000, next_ns=1_002_400_000_000, receipt=RECEIPT, marks={})
    assert list(parts) == ["seen_s", "last_block_s", "agree_s", "commit_s", "start_s"]


def test_the_floor_has_the_same_parts_after_the_start() -> None:
    parts = stats.floor_parts(block_ns=1_000_000_000_000, next_ns=1_002_300_000_000, started=1000.1, marks=MARKS)
    assert parts["until_start_s"] == pytest.approx(0.1)
    assert sum(parts.values()) == pytest.approx(2.3)


def test_the_spread_of_starts_is_in_milliseconds() -> None:
    assert stats.spread_ms([10.0, 10.0125, 10.002]) == 12.5
    assert stats.spread_ms([10.0]) is None


def test_missed_slots_are_counted_by_the_usual_distance() -> None:
    second = 1_000_000_000
    times = {height: height * second for height in range(1, 31)}
    times[31] = times[30] + int(2.6 * second)
    assert migration.missed_slots(times, 30) == 2
    times[31] = times[30] + second
    assert migration.missed_slots(times, 30) == 0


def journal(*lines: tuple[float, object]) -> str:
    return "\n".join(
        json.dumps({"__REALTIME_TIMESTAMP": str(int(at * 1e6)), "MESSAGE": message}) for at, message in lines
    )


def test_marks_are_those_of_the_start_that_was_asked_for_and_in_order() -> None:
    text = journal(
        (99.0, "starting leader operations"),
        (100.5, "initialized raft node addr=10.0.0.1"),
        (100.6, "initialized state height=9"),
        (101.0, list(b"\x1b[36mraft\x1b[0m: entering leader state: leader")),
        (101.1, "starting leader operations"),
        (101.2, "initialized state height=9"),
        (105.0, "initialized state height=12"),
    )
    assert chains.marks_of(text + "\nnot json\n", 100.0) == {
        "raft": 100.5,
        "leader": 101.0,
        "leading": 101.1,
        "ready": 101.2,
    }


def test_a_log_without_the_lines_has_no_marks() -> None:
    assert chains.marks_of("", 0.0) == {}
    assert chains.marks_of(journal((5.0, None), (6.0, "produced block")), 0.0) == {}


def store(digests: str, *, first: int = 1) -> chains.Store:
    found = chains.Store()
    for height, letter in enumerate(digests, first):
        found.digests[height] = letter
        found.parents[height] = f"hash-{height - 1}"
    return found


def test_a_fork_below_the_seam_is_seen_against_the_witness() -> None:
    run = migration.Run(anchor=True, seed="follow")
    migration.judge(run, {"node-1": store("abXd"), "node-2": store("abXd")}, store("abc"))
    assert run.fork and "fork at 3" in run.failed


def test_one_chain_is_no_fork_and_has_no_hole() -> None:
    run = migration.Run(anchor=True, seed="follow")
    witness = store("abc")
    witness.hashes = {3: "hash-3"}
    migration.judge(run, {"node-1": store("abcd"), "node-2": store("abc")}, witness)
    assert (run.fork, run.continuous, run.failed) == (False, True, "")


def test_a_block_glued_to_another_parent_is_a_fork() -> None:
    run = migration.Run(anchor=True, seed="follow")
    witness = store("abc")
    witness.hashes = {3: "the one that was there"}
    migration.judge(run, {"node-1": store("abcd")}, witness)
    assert run.fork and "another parent" in run.failed


def test_blocks_that_were_seen_and_are_gone_are_a_failure() -> None:
    run = migration.Run(anchor=True, seed="follow")
    migration.judge(run, {"node-1": store("abc")}, store("abcde"))
    assert not run.fork and "the last 2 of 5 blocks" in run.failed


def test_a_hole_is_not_continuous() -> None:
    run = migration.Run(anchor=True, seed="follow")
    migration.judge(run, {"node-1": store("bcd", first=2)}, store(""))
    assert not run.continuous


def test_rsync_writes_whole_files() -> None:
    text = "Total file size: 2,281,704,243 bytes\nTotal transferred file size: 2,281,700,000 bytes\n"
    assert copies.written(text) == 2281700000
    with pytest.raises(LabError, match="statistics"):
        copies.written("rsync error")


def test_holes_are_told_from_data_by_blocks_on_disk() -> None:
    listing = "2147483646 8 /h/data/executor/000001.vlog\n10 8 /h/data/a b\n"
    assert copies.parse_listing(listing) == [
        (2147483646, 4096, "/h/data/executor/000001.vlog"),
        (10, 4096, "/h/data/a b"),
    ]


def test_last_words_are_the_failing_task(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    log.write_text("TASK [x]\nfatal: [node-1]: FAILED!\n  msg: the store differs\nPLAY RECAP\nnode-1 : ok=1\n")
    assert migration.last_words(log) == "msg: the store differs"
    assert migration.last_words(log.with_name("none")) == "no output"
