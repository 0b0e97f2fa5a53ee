# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decisions of the playbooks: every wrong turn here would be a second writer or a lost block."""

from __future__ import annotations

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.plugin_utils import _migration as decide

MEMBERS = ["node-1", "node-2", "node-3", "node-4", "node-5"]


def test_settings_that_are_not_the_same_on_every_member():
    mine = {"evnode_seed": "copy", "evnode_config_overrides": {}, "evnode_intake_ports": [], "evnode_anchor": True}
    theirs = {
        "evnode_seed": "follow",
        "evnode_config_overrides": {"da.auth_token": "canary"},
        "evnode_intake_ports": [80],
        "evnode_anchor": True,
    }
    settings = {"node-1": mine, "node-2": mine, "node-3": theirs}
    assert decide.settings_apart(settings, "node-1", ["evnode_intake_ports"]) == [
        'evnode_seed is "follow" on node-3 and "copy" on node-1.',
        "evnode_config_overrides of node-3 is not that of node-1.",
    ]
    assert decide.settings_apart({"node-1": mine, "node-2": mine}, "node-1") == []


def modes(own, *others):
    return dict(zip(MEMBERS, [own, *others], strict=False))


@pytest.mark.parametrize(
    ("found", "state"),
    [
        pytest.param(modes("unmanaged", "absent", "absent", "absent", "absent"), "single", id="never-touched"),
        pytest.param(modes("single", "follower", "follower", "follower", "follower"), "single", id="armed"),
        pytest.param(modes("single", "raft", "raft", "raft", "raft"), "single", id="the-sequencer-alone-decides"),
        pytest.param(modes("raft", "follower", "raft", "raft", "raft"), "committed", id="one-missed-the-commit"),
        pytest.param(modes("raft", None, "raft", "raft", "raft"), "committed", id="one-cannot-be-read"),
        pytest.param(modes("raft", "raft", "raft", "raft", "raft"), "cluster", id="finished"),
        pytest.param(modes(None, "raft", "raft", "raft", "raft"), "unknown", id="the-sequencer-cannot-be-read"),
        pytest.param(modes("absent", "raft", "raft", "raft", "raft"), "unknown", id="no-unit-on-the-sequencer"),
    ],
)
def test_migration_state(found, state):
    assert decide.migration_state(found, "node-1") == state


def cluster_of(*names):
    """What the sequencer's host says of a cluster that was made of these."""
    return {"node-1": {"mode": "raft", "membership": {name: f"10.0.0.{name[-1]}:5001" for name in names}}}


def listed(*names, addresses=None):
    return [
        {"name": name, "node_id": name, "address": (addresses or {}).get(name, f"10.0.0.{name[-1]}")} for name in names
    ]


def test_the_inventory_is_the_cluster():
    profiles = cluster_of(*MEMBERS) | {name: {"mode": "raft"} for name in MEMBERS[1:]}
    assert decide.cluster_gaps(profiles, "node-1", listed(*MEMBERS), 5001) == ([], [])
    # These missed the start, with a store that followed and with one that was copied.
    profiles |= {"node-4": {"mode": "follower"}, "node-5": {"mode": "unmanaged"}}
    assert decide.cluster_gaps(profiles, "node-1", listed(*MEMBERS), 5001) == ([], [])


@pytest.mark.parametrize("profile", [None, {"mode": "single", "membership": {}}])
def test_a_single_sequencer_is_in_no_cluster(profile):
    assert decide.cluster_gaps({"node-1": profile}, "node-1", listed("node-1", "node-9"), 5001) == ([], [])


@pytest.mark.parametrize("address", ["fd00::2", "[fd00::2]", "FD00:0:0::2"])
def test_an_address_may_be_written_in_several_ways(address):
    profiles = {"node-2": {"mode": "raft", "membership": {"node-2": "[fd00::2]:5001"}}}
    assert decide.cluster_gaps(profiles, "node-2", listed("node-2", addresses={"node-2": address}), 5001) == ([], [])


