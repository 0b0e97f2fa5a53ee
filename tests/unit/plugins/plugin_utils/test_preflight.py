# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Preflight: each test spoils one thing of a good start, and names what has to be said about it."""

from __future__ import annotations

import typing as t
from collections.abc import Callable

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.plugin_utils._preflight import Evidence, clocks, judge
from ansible_collections.evnode.sequencer_ha.plugins.plugin_utils._verdicts import is_blocked, table

NAMES = [f"node-{number}" for number in range(1, 6)]
GIB = 1 << 30
World = dict[str, t.Any]


def host(number: int) -> dict[str, t.Any]:
    first = number == 1
    return {
        "addresses": [f"10.0.0.{number}", "127.0.0.1"],
        "has_address": True,
        "root": True,
        "python": "3.11.2",
        "systemd_version": 252,
        "unit_exists": first,
        "unit_active": first,
        "unit_pid": 105 if first else None,
        "home_exists": first,
        "home_chain_id": "c-1" if first else None,
        "home_genesis_sha256": "g1" if first else None,
        "home_has_blocks": first,
        "store_bytes": 4 * GIB if first else None,
        "raft_dir_entries": None,
        "sealed": None,
        "held": False,
        "binary_sha256": "b1" if first else None,
        "listening": {"5001": False, "7676": first},
        "listeners": {"7676": "evm[105]"} if first else {},
        "free_bytes": {"/srv/h": 100 * GIB},
        "free_inodes": {"/srv/h": 1_000_000},
        "read_only": [],
        "no_exec": False,
        "reboot_pending": False,
        "clock": {"epoch": 1000.2, "synchronized": True, "controller_before": 1000.0, "controller_after": 1000.4},
        "fstype": "ext4",
        "architecture": "x86_64",
        "memory": {"total": 8 * GIB, "available": 6 * GIB, "swapped": 0},
        "sync": {"samples": 100, "p50_ms": 0.4, "p99_ms": 9.0, "max_ms": 30.0, "reason": None},
        "selinux": None,
        "upgrades": [],
        "mode": "unmanaged",
        "tools": {"systemctl": "/usr/bin/systemctl", "systemd-run": "/usr/bin/systemd-run", "ssh": "/x", "sshd": "/x"},
    }


@pytest.fixture
def world() -> World:
    members = [
        {"name": name, "node_id": name, "address": f"10.0.0.{number}", "peer_id": f"P{number}" if number == 1 else None}
        for number, name in enumerate(NAMES, 1)
    ]
    answers = {"sent": 20, "received": 20, "loss": 0.0, "max_ms": 1.2, "jitter_ms": 0.2, "mtu": 1500, "full_size": True}
    da = {"peer": "DA", "address": "da.example", "port": 26658, "state": "open", "reason": None}
    return {
        "sequencer": {
            "problems": [],
            "home": "/srv/h",
            "binary": "/usr/bin/evm",
            "binary_sha256": "b1",
            "genesis_sha256": "g1",
            "proposer_address": "A=",
            "signer": {"type": "file", "address": "A="},
            "ports": {"p2p": 7676, "rpc": 7331, "raft": None},
            "namespaces": {"header": "aa", "data": "bb"},
            "block_time_s": 1.0,
            "node": {"height": 20, "age_s": 0.4, "interval_s": 1.0, "reason": None},
            "effective": {"rpc.address": {"value": "127.0.0.1:7331", "origin": "default"}},
        },
        "hosts": {name: host(number) for number, name in enumerate(NAMES, 1)},
        "members": members,
        "sequencers": ["node-1"],
        "joiners": NAMES[1:],
        "rtt": {name: [{"peer": peer, **answers} for peer in NAMES if peer != name] for name in NAMES},
        "ports": {
            "node-1": [da],
            "node-2": [{"peer": "node-1", "port": 5001, "state": "refused", "reason": "Connection refused"}, {**da}],
        },
        "options": {"seed": "follow", "raft_port": 5001, "raft_dir": "/srv/h/raft", "state": "single", "forks": 5},
    }


def found(world: World) -> set[tuple[str, str, str]]:
    return {(v.id, v.severity, v.member) for v in judge(Evidence(**world)) if v.severity != "ok"}


