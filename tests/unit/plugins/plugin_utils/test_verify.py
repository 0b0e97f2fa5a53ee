# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The chain after a migration: each test breaks one thing in a healthy cluster, and names who did not break."""

from __future__ import annotations

import copy
import typing as t
from collections.abc import Callable

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.plugin_utils._verdicts import is_blocked, table
from ansible_collections.evnode.sequencer_ha.plugins.plugin_utils._verify import Chain, producing, verify

SEAM = 10
TOP = 14
Statuses = dict[str, dict[str, t.Any]]


def hash_at(height: int) -> str:
    return f"{height:064x}"


def header(height: int) -> dict[str, t.Any]:
    return {
        "hash": hash_at(height),
        "parent": hash_at(height - 1),
        "time_ns": 1_800_000_000_000_000_000 + height * 10**9,
        "header_digest": f"d{height}",
    }


def member(number: int, height: int = TOP) -> dict[str, t.Any]:
    return {
        "height": height,
        "head_hash": hash_at(height),
        "chain_id": "c-1",
        "next_proposer": "signer",
        "headers": {str(h): header(h) for h in range(SEAM, height + 1)},
        "namespaces": {"header": "aa", "data": "bb"},
        "raft": True,
        "leader": number == 1,
        "node_id": f"node-{number}",
        "peer_id": f"12D3KooW{number}",
        "execution": None,
        "reasons": {},
    }


@pytest.fixture
def statuses() -> Statuses:
    return {f"node-{number}": member(number) for number in range(1, 6)}


def chain(statuses: Statuses, **more: t.Any) -> Chain:
    wanted = {"seam_height": SEAM, "seam_hash": hash_at(SEAM), "window": [12, 13, 14], "expect": "raft", "quorum": 3}
    return Chain(statuses=statuses, **{**wanted, **more})


def bad(verdicts: t.Any) -> set[tuple[str, str, str]]:
    return {(verdict.id, verdict.severity, verdict.member) for verdict in verdicts if verdict.severity != "ok"}


def test_a_healthy_cluster(statuses):
    verdicts = verify(chain(statuses))
    assert bad(verdicts) == set()
    assert {"seam", "hash-equal", "leader", "follower-lags", "time-grows", "peer-ids", "namespace-equal"} <= {
        verdict.id for verdict in verdicts
    }
    assert {verdict.found for verdict in verdicts if verdict.id == "seam"} == {"it is"}
    assert len([verdict for verdict in verdicts if verdict.id == "seam"]) == 5


def break_seam(statuses: Statuses) -> None:
    statuses["node-2"]["headers"]["11"]["parent"] = "ee" * 32


def break_block_n(statuses: Statuses) -> None:
    statuses["node-3"]["headers"]["10"]["hash"] = "ee" * 32


def break_header(statuses: Statuses) -> None:
    statuses["node-4"]["headers"]["13"]["header_digest"] = "another"


def lose_blocks(statuses: Statuses) -> None:
    statuses["node-5"].update(member(5, height=9))


def second_leader(statuses: Statuses) -> None:
    statuses["node-2"]["leader"] = True


def no_leader(statuses: Statuses) -> None:
    statuses["node-1"]["leader"] = False


def raft_off(statuses: Statuses) -> None:
    statuses["node-3"].update(raft=False, leader=None, node_id=None)


def lag(statuses: Statuses) -> None:
    for number in (1, 2, 3, 4):
        statuses[f"node-{number}"].update(member(number, height=20))


def clone_key(statuses: Statuses) -> None:
    statuses["node-4"]["peer_id"] = statuses["node-5"]["peer_id"]


def clone_id(statuses: Statuses) -> None:
    statuses["node-4"]["node_id"] = "node-5"


def other_namespace(statuses: Statuses) -> None:
    statuses["node-2"]["namespaces"] = {"header": "aa", "data": "cc"}


def other_chain(statuses: Statuses) -> None:
    statuses["node-2"]["chain_id"] = "c-2"


def other_proposer(statuses: Statuses) -> None:
    statuses["node-2"]["next_proposer"] = "another"


def clock_back(statuses: Statuses) -> None:
    statuses["node-1"]["headers"]["12"]["time_ns"] = statuses["node-1"]["headers"]["11"]["time_ns"]


def unreadable(statuses: Statuses) -> None:
    del statuses["node-2"]["headers"]["12"]
    statuses["node-2"]["reasons"]["headers.12"] = "key not found"


