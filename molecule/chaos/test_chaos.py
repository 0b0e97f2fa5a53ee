# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cutover and a rollback in which something dies, a few of those that `make chaos` has in hundreds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab import fleet
from lab.chaos.cases import CONTROLLER, Case, Place
from lab.chaos.trial import Trial
from lab.settings import from_environment

IN_THE_WINDOW = Case(0, Place("staged", "acknowledged", "node-1"), CONTROLLER, (), 0.0, "the same again")
ON_THE_WAY_BACK = Case(1, Place("cluster", "revert_hold", "node-2"), CONTROLLER, (), 0.0, "the same again")


@pytest.fixture(scope="module")
def trial(folder: Path) -> Iterator[Trial]:
    """A lab that cases start from again and again."""
    lab = from_environment()
    yield Trial(lab, folder / "trial")
    fleet.down(lab)


def run(trial: Trial, case: Case, note: Callable[[str], None]) -> None:
    row = trial.case(case)
    assert row.wrong == []
    assert row.ended in ("single", "cluster")
    note(f"{case}: {row.ended}")


def test_a_cutover_ends_in_a_good_state_and_the_next_run_finishes(trial: Trial, note: Callable[[str], None]) -> None:
    run(trial, IN_THE_WINDOW, note)


def test_a_rollback_ends_in_a_good_state_and_the_next_run_finishes(trial: Trial, note: Callable[[str], None]) -> None:
    # The cluster that the next run has made is as good a start as one that nothing happened to.
    trial.keep("cluster")
    run(trial, ON_THE_WAY_BACK, note)
