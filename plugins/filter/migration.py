# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The decisions of the playbooks, as filters over what the members returned."""

from __future__ import annotations

import typing as t

from ansible_collections.evnode.sequencer_ha.plugins.plugin_utils import _member_files as files
from ansible_collections.evnode.sequencer_ha.plugins.plugin_utils import _migration as decide
from ansible_collections.evnode.sequencer_ha.plugins.plugin_utils import _plan as planning
from ansible_collections.evnode.sequencer_ha.plugins.plugin_utils._preflight.evidence import DA, endpoint, value

if t.TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def _registered(
    names: Sequence[str], hostvars: Mapping[str, t.Any], variable: str
) -> dict[str, Mapping[str, t.Any] | None]:
    return {name: hostvars[name].get(variable) for name in names}


def migration_state(names: Sequence[str], hostvars: Mapping[str, t.Any], sequencer: Sequence[str]) -> str:
    """Return single, committed, cluster or unknown."""
    results = _registered(names, hostvars, "evnode_self")
    modes = {name: ((result or {}).get("sequencer") or {}).get("mode") for name, result in results.items()}
    return decide.migration_state(modes, sequencer[0] if sequencer else None)


def cluster_gaps(
    names: Sequence[str],
    hostvars: Mapping[str, t.Any],
    sequencer: str,
    members: Sequence[Mapping[str, t.Any]],
    port: int,
) -> dict[str, list[str]]:
    """Return where the inventory is not the cluster."""
    profiles = member_statuses(names, hostvars, "evnode_self", "sequencer")
    return decide.cluster_gaps(profiles, sequencer, members, port)._asdict()


def unreadable_members(names: Sequence[str], hostvars: Mapping[str, t.Any], variable: str, key: str) -> dict[str, str]:
    """Return a reason for every member whose registered variable lacks a key."""
    return decide.unreadable(_registered(names, hostvars, variable), key)


def settings_apart(
    names: Sequence[str], hostvars: Mapping[str, t.Any], variable: str, reference: str, own: Sequence[str] = ()
) -> list[str]:
    """Return a sentence for every setting that members have otherwise than one of them."""
    return decide.settings_apart({name: hostvars[name][variable] for name in names}, reference, own)


def at_the_tip(
    names: Sequence[str], hostvars: Mapping[str, t.Any], variable: str, sequencer: str, lag: int
) -> dict[str, str]:
    """Return a reason for every member that is behind."""
    return decide.at_the_tip(member_statuses(names, hostvars, variable), sequencer, lag)


def window_outcome(
    names: Sequence[str], hostvars: Mapping[str, t.Any], variable: str, sequencer: str, quorum: int
) -> dict[str, t.Any]:
    """Judge the window."""
    return decide.window_outcome(_registered(names, hostvars, variable), sequencer, quorum)._asdict()


def frozen_at(names: Sequence[str], hostvars: Mapping[str, t.Any], sequencer: str) -> dict[str, t.Any]:
    """Return height and hash of block N as the receipts of the window tell it."""
    return decide.frozen_at(_registered(names, hostvars, "verification_freeze"), sequencer)


def way_back_at_all(
    names: Sequence[str],
    hostvars: Mapping[str, t.Any],
    freeze: Mapping[str, t.Any] | None,
    sequencer: str,
    trust: str = "",
    left_out: Sequence[str] = (),
) -> str:
    """Say what stands in the way of going back, before anything is stopped."""
    statuses, heads = (_registered(names, hostvars, name) for name in ("verification_status", "rollback_head"))
    return decide.way_back_at_all(statuses, heads, freeze, sequencer, trust, left_out)


def way_back(
    names: Sequence[str],
    hostvars: Mapping[str, t.Any],
    freeze: Mapping[str, t.Any] | None,
    sequencer: str,
    trust: str = "",
    asked: bool = False,
) -> dict[str, t.Any]:
    """Decide the rollback case from the heads of the stopped members."""
    heads = _registered(names, hostvars, "rollback_head")
    return decide.way_back(heads, freeze, sequencer, trust, asked=asked)._asdict()


def member_statuses(
    names: Sequence[str], hostvars: Mapping[str, t.Any], variable: str, key: str = "status"
) -> dict[str, t.Any]:
    """Return the registered status of every member."""
    return {name: (hostvars[name].get(variable) or {}).get(key) or {} for name in names}


def heights_to_keep(
    names: Sequence[str], hostvars: Mapping[str, t.Any], variable: str, freeze: Mapping[str, t.Any]
) -> list[int]:
    """Return the heights that a stopped member is asked for."""
    return decide.heights_to_keep(member_statuses(names, hostvars, variable), freeze)


def heights_to_compare(
    names: Sequence[str], hostvars: Mapping[str, t.Any], variable: str, freeze: Mapping[str, t.Any]
) -> list[int]:
    """Return the heights at which the members are compared."""
    return decide.heights_to_compare(member_statuses(names, hostvars, variable), freeze)


def count_healthy(results: Sequence[Mapping[str, t.Any]]) -> int:
    """Return how many of the looped status results are of members that hold the tip."""
    statuses = {str(index): result.get("status") or {} for index, result in enumerate(results)}
    return len(decide.healthy_members(statuses))


