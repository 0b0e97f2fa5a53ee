# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The thin modules, run as Ansible runs them: arguments in, one JSON object out."""

from __future__ import annotations

import getpass
import grp
import json
import os
import subprocess
import sys
import typing as t

import pytest

if t.TYPE_CHECKING:
    from pathlib import Path

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))))


def run(module: str, arguments: dict[str, t.Any], tools: Path, *, check: bool = False) -> dict[str, t.Any]:
    """Run a module in its own interpreter with ``tools`` first in PATH, and return its answer."""
    payload = {"ANSIBLE_MODULE_ARGS": {**arguments, "_ansible_check_mode": check, "_ansible_diff": True}}
    code = (
        "import json, sys\n"
        "from ansible.module_utils import basic\n"
        "from ansible.module_utils.testing import patch_module_args\n"
        "import importlib\n"
        f"module = importlib.import_module('ansible_collections.evnode.sequencer_ha.plugins.modules.{module}')\n"
        "with patch_module_args(json.load(sys.stdin)['ANSIBLE_MODULE_ARGS']):\n"
        "    module.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(payload),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": os.path.join(ROOT, "collections")},
    )
    assert done.stdout, done.stderr
    return t.cast("dict[str, t.Any]", json.loads(done.stdout))


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A systemctl that writes down what it was asked, and answers as for a stopped unit."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "systemctl"
    script.write_text(
        f'#!/bin/sh\necho "$*" >> {tmp_path}/asked\n'
        '[ "$1" = show ] && echo ActiveState=inactive && echo NeedDaemonReload=no && echo LoadState=not-found\nexit 0\n'
    )
    script.chmod(0o755)
    return folder


def asked(tmp_path: Path) -> list[str]:
    """What systemctl was asked, without mere questions."""
    path = tmp_path / "asked"
    lines = path.read_text().splitlines() if path.exists() else []
    return [line for line in lines if not line.startswith("show")]


@pytest.fixture
def profile(tmp_path: Path) -> dict[str, t.Any]:
    (tmp_path / "home" / "config").mkdir(parents=True)
    (tmp_path / "units").mkdir()
    return {
        "unit": "chain", "binary": "/opt/node", "home": str(tmp_path / "home"), "user": getpass.getuser(),
        "group": grp.getgrgid(os.getegid()).gr_name, "yaml_path": str(tmp_path / "home" / "config" / "evnode.yaml"),
        "environment": [], "timeout_stop_s": 90,
    }  # fmt: skip


def unit_arguments(tmp_path: Path, profile: dict[str, t.Any], **changes: t.Any) -> dict[str, t.Any]:
    return {
        "profile": profile, "role": "joiner", "config_dir": str(tmp_path / "etc"), "state_dir": str(tmp_path / "state"),
        "unit_dir": str(tmp_path / "units"), **changes,
    }  # fmt: skip


def test_mode_switch_switches_once(tmp_path: Path, tools: Path) -> None:
    folder = tmp_path / "etc" / "chain" / "follower"
    folder.mkdir(parents=True)
    for name in ("args.env", "evnode.yaml"):
        (folder / name).write_text("")
    arguments = {"unit": "chain", "config_dir": str(tmp_path / "etc"), "mode": "follower"}
    told = run("mode_switch", arguments, tools, check=True)
    assert (told["changed"], told["previous"], told["mode"]) == (True, "absent", "follower")
    assert not os.path.lexists(tmp_path / "etc" / "chain" / "current")
    assert run("mode_switch", arguments, tools)["changed"] is True
    assert run("mode_switch", arguments, tools)["changed"] is False
    assert os.readlink(tmp_path / "etc" / "chain" / "current") == "follower"


def test_mode_switch_fails_in_one_sentence(tmp_path: Path, tools: Path) -> None:
    answer = run("mode_switch", {"unit": "chain", "config_dir": str(tmp_path), "mode": "raft"}, tools)
    assert answer["failed"] is True
    assert "run the config stage first" in answer["msg"]


