# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.module_utils._window.host import HostError
from ansible_collections.evnode.sequencer_ha.plugins.modules.cutover_window import settings_of

MEMBERS = [{"node_id": f"node-{number}", "address": f"10.0.0.{number}:5001"} for number in (1, 2, 3)]
LIMITS = {"arm": 60.0, "freeze": 30.0, "stop": 45.0, "agree": 10.0, "hold": 60.0, "health": 60.0}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"member": "node-9"}, "is not among the members", id="a-stranger"),
        pytest.param({"role": "coordinator"}, "but the coordinator of 10.0.0.1:5001 is node-1", id="two-coordinators"),
        pytest.param({"raft_address": "10.0.0.9:5001"}, "exactly one member with address", id="no-coordinator"),
        pytest.param({"limits": {**LIMITS, "agree": 31.0}}, "at least twice limits.agree", id="hold-below-agree"),
        pytest.param({"limits": {**LIMITS, "stop": 50.0}}, "more than limits.stop and limits.agree", id="a-long-stop"),
        pytest.param({"key": "short"}, "shorter than 32", id="a-short-key"),
    ],
)
def test_settings_that_contradict_each_other(changes, reason):
    given = {
        "members": MEMBERS,
        "member": "node-2",
        "role": "participant",
        "raft_address": "10.0.0.1:5001",
        "limits": LIMITS,
        "key": "k" * 32,
    }
    with pytest.raises(HostError, match=reason):
        settings_of({**given, **changes})
