# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import concurrent.futures
import dataclasses
import io
import json
import os
import pathlib
import socket
import struct
import subprocess
import sys
import threading
import zipfile

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.module_utils import _journal, _raft_probe
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._execution import ExecutionError
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._intake import IntakeError, close_intake
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._process import Result
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._raft_probe import RaftMember
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._rpc import RpcError
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._window import host, launch, program
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._window.bus import Bus, BusError, start_message
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._window.host import HostError
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._window.protocol import (
    Committed,
    Digest,
    Failed,
    Frozen,
    Limits,
    Matched,
    Resumed,
    Started,
    Thawed,
)

UNIT = "ev-node.service"


class Systemd:
    """A unit, its log, and the commands that were run; a stop appends the node's last words."""

    def __init__(self, current):
        self.current = current
        self.frozen = ""
        self.active = True
        self.result, self.status = "success", "0"
        self.log = ["produced block height=20"]
        self.last_words = ["full node halted successfully"]
        self.cat = ""
        self.reload = "no"
        self.enabled = False
        self.commands = []
        self.fails = {}
        self.stop_leaves_running = False
        self.on_stop = None

    def __call__(self, argv, *, timeout=60, stdin=None):
        self.commands.append((list(argv), stdin))
        words = " ".join(argv)
        for start, result in self.fails.items():
            if words.startswith(start):
                return result
        if argv[:2] == ["systemctl", "show"]:
            return Result(0, "\n".join(f"{name}={value}" for name, value in self.properties(argv[-1]).items()), "")
        if argv[:2] == ["systemctl", "stop"] and argv[-1] == UNIT:
            if not self.stop_leaves_running and self.active:
                self.active = False
                self.log += self.last_words
                if self.on_stop:
                    self.on_stop()
        elif argv[:2] == ["systemctl", "start"] and argv[-1] == UNIT:
            self.active = self.active or not os.path.exists(self.frozen)
        elif argv[:2] == ["systemctl", "enable"]:
            self.enabled = True
        elif argv[:2] == ["systemctl", "cat"]:
            return Result(0, self.cat, "")
        elif argv[0] == "journalctl":
            return Result(0, "\n".join(self.log) + "\n", "")
        return Result(0, "", "")

    def properties(self, unit):
        if unit != UNIT:
            return {"ActiveState": "inactive"}
        return {
            "ActiveState": "active" if self.active else "inactive",
            "SubState": "running" if self.active else "dead",
            "Result": self.result,
            "ExecMainStatus": self.status,
            "MainPID": "77" if self.active else "0",
            "InvocationID": "abc",
            "NRestarts": "0",
            "LoadState": "loaded",
            "NeedDaemonReload": self.reload,
            "EnvironmentFiles": f"{self.current}/args.env (ignore_errors=no)",
            "ExecMainStartTimestampMonotonic": "1000000",
        }

    def ran(self, *words):
        return [argv for argv, _stdin in self.commands if list(words) == argv[: len(words)]]


class Node:
    """The RPC of a node: a list of heights to show, then the last one for ever."""

    def __init__(self, systemd, heights, **answers):
        self.systemd, self.heights = systemd, list(heights)
        self.hashes = answers.get("hashes", {})
        self.raft = answers.get("raft", {"is_leader": True, "node_id": "node-1"})
        self.parents = answers.get("parents", {})

    def _next(self):
        if not self.systemd.active:
            raise RpcError("refused", "127.0.0.1:7331 refused the connection")
        return self.heights.pop(0) if len(self.heights) > 1 else self.heights[0]

    def state(self):
        return {"height": self._next()}

    def p2p_head(self):
        height = self._next()
        return {"height": height, "hash": self.hashes.get(height, f"h{height}")}

    def raft_node(self):
        return self.raft

    def block(self, height):
        return {"parent": self.parents.get(height, f"h{height - 1}"), "time_ns": height * 10**9}


