# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""Judge from what the members say whether the chain went on as one, and say on whom it did not."""

from __future__ import annotations

import typing as t
from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise

from ._verdicts import BLOCK, OK, WARN, Verdict, worst_first

if t.TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Status = t.Mapping[str, t.Any]

_ALL = "all"


class Chain(t.NamedTuple):
    """What is compared.

    ``statuses``: what ``node_status_info`` returned, by member, or the failed/unreachable result. ``seam_height``/
    ``seam_hash``: block N as it was before the freeze, None where there was none. ``window``: further heights.
    ``expect``: ``raft`` or ``single``. ``quorum``: how many members must answer. ``max_lag``: blocks a follower may be
    behind. ``require_all``: a silent member blocks even with a quorum.
    """

    statuses: Mapping[str, Status]
    seam_height: int | None
    seam_hash: str | None
    window: Sequence[int]
    expect: str
    quorum: int
    max_lag: int = 5
    require_all: bool = True


def verify(chain: Chain) -> list[Verdict]:
    """Return a verdict for everything that was looked at, worst first."""
    silent = {member: reason for member, status in chain.statuses.items() if (reason := _silent(status))}
    answering = {member: status for member, status in chain.statuses.items() if member not in silent}
    verdicts: list[Verdict] = []
    verdicts += _answers(chain, answering, silent)
    remedy = "end it, and find out what started it: with the chain's key it forks the chain"
    verdicts += second_nodes(chain.statuses, "node", remedy)
    if answering:
        for check in _CHECKS:
            verdicts += check(chain, answering)
    return worst_first(verdicts)


def producing(chain: Chain, earlier: Mapping[str, Status]) -> str:
    """Return who makes blocks, in a sentence, by two looks at the members; ``earlier`` is the first, by member."""
    answering = {member: status for member, status in chain.statuses.items() if not _silent(status)}
    leaders = [member for member, status in answering.items() if status.get("leader")]
    heard = f"{len(answering)} of {len(chain.statuses)} members answer"
    if len(leaders) == 1 and chain.expect == "raft":
        height, before = answering[leaders[0]]["height"], (earlier.get(leaders[0]) or {}).get("height")
        if before is not None and int(height) > int(before):
            return f"The cluster produces: {leaders[0]} leads, its height is {height}, and {heard}."
    return f"Nobody was seen to make a block as the leader of the cluster, and {heard}: status shows who produces."


def _answers(chain: Chain, answering: Mapping[str, Status], silent: Mapping[str, str]) -> list[Verdict]:
    verdicts = []
    enough = len(answering) >= chain.quorum
    for member, reason in silent.items():
        severity = BLOCK if chain.require_all or not enough else WARN
        remedy = "look at the unit's journal on this host, then run verify again"
        verdicts.append(Verdict("member-silent", severity, member, "an answer of the node", reason, remedy))
    if enough:
        verdicts.append(Verdict("quorum", OK, _ALL, f"at least {chain.quorum} members", f"{len(answering)} answer"))
    else:
        found = f"{len(answering)} of {len(chain.statuses)} answer"
        remedy = "start the members that are down; without a quorum no block is made"
        verdicts.append(Verdict("quorum", BLOCK, _ALL, f"at least {chain.quorum} members that answer", found, remedy))
    return verdicts


def writers_beside(statuses: Mapping[str, Status]) -> dict[str, list[str]]:
    """Return, by member, the processes that may make blocks of this chain beside the member's own unit, in words.

    A plain full node is none, and neither is a node of another chain. What cannot be told counts as one.
    """
    chains = {status["chain_id"] for status in statuses.values() if (status or {}).get("chain_id")}
    found: dict[str, list[str]] = {}
    for member, status in statuses.items():
        for stray in (status or {}).get("strays") or []:
            other = stray["chain_id"] is not None and chains and stray["chain_id"] not in chains
            if stray["aggregator"] is not False and not other:
                words = f"process {stray['pid']}, {stray['program']} of {stray['started_by']}, home {stray['home']}"
                found.setdefault(member, []).append(words)
    return found


