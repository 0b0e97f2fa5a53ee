# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""What a judgement goes by, and the words in which it is told."""

from __future__ import annotations

import ipaddress
import typing as t
from urllib.parse import urlsplit

from .._timings import timings

if t.TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from urllib.parse import SplitResult

Data = t.Mapping[str, t.Any]

# The name of the chain's DA node among the peers whose ports were tried.
DA = "DA"

# From here on there is nothing left that a migration would change: hosts are judged, their being clean is not.
_MIGRATED = ("committed", "cluster")


class Evidence(t.NamedTuple):
    """What was read.

    ``sequencer``: the profile of ``sequencer_info``, empty where it could not be read. ``hosts``: what ``host_info``
    returned by member, or the failed/unreachable result. ``members``: name, node_id, address, peer_id of each member.
    ``sequencers``/``joiners``: names in the two groups. ``rtt``, ``ports``: what each member measured, by member; a
    port has ``opened`` where something was made to listen there for the probe. ``outside``: ports as the controller
    found them.
    ``options``: ``state``, ``seed``, ``raft_port``, ``overrides``, ``timing_profile``, ``timing_overrides``,
    ``min_free_bytes``, ``max_clock_offset`` (seconds), ``forks``, ``application_flags`` (by member, its own).
    """

    sequencer: Data
    hosts: Mapping[str, Data]
    members: Sequence[Data]
    sequencers: Sequence[str]
    joiners: Sequence[str]
    rtt: Mapping[str, Sequence[Data]]
    ports: Mapping[str, Sequence[Data]]
    options: Data
    outside: Sequence[Data] = ()

    @property
    def migrated(self) -> bool:
        """Whether the members are a cluster already, or on the way into one."""
        return self.options.get("state") in _MIGRATED

    @property
    def answering(self) -> dict[str, Data]:
        """The hosts that gave facts."""
        return {name: host for name, host in self.hosts.items() if not failure(host)}


def failure(host: Data | None) -> str | None:
    """Say why there are no facts of a host, None where there are."""
    if not host:
        return "no answer"
    if host.get("failed") or host.get("unreachable"):
        return str(host.get("msg") or "no message")
    return None


def longest_trip_ms(evidence: Evidence) -> float:
    """Return the longest round trip between members that were read; 0 where none was measured."""
    return max(
        (
            float(peer.get("max_ms") or 0)
            for name, peers in evidence.rtt.items()
            for peer in peers or []
            if name in evidence.answering and str(peer.get("peer")) in evidence.answering
        ),
        default=0.0,
    )


def raft_timings(evidence: Evidence) -> dict[str, str]:
    """Return the timings that members will get; TimingError where the operator's choice is none."""
    return timings(
        longest_trip_ms(evidence),
        profile=str(evidence.options.get("timing_profile") or "relaxed"),
        overrides=evidence.options.get("timing_overrides") or {},
    )


def is_loopback(host: str) -> bool:
    """Tell whether only the host itself is reached there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def endpoint(address: str) -> SplitResult:
    """Return the parts of a URL, or of a bare host:port."""
    return urlsplit(address if "//" in address else f"//{address}")


def is_lazy(profile: Data) -> bool:
    """Tell whether the chain makes blocks only where there is something to put into them."""
    return str(value(profile, "node.lazy_mode")).lower() == "true"


def value(profile: Data, key: str) -> t.Any:
    """Return what the running node uses for a setting."""
    return ((profile.get("effective") or {}).get(key) or {}).get("value")


def size(count: float) -> str:
    """Return a number of bytes in words."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