def test_where_the_inventory_is_not_the_cluster():
    profiles = cluster_of(*MEMBERS) | {"node-2": {"mode": "absent"}, "node-3": {"mode": "raft"}}
    members = listed("node-1", "node-2", "node-3", "node-6", addresses={"node-3": "10.0.0.33"})
    assert decide.cluster_gaps(profiles, "node-1", members, 5001) == (
        ["node-4", "node-5"],
        [
            "node-2 (node-2) is a member of the cluster, and its host holds nothing of it any more.",
            "node-3 (node-3) is at 10.0.0.3:5001 in the cluster and at 10.0.0.33:5001 in the inventory.",
            "node-6 (node-6) is no member of the cluster.",
            "node-4 at 10.0.0.4:5001 is a member of the cluster and not in the inventory.",
            "node-5 at 10.0.0.5:5001 is a member of the cluster and not in the inventory.",
        ],
    )


def test_migration_state_without_a_sequencer_is_unknown():
    assert decide.migration_state({}, None) == "unknown"


def committed(n, height, **more):
    return {"receipt": {"outcome": "committed", "n": n, "hash": "aa", "height": height, **more}}


def test_a_quorum_above_the_freeze_is_healthy_and_names_the_rest():
    receipts = {name: committed(10, 11) for name in MEMBERS[:3]}
    receipts["node-4"] = committed(10, 10, reason="still at 10")
    receipts["node-5"] = {"unreachable": True, "msg": "no route"}
    outcome = decide.window_outcome(receipts, "node-1", 3)
    assert outcome.verdict == "healthy"
    assert outcome.healthy == MEMBERS[:3]
    assert outcome.stragglers == {"node-4": "still at 10", "node-5": "was unreachable: no route"}


def test_less_than_a_quorum_is_unhealthy():
    receipts = {name: committed(10, 10) for name in MEMBERS}
    receipts["node-1"] = committed(10, 11)
    receipts["node-2"] = committed(10, 11)
    assert decide.window_outcome(receipts, "node-1", 3).verdict == "unhealthy"


def test_aborted_is_what_the_sequencers_host_says_whatever_the_others_say():
    receipts = {name: committed(10, 11) for name in MEMBERS}
    receipts["node-1"] = {"receipt": {"outcome": "aborted", "reason": "node-3 did not agree"}}
    outcome = decide.window_outcome(receipts, "node-1", 3)
    assert (outcome.verdict, outcome.reason) == ("aborted", "node-3 did not agree")


def test_an_aborted_window_tells_what_the_joiners_say_of_themselves():
    receipts = {name: {"receipt": {"outcome": "aborted"}} for name in MEMBERS}
    receipts["node-1"] = {"receipt": {"outcome": "aborted", "reason": "node-3: never connected"}}
    receipts["node-3"] = {"receipt": {"outcome": "failed", "reason": "the Raft directory is not sealed"}}
    receipts["node-4"] = {"unreachable": True, "msg": "no route"}
    reason = decide.window_outcome(receipts, "node-1", 3).reason
    assert "node-3 says: the Raft directory is not sealed" in reason
    assert "node-4 says: was unreachable: no route" in reason
    assert "node-2" not in reason


def test_no_receipt_of_the_sequencers_host_is_unknown_not_aborted():
    receipts = {name: committed(10, 11) for name in MEMBERS}
    receipts["node-1"] = {"unreachable": True, "msg": "timed out"}
    outcome = decide.window_outcome(receipts, "node-1", 3)
    assert outcome.verdict == "unknown"
    assert "timed out" in outcome.reason


def store(height, *, fork_from=None, **more):
    """A stopped member's head, with the hash of each of its blocks."""

    def digest(number):
        return f"x{number}" if fork_from is not None and number >= fork_from else f"h{number}"

    headers = {str(number): {"hash": digest(number)} for number in range(max(1, height - 5), height + 1)}
    return {"head": {"height": height, "hash": digest(height) if height else None, "headers": headers, **more}}


def heads(*heights):
    return {name: store(height) for name, height in zip(MEMBERS, heights, strict=False)}


FREEZE = {"n": 10, "hash": "h10"}


