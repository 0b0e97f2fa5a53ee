# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The actions that only decide: they read what was registered, contact nobody, and never fail."""

from __future__ import annotations

import typing as t
from unittest import mock

import pytest
from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.evnode.sequencer_ha.plugins.action import chain_verify, host_info, phase_gate, preflight_judge


def action(plugin: t.Any, arguments: dict[str, t.Any]) -> ActionBase:
    task = mock.Mock(args=arguments, async_val=0, action="x", check_mode=False, diff=False)
    connection = mock.Mock()
    connection._shell.tmpdir = "/nowhere"
    made: ActionBase = plugin.ActionModule(
        task=task,
        connection=connection,
        play_context=mock.Mock(check_mode=False),
        loader=mock.Mock(),
        templar=mock.Mock(),
        shared_loader_obj=mock.Mock(),
    )
    made._execute_module = mock.Mock(side_effect=AssertionError("no host may be contacted"))
    return made


def run(plugin: t.Any, arguments: dict[str, t.Any], **variables: t.Any) -> dict[str, t.Any]:
    result: dict[str, t.Any] = action(plugin, arguments).run(task_vars=variables)
    return result


def test_gate_reads_what_members_registered():
    hostvars = {
        "n1": {"prepared": {"receipt": {"height": 7}}},
        "n2": {"prepared": {"receipt": {"height": 6}}},
        "n3": {},
        "n5": {"prepared": "a string"},
    }
    arguments = {"receipt": "prepared", "members": ["n1", "n2", "n3", "n4", "n5"], "equal": ["height"]}
    result = run(phase_gate, arguments, hostvars=hostvars)
    assert (result["passed"], result["changed"], result.get("failed")) == (False, False, None)
    assert result["problems"]["n3"] == result["problems"]["n5"] == "gave no receipt"
    assert result["problems"]["n4"] == "is not in the inventory"
    assert "height is 6" in result["problems"]["n2"]
    good = run(phase_gate, {**arguments, "members": ["n1"]}, hostvars=hostvars)
    assert (good["passed"], good["problems"], good["good"]) == (True, {}, ["n1"])


def test_gate_with_a_quorum():
    hostvars = {"n1": {"r": {"receipt": {}}}, "n2": {"r": {"receipt": {}}}, "n3": {"r": {"unreachable": True}}}
    arguments = {"receipt": "r", "members": ["n1", "n2", "n3"], "quorum": 2}
    assert run(phase_gate, arguments, hostvars=hostvars)["passed"] is True
    assert run(phase_gate, {**arguments, "quorum": 3}, hostvars=hostvars)["passed"] is False


def test_gate_refuses_arguments_it_does_not_know():
    with pytest.raises(AnsibleError, match="members"):
        run(phase_gate, {"receipt": "r"}, hostvars={})


def test_verify_action():
    status = {"height": 5, "headers": {}, "raft": True, "leader": True, "reasons": {}}
    result = run(chain_verify, {"statuses": {"n1": status, "n2": {**status, "leader": False}, "n3": {}}})
    assert result["passed"] is False
    assert result["verdicts"][0] == {
        "id": "member-silent",
        "severity": "block",
        "member": "n3",
        "expected": "an answer of the node",
        "found": "it was not read, because something failed on it before",
        "remedy": "look at the unit's journal on this host, then run verify again",
    }
    assert "n3" in result["table"]
    relaxed = run(
        chain_verify,
        {"statuses": {"n1": status, "n2": {**status, "leader": False}, "n3": {}}, "require_all": False},
    )
    assert relaxed["passed"] is True


def test_verify_action_judges_the_seam():
    status = {
        "height": 6,
        "raft": True,
        "leader": True,
        "headers": {
            "5": {"hash": "aa", "parent": "99", "time_ns": 1, "header_digest": "x"},
            "6": {"hash": "bb", "parent": "aa", "time_ns": 2, "header_digest": "y"},
        },
    }
    arguments = {"statuses": {"n1": status}, "seam": {"n": 5, "hash": "aa"}, "quorum": 1}
    assert run(chain_verify, arguments)["passed"] is True
    assert run(chain_verify, {**arguments, "seam": {"n": 5, "hash": "ab"}})["passed"] is False


def test_verify_action_without_a_seam_and_with_half_of_one():
    status = {"height": 6, "raft": True, "leader": True, "headers": {}}
    arguments = {"statuses": {"n1": status}, "quorum": 1}
    assert run(chain_verify, {**arguments, "seam": {}})["passed"] is True
    with pytest.raises(AnsibleError, match="Expected n and hash of block N"):
        run(chain_verify, {**arguments, "seam": {"n": 5}})
    with pytest.raises(AnsibleError, match="Expected n and hash of block N"):
        run(chain_verify, {**arguments, "seam": {"hash": "aa", "at": "now"}})


def test_verify_action_takes_a_seam_as_a_receipt_holds_it():
    header = {"hash": "aa", "parent": "99", "time_ns": 1, "header_digest": "x"}
    status = {"height": 5, "raft": True, "leader": True, "headers": {"5": header}}
    seam = {"n": "5", "hash": "ab", "at": "2026-01-01T00:00:00Z"}
    assert run(chain_verify, {"statuses": {"n1": status}, "seam": seam, "quorum": 1})["passed"] is False


def test_preflight_action():
    arguments = {
        "hosts": {"n1": {"unreachable": True, "msg": "gone"}},
        "inventory": {
            "members": [{"name": "n1", "node_id": "n1", "address": "10.0.0.1"}],
            "sequencer": ["n1"],
            "joiners": [],
        },
    }
    result = run(preflight_judge, arguments)
    assert (result["blocked"], result["changed"], result.get("failed")) == (True, False, None)
    assert {verdict["id"] for verdict in result["verdicts"]} >= {"unreachable", "too-few-members", "sequencer-unread"}
    assert result["table"].splitlines()[0].startswith("BLOCK")


def test_host_info_notes_the_controllers_time():
    made = action(host_info, {})
    made._execute_module = mock.Mock(return_value={"host": {"clock": {"epoch": 1.0}}})
    clock = made.run(task_vars={})["host"]["clock"]
    assert clock["controller_before"] <= clock["controller_after"]
    made._execute_module = mock.Mock(return_value={"failed": True, "msg": "no"})
    assert made.run(task_vars={})["msg"] == "no"
