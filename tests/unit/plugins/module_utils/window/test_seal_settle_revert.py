# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import grp
import json
import os
import pwd
import time

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.module_utils import _journal, _revert, _seal, _settle
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._errors import HaError
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._process import Result
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._revert import RevertError
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._rpc import RpcError
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._seal import SealError
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._settle import SettleError
from tests.unit.plugins.module_utils.window.raft_log import SEALED_LOG

NODE, SEAL, WINDOW = "ev-node.service", "evnode-seal-ev-node.service", "evnode-window-ev-node.service"
RESUME = "evnode-resume-ev-node.timer"
REJOIN = "evnode-rejoin-ev-node.service"


class Clock:
    """Time that moves only when somebody sleeps."""

    now = 0.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


class Host:
    """Units by name, and what their starts do."""

    def __init__(self, tmp_path):
        self.active = {NODE}
        self.log = []
        self.order = []
        self.on_seal = None
        self.enabled = True
        self.started = time.clock_gettime(time.CLOCK_MONOTONIC)
        self.window_starts_node = True
        self.invocation = "a1"

    def __call__(self, argv, *, timeout=60, stdin=None):
        verb, unit = (argv[1], argv[-1]) if argv[0] == "systemctl" else (argv[0], "")
        if verb == "show":
            state = "active" if unit in self.active else "inactive"
            lines = [f"ActiveState={state}", f"ExecMainStartTimestampMonotonic={int(self.started * 1e6)}"]
            return Result(0, "\n".join([*lines, f"InvocationID={self.invocation}", ""]), "")
        if verb == "is-enabled":
            return Result(0, "enabled\n" if self.enabled else "disabled\n", "")
        if verb == "journalctl":
            return Result(0, "\n".join(self.log), "")
        if verb == "systemd-run" and any(word.startswith("--on-active=") for word in argv):
            self.order.append("resume later")
            self.resume_after = [word.partition("=")[2] for word in argv if word.startswith("--on-active=")]
            self.active.add(RESUME)
        elif verb == "systemd-run":
            self.order.append("seal")
            self.sealed_with = list(argv)
            assert NODE not in self.active, "the store is locked by one process at a time"
            self.active.add(SEAL)
            self.on_seal()
        elif verb in ("start", "restart"):
            self.order.append(f"{verb} {unit}")
            self.active.add(unit)
            self.started = time.clock_gettime(time.CLOCK_MONOTONIC)
        elif verb == "stop":
            self.order.append(f"stop {unit}")
            if unit == WINDOW and unit in self.active and self.window_starts_node:
                self.active.add(NODE)
            self.active.discard(unit)
        elif verb == "disable" and unit == NODE:
            self.enabled = False
        return Result(0, "", "")


@pytest.fixture
def place(tmp_path):
    config = tmp_path / "etc" / "ev-node"
    for mode in ("single", "follower", "raft"):
        (config / mode).mkdir(parents=True)
        for name in ("args.env", "evnode.yaml"):
            (config / mode / name).write_text("x")
    os.symlink("follower", config / "current")
    (tmp_path / "run" / "ev-node").mkdir(parents=True)
    (tmp_path / "state").mkdir()
    return tmp_path


def switch_to(place, mode):
    os.unlink(place / "etc" / "ev-node" / "current")
    if mode:
        os.symlink(mode, place / "etc" / "ev-node" / "current")


def mode_of(place):
    path = place / "etc" / "ev-node" / "current"
    return os.readlink(path) if path.is_symlink() else None


# ---- sealing ----------------------------------------------------------------------------------------------------


@pytest.fixture
def sealing(place):
    host = Host(place)
    (place / "home" / "config").mkdir(parents=True)
    for name in ("genesis.json", "node_key.json"):
        (place / "home" / "config" / name).write_text("{}")
    wanted = _seal.Seal(
        unit="ev-node",
        binary="/usr/local/bin/node",
        arguments=["start", "--home", str(place / "home"), "--evnode.raft.enable=true"],
        user=pwd.getpwuid(os.geteuid()).pw_name,
        group=grp.getgrgid(os.getegid()).gr_name,
        working_directory=None,
        raft_dir=str(place / "home" / "raft"),
        config_dir=str(place / "etc"),
        state_dir=str(place / "state"),
        timeout=5,
    )

    def bootstrap():
        with open(os.path.join(wanted.raft_dir, "raft-log.db"), "wb") as log:
            log.write(SEALED_LOG)
        with open(os.path.join(wanted.raft_dir, "raft-stable.db"), "wb") as stable:
            stable.write(b"term 1")
        host.log.append(json.dumps({"message": "bootstrapped raft cluster"}))

    host.on_seal = bootstrap
    return wanted, host