def test_a_good_start(world):
    verdicts = judge(Evidence(**world))
    assert found(world) == set()
    assert not is_blocked(verdicts)
    text = table(verdicts)
    assert text.endswith(" ok, 0 to look at, 0 in the way")
    assert "\n" not in text
    (timing,) = (verdict for verdict in verdicts if verdict.id == "raft-timings")
    assert "round trip of 1.2 ms" in timing.expected
    assert "heartbeat_timeout 350ms" in timing.found


def no_sequencer(world: World) -> None:
    world["sequencers"] = []
    world["joiners"] = NAMES


def two_sequencers(world: World) -> None:
    world["sequencers"] = ["node-1", "node-2"]
    world["joiners"] = NAMES[2:]


def in_both_groups(world: World) -> None:
    world["joiners"] = NAMES


def keep(count: int) -> Callable[[World], None]:
    def spoil(world: World) -> None:
        world["members"] = world["members"][:count]
        world["joiners"] = NAMES[1:count]
        world["hosts"] = {name: world["hosts"][name] for name in NAMES[:count]}

    return spoil


def change_host(name: str, **values: t.Any) -> Callable[[World], None]:
    return lambda world: world["hosts"][name].update(values)


def change_member(name: str, **values: t.Any) -> Callable[[World], None]:
    return lambda world: world["members"][NAMES.index(name)].update(values)


def change_sequencer(**values: t.Any) -> Callable[[World], None]:
    return lambda world: world["sequencer"].update(values)


def change_options(**values: t.Any) -> Callable[[World], None]:
    return lambda world: world["options"].update(values)


def setting(key: str, value: str) -> Callable[[World], None]:
    return lambda world: world["sequencer"]["effective"].update({key: {"value": value, "origin": "yaml"}})


def problem(identity: str) -> Callable[[World], None]:
    entry = {"id": identity, "found": "what was found", "remedy": "what to do"}
    return lambda world: world["sequencer"]["problems"].append(entry)


def fails(name: str, **result: t.Any) -> Callable[[World], None]:
    return lambda world: world["hosts"].update({name: result})


def pair(name: str, peer: str, **values: t.Any) -> Callable[[World], None]:
    def spoil(world: World) -> None:
        next(entry for entry in world["rtt"][name] if entry["peer"] == peer).update(values)

    return spoil


def clock(name: str, ahead: float) -> Callable[[World], None]:
    return lambda world: world["hosts"][name]["clock"].update(epoch=1000.2 + ahead)


