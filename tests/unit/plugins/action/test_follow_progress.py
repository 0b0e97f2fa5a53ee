# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action waits for the tip, prints each new line once, and gives up with the last state seen."""

from __future__ import annotations

import re
import types
import typing as t

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.action import follow_progress


class Clock:
    """Time that passes only when the action sleeps or asks."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.now += seconds


class Bench:
    """The action with a follower that gives recorded answers, the last one for ever."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, heights: list[int | None], *, check_mode: bool = False) -> None:
        self.clock = Clock()
        self.lines: list[str] = []
        self.asked: list[dict[str, t.Any]] = []
        self._heights = heights
        self.action = follow_progress.ActionModule.__new__(follow_progress.ActionModule)
        self.action._clock = self.clock
        self.action._task = types.SimpleNamespace(check_mode=check_mode)
        self.action._display = types.SimpleNamespace(display=self.lines.append)
        monkeypatch.setattr(follow_progress.ActionBase, "run", lambda *_a, **_m: {})
        monkeypatch.setattr(self.action, "_execute_module", self.answer)

    def answer(self, **call: t.Any) -> dict[str, t.Any]:
        self.asked.append(call)
        self.clock.now += 0.3
        height = self._heights.pop(0) if len(self._heights) > 1 else self._heights[0]
        return {"status": {"height": height, "p2p_head": None, "reasons": {"height": "refused"}}}

    def run(self, **args: t.Any) -> dict[str, t.Any]:
        given = {"rpc_address": "127.0.0.1:7331", "target_height": 100, "lag": 2, "timeout": 60, "stall": 30}
        wanted = {**given, "interval": 2.0, **args}
        self.action.validate_argument_spec = lambda argument_spec: (None, wanted)
        return dict(self.action.run(task_vars={"inventory_hostname": "node-3"}))


def test_it_waits_until_the_tip_and_returns_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, [None, 10, 60, 98])
    assert bench.run() == {"changed": False, "height": 98, "target": 100, "seconds": pytest.approx(7.2)}
    assert bench.lines[0] == "node-3: no answer yet (refused)"
    assert bench.lines[-1] == "node-3: 98/100 (98 %)"
    assert bench.asked[0]["module_name"] == "evnode.sequencer_ha.node_status_info"


def test_a_line_that_says_nothing_new_is_not_printed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, [None, None, None, 100])
    bench.run()
    assert len(bench.lines) == 2


def test_a_follower_that_stands_still_is_an_error_with_its_height(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, [10])
    result = bench.run()
    assert result["failed"]
    assert re.match(r"node-3 got no new block for 3\d s: height 10 of 100; look at", result["msg"])
    assert result["height"] == 10


def test_time_that_runs_out_is_an_error_with_the_last_state(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, list(range(1, 90)))
    result = bench.run()
    assert result["failed"]
    assert re.search(r"within 2 blocks of the tip after 60 s, found height \d+ of 100", result["msg"])
    assert bench.clock.now < 1062


def test_check_mode_asks_once(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, [None], check_mode=True)
    assert bench.run()["height"] is None
    assert len(bench.asked) == 1