def seal(sealing, **options):
    wanted, host = sealing
    return _seal.seal(wanted, run=host, clock=Clock(), **options)


def test_sealing_runs_on_an_empty_store_in_a_home_of_its_own(sealing, place):
    wanted, host = sealing
    bootstrap, seen = host.on_seal, []

    def look():
        seen.extend(sorted(os.listdir(f"{place}/home-seal/config")))
        bootstrap()

    host.on_seal = look
    seal(sealing)
    words = host.sealed_with[host.sealed_with.index(wanted.binary) :]
    assert words[1:4] == ["start", "--home", f"{place}/home-seal"]
    assert words[-1] == f"--evnode.db_path={place}/home-seal/data"
    assert seen == ["evnode.yaml", "genesis.json", "node_key.json"]
    assert not os.path.exists(f"{place}/home-seal")


def test_sealing_without_the_keys_names_the_stages(sealing, place):
    os.unlink(place / "home" / "config" / "genesis.json")
    with pytest.raises(SealError, match=r"genesis\.json is missing; run the stages"):
        seal(sealing)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_link_that_the_account_put_in_the_way_gives_nothing_away(sealing, place):
    _wanted, host = sealing
    victim = place / "sbin"
    victim.mkdir()
    for link in (place / "home" / "raft", place / "home-seal"):
        link.symlink_to(victim)
        os.chown(link, 4711, 4711, follow_symlinks=False)
    with pytest.raises(HaError, match=r"raft, found .* a link of user 4711"):
        seal(sealing)
    os.unlink(place / "home" / "raft")
    with pytest.raises(HaError, match="home-seal is in the way of the sealing"):
        seal(sealing)
    assert (os.listdir(victim), victim.stat().st_uid) == ([], os.geteuid())
    assert NODE in host.active


def test_a_node_that_ended_and_was_collected_is_reported_by_its_log(sealing):
    _wanted, host = sealing

    def fail():
        host.active.discard(SEAL)
        host.log.append("Error: DA address is required")

    host.on_seal = fail
    with pytest.raises(SealError, match="DA address is required"):
        seal(sealing)
    assert f"stop {SEAL}" not in host.order


def test_sealing_runs_between_two_lives_of_the_follower(sealing):
    changed, state = seal(sealing)
    assert (changed, state.ok) == (True, True)
    wanted, host = sealing
    assert host.order == [f"stop {NODE}", "seal", f"stop {SEAL}", f"start {NODE}"]
    assert [entry["event"] for entry in _journal.read(wanted.journal)] == ["sealing", "sealed"]


def test_the_record_is_what_the_preflight_reads(sealing):
    seal(sealing)
    wanted, _host = sealing
    with open(_seal.record_path(wanted.state_dir, "ev-node")) as record:
        assert json.load(record)["files"] == _seal.raft_fingerprints(wanted.raft_dir)


def test_a_second_sealing_does_nothing(sealing):
    seal(sealing)
    before = list(sealing[1].order)
    assert seal(sealing)[0] is False
    assert sealing[1].order == before


def test_check_mode_does_nothing(sealing):
    assert seal(sealing, check=True)[0] is True
    assert sealing[1].order == []
    assert not os.path.exists(sealing[0].raft_dir)


def test_a_follower_that_did_not_run_is_not_started(sealing):
    sealing[1].active.clear()
    seal(sealing)
    assert NODE not in sealing[1].active


def test_a_node_that_does_not_bootstrap_is_reported_and_the_follower_runs_again(sealing):
    wanted, host = sealing
    host.on_seal = lambda: host.log.append("Error: create transport: local bind address is not advertisable")
    with pytest.raises(SealError, match=r"did not write its membership within 5 s.*not advertisable"):
        seal(sealing)
    assert NODE in host.active
    assert SEAL not in host.active
    assert not os.path.exists(_seal.record_path(wanted.state_dir, "ev-node"))


def test_an_interrupted_sealing_is_done_again(sealing):
    wanted, host = sealing
    os.makedirs(wanted.raft_dir)
    host.on_seal()
    host.log.clear()
    assert seal(sealing)[1].ok


def test_a_clusters_log_is_never_sealed_over(sealing):
    wanted, host = sealing
    os.makedirs(os.path.join(wanted.raft_dir, "snapshots", "2-10-1"))
    with pytest.raises(SealError, match="holds log entries of a cluster"):
        seal(sealing)
    assert host.order == []