def second_nodes(statuses: Mapping[str, Status], what: str, remedy: str) -> list[Verdict]:
    """Return a verdict for each of them; ``what`` is expected beside no unit."""
    verdicts = [
        Verdict("second-node", BLOCK, member, f"no {what} beside the unit", words, remedy)
        for member, all_words in writers_beside(statuses).items()
        for words in all_words
    ]
    return verdicts or [Verdict("second-node", OK, _ALL, f"no {what} beside the units", "none")]


def _seam(chain: Chain, answering: Mapping[str, Status]) -> list[Verdict]:
    """Block N+1's parent is block N as it was before the freeze, on everybody."""
    if chain.seam_height is None or chain.seam_hash is None:
        return []
    seam, wanted = chain.seam_height, _hash(chain.seam_hash)
    verdicts = []
    for member, status in answering.items():
        height = int(status["height"])
        if height < seam:
            found = f"height {height}"
            remedy = "this member has lost blocks or has not caught up; do not let it lead, copy its store again"
            verdicts.append(Verdict("height-went-back", BLOCK, member, f"height {seam} or more", found, remedy))
            continue
        own = _hash((_header(status, seam) or {}).get("hash"))
        if own is None and height == seam:
            own = _hash(status.get("head_hash"))
        parent = _hash((_header(status, seam + 1) or {}).get("parent"))
        if height > seam and parent is None:
            verdicts.append(_unreadable("seam", member, seam + 1, status))
        for name, value in (("the parent of block N+1", parent), ("block N", own)):
            if value is not None and value != wanted:
                remedy = "two histories exist: stop this member, keep its data, and see the runbook, section 'Fork'"
                verdicts.append(Verdict("seam", BLOCK, member, f"{name} with hash {wanted} (N={seam})", value, remedy))
        if parent == wanted and own in (None, wanted):
            verdicts.append(Verdict("seam", OK, member, f"block {seam + 1} on top of {wanted}", "it is"))
        elif height == seam and own == wanted:
            remedy = "wait for the next block, then run verify again"
            verdicts.append(Verdict("seam", WARN, member, f"a block {seam + 1}", f"still at {seam}", remedy))
    return verdicts


def _equal_hashes(chain: Chain, answering: Mapping[str, Status]) -> list[Verdict]:
    """Every height has one hash and one header on all members that hold it."""
    heights = set(chain.window)
    if chain.seam_height is not None:
        heights |= {chain.seam_height, chain.seam_height + 1}
    verdicts = []
    for height in sorted(heights):
        held = {member: _header(status, height) for member, status in answering.items()}
        for member, status in answering.items():
            if held[member] is None and int(status["height"]) >= height:
                verdicts.append(_unreadable("hash-unknown", member, height, status))
        present = {member: header for member, header in held.items() if header is not None}
        bad = False
        for key, what in (("hash", "hash"), ("header_digest", "header")):
            values = {m: str(h[key]).lower() for m, h in present.items() if h.get(key) is not None}
            for member, found, expected in _minority(values):
                bad = True
                remedy = "two histories exist: stop this member, keep its data, and see the runbook, section 'Fork'"
                verdicts.append(
                    Verdict("hash-differs", BLOCK, member, f"{what} {expected} at height {height}", found, remedy)
                )
        if present and not bad:
            who = ", ".join(present)
            verdicts.append(Verdict("hash-equal", OK, who, f"one hash at height {height}", "one"))
    return verdicts