@pytest.fixture
def settings(tmp_path):
    config, run = tmp_path / "etc", tmp_path / "run"
    for mode in ("single", "raft", "follower"):
        (config / "ev-node" / mode).mkdir(parents=True)
        for name in ("args.env", "evnode.yaml"):
            (config / "ev-node" / mode / name).write_text("x")
    os.symlink("single", config / "ev-node" / "current")
    (run / "ev-node").mkdir(parents=True)
    (tmp_path / "raft").mkdir()
    (tmp_path / "data").mkdir()
    addresses = {f"node-{number}": f"10.0.0.{number}:5001" for number in range(1, 4)}
    return host.Settings(
        run="run-1",
        role="coordinator",
        member="node-1",
        coordinator="node-1",
        members=tuple({"node_id": name, "address": address} for name, address in addresses.items()),
        unit="ev-node",
        config_dir=str(config),
        state_dir=str(tmp_path / "state"),
        run_dir=str(run),
        rpc_address="127.0.0.1:7331",
        raft_address="10.0.0.1:5001",
        own_raft_address="10.0.0.1:5001",
        raft_dir=str(tmp_path / "raft"),
        store_paths=(str(tmp_path / "data"),),
        limits=Limits(arm=5, freeze=2, agree=2, hold=4),
        stop_limit=2,
        health=1,
    )


def machine(settings, heights=(20, 20, 21), **answers):
    systemd = Systemd(settings.current)
    systemd.frozen = settings.frozen
    systemd.cat = f"ConditionPathExists=!{settings.frozen}\n"
    kind = host.Coordinator if settings.role == "coordinator" else host.Participant
    notes = []
    built = kind(settings, journal=lambda event, facts: notes.append((event, facts)), run=systemd)
    built.client = Node(systemd, heights, **answers)
    built.notes = notes
    built.connect_bus = no_bus
    return built, systemd


def no_bus():
    raise BusError("no socket")


def joiner(settings):
    os.unlink(settings.current)
    os.symlink("follower", settings.current)
    return dataclasses.replace(settings, role="participant", member="node-2", own_raft_address="10.0.0.2:5001")


# ---- the coordinator's side -------------------------------------------------------------------------------------


def test_a_sequencer_that_is_ready_passes(settings):
    machine(settings)[0].check()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda s, d: (os.unlink(s.current), os.symlink("raft", s.current)), "points at raft, expected single"),
        (lambda s, d: os.unlink(f"{s.config_dir}/ev-node/raft/evnode.yaml"), "raft/evnode.yaml is missing"),
        (lambda s, d: setattr(d, "cat", ""), "has no ConditionPathExists"),
        (lambda s, d: setattr(d, "reload", "yes"), "run systemctl daemon-reload"),
        (lambda s, d: setattr(d, "current", "/elsewhere"), "does not read"),
        (lambda s, d: setattr(d, "active", False), "is not active"),
        (lambda s, d: open(f"{s.raft_dir}/raft-log.db", "w").close(), "is not empty"),
    ],
)
def test_a_sequencer_that_is_not_ready_says_why(settings, spoil, reason):
    built, systemd = machine(settings)
    spoil(settings, systemd)
    with pytest.raises(HostError, match=reason):
        built.check()


def test_it_stops_right_after_a_new_block_behind_the_fence(settings):
    built, systemd = machine(settings)
    systemd.last_words = ["\x1b[32mINF\x1b[0m produced block \x1b[36mheight=\x1b[0m21", "full node halted successfully"]
    assert built.freeze(threading.Event()) == Frozen(21, "h21")
    assert os.path.exists(settings.frozen)
    assert not systemd.active
    systemd(["systemctl", "start", "--", UNIT])
    assert not systemd.active, "behind the fence nothing starts"


def test_a_block_after_the_last_look_is_taken_from_the_log_without_a_hash(settings):
    built, systemd = machine(settings)
    line = json.dumps({"level": "info", "height": 22, "txs": 0, "message": "produced block"})
    systemd.last_words = [line, json.dumps({"message": "full node halted successfully"})]
    assert built.freeze(threading.Event()) == Frozen(22, "")


def test_a_log_that_ends_below_what_was_shown_is_a_contradiction(settings):
    built, systemd = machine(settings)
    systemd.log = ["produced block height=19"]
    found = built.freeze(threading.Event())
    assert isinstance(found, Failed)
    assert "ends at block 19, its RPC had shown 21" in found.reason


def test_a_log_without_blocks_is_not_guessed_about(settings):
    built, systemd = machine(settings)
    systemd.log = []
    found = built.freeze(threading.Event())
    assert isinstance(found, Failed)
    assert "set its log level to info" in found.reason


def test_a_killed_node_is_no_clean_stop(settings):
    built, systemd = machine(settings)
    systemd.last_words = []
    systemd.result, systemd.status = "timeout", "9"
    found = built.freeze(threading.Event())
    assert isinstance(found, Failed)
    assert "result timeout" in found.reason