BLOCKS = [
    # The list of bad input that has to stop a run before it changes anything.
    pytest.param(no_sequencer, {("no-sequencer", "all")}, id="no-sequencer"),
    pytest.param(two_sequencers, {("several-sequencers", "node-1, node-2")}, id="two-sequencers"),
    pytest.param(keep(4), {("even-members", "all")}, id="an-even-number"),
    pytest.param(change_options(forks=4), {("few-forks", "all")}, id="few-forks"),
    pytest.param(keep(1), {("too-few-members", "all")}, id="one-member"),
    pytest.param(in_both_groups, {("host-in-both-groups", "node-1")}, id="a-host-in-both-groups"),
    pytest.param(change_host("node-2", has_address=False), {("address-not-on-host", "node-2")}, id="address-elsewhere"),
    pytest.param(problem("unit_missing"), {("unit-missing", "node-1")}, id="no-such-unit"),
    pytest.param(problem("not_evnode"), {("not-evnode", "node-1")}, id="a-unit-of-something-else"),
    pytest.param(problem("unit_inactive"), {("unit-inactive", "node-1")}, id="a-stopped-sequencer"),
    pytest.param(change_host("node-2", binary_sha256="b2"), {("binary-differs", "node-2")}, id="version-mismatch"),
    pytest.param(
        change_sequencer(signer={"type": "file", "address": "B="}), {("signer-not-proposer", "node-1")}, id="signer"
    ),
    pytest.param(
        change_host("node-3", raft_dir_entries=["raft-log.db"]),
        {("raft-dir-not-empty", "node-3")},
        id="raft-dir-in-use",
    ),
    pytest.param(
        change_host("node-3", raft_dir_entries=["raft-log.db"], sealed=False),
        {("raft-dir-not-empty", "node-3")},
        id="raft-dir-no-longer-as-sealed",
    ),
    pytest.param(
        change_host("node-1", raft_dir_entries=["raft-log.db"], held=True),
        {("raft-dir-not-empty", "node-1")},
        id="raft-dir-of-a-sequencer-is-never-held",
    ),
    pytest.param(
        change_host("node-1", raft_dir_entries=["raft-log.db"], sealed=True),
        {("raft-dir-not-empty", "node-1")},
        id="raft-dir-on-the-sequencer",
    ),
    pytest.param(
        change_host("node-4", home_genesis_sha256="g2", home_chain_id="c-2", home_has_blocks=True),
        {("other-chain", "node-4")},
        id="home-of-another-chain",
    ),
    pytest.param(change_host("node-4", home_has_blocks=True), {("unknown-chain", "node-4")}, id="blocks-of-nobody"),
    pytest.param(fails("node-5", unreachable=True, msg="timed out"), {("unreachable", "node-5")}, id="unreachable"),
    pytest.param(
        fails("node-5", failed=True, msg="Missing sudo password"), {("no-sudo", "node-5")}, id="sudo-with-a-password"
    ),
    pytest.param(change_host("node-5", root=False), {("no-sudo", "node-5")}, id="no-become"),
    # Hazards that discovery or the hosts show.
    pytest.param(fails("node-5", failed=True, msg="module crashed"), {("host-unread", "node-5")}, id="host-unread"),
    pytest.param(
        change_member("node-3", address="10.0.0.2"), {("duplicate-address", "node-2, node-3")}, id="one-address-twice"
    ),
    pytest.param(
        change_member("node-3", node_id="node-2"), {("duplicate-node-id", "node-2, node-3")}, id="one-node-id-twice"
    ),
    pytest.param(change_member("node-3", peer_id="P1"), {("duplicate-peer-id", "node-1, node-3")}, id="cloned-key"),
    pytest.param(change_host("node-3", peer_id="P1"), {("duplicate-peer-id", "node-1, node-3")}, id="cloned-home"),
    pytest.param(change_member("node-3", node_id="a@b"), {("bad-node-id", "node-3")}, id="node-id-with-a-sign"),
    pytest.param(change_member("node-3", address="0.0.0.0"), {("bad-address", "node-3")}, id="wildcard"),
    pytest.param(change_member("node-3", address="127.0.0.1"), {("bad-address", "node-3")}, id="loopback"),
    pytest.param(change_member("node-3", address="node-3"), {("bad-address", "node-3")}, id="a-name"),
    pytest.param(problem("namespace_missing"), {("namespace-missing", "node-1")}, id="random-namespace"),
    pytest.param(problem("catchup_timeout"), {("catchup-timeout", "node-1")}, id="catchup"),
    pytest.param(problem("promotable"), {("promotable", "node-1")}, id="promotable"),
    pytest.param(problem("based_sequencer"), {("based-sequencer", "node-1")}, id="based-sequencer"),
    pytest.param(problem("raft_already_on"), {("raft-already-on", "node-1")}, id="raft-on-already"),
    pytest.param(problem("never_heard_of"), {("never-heard-of", "node-1")}, id="an-unknown-problem-blocks"),
    pytest.param(change_host("node-1", signer_problem="exit code 1"), {("signer-locked", "node-1")}, id="passphrase"),
    pytest.param(change_host("node-2", systemd_version=239), {("systemd-too-old", "node-2")}, id="old-systemd"),
    pytest.param(change_host("node-2", systemd_version=None), {("no-systemd", "node-2")}, id="no-systemd"),
    pytest.param(change_host("node-2", python="3.8.10"), {("python-too-old", "node-2")}, id="old-python"),
    pytest.param(change_host("node-2", architecture="aarch64"), {("other-architecture", "node-2")}, id="architecture"),
    pytest.param(change_host("node-2", fstype="nfs4"), {("network-file-system", "node-2")}, id="network-file-system"),
    pytest.param(
        change_host("node-2", unit_exists=True, unit_active=True), {("unit-name-taken", "node-2")}, id="unit-name-taken"
    ),
    pytest.param(change_host("node-2", mode="raft"), {("already-raft", "node-2")}, id="member-of-a-cluster"),
    pytest.param(
        change_host(
            "node-1",
            strays=[
                {
                    "pid": 9,
                    "program": "/opt/evm",
                    "started_by": "cron.service",
                    "home": "/root/b",
                    "chain_id": None,
                    "aggregator": True,
                }
            ],
        ),
        {("second-node", "node-1")},
        id="a-node-beside-the-unit",
    ),
    pytest.param(
        change_host("node-2", listening={"5001": True}, listeners={"5001": "other[9]"}),
        {("port-taken", "node-2")},
        id="raft-port-taken",
    ),
    pytest.param(
        change_host("node-1", listening={"5001": False, "7676": True}, listeners={"7676": "other[9]"}),
        {("port-taken", "node-1")},
        id="p2p-port-of-somebody-else",
    ),
    pytest.param(change_options(raft_port=7676), {("raft-port-clash", "all")}, id="raft-port-is-the-p2p-port"),
    pytest.param(
        change_host("node-2", sync={"p99_ms": 101.0}), {("slow-disk", "node-2")}, id="slower-than-half-the-send-timeout"
    ),
    pytest.param(
        pair("node-2", "node-3", full_size=False), {("path-mtu", "node-2 -> node-3")}, id="full-packets-vanish"
    ),
    pytest.param(
        lambda world: world["ports"]["node-2"][1].update(state="refused", reason="Connection refused"),
        {("da-unreachable", "node-2")},
        id="no-way-to-the-da",
    ),
    pytest.param(change_options(seed="rsync"), {("unknown-seed", "all")}, id="unknown-seed"),
    pytest.param(change_host("node-2", free_bytes={"/srv/h": 3 * GIB}), {("disk-full", "node-2")}, id="disk-full"),
    pytest.param(change_host("node-2", free_inodes={"/srv/h": 999}), {("few-inodes", "node-2")}, id="few-inodes"),
    pytest.param(change_host("node-2", read_only=["/srv/h"]), {("read-only", "node-2")}, id="read-only"),
    pytest.param(change_host("node-2", no_exec=True), {("no-exec", "node-2")}, id="no-exec"),
    pytest.param(
        clock("node-4", 3.0),
        {("clock-offset", f"{n}, node-4") for n in NAMES[:3]} | {("clock-offset", "node-4, node-5")},
        id="clock",
    ),
    pytest.param(
        pair("node-2", "node-3", received=0, loss=1.0, max_ms=None, reason="no echo"),
        {("no-route", "node-2 -> node-3")},
        id="no-way-between-two",
    ),
    pytest.param(pair("node-2", "node-3", loss=0.3), {("packet-loss", "node-2 -> node-3")}, id="heavy-loss"),
    pytest.param(
        lambda world: world["ports"]["node-2"][0].update(state="filtered", reason="no answer within 2 s"),
        {("port-filtered", "node-2 -> node-1")},
        id="firewall",
    ),
    pytest.param(
        lambda world: world["ports"]["node-2"][0].update(opened=True),
        {("port-filtered", "node-2 -> node-1")},
        id="firewall-that-rejects",
    ),
    pytest.param(
        change_options(timing_overrides={"leader_lease_timeout": "2s"}), {("raft-timings", "all")}, id="timings"
    ),
    pytest.param(
        lambda world: world.update(sequencer={}), {("sequencer-unread", "node-1")}, id="nothing-read-of-the-sequencer"
    ),
    pytest.param(
        lambda world: world["hosts"]["node-2"]["tools"].update({"systemd-run": None}),
        {("tool-missing", "node-2")},
        id="no-systemd-run",
    ),
]