def _leader(chain: Chain, answering: Mapping[str, Status]) -> list[Verdict]:
    verdicts = []
    leaders = [member for member, status in answering.items() if status.get("leader")]
    if chain.expect == "single":
        for member, status in answering.items():
            if status.get("raft"):
                remedy = "run the rollback again; a member in Raft mode beside a single sequencer is a second writer"
                verdicts.append(Verdict("raft-member", BLOCK, member, "no member in Raft mode", "Raft mode", remedy))
        return verdicts or [Verdict("raft-member", OK, _ALL, "no member in Raft mode", "none")]
    for member, status in answering.items():
        if status.get("raft") is False:
            remedy = "stop its unit at once and check which configuration it started with: it may be a second writer"
            verdicts.append(Verdict("raft-off", BLOCK, member, "a member in Raft mode", "Raft is off", remedy))
    if len(leaders) == 1:
        verdicts.append(Verdict("leader", OK, leaders[0], "exactly one leader", "one"))
    elif not leaders:
        remedy = "wait for an election and run verify again; if it stays so, see the runbook, section 'No leader'"
        verdicts.append(Verdict("leader", BLOCK, _ALL, "exactly one leader", "none", remedy))
    else:
        remedy = "an old leader steps down within its lease: run verify again; if it stays so, stop the lower one"
        verdicts.append(Verdict("leader", BLOCK, ", ".join(leaders), "exactly one leader", f"{len(leaders)}", remedy))
    names = {member: status["node_id"] for member, status in answering.items() if status.get("node_id")}
    for name, members in _shared(names).items():
        remedy = "give each member a node id of its own"
        verdicts.append(
            Verdict("node-id-shared", BLOCK, ", ".join(members), "different node ids", f"both {name}", remedy)
        )
    return verdicts


def _applying(chain: Chain, answering: Mapping[str, Status]) -> list[Verdict]:
    """Nobody is further behind the highest member than the allowed lag."""
    top = max(int(status["height"]) for status in answering.values())
    verdicts = []
    for member, status in answering.items():
        lag = top - int(status["height"])
        if lag > chain.max_lag:
            found = f"height {status['height']}, {lag} behind"
            remedy = "look for 'failed to sync' in its journal; a member that does not catch up must not lead"
            verdicts.append(
                Verdict("follower-lags", BLOCK, member, f"at most {chain.max_lag} blocks behind {top}", found, remedy)
            )
    return verdicts or [Verdict("follower-lags", OK, _ALL, f"at most {chain.max_lag} blocks behind {top}", "so it is")]


def _execution(chain: Chain, answering: Mapping[str, Status]) -> list[Verdict]:
    """Execution clients agree with each other where there are any, and are not behind their nodes."""
    clients = {member: status["execution"] for member, status in answering.items() if status.get("execution")}
    verdicts: list[Verdict] = []
    for member, status in answering.items():
        reason = (status.get("reasons") or {}).get("execution")
        if not status.get("execution") and reason not in (None, "not asked"):
            remedy = "look at the client's unit and journal: without it this member makes no block and follows none"
            verdicts.append(
                Verdict("execution-silent", BLOCK, member, "an answer of its execution client", str(reason), remedy)
            )
    if not clients:
        return verdicts
    heights = sorted({height for client in clients.values() for height in client.get("hashes") or {}}, key=int)
    for height in heights:
        values = {
            member: str(client["hashes"][height]).lower()
            for member, client in clients.items()
            if (client.get("hashes") or {}).get(height)
        }
        for member, found, expected in _minority(values):
            remedy = "stop this member and its execution client, and copy both from one that agrees"
            expected = f"execution block {expected} at {height}"
            verdicts.append(Verdict("execution-differs", BLOCK, member, expected, found, remedy))
    for member, client in clients.items():
        behind = int(answering[member]["height"]) - int(client["height"])
        if behind > chain.max_lag:
            found = f"execution client at {client['height']}"
            remedy = "check the engine connection and the JWT between the node and its execution client"
            verdicts.append(
                Verdict("execution-behind", BLOCK, member, f"height {answering[member]['height']}", found, remedy)
            )
    return verdicts or [Verdict("execution-equal", OK, ", ".join(clients), "equal execution clients", "equal")]


def _time_grows(chain: Chain, answering: Mapping[str, Status]) -> list[Verdict]:
    verdicts = []
    for member, status in answering.items():
        headers = status.get("headers") or {}
        times = [(int(height), int(headers[height]["time_ns"])) for height in sorted(headers, key=int)]
        for (low, before), (high, after) in pairwise(times):
            if after <= before:
                found = f"{_when(after)} at {high}"
                remedy = "check the clocks of all members; a leader whose clock is behind cannot make blocks"
                verdicts.append(
                    Verdict("time-goes-back", BLOCK, member, f"a time after {_when(before)} ({low})", found, remedy)
                )
    return verdicts or [Verdict("time-grows", OK, _ALL, "growing block times", "growing")]