def test_a_directory_with_other_files_is_never_emptied(sealing):
    wanted, _host = sealing
    os.makedirs(wanted.raft_dir)
    with open(os.path.join(wanted.raft_dir, "thesis.txt"), "w") as file:
        file.write("x")
    with pytest.raises(SealError, match=r"holds thesis\.txt, which is not of Raft"):
        seal(sealing)


def test_a_member_of_a_cluster_is_not_sealed(sealing, place):
    switch_to(place, "raft")
    with pytest.raises(SealError, match="belongs to a cluster"):
        seal(sealing)
    with pytest.raises(SealError, match="belongs to a cluster"):
        _seal.unseal(sealing[0], force=True, run=sealing[1])


def test_one_changed_byte_breaks_the_seal(sealing):
    seal(sealing)
    wanted, _host = sealing
    with open(os.path.join(wanted.raft_dir, "raft-stable.db"), "ab") as stable:
        stable.write(b"!")
    state = _seal.sealed_state(wanted.state_dir, "ev-node", wanted.raft_dir)
    assert not state.ok
    assert "is not what sealing left there" in state.reason


def test_unsealing_empties_and_forgets(sealing):
    seal(sealing)
    wanted, host = sealing
    assert _seal.unseal(wanted, force=False, run=host) is True
    assert os.listdir(wanted.raft_dir) == []
    assert _seal.unseal(wanted, force=False, run=host) is False


def test_unsealing_needs_force_for_a_clusters_log(sealing):
    wanted, host = sealing
    os.makedirs(os.path.join(wanted.raft_dir, "snapshots", "2-10-1"))
    with pytest.raises(SealError, match="only force=true"):
        _seal.unseal(wanted, force=False, run=host)
    assert _seal.unseal(wanted, force=True, run=host) is True


# ---- settling ---------------------------------------------------------------------------------------------------


class Node:
    """Heights one after the other; an exception is raised."""

    def __init__(self, heights, *, leader=False, parent="h9"):
        self.heights, self.leader, self.parent = list(heights), leader, parent

    def state(self):
        found = self.heights.pop(0) if len(self.heights) > 1 else self.heights[0]
        if isinstance(found, Exception):
            raise found
        return {"height": found}

    def raft_node(self):
        return {"is_leader": self.leader, "node_id": "node-2"}

    def block(self, height):
        return {"parent": self.parent}


def settle(place, node, host=None, **changes):
    switch_to(place, changes.pop("mode", "raft"))
    given = {
        "unit": "ev-node",
        "member": "node-2",
        "config_dir": str(place / "etc"),
        "state_dir": str(place / "state"),
        "rpc_address": "127.0.0.1:1",
        "members": 5,
        "peers_healthy": 4,
        "height": 10,
        "timeout": 3,
    }
    check = changes.pop("check", False)
    host = host or Host(place)
    return _settle.settle(_settle.Settle(**{**given, **changes}), run=host, clock=Clock(), client=node, check=check)


def age(place, seconds):
    stamp = time.time() - seconds
    for folder, _names, files in os.walk(place / "etc"):
        for name in files:
            os.utime(os.path.join(folder, name), (stamp, stamp), follow_symlinks=False)
    os.utime(place / "etc" / "ev-node" / "current", (stamp, stamp), follow_symlinks=False)


def test_newer_files_mean_a_restart(place):
    host = Host(place)
    host.started -= 100
    found = settle(place, Node([8, RpcError("refused", "down"), 9, 10, 11]), host)
    assert found.changed
    assert f"restart {NODE}" in host.order
    assert found.height == 10


def test_older_files_mean_none(place):
    host = Host(place)
    switch_to(place, "raft")
    age(place, 1000)
    wanted = _settle.Settle("ev-node", "node-2", str(place / "etc"), str(place / "state"), "127.0.0.1:1", 5, 4, 10)
    assert _settle.settle(wanted, run=host, clock=Clock(), client=Node([10, 11])).changed is False
    assert host.order == []


def test_a_unit_that_is_down_is_started_whatever_the_quorum(place):
    host = Host(place)
    host.active.clear()
    assert settle(place, Node([10, 11]), host, peers_healthy=2).changed
    assert f"start {NODE}" in host.order


def test_a_fence_that_was_left_is_lifted_before_the_start(place):
    host = Host(place)
    host.active.clear()
    fence = place / "run" / "ev-node" / "frozen"
    fence.touch()
    assert settle(place, Node([10, 11]), host, run_dir=str(place / "run")).changed
    assert not fence.exists()
    fence.touch()
    host.active = {WINDOW}
    with pytest.raises(HaError, match="while a window is under way"):
        settle(place, Node([10, 11]), host, run_dir=str(place / "run"))
    assert fence.exists()