@pytest.mark.parametrize(
    ("breaks", "wanted"),
    [
        pytest.param(break_seam, {("seam", "block", "node-2")}, id="another-parent"),
        pytest.param(
            break_block_n,
            {("seam", "block", "node-3"), ("hash-differs", "block", "node-3")},
            id="another-block-n",
        ),
        pytest.param(break_header, {("hash-differs", "block", "node-4")}, id="another-header"),
        pytest.param(lose_blocks, {("height-went-back", "block", "node-5")}, id="height-went-back"),
        pytest.param(second_leader, {("leader", "block", "node-1, node-2")}, id="two-leaders"),
        pytest.param(no_leader, {("leader", "block", "all")}, id="no-leader"),
        pytest.param(raft_off, {("raft-off", "block", "node-3")}, id="a-member-without-raft"),
        pytest.param(lag, {("follower-lags", "block", "node-5")}, id="a-follower-that-does-not-apply"),
        pytest.param(clone_key, {("peer-id-shared", "block", "node-4, node-5")}, id="cloned-node-key"),
        pytest.param(clone_id, {("node-id-shared", "block", "node-4, node-5")}, id="one-node-id-twice"),
        pytest.param(other_namespace, {("namespace-differs", "block", "node-2")}, id="another-namespace"),
        pytest.param(other_chain, {("chain-differs", "block", "node-2")}, id="another-chain"),
        pytest.param(other_proposer, {("proposer-differs", "block", "node-2")}, id="another-proposer"),
        pytest.param(clock_back, {("time-goes-back", "block", "node-1")}, id="time-stands-still"),
        pytest.param(unreadable, {("hash-unknown", "block", "node-2")}, id="a-block-that-cannot-be-read"),
    ],
)
def test_one_thing_broken(statuses: Statuses, breaks: Callable[[Statuses], None], wanted: set[tuple[str, str, str]]):
    breaks(statuses)
    verdicts = verify(chain(statuses))
    assert bad(verdicts) == wanted
    assert is_blocked(verdicts)
    assert all(verdict.remedy for verdict in verdicts if verdict.severity != "ok")
    assert verdicts[0].severity == "block"


def test_a_whole_cluster_on_another_history_is_still_found(statuses):
    """All five agree with each other; only the hash kept before the freeze tells that N was signed again."""
    verdicts = verify(chain(statuses, seam_hash="ee" * 32))
    assert {member for name, _severity, member in bad(verdicts) if name == "seam"} == set(statuses)


def test_no_majority_names_everybody(statuses):
    for number in (1, 2):
        statuses[f"node-{number}"]["headers"]["13"]["hash"] = "aa" * 32
    for number in (3, 4):
        statuses[f"node-{number}"]["headers"]["13"]["hash"] = "bb" * 32
    names = {member for name, _severity, member in bad(verify(chain(statuses))) if name == "hash-differs"}
    assert names == set(statuses)


def test_a_silent_member(statuses):
    statuses["node-5"] = {"unreachable": True, "msg": "no route to host"}
    assert bad(verify(chain(statuses))) == {("member-silent", "block", "node-5")}
    assert bad(verify(chain(statuses, require_all=False))) == {("member-silent", "warn", "node-5")}


def test_a_member_without_a_role_is_silent_with_its_reason(statuses):
    statuses["node-5"] = {**dict.fromkeys(statuses["node-5"]), "reasons": {"height": "refused the connection"}}
    (verdict,) = (verdict for verdict in verify(chain(statuses)) if verdict.id == "member-silent")
    assert verdict.found == "refused the connection"


def test_less_than_a_quorum_blocks_even_where_silence_is_allowed(statuses):
    for number in (3, 4, 5):
        statuses[f"node-{number}"] = {}
    found = bad(verify(chain(statuses, require_all=False)))
    assert ("quorum", "block", "all") in found
    assert {("member-silent", "block", f"node-{number}") for number in (3, 4, 5)} <= found


def test_nobody_answers():
    verdicts = verify(chain({name: {} for name in ("node-1", "node-2", "node-3")}))
    assert is_blocked(verdicts)


def test_still_at_n_is_no_fork_and_no_seam(statuses):
    for number in range(1, 6):
        statuses[f"node-{number}"].update(member(number, height=SEAM))
    verdicts = verify(chain(statuses, window=[]))
    assert bad(verdicts) == {("seam", "warn", f"node-{number}") for number in range(1, 6)}


def test_a_single_sequencer_after_a_rollback(statuses):
    for status in statuses.values():
        status.update(raft=False, leader=None, node_id=None)
    assert bad(verify(chain(statuses, expect="single"))) == set()
    statuses["node-4"].update(raft=True, leader=True)
    assert bad(verify(chain(statuses, expect="single"))) == {("raft-member", "block", "node-4")}


