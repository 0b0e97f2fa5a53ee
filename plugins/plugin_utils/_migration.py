# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""What a run has to do, decided from what the members returned. Pure functions over data."""

from __future__ import annotations

import ipaddress
import json
import os
import typing as t
from collections import Counter

from ._member_files import host_port
from ._verify import writers_beside

if t.TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Registered = t.Mapping[str, t.Any]


def reason_of(result: Registered | None) -> str | None:
    """Say why a registered result is no answer, or None where it is one."""
    if not result:
        return "gave no answer"
    if result.get("unreachable"):
        return f"was unreachable: {result.get('msg', 'no message')}"
    if result.get("failed") or result.get("exception"):
        return str(result.get("msg", "failed without a message"))
    return None


def unreadable(results: Mapping[str, Registered | None], key: str) -> dict[str, str]:
    """Return a reason for every member whose result lacks ``key``."""
    found = {}
    for member, result in results.items():
        reason = reason_of(result)
        # failed_when: false in the play hides the failure flag, never the missing value.
        if reason or key not in (result or {}):
            found[member] = reason or str((result or {}).get("msg", f"gave no {key}"))
    return found


def settings_apart(
    settings: Mapping[str, Mapping[str, t.Any]], reference: str, own: t.Collection[str] = ()
) -> list[str]:
    """Return a sentence for every setting, ``own`` ones apart, that some members have otherwise than ``reference``.

    Mappings are not shown: one may hold a token.
    """
    told = []
    for name, wanted in settings[reference].items():
        for member, there in settings.items():
            if name in own or there[name] == wanted:
                continue
            if isinstance(wanted, t.Mapping):
                told.append(f"{name} of {member} is not that of {reference}.")
            else:
                told.append(f"{name} is {json.dumps(there[name])} on {member} and {json.dumps(wanted)} on {reference}.")
    return told


def migration_state(modes: Mapping[str, str | None], sequencer: str | None) -> str:
    """Return what the chain runs as today.

    ``single``: the sequencer of today produces alone. ``committed``: the sequencer's host has switched to Raft, some
    member has not: the cutover was committed and has to be finished. ``cluster``: every member is in Raft mode.
    ``unknown``: the sequencer's mode could not be read, so nothing may be decided.
    """
    own = modes.get(sequencer) if sequencer else None
    if own is None or own == "absent":
        return "unknown"
    if own != "raft":
        return "single"
    return "cluster" if all(mode == "raft" for mode in modes.values()) else "committed"


class Gaps(t.NamedTuple):
    """Where the inventory is not the cluster.

    ``left_out``: node ids of members of the cluster that the inventory does not have. ``apart``: a sentence for each of
    them, for each host that is no member, and for each whose Raft address is another one.
    """

    left_out: list[str]
    apart: list[str]


def cluster_gaps(
    profiles: Mapping[str, Mapping[str, t.Any]], sequencer: str, members: Sequence[Mapping[str, t.Any]], port: int
) -> Gaps:
    """Compare the inventory with the membership that the sequencer's own host knows; no gaps where it is no member.

    A cluster's membership is fixed when it is made: it stands in the Raft logs, whatever is configured later.
    """
    made_of = dict((profiles.get(sequencer) or {}).get("membership") or {})
    if not made_of:
        return Gaps([], [])
    apart = []
    for member, raft in zip(members, raft_members(members, port), strict=True):
        name, node_id, address = str(member["name"]), raft["node_id"], raft["address"]
        known = made_of.pop(node_id, None)
        if known is None:
            apart.append(f"{name} ({node_id}) is no member of the cluster.")
        elif _canonical(known) != _canonical(address):
            apart.append(f"{name} ({node_id}) is at {known} in the cluster and at {address} in the inventory.")
        elif (profiles.get(name) or {}).get("mode") == "absent":
            apart.append(f"{name} ({node_id}) is a member of the cluster, and its host holds nothing of it any more.")
    apart += [
        f"{node_id} at {known} is a member of the cluster and not in the inventory."
        for node_id, known in made_of.items()
    ]
    return Gaps(sorted(made_of), apart)


def _canonical(address: str) -> str:
    """Return a host:port in the one way of writing that address, as far as the host is an IP address."""
    host, _colon, port = address.rpartition(":")
    try:
        return f"{ipaddress.ip_address(host.strip('[]'))} {port}"
    except ValueError:
        return address