@pytest.mark.parametrize("healthy", [0, 1, 2])
def test_without_a_quorum_of_others_nothing_is_taken_down(place, healthy):
    host = Host(place)
    with pytest.raises(SettleError, match=f"{healthy} of the other members are healthy, and 3 of 5 are needed"):
        settle(place, Node([10, 11]), host, peers_healthy=healthy, restart="always")
    assert host.order == []


def test_the_leader_is_not_restarted(place):
    host = Host(place)
    with pytest.raises(SettleError, match="node-2 leads"):
        settle(place, Node([10, 11], leader=True), host, restart="always")
    assert host.order == []


def test_a_member_that_stands_still_is_not_settled(place):
    with pytest.raises(SettleError, match="did not get beyond height 10 within 3 s: height 10"):
        settle(place, Node([10]), restart="always")


def test_another_history_is_named(place):
    with pytest.raises(SettleError, match="holds block 9 with hash other, expected h9"):
        settle(place, Node([10, 11], parent="other"), expected_height=9, expected_hash="h9", restart="always")


def test_only_a_member_in_raft_mode_is_settled(place):
    with pytest.raises(SettleError, match="is in mode follower, expected raft"):
        settle(place, Node([10, 11]), mode="follower")


def test_check_mode_tells_and_does_nothing_to_the_member(place):
    host = Host(place)
    assert settle(place, Node([10]), host, restart="always", check=True).changed
    assert host.order == []


# ---- taking back ------------------------------------------------------------------------------------------------


def revert(place, *, sequencer=False, **changes):
    given = {
        "unit": "ev-node",
        "sequencer": sequencer,
        "config_dir": str(place / "etc"),
        "state_dir": str(place / "state"),
        "run_dir": str(place / "run"),
        "raft_dir": str(place / "home" / "raft"),
        "units": str(place / "units"),
        "leader": "node-1",
        "leader_address": "10.0.0.1:5001",
        "node_id": "node-2",
    }
    (place / "units").mkdir(exist_ok=True)
    return _revert.Revert(**{**given, **changes})


def held_sequencer(place):
    """Node-1 of a cluster, stopped and about to leave it."""
    cluster_member(place)
    host = Host(place)
    wanted = revert(place, sequencer=True, resume_after=60)
    _revert.stop(wanted, run=host)
    _revert.hold(wanted, run=host)
    return host, wanted


def test_the_window_is_stopped_before_the_node_because_its_end_starts_it(place):
    host = Host(place)
    host.active = {NODE, WINDOW}
    result = _revert.stop(revert(place), run=host)
    assert host.order == [f"stop {WINDOW}", f"stop {NODE}"]
    assert host.active == set()
    assert result.state == {"active": False}


def test_a_node_that_only_the_windows_end_starts_is_stopped_too(place):
    host = Host(place)
    host.active = {WINDOW}
    _revert.stop(revert(place), run=host)
    assert NODE not in host.active


def test_stopping_twice_changes_nothing(place):
    host = Host(place)
    host.active.clear()
    assert _revert.stop(revert(place), run=host).changes == []


@pytest.mark.parametrize(
    ("heights", "waited"),
    [
        ([7, 7, 7, 8], 0.04),  # right after the block
        ([7] * 100, 1.4),  # nobody makes one any more
        ([RpcError("state", "refused")], 0.0),  # it has no role yet
        ([7, RpcError("state", "refused")], 0.0),
    ],
)
def test_a_member_of_the_cluster_is_stopped_right_after_a_block(place, monkeypatch, heights, waited):
    cluster_member(place)
    host, clock, left = Host(place), Clock(), list(heights)

    class Node:
        def __init__(self, address):
            assert address == "127.0.0.1:7331"

        def state(self):
            assert NODE in host.active
            answer = left.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return {"height": answer}

    monkeypatch.setattr(_revert, "NodeClient", Node)
    wanted = revert(place, rpc_address="127.0.0.1:7331", block_time=1.0, resume_after=60)
    _revert.stop(wanted, run=host, clock=clock)
    assert clock.now == pytest.approx(waited, abs=0.021)
    assert host.order == ["resume later", f"stop {NODE}"], "it starts again by itself, whatever becomes of the wait"


def test_a_follower_is_stopped_at_once(place, monkeypatch):
    monkeypatch.setattr(_revert, "NodeClient", None)
    host = Host(place)
    _revert.stop(revert(place, rpc_address="127.0.0.1:7331", block_time=1.0), run=host)
    assert host.active == set()


