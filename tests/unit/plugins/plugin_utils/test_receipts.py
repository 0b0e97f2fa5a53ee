# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.plugin_utils._receipts import judge

FINE = {"receipt": {"height": 7, "hash": "aa"}}


def test_all_receipts_agree():
    verdict = judge({"n1": FINE, "n2": FINE, "n3": FINE}, equal=["height", "hash"])
    assert verdict == (True, {}, ["n1", "n2", "n3"])


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        pytest.param(None, "gave no receipt", id="nothing-registered"),
        pytest.param({}, "gave no receipt", id="empty-result"),
        pytest.param({"changed": True}, "gave no receipt", id="task-after-a-lost-connection"),
        pytest.param({"receipt": None}, "gave no receipt", id="empty-receipt"),
        pytest.param({"failed": True, "msg": "disk full"}, "disk full", id="failed"),
        pytest.param({"failed": True}, "failed without a message", id="failed-silently"),
        pytest.param({"unreachable": True, "msg": "timed out"}, "was unreachable: timed out", id="unreachable"),
        pytest.param({"failed": True, "msg": "no", **FINE}, "no", id="a-receipt-of-a-failed-task-does-not-count"),
    ],
)
def test_a_member_without_a_receipt(result, reason):
    verdict = judge({"n1": FINE, "n2": result, "n3": FINE})
    assert verdict == (False, {"n2": reason}, ["n1", "n3"])
    assert judge({"n1": FINE, "n2": result, "n3": FINE}, quorum=2).passed is True
    assert judge({"n1": FINE, "n2": result, "n3": result}, quorum=2).passed is False


def test_a_member_that_disagrees_stands_in_the_way_of_a_quorum_too():
    receipts = {"n1": FINE, "n2": FINE, "n3": {"receipt": {"height": 6, "hash": "bb"}}}
    verdict = judge(receipts, equal=["height", "hash"], quorum=2)
    assert (verdict.passed, verdict.good) == (False, ["n1", "n2"])
    assert "height is 6" in verdict.problems["n3"]
    assert "hash is bb" in verdict.problems["n3"]
    assert "7 (2), 6 (1)" in verdict.problems["n3"]


def test_without_a_majority_nobody_is_right():
    receipts = {"n1": FINE, "n2": {"receipt": {"height": 6}}}
    assert set(judge(receipts, equal=["height"]).problems) == {"n1", "n2"}


def test_a_majority_is_more_than_half_of_those_that_answered():
    receipts = {f"n{i}": {"receipt": {"height": height}} for i, height in enumerate([7, 7, 6, 5])}
    assert set(judge(receipts, equal=["height"]).problems) == {"n0", "n1", "n2", "n3"}


def test_a_value_that_nobody_left_is_not_agreement():
    verdict = judge({"n1": {"receipt": {"hash": None}}, "n2": {"receipt": {}}}, equal=["hash"])
    assert verdict.passed is False
    assert verdict.problems == {"n1": "left no hash in its receipt", "n2": "left no hash in its receipt"}


def test_zero_is_a_value():
    assert judge({"n1": {"receipt": {"height": 0}}, "n2": {"receipt": {"height": 0}}}, equal=["height"]).passed is True


def test_no_members_is_no_pass():
    assert judge({}).passed is False
    assert judge({}, quorum=0).passed is False