def secret_files(profile: Mapping[str, t.Any]) -> list[dict[str, str]]:
    """Return the files that every member needs from the sequencer, as name and absolute path."""
    signer = profile.get("signer") or {}
    candidates = [
        ("signer", _signer_file(signer.get("path")) if signer.get("type", "file") == "file" else None),
        ("passphrase", profile.get("passphrase_file")),
        ("jwt", profile.get("jwt_file")),
        ("genesis", profile.get("genesis_path")),
    ]
    files = [{"name": name, "path": path} for name, path in candidates if path]
    listed = profile.get("environment_files") or []
    files += [{"name": "environment", "path": item.removeprefix("-")} for item in listed]
    return files


def secret_placements(
    files: Sequence[Mapping[str, str]], contents: Sequence[Mapping[str, t.Any]], owner: str, group: str
) -> list[dict[str, str]]:
    """Return those of the files that the sequencer has, each with its content and how a member keeps it."""
    found = {entry["path"]: entry["content"] for entry in contents if entry["present"]}
    return [
        {"path": file["path"], "content": found[file["path"]], **_kept(file["name"], owner, group)}
        for file in files
        if file["path"] in found
    ]


def _kept(name: str, owner: str, group: str) -> dict[str, str]:
    if name == "environment":
        # systemd reads it as root, whatever the account of the service, and anybody may read one such as
        # /etc/environment.
        return {"owner": "root", "group": "root", "mode": "0600", "parents_mode": "0755", "if_held": "keep"}
    # The execution client of the host reads its JWT too.
    if_held = "keep_closed" if name == "jwt" else "replace"
    return {"owner": owner, "group": group, "mode": "0600", "parents_mode": "0750", "if_held": if_held}


def _signer_file(path: str | None) -> str | None:
    """The profile names the file itself or, like evnode.yaml does, the directory that holds signer.json."""
    if not path:
        return None
    return path if path.endswith(".json") else os.path.join(path, "signer.json")


def at_the_tip(statuses: Mapping[str, Mapping[str, t.Any]], sequencer: str, lag: int) -> dict[str, str]:
    """Return a reason for every follower that is more than ``lag`` blocks behind the sequencer."""
    target = (statuses.get(sequencer) or {}).get("height")
    if target is None:
        return {sequencer: "does not say its height; the chain has to produce blocks before the cutover"}
    behind = {}
    for member, status in statuses.items():
        height = (status or {}).get("height")
        if member == sequencer:
            continue
        if height is None:
            reasons = (status or {}).get("reasons") or {}
            behind[member] = f"does not say its height: {reasons.get('height', 'no answer')}"
        elif target - height > lag:
            behind[member] = f"is at {height}, the sequencer at {target}: wait with the stage sync"
    return behind


class Outcome(t.NamedTuple):
    """What the window ended with.

    ``verdict``: ``healthy`` (a quorum made block N+1), ``aborted`` (nothing was committed, the single sequencer runs),
    ``unhealthy`` (committed, no quorum has block N+1), ``unknown`` (the sequencer's host gave no receipt).
    """

    verdict: str
    height: int | None
    hash: str | None
    healthy: list[str]
    stragglers: dict[str, str]
    reason: str


def window_outcome(receipts: Mapping[str, Registered | None], sequencer: str, quorum: int) -> Outcome:
    """Judge the window from the members' receipts; the sequencer's host alone knows whether it was committed."""
    answered = {name: (result or {}).get("receipt") or {} for name, result in receipts.items()}
    own = answered.get(sequencer) or {}
    height, digest = own.get("n"), own.get("hash")
    if not own:
        return Outcome("unknown", None, None, [], {}, reason_of(receipts.get(sequencer)) or "left no receipt")
    if own.get("outcome") != "committed":
        called_off = str(own.get("reason") or "no reason was recorded")
        troubles = {name: _own_trouble(result) for name, result in receipts.items() if name != sequencer}
        words = "; ".join(f"{name} says: {trouble}" for name, trouble in troubles.items() if trouble)
        return Outcome("aborted", height, digest, [], {}, f"{called_off} ({words})" if words else called_off)
    healthy, stragglers = [], {}
    for name, receipt in answered.items():
        if receipt.get("outcome") == "committed" and _past(receipt.get("height"), height):
            healthy.append(name)
        else:
            said = receipt.get("problem") or receipt.get("reason")
            why = reason_of(receipts.get(name)) or said or f"is at {receipt.get('height')}"
            stragglers[name] = str(why)
    if len(healthy) >= quorum:
        return Outcome("healthy", height, digest, healthy, stragglers, "")
    named = "; ".join(f"{name}: {why}" for name, why in stragglers.items())
    return Outcome("unhealthy", height, digest, healthy, stragglers, f"no quorum made block {_next(height)}: {named}")