def test_a_stopped_member_of_the_cluster_starts_again_by_itself_unless_it_is_cleaned(place):
    cluster_member(place)
    host = Host(place)
    wanted = revert(place, resume_after=60)
    _revert.stop(wanted, run=host)
    assert host.order == ["resume later", f"stop {NODE}"]
    _revert.clean(wanted, run=host)
    assert host.active == set()


def test_a_clean_sequencer_starts_by_itself_where_the_run_does_not_live_to_start_it(place):
    host, wanted = held_sequencer(place)
    _revert.clean(wanted, run=host)
    assert (host.active, mode_of(place)) == ({RESUME}, "single")
    assert host.resume_after == ["5s"], "a rename ago it had to wait for the others"
    _revert.start(wanted, run=host)
    assert host.active == {NODE}


def raft_log(place):
    return sorted(path.name for path in (place / "home" / "raft").iterdir())


def test_a_held_joiner_is_no_member_and_can_become_one_again(place):
    cluster_member(place)
    host = Host(place)
    wanted = revert(place, resume_after=60)
    before = raft_log(place)
    _revert.stop(wanted, run=host)
    assert _revert.hold(wanted, check=True, run=host).changes
    assert mode_of(place) == "raft"
    assert _revert.hold(wanted, run=host).changes == ["switch raft -> follower"]
    assert (mode_of(place), raft_log(place)) == ("follower", before)
    assert host.active == {REJOIN}, "no timer is left: it goes by what the sequencer does"
    assert _revert.resume(wanted, run=host).changes == []
    assert host.active == {REJOIN}


def test_a_second_run_holds_it_anew_with_no_question_under_way(place):
    cluster_member(place)
    host = Host(place)
    wanted = revert(place, resume_after=60)
    _revert.stop(wanted, run=host)
    _revert.hold(wanted, run=host)
    del host.order[:]
    _revert.stop(wanted, run=host)
    assert _revert.hold(wanted, run=host).changes == []
    assert host.order == [f"stop {NODE}", f"stop {REJOIN}", f"start {REJOIN}"]


def test_a_joiner_that_came_back_meanwhile_is_not_held(place):
    cluster_member(place)
    host = Host(place)
    wanted = revert(place, resume_after=60)
    _revert.stop(wanted, run=host)
    host.active.add(NODE)
    with pytest.raises(RevertError, match="phase stop has to be done on all members before hold"):
        _revert.hold(wanted, run=host)
    assert mode_of(place) == "raft"
    assert RESUME in host.active


@pytest.mark.parametrize("gone", [True, False])
def test_a_timer_that_ends_while_it_is_being_stopped(place, gone):
    """systemd forgets a transient unit once it has ended, and a host that goes down ends all of them."""
    cluster_member(place)
    host = Host(place)
    wanted = revert(place, resume_after=60)
    _revert.stop(wanted, run=host)

    def run(argv, *, timeout=60, stdin=None):
        if argv[:2] == ["systemctl", "stop"] and argv[-1] == RESUME:
            if not gone:
                return Result(1, "", f"Job for {RESUME} canceled.")
            host.active.discard(RESUME)
            return Result(5, "", f"Failed to stop {RESUME}: Unit {RESUME} not loaded.")
        return host(argv, timeout=timeout, stdin=stdin)

    if gone:
        assert _revert.hold(wanted, run=run).changes == ["switch raft -> follower"]
        assert host.active == {REJOIN}
    else:
        with pytest.raises(HaError, match="canceled"):
            _revert.hold(wanted, run=run)


def test_without_a_resume_time_nothing_brings_a_held_joiner_back(place):
    cluster_member(place)
    host = Host(place)
    for seconds in (60, 0):
        wanted = revert(place, resume_after=seconds)
        _revert.stop(wanted, run=host)
        _revert.hold(wanted, run=host)
    assert host.active == set()
    assert list((place / "units").iterdir()) == []


def test_a_cleaned_joiner_can_never_come_back(place):
    cluster_member(place)
    host = Host(place)
    wanted = revert(place, resume_after=60)
    _revert.stop(wanted, run=host)
    _revert.hold(wanted, run=host)
    assert f"remove {REJOIN}" in _revert.clean(wanted, run=host).changes
    assert (host.active, raft_log(place), list((place / "units").iterdir())) == (set(), [], [])


