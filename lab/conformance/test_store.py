# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Store and process: restart, second opener, what a clean stop leaves, reading a stopped store, following."""

from __future__ import annotations

import shutil
import signal

import pytest

from .cluster import HALTED, Head, grow, offline_chain, offline_head, stop_before, stop_cleanly
from .node import Bench, copy_sparse


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_single_sequencer_stops_with_0_and_says_so_last(bench: Bench, number: signal.Signals) -> None:
    node = bench.sequencer()
    node.start()
    node.wait_height(2)
    node.signal(number)
    assert node.wait_exit(5.0) == 0, node.describe()
    assert HALTED in node.log().splitlines()[-1], node.describe()


def test_a_restarted_sequencer_goes_on_at_the_next_height(bench: Bench) -> None:
    node = bench.sequencer()
    head = grow(node, 4)
    node.start()
    node.wait_height(head.height + 2)
    assert node.parent_hash(head.height + 1) == head.hash
    assert node.log_has(f'"height":{head.height},') or node.log_has("initialized state")


def test_a_killed_sequencer_goes_on_too(bench: Bench) -> None:
    node = bench.sequencer()
    node.start()
    node.wait_height(4)
    node.kill()
    kept = offline_head(node)
    assert kept.height >= 4
    node.start()
    node.wait_height(kept.height + 2)
    assert node.parent_hash(kept.height + 1) == kept.hash


def test_a_second_opener_is_refused(bench: Bench) -> None:
    node = bench.sequencer()
    node.start()
    node.wait_height(1)
    second = bench.binary.run(
        *node.start_args("--evnode.rpc.address=127.0.0.1:0", "--evnode.p2p.listen_address=/ip4/127.0.0.1/tcp/0"),
        timeout=10.0,
    )
    assert second.rc == 1, second.describe()
    assert "Cannot acquire directory lock on " in second.stderr, second.describe()
    assert "Another process is using this" in second.stderr
    reached = node.height()
    node.wait_height(reached + 1)


def test_a_clean_stop_leaves_a_large_sparse_file(bench: Bench) -> None:
    node = bench.sequencer()
    grow(node, 3)
    sizes = {path: path.stat() for path in node.data_dir.rglob("*") if path.is_file()}
    sparse = [
        path
        for path, found in sizes.items()
        if found.st_size >= 64 << 20 and found.st_blocks * 512 < found.st_size // 20
    ]
    assert sparse, {str(path): (found.st_size, found.st_blocks * 512) for path, found in sizes.items()}


def test_a_copy_with_holes_is_as_good_as_the_original(bench: Bench) -> None:
    node = bench.sequencer()
    head = grow(node, 4)
    copy = bench.joiner("copy", node, data=True)
    assert offline_head(copy) == head
    written = sum(path.stat().st_blocks * 512 for path in copy.data_dir.rglob("*") if path.is_file())
    assert written < 64 << 20, written
    copy.as_single()
    copy.start()
    copy.wait_height(head.height + 1)
    assert copy.parent_hash(head.height + 1) == head.hash


@pytest.mark.parametrize("mode", ["single", "member"])
def test_a_stopped_store_is_read_by_a_full_node_that_talks_to_nobody(bench: Bench, mode: str) -> None:
    node = bench.sequencer()
    head = grow(node, 4)
    if mode == "member":
        node.as_member([node], {"peers": "node-2@127.0.0.1:1,node-3@127.0.0.1:2"})
    first = offline_head(node)
    assert first == head == offline_head(node)
    assert len(offline_chain(node)) == head.height
    node.as_single()
    node.start()
    node.wait_height(head.height + 1)
    assert node.parent_hash(head.height + 1) == head.hash


def test_a_full_node_follows_from_nothing(bench: Bench) -> None:
    leader = bench.sequencer()
    leader.start()
    leader.wait_height(10)
    node = bench.joiner("node-2", leader)
    node.start()
    node.wait_height(10, 10.0)
    tip = leader.height()
    node.wait_height(tip + 2)
    leader.wait_height(tip + 2)
    assert all(node.header(height) == leader.header(height) for height in (1, 5, tip, tip + 2))
    node.wait("it has a peer", lambda: node.request("GET", "/health/ready")[0] == 200, 10.0)


def test_a_full_node_on_a_copy_catches_up(bench: Bench) -> None:
    leader = bench.sequencer()
    head = grow(leader, 4)
    node = bench.joiner("node-2", leader, data=True)
    leader.start()
    leader.wait_height(head.height + 3)
    node.start()
    node.wait_height(head.height + 3)
    assert node.parent_hash(head.height + 1) == head.hash


def test_followers_hold_the_head_of_a_stopped_sequencer(bench: Bench) -> None:
    leader = bench.sequencer(block_time="500ms")
    leader.start()
    leader.wait_height(2)
    followers = [bench.joiner(f"node-{number}", leader) for number in (2, 3)]
    for follower in followers:
        follower.start()
    head = stop_before(leader, followers)
    for follower in followers:
        follower.wait_height(head.height)
        assert follower.header_store_head() == (head.height, head.hash)
        stop_cleanly(follower)
        assert offline_head(follower) == head


def test_a_clone_of_the_node_key_cannot_follow(bench: Bench) -> None:
    leader = bench.sequencer()
    leader.start()
    leader.wait_height(3)
    node = bench.joiner("node-2", leader)
    shutil.copy(leader.config_dir / "node_key.json", node.config_dir / "node_key.json")
    node.as_full_node(leader)
    node.start()
    reached = leader.height() + 5
    leader.wait_height(reached)
    assert not node.height_or_none(), node.describe()


def test_unsafe_clean_empties_the_store_and_leaves_raft(bench: Bench) -> None:
    node = bench.sequencer()
    grow(node, 2)
    node.raft_dir.mkdir()
    (node.raft_dir / "kept").write_text("x")
    done = bench.binary.run("unsafe-clean", "--home", str(node.home))
    assert done.rc == 0, done.describe()
    assert not list(node.data_dir.iterdir())
    assert (node.raft_dir / "kept").exists() and node.signer_file.exists()


def test_two_stores_made_from_one_chain_are_read_alike(bench: Bench) -> None:
    """The comparison that the other tests rest on: a longer store begins with the shorter one."""
    node = bench.sequencer()
    short = grow(node, 3)
    copy = bench.joiner("copy", node)
    copy_sparse(node.data_dir, copy.data_dir)
    longer = grow(node, short.height + 2)
    assert isinstance(longer, Head) and longer.height > short.height
    old, new = offline_chain(copy), offline_chain(node)
    assert new[: len(old)] == old and len(new) == longer.height
