# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.module_utils import _raft_probe, _rejoin, _units
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._errors import HaError
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._mode import ModeError
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._process import Result
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._raft_probe import RaftMember, RaftProbeError
from tests.unit.plugins.module_utils.window.raft_log import SEALED_LOG

NODE = "ev-node.service"


@pytest.fixture
def wanted(tmp_path):
    for mode in ("follower", "raft"):
        folder = tmp_path / "etc" / "ev-node" / mode
        folder.mkdir(parents=True)
        for name in ("args.env", "evnode.yaml"):
            (folder / name).write_text("x")
    os.symlink("follower", tmp_path / "etc" / "ev-node" / "current")
    (tmp_path / "raft").mkdir()
    (tmp_path / "raft" / "raft-log.db").write_bytes(SEALED_LOG)
    return _rejoin.Rejoin(
        unit="ev-node",
        config_dir=str(tmp_path / "etc"),
        state_dir=str(tmp_path / "state"),
        raft_dir=str(tmp_path / "raft"),
        leader="node-1",
        address="10.0.0.1:5001",
        me="node-2",
        run_id="r",
    )


def mode_of(wanted):
    return os.readlink(os.path.join(wanted.config_dir, "ev-node", "current"))


def recorder(order):
    def run(argv, *, timeout=60, stdin=None):
        order.append(" ".join(argv[1:]))
        return Result(0, "", "")

    return run


def test_only_the_first_leader_as_a_raft_member_is_proof(wanted, monkeypatch, fake_clock):
    answers = [
        RaftProbeError("10.0.0.1:5001 cannot be reached: refused"),
        RaftProbeError("10.0.0.1:5001 cannot be reached: refused"),
        RaftMember("node-7", "10.0.0.1:5001", 3),
        RaftMember("node-1", "10.0.0.1:5001", 4),
    ]

    def ask(address, *, asker, asker_address, timeout):
        assert (address, asker) == ("10.0.0.1:5001", "node-2")
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(_raft_probe, "ask", ask)
    said = []
    _rejoin.wait_for_proof(wanted, clock=fake_clock, tell=said.append)
    assert answers == []
    assert fake_clock.now == 3 * _rejoin.INTERVAL
    assert [words.split(",")[0] for words in said] == [
        "no proof: 10.0.0.1:5001 cannot be reached: refused",
        "no proof: 10.0.0.1:5001 is Raft member node-7",
        "node-1 is a member of the cluster in term 4",
    ]


def test_with_proof_it_is_a_member_again_and_says_so_in_the_journal(wanted):
    order = []
    _rejoin.come_back(wanted, run=recorder(order))
    assert mode_of(wanted) == "raft"
    assert [(words.split()[0], words.split()[-1]) for words in order if words.split()[0] != "show"] == [
        ("stop", NODE),
        ("reset-failed", NODE),
        ("start", NODE),
    ]
    with open(os.path.join(wanted.own, "journal.jsonl"), encoding="utf-8") as handle:
        entry = json.loads(handle.read())
    assert (entry["event"], entry["leader"]) == ("rejoined", "node-1")


def test_what_ended_half_way_is_done_to_its_end_the_next_time(wanted):
    """Once the switch has been turned nobody has to be asked any more, but the member has to be started."""
    order = []

    def refuses(argv, *, timeout=60, stdin=None):
        return Result(1 if argv[1] == "start" else 0, "", "no")

    with pytest.raises(HaError):
        _rejoin.come_back(wanted, run=refuses)
    assert mode_of(wanted) == "raft"
    _rejoin.come_back(wanted, run=recorder(order))
    verbs = [words.split()[0] for words in order]
    assert "start" in verbs and not {"stop", "restart"} & set(verbs), "it may be running, and lead"


def test_without_a_raft_log_it_is_none(wanted):
    order = []
    os.unlink(os.path.join(wanted.raft_dir, "raft-log.db"))
    with pytest.raises(ModeError, match="found no Raft log"):
        _rejoin.come_back(wanted, run=recorder(order))
    assert (mode_of(wanted), order) == ("follower", [])


def test_what_stays_on_the_host_is_complete_and_nobody_elses_to_read(wanted, tmp_path):
    units = tmp_path / "units"
    units.mkdir()
    order = []
    _rejoin.install(wanted, units=str(units), run=recorder(order))
    assert _units.is_held(wanted.unit, str(units))
    assert order == [f"enable --quiet --no-reload -- {wanted.name}", "daemon-reload"]
    for path in (wanted.program, wanted.settings):
        assert os.stat(path).st_mode & 0o777 == 0o600
    text = (units / wanted.name).read_text(encoding="utf-8")
    assert f"ExecStart={sys.executable} -I {wanted.program} {wanted.settings}\n" in text
    assert "WantedBy=multi-user.target" in text
    code = f"import sys; sys.path.insert(0, {wanted.program!r}); from evnode_ha import _rejoin; "
    code += f"import json; print(_rejoin.Rejoin(**json.load(open({wanted.settings!r}))).leader)"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("node-1", "")
    assert _rejoin.remove(wanted, units=str(units), run=recorder(order))
    assert not _rejoin.remove(wanted, units=str(units), run=recorder(order))
    assert list(units.iterdir()) == []
