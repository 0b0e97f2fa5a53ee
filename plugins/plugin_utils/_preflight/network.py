# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""The ways between the members."""

from __future__ import annotations

import typing as t

from .._timings import TimingError
from .._verdicts import BLOCK, OK, WARN, Verdict
from .evidence import DA, is_loopback, longest_trip_ms, raft_timings

if t.TYPE_CHECKING:
    from collections.abc import Iterator

    from .evidence import Data, Evidence

_LOSS_BLOCKS = 0.2
_JITTER_WARN_MS = 25.0
_RTT_WARN_MS = 100.0


def mesh(evidence: Evidence) -> Iterator[Verdict]:
    """Every pair reaches each other, soon enough and with packets of every size."""
    measured = 0
    for name, peers in evidence.rtt.items():
        for peer in peers or []:
            target = str(peer.get("peer"))
            if target not in evidence.answering or name not in evidence.answering:
                continue  # told as unreachable; its silence says nothing about the network
            pair = f"{name} -> {target}"
            measured += 1
            if not peer.get("received"):
                remedy = "allow ICMP or the P2P and Raft ports between the members, in both directions"
                found = str(peer.get("reason") or "no answer")
                yield Verdict("no-route", BLOCK, pair, "an answer to echo or TCP", found, remedy)
                continue
            loss, jitter = float(peer.get("loss") or 0), float(peer.get("jitter_ms") or 0)
            if loss > 0:
                severity = BLOCK if loss >= _LOSS_BLOCKS else WARN
                remedy = "repair the network between these two: each lost heartbeat brings an election nearer"
                yield Verdict("packet-loss", severity, pair, "no packet lost", f"{loss:.0%} lost", remedy)
            if peer.get("full_size") is False:
                remedy = "let ICMP 'fragmentation needed' pass, or lower the interfaces' MTU to what the way carries"
                expected = f"an answer to packets of {peer.get('mtu')} bytes, the route's own size"
                yield Verdict("path-mtu", BLOCK, pair, expected, "small ones pass, full ones vanish", remedy)
            if jitter > _JITTER_WARN_MS:
                remedy = "find out what delays packets between these two, or use longer Raft timings"
                found = f"{jitter:g} ms"
                yield Verdict("jitter", WARN, pair, f"jitter below {_JITTER_WARN_MS:g} ms", found, remedy)
            if float(peer.get("max_ms") or 0) > _RTT_WARN_MS:
                remedy = "members this far apart make slow blocks: each one waits for a quorum"
                found = f"{peer['max_ms']:g} ms"
                yield Verdict("long-way", WARN, pair, f"a round trip below {_RTT_WARN_MS:g} ms", found, remedy)
    if measured:
        yield _timing(evidence)


def _timing(evidence: Evidence) -> Verdict:
    try:
        found = raft_timings(evidence)
    except TimingError as exc:
        remedy = "correct evnode_raft_timings"
        return Verdict("raft-timings", BLOCK, "all", "timings that a Raft member accepts", str(exc), remedy)
    text = ", ".join(f"{name} {value}" for name, value in found.items())
    expected = f"timings for a round trip of {longest_trip_ms(evidence):g} ms"
    return Verdict("raft-timings", OK, "all", expected, text)


def probed_ports(evidence: Evidence) -> Iterator[Verdict]:
    """Nothing stands between two members' ports, or between a member and the DA node."""
    for name, answers in evidence.ports.items():
        for answer in answers or []:
            target = str(answer.get("peer"))
            if target == DA:
                yield _data_availability(evidence, name, answer)
            if target not in evidence.answering:
                continue
            pair, port = f"{name} -> {target}", answer.get("port")
            # Where the probe had nothing to open, because a node has the port or in check mode, a refusal is an answer.
            if answer.get("state") == "open" or (answer.get("state") == "refused" and not answer.get("opened")):
                yield Verdict("port-reached", OK, pair, f"a way to port {port}", str(answer["state"]))
            else:
                remedy = f"open TCP port {port} from {name} to {target} in the firewalls between them"
                found = f"{answer.get('state')}: {answer.get('reason')}"
                yield Verdict("port-filtered", BLOCK, pair, f"a way to port {port}", found, remedy)


def open_to_others(evidence: Evidence) -> Iterator[Verdict]:
    """Nobody but members reaches the Raft ports: the transport has neither encryption nor a password."""
    addresses = {str(member["address"]) for member in evidence.members}
    for answer in evidence.outside:
        source = str(answer.get("source"))
        if answer.get("state") == "open" and source not in addresses and not is_loopback(source):
            remedy = "allow the port to the members' addresses only: whoever reaches it can speak as a member"
            found = f"the controller reaches {answer.get('address')}:{answer.get('port')} from {source}"
            yield Verdict("raft-port-open", WARN, str(answer["peer"]), "a Raft port for members only", found, remedy)


def _data_availability(evidence: Evidence, name: str, answer: Data) -> Verdict:
    where = f"{answer.get('address')}:{answer.get('port')}"
    expected = f"a way to the chain's DA node at {where}"
    if answer.get("state") == "open":
        return Verdict("da-reached", OK, name, expected, "open")
    own = [one for origin in evidence.sequencers for one in evidence.ports.get(origin) or [] if one.get("peer") == DA]
    # Through a proxy, or while the DA node is away, the sequencer gets no connection either, and makes blocks anyway.
    severity = BLOCK if any(one.get("state") == "open" for one in own) else WARN
    remedy = "open the way, run one on this host, or name another in evnode_config_overrides: each leader needs one"
    found = f"{answer.get('state')}: {answer.get('reason')}"
    return Verdict("da-unreachable", severity, name, expected, found, remedy)
