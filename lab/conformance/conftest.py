# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures: the world of one session, a bench per test. Every process ends with its bench."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .node import Bench, Settings, World


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """The binary under test and the DA node, for the whole session."""
    with World(Settings.from_environment()) as opened:
        yield opened


@pytest.fixture
def bench(world: World) -> Iterator[Bench]:
    """A directory of its own and the processes started in it."""
    with world.bench() as opened:
        yield opened


@pytest.fixture(scope="module")
def shared_bench(world: World) -> Iterator[Bench]:
    """As ``bench``, for a chain that the tests of one module only read."""
    with world.bench() as opened:
        yield opened
