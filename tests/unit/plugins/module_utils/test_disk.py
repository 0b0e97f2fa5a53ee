# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.module_utils import _disk

MOUNTS = """22 1 8:1 / / rw - ext4 /dev/sda1 rw
30 22 0:40 / /srv/chain\\040data rw shared:1 - nfs4 server:/x rw
"""


@pytest.fixture
def proc(tmp_path: Path) -> str:
    folder = tmp_path / "proc"
    (folder / "self").mkdir(parents=True)
    (folder / "self" / "mountinfo").write_text(MOUNTS)
    return str(folder)


@pytest.mark.parametrize(
    ("path", "kind"), [("/srv/chain data/home", "nfs4"), ("/srv/chain dataX", "ext4"), ("/", "ext4")]
)
def test_file_system_of_a_path_that_need_not_exist(proc, path, kind):
    assert _disk.file_system(path, proc) == kind


def test_free_space_where_a_path_would_be_created(tmp_path):
    assert _disk.free_bytes(str(tmp_path / "a" / "b")) == _disk.free_bytes(str(tmp_path))


@pytest.mark.parametrize(
    ("files", "available", "found"), [(1000, 12, 12), (0, 0, None)], ids=["so many", "no fixed number"]
)
def test_inodes_that_are_left(monkeypatch, files, available, found):
    monkeypatch.setattr(_disk.os, "statvfs", lambda path: SimpleNamespace(f_files=files, f_favail=available))
    assert _disk.free_inodes("/srv/chain") == found


def test_holes_are_not_counted(tmp_path):
    assert _disk.real_bytes(str(tmp_path)) is None
    with (tmp_path / "sparse").open("wb") as handle:
        handle.truncate(1 << 30)
    size = _disk.real_bytes(str(tmp_path))
    assert size is not None
    assert size < 1 << 20


class Ticks:
    """Every reading is as much later than the last one as the next of these steps says."""

    def __init__(self, *steps: float) -> None:
        self.steps, self.now = iter(steps), 0.0

    def monotonic(self) -> float:
        self.now += next(self.steps)
        return self.now

    def sleep(self, seconds: float) -> None:
        raise AssertionError("nobody waits here")


def test_how_long_a_write_takes_to_the_disk(tmp_path):
    found = _disk.sync_times(str(tmp_path / "raft"))
    assert found["samples"] > 0
    assert 0 <= found["p50_ms"] <= found["p99_ms"] <= found["max_ms"]
    assert os.listdir(tmp_path) == []


def test_the_slowest_of_a_hundred_writes_is_no_verdict_but_the_second_is(tmp_path):
    # The begin; then the limit, before and after each write.
    steps = (0.0, *(step for number in range(100) for step in (0.0, 0.0, 0.3 if number in (7, 60) else 0.001)), 0.0)
    found = _disk.sync_times(str(tmp_path), limit_s=5, clock=Ticks(*steps))
    assert (found["samples"], found["p50_ms"], found["p99_ms"], found["max_ms"]) == (100, 1.0, 300.0, 300.0)
    steps = (0.0, *(step for number in range(100) for step in (0.0, 0.0, 0.3 if number == 7 else 0.001)), 0.0)
    assert _disk.sync_times(str(tmp_path), limit_s=5, clock=Ticks(*steps))["p99_ms"] == 1.0


def test_a_slow_disk_is_not_asked_a_hundred_times(tmp_path):
    found = _disk.sync_times(str(tmp_path), limit_s=1.0, clock=Ticks(*[0.1] * 50))
    assert 1 <= found["samples"] < 6


def test_a_file_system_without_nameless_files(monkeypatch, tmp_path):
    def refuse(*_given: object, **_named: object) -> int:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(_disk.os, "open", refuse)
    found = _disk.sync_times(str(tmp_path))
    assert found["p99_ms"] is None
    assert found["reason"] == f"no file without a name at {tmp_path}: Operation not supported"