@pytest.mark.parametrize(("spoil", "wanted"), BLOCKS)
def test_what_stops_a_run(world: World, spoil: Callable[[World], None], wanted: set[tuple[str, str]]):
    spoil(world)
    verdicts = judge(Evidence(**world))
    blocking = {(verdict.id, verdict.member) for verdict in verdicts if verdict.severity == "block"}
    assert wanted <= blocking
    # What follows from the same cause may be named too, a second cause may not.
    assert {identity for identity, _member in blocking} - {identity for identity, _member in wanted} <= FOLLOWS
    assert all(
        verdict.remedy and verdict.expected and verdict.found for verdict in verdicts if verdict.severity != "ok"
    )
    assert verdicts[0].severity == "block"


@pytest.mark.parametrize(
    ("node_1", "node_3", "expected"),
    [
        pytest.param(True, True, set(), id="all"),
        pytest.param(True, False, {("kms-refused", "block", "node-3")}, id="one-may-not"),
        pytest.param(
            False, False, {("kms-refused", "warn", "node-1"), ("kms-refused", "warn", "node-3")}, id="not-the-tools"
        ),
        pytest.param(True, None, {("signer-in-kms", "warn", "node-3")}, id="no-tool"),
    ],
)
def test_every_member_has_to_reach_a_key_in_a_kms(world, node_1, node_3, expected):
    world["sequencer"]["signer"] = {"type": "kms", "kms": {"provider": "aws", "key": "alias/k"}}
    for name in NAMES:
        readable = {"node-1": node_1, "node-3": node_3}.get(name, True)
        world["hosts"][name]["kms"] = {"readable": readable, "reason": "denied", "user": "evnode", "command": "aws kms"}
    assert found(world) == expected
    told = [verdict.remedy for verdict in judge(Evidence(**world)) if verdict.severity != "ok"]
    assert all("as evnode: aws kms" in remedy for remedy in told)