def _own_trouble(result: Registered | None) -> str | None:
    """What a participant that took no part says of itself; the coordinator knows only that it never came."""
    receipt = (result or {}).get("receipt") or {}
    if receipt.get("outcome") in ("failed", "running"):
        return str(receipt.get("reason") or "its window ended without a word; see its journal")
    return reason_of(result) if not receipt else None


def _past(height: t.Any, freeze: t.Any) -> bool:
    return isinstance(height, int) and isinstance(freeze, int) and height > freeze


def _next(height: t.Any) -> t.Any:
    return height + 1 if isinstance(height, int) else "N+1"


class Way(t.NamedTuple):
    """The way back to the single sequencer.

    ``case``: ``a`` (no block above N anywhere), ``b`` (blocks above N, and ``member`` is proven to hold all of them),
    ``c`` (not provable), ``ask`` (``member`` has to tell its blocks at ``heights`` first). ``member`` holds the most
    advanced store, at ``height`` with ``hash``; ``move`` tells whether that store has to be moved to the sequencer.
    """

    case: str
    reason: str
    member: str = ""
    height: int = 0
    hash: str = ""
    move: bool = False
    heights: Sequence[int] = ()


def frozen_at(receipts: Mapping[str, Mapping[str, t.Any] | None], sequencer: str) -> dict[str, t.Any]:
    """Return height (``n``) and hash of block N at the last freeze, empty where nobody can tell.

    The sequencer's own receipt says it. Where it does not (its disk was full, its host is gone), those who acknowledged
    that block and were told of the commit in the same run do, if all of them say the same.
    """
    own = receipts.get(sequencer) or {}
    if own.get("n") is not None:
        return {"n": own["n"], "hash": own.get("hash")}
    others = [receipt for receipt in receipts.values() if receipt and receipt.get("outcome") == "committed"]
    run = own.get("run") or max((str(receipt.get("run")) for receipt in others), default="")
    told = {(receipt.get("n"), receipt.get("hash")) for receipt in others if receipt.get("run") == run}
    if len(told) != 1:
        return {}
    height, block_hash = told.pop()
    return {"n": height, "hash": block_hash} if height is not None and block_hash else {}


def way_back_at_all(
    statuses: Mapping[str, Registered | None],
    heads: Mapping[str, Registered | None],
    freeze: Mapping[str, t.Any] | None,
    sequencer: str,
    trust: str = "",
    left_out: Sequence[str] = (),
) -> str:
    """Say what stands in the way of going back, before anything is stopped; empty where nothing does.

    ``left_out``: members of the cluster that the inventory does not have, and that nobody reads. As long as they are no
    quorum they cannot have made a block alone.

    A member counts as read when its node tells its height, or, where the node is stopped, its store does. One that runs
    and says nothing, because it finds no quorum or fails again and again, is read once it has been stopped. Half a copy
    on the sequencer is no obstacle, as ``way_back`` has it.
    """
    if not freeze or freeze.get("n") is None:
        return _NO_FREEZE
    half = half_copied(heads)
    if trust:
        known = ", ".join(sorted(statuses))
        if trust not in statuses:
            return f"{trust}, the member to trust, is no member; the members are {known}."
        return _unread({trust: half[trust]}) if trust in half else ""
    total = len(statuses) + len(left_out)
    if len(left_out) >= total // 2 + 1:
        return (
            f"{', '.join(left_out)} of the cluster are not in the inventory. They are a quorum of its {total} members, "
            "so they may hold blocks that no other has."
        )
    silent = {name: why for name, why in half.items() if name != sequencer}
    for name, result in statuses.items():
        reason = reason_of(result)
        height = ((result or {}).get("status") or {}).get("height")
        stopped = heads.get(name) or {}
        head = (stopped.get("head") or {}).get("height")
        told = height is not None or head is not None or stopped.get("running") or name in half
        if reason or not told:
            silent[name] = reason or str(stopped.get("msg", "tells no height"))
    if silent:
        return _unread(silent)
    differing = _other_histories(
        {name: (result or {}).get("status") or {} for name, result in statuses.items()}, freeze
    )
    return f"The members hold different histories. {'; '.join(differing)}." if differing else ""


