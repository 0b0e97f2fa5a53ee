# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bandwidth and progress, by a clock that the test moves."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.module_utils._store.pace import (
    Progress,
    TokenBucket,
    progress_writer,
)
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._store.tree import StoreError


class FakeClock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.now += seconds


def test_the_bucket_keeps_the_rate_over_time() -> None:
    clock = FakeClock()
    bucket = TokenBucket(1000, clock=clock)
    for _round in range(100):
        bucket.take(100)
    assert clock.now - 100 == pytest.approx((100 * 100 - 250) / 1000)


def test_time_that_went_by_unused_gives_a_quarter_of_a_second_at_most() -> None:
    clock = FakeClock()
    bucket = TokenBucket(1000, clock=clock)
    clock.now += 3600
    before = clock.now
    bucket.take(250)
    assert clock.now == before
    bucket.take(250)
    assert clock.now == pytest.approx(before + 0.25)


def test_no_limit_never_waits() -> None:
    clock = FakeClock()
    TokenBucket(0, clock=clock).take(1 << 50)
    assert clock.now == 100


def test_a_negative_bandwidth_is_refused() -> None:
    with pytest.raises(StoreError, match="Expected a bandwidth of 0"):
        TokenBucket(-1)


def test_progress_knows_rate_and_time_left_and_is_not_told_too_often() -> None:
    clock = FakeClock()
    told: list[dict[str, t.Any]] = []
    progress = Progress("warm", told.append, clock=clock)
    progress.copying(1000, 4)
    for _round in range(8):
        clock.now += 0.125
        progress.add(50)
    assert [state["bytes_done"] for state in told] == [0, 0, 200, 400]
    assert told[-1] == {
        "phase": "warm",
        "step": "copy",
        "bytes_done": 400,
        "bytes_total": 1000,
        "files_done": 0,
        "files_total": 4,
        "rate": 400.0,
        "seconds_left": 1.5,
    }
    progress.finished()
    assert told[-1]["step"] == "done"


def test_the_progress_file_is_whole_and_private(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "p.json"
    write = progress_writer(str(file), now=lambda: 12.3456)
    write({"step": "copy"})
    write({"step": "done"})
    assert json.loads(file.read_text()) == {"step": "done", "at": 12.346}
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_a_progress_file_that_cannot_be_written_is_an_error(tmp_path: pathlib.Path) -> None:
    with pytest.raises(StoreError, match="progress file"):
        progress_writer(str(tmp_path / "none/p.json"))({})
