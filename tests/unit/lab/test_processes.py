# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from lab import processes
from lab.errors import LabError
from lab.shell import run, wait_for


def test_stat_of_a_process_with_a_difficult_name() -> None:
    rest = " ".join(str(number) for number in range(5, 53))
    line = f"42 (a) b (c)) S 7 {rest}"
    assert processes.parse_stat(line) == ("S", 7, int(line.rpartition(")")[2].split()[19]))


def test_own_start_time_is_known_and_a_dead_pid_has_none() -> None:
    assert processes.start_time(os.getpid()) is not None
    assert processes.start_time(2**22 + 5) is None


def test_start_record_end(tmp_path: Path) -> None:
    record = tmp_path / "x.json"
    found = processes.start(["sleep", "60"], record=record, log=tmp_path / "log")
    assert processes.recorded(record) == found
    assert processes.end(record, soft=5)
    processes.reap()
    assert not record.exists()
    assert not found.alive()
    assert not processes.end(record, soft=5)


def test_a_pid_that_another_process_has_now_is_left_alone(tmp_path: Path) -> None:
    record, other = tmp_path / "x.json", tmp_path / "other.json"
    found = processes.start(["sleep", "60"], record=other, log=tmp_path / "log")
    record.write_text(json.dumps({"pid": found.pid, "start": found.start - 1}), encoding="utf-8")
    assert not processes.end(record, soft=0)
    assert found.alive()
    assert processes.end(other, soft=0)
    processes.reap()


def test_a_process_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    record = tmp_path / "x.json"
    ready = tmp_path / "ready"
    code = f"import signal, time; signal.signal({int(signal.SIGTERM)}, signal.SIG_IGN); open({str(ready)!r}, 'w'); "
    found = processes.start(["python3", "-c", code + "time.sleep(60)"], record=record, log=tmp_path / "log")
    wait_for("start", lambda: None if ready.exists() else "not yet", timeout=10)
    assert processes.end(record, soft=0.2)
    processes.reap()
    assert not found.alive()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x", "start": 1}', '{"pid": 1}'])
def test_a_damaged_record_is_no_process(text: str, tmp_path: Path) -> None:
    record = tmp_path / "x.json"
    record.write_text(text, encoding="utf-8")
    assert processes.recorded(record) is None


def test_run_tells_the_commands_own_words() -> None:
    with pytest.raises(LabError, match="ended with 3: no luck"):
        run(["sh", "-c", "echo no luck >&2; exit 3"])
    with pytest.raises(LabError, match="did not end within"):
        run(["sleep", "5"], timeout=0.1)
    with pytest.raises(LabError, match="not installed"):
        run(["no-such-command-here"])


def test_wait_reports_what_was_seen_last() -> None:
    states = iter(["one", "two", *["three"] * 1000])
    with pytest.raises(LabError, match=r"thing: not within 0\.05 s; last seen: three"):
        wait_for("thing", lambda: next(states), timeout=0.05, interval=0.01)