def test_no_new_block_stops_nothing(settings):
    built, systemd = machine(settings, heights=[20])
    found = built.freeze(threading.Event())
    assert found == Failed("no new block within 2 s; last seen height 20")
    assert systemd.active
    assert not os.path.exists(settings.frozen)


def test_a_cancelled_freeze_stops_nothing(settings):
    built, systemd = machine(settings, heights=[20])
    token = threading.Event()
    token.set()
    assert isinstance(built.freeze(token), Failed)
    assert systemd.active


def frozen(settings):
    built, systemd = machine(settings)
    systemd.last_words = ["produced block height=21", "full node halted successfully"]
    assert built.freeze(threading.Event()) == Frozen(21, "h21")
    return built, systemd


@pytest.mark.parametrize(("seed", "waits"), [("copy", True), ("follow", False)])
def test_what_is_copied_is_told_of_only_once_its_process_has_gone(settings, seed, waits):
    built, systemd = machine(dataclasses.replace(settings, seed=seed))
    systemd.last_words = ["produced block height=21", "full node halted successfully"]
    gone, stop = threading.Event(), built.stop_proven

    def slow():
        systemd(["systemctl", "stop", "--", UNIT])
        gone.wait(10)
        return stop()

    built.stop_proven = slow
    told = concurrent.futures.ThreadPoolExecutor(1).submit(built.freeze, threading.Event())
    done, _running = concurrent.futures.wait([told], timeout=1)
    assert bool(done) is not waits
    gone.set()
    assert told.result(timeout=10) == Frozen(21, "h21")


def test_the_commit_turns_the_switch(settings):
    built, systemd = frozen(settings)
    assert built.commit(21, "h21") == Committed()
    assert os.readlink(settings.current) == "raft"
    assert built.start(21, "h21") == Started()
    assert systemd.active
    assert not os.path.exists(settings.frozen)


def test_no_commit_without_a_stop_of_this_window(settings):
    built, _systemd = machine(settings)
    assert isinstance(built.commit(21, "h21"), Failed)
    assert os.readlink(settings.current) == "single"


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda s, d: os.unlink(s.frozen), "somebody lifted the fence"),
        (lambda s, d: setattr(d, "active", True), "is active again before the commit"),
        (lambda s, d: (os.unlink(s.current), os.symlink("follower", s.current)), "points at follower"),
    ],
)
def test_no_commit_where_anything_changed_since_the_stop(settings, spoil, reason):
    built, systemd = frozen(settings)
    built._stopping.result(5)
    spoil(settings, systemd)
    found = built.commit(21, "h21")
    assert isinstance(found, Failed)
    assert reason in found.reason
    assert os.readlink(settings.current) != "raft"


def test_no_commit_while_a_process_holds_the_store(settings):
    built, _systemd = frozen(settings)
    built._stopping.result(5)
    path = os.path.join(settings.store_paths[0], "000001.vlog")
    with open(path, "w+") as store:
        holder = subprocess.Popen(["sleep", "30"], stdin=store)
    try:
        found = built.commit(21, "h21")
    finally:
        holder.kill()
        holder.wait()
    assert isinstance(found, Failed)
    assert f"is still held by {holder.pid} (sleep)" in found.reason


def test_a_rename_that_may_not_be_on_disk_is_taken_back(settings, monkeypatch):
    built, _systemd = frozen(settings)
    real = host._files.fsync_dir
    calls = []

    def failing(path):
        calls.append(path)
        if len(calls) == 1:
            raise OSError(5, "Input/output error")
        real(path)

    monkeypatch.setattr(host._files, "fsync_dir", failing)
    found = built.commit(21, "h21")
    assert isinstance(found, Failed)
    assert "Input/output error" in found.reason
    assert os.readlink(settings.current) == "single"


@pytest.mark.parametrize(("refusals", "kind", "mode"), [(1, Committed, "raft"), (2, Failed, "raft")])
def test_a_rename_that_cannot_be_taken_back_counts_once_it_is_on_disk(settings, monkeypatch, refusals, kind, mode):
    built, _systemd = frozen(settings)
    real_fsync, real_switch, calls = host._files.fsync_dir, host._files.switch_link, []

    def fsync(path):
        calls.append(path)
        if len(calls) <= refusals:
            raise OSError(5, "Input/output error")
        real_fsync(path)

    def switch(link, target):
        if target == "single":
            raise host.HostError("no space left")
        return real_switch(link, target)

    monkeypatch.setattr(host._files, "fsync_dir", fsync)
    monkeypatch.setattr(host._files, "switch_link", switch)
    assert isinstance(built.commit(21, "h21"), kind)
    assert os.readlink(settings.current) == mode


