# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""What the inventory says, before any host is looked at."""

from __future__ import annotations

import ipaddress
import re
import typing as t

from .._verdicts import BLOCK, OK, WARN, Verdict

if t.TYPE_CHECKING:
    from collections.abc import Iterator

    from .evidence import Evidence

_SEEDS = ("follow", "copy", "copy_then_follow")
_NODE_ID = re.compile(r"[A-Za-z0-9._-]+")


def inventory(evidence: Evidence) -> Iterator[Verdict]:
    """The groups name one sequencer and a number of members that survives a failure."""
    found = list(evidence.sequencers)
    names = [str(member["name"]) for member in evidence.members]
    if len(found) == 1:
        yield Verdict("one-sequencer", OK, found[0], "one host in evnode_sequencer", "one")
    else:
        identity = "several-sequencers" if found else "no-sequencer"
        remedy = "leave exactly the machine that produces blocks today in the group evnode_sequencer"
        text = ", ".join(found) or "none"
        yield Verdict(identity, BLOCK, text if found else "all", "exactly one host in evnode_sequencer", text, remedy)
    both = sorted(set(found) & set(evidence.joiners))
    for name in both:
        remedy = "leave the host in one of the two groups"
        yield Verdict("host-in-both-groups", BLOCK, name, "a sequencer or a joiner", "both", remedy)
    stray = [name for name in names if name not in found and name not in evidence.joiners]
    for name in stray:
        remedy = "put the host into evnode_joiners, or take it out of evnode_members"
        yield Verdict("host-in-no-group", BLOCK, name, "a sequencer or a joiner", "neither", remedy)
    count = len(names)
    if count < 3:
        remedy = "add joiners: with fewer than three members no failure is survived"
        yield Verdict("too-few-members", BLOCK, "all", "at least 3 members", str(count), remedy)
    elif count % 2 == 0:
        remedy = "add or remove one joiner: an even member makes failures likelier and survives no more of them"
        yield Verdict("even-members", BLOCK, "all", "an odd number of members", str(count), remedy)
    else:
        yield Verdict("member-count", OK, "all", "an odd number of members from 3", str(count))
    if evidence.options.get("seed", "follow") not in _SEEDS:
        remedy = "correct evnode_seed"
        text = str(evidence.options.get("seed"))
        yield Verdict("unknown-seed", BLOCK, "all", f"one of {', '.join(_SEEDS)}", text, remedy)


def identities(evidence: Evidence) -> Iterator[Verdict]:
    """No two members share what tells them apart."""
    for key, identity, remedy in (
        ("address", "duplicate-address", "give each member its own private address (evnode_address)"),
        ("node_id", "duplicate-node-id", "give each member its own evnode_node_id"),
        ("peer_id", "duplicate-peer-id", "a node key was copied: remove config/node_key.json on the joiner"),
    ):
        groups: dict[str, list[str]] = {}
        for member in evidence.members:
            name = str(member["name"])
            # Before a run has asked for it, a peer id is known where the host has a node key.
            own = member.get(key) or (evidence.answering.get(name, {}).get(key) if key == "peer_id" else None)
            if own:
                groups.setdefault(str(own), []).append(name)
        shared = {value: names for value, names in groups.items() if len(names) > 1}
        for value, names in shared.items():
            yield Verdict(identity, BLOCK, ", ".join(names), f"a {key} for each member", f"both {value}", remedy)
        if groups and not shared:
            yield Verdict(identity.replace("duplicate", "distinct"), OK, "all", f"a {key} for each member", "so it is")
    for member in evidence.members:
        name = str(member["name"])
        if not _NODE_ID.fullmatch(str(member.get("node_id") or "")):
            remedy = "set evnode_node_id to letters, digits, '.', '_' and '-'"
            yield Verdict("bad-node-id", BLOCK, name, "a plain node id", repr(member.get("node_id")), remedy)
        wrong = address_problem(str(member.get("address") or ""))
        if wrong:
            remedy = "set evnode_address to the private IP address under which the other members reach this host"
            yield Verdict("bad-address", BLOCK, name, "a private IP address", wrong, remedy)
        elif not _is_private(str(member["address"])):
            remedy = (
                "the Raft port has no authentication: close it to everybody but the members, or use private addresses"
            )
            yield Verdict("public-address", WARN, name, "a private IP address", str(member["address"]), remedy)


def address_problem(address: str) -> str | None:
    """Say why a Raft member cannot use this as its address, None where it can."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return f"'{address}', which is no IP address: a name may resolve to loopback on its own host"
    if parsed.is_unspecified:
        return f"{address}, on which a Raft member refuses to start"
    if parsed.is_loopback:
        return f"{address}, which no other member can reach"
    if parsed.is_multicast or (parsed.version == 6 and parsed.is_link_local):
        return f"{address}, which is no address of one host on every network"
    return None


def _is_private(address: str) -> bool:
    return ipaddress.ip_address(address).is_private


def addresses(evidence: Evidence) -> Iterator[Verdict]:
    """Every member has its address on its own host."""
    for member in evidence.members:
        name, address = str(member["name"]), str(member.get("address") or "")
        host = evidence.answering.get(name)
        if host is None or address_problem(address):
            continue
        known = [str(item) for item in host.get("addresses") or []]
        if host.get("has_address") is False or (host.get("has_address") is None and known and address not in known):
            others = [item for item in known if not address_problem(item)]
            remedy = f"set evnode_address to one of the host's own addresses: {', '.join(others) or 'none found'}"
            yield Verdict("address-not-on-host", BLOCK, name, f"{address} on the host", "it is not", remedy)
        else:
            yield Verdict("address-on-host", OK, name, f"{address} on the host", "it is")
