# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.evnode.sequencer_ha.plugins.filter import migration


def test_a_member_that_is_away_is_shown_with_the_reason_and_hides_no_other():
    hostvars = {
        "node-1": {"evnode_self": {"unreachable": True, "msg": "no route to host"}},
        "node-2": {
            "evnode_self": {"sequencer": {"mode": "raft"}},
            "own": {"status": {"height": 22, "head_hash": "cd" * 32, "leader": True, "unit_active": False}},
        },
        "node-3": {},
    }
    away, other, silent = migration.status_table(["node-1", "node-2", "node-3"], hostvars, "evnode_self", "own")
    assert away.startswith("node-1: mode unknown") and "unit unknown" in away
    assert away.endswith("(was unreachable: no route to host)")
    assert other == "node-2: mode raft, leader, height 22, hash cdcdcdcdcdcdcdcd, lag 0, unit not active"
    assert silent.endswith("(gave no answer)")
