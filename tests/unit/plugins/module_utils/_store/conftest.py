# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the store tests."""

from __future__ import annotations

import pathlib
import typing as t

import pytest

from tests.unit.plugins.module_utils._store.store_pair import Pair


@pytest.fixture
def pair(tmp_path: pathlib.Path) -> t.Iterator[Pair]:
    made = Pair(tmp_path)
    yield made
    for link in made.links:
        if link.process.poll() is None:
            link.process.kill()
            link.process.wait()
