# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clusters: the seam, who may lead at Raft height 0 and what follows from it, losing leadership, going back."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Sequence

import pytest

from .cluster import (
    EAGER,
    EXISTING_STATE,
    FOLLOWING,
    HALTED,
    LEADING,
    grow,
    members_of,
    offline_chain,
    offline_head,
    pin,
    running_cluster,
    same_header,
    seal,
    start_pinned,
    stop_before,
    stop_cleanly,
)
from .node import Bench, Node, RpcError

LOST = "leader lock lost"
P2P_WAIT = "headers not yet available from peers, waiting to initialize header sync"
INITIALIZED = "initialized state"
LATER = {**EAGER, "heartbeat_timeout": "3s", "election_timeout": "3s"}


def leaders(members: Sequence[Node]) -> list[str]:
    """Names of the members that say that they lead."""
    found = []
    for member in members:
        try:
            answer = member.raft_node()
        except RpcError:
            continue
        assert answer["node_id"] == member.name and set(answer) == {"is_leader", "node_id"}
        if answer["is_leader"]:
            found.append(member.name)
    return found


def test_sealed_and_pinned_five_go_on_at_the_seam(bench: Bench) -> None:
    """The way of the collection: equal stores, sealed joiners, one first leader."""
    first = bench.sequencer()
    head = grow(first, 5)
    members = members_of(bench, first, 5)
    pin(members, first)
    for member in members[1:]:
        seal(member)
        assert offline_head(member) == head
    start_pinned(members, first)
    for member in members:
        member.wait_height(head.height + 3)
    assert all(member.log_has(EXISTING_STATE) for member in members[1:])
    assert first.parent_hash(head.height + 1) == head.hash
    for height in range(head.height, head.height + 4):
        assert same_header(members, height)
    assert leaders(members) == [first.name]
    assert first.log_has(LEADING) and all(member.log_has(FOLLOWING) for member in members[1:])
    assert first.log_has("produced block") and not any(member.log_has("produced block") for member in members[1:])
    assert all(member.log_has("syncing block") for member in members[1:])
    times = [int(first.header(height)["header"]["time"]) for height in range(1, head.height + 4)]
    assert times == sorted(set(times))


def test_followers_stop_with_0_and_come_back(bench: Bench) -> None:
    members, _ = running_cluster(bench)
    follower = members[1]
    assert follower.stop() == 0
    assert follower.log_has(HALTED), follower.describe()
    reached = members[0].height() + 4
    members[0].wait_height(reached)
    follower.start()
    follower.wait_height(reached)
    assert follower.log_has(EXISTING_STATE)
    assert same_header([members[0], follower], reached)


def test_a_stopped_leader_hands_over_and_may_exit_1(bench: Bench) -> None:
    members, _ = running_cluster(bench)
    old, others = members[0], members[1:]
    code = old.stop()
    assert code in (0, 1), old.describe()
    assert code == 0 or old.log_has(LOST), old.describe()
    assert old.log_has(HALTED), old.describe()
    print(f"a stopped leader exited {code}")
    stopped_at = offline_head(old)
    for member in others:
        member.wait_height(stopped_at.height + 2)
    assert same_header(others, stopped_at.height)
    assert others[0].parent_hash(stopped_at.height + 1) == stopped_at.hash
    assert len(leaders(others)) == 1


def test_a_lost_lease_ends_the_process(bench: Bench) -> None:
    members, _ = running_cluster(bench)
    for member in members[1:]:
        member.kill()
    leader = members[0]
    assert leader.wait_exit(10.0) == 1, leader.describe()
    assert leader.log_has("failed to contact quorum of nodes, stepping down"), leader.describe()
    assert leader.log_has(LOST), leader.describe()


def test_any_member_may_win_at_raft_height_0_and_signs_again_what_exists(bench: Bench) -> None:
    """The guide's hazard: node-1 went on after the copy, and the one that calls the election has the old store."""
    first = bench.sequencer()
    old = grow(first, 4)
    members = members_of(bench, first, 3)
    true = grow(first, old.height + 4)
    truth = offline_chain(first)
    stale = members[1]
    pin(members, stale)
    start_pinned(members, stale)
    stale.wait_height(old.height + 1)
    signed_again = stale.header(old.height + 1)
    assert true.height > old.height
    assert signed_again != truth[old.height], "the stale winner holds the original block"
    assert signed_again["header"]["lastHeaderHash"] == old.hash
    assert signed_again["signer"] == truth[old.height]["signer"]
    assert stale.log_has(LEADING) and not first.log_has(LEADING)


def test_equal_timings_let_any_member_lead(bench: Bench) -> None:
    """Which one is left to chance; that one of them leads, and that the others follow it, is not."""
    first = bench.sequencer()
    head = grow(first, 3)
    members = members_of(bench, first, 3)
    for member in members:
        member.as_member(
            members, {**EAGER, "heartbeat_timeout": "1s", "election_timeout": "2s", "leader_lease_timeout": "1s"}
        )
        seal(member)
    for member in members:
        member.start()
    for member in members:
        member.wait_height(head.height + 1)
    assert len(leaders(members)) == 1
    assert same_header(members, head.height + 1)
    assert members[0].parent_hash(head.height + 1) == head.hash