@pytest.mark.parametrize(
    ("found", "freeze", "case"),
    [
        pytest.param(heads(10, 10, 10, 10, 10), FREEZE, "a", id="nobody-above"),
        pytest.param(heads(10, 9, 10, 10, 10), FREEZE, "a", id="one-behind-is-no-matter"),
        pytest.param(heads(10, 0, 10, 10, 10), FREEZE, "a", id="one-empty-is-no-matter"),
        pytest.param(heads(10, 10, 11, 10, 10), FREEZE, "b", id="one-above"),
        pytest.param(heads(9, 10, 10, 10, 10), FREEZE, "b", id="the-sequencer-lost-a-block"),
        pytest.param(heads(9, 9, 9, 9, 9), FREEZE, "c", id="all-lost-a-block"),
        pytest.param({**heads(10, 10, 10, 10), "node-5": {"msg": "no route"}}, FREEZE, "c", id="one-unread"),
        pytest.param({**heads(11, 10, 10, 10), "node-5": None}, FREEZE, "c", id="unread-counts-before-above"),
        pytest.param(heads(10, 10, 10, 10, 10), {}, "c", id="no-receipt-of-the-freeze"),
        pytest.param({**heads(12, 12, 12, 12), "node-5": store(11, fork_from=11)}, FREEZE, "c", id="another-head"),
        pytest.param({**heads(12, 12, 12, 12), "node-5": store(12, fork_from=12)}, FREEZE, "c", id="two-heads"),
        pytest.param(heads(12, 12, 12, 12, 12), {"n": 10, "hash": "h"}, "c", id="not-the-block-of-the-freeze"),
        pytest.param({**heads(12, 12, 12, 12), "node-5": store(11, da_included=13)}, FREEZE, "c", id="more-on-da"),
        pytest.param({**heads(12, 12, 12, 12), "node-5": store(11, da_included=12)}, FREEZE, "b", id="all-on-da"),
        pytest.param(heads(30, 30, 12, 30, 30), FREEZE, "ask", id="one-far-behind"),
    ],
)
def test_way_back(found, freeze, case):
    assert decide.way_back(found, freeze, "node-1").case == case


@pytest.mark.parametrize(
    ("heights", "member", "copy"),
    [
        ((12, 12, 12, 12, 12), "node-1", False),
        ((11, 12, 12, 11, 11), "node-2", True),
        ((12, 11, 13, 12, 12), "node-3", True),
    ],
)
def test_the_most_advanced_store_is_moved_where_the_sequencer_is_behind(heights, member, copy):
    way = decide.way_back(heads(*heights), FREEZE, "node-1")
    assert (way.case, way.member, way.move) == ("b", member, copy)
    assert (way.height, way.hash) == (max(heights), f"h{max(heights)}")


def test_the_most_advanced_member_is_asked_for_what_is_compared_and_once_only():
    found = heads(30, 30, 12, 30, 30)
    way = decide.way_back(found, FREEZE, "node-1")
    assert (way.member, list(way.heights)) == ("node-1", [10, 12, 30])
    assert decide.way_back(found, FREEZE, "node-1", asked=True).case == "c"
    found["node-1"]["head"]["headers"].update({"10": {"hash": "h10"}, "12": {"hash": "h12"}})
    assert decide.way_back(found, FREEZE, "node-1", asked=True).case == "b"


def test_different_histories_are_named_with_height_and_member():
    found = {**heads(12, 12, 12, 12), "node-5": store(11, fork_from=11)}
    assert "node-5: block 11 is x11 there and h11 on node-1" in decide.way_back(found, FREEZE, "node-1").reason


def test_the_operators_word_counts_but_not_against_the_freeze_or_what_is_on_da():
    found = {**heads(12, 12, 13, 12), "node-5": {"msg": "no route"}}
    way = decide.way_back(found, FREEZE, "node-1", "node-2")
    assert (way.case, way.member, way.height, way.move) == ("b", "node-2", 12, True)
    assert decide.way_back(found, FREEZE, "node-1", "node-5").case == "c"
    assert decide.way_back(found, {"n": 10, "hash": "other"}, "node-1", "node-2").case == "c"
    found["node-3"] = store(13, da_included=13)
    assert decide.way_back(found, FREEZE, "node-1", "node-2").case == "c"


HALF = {"head": None, "half_copied": ["/srv/data"]}


def test_half_a_copy_on_the_sequencer_is_made_again_from_the_most_advanced_member():
    way = decide.way_back({**heads(0, 12, 13, 12, 12), "node-1": HALF}, FREEZE, "node-1")
    assert (way.case, way.member, way.height, way.move) == ("b", "node-3", 13, True)
    assert "node-1 holds half a copy in /srv/data, which is made again" in way.reason
    # Its own blocks are gone, so even where nobody holds a block above N there is a store to move.
    way = decide.way_back({**heads(0, 10, 10, 10, 10), "node-1": HALF}, FREEZE, "node-1")
    assert (way.case, way.member, way.move) == ("b", "node-2", True)
    way = decide.way_back({**heads(0, 12, 13, 12, 12), "node-1": HALF}, FREEZE, "node-1", "node-2")
    assert (way.case, way.member, way.move) == ("b", "node-2", True)