def half_copied(heads: Mapping[str, Registered | None]) -> dict[str, str]:
    """Return a sentence for every member whose store is half a copy: whatever it told, blocks may be missing in it."""
    return {
        name: f"holds half a copy in {', '.join(result['half_copied'])}"
        for name, result in heads.items()
        if result and result.get("half_copied")
    }


def _other_histories(statuses: Mapping[str, Mapping[str, t.Any]], freeze: Mapping[str, t.Any]) -> list[str]:
    """Blocks that are not the same on all members that run, or are not block N of the freeze, as far as was asked."""
    words = []
    told = {name: _hashes({**status, "hash": status.get("head_hash")}) for name, status in statuses.items()}
    for height in sorted({height for known in told.values() for height in known}):
        held = {name: known[height] for name, known in told.items() if height in known}
        wanted = str(freeze.get("hash") or "") if height == freeze["n"] else ""
        wanted = wanted or Counter(held.values()).most_common(1)[0][0]
        whose = "was at the freeze" if height == freeze["n"] and freeze.get("hash") else "is on the others"
        words += [
            f"{name}: block {height} is {digest} there and {wanted} {whose}"
            for name, digest in sorted(held.items())
            if digest != wanted
        ]
    return words


def way_back(
    heads: Mapping[str, Registered | None],
    freeze: Mapping[str, t.Any] | None,
    sequencer: str,
    trust: str = "",
    *,
    asked: bool = False,
) -> Way:
    """Decide the way back from the heads of the stopped members and from block N as it was at the freeze.

    ``trust`` names the member whose store counts, by the operator's word, where the others cannot be read or differ.
    ``asked``: the most advanced member has been asked for all heights that are compared.

    Half a copy counts for nothing. Only the sequencer may hold one: a rollback that was broken off while it moved the
    most advanced store there had proven first that the store it wrote over was a beginning of that.
    """
    if not freeze or freeze.get("n") is None:
        return Way("c", _NO_FREEZE)
    half = half_copied(heads)
    missing = unreadable(heads, "head")
    missing.update({name: why for name, why in half.items() if name != sequencer or name == trust})
    if trust:
        missing = {name: why for name, why in missing.items() if name == trust}
    if missing:
        return Way("c", _unread(missing))
    stores = {name: t.cast("dict[str, t.Any]", (result or {}).get("head") or {}) for name, result in heads.items()}
    stores = {name: store for name, store in stores.items() if store and name not in half}
    if not stores:
        return Way("c", _unread(dict.fromkeys(heads, "told no head of its store")))
    numbers = {name: int(store.get("height") or 0) for name, store in stores.items()}
    best = numbers[trust] if trust else max(numbers.values())
    holders = [trust] if trust else sorted(name for name, height in numbers.items() if height == best)
    member = sequencer if sequencer in holders else holders[0]
    n, digest = int(freeze["n"]), str(freeze.get("hash") or "")
    if best < n:
        return Way("c", f"{member} holds the most advanced store, at {best}, and block {n} existed before the cutover.")
    included = {name: height for name, store in stores.items() if (height := store.get("da_included") or 0) > best}
    if included:
        named = ", ".join(f"{name} knows of {height}" for name, height in sorted(included.items()))
        return Way("c", f"Blocks above {best} are on the data availability layer already, for good: {named}.")
    compared = {} if trust else {name: height for name, height in numbers.items() if height > 0 and name != member}
    wanted = sorted({n, *compared.values()})
    known = _hashes(stores[member])
    unknown = [height for height in wanted if height not in known]
    if unknown and not asked:
        return Way("ask", f"{member} has to tell its blocks {unknown}.", member, best, heights=wanted)
    differing = {
        name: f"block {height} is {stores[name].get('hash')} there and {known.get(height) or 'unknown'} on {member}"
        for name, height in compared.items()
        if not known.get(height) or stores[name].get("hash") != known[height]
    }
    if digest and known.get(n) != digest:
        differing[member] = f"block {n} is {known.get(n) or 'unknown'} there and was {digest} at the freeze"
    if differing:
        named = "; ".join(f"{name}: {why}" for name, why in sorted(differing.items()))
        return Way("c", f"The members hold different histories. {named}.")
    move = member != sequencer
    if best == n and not move:
        return Way("a", f"No member holds a block above {n}.", member, best, known.get(best, ""))
    word = "by your word" if trust else "the others are its beginnings"
    again = f" {sequencer} {half[sequencer]}, which is made again." if sequencer in half else ""
    reason = f"{member} holds the most advanced store, at {best}; {word}.{again}"
    return Way("b", reason, member, best, known.get(best, ""), move)