@pytest.mark.parametrize(
    ("source", "state", "told"),
    [
        ("10.9.0.1", "open", {"node-2"}),
        ("10.9.0.1", "refused", set()),
        ("10.9.0.1", "filtered", set()),
        ("10.0.0.3", "open", set()),
        ("127.0.0.1", "open", set()),
    ],
)
def test_a_raft_port_that_others_reach_too(world, source, state, told):
    answer = {"peer": "node-2", "address": "10.0.0.2", "port": 5001, "state": state, "source": source}
    world["outside"] = [answer]
    assert found(world) == {("raft-port-open", "warn", member) for member in told}


# Two sequencers: the second one looks like a joiner that is none. A shared address: it is not on the second host.
FOLLOWS = {"address-not-on-host", "host-in-no-group", "unit-name-taken", "port-taken", "raft-port-clash"}


WARNS = [
    pytest.param(problem("relative_signer_path"), ("relative-signer-path", "node-1"), id="relative-signer-path"),
    pytest.param(problem("duplicate_flag"), ("duplicate-flag", "node-1"), id="a-flag-twice"),
    pytest.param(
        change_host("node-3", home_genesis_sha256="g1", home_has_blocks=True),
        ("home-in-use", "node-3"),
        id="same-chain",
    ),
    pytest.param(change_member("node-3", address="8.8.8.8"), ("public-address", "node-3"), id="public-address"),
    pytest.param(change_sequencer(namespaces={}), ("namespace-unknown", "node-1"), id="namespace-unknown"),
    pytest.param(setting("node.lazy_mode", "true"), ("lazy-mode", "node-1"), id="lazy"),
    pytest.param(setting("node.max_pending_headers_and_data", "100"), ("pending-limit", "node-1"), id="pending-limit"),
    pytest.param(setting("p2p.peers", "/ip4/a, /ip4/b"), ("blanks-in-peers", "node-1"), id="blanks-in-peers"),
    pytest.param(setting("rpc.address", "0.0.0.0:7331"), ("rpc-exposed", "node-1"), id="rpc-exposed"),
    pytest.param(
        lambda world: world["hosts"]["node-2"]["clock"].update(synchronized=False),
        ("clock-unsynchronized", "node-2"),
        id="clock-unsynchronized",
    ),
    pytest.param(change_host("node-2", free_bytes={"/srv/h": 5 * GIB}), ("disk-small", "node-2"), id="disk-small"),
    pytest.param(change_host("node-2", memory={"total": GIB}), ("little-memory", "node-2"), id="little-memory"),
    pytest.param(
        change_host("node-2", memory={"total": 8 * GIB, "swapped": GIB}), ("swapping", "node-2"), id="swapping"
    ),
    pytest.param(
        change_host("node-2", upgrades=["dnf-automatic.timer"]), ("automatic-upgrades", "node-2"), id="upgrades"
    ),
    pytest.param(change_host("node-2", selinux=True), ("selinux", "node-2"), id="selinux"),
    pytest.param(
        lambda world: world["hosts"]["node-3"]["clock"].update(controller_before=990.0),
        ("slow-tasks", "node-3"),
        id="slow-tasks",
    ),
    pytest.param(change_host("node-2", reboot_pending=True), ("reboot-pending", "node-2"), id="reboot-pending"),
    pytest.param(
        change_host("node-4", raft_dir_entries=["raft-log.db"], held=True, sealed=False),
        ("rollback-unfinished", "node-4"),
        id="rollback-unfinished",
    ),
    pytest.param(pair("node-2", "node-3", loss=0.05), ("packet-loss", "node-2 -> node-3"), id="some-loss"),
    pytest.param(pair("node-2", "node-3", jitter_ms=40.0), ("jitter", "node-2 -> node-3"), id="jitter"),
    pytest.param(pair("node-2", "node-3", max_ms=180.0), ("long-way", "node-2 -> node-3"), id="far-apart"),
]


