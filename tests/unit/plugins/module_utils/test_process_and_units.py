# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.module_utils import _as_user, _process, _systemd, _transient


def test_run_keeps_output_and_exit_code():
    done = _process.run([sys.executable, "-c", "import sys; print(input()); sys.exit(3)"], stdin="hello\n")
    assert (done.rc, done.stdout) == (3, "hello\n")


def test_run_has_the_c_locale():
    assert _process.run([sys.executable, "-c", "import os; print(os.environ['LC_ALL'])"]).stdout == "C\n"


def test_run_of_a_missing_program_says_what_to_do():
    with pytest.raises(_process.ProcessError, match="no-such-program is needed and was not found"):
        _process.run(["no-such-program"])


def test_run_ends_at_its_limit():
    with pytest.raises(_process.ProcessError, match=r"did not end within 0\.1 s"):
        _process.run([sys.executable, "-c", "import time; time.sleep(30)"], timeout=0.1)


def test_show_joins_properties_that_stand_twice(commands):
    commands.answer(["systemctl", "show"], "ActiveState=active\nEnvironmentFiles=/a\nEnvironmentFiles=/b\nnoise\n")
    assert _systemd.show("x.service", ["ActiveState"], run=commands) == {
        "ActiveState": "active",
        "EnvironmentFiles": "/a\n/b",
    }


def test_verbs_fail_with_what_systemd_said(commands):
    commands.answer(["systemctl", "start"], rc=1, stderr="Unit x.service not found.\n")
    with pytest.raises(_systemd.UnitError, match=r"systemctl start failed for x\.service: Unit x\.service not found"):
        _systemd.start("x.service", run=commands)


def test_log_of_one_invocation(commands):
    commands.answer(["journalctl"], "one\ntwo\n")
    assert _systemd.unit_log("x.service", invocation="abc", run=commands) == ["one", "two"]
    assert "_SYSTEMD_INVOCATION_ID=abc" in commands.asked[-1]
    assert "--unit" not in commands.asked[-1]


def test_launch_bounds_the_unit_and_keeps_dollars(commands):
    commands.answer(["systemctl", "show"], "ActiveState=inactive\n")
    commands.answer(["systemctl", "reset-failed"])
    commands.answer(["systemd-run"])
    wanted = _transient.Transient("p.service", ["/bin/node", "--key=$HOME"], 45, {"User": "chain"})
    _transient.launch(wanted, run=commands)
    (argv,) = commands.starting_with("systemd-run")
    assert "--property=RuntimeMaxSec=45" in argv
    assert "--property=User=chain" in argv
    assert argv[argv.index("--") :] == ["--", "/bin/node", "--key=$$HOME"]
    assert not commands.starting_with("systemctl", "stop")


def test_launch_ends_what_a_killed_run_left(commands):
    commands.answer(["systemctl", "show"], "ActiveState=active\n")
    commands.answer(["systemctl", "stop"])
    commands.answer(["systemctl", "reset-failed"])
    commands.answer(["systemd-run"], rc=1, stderr="Failed to start transient service unit\n")
    with pytest.raises(_systemd.UnitError, match="Failed to start transient"):
        _transient.launch(_transient.Transient("p.service", ["/bin/true"], 1), run=commands)
    assert commands.starting_with("systemctl", "stop") == [["systemctl", "stop", "--", "p.service"]]


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("starting\nError: no such store\nUsage:\n  node start\n\n", "Error: no such store"),
        ("one\ntwo\n\nthree\nfour\n", "two | three | four"),
        ("", "it wrote nothing"),
    ],
)
def test_last_words(commands, log, words):
    commands.answer(["journalctl"], log)
    assert _transient.last_words("p.service", run=commands) == words


@pytest.mark.parametrize(("mask", "allowed"), [("000001ffffffffff", True), ("00000000fdecafff", False), ("0", False)])
def test_capability_to_configure_networks(tmp_path, mask, allowed):
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "status").write_text(f"Name:\tpython\nCapEff:\t{mask}\n")
    assert _transient.may_configure_networks(str(tmp_path)) is allowed


def test_own_network_is_not_entered(tmp_path):
    with _transient.network_of(os.getpid()) as entered:
        assert entered is False


def test_a_command_as_the_user_has_an_almost_empty_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("HEIGHT", "7")
    script = (
        "import os, sys; print('v1'); sys.stderr.write(','.join(sorted(os.environ)) + ' ' + os.getcwd()); sys.exit(4)"
    )
    me = pwd.getpwuid(os.geteuid()).pw_name
    done = _as_user.run_as([sys.executable, "-c", script], me, home=str(tmp_path))
    names, folder = done.stderr.split(" ")
    assert (done.rc, done.stdout) == (4, "v1\n")
    assert set(names.split(",")) - {"LC_CTYPE"} == {"HOME", "LC_ALL", "NO_COLOR", "PATH"}
    assert Path(folder) == tmp_path
    silent = _as_user.run_as([sys.executable, "-c", script], me, home=str(tmp_path), keep_output=False)
    assert silent == (4, "", "")


def test_a_user_that_does_not_exist():
    with pytest.raises(_as_user.AsUserError, match="Expected the user nobody-knows"):
        _as_user.run_as(["/bin/true"], "nobody-knows", home="/")
    with (
        pytest.raises(_as_user.AsUserError, match="Expected the user nobody-knows"),
        _as_user.passing_home("nobody-knows"),
    ):
        pytest.fail("there is no home for nobody")


def test_a_passing_home_is_private_and_passes(tmp_path):
    me = pwd.getpwuid(os.geteuid()).pw_name
    with _as_user.passing_home(me, prefer=[str(tmp_path)]) as home:
        assert os.stat(home).st_mode & 0o777 == 0o700
        Path(home, "key").write_text("secret")
    assert os.listdir(tmp_path) == []