def test_a_member_does_not_start_on_a_switch_that_is_not_on_disk(settings, monkeypatch):
    built, systemd = frozen(settings)
    os.unlink(settings.current)
    os.symlink("raft", settings.current)

    def failing(path):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(host._files, "fsync_dir", failing)
    assert "Input/output error" in built.thaw().trouble
    assert not systemd.active
    assert os.path.exists(settings.frozen)


def test_thaw_starts_again_behind_no_fence(settings):
    built, systemd = frozen(settings)
    assert built.thaw() == Thawed()
    assert systemd.active
    assert not os.path.exists(settings.frozen)


def test_an_abort_before_the_stop_leaves_the_node_alone(settings):
    built, systemd = machine(settings)
    assert built.thaw() == Thawed()
    assert not systemd.ran("systemctl", "stop")


def test_the_intake_is_closed_until_what_was_accepted_is_in_blocks(settings):
    wanted = dataclasses.replace(settings, intake_ports=(9090,), scrape_interval=0.1)
    built, systemd = machine(wanted, heights=[20, 20, 20, 20, 21, 22, 23, 24, 25, 26])
    built.close_intake(threading.Event())
    ((_argv, rules),) = [entry for entry in systemd.commands if entry[0][:2] == ["nft", "-f"]]
    assert "tcp dport { 9090 } reject with tcp reset" in rules
    assert rules.index("127.0.0.0/8 accept") < rules.index("reject")
    built.thaw()
    assert systemd.ran("nft", "delete", "table", "inet", "evnode_ha_ev_node")


@pytest.mark.parametrize(
    ("addresses", "closed"),
    [
        ("", ["iptables"]),
        (f"{1:032x} 01 80 10 80       lo\n", ["iptables"]),
        (f"{1:032x} 01 80 10 80       lo\nfd{1:030x} 02 40 00 80     eth0\n", ["iptables", "ip6tables"]),
    ],
)
def test_without_nft_the_intake_is_closed_by_iptables(settings, tmp_path, addresses, closed):
    _built, systemd = machine(settings)
    systemd.fails["nft -f"] = Result(1, "", "no nft")
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "if_inet6").write_text(addresses)
    close_intake([9090], "evnode_ha_ev_node", run=systemd, proc=str(tmp_path))
    said = [argv for argv, _stdin in systemd.commands]
    assert [argv[0] for argv in said if argv[1:] == ["-w", "-I", "INPUT", "-j", "evnode_ha_ev_node"]] == closed


def test_neither_of_them_is_an_error(settings):
    _built, systemd = machine(settings)
    systemd.fails.update({"nft": Result(1, "", "no nft"), "iptables -w -N": Result(1, "", "no iptables")})
    with pytest.raises(IntakeError, match=r"neither nft \(no nft\) nor iptables \(no iptables\)"):
        close_intake([9090], "evnode_ha_ev_node", run=systemd)


# ---- the participant's side -------------------------------------------------------------------------------------


def test_it_matches_stops_and_is_ready_to_start(settings):
    wanted = joiner(settings)
    built, systemd = machine(wanted, heights=[20, 20, 21])
    assert built.match(21, "h21", threading.Event()) == Matched(21, "h21")
    assert not systemd.active
    assert os.readlink(wanted.current) == "follower", "not before the commit"
    assert built.describe() == (21, "h21", "")
    assert built.start(21, "h21") == Started()
    assert os.readlink(wanted.current) == "raft"
    assert systemd.active


class Client:
    """An execution client at some block, or one that gives no answer."""

    def __init__(self, height):
        self.height = height

    def __call__(self, url, *, timeout):
        assert url == "http://127.0.0.1:8545"
        return self

    def block(self, height):
        assert height is None
        if self.height is None:
            raise ExecutionError("http://127.0.0.1:8545 gave no answer")
        return {"height": self.height, "hash": "e"}


