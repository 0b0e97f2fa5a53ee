# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guide itself: run, and its outcome printed. What it does to a chain is left to chance, so it is not asserted."""

from __future__ import annotations

import os
import random

import pytest

from .guide import MEMBERS, Outcome, follow_the_guide, table
from .node import World

DEFAULT_RUNS = 3


def test_the_guide_followed_to_the_letter(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Fails only if a run cannot be prepared or its outcome cannot be read from the five stores."""
    outcomes: list[Outcome] = []
    chance = random.Random()
    for _ in range(int(os.environ.get("GUIDE_RUNS") or DEFAULT_RUNS)):
        with world.bench() as bench:
            outcomes.append(follow_the_guide(bench, chance))
    with capsys.disabled():
        print("\n" + table(outcomes))
    for outcome in outcomes:
        assert 0 <= outcome.healthy <= MEMBERS
        assert outcome.copied_at < outcome.head <= outcome.tip