@pytest.mark.parametrize(("spoil", "wanted"), WARNS)
def test_what_is_told_and_does_not_stop_a_run(world: World, spoil: Callable[[World], None], wanted: tuple[str, str]):
    spoil(world)
    told = found(world) - {("address-not-on-host", "block", "node-3")}
    assert told == {(wanted[0], "warn", wanted[1])}


def test_few_forks_do_not_matter_to_a_cluster(world):
    change_options(forks=4, state="cluster")(world)
    assert ("few-forks", "warn", "all") in found(world)


def test_a_da_that_the_sequencer_does_not_reach_either_does_not_stop_a_run(world):
    for answers in world["ports"].values():
        answers[-1].update(state="filtered", reason="no answer within 2 s")
    assert found(world) == {("da-unreachable", "warn", "node-1"), ("da-unreachable", "warn", "node-2")}


@pytest.mark.parametrize("sync", [None, {"p99_ms": None, "reason": "no file without a name"}, {"p99_ms": 99.0}])
def test_a_disk_that_is_fast_enough_or_was_not_measured(world, sync):
    world["hosts"]["node-2"]["sync"] = sync
    assert found(world) == set()


def test_longer_timings_forgive_a_slow_disk(world):
    world["hosts"]["node-2"]["sync"] = {"p99_ms": 140.0}
    pair("node-2", "node-3", max_ms=99.0)(world)
    assert found(world) == set()


def test_an_unreachable_host_hides_nothing_of_the_others(world):
    world["hosts"]["node-5"] = {"unreachable": True, "msg": "timed out"}
    world["rtt"]["node-5"] = []
    pair("node-2", "node-5", received=0, reason="no echo")(world)
    world["hosts"]["node-3"].update(raft_dir_entries=["raft-log.db"])
    world["hosts"]["node-4"].update(binary_sha256="b2", python="3.8.1")
    world["members"][1]["address"] = "0.0.0.0"
    assert found(world) == {
        ("unreachable", "block", "node-5"),
        ("raft-dir-not-empty", "block", "node-3"),
        ("binary-differs", "block", "node-4"),
        ("python-too-old", "block", "node-4"),
        ("bad-address", "block", "node-2"),
    }


def test_nothing_at_all_was_read(world):
    world.update(sequencer={}, hosts={name: {} for name in NAMES}, rtt={}, ports={})
    assert {(identity, member) for identity, _severity, member in found(world)} == {
        ("sequencer-unread", "node-1"),
        *(("host-unread", name) for name in NAMES),
    }


@pytest.mark.parametrize("state", ["committed", "cluster"])
def test_a_finished_cluster_is_not_told_to_be_empty(world, state):
    world["options"]["state"] = state
    for number, name in enumerate(NAMES, 1):
        world["hosts"][name].update(
            mode="raft",
            unit_exists=True,
            unit_active=True,
            unit_pid=200 + number,
            raft_dir_entries=["raft-log.db"],
            home_has_blocks=True,
            home_genesis_sha256="g1",
            binary_sha256="b1",
            listening={"5001": True, "7676": True},
            listeners={"5001": f"evm[{200 + number}]", "7676": f"evm[{200 + number}]"},
        )
    assert found(world) == set()


def test_an_interrupted_run_is_not_in_its_own_way(world):
    """Provisioned, sealed and following joiners are what an earlier run left, not strangers."""
    for number in range(2, 6):
        world["hosts"][f"node-{number}"].update(
            mode="follower",
            unit_exists=True,
            unit_active=True,
            unit_pid=200 + number,
            raft_dir_entries=["raft-log.db", "raft-stable.db", "snapshots"],
            sealed=True,
            home_has_blocks=True,
            home_genesis_sha256="g1",
            binary_sha256="b1",
            listening={"5001": False, "7676": True},
            listeners={"7676": f"evm[{200 + number}]"},
        )
    assert found(world) == set()


