# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""What a run will do: the steps, how long blocks will pause, and a fingerprint by which a person approves all of it."""

from __future__ import annotations

import hashlib
import json
import typing as t

from ._migration import secret_files
from ._preflight.evidence import is_lazy, size
from ._timings import duration_ms

if t.TYPE_CHECKING:
    from collections.abc import Sequence

Data = t.Mapping[str, t.Any]

# What the cluster is made from, and nothing that moves on while the chain does.
_PARTS = {
    "chain": ("chain_id", "genesis_sha256", "proposer_address", "namespaces"),
    "binary": ("binary", "binary_sha256"),
    "service": ("unit", "user", "group", "home", "db_path", "environment_files", "limit_nofile", "timeout_stop_s"),
    "settings": ("evnode_flags", "application_flags", "environment", "effective", "signer", "passphrase_file"),
}
_MEMBER = ("name", "node_id", "address", "sequencer")
_SEPARATOR = "."

# Seconds, lowest and highest, each seen on the real node and on the stand-in, on two cores (make bench).
_STOP = (0.05, 0.6)
_AGREE = (0.15, 0.4)
_START = (0.25, 1.5)
_TAKE_OVER = (0.05, 0.15)
_BLOCK_LATE = 0.08
# A first leader asks its peers for block N at once and then after a second: the second time where all started with it.
_ASK_AGAIN_S = 1.0
_LAST_COPY = (0.05, 1.5)


class Pause(t.NamedTuple):
    """For how long no block will be made: seconds, at the least and at the most."""

    low: float
    high: float


class Plan(t.NamedTuple):
    """The whole: ``steps`` in order, one sentence each, ``pause`` (None where nothing pauses) and ``fingerprint``.

    ``failures``: what happens to the chain where something goes wrong, in the order of the steps.
    """

    steps: list[str]
    pause: Pause | None
    failures: list[str]
    fingerprint: str


def plan(profile: Data, members: Sequence[Data], options: Data) -> Plan:
    """Return the plan of a run.

    ``options``: ``state``, ``seed``, ``anchor_host``, ``raft_dir``, ``raft_port``, ``config_dir``, ``timings``,
    ``rtt_max_ms``, ``store_bytes`` (None where it was not read), and ``choices``, everything that the operator may set
    and that changes what is done.
    """
    steps = migration_steps(profile, members, options)
    single = options.get("state") == "single"
    pause = expected_pause(profile, options) if single else None
    return Plan(steps, pause, failures(members) if single else [], fingerprint(profile, members, options))


def failures(members: Sequence[Data]) -> list[str]:
    """Return what happens to the chain where a run fails or its controller dies, before, at and after the cutover."""
    source = next((member["name"] for member in members if member.get("sequencer")), "the sequencer")
    quorum = len(members) // 2 + 1
    return [
        f"Before the cutover: {source} goes on as it is. Run again, or leave it: the joiners only follow.",
        f"Up to the point of no return: {source}'s own host starts the single sequencer again, whoever else is gone.",
        f"After it: {quorum} of {len(members)} members go on as the cluster. This run takes back one without a block, "
        "--tags rollback any other, and keeps every block.",
    ]


def fingerprint(profile: Data, members: Sequence[Data], options: Data) -> str:
    """Return a name for exactly this plan; part by part, so that of two it can be told where they differ."""
    parts: dict[str, t.Any] = {name: {key: profile.get(key) for key in keys} for name, keys in _PARTS.items()}
    parts["members"] = [{key: member.get(key) for key in _MEMBER} for member in members]
    parts["choices"] = {"state": options.get("state"), **(options.get("choices") or {})}
    return _SEPARATOR.join(f"{name}-{_digest(value)}" for name, value in sorted(parts.items()))


def _digest(value: t.Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:10]


def moved(approved: str, now: str) -> list[str]:
    """Return the parts in which two fingerprints differ, all where the approved one is none of ours."""
    known = [dict(part.rsplit("-", 1) for part in text.split(_SEPARATOR) if "-" in part) for text in (approved, now)]
    return sorted(name for name in known[0].keys() | known[1].keys() if known[0].get(name) != known[1].get(name))