def status_table(names: Sequence[str], hostvars: Mapping[str, t.Any], own: str, variable: str) -> list[str]:
    """Return one line a member."""
    modes = {name: ((hostvars[name].get(own) or {}).get("sequencer") or {}).get("mode") for name in names}
    # One that could not even be asked for its unit was not asked for more.
    results = {name: hostvars[name].get(variable) or hostvars[name].get(own) for name in names}
    statuses = {
        name: (result or {}).get("status") or {"reasons": {"height": decide.reason_of(result)}}
        for name, result in results.items()
    }
    return decide.status_table(modes, statuses)


def host_receipts(names: Sequence[str], hostvars: Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return what each host said of itself."""
    receipts = decide.host_receipts(_registered(names, hostvars, "preflight_host"))
    for name in names:
        proof = hostvars[name].get("preflight_signer") or {}
        if proof and not proof.get("skipped"):
            receipts[name] = {**receipts[name], "signer_address": proof.get("address"), "signer_problem": None}
            if not proof.get("address"):
                receipts[name]["signer_problem"] = str(proof.get("msg", "the signer could not be opened"))
        kms = hostvars[name].get("preflight_kms") or {}
        if kms and not kms.get("skipped"):
            receipts[name] = {**receipts[name], "kms": kms}
    return receipts


def round_trips(names: Sequence[str], hostvars: Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the round trips that each member measured."""
    return {name: (hostvars[name].get("evnode_rtt") or {}).get("rtt") or [] for name in names}


def multiaddr(member: Mapping[str, t.Any], listen_address: str, port: int = 0) -> str:
    """Return where a member, or another node on its host, listens and is dialled."""
    node = files.Member(
        name=str(member["name"]),
        node_id=str(member["node_id"]),
        address=str(member["address"]).strip("[]"),
        peer_id=str(member.get("peer_id") or ""),
        sequencer=bool(member.get("sequencer")),
        p2p_port=port or None,
    )
    return files.multiaddr(node, listen_address) if node.peer_id else files.at_member(node, listen_address)


def port_targets(members: Sequence[Mapping[str, t.Any]], own: str, ports: Sequence[int]) -> list[dict[str, t.Any]]:
    """Return every port of every other member."""
    return [
        {"peer": member["name"], "address": member["address"], "port": port}
        for member in members
        if member["name"] != own
        for port in ports
    ]


def da_targets(profile: Mapping[str, t.Any], overrides: Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
    """Return where members reach the chain's DA node; nothing where its address names no port of a host."""
    parsed = endpoint(str(overrides.get("da.address") or value(profile, "da.address") or ""))
    try:
        port = parsed.port or {"http": 80, "https": 443}.get(parsed.scheme)
    except ValueError:
        port = None
    return [{"peer": DA, "address": parsed.hostname, "port": port}] if parsed.hostname and port else []


def reached_ports(names: Sequence[str], hostvars: Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return what each member found at the ports of the others, and whether these were open for the probe."""
    opened = {name: (hostvars[name].get("preflight_listener") or {}).get("listening") or [] for name in names}
    return {
        name: [
            {**answer, "opened": answer["port"] in opened.get(answer["peer"], [])}
            for answer in (hostvars[name].get("preflight_reached") or {}).get("ports") or []
        ]
        for name in names
    }


def copy_clients(names: Sequence[str], hostvars: Mapping[str, t.Any]) -> list[dict[str, str]]:
    """Return name, public key and address of every member that made a key for the copy."""
    clients = []
    for name in names:
        made = hostvars[name].get("data_sync_key") or {}
        address = hostvars[name].get("evnode_address") or hostvars[name].get("ansible_host") or name
        if made.get("public_key"):
            clients.append({"name": name, "key": made["public_key"], "from": str(address)})
    return clients


def migration_plan(
    profile: Mapping[str, t.Any], members: Sequence[Mapping[str, t.Any]], options: Mapping[str, t.Any]
) -> dict[str, t.Any]:
    """Return steps, pause and fingerprint of what a run will do."""
    found = planning.plan(profile, members, options)
    return {**found._asdict(), "pause": found.pause and found.pause._asdict()}


def plan_moved(fingerprint: str, approved: str) -> list[str]:
    """Return the parts in which a plan is not the approved one."""
    return planning.moved(approved, fingerprint)


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., t.Any]]:
        """Name the filters."""
        return {
            "assume_peer_ids": decide.assume_peer_ids,
            "at_the_tip": at_the_tip,
            "cluster_gaps": cluster_gaps,
            "copy_clients": copy_clients,
            "count_healthy": count_healthy,
            "da_targets": da_targets,
            "heights_to_compare": heights_to_compare,
            "heights_to_keep": heights_to_keep,
            "host_receipts": host_receipts,
            "migration_plan": migration_plan,
            "plan_moved": plan_moved,
            "member_statuses": member_statuses,
            "migration_state": migration_state,
            "multiaddr": multiaddr,
            "outcome_sentence": decide.outcome_sentence,
            "raft_members": decide.raft_members,
            "port_targets": port_targets,
            "reached_ports": reached_ports,
            "round_trips": round_trips,
            "secret_files": decide.secret_files,
            "secret_placements": decide.secret_placements,
            "settings_apart": settings_apart,
            "status_table": status_table,
            "unreadable_members": unreadable_members,
            "way_back": way_back,
            "frozen_at": frozen_at,
            "way_back_at_all": way_back_at_all,
            "window_outcome": window_outcome,
            "window_summary": decide.window_summary,
        }