def test_catchup_that_the_operator_turned_off(world):
    problem("catchup_timeout")(world)
    world["options"]["overrides"] = {"node.catchup_timeout": "0s"}
    assert found(world) == set()


def test_copying_needs_ssh_from_the_joiners_to_the_sequencer(world):
    world["hosts"]["node-1"]["tools"].update(ssh=None, sshd=None)
    world["hosts"]["node-2"]["tools"].update(ssh=None, sshd=None)
    assert {severity for identity, severity, _member in found(world) if identity == "tool-missing"} == {"warn"}
    world["options"]["seed"] = "copy"
    assert found(world) == {("tool-missing", "block", "node-1"), ("tool-missing", "block", "node-2")}
    texts = {(v.member, v.expected) for v in judge(Evidence(**world)) if v.id == "tool-missing"}
    assert texts == {("node-1", "the program sshd"), ("node-2", "the program ssh")}


@pytest.mark.parametrize(
    ("one", "other", "seconds"),
    [((-0.2, 0.2), (-0.2, 0.2), 0), ((2.8, 3.2), (-0.2, 0.2), 2.6), ((-0.2, 0.2), (2.8, 3.2), 2.6)],
)
def test_clocks_are_apart_by_what_can_be_proven(one, other, seconds):
    assert clocks.apart(one, other) == pytest.approx(seconds)


def test_a_slow_connection_proves_nothing_about_a_clock(world):
    world["hosts"]["node-4"]["clock"].update(epoch=1003.2, controller_before=1000.0, controller_after=1006.0)
    assert found(world) == set()


ENV = "/etc/default/chain"


@pytest.mark.parametrize(
    ("own", "other", "expected"),
    [
        ("f1", "f1", None),
        ("f1", None, None),
        (None, None, None),
        ("f1", "f2", f"the sequencer's {ENV}, or none"),
        (None, "f2", f"no {ENV}, as on the sequencer"),
    ],
)
def test_an_environment_file_that_a_joiner_has_already(world, own, other, expected):
    change_host("node-1", environment_files={ENV: own})(world)
    change_host("node-3", environment_files={ENV: other})(world)
    told = [verdict for verdict in judge(Evidence(**world)) if verdict.severity != "ok"]
    wanted = [] if expected is None else [("environment-file-differs", "block", "node-3", expected)]
    assert [(verdict.id, verdict.severity, verdict.member, verdict.expected) for verdict in told] == wanted


URL, ENGINE = "http://localhost:8545", "http://127.0.0.1:8551"


def with_clients(world: World) -> None:
    """A client on every host, filled where the node has blocks."""
    world["sequencer"].update(
        execution={"eth_url": URL, "engine_url": ENGINE, "genesis_hash": "0xg", "fee_recipient": None},
        jwt_file="/etc/jwt",
    )
    for name, entry in world["hosts"].items():
        height = 20 if name == "node-1" else 0
        entry["execution"] = {"version": "geth", "genesis_hash": "g", "height": height, "hash": "h", "reason": None}
        entry["jwt_sha256"] = "s" if name == "node-1" else None


def client(name: str, **values: t.Any) -> Callable[[World], None]:
    return lambda world: world["hosts"][name]["execution"].update(values)


def test_clients_that_fit(world):
    with_clients(world)
    assert found(world) == set()
    world["hosts"]["node-2"]["jwt_sha256"] = "s"
    # A node that has stored its block later than its client has executed it, and one that is about to.
    client("node-1", height=21)(world)
    assert found(world) == set()
    client("node-1", height=19)(world)
    assert found(world) == set()


def test_a_chain_without_clients_is_not_asked_for_any(world):
    assert not any(verdict.id.startswith("execution") for verdict in judge(Evidence(**world)))