@pytest.mark.parametrize(
    ("height", "reason"),
    [
        (21, ""),
        (20, "its execution client is at block 20, its node stopped at 21"),
        (22, "its execution client is at block 22, its node stopped at 21"),
        (None, "does not tell its newest block: http://127.0.0.1:8545 gave no answer"),
    ],
)
def test_an_execution_client_has_to_be_where_its_node_is(settings, monkeypatch, height, reason):
    monkeypatch.setattr(host, "ExecutionClient", Client(height))
    both = dataclasses.replace(settings, execution_rpc="http://127.0.0.1:8545")
    first, systemd = machine(both)
    systemd.last_words = ["produced block height=21", "full node halted successfully"]
    found = [first.freeze(threading.Event())]
    built, systemd = machine(joiner(both), heights=[20, 20, 21])
    found.append(built.match(21, "h21", threading.Event()))
    if reason:
        assert all(isinstance(one, Failed) and reason in one.reason for one in found)
    else:
        assert found == [Frozen(21, "h21"), Matched(21, "h21", "e")]
        assert first.digest(21) == Digest("e")


def test_another_hash_is_refused_and_nothing_is_stopped(settings):
    built, systemd = machine(joiner(settings), heights=[21], hashes={21: "other"})
    found = built.match(21, "h21", threading.Event())
    assert isinstance(found, Failed)
    assert "holds block 21 with hash other" in found.reason
    assert systemd.active


def test_a_follower_above_the_last_block_is_refused(settings):
    built, systemd = machine(joiner(settings), heights=[22])
    assert isinstance(built.match(21, "h21", threading.Event()), Failed)
    assert systemd.active


def test_a_follower_that_does_not_get_there_says_where_it_is(settings):
    built, _systemd = machine(joiner(settings), heights=[20])
    found = built.match(21, "h21", threading.Event())
    assert isinstance(found, Failed)
    assert "did not reach block 21 within 2 s: height 20, header 20" in found.reason


def test_it_follows_again(settings):
    wanted = joiner(settings)
    built, systemd = machine(wanted, heights=[21])
    built.match(21, "h21", threading.Event())
    assert built.resume() == Resumed()
    assert systemd.active
    assert not os.path.lexists(f"{wanted.current}.commit")
    assert os.readlink(wanted.current) == "follower"


def test_a_joiner_whose_unit_would_not_start_on_half_a_copy_does_not_agree(settings):
    wanted = joiner(settings)
    built, systemd = machine(wanted, heights=[21])
    os.makedirs(wanted.own_state, exist_ok=True)
    with open(os.path.join(wanted.own_state, ".copying"), "w") as marker:
        marker.write('{"/srv/reth": {"phase": "warm", "from": "10.0.0.1"}}')
    with pytest.raises(HostError, match="the copy to /srv/reth was begun"):
        built.check()
    assert systemd.active
    found = built.match(21, "h21", threading.Event())
    assert isinstance(found, Failed)
    assert "the copy to /srv/reth was begun" in found.reason
    assert not os.path.lexists(f"{wanted.current}.commit")


def test_a_joiner_that_was_never_sealed_takes_no_part(settings):
    built, _systemd = machine(joiner(settings))
    with pytest.raises(HostError, match="was never sealed"):
        built.check()


def test_proof_needs_the_coordinators_own_id(settings, monkeypatch):
    built, _systemd = machine(joiner(settings))
    answer = {"id": "node-3"}
    monkeypatch.setattr(_raft_probe, "ask", lambda *args, **kwargs: RaftMember(answer["id"], "10.0.0.1:5001", 1))
    assert not built.probe().seen
    answer["id"] = "node-1"
    assert built.probe().seen


# ---- after the commit -------------------------------------------------------------------------------------------


def running_member(settings, **answers):
    os.unlink(settings.current)
    os.symlink("raft", settings.current)
    return machine(settings, **answers)


def test_a_healthy_member_shows_the_seam(settings):
    built, _systemd = running_member(settings, heights=[21, 22])
    found = built.settle(21, "h21")
    assert (found["healthy"], found["height"], found["parent"], found["hash_next"]) == (True, 22, "h21", "h22")
    assert found["leader"]


def test_a_broken_seam_is_named(settings):
    built, _systemd = running_member(settings, heights=[22], parents={22: "other"})
    found = built.settle(21, "h21")
    assert not found["healthy"]
    assert "block 22 has parent other, and block 21 had hash h21" in found["problem"]


def test_a_member_without_a_block_says_what_it_saw(settings):
    built, _systemd = running_member(settings, heights=[21])
    found = built.settle(21, "h21")
    assert not found["healthy"]
    assert "no block above 21 on node-1 within 1 s: unit active, height 21" in found["problem"]


