# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Nodes that nobody but a person has started, as /proc shows them."""

from __future__ import annotations

import json

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.module_utils import _strays
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._process import Result

UNIT = "12:pids:/\n1:name=systemd:/system.slice/ev-node.service\n0::/system.slice/ev-node.service\n"
CRON = "1:name=systemd:/system.slice/cron.service\n0::/\n"
CONTAINER = "0::/system.slice/docker-0123.scope\n"


class Machine:
    """A /proc and the home of a node."""

    def __init__(self, folder):
        self.proc, self.binary, self.home = folder / "proc", folder / "evnode", folder / "home"
        self.proc.mkdir()
        (self.proc / "self").mkdir()
        self.binary.write_text("x")
        (self.home / "config").mkdir(parents=True)
        (self.home / "config" / "genesis.json").write_text(json.dumps({"chain_id": "c-1"}))
        self._next = 100

    def start(self, *words, cgroup=CRON, exe=None, cwd=None, root="/"):
        folder = self.proc / str(self._next)
        self._next += 1
        folder.mkdir()
        (folder / "cmdline").write_bytes(b"\0".join(word.encode() for word in words) + b"\0")
        (folder / "cgroup").write_text(cgroup)
        (folder / "exe").symlink_to(exe or self.binary)
        (folder / "cwd").symlink_to(cwd or "/")
        (folder / "root").symlink_to(root)

    def find(self):
        def run(argv, *, timeout=60, stdin=None):
            return Result(0, f"ExecStart={{ path={self.binary} ; argv[]={self.binary} start ; pid=0 }}\n", "")

        return _strays.find("ev-node", run=run, proc=str(self.proc))


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_the_units_own_process_is_none(machine):
    machine.start(str(machine.binary), "start", "--home", str(machine.home), cgroup=UNIT)
    for name in ("evnode-head-ev-node", "evnode-seal-ev-node", "ev-node-anchor"):
        machine.start(str(machine.binary), "start", cgroup=f"0::/system.slice/{name}.service\n")
    assert machine.find() == []


def test_one_by_hand_is_found_with_its_home_and_chain(machine):
    flags = ["--home", str(machine.home), "--evnode.node.aggregator=true", "--evnode.signer.passphrase_file=/x"]
    machine.start(str(machine.binary), "start", *flags)
    (found,) = machine.find()
    assert found == {
        "pid": 100,
        "program": str(machine.binary),
        "started_by": "cron.service",
        "home": str(machine.home),
        "chain_id": "c-1",
        "aggregator": True,
    }


def test_a_copy_of_the_program_gives_itself_away_by_its_flags(machine, tmp_path):
    other = tmp_path / "copy"
    other.write_text("x")
    machine.start(str(other), "start", f"--home={machine.home}", "--rollkit.node.aggregator", exe=other)
    assert [(stray["home"], stray["aggregator"]) for stray in machine.find()] == [(str(machine.home), True)]


def test_in_a_container_the_home_is_looked_for_in_there(machine, tmp_path):
    (tmp_path / "image" / "data" / "config").mkdir(parents=True)
    (tmp_path / "image" / "data" / "config" / "genesis.json").write_text(json.dumps({"chain_id": "c-2"}))
    machine.start("/evnode", "run", "--home=/data", cgroup=CONTAINER, root=tmp_path / "image")
    assert [(stray["started_by"], stray["chain_id"]) for stray in machine.find()] == [("docker-0123.scope", "c-2")]


@pytest.mark.parametrize(
    ("flag", "written", "makes_blocks"),
    [
        (None, None, None),
        (None, "node:\n  aggregator: true\n", True),
        (None, "node:\n  aggregator: false # a full node\n", False),
        ("--evnode.node.aggregator=false", "node:\n  aggregator: true\n", False),
    ],
)
def test_its_role_comes_from_flag_then_file(machine, flag, written, makes_blocks):
    if written:
        (machine.home / "config" / "evnode.yaml").write_text(written)
    machine.start(str(machine.binary), "start", *([flag] if flag else []), cwd=machine.home)
    assert [stray["aggregator"] for stray in machine.find()] == [makes_blocks]


def test_other_programs_and_other_commands_of_the_node_are_none(machine, tmp_path):
    nginx = tmp_path / "nginx"
    nginx.write_text("x")
    machine.start(str(nginx), "start", exe=nginx)
    machine.start(str(machine.binary), "version")
    machine.start("grep", "--evnode.node.aggregator", exe=nginx)
    (machine.proc / "200").mkdir()  # ended while it was looked at
    assert machine.find() == []