def expected_pause(profile: Data, options: Data) -> Pause:
    """Add up the parts of the window: stop, equal heads, start, election, the first leader's last block, block time.

    The first leader stands for election after one to two times its heartbeat time-out (hashicorp/raft).
    """
    # A sequencer that needs longer than its block time for a block will need it for the next one as well.
    late = 0.0 if is_lazy(profile) else float((profile.get("node") or {}).get("interval_s") or 0)
    block = max(float(profile.get("block_time_s") or 1.0), late)
    heartbeat = duration_ms(str((options.get("timings") or {}).get("heartbeat_timeout") or "1s")) / 1000
    trips = float(options.get("rtt_max_ms") or 0) / 1000
    peers = 0.0 if options.get("anchor_host") else _ASK_AGAIN_S
    copied = _LAST_COPY if options.get("seed") == "copy" else (0.0, 0.0)
    low = _STOP[0] + _AGREE[0] + copied[0] + _START[0] + heartbeat + _TAKE_OVER[0] + peers + block
    high = _STOP[1] + _AGREE[1] + copied[1] + _START[1] + 2 * heartbeat + _TAKE_OVER[1] + peers + block + _BLOCK_LATE
    # A handful of messages go to and fro between the stop and the first block.
    return Pause(round(low + 4 * trips, 2), round(high + 12 * trips + (0.1 if not peers else 0.15), 2))


def migration_steps(profile: Data, members: Sequence[Data], options: Data) -> list[str]:
    """Return what a run will do, in order, one sentence a step, with the point of no return marked.

    ``options``: ``state``, ``seed``, ``anchor_host``, ``raft_dir``, ``raft_port``, ``config_dir``, ``timings``,
    ``store_bytes``, ``client_bytes`` (None where no client's data are copied).
    """
    if options.get("state") == "cluster":
        return ["Already migrated: every member runs in Raft mode. Nothing to do."]
    source = next((member["name"] for member in members if member.get("sequencer")), "the sequencer")
    joiners = [str(member["name"]) for member in members if not member.get("sequencer")]
    names = ", ".join(joiners)
    if options.get("state") == "committed":
        return [f"The cutover was committed before: start the members that are not in Raft mode yet ({names})."]
    unit = f"{profile.get('unit')}.service"
    files = ", ".join(entry["path"] for entry in secret_files(profile))
    owner = (
        f"{profile.get('user')}, of environment files root" if profile.get("environment_files") else profile.get("user")
    )
    stored = options.get("store_bytes")
    large = f" ({size(float(stored))} each)" if stored else ""
    clients = options.get("client_bytes")
    both = f"{large} and of the data of the execution client ({size(float(clients))} each)" if clients else large
    seeds = {
        "follow": f"run as plain full nodes and fetch the chain{large} from the sequencer while it goes on",
        "copy": f"are given a copy of the store{large} while the chain goes on, and the rest of it inside the window",
        "copy_then_follow": f"are given a copy of the store{both} while the chain goes on, the last part while it "
        "stands still for some seconds, then follow as full nodes",
    }
    steps = [
        f"{names}: create the user {profile.get('user')}, {profile.get('home')} and {options.get('raft_dir')}; "
        f"copy {profile.get('binary')} from {source}; install {unit}, not startable yet.",
        f"{names}: write {files} (mode 0600, owner {owner}).",
        f"{names}: {seeds[str(options.get('seed', 'follow'))]}.",
    ]
    if options.get("anchor_host"):
        steps.append(f"{options['anchor_host']}: run a temporary full node as anchor; it is removed at the end.")
    timings = options.get("timings") or {}
    shown = ", ".join(f"{key} {value}" for key, value in timings.items() if key != "profile")
    steps += [
        f"all members: write {options.get('config_dir')}/{profile.get('unit')}/raft "
        f"(Raft port {options.get('raft_port')}{'; ' + shown if shown else ''}).",
        f"{names}: seal the membership in the Raft log, one machine at a time.",
        f"{source}: put a drop-in beside {unit} that reads the mode from a file; the mode stays single.",
        f"{source}: stop right after a block; all members prove equal heads.",
        f"{source}: POINT OF NO RETURN, one rename switches it to Raft. Before it, {source} produces again by itself.",
        "all members: start together; the cluster makes the next block.",
        "all members: compare blocks and hashes; enable the units; restart the followers one by one.",
    ]
    return [f"{number}. {step}" for number, step in enumerate(steps, start=1)]
