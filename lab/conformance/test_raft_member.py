# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One Raft member alone: addresses, timings, peers, sealing, and that nothing answers before there is a role."""

from __future__ import annotations

import pytest

from .cluster import (
    BOOTSTRAPPED,
    EXISTING_STATE,
    HALTED,
    ask_for_vote,
    grow,
    members_of,
    offline_head,
    seal,
    stop_cleanly,
)
from .node import Bench, Node, RpcError, port_open


def five(bench: Bench, **raft: object) -> list[Node]:
    """Five members of a chain without blocks, of which only the first has a signer and is meant to be started."""
    first = bench.sequencer()
    members = [first, *(bench.joiner(f"node-{number}", first) for number in range(2, 6))]
    for member in members:
        member.as_member(members, raft)
    return members


def forget_raft(node: Node) -> None:
    for entry in node.raft_dir.iterdir():
        if entry.is_file():
            entry.unlink()


def refused(node: Node, text: str) -> None:
    node.start()
    assert node.wait_exit() == 1, node.describe()
    assert node.log_has(text), f"expected {text!r}\n{node.describe(60)}"
    assert not port_open(node.ports.raft)


@pytest.mark.parametrize("host", ["0.0.0.0", "", "[::]"])
def test_a_wildcard_address_never_starts(bench: Bench, host: str) -> None:
    node = five(bench)[0]
    node.write_config(raft={"raft_addr": f"{host}:{node.ports.raft}"})
    refused(
        node,
        "failed to initialize raft node: create raft node: create transport: local bind address is not advertisable",
    )


def test_an_address_of_another_host_never_starts(bench: Bench) -> None:
    node = five(bench)[0]
    node.write_config(raft={"raft_addr": f"192.0.2.1:{node.ports.raft}"})
    refused(node, "bind: cannot assign requested address")