_NO_FREEZE = "No member holds a receipt of the freeze, so nobody can tell which block was the last."


def _unread(missing: Mapping[str, str]) -> str:
    named = "; ".join(f"{name} {why}" for name, why in sorted(missing.items()))
    return f"A member that could not be read may hold blocks that no other has: {named}."


def _hashes(store: Mapping[str, t.Any]) -> dict[int, str]:
    """The hashes of a store's blocks by their height, as far as it was asked for them."""
    found = {
        int(height): str(header["hash"])
        for height, header in (store.get("headers") or {}).items()
        if header.get("hash")
    }
    if store.get("height") and store.get("hash"):
        found[int(store["height"])] = str(store["hash"])
    return found


def heights_to_keep(statuses: Mapping[str, Mapping[str, t.Any]], freeze: Mapping[str, t.Any]) -> list[int]:
    """Return the heights that a stopped member is asked for: N, and those near a tip, where others may have ended."""
    tips = {height for status in statuses.values() if isinstance(height := (status or {}).get("height"), int)}
    if freeze.get("n") is not None:
        tips.add(int(freeze["n"]))
    return sorted({height for tip in tips for height in range(max(1, tip - 3), tip + 13)})


def heights_to_compare(
    statuses: Mapping[str, Mapping[str, t.Any]], freeze: Mapping[str, t.Any], count: int = 5
) -> list[int]:
    """Return the heights at which members are compared: N, N+1 and the last ``count`` that every member has."""
    known = [height for status in statuses.values() if isinstance(height := (status or {}).get("height"), int)]
    if not known:
        return []
    common = min(known)
    heights = set(range(max(1, common - count + 1), common + 1))
    if freeze.get("n") is not None:
        heights.update(height for height in (freeze["n"], freeze["n"] + 1) if height <= common)
    return sorted(heights)


def raft_members(members: Sequence[Mapping[str, t.Any]], port: int) -> list[dict[str, str]]:
    """Return node id and Raft address of every member."""
    return [
        {"node_id": str(member["node_id"]), "address": host_port(str(member["address"]), port)} for member in members
    ]


def assume_peer_ids(members: Sequence[Mapping[str, t.Any]]) -> list[dict[str, t.Any]]:
    """Return the members with a placeholder where a peer id is not known, for predictions only."""
    return [{**member, "peer_id": member.get("peer_id") or f"<made-on-{member['name']}>"} for member in members]


def healthy_members(statuses: Mapping[str, Mapping[str, t.Any]], lag: int = 5) -> list[str]:
    """Return the members that run in Raft mode and hold the tip, give or take ``lag`` blocks."""
    heights = {name: (status or {}).get("height") for name, status in statuses.items()}
    known = {name: height for name, height in heights.items() if isinstance(height, int)}
    tip = max(known.values(), default=0)
    return [name for name, height in known.items() if tip - height <= lag and statuses[name].get("raft") is True]


_PARTS = (
    ("wait_block_s", "waited for a block"),
    ("stop_s", "stop"),
    ("prove_s", "proof of the stop"),
    ("agree_s", "equal heads"),
    ("commit_s", "commit"),
    ("start_s", "start"),
    ("first_block_s", "first block"),
)


