# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from lab.chaos.cases import FAULTS, VICTIMS, draw, places, table


def test_a_seed_is_one_case_for_ever() -> None:
    assert draw(7) == draw(7)
    assert len({draw(seed)[1:] for seed in range(300)}) > 200


def test_some_hundred_seeds_go_through_every_place_with_every_fault() -> None:
    drawn = [draw(seed) for seed in range(len(places()) * len(FAULTS))]
    assert {(case.event, case.host, case.fault) for case in drawn} == {
        (event, host, fault) for event, host in places() for fault in FAULTS
    }
    assert {case.victims for case in drawn} == {(), *VICTIMS}
    assert all(0 <= case.delay_s <= 1.5 for case in drawn)


def test_the_table_names_the_seed_and_what_was_violated() -> None:
    case = draw(3)
    text = table([(case, "single", 12.0, []), (case, "cluster", 13.0, ["two writers"])])
    assert text.count("seed 3: ") == 2 and text.count("two writers") == 1 and " ok" in text