def _distinct_peers(chain: Chain, answering: Mapping[str, Status]) -> list[Verdict]:
    ids = {member: status["peer_id"] for member, status in answering.items() if status.get("peer_id")}
    verdicts = []
    for peer, members in _shared(ids).items():
        remedy = "a node key was copied: remove config/node_key.json on all but one of them and run provision again"
        verdicts.append(
            Verdict("peer-id-shared", BLOCK, ", ".join(members), "different peer ids", f"both {peer}", remedy)
        )
    return verdicts or [Verdict("peer-ids", OK, _ALL, "different peer ids", "different")]


def _equal(
    name: str, key: Callable[[Status], t.Any], remedy: str
) -> Callable[[Chain, Mapping[str, Status]], list[Verdict]]:
    """Make a check that a value is the same on all members that have one."""

    def check(_chain: Chain, answering: Mapping[str, Status]) -> list[Verdict]:
        values = {member: str(key(status)) for member, status in answering.items() if key(status) is not None}
        verdicts = [
            Verdict(f"{name}-differs", BLOCK, member, f"{name} {expected}", found, remedy)
            for member, found, expected in _minority(values)
        ]
        return verdicts or [Verdict(f"{name}-equal", OK, _ALL, f"one {name}", "one")]

    return check


def _namespaces(status: Status) -> str | None:
    found = status.get("namespaces")
    return f"{found.get('header')}/{found.get('data')}" if found else None


_CHECKS: tuple[Callable[[Chain, Mapping[str, Status]], list[Verdict]], ...] = (
    _seam,
    _equal_hashes,
    _leader,
    _applying,
    _execution,
    _time_grows,
    _distinct_peers,
    _equal(
        "namespace", _namespaces, "set da.namespace in evnode.yaml to what the others have, and restart this member"
    ),
    _equal(
        "chain", lambda status: status.get("chain_id"), "this member serves another chain; stop it and check its home"
    ),
    _equal(
        "proposer",
        lambda status: status.get("next_proposer"),
        "the members expect different signers; compare their genesis files and signers",
    ),
)


def _silent(status: Status | None) -> str | None:
    if not status:
        return "it was not read, because something failed on it before"
    if status.get("unreachable") or status.get("failed"):
        return str(status.get("msg") or "the host gave no status")
    if status.get("height") is None:
        return str((status.get("reasons") or {}).get("height") or "the node did not tell its height")
    return None


def _header(status: Status, height: int) -> Mapping[str, t.Any] | None:
    headers = status.get("headers") or {}
    found = headers.get(str(height), headers.get(height))
    return found if isinstance(found, dict) or hasattr(found, "get") else None


def _unreadable(name: str, member: str, height: int, status: Status) -> Verdict:
    reason = (status.get("reasons") or {}).get(f"headers.{height}", "its header was not asked for")
    remedy = "run verify again; if the block stays unreadable, the store may be pruned or damaged"
    return Verdict(name, BLOCK, member, f"block {height} readable", str(reason), remedy)


def _minority(values: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Return (member, found, expected) for all that differ from the majority; where there is none, for all."""
    counts = Counter(values.values())
    if len(counts) < 2:
        return []
    winner, votes = counts.most_common(1)[0]
    if votes * 2 > len(values):
        return [(member, value, winner) for member, value in values.items() if value != winner]
    return [(member, value, "one value on a majority") for member, value in values.items()]


def _shared(values: Mapping[str, t.Any]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for member, value in values.items():
        groups.setdefault(str(value), []).append(member)
    return {value: members for value, members in groups.items() if len(members) > 1}


def _hash(value: t.Any) -> str | None:
    if not value:
        return None
    text = str(value).lower()
    return text[2:] if text.startswith("0x") else text


def _when(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / 1e9, tz=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