def window_summary(receipt: Mapping[str, t.Any]) -> str:
    """Return what the window did, in one paragraph for a person."""
    if not receipt:
        return "The sequencer's host left no receipt of the window."
    if receipt.get("outcome") != "committed":
        return f"Called off before the commit: {receipt.get('reason') or 'no reason was recorded'}."
    number = receipt.get("n")
    lines = [f"Frozen at block {number} ({receipt.get('hash')}), committed, the cluster goes on at {_next(number)}."]
    parts = receipt.get("parts") or {}
    said = [f"{words} {parts[key]:.3f} s" for key, words in _PARTS if isinstance(parts.get(key), (int, float))]
    if said:
        lines.append("Parts: " + ", ".join(said) + ".")
    times = receipt.get("block_time_ns") or {}
    if isinstance(number, int) and str(number) in times and str(number + 1) in times:
        pause = (int(times[str(number + 1)]) - int(times[str(number)])) / 1e9
        lines.append(f"Block production paused for {pause:.3f} s, by the times in the headers of both blocks.")
    return " ".join(lines)


def outcome_sentence(outcome: Mapping[str, t.Any], back: Mapping[str, t.Any]) -> str:
    """Return the sentence a failed cutover ends with: what happened, and who produces now."""
    verdict, reason = outcome.get("verdict"), outcome.get("reason")
    if verdict == "aborted":
        return f"Called off, the single sequencer produces as before: {reason}."
    if verdict == "unknown":
        return (
            f"The sequencer's host left no receipt ({reason}), so it is not known whether the cutover was committed. "
            "Make it reachable and run the same command again: it finishes the job or says what to do."
        )
    if back.get("case") == "a":
        return f"Rolled back, the single sequencer produces: {reason}."
    return (
        f"The cluster made no block in time ({reason}) and there is no way back by itself: "
        f"{back.get('reason', 'the members were not read')} The members were started again; run the stage status."
    )


def status_table(modes: Mapping[str, t.Any], statuses: Mapping[str, t.Any]) -> list[str]:
    """Return one line a member: mode, role, height, hash, lag, unit; one more for each node beside the unit."""
    heights = {name: (status or {}).get("height") for name, status in statuses.items()}
    tip = max((height for height in heights.values() if isinstance(height, int)), default=None)
    lines = []
    beside = writers_beside(statuses)
    for name, status in statuses.items():
        status = status or {}
        height = heights[name]
        role = {True: "leader", False: "follower"}.get(t.cast(bool, status.get("leader")), "-")
        lag = tip - height if isinstance(height, int) and tip is not None else None
        reasons = status.get("reasons") or {}
        words = [
            f"{name}:",
            f"mode {modes.get(name) or 'unknown'}",
            role,
            f"height {height if height is not None else 'unknown'}",
            f"hash {(status.get('head_hash') or 'unknown')[:16]}",
            f"lag {lag if lag is not None else 'unknown'}",
            f"unit {_UNIT[status.get('unit_active')]}",
        ]
        if status.get("execution"):
            words.append(_execution_words(status["execution"]))
        line = ", ".join(words).replace(":,", ":", 1)
        lines.append(line if height is not None else f"{line} ({reasons.get('height', 'no answer')})")
        lines += [f"{name}: MAY BE A SECOND WRITER: {words}" for words in beside.get(name, [])]
    return lines


_UNIT = {True: "active", False: "not active", None: "unknown"}


def _execution_words(client: Mapping[str, t.Any]) -> str:
    words = f"execution {client['height']} {str(client['hash'])[:16]}"
    words += f" (safe {client.get('safe')}, finalized {client.get('finalized')})".replace("None", "none yet")
    return f"{words} FETCHES FROM PEERS" if client.get("syncing") else words


def host_receipts(results: Mapping[str, Registered | None]) -> dict[str, t.Any]:
    """Return what each host said of itself, or the reason why it said nothing."""
    receipts: dict[str, t.Any] = {}
    for name, result in results.items():
        if result and "host" in result:
            receipts[name] = result["host"]
        else:
            receipts[name] = {"failed": True, "msg": reason_of(result) or str((result or {}).get("msg", "no answer"))}
            receipts[name]["unreachable"] = bool((result or {}).get("unreachable"))
    return receipts
