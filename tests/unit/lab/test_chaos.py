# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest

from lab.chaos.__main__ import summary
from lab.chaos.cases import CONTROLLER, FAULTS, PLACES, VICTIMS, Case, Place, Row, combinations, draw, table
from lab.chaos.trial import untrue
from lab.trial.play import Outcome


def test_a_seed_is_one_case_for_ever() -> None:
    assert draw(7) == draw(7)
    assert len({draw(seed)[1:] for seed in range(combinations())}) == combinations()


def test_the_first_seeds_kill_the_controller_at_every_place_the_moment_it_is_told() -> None:
    first = [draw(seed) for seed in range(len(PLACES))]
    assert [case.place for case in first] == PLACES
    assert {(case.fault, case.victims, case.delay_s) for case in first} == {(CONTROLLER, (), 0.0)}


def test_all_seeds_go_through_every_fault_at_every_place_of_the_cutover() -> None:
    drawn = {draw(seed)[1:4] for seed in range(combinations())}
    for place in PLACES:
        for fault in FAULTS:
            for victims in VICTIMS:
                in_the_window = {"window_start", "window_open", "frozen", "holding", "committed", "window_closed"}
                others = {"configured", "sealing", "sealed", "settling", "settled"}
                if place.event in in_the_window or "window" not in fault:
                    assert (place, fault, victims) in drawn
                elif place.event in others or place.start != "staged":
                    assert (place, fault, victims) not in drawn


def test_the_table_names_the_seed_and_what_was_violated() -> None:
    rows = [Row(draw(3), "single", 12.0, 1.0, []), Row(draw(4), "cluster", 13.0, None, ["two writers"])]
    text = table(rows)
    assert text.count("seed 3: ") == text.count("seed 4: ") == text.count("two writers") == 1 and " ok" in text
    assert "2 cases (1 cluster, 1 single)" in summary(rows) and "seeds [4]" in summary(rows)


CALLED_OFF = "Called off, the single sequencer produces as before: node-3 is away."


@pytest.mark.parametrize(
    ("start", "code", "text", "ended", "wrong"),
    [
        pytest.param("staged", 0, "", "cluster", "", id="done"),
        pytest.param("staged", 0, "", "single", "said that all was well", id="done-and-not-so"),
        pytest.param("cluster", 0, "", "cluster", "said that all was well", id="rolled-back-and-not-so"),
        pytest.param("staged", 2, CALLED_OFF, "single", "", id="called-off"),
        pytest.param("staged", 2, CALLED_OFF, "cluster", "said single, and it was cluster", id="called-off-and-not-so"),
        pytest.param("cluster", 2, "Mend that and run rollback again.", "cluster", "", id="again"),
        pytest.param("staged", 2, "unreachable", "single", "did not say", id="no-word"),
    ],
)
def test_what_a_run_said_has_to_be_so(start, code, text, ended, wrong):
    case = Case(1, Place(start, "frozen", "node-1"), "power cut", ("node-1",), 0.0, "rollback")
    (words,) = untrue(case, Outcome(code, text, Path("log"), 1.0, {}), ended) or [""]
    assert wrong in words and bool(wrong) is bool(words)