def test_the_bootstrap_race_is_healed_where_the_log_is_empty(settings, monkeypatch):
    monkeypatch.setattr(host, "UNIT_LOOK", 0.05)
    built, systemd = running_member(settings, heights=[22])
    systemd.active = False
    systemd.log = ["error: bootstrap cluster: bootstrap only works on new clusters"]
    with open(os.path.join(settings.raft_dir, "raft-stable.db"), "w") as stable:
        stable.write("a term")
    found = built.settle(21, "h21")
    assert found["healthy"]
    assert found["healed"] == 1
    assert os.listdir(settings.raft_dir) == []
    assert built.notes == [("bootstrap_race_healed", {"raft_dir": settings.raft_dir})]


def test_the_bootstrap_race_is_not_healed_where_there_are_entries(settings):
    built, systemd = running_member(settings, heights=[22])
    systemd.active = False
    systemd.log = ["error: bootstrap cluster: bootstrap only works on new clusters"]
    os.makedirs(os.path.join(settings.raft_dir, "snapshots", "2-10-1"))
    built.settle(21, "h21")
    assert os.path.isdir(os.path.join(settings.raft_dir, "snapshots", "2-10-1"))
    assert built.notes[0][0] == "bootstrap_race_not_healed"


def test_a_member_that_was_taken_back_is_not_watched(settings):
    built, _systemd = machine(settings)
    assert "was taken back" in built.settle(21, "h21")["problem"]


# ---- starting, finding again, the end ---------------------------------------------------------------------------


def test_the_program_runs_from_its_one_file(settings, tmp_path):
    data = launch.program()
    names = zipfile.ZipFile(io.BytesIO(data)).namelist()
    assert "evnode_ha/_window/coordinator.py" in names
    path = tmp_path / "window.pyz"
    path.write_bytes(data)
    code = f"import sys; sys.path.insert(0, {str(path)!r}); import evnode_ha._window.program as p; print(p.RECEIPT)"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == program.RECEIPT


def test_every_module_of_the_window_is_in_the_program():
    folder = os.path.dirname(launch.__file__)
    modules = {f"_window.{name[:-3]}" for name in os.listdir(folder) if name.endswith(".py") and name != "__init__.py"}
    assert modules - set(launch._PARTS) == {"_window.launch"}


def test_settings_survive_their_file(settings):
    assert host.Settings.load(json.loads(json.dumps(settings.dump()))) == settings


def test_the_key_is_in_no_argument_and_in_no_other_file(settings):
    systemd = Systemd(settings.current)
    key = "canary-0123456789abcdef-0123456789abcdef"
    assert launch.start(settings, key, run=systemd)
    assert not any(key in " ".join(argv) or key in (stdin or "") for argv, stdin in systemd.commands)
    holding = []
    for root in (settings.run_dir, settings.state_dir):
        for place, _folders, names in os.walk(root):
            for name in names:
                path = os.path.join(place, name)
                if key.encode() in pathlib.Path(path).read_bytes():
                    holding.append(os.path.basename(path))
                    assert os.stat(path).st_mode & 0o777 == 0o600
    assert holding == ["key"]


def test_another_runs_window_is_left_alone(settings):
    systemd = Systemd(settings.current)
    launch.start(settings, "k" * 32, run=systemd)
    systemd.properties = lambda unit: {"ActiveState": "active"}
    other = dataclasses.replace(settings, run="run-2")
    with pytest.raises(launch.LaunchError, match="a window of run run-1 is under way"):
        launch.start(other, "k" * 32, run=systemd)
    assert launch.start(settings, "k" * 32, run=systemd) is False


def test_a_window_that_has_ended_is_not_started_again(settings):
    systemd = Systemd(settings.current)
    window = program.Window(settings)
    window.finish("aborted", "node-3: disk")
    assert launch.start(settings, "k" * 32, run=systemd) is False
    found = launch.follow(settings, run=systemd)
    assert (found["outcome"], found["reason"], found["final"]) == ("aborted", "node-3: disk", True)


def test_what_was_committed_stays_so_whatever_fails_afterwards(settings):
    window = program.Window(settings)
    window.receipt.update(outcome="committed", n=21, hash="h21")
    window.fail("systemctl show did not end within 60 s")
    found = window.receipt
    assert (found["outcome"], found["healthy"], found["final"], found["n"]) == ("committed", False, True, 21)
    assert "did not end" in found["problem"]