def test_member_unit_reloads_only_when_the_unit_changed(tmp_path: Path, tools: Path, profile: dict[str, t.Any]) -> None:
    arguments = unit_arguments(tmp_path, profile)
    told = run("member_unit", arguments, tools, check=True)
    assert (told["changed"], told["reloaded"]) == (True, True)
    assert asked(tmp_path) == []
    first = run("member_unit", arguments, tools)
    assert (first["changed"], first["diff"]) == (True, told["diff"])
    assert asked(tmp_path) == ["daemon-reload"]
    assert run("member_unit", arguments, tools)["changed"] is False
    assert asked(tmp_path) == ["daemon-reload"]


def test_member_unit_disables_the_unit_before_it_is_gone(
    tmp_path: Path, tools: Path, profile: dict[str, t.Any]
) -> None:
    run("member_unit", unit_arguments(tmp_path, profile), tools)
    answer = run("member_unit", unit_arguments(tmp_path, profile, state="absent"), tools)
    assert answer["changed"] is True
    assert not (tmp_path / "units" / "chain.service").exists()
    assert asked(tmp_path)[1:] == ["disable --quiet -- chain.service", "daemon-reload"]
    assert run("member_unit", unit_arguments(tmp_path, profile, state="absent"), tools)["changed"] is False


def test_member_unit_takes_the_sequencers_switch_away_with_its_drop_in(
    tmp_path: Path, tools: Path, profile: dict[str, t.Any]
) -> None:
    link = tmp_path / "etc" / "chain" / "current"
    (link.parent / "single").mkdir(parents=True, exist_ok=True)
    link.symlink_to("single")
    absent = unit_arguments(tmp_path, profile, role="sequencer", state="absent")
    assert run("member_unit", absent, tools, check=True)["changed"] is True
    assert link.is_symlink()
    assert run("member_unit", absent, tools)["changed"] is True
    assert not link.is_symlink()
    assert run("member_unit", absent, tools)["changed"] is False


def test_member_unit_names_what_the_profile_lacks(tmp_path: Path, tools: Path, profile: dict[str, t.Any]) -> None:
    del profile["binary"]
    answer = run("member_unit", unit_arguments(tmp_path, profile), tools)
    assert "the profile has no binary" in answer["msg"]


def test_member_unit_does_not_return_secrets(tmp_path: Path, tools: Path, profile: dict[str, t.Any]) -> None:
    profile["environment"] = ["API_TOKEN=sha256:0123456789ab"]
    answer = run("member_unit", unit_arguments(tmp_path, profile, secret_environment=["API_TOKEN=hushhush"]), tools)
    assert answer["changed"] is True
    assert "hushhush" not in json.dumps(answer)


def test_sequencer_info_answers_for_a_unit_that_does_not_exist(tmp_path: Path, tools: Path) -> None:
    answer = run("sequencer_info", {"unit": "chain", "config_dir": str(tmp_path)}, tools)
    assert answer["changed"] is False
    assert answer["raw"]["mode"] == "absent"


def test_execution_client_is_stopped_once_and_only_told_of_in_check_mode(tmp_path: Path, tools: Path) -> None:
    client = {"unit": "reth", "url": "http://127.0.0.1:9"}
    told = run("execution_client", {**client, "state": "answering"}, tools, check=True)
    assert (told["changed"], told["active"]) == (True, False)
    stopped = run("execution_client", {**client, "state": "stopped"}, tools)
    assert (stopped["changed"], stopped["active"]) == (False, False)
    assert asked(tmp_path) == ["stop -- reth.service"]


def test_a_client_without_a_unit_is_told_in_one_sentence(tools: Path) -> None:
    answer = run("execution_client_info", {"unit": "reth"}, tools)
    assert answer["failed"] is True
    assert answer["msg"].startswith("Expected the execution client's unit reth.service, found none")