def test_a_sequencer_that_has_run_since_the_stop_does_not_leave(place):
    host, wanted = held_sequencer(place)
    host.invocation = "a2"  # its time was over, or somebody started it; it may have answered joiners
    with pytest.raises(RevertError, match="it goes on as a member"):
        _revert.clean(wanted, run=host)
    assert (mode_of(place), host.active) == ("raft", {RESUME})
    _revert.hold(wanted, run=host)
    with pytest.raises(RevertError, match="it goes on as a member"):
        _revert.clean(wanted, run=host)
    _revert.stop(wanted, run=host)
    _revert.clean(wanted, run=host)
    assert mode_of(place) == "single"


def test_a_sequencer_that_was_booted_since_does_not_leave(place):
    cluster_member(place)
    host = Host(place)
    wanted = revert(place, sequencer=True)
    _revert.stop(wanted, run=host)
    os.unlink(wanted.stopped)  # /run is empty after a boot
    with pytest.raises(RevertError, match="stood still since phase stop"):
        _revert.clean(wanted, run=host)


def test_only_a_held_joiner_is_released(place):
    cluster_member(place)
    host = Host(place)
    wanted = revert(place, resume_after=60)
    assert _revert.release(wanted, run=host).changes == []
    assert mode_of(place) == "raft"
    _revert.stop(wanted, run=host)
    _revert.hold(wanted, run=host)
    host.active.add(NODE)  # the switch says follower, so a boot may have started it as one
    assert _revert.release(wanted, run=host).changes
    assert (host.active, raft_log(place), mode_of(place)) == (set(), [], "follower")


def test_a_joiner_that_could_not_be_cleaned_is_still_known_to_be_held(place, monkeypatch):
    cluster_member(place)
    host = Host(place)
    wanted = revert(place, resume_after=60)
    _revert.stop(wanted, run=host)
    _revert.hold(wanted, run=host)

    def read_only(*_what):
        raise SealError("/raft/raft-log.db cannot be removed: Read-only file system")

    with monkeypatch.context() as broken:
        broken.setattr(_revert, "wipe", read_only)
        with pytest.raises(HaError, match="Read-only"):
            _revert.clean(wanted, run=host)
    assert REJOIN not in host.active, "the sequencer is the single one by now"
    with monkeypatch.context() as broken:
        broken.setattr(_revert._rejoin._files, "_forget", read_only)
        with pytest.raises(HaError, match="Read-only"):
            _revert.clean(wanted, run=host)
    assert f"remove {REJOIN}" in _revert.release(wanted, run=host).changes
    assert (host.active, raft_log(place), list((place / "units").iterdir())) == (set(), [], [])


def test_a_second_run_puts_the_start_off(place):
    cluster_member(place)
    host = Host(place)
    for _run in range(2):
        _revert.stop(revert(place, resume_after=60), run=host)
    assert host.order[2:] == [f"stop {RESUME}", "resume later", f"stop {NODE}"]
    _revert.stop(revert(place), run=host)
    assert RESUME not in host.active, "a store is about to be written over"


def test_only_what_ran_as_a_member_starts_again(place):
    host = Host(place)
    _revert.stop(revert(place, resume_after=60), run=host)
    switch_to(place, "raft")
    _revert.stop(revert(place, resume_after=60), run=host)
    assert "resume later" not in host.order


def test_a_member_whose_switch_cannot_be_turned_starts_again_by_itself(place, monkeypatch):
    def read_only(*_what):
        raise RevertError("the file system is read-only")

    cluster_member(place)
    host = Host(place)
    wanted = revert(place, resume_after=60)
    _revert.stop(wanted, run=host)
    monkeypatch.setattr(_revert, "switch", read_only)
    with pytest.raises(RevertError, match="read-only"):
        _revert.clean(wanted, run=host)
    assert host.active == {RESUME}


def test_a_member_that_is_out_of_the_cluster_does_not_start_again_whatever_else_failed(place):
    cluster_member(place)
    (place / "home" / "raft" / "thesis.txt").write_text("x")
    host = Host(place)
    wanted = revert(place, resume_after=60)
    _revert.stop(wanted, run=host)
    with pytest.raises(RevertError, match=r"thesis\.txt"):
        _revert.clean(wanted, run=host)
    assert host.active == set()


def test_a_sequencer_that_cannot_be_cleaned_stays_a_member(place):
    host, wanted = held_sequencer(place)
    (place / "home" / "raft" / "thesis.txt").write_text("x")
    with pytest.raises(RevertError, match=r"thesis\.txt"):
        _revert.clean(wanted, run=host)
    assert (mode_of(place), host.active) == ("raft", {RESUME})