def test_half_a_copy_proves_nothing_whatever_height_it_tells():
    told = {**store(30), "half_copied": ["/srv/data"]}
    way = decide.way_back({**heads(0, 12, 12, 12, 12), "node-1": told}, FREEZE, "node-1")
    assert (way.case, way.member, way.height) == ("b", "node-2", 12)
    way = decide.way_back({**heads(12, 12, 12, 12), "node-5": told}, FREEZE, "node-1")
    assert way.case == "c" and "node-5 holds half a copy in /srv/data" in way.reason
    for name in ("node-1", "node-5"):
        way = decide.way_back({**heads(12, 12, 12, 12, 12), name: HALF}, FREEZE, "node-1", name)
        assert way.case == "c" and f"{name} holds half a copy" in way.reason
    assert decide.way_back({**heads(0, 12, 12, 12), "node-1": HALF, "node-5": None}, FREEZE, "node-1").case == "c"


def test_half_a_copy_is_seen_before_anything_is_stopped():
    live = {name: {"status": {"height": 12}} for name in MEMBERS}
    live["node-1"] = {"status": {"height": None}}
    assert decide.way_back_at_all(live, {"node-1": HALF}, FREEZE, "node-1") == ""
    assert "half a copy" in decide.way_back_at_all(live, {"node-1": HALF}, FREEZE, "node-2")
    assert "half a copy" in decide.way_back_at_all(live, {"node-1": HALF}, FREEZE, "node-1", "node-1")
    assert decide.way_back_at_all(live, {"node-1": HALF}, FREEZE, "node-1", "node-2") == ""


def test_what_stands_in_the_way_is_known_before_anything_is_stopped():
    live = {name: {"status": {"height": 12}} for name in MEMBERS}
    assert decide.way_back_at_all(live, {}, FREEZE, "node-1") == ""
    assert "No member holds a receipt of the freeze" in decide.way_back_at_all(live, {}, {}, "node-1")
    live["node-4"] = {"status": {"height": None}}
    assert "node-4" in decide.way_back_at_all(live, {"node-4": {"msg": "it is activating"}}, FREEZE, "node-1")
    assert decide.way_back_at_all(live, {"node-4": store(11)}, FREEZE, "node-1") == ""
    assert decide.way_back_at_all(live, {"node-4": {"msg": "it is active", "running": True}}, FREEZE, "node-1") == ""
    live["node-4"] = {"unreachable": True, "msg": "timed out"}
    assert "node-4 was unreachable: timed out" in decide.way_back_at_all(live, {}, FREEZE, "node-1")
    assert decide.way_back_at_all(live, {}, FREEZE, "node-1", "node-2") == ""
    assert "no member" in decide.way_back_at_all(live, {}, FREEZE, "node-1", "node-9")


def test_members_that_the_inventory_leaves_out_are_no_quorum():
    live = {name: {"status": {"height": 12}} for name in MEMBERS[:3]}
    assert decide.way_back_at_all(live, {}, FREEZE, "node-1", left_out=["node-4", "node-5"]) == ""
    del live["node-3"]
    refused = decide.way_back_at_all(live, {}, FREEZE, "node-1", left_out=["node-3", "node-4", "node-5"])
    assert "node-3, node-4, node-5 of the cluster are not in the inventory. They are a quorum of its 5" in refused
    assert decide.way_back_at_all(live, {}, FREEZE, "node-1", "node-2", left_out=["node-3", "node-4", "node-5"]) == ""


