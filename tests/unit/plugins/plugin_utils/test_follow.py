# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a follower is, what is printed, and when waiting is given up."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.plugin_utils._follow import Follow, Sight, sight_of


def follow(**more: t.Any) -> Follow:
    return Follow("node-3", **{"target": 5000, "lag": 2, "stall": 60, "now": 0.0, **more})


def test_the_line_tells_height_rate_and_time_left() -> None:
    seen = follow()
    assert seen.look(Sight(400, None), 0.0) == "node-3: 400/5000 (8 %)"
    assert seen.look(Sight(1200, None), 1.0) == "node-3: 1200/5000 (24 %), 800 blocks/s, 5 s left"
    assert not seen.reached


def test_a_slow_follower_has_a_fraction_and_one_that_stands_no_time_left() -> None:
    seen = follow()
    seen.look(Sight(10, None), 0.0)
    assert seen.look(Sight(15, None), 10.0) == "node-3: 15/5000 (0 %), 0.5 blocks/s, 9970 s left"
    seen.look(Sight(15, None), 41.0)
    assert seen.look(Sight(15, None), 50.0) == "node-3: 15/5000 (0 %), 0.0 blocks/s, time left unknown"


@pytest.mark.parametrize(("height", "reached"), [(4997, False), (4998, True), (5000, True), (6000, True)])
def test_the_lag_counts_as_being_there(height: int, reached: bool) -> None:
    seen = follow()
    seen.look(Sight(height, None), 0.0)
    assert seen.reached is reached


def test_the_target_moves_with_the_newest_header_and_never_back() -> None:
    seen = follow()
    seen.look(Sight(5000, 5400), 0.0)
    assert (seen.target, seen.reached) == (5400, False)
    seen.look(Sight(5399, 300), 1.0)
    assert (seen.target, seen.reached) == (5400, True)


def test_the_rate_is_that_of_the_last_half_minute() -> None:
    seen = follow(target=100_000)
    seen.look(Sight(0, None), 0.0)
    for second in range(1, 61):
        seen.look(Sight(second * 100 if second <= 30 else 3000 + (second - 30) * 10, None), float(second))
    assert seen.rate() == pytest.approx(10)


def test_a_follower_that_does_not_answer_says_why_and_is_stuck_in_the_end() -> None:
    seen = follow()
    assert seen.look(Sight(None, None, "connection refused"), 1.0) == "node-3: no answer yet (connection refused)"
    assert seen.stuck(59.0) is None
    assert seen.stuck(61.0) == "node-3 got no new block for 61 s: it does not answer (connection refused)"


def test_every_new_block_starts_the_patience_again() -> None:
    seen = follow()
    seen.look(Sight(1, None), 50.0)
    assert seen.stuck(100.0) is None
    seen.look(Sight(1, None), 100.0)
    assert seen.stuck(111.0) == "node-3 got no new block for 61 s: height 1 of 5000"
    assert follow(stall=0).stuck(1e9) is None


@pytest.mark.parametrize(
    ("answer", "sight"),
    [
        ({"status": {"height": 7, "p2p_head": {"height": 9}, "reasons": {}}}, Sight(7, 9)),
        ({"status": {"height": 7, "p2p_head": None}}, Sight(7, None)),
        ({"status": {"height": None, "reasons": {"height": "refused"}}}, Sight(None, None, "refused")),
        ({"failed": True, "msg": "no python"}, Sight(None, None, "no python")),
        ({"unreachable": True, "msg": "timed out"}, Sight(None, None, "timed out")),
        ({}, Sight(None, None, "no status came back")),
    ],
)
def test_what_a_result_says(answer: dict[str, t.Any], sight: Sight) -> None:
    assert sight_of(answer) == sight