@pytest.mark.parametrize(
    ("spoil", "identity", "member"),
    [
        (client("node-3", height=None, reason="refused"), "execution-silent", "node-3"),
        (client("node-3", genesis_hash="other"), "execution-genesis", "node-3"),
        (client("node-3", height=1), "execution-ahead", "node-3"),
        (client("node-1", height=18), "execution-behind", "node-1"),
        (change_host("node-3", jwt_sha256="t"), "jwt-differs", "node-3"),
        (lambda world: world["sequencer"]["execution"].update(eth_url="http://el:8545"), "execution-shared", "node-1"),
        (
            lambda world: world["sequencer"]["execution"].update(engine_url="http://10.0.0.7:8551"),
            "execution-shared",
            "node-1",
        ),
    ],
)
def test_clients_that_do_not_fit(world: World, spoil: Callable[[World], None], identity: str, member: str):
    with_clients(world)
    spoil(world)
    assert found(world) == {(identity, "block", member)}


SAME = [f"--evm.eth-url={URL}", "--evm.engine-url", ENGINE, "--evm.genesis-hash=0xG", "--other=1"]


@pytest.mark.parametrize(
    ("flags", "differs"),
    [
        ([], ""),
        (SAME, ""),
        ([*SAME, "--evm.fee-recipient=0xfee"], "fee_recipient 0xfee"),
        (["--other=1"], "engine_url None, eth_url None, genesis_hash None"),
        (["--evm.genesis-hash=0xg", f"--evm.engine-url={ENGINE}", "--evm.eth-url=http://localhost:1"], "eth_url"),
    ],
)
def test_flags_of_a_members_own_leave_the_client_as_it_is(world: World, flags: list[str], differs: str):
    with_clients(world)
    world["options"]["application_flags"] = {"node-1": ["--evm.fee-recipient=0xfee"], "node-2": [], "node-3": flags}
    said = [verdict for verdict in judge(Evidence(**world)) if verdict.id == "execution-flags"]
    assert [(verdict.severity, verdict.member) for verdict in said] == ([("block", "node-3")] if differs else [])
    assert all(differs in verdict.found for verdict in said)


def test_a_copy_that_would_leave_the_clients_empty(world):
    with_clients(world)
    world["options"]["seed"] = "copy"
    assert found(world) == {("seed-without-client", "block", "all")}
    world["options"]["seed"] = "copy_then_follow"
    assert found(world) == set()


def with_copied_clients(world: World) -> None:
    with_clients(world)
    world["options"].update(seed="copy_then_follow", execution_service="reth")
    for name, entry in world["hosts"].items():
        entry["client"] = {
            "kind": "reth",
            "root": "/data",
            "bytes": 5 * 2**30 if name == "node-1" else 0,
            "free_bytes": 7 * 2**30,
            "half_copied": False,
            "reason": None,
        }


def unit_of(name: str, **values: t.Any) -> Callable[[World], None]:
    return lambda world: world["hosts"][name]["client"].update(values)


def both(*changes: Callable[[World], None]) -> Callable[[World], None]:
    def change_all(world: World) -> None:
        for change in changes:
            change(world)

    return change_all


STOPPED = client("node-2", height=None, reason="refused")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (both(), set()),
        (unit_of("node-3", reason="no unit"), {("execution-unit", "block", "node-3")}),
        (lambda world: world["hosts"]["node-3"].update(client=None), {("execution-unit", "block", "node-3")}),
        (unit_of("node-3", kind="geth"), {("execution-kind", "block", "node-3")}),
        (unit_of("node-3", free_bytes=5 * 2**30), {("execution-space", "block", "node-3")}),
        (unit_of("node-3", free_bytes=0), {("execution-space", "block", "node-3")}),
        (unit_of("node-1", free_bytes=0), set()),
        (client("node-3", height=4), {("execution-ahead", "block", "node-3")}),
        (STOPPED, {("execution-silent", "block", "node-2")}),
        (both(STOPPED, unit_of("node-2", half_copied=True)), set()),
    ],
)
def test_clients_whose_data_are_to_be_copied(world: World, spoil: Callable[[World], None], said: set[t.Any]):
    with_copied_clients(world)
    spoil(world)
    assert found(world) == said


def test_a_joiner_that_follows_already_may_have_a_client_with_blocks(world):
    with_clients(world)
    client("node-3", height=12)(world)
    world["hosts"]["node-3"].update(home_has_blocks=True, home_genesis_sha256="g1", mode="follower")
    assert found(world) == set()