def test_a_sequencer_that_was_cleaned_half_way_starts_as_the_single_one(place, monkeypatch):
    """The joiners are held, so nobody else would start anything."""
    host, wanted = held_sequencer(place)

    def refuse(*_what, **_how):
        raise OSError(5, "Input/output error")

    (place / "home" / "raft" / "snapshots").mkdir(exist_ok=True)
    monkeypatch.setattr(_seal.shutil, "rmtree", refuse)
    with pytest.raises(SealError, match="Input/output error"):
        _revert.clean(wanted, run=host)
    assert (mode_of(place), host.active) == ("single", {RESUME})


def test_nothing_can_start_the_sequencer_between_the_last_look_and_the_turn(place, monkeypatch):
    cluster_member(place)
    host = Host(place)
    wanted = revert(place, sequencer=True, resume_after=60)
    fence = place / "run" / "ev-node" / "frozen"
    seen = []

    def look(*what):
        seen.append(("look", fence.exists()))
        return still(*what)

    def turn(*what, **how):
        seen.append(("turn", fence.exists()))
        return switch(*what, **how)

    still, switch = _revert._expect_still, _revert.switch
    monkeypatch.setattr(_revert, "_expect_still", look)
    monkeypatch.setattr(_revert, "switch", turn)
    _revert.stop(wanted, run=host)
    host.invocation = "a2"
    with pytest.raises(RevertError, match="it goes on as a member"):
        _revert.clean(wanted, run=host)
    assert (seen, fence.exists()) == ([("look", True)], False)
    _revert.stop(wanted, run=host)
    _revert.clean(wanted, run=host)
    assert (seen[1:], fence.exists()) == ([("look", True), ("turn", True)], False)


def test_a_start_that_is_just_being_asked_for_is_taken_back(place):
    cluster_member(place)
    host = Host(place)
    asking = RESUME.replace(".timer", ".service")
    host.active = {asking}
    _revert.stop(revert(place, resume_after=60), run=host)
    assert asking not in host.active and RESUME in host.active


def test_a_joiner_that_cannot_begin_to_ask_stays_a_member(place, monkeypatch):
    cluster_member(place)
    host = Host(place)
    wanted = revert(place, resume_after=60)
    _revert.stop(wanted, run=host)

    def refuse(*_what, **_how):
        raise RevertError("systemctl start failed")

    monkeypatch.setattr(_revert._rejoin, "begin", refuse)
    with pytest.raises(RevertError, match="start failed"):
        _revert.hold(wanted, run=host)
    assert (mode_of(place), host.active) == ("raft", {RESUME})


def test_what_a_lost_window_has_left_does_not_keep_a_member_from_starting(place):
    cluster_member(place)
    host = Host(place)
    host.active.clear()
    fence = place / "run" / "ev-node" / "frozen"
    fence.touch()
    assert _revert.resume(revert(place), run=host).changes == [f"remove {fence}", f"start {NODE}"]
    assert not fence.exists()


def test_resuming_starts_the_node_and_only_once(place):
    cluster_member(place)
    host = Host(place)
    wanted = revert(place, resume_after=60)
    _revert.stop(wanted, run=host)
    assert _revert.resume(wanted, check=True, run=host).changes
    assert _revert.resume(wanted, run=host).changes == [f"start {NODE}"]
    assert host.active == {NODE}
    assert _revert.resume(wanted, run=host).changes == []


def cluster_member(place, mode="raft"):
    switch_to(place, mode)
    folder = place / "home" / "raft"
    (folder / "snapshots" / "2-10-1").mkdir(parents=True)
    (folder / "raft-stable.db").write_text("x")
    (place / "state" / "ev-node").mkdir()
    (place / "state" / "ev-node" / "sealed.json").write_text("{}")


@pytest.mark.parametrize(
    ("changes", "mode"),
    [({"sequencer": True}, "single"), ({}, "follower"), ({"follow": False}, None)],
    ids=["sequencer", "follower", "copied-joiner"],
)
def test_cleaning_takes_the_cluster_away(place, changes, mode):
    cluster_member(place)
    host = Host(place)
    wanted = revert(place, **changes)
    _revert.stop(wanted, run=host)
    assert _revert.clean(wanted, check=True, run=host).changes
    assert mode_of(place) == "raft", "check mode changes nothing"
    assert _revert.clean(wanted, run=host).changes
    assert mode_of(place) == mode
    assert os.listdir(wanted.raft_dir) == []
    assert not (place / "state" / "ev-node" / "sealed.json").exists()
    assert host.enabled is bool(changes.get("sequencer"))
    assert _revert.clean(wanted, run=host).changes == []