@pytest.mark.parametrize(
    ("timings", "text"),
    [
        (
            {"leader_lease_timeout": "100ms", "heartbeat_timeout": "92ms", "election_timeout": "368ms"},
            "create raft: LeaderLeaseTimeout (100ms) cannot be larger than heartbeat timeout (92ms)",
        ),
        (
            {"heartbeat_timeout": "2s", "election_timeout": "1s"},
            "election timeout (1s) must be >= heartbeat timeout (2s)",
        ),
        (
            {"heartbeat_timeout": "2s", "election_timeout": "0s"},
            "create raft: ElectionTimeout (1s) must be equal or greater than Heartbeat Timeout (2s)",
        ),
        ({"heartbeat_timeout": "4ms", "leader_lease_timeout": "4ms"}, "create raft: HeartbeatTimeout is too low"),
        (
            {"heartbeat_timeout": 92, "leader_lease_timeout": 46, "election_timeout": "1s"},
            "create raft: HeartbeatTimeout is too low",
        ),
        ({"leader_lease_timeout": "2ms"}, "create raft: LeaderLeaseTimeout is too low"),
        ({"send_timeout": "0s"}, "send timeout must be positive"),
        ({"heartbeat_timeout": "0s"}, "heartbeat timeout must be positive"),
        ({"snap_count": 0}, "create snapshot store: must retain at least one snapshot"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_timings_that_are_refused(bench: Bench, timings: dict[str, object], text: str) -> None:
    refused(five(bench, **timings)[0], text)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("node_id", "node ID is required"),
        ("raft_addr", "raft address is required"),
        ("raft_dir", "raft directory is required"),
    ],
)
def test_what_raft_needs(bench: Bench, key: str, text: str) -> None:
    refused(five(bench, **{key: ""})[0], text)


def test_peers_may_have_blanks_but_no_empty_element(bench: Bench) -> None:
    members = five(bench)
    node = members[0]
    listed = [f"{member.name} @ {member.raft_addr}" for member in members[1:]]
    node.write_config(raft={"peers": ",".join(listed) + ","})
    node.start()
    assert node.wait_exit() == 1
    assert node.log_has("expecting nodeID@address for peer"), node.describe(60)
    node.write_config(raft={"peers": " , ".join(listed), "raft_dir": str(node.home / "raft-2")})
    node.start()
    node.wait_log(BOOTSTRAPPED)


def test_own_id_with_another_address_is_refused(bench: Bench) -> None:
    members = five(bench)
    node = members[0]
    node.write_config(raft={"peers": f"node-1@127.0.0.1:{members[1].ports.raft},node-3@{members[2].raft_addr}"})
    node.start()
    assert node.wait_exit() == 1
    assert node.log_has("error while starting leader election: duplicate peers found in config"), node.describe(60)


def test_own_entry_among_the_peers_is_skipped(bench: Bench) -> None:
    members = five(bench)
    node = members[0]
    node.write_config(raft={"peers": ",".join(f"{member.name}@{member.raft_addr}" for member in members)})
    node.start()
    node.wait_log(BOOTSTRAPPED)


def test_another_id_with_the_same_address_is_refused(bench: Bench) -> None:
    members = five(bench)
    node = members[0]
    node.write_config(raft={"peers": f"node-2@{members[1].raft_addr},node-3@{members[1].raft_addr}"})
    node.start()
    assert node.wait_exit() == 1
    assert node.log_has("bootstrap cluster: found duplicate address in configuration"), node.describe(60)


def test_alone_there_is_no_role_and_nothing_answers(bench: Bench) -> None:
    first = bench.sequencer()
    head = grow(first, 3)
    members = members_of(bench, first, 5, data=False)
    first.as_member(
        members, {"heartbeat_timeout": "100ms", "election_timeout": "200ms", "leader_lease_timeout": "50ms"}
    )
    first.start()
    first.wait_log(BOOTSTRAPPED)
    assert port_open(first.ports.raft)
    first.wait_log("starting election")
    election_rounds = "pre-vote" if first.log_has("pre-vote") else "starting election"
    first.wait("five rounds of elections without a winner", lambda: first.log().count(election_rounds) >= 5, 20.0)
    with pytest.raises(RpcError) as nothing:
        first.state()
    assert nothing.value.kind == "refused"
    net_info = bench.binary.run("net-info", "--home", str(first.home))
    assert net_info.rc == 1 and "connection refused" in net_info.error
    assert first.stop() == 0 and first.log_has(HALTED), first.describe()
    assert not first.log_has("Started RPC server") and not first.log_has("produced block")
    assert offline_head(first) == head


def test_a_sealed_member_has_state_and_starts_with_it(bench: Bench) -> None:
    first = bench.sequencer()
    head = grow(first, 3)
    members = members_of(bench, first, 3)
    member = members[1]
    member.as_member(members)
    seal(member)
    assert {entry.name for entry in member.raft_dir.iterdir()} >= {"raft-log.db", "raft-stable.db", "snapshots"}
    member.start()
    member.wait_log(EXISTING_STATE)
    assert not member.log_has(BOOTSTRAPPED)
    assert member.stop() == 0
    assert offline_head(member) == head


def test_peers_are_ignored_once_there_is_state(bench: Bench) -> None:
    members = five(bench)
    node = members[0]
    seal(node)
    node.write_config(raft={"peers": f"node-9@127.0.0.1:{members[1].ports.raft}"})
    node.start()
    node.wait_log(EXISTING_STATE)
    node.wait_log("node-5")
    assert not node.log_has("node-9"), node.describe()


def test_asked_for_a_vote_before_it_has_bootstrapped_a_member_is_lost(bench: Bench) -> None:
    """The bootstrap race, made to happen: the listener opens before the membership is written."""
    members = five(bench)
    node = members[0]
    lost = "error while starting leader election: bootstrap cluster: bootstrap only works on new clusters"
    # Where this process is not given the CPU in time the node wins the race.
    for _attempt in range(10):
        node.start()
        ask_for_vote(node, members[1])
        node.wait("it has won or lost the race", lambda: node.log_has(BOOTSTRAPPED) or not node.alive, running=False)
        if not node.log_has(BOOTSTRAPPED):
            break
        stop_cleanly(node)
        forget_raft(node)
    assert node.wait_exit() == 1, node.describe()
    assert node.log_has(lost), node.describe(60)
    # Nobody asks any more, and still it does not come up again: the term is on its disk.
    node.start()
    assert node.wait_exit() == 1 and node.log_has(lost), node.describe(60)
    forget_raft(node)
    node.start()
    node.wait_log(BOOTSTRAPPED)


def test_a_sealed_member_may_be_asked_at_any_time(bench: Bench) -> None:
    members = five(bench)
    node = members[0]
    seal(node)
    node.start()
    ask_for_vote(node, members[1])
    node.wait_log(EXISTING_STATE)
    assert node.stop() == 0