def test_histories_that_differ_are_seen_while_the_members_run():
    def running(**hashes):
        headers = {height.lstrip("b"): {"hash": digest} for height, digest in hashes.items()}
        return {"status": {"height": 12, "head_hash": "h12", "headers": headers}}

    live = {name: running(b10="h10", b11="h11") for name in MEMBERS}
    assert decide.way_back_at_all(live, {}, FREEZE, "node-1") == ""
    live["node-3"] = running(b10="h10", b11="x11")
    assert "node-3: block 11 is x11 there and h11 is on the others" in decide.way_back_at_all(
        live, {}, FREEZE, "node-1"
    )
    live["node-3"] = running(b10="x10", b11="h11")
    assert "node-3: block 10 is x10 there and h10 was at the freeze" in decide.way_back_at_all(
        live, {}, FREEZE, "node-1"
    )
    assert decide.way_back_at_all(live, {}, FREEZE, "node-1", "node-2") == ""


def test_a_stopped_member_is_asked_for_the_freeze_and_for_blocks_near_every_tip():
    asked = decide.heights_to_keep({"node-1": {"height": 40}, "node-2": {}}, FREEZE)
    assert {10, 38, 40, 45} <= set(asked) and 30 not in asked


def test_at_the_tip_names_who_is_behind_and_by_how_much():
    statuses = {"node-1": {"height": 100}, "node-2": {"height": 99}, "node-3": {"height": 90}, "node-4": {}}
    behind = decide.at_the_tip(statuses, "node-1", 2)
    assert sorted(behind) == ["node-3", "node-4"]
    assert "90" in behind["node-3"] and "100" in behind["node-3"]


def test_at_the_tip_needs_the_sequencers_height():
    assert list(decide.at_the_tip({"node-1": {"height": None}}, "node-1", 2)) == ["node-1"]


@pytest.mark.parametrize(
    ("found", "freeze", "expected"),
    [
        pytest.param([20, 21, 20], {"n": 10}, [10, 11, 16, 17, 18, 19, 20], id="seam-and-window"),
        pytest.param([11, 10, 11], {"n": 10}, [6, 7, 8, 9, 10], id="a-member-lacks-the-next-block"),
        pytest.param([3], {}, [1, 2, 3], id="no-freeze"),
        pytest.param([None, None], {"n": 10}, [], id="nobody-answers"),
    ],
)
def test_heights_to_compare(found, freeze, expected):
    statuses = {f"node-{index}": {"height": height} for index, height in enumerate(found)}
    assert decide.heights_to_compare(statuses, freeze) == expected


def test_unreadable_keeps_the_words_of_the_host():
    results = {"node-1": {"sequencer": {}}, "node-2": {"msg": "sudo: a password is required"}, "node-3": None}
    found = decide.unreadable(results, "sequencer")
    assert found == {"node-2": "sudo: a password is required", "node-3": "gave no answer"}


def test_secret_files_for_a_signer_directory_and_a_kms_signer():
    file_signer = {
        "signer": {"type": "file", "path": "/srv/chain/config"},
        "passphrase_file": "/etc/chain/pass",
        "jwt_file": None,
        "genesis_path": "/srv/chain/config/genesis.json",
    }
    assert [entry["path"] for entry in decide.secret_files(file_signer)] == [
        "/srv/chain/config/signer.json",
        "/etc/chain/pass",
        "/srv/chain/config/genesis.json",
    ]
    kms = {"signer": {"type": "kms", "path": None}, "genesis_path": "/g.json"}
    assert [entry["name"] for entry in decide.secret_files(kms)] == ["genesis"]


def test_secret_files_name_environment_files_without_the_mark_of_one_that_may_be_missing():
    profile = {"signer": {"type": "kms"}, "environment_files": ["-/etc/default/chain", "/etc/more"]}
    assert decide.secret_files(profile) == [
        {"name": "environment", "path": "/etc/default/chain"},
        {"name": "environment", "path": "/etc/more"},
    ]


def test_secret_placements_leave_out_what_the_sequencer_does_not_have():
    names = {"/s": "signer", "/j": "jwt", "/e": "environment", "/none": "environment"}
    files = [{"name": name, "path": path} for path, name in names.items()]
    contents = [{"path": path, "present": path != "/none", "content": f"of {path}"} for path in names]
    placed = {entry["path"]: entry for entry in decide.secret_placements(files, contents, "chain", "chaind")}
    assert {path: entry["content"] for path, entry in placed.items()} == {"/s": "of /s", "/j": "of /j", "/e": "of /e"}
    assert {(entry["owner"], entry["group"]) for entry in (placed["/s"], placed["/j"])} == {("chain", "chaind")}
    assert (placed["/e"]["owner"], placed["/e"]["group"]) == ("root", "root")
    assert [placed[path]["if_held"] for path in ("/s", "/j", "/e")] == ["replace", "keep_closed", "keep"]
    assert {entry["mode"] for entry in placed.values()} == {"0600"}


