# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.module_utils._wait import wait_until


@pytest.mark.parametrize(
    ("heights", "timeout", "ok", "last", "attempts", "elapsed"),
    [
        pytest.param([5], 0, True, 5, 1, 0, id="already-there-needs-no-time"),
        pytest.param([3, 4, 5], 2, True, 5, 3, 2, id="gets-there-at-the-limit"),
        pytest.param([3, 3, 3, 5], 2, False, 3, 3, 2, id="one-probe-too-late"),
        pytest.param([3], 0, False, 3, 1, 0, id="zero-timeout-still-probes-once"),
        pytest.param([3, 3, 5], 1.5, True, 5, 3, 1.5, id="the-last-probe-is-at-the-limit"),
    ],
)
def test_wait_until(fake_clock, heights, timeout, ok, last, attempts, elapsed):
    answers = iter(heights)
    result = wait_until(
        lambda: next(answers), lambda height: height >= 5, timeout=timeout, interval=1, clock=fake_clock
    )
    assert result == (ok, last, attempts, elapsed)