def test_execution_clients(statuses):
    for status in statuses.values():
        status["execution"] = {"height": TOP, "hash": "e14", "hashes": {"10": "e10", "14": "e14"}}
    assert ("execution-equal", "ok") in {(v.id, v.severity) for v in verify(chain(statuses))}
    statuses["node-3"]["execution"]["hashes"]["14"] = "x14"
    assert bad(verify(chain(statuses))) == {("execution-differs", "block", "node-3")}
    statuses["node-3"]["execution"] = {"height": 2, "hash": "e2", "hashes": {"10": None, "14": None}}
    assert bad(verify(chain(statuses))) == {("execution-behind", "block", "node-3")}
    statuses["node-3"]["execution"] = None
    statuses["node-3"]["reasons"] = {"execution": "http://localhost:8545 gave no answer: refused"}
    assert bad(verify(chain(statuses))) == {("execution-silent", "block", "node-3")}
    statuses["node-3"]["reasons"] = {"execution": "not asked"}
    assert bad(verify(chain(statuses))) == set()


def test_hashes_in_any_case_and_integer_heights(statuses):
    """Statuses that never went through JSON have integer keys; a hash may come with 0x and capitals."""
    turned = copy.deepcopy(statuses)
    for status in turned.values():
        status["headers"] = {int(height): found for height, found in status["headers"].items()}
    assert bad(verify(chain(turned, seam_hash="0x" + hash_at(SEAM).upper()))) == set()


def test_the_table_shows_the_worst_first_and_counts_the_rest(statuses):
    second_leader(statuses)
    statuses["node-5"] = {"failed": True, "msg": "gone"}
    shown = table(verify(chain(statuses, require_all=False))).splitlines()
    assert shown[0].startswith("BLOCK  node-1, node-2  leader: expected exactly one leader; found 2")
    assert "-> " in shown[1]
    assert shown[2].startswith("WARN   node-5")
    assert shown[-1].endswith(" ok, 1 to look at, 1 in the way")


def stray(**changes: t.Any) -> dict[str, t.Any]:
    plain = {"pid": 99, "program": "/opt/old", "started_by": "cron.service", "home": "/root/old", "chain_id": "c-1"}
    return {**plain, "aggregator": True, **changes}


@pytest.mark.parametrize(
    ("changes", "blocks"),
    [
        ({}, True),
        ({"aggregator": None}, True),
        ({"chain_id": None}, True),
        ({"aggregator": False}, False),
        ({"chain_id": "another"}, False),
    ],
    ids=["a writer", "of a role that cannot be told", "of a chain that cannot be told", "a full node", "another chain"],
)
def test_a_node_beside_the_unit_is_named(statuses: Statuses, changes: dict[str, t.Any], blocks: bool) -> None:
    statuses["node-1"]["strays"] = [stray(**changes)]
    found = [verdict for verdict in verify(chain(statuses)) if verdict.id == "second-node"]
    assert [verdict.severity == "block" for verdict in found] == [blocks]
    if blocks:
        assert found[0].member == "node-1" and "process 99, /opt/old of cron.service" in found[0].found


def test_a_node_beside_a_unit_that_is_stopped_is_named_too(statuses: Statuses) -> None:
    statuses["node-1"].update(height=None, chain_id=None, strays=[stray()])
    assert ("second-node", "block", "node-1") in {
        (verdict.id, verdict.severity, verdict.member) for verdict in verify(chain(statuses, require_all=False))
    }


def test_who_produces_is_told_by_a_leader_that_has_grown(statuses: Statuses) -> None:
    earlier = {name: member(1, height=TOP - 2) for name in statuses}
    statuses["node-5"] = {}
    told = producing(chain(statuses), earlier)
    assert told == f"The cluster produces: node-1 leads, its height is {TOP}, and 4 of 5 members answer."


@pytest.mark.parametrize("change", [no_leader, second_leader, lambda statuses: statuses.update({"node-1": {}})])
def test_without_one_leader_nobody_is_said_to_produce(statuses: Statuses, change: Callable[[Statuses], None]) -> None:
    earlier = {name: member(1, height=TOP - 2) for name in statuses}
    change(statuses)
    assert "produces:" not in producing(chain(statuses), earlier)
    assert producing(chain(statuses), earlier).startswith("Nobody was seen to make a block")


def test_a_leader_that_stands_still_does_not_produce(statuses: Statuses) -> None:
    assert producing(chain(statuses), copy.deepcopy(statuses)).startswith("Nobody was seen")
    assert producing(chain(statuses), {}).startswith("Nobody was seen")
