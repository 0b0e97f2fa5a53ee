# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller halves, with a member whose files are a dictionary."""

from __future__ import annotations

import base64
import json
import types
import typing as t
from unittest.mock import MagicMock

import pytest
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure

from ansible_collections.evnode.sequencer_ha.plugins.action import member_config, sequencer_info
from ansible_collections.evnode.sequencer_ha.plugins.module_utils import _discovery, _unit_file
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._process import Result
from ansible_collections.evnode.sequencer_ha.plugins.plugin_utils import _remote

BASE = b"node: {block_time: 1s}\nda: {address: http://da, namespace: lab, auth_token: hush}\n"
MEMBERS = [
    {"name": f"m{n}", "node_id": f"node-{n}", "address": f"10.0.0.{n}", "peer_id": f"P{n}", "sequencer": n == 1}
    for n in (1, 2, 3)
]


class Member:
    """What secret_read and secret_write do, on a dictionary; notes whether the traffic was hidden."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[bytes, str, str]] = {}
        self.hidden: list[bool] = []
        self.check = False

    def execute(
        self, action: t.Any, module_name: str, module_args: dict[str, t.Any], task_vars: t.Any
    ) -> dict[str, t.Any]:
        self.hidden.append(action._task.no_log is True and action._connection._play_context.no_log is True)
        if module_name.endswith("secret_read"):
            return {"files": [self._read(path) for path in module_args["paths"]]}
        assert module_name.endswith("secret_write")
        files = [{"path": file["path"], "changed": self._written(file)} for file in module_args["files"]]
        changed = any(file["changed"] for file in files)
        return {"changed": changed, "files": files, "invocation": {"module_args": module_args}}

    def _read(self, path: str) -> dict[str, t.Any]:
        found = self.files.get(path)
        text = base64.b64encode(found[0]).decode() if found else ""
        return {"path": path, "content": text, "present": found is not None}

    def _written(self, file: dict[str, str]) -> bool:
        wanted = (base64.b64decode(file["content"]), file["mode"], file["group"])
        changed = self.files.get(file["path"]) != wanted
        if not self.check:
            self.files[file["path"]] = wanted
        return changed


def make(
    action_class: t.Any, arguments: dict[str, t.Any], execute: t.Callable[..., dict[str, t.Any]], *, check: bool = False
) -> t.Any:
    context = types.SimpleNamespace(no_log=False, check_mode=check, diff=True)
    task = types.SimpleNamespace(args=arguments, no_log=False, diff=True, check_mode=check, async_val=0, action="x")
    connection = MagicMock()
    connection._play_context = context
    action = action_class(task, connection, context, MagicMock(), MagicMock(), MagicMock())
    action._execute_module = lambda module_name, module_args, task_vars: execute(
        action, module_name, module_args, task_vars
    )
    return action


def arguments_for(number: int, **changes: t.Any) -> dict[str, t.Any]:
    return {
        "profile": {
            "unit": "chain",
            "home": "/srv/n",
            "group": "chaind",
            "argv": ["/n", "start"],
            "passphrase_file": "/etc/pass",
            "signer": {"path": "/srv/n/config/signer.json"},
        },
        "base": base64.b64encode(BASE).decode(),
        "member": {key: MEMBERS[number - 1][key] for key in ("name", "node_id", "address")},
        "members": MEMBERS,
        "raft_port": 5001,
        "raft_dir": "/srv/raft",
        "timings": {
            "heartbeat_timeout": "350ms",
            "election_timeout": "1s",
            "leader_lease_timeout": "175ms",
            "send_timeout": "200ms",
        },
        **changes,
    }


def run(member: Member, number: int = 2, **changes: t.Any) -> dict[str, t.Any]:
    return t.cast(
        "dict[str, t.Any]",
        make(member_config.ActionModule, arguments_for(number, **changes), member.execute, check=member.check).run(
            task_vars={}
        ),
    )


@pytest.fixture
def member() -> Member:
    return Member()


def test_files_are_written_with_mode_and_group(member: Member) -> None:
    result = run(member)
    assert result["changed"] is True
    assert {path: (mode, group) for path, (_data, mode, group) in member.files.items()} == {
        "/etc/evnode-ha/chain/follower/args.env": ("0600", "root"),
        "/etc/evnode-ha/chain/follower/evnode.yaml": ("0640", "chaind"),
        "/etc/evnode-ha/chain/raft/args.env": ("0600", "root"),
        "/etc/evnode-ha/chain/raft/evnode.yaml": ("0640", "chaind"),
    }
    text = member.files["/etc/evnode-ha/chain/raft/args.env"][0].decode()
    assert _unit_file.read_arguments_file(text) == result["arguments"]["raft"]


def test_a_second_run_changes_nothing_and_has_no_diff(member: Member) -> None:
    run(member)
    result = run(member)
    assert result["changed"] is False
    assert all(not item["changed"] for item in result["files"])
    assert "diff" not in result


def test_check_mode_tells_what_the_real_run_then_does(member: Member) -> None:
    member.check = True
    told = run(member)
    assert member.files == {}
    member.check = False
    done = run(member)
    assert told["files"] == done["files"]
    assert {diff["before"] for diff in told["diff"]} == {""}
    assert told["diff"] == done["diff"]


def test_no_secret_is_in_the_result_and_the_traffic_is_hidden(member: Member) -> None:
    run(member)
    member.files = {
        path: (b"da: {auth_token: older}\n", "0600", "root") for path in member.files if path.endswith("yaml")
    }
    result = run(member)
    assert "hush" in member.files["/etc/evnode-ha/chain/raft/evnode.yaml"][0].decode()
    for secret in ("hush", "older", base64.b64encode(BASE).decode()):
        assert secret not in json.dumps(result)
    assert "sha256:" in json.dumps(result["diff"])
    assert member.hidden
    assert all(member.hidden)


def test_hiding_ends_with_the_call(member: Member) -> None:
    action = make(member_config.ActionModule, arguments_for(2), member.execute)
    action.run(task_vars={})
    assert action._task.no_log is False
    assert action._play_context.no_log is False


def test_a_module_that_fails_gives_its_own_words_only() -> None:
    def fail(*_given: t.Any) -> dict[str, t.Any]:
        return {"failed": True, "msg": "disk full", "invocation": {"module_args": {"content": "hush"}}}

    with pytest.raises(AnsibleActionFail) as caught:
        make(member_config.ActionModule, arguments_for(2), fail).run(task_vars={})
    assert "disk full" in str(caught.value)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"base": "%"}, "base is not Base64"),
        ({"snap_count": 0}, "snap_count must be 1"),
        ({"overrides": {"da.namespace": ""}}, "da.namespace is not set"),
    ],
)
def test_what_cannot_be_is_a_sentence(member: Member, change: dict[str, t.Any], match: str) -> None:
    with pytest.raises(AnsibleActionFail, match=match):
        run(member, **change)
    assert member.files == {}


def test_sequencer_info_asks_twice_and_hides_both() -> None:
    hidden = []
    questions: list[dict[str, t.Any]] = []
    raw = {
        "unit": "chain",
        "properties": {"LoadState": "loaded", "ActiveState": "active", "MainPID": "7"},
        "fragment_path": None,
        "drop_ins": [],
        "process": None,
        "mode": "unmanaged",
        "managed": False,
        "binary": "/n",
        "home": "/srv/n",
        "home_origin": "flag",
        "arguments": ["start", "--home=/srv/n", "--evnode.node.aggregator"],
        "source": "unit",
        "account": {"user": "c", "group": "c", "uid": 1, "gid": 1, "groups": [], "home": "/"},
        "unit_settings": {
            "environment": [],
            "environment_files": [],
            "after": [],
            "prefixes": "",
            "exec_start": [],
            "commands": 1,
        },
        "yaml": {
            "path": "/y",
            "content_path": "/y",
            "present": True,
            "readable": True,
            "content": base64.b64encode(BASE).decode(),
        },
    }

    def answer(action: t.Any, module_name: str, module_args: dict[str, t.Any], task_vars: t.Any) -> dict[str, t.Any]:
        hidden.append(action._connection._play_context.no_log)
        questions.append(module_args)
        return {"probed": {}} if "probe" in module_args else {"raw": raw}

    plain = make(sequencer_info.ActionModule, {"unit": "chain"}, answer).run(task_vars={})
    assert hidden == [True, True]
    assert questions[1]["probe"]["signer_file"] == "/config/signer.json"
    assert plain["sequencer"]["effective"]["da.namespace"]["value"] == "lab"
    assert "hush" not in json.dumps(plain)
    assert "material" not in plain
    full = make(sequencer_info.ActionModule, {"unit": "chain", "material": True}, answer).run(task_vars={})
    assert base64.b64decode(full["material"]["base"]) == BASE


def test_a_host_without_the_unit_is_asked_once() -> None:
    systemd = Result(0, "LoadState=not-found\nActiveState=inactive\nMainPID=0\n", "")
    raw = _discovery.read("chain", "/none", {}, host=_discovery.Host(run=lambda _argv, **_more: systemd))
    asked: list[dict[str, t.Any]] = []

    def answer(_action: t.Any, _name: str, module_args: dict[str, t.Any], _task_vars: t.Any) -> dict[str, t.Any]:
        asked.append(module_args)
        return {"raw": raw}

    found = make(sequencer_info.ActionModule, {"unit": "chain"}, answer).run(task_vars={})["sequencer"]
    assert len(asked) == 1
    assert found["mode"] == "absent" and "unit_missing" in {problem["id"] for problem in found["problems"]}


def test_why_a_host_cannot_be_reached_is_said_without_the_arguments():
    action = MagicMock()
    action._play_context.no_log = action._connection._play_context.no_log = action._task.no_log = False
    action._execute_module.side_effect = AnsibleConnectionFailure("<error censored due to no log>")
    asked = []

    def aloud(command, **_how):
        asked.append((command, action._task.no_log))
        raise AnsibleConnectionFailure("Connection timed out")

    action._low_level_execute_command = aloud
    with pytest.raises(AnsibleConnectionFailure, match="Connection timed out"):
        _remote.call(action, "sequencer_info", {"passphrase": "secret"}, {})
    assert asked == [("true", False)]