@pytest.mark.parametrize(
    ("outcome", "back", "words"),
    [
        ({"verdict": "aborted", "reason": "node-3 lags"}, {}, "single sequencer produces as before: node-3 lags"),
        ({"verdict": "unhealthy", "reason": "no quorum"}, {"case": "a"}, "Rolled back"),
        ({"verdict": "unhealthy", "reason": "no quorum"}, {"case": "c", "reason": "node-2 unread."}, "node-2 unread."),
        ({"verdict": "unknown", "reason": "timed out"}, {}, "run the same command again"),
    ],
)
def test_outcome_sentence_says_who_produces(outcome, back, words):
    assert words in decide.outcome_sentence(outcome, back)


def test_healthy_members_are_those_in_raft_mode_at_the_tip():
    statuses = {
        "node-1": {"height": 100, "raft": True},
        "node-2": {"height": 97, "raft": True},
        "node-3": {"height": 50, "raft": True},
        "node-4": {"height": 100, "raft": False},
        "node-5": {},
    }
    assert decide.healthy_members(statuses) == ["node-1", "node-2"]


COMMITTED = {"run": "r2", "outcome": "committed", "n": 10, "hash": "h10"}


@pytest.mark.parametrize(
    ("receipts", "expected"),
    [
        pytest.param({"node-1": {"run": "r2", "n": 10, "hash": "h10"}}, (10, "h10"), id="the-sequencer-tells"),
        pytest.param(
            {"node-1": {"run": "r2", "n": 10, "hash": "h10"}, "node-2": {**COMMITTED, "n": 11}},
            (10, "h10"),
            id="the-sequencer-first",
        ),
        pytest.param(
            {"node-1": {"run": "r2", "outcome": "running", "n": None}, "node-2": COMMITTED, "node-3": COMMITTED},
            (10, "h10"),
            id="its-disk-was-full",
        ),
        pytest.param(
            {"node-1": None, "node-2": {**COMMITTED, "run": "r1", "n": 4}, "node-3": COMMITTED},
            (10, "h10"),
            id="its-host-is-gone",
        ),
        pytest.param(
            {"node-1": {"run": "r3", "outcome": "running"}, "node-2": COMMITTED}, None, id="only-of-an-earlier-run"
        ),
        pytest.param({"node-1": {}, "node-2": {**COMMITTED, "outcome": "failed"}}, None, id="told-of-no-commit"),
        pytest.param({"node-2": COMMITTED, "node-3": {**COMMITTED, "hash": "x10"}}, None, id="they-differ"),
        pytest.param({"node-2": {**COMMITTED, "hash": None}}, None, id="no-hash"),
        pytest.param({}, None, id="nobody"),
    ],
)
def test_block_n_is_told_by_whoever_still_knows(receipts, expected):
    found = decide.frozen_at(receipts, "node-1")
    assert (found.get("n"), found.get("hash")) == (expected or (None, None))


def test_status_tells_of_both_layers_and_of_what_is_missing():
    client = {"height": 22, "hash": "ab" * 32, "safe": 20, "finalized": None, "syncing": False}
    status = {"height": 22, "head_hash": "cd" * 32, "leader": True, "unit_active": True, "execution": client}
    down = {"height": None, "reasons": {"height": "refused"}}
    leader, silent = decide.status_table({"node-1": "raft"}, {"node-1": status, "node-2": down})
    assert leader == (
        "node-1: mode raft, leader, height 22, hash cdcdcdcdcdcdcdcd, lag 0, unit active, "
        "execution 22 abababababababab (safe 20, finalized none yet)"
    )
    assert silent.startswith("node-2: mode unknown") and silent.endswith("(refused)")
    client["syncing"] = True
    assert decide.status_table({}, {"node-1": status})[0].endswith("FETCHES FROM PEERS")


def test_heads_that_were_not_read_are_no_way_back():
    """In check mode nothing is read, and nobody may decide by it."""
    way = decide.way_back({"node-1": {"head": None}, "node-2": {"head": None}}, {"n": 5, "hash": "aa"}, "node-1")
    assert way.case == "c" and "node-2 told no head of its store" in way.reason