def test_promotion_at_raft_height_0_after_following_ends_the_process(bench: Bench) -> None:
    """The first leader goes before its first block; the next one has followed and its store is not empty."""
    first = bench.sequencer()
    grow(first, 3)
    members = members_of(bench, first, 3)
    followers = members[1:]
    # Later than the first election, and soon after the end of its winner: a follower with a longer time-out would
    # refuse its vote to the other one for that long.
    for member in members:
        member.as_member(members, EAGER if member is first else LATER)
        seal(member)
    # Longer than this test: the first leader leads and makes no block.
    first.write_config(node={"block_time": "10m"})
    for member in members:
        member.start()
    first.wait_log(LEADING)
    for member in followers:
        member.wait_log(FOLLOWING)
        member.wait_log("raft state still at height 0 after wait; skipping recovery to allow normal sync")
    first.kill()

    def ended() -> Node | None:
        return next((member for member in followers if not member.alive), None)

    heir = bench.wait("one of the followers to end", ended, 30.0)
    assert heir.exit_code == 1, heir.describe()
    assert heir.log_has("became leader but not synced, attempting recovery"), heir.describe()
    assert heir.log_has("recovery failed") and heir.log_has("unmarshal header: signed header's Header is nil"), (
        heir.describe()
    )
    assert not any(member.log_has("produced block") for member in members)


def test_a_first_leader_with_a_foreign_signer_ends_without_a_block(bench: Bench) -> None:
    """It hands the lead over before it ends, so the log has its reason, or only that it lost the lead."""
    first = bench.sequencer()
    grow(first, 3)
    members = members_of(bench, first, 3)
    stranger = bench.sequencer("stranger")
    shutil.copy(stranger.signer_file, first.signer_file)
    pin(members, first)
    start_pinned(members, first)
    assert first.wait_exit(20.0) == 1, first.describe()
    assert first.log_has(LEADING)
    assert first.log_has("not a proposer") or first.log_has(LOST), first.describe()
    assert not any(member.log_has("produced block") for member in members)


@pytest.mark.parametrize("anchored", [False, True], ids=["members-as-peers", "anchor-as-only-peer"])
def test_the_first_leader_waits_for_p2p_unless_an_anchor_is_its_only_peer(bench: Bench, anchored: bool) -> None:
    first = bench.sequencer(block_time="500ms")
    first.start()
    first.wait_height(2)
    members = [first, *(bench.joiner(f"node-{number}", first) for number in range(2, 6))]
    # Without an anchor nothing but members may know node-1: the leader asks whoever is connected.
    anchors = [bench.joiner("anchor", first)] if anchored else []
    for node in [*members[1:], *anchors]:
        node.start()
    head = stop_before(first, [*members[1:], *anchors])
    for node in [*members[1:], *anchors]:
        node.wait_height(head.height)
    for member in members[1:]:
        stop_cleanly(member)
    pin(members, first)
    if anchored:
        first.as_member(members, EAGER, p2p_peers=anchors)
    for member in members[1:]:
        seal(member)
    start_pinned(members, first)
    leading = first.wait_log(LEADING)
    waited = first.wait_log(INITIALIZED, 40.0) - leading
    first.wait_height(head.height + 1)
    print(f"P2P wait of the first leader, {'anchor' if anchored else 'members'}: {waited:.2f} s")
    assert first.parent_hash(head.height + 1) == head.hash
    assert first.log_has(P2P_WAIT) is not anchored, first.describe()
    if anchored:
        anchors[0].wait_height(head.height + 1)


def test_a_single_sequencer_goes_on_from_the_most_advanced_member(bench: Bench) -> None:
    members, head = running_cluster(bench)
    for member in members:  # all at once, as one would stop a cluster
        member.signal(signal.SIGTERM)
    for member in members:
        assert member.wait_exit() in (0, 1)
    heads = [offline_head(member) for member in members]
    best = max(range(len(members)), key=lambda index: heads[index].height)
    chains = [offline_chain(member) for member in members]
    assert heads[best].height > head.height
    assert all(chains[best][: len(chain)] == chain for chain in chains)
    survivor = members[best]
    survivor.as_single()
    survivor.start("--evnode.raft.enable=false")
    survivor.wait_height(heads[best].height + 2)
    assert survivor.parent_hash(heads[best].height + 1) == heads[best].hash
    stop_cleanly(survivor)


def test_raft_directories_of_before_a_rollback_stop_the_leader(bench: Bench) -> None:
    members, _ = running_cluster(bench)
    first = members[0]
    # Killed, not stopped: no follower may take over for a moment, so that the leader's Raft log stays the longest.
    for member in members[1:]:
        member.kill()
    assert first.wait_exit() == 1, first.describe()
    first.as_single()
    grow(first, offline_head(first).height + 3)
    pin(members, first)
    start_pinned(members, first)
    assert first.wait_exit() == 1, first.describe()
    assert first.log_has(LEADING)
    # As with a foreign signer: the lead may be gone before the reason is written.
    assert first.log_has("ahead of raft") or first.log_has(LOST), first.describe()
    assert not first.log_has("produced block"), first.describe()


def test_a_follower_ahead_with_another_history_ends(bench: Bench) -> None:
    """The member with the true chain is the one that dies when it comes after the fork."""
    first = bench.sequencer()
    old = grow(first, 3)
    members = members_of(bench, first, 3)
    true = grow(first, old.height + 5)
    stale = members[1]
    pin(members, stale)
    # The fork has to stay below the true head until the true member has compared, which has to hear of it before.
    stale.write_config(node={"block_time": "1500ms"})
    first.write_config(raft={"send_timeout": "3s"})
    seal(first)
    stale.start()
    members[2].start()
    stale.wait_height(old.height + 1)
    first.start()
    assert first.wait_exit() == 1, first.describe()
    assert first.log_has("local state diverged from raft at height") or first.log_has("header hash mismatch"), (
        first.describe()
    )
    assert offline_head(first) == true