def test_what_failed_before_a_decision_has_failed(settings):
    window = program.Window(settings)
    window.fail("the port is taken")
    assert (window.receipt["outcome"], window.receipt["reason"]) == ("failed", "the port is taken")


def test_the_switch_is_believed_before_the_receipt(settings):
    program.Window(settings).finish("aborted", "the rename could not be taken back")
    os.unlink(settings.current)
    os.symlink("raft", settings.current)
    found = launch.follow(settings, run=Systemd(settings.current))
    assert (found["outcome"], found["healthy"]) == ("committed", False)
    assert "could not be taken back" in found["problem"]


@pytest.mark.parametrize(("mode", "outcome"), [("single", "failed"), ("raft", "committed")])
def test_a_lost_process_is_judged_by_the_switch(settings, mode, outcome):
    os.unlink(settings.current)
    os.symlink(mode, settings.current)
    found = launch.follow(settings, run=Systemd(settings.current))
    assert found["outcome"] == outcome
    assert f"the switch says {mode}" in found["reason"]


@pytest.mark.parametrize(
    ("role", "mode", "seed", "starts"),
    [
        ("coordinator", "single", "follow", True),
        ("coordinator", "raft", "follow", True),
        ("participant", "follower", "follow", True),
        ("participant", "raft", "copy", True),
        ("participant", "follower", "copy", False),
    ],
)
def test_systemds_last_step_lifts_the_fence_and_starts(settings, tmp_path, role, mode, seed, starts):
    os.unlink(settings.current)
    os.symlink(mode, settings.current)
    wanted = dataclasses.replace(settings, role=role, seed=seed, intake_ports=(9090,))
    open(wanted.frozen, "w").close()
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("systemctl", "nft", "iptables", "ip6tables"):
        (tools / name).write_text(f'#!/bin/sh\necho {name} "$@" >> {tmp_path}/said\n')
        (tools / name).chmod(0o755)
    script = tmp_path / "restore.sh"
    script.write_text(launch.restore_script(wanted))
    subprocess.run(["/bin/sh", str(script)], check=True, env={"PATH": f"{tools}:/usr/bin:/bin"})
    said = (tmp_path / "said").read_text() if (tmp_path / "said").exists() else ""
    assert ("systemctl start --no-block -- ev-node.service" in said) is starts
    if role == "coordinator":
        assert not os.path.exists(wanted.frozen)
        assert "nft delete table inet evnode_ha_ev_node" in said
        for tool in ("iptables", "ip6tables"):
            assert f"{tool} -w -D INPUT -j evnode_ha_ev_node" in said and f"{tool} -w -X evnode_ha_ev_node" in said


@pytest.mark.parametrize(("mode", "starts"), [("raft", False), ("single", True)])
def test_systemds_last_step_starts_no_member_on_a_switch_that_is_not_on_disk(settings, tmp_path, mode, starts):
    os.unlink(settings.current)
    os.symlink(mode, settings.current)
    open(settings.frozen, "w").close()
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, code in (("systemctl", 0), ("sync", 1), ("nft", 0), ("iptables", 0), ("ip6tables", 0)):
        (tools / name).write_text(f'#!/bin/sh\necho {name} "$@" >> {tmp_path}/said\nexit {code}\n')
        (tools / name).chmod(0o755)
    script = tmp_path / "restore.sh"
    script.write_text(launch.restore_script(dataclasses.replace(settings, intake_ports=(9090,))))
    done = subprocess.run(["/bin/sh", str(script)], check=False, env={"PATH": f"{tools}:/usr/bin:/bin"})
    said = (tmp_path / "said").read_text()
    assert (done.returncode == 0) is starts
    assert ("systemctl start" in said) is starts
    assert "nft delete table" in said
    assert os.path.exists(settings.frozen) is not starts


def test_the_journal_tells_the_end(settings):
    program.Window(settings).finish("aborted", "node-3: disk")
    entries = _journal.read(os.path.join(settings.own_state, "journal.jsonl"))
    assert entries[-1]["event"] == "window_closed"
    assert entries[-1]["reason"] == "node-3: disk"


@pytest.mark.parametrize(
    ("line", "height"),
    [
        ('{"level":"info","height":21,"txs":3,"message":"produced block"}', 21),
        ("\x1b[90m5:00PM\x1b[0m \x1b[32mINF\x1b[0m produced block \x1b[36mheight=\x1b[0m21 \x1b[36mtxs=\x1b[0m0", 21),
        ('{"level":"info","height":99,"message":"syncing block"}', 0),
        ("full node halted successfully", 0),
    ],
)
def test_produced_blocks_are_read_from_text_and_json(line, height):
    assert host.produced([line]) == height