def test_a_joiner_that_never_followed_cannot_start_afterwards(place):
    cluster_member(place)
    os.unlink(place / "etc" / "ev-node" / "follower" / "args.env")
    host = Host(place)
    host.active.clear()
    _revert.clean(revert(place), run=host)
    assert mode_of(place) is None


def test_what_a_running_node_is_writing_is_not_read_to_foretell(place):
    cluster_member(place)
    (place / "home" / "raft" / "raft-log.db").write_bytes(b"half written")
    told = _revert.clean(revert(place), check=True, run=Host(place))
    assert f"empty {place / 'home' / 'raft'}" in told.changes
    assert mode_of(place) == "raft"


def test_nothing_is_cleaned_while_the_node_runs(place):
    cluster_member(place)
    with pytest.raises(RevertError, match="phase stop has to be done on all members"):
        _revert.clean(revert(place), run=Host(place))
    assert mode_of(place) == "raft"


def test_cleaning_does_not_empty_somebody_elses_directory(place):
    cluster_member(place)
    (place / "home" / "raft" / "thesis.txt").write_text("x")
    host = Host(place)
    host.active.clear()
    with pytest.raises(RevertError, match=r"thesis\.txt"):
        _revert.clean(revert(place), run=host)
    assert (place / "home" / "raft" / "thesis.txt").exists()


def half_a_copy(place):
    (place / "state" / "ev-node").mkdir(exist_ok=True)
    (place / "state" / "ev-node" / ".copying").write_text('{"/srv/data": {"phase": "last", "from": "10.0.0.2"}}')


def test_a_sequencer_with_half_a_copy_stays_a_member_that_cannot_start(place):
    cluster_member(place)
    half_a_copy(place)
    host = Host(place)
    wanted = revert(place, sequencer=True)
    _revert.stop(wanted, run=host)
    assert _revert.clean(wanted, check=True, run=host).changes, "the run that is foretold copies before"
    with pytest.raises(RevertError, match=r"found /srv/data, whose copy was begun .* run rollback again"):
        _revert.clean(wanted, run=host)
    assert mode_of(place) == "raft"
    with pytest.raises(RevertError, match="found /srv/data, whose copy was begun"):
        _revert.resume(wanted, run=host)
    assert NODE not in host.active


@pytest.mark.parametrize(("sequencer", "mode"), [(True, "single"), (False, "follower")])
def test_nobody_is_started_on_half_a_copy(place, sequencer, mode):
    switch_to(place, mode)
    half_a_copy(place)
    host = Host(place)
    host.active.clear()
    with pytest.raises(RevertError, match="so it was not started"):
        _revert.start(revert(place, sequencer=sequencer), run=host)
    assert host.active == set()


def test_half_a_copy_does_not_keep_a_joiner_in_the_cluster(place):
    cluster_member(place)
    half_a_copy(place)
    host = Host(place)
    host.active.clear()
    _revert.clean(revert(place), run=host)
    assert mode_of(place) == "follower"


def test_the_sequencer_starts_only_when_it_is_clean(place):
    switch_to(place, "raft")
    host = Host(place)
    host.active.clear()
    with pytest.raises(RevertError, match="is in mode raft, expected single"):
        _revert.start(revert(place, sequencer=True), run=host)
    assert NODE not in host.active


def test_a_sequencer_whose_switch_was_taken_away_starts_with_its_own_unit(place):
    switch_to(place, None)
    host = Host(place)
    host.active.clear()
    _revert.start(revert(place, sequencer=True), run=host)
    assert NODE in host.active


def test_starting_lifts_the_fence_and_waits_for_a_new_block(place, monkeypatch):
    switch_to(place, "single")
    (place / "run" / "ev-node" / "frozen").write_text("x")
    host = Host(place)
    host.active.clear()
    monkeypatch.setattr(_revert, "NodeClient", lambda address: Node([RpcError("refused", "down"), 21, 21, 22]))
    wanted = revert(place, sequencer=True, rpc_address="127.0.0.1:1")
    result = _revert.start(wanted, run=host, clock=Clock())
    assert result.state == {"height": 22}
    assert not (place / "run" / "ev-node" / "frozen").exists()
    assert _revert.start(wanted, check=True, run=host).changes == []


def test_a_sequencer_that_stands_still_is_an_error(place, monkeypatch):
    switch_to(place, "single")
    monkeypatch.setattr(_revert, "NodeClient", lambda address: Node([21]))
    wanted = revert(place, sequencer=True, rpc_address="127.0.0.1:1", timeout=2)
    with pytest.raises(RevertError, match="did not go on above height 21 within 2 s: height 21"):
        _revert.start(wanted, run=Host(place), clock=Clock())