# ---- one message to systemd -------------------------------------------------------------------------------------


class PrivateSocket:
    """systemd's private socket, answering as the test wants; ``asked`` is the call it got.

    ``deaf`` is what systemd is to a call that it read with the end of the authentication: until more arrives.
    """

    def __init__(self, path, kind, reply_fields, *, deaf=False):
        self.path, self.asked, self.deaf, self.more = str(path), b"", deaf, b""
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(self.path)
        self.server.listen()
        self.thread = threading.Thread(target=self.serve, args=(kind, reply_fields), daemon=True)
        self.thread.start()

    def serve(self, kind, fields):
        link, _address = self.server.accept()
        with link:
            link.recv(1024)
            link.sendall(b"OK 0123456789abcdef\r\n")
            link.recv(7)
            self.asked = link.recv(4096)
            if self.deaf:
                self.more = link.recv(4096)
            padding = b"\0" * (-len(fields) % 8)
            link.sendall(struct.pack("<BBBBIII", ord("l"), kind, 0, 1, 0, 9, len(fields)) + fields + padding)

    def close(self):
        self.server.close()
        self.thread.join(5)


REPLY = b"\x05\x01u\0" + struct.pack("<I", 1)
REFUSAL = REPLY + b"\x04\x01s\0" + struct.pack("<I", 9) + b"org.fails\0"


def test_a_start_is_one_message(tmp_path):
    systemd = PrivateSocket(tmp_path / "private", 2, REPLY)
    bus = Bus(systemd.path)
    bus.start(UNIT)
    bus.close()
    systemd.close()
    assert systemd.asked == start_message(1, UNIT)
    # The bytes that a real systemd 252 took as the start of this unit.
    assert start_message(1, UNIT).hex() == MESSAGE


MESSAGE = (
    "6c01000120000000010000007800000001016f00190000002f6f72672f667265656465736b746f702f73797374656d643100"
    "00000000000002017300200000006f72672e667265656465736b746f702e73797374656d64312e4d616e6167657200000000"
    "0000000003017300090000005374617274556e69740000000000000008016700027373000f00000065762d6e6f64652e7365"
    "727669636500070000007265706c61636500"
)


def test_a_call_that_lies_unread_is_followed_by_another(tmp_path):
    systemd = PrivateSocket(tmp_path / "private", 2, REPLY, deaf=True)
    bus = Bus(systemd.path, timeout=5)
    bus.start(UNIT)
    bus.close()
    systemd.close()
    assert b"org.freedesktop.DBus.Peer" in systemd.more and b"Ping" in systemd.more


def test_a_systemd_that_never_answers_is_given_up(tmp_path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "private"))
        server.listen()

        def mute():
            link, _address = server.accept()
            link.sendall(b"OK 0123456789abcdef\r\n")
            while link.recv(4096):
                pass
            link.close()

        thread = threading.Thread(target=mute, daemon=True)
        thread.start()
        bus = Bus(str(tmp_path / "private"), timeout=0.2)
        with pytest.raises(BusError, match=r"did not answer within 0\.2 s"):
            bus.start(UNIT)
        bus.close()
        thread.join(5)


def test_a_refused_start_says_so(tmp_path):
    systemd = PrivateSocket(tmp_path / "private", 3, REFUSAL)
    bus = Bus(systemd.path)
    with pytest.raises(BusError, match=r"refused to start ev-node\.service: org\.fails"):
        bus.start(UNIT)
    bus.close()
    systemd.close()


def test_without_the_socket_systemctl_is_asked(settings, tmp_path):
    with pytest.raises(BusError, match="cannot be used"):
        Bus(str(tmp_path / "none"))
    built, systemd = frozen(settings)
    built.commit(21, "h21")
    built.start(21, "h21")
    assert systemd.ran("systemctl", "start", "--no-block", "--", UNIT)


def test_a_bus_that_fails_is_followed_by_systemctl(settings):
    class Broken:
        def start(self, unit):
            raise BusError("systemd did not answer")

        def close(self):
            return

    built, systemd = frozen(settings)
    built.connect_bus = Broken
    built.commit(21, "h21")
    assert built.start(21, "h21") == Started()
    assert systemd.active
    assert built.notes == [("bus_failed", {"reason": "systemd did not answer"})]
