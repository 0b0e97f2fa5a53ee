# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The chain as the members hold it, and who made which block."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from lab import chain, machine
from lab.rpc import Block, RpcError
from lab.settings import Host, Settings
from lab.shell import wait_for

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def height(lab: Settings, host: Host) -> int | None:
    """Height of a host's store; None when its node does not answer."""
    rpc = chain.node(lab, host)
    try:
        return rpc.height()
    except RpcError:
        return None
    finally:
        rpc.close()


def wait_for_height(lab: Settings, wanted: int, hosts: Iterable[Host] | None = None, *, timeout: float = 60.0) -> None:
    """Wait until all these hosts (default: all) hold a block; LabError tells where each one is."""

    def missing() -> str | None:
        heights = {host.name: height(lab, host) for host in (lab.hosts if hosts is None else hosts)}
        low = {name: found for name, found in heights.items() if found is None or found < wanted}
        return f"heights {heights}" if low else None

    wait_for(f"block {wanted}", missing, timeout=timeout, interval=0.2)


def blocks(lab: Settings, host: Host, first: int, last: int) -> list[Block]:
    """Blocks first to last out of a host's own store; RpcError when one is missing."""
    rpc = chain.node(lab, host)
    try:
        return [rpc.block(number) for number in range(first, last + 1)]
    finally:
        rpc.close()


def parent_hash(block: Block) -> str:
    """Hash of the block before, as the journals write it: hex."""
    return base64.b64decode(block.last_header_hash).hex()


def disagreements(lab: Settings, first: int, last: int, hosts: Sequence[Host] | None = None) -> list[str]:
    """Blocks in which the stores of these hosts (default: all) differ, or which are not younger than the one before.

    The parent's hash is part of the header, so one differing block shows in every later one.
    """
    words = []
    chosen = list(lab.hosts if hosts is None else hosts)
    chains = {host.name: blocks(lab, host, first, last) for host in chosen}
    reference = chains[chosen[0].name]
    for earlier, later in pairwise(reference):
        if later.time_ns <= earlier.time_ns:
            words.append(f"block {later.height} is not younger than {earlier.height}")
    for name, found in chains.items():
        for ours, theirs in zip(reference, found, strict=True):
            if ours.header != theirs.header or ours.transactions != theirs.transactions:
                words.append(f"{name} has another block {theirs.height} than {chosen[0].name}")
    return words


def gaps_s(found: Sequence[Block]) -> list[float]:
    """Seconds between neighbouring blocks, by the times in their headers."""
    return [(later.time_ns - earlier.time_ns) / 1e9 for earlier, later in pairwise(found)]


def longest_pause_s(lab: Settings, host: Host, first: int) -> float:
    """Longest time in seconds between two neighbouring blocks of a host's store, from block `first` to its head."""
    return max(gaps_s(blocks(lab, host, first, height(lab, host) or 0)))


def stops(lab: Settings, host: Host, between: tuple[Block, Block] | None = None) -> int:
    """How often a host's node has ended a clean stop, ever or between the times of two blocks."""
    command = ["journalctl", "--no-pager", "--output=cat", f"--unit={lab.layout.unit}.service"]
    if between is not None:
        since, until = (f"@{block.time_ns / 1e9:.6f}" for block in between)
        command += [f"--since={since}", f"--until={until}"]
    return machine.execute(host, command).stdout.count("full node halted successfully")


def journal(lab: Settings, host: Host, *, run: str | None = None) -> list[dict[str, Any]]:
    """The collection's journal on a host, in order; `run` leaves out all other runs."""
    path = machine.root(host) / f"var/lib/evnode-ha/{lab.layout.unit}/journal.jsonl"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    entries = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return [entry for entry in entries if run is None or entry["run"] == run]


def events(lab: Settings, host: Host, *, run: str | None = None) -> list[str]:
    """The names of what happened on a host, in order."""
    return [str(entry["event"]) for entry in journal(lab, host, run=run)]


def receipt(lab: Settings, host: Host) -> dict[str, Any]:
    """What the last window left on a host; empty when there was none."""
    path = machine.root(host) / f"var/lib/evnode-ha/{lab.layout.unit}/window-receipt.json"
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return data


def heights_made(log: str) -> list[int]:
    """Heights of the blocks that a node says it made itself, as often and in the order in which its log says so."""
    lines = (line for line in _COLOUR.sub("", log).splitlines() if "produced block" in line)
    return [int(match[1]) for line in lines if (match := re.search(r'"?height"?[=:]"?(\d+)', line))]


def produced(lab: Settings, host: Host) -> list[int]:
    """Heights of all blocks that the host's node says it made itself, by its log."""
    unit = f"{lab.layout.unit}.service"
    done = machine.execute(
        host,
        ["journalctl", "--no-pager", "--quiet", "--all", "--output=cat", f"--unit={unit}", "--grep=produced block"],
        check=False,
    )
    return heights_made(done.stdout)


def made_twice(made: Mapping[str, Sequence[int]]) -> list[str]:
    """Heights that were made more than once, by two hosts or by one, in words; empty when there are none."""
    makers: dict[int, list[str]] = {}
    for name, heights in made.items():
        for number in heights:
            makers.setdefault(number, []).append(name)
    if not makers:
        return ["no host's log names a block that it made, so a second writer would not be seen"]
    twice = {number: names for number, names in sorted(makers.items()) if len(names) > 1}
    return [f"block {number} was made by {' and '.join(names)}" for number, names in twice.items()]


def second_writers(lab: Settings) -> list[str]:
    """Heights that were signed more than once, by what the nodes' logs say; empty when there are none."""
    return made_twice({host.name: produced(lab, host) for host in lab.hosts})[:5]


def shut_out(lab: Settings) -> list[str]:
    """Hosts on which a window has closed a port to clients and nobody has opened it again, in words."""
    tables = {host.name: machine.execute(host, ["nft", "list", "tables"]).stdout for host in lab.hosts}
    return [f"{name} still keeps clients out" for name, shown in tables.items() if "evnode_ha" in shown]


def leaders(lab: Settings) -> list[str]:
    """Names of the hosts whose node says that it leads a Raft cluster."""
    found = []
    for host in lab.hosts:
        rpc = chain.node(lab, host)
        if rpc.is_leader():
            found.append(host.name)
        rpc.close()
    return found


def mode(lab: Settings, host: Host) -> str | None:
    """What the switch of a host points at; None when there is none."""
    link = machine.root(host) / f"etc/evnode-ha/{lab.layout.unit}/current"
    return os.path.basename(os.readlink(link)) if link.is_symlink() else None


def cluster_problems(lab: Settings, n: int, digest: str) -> list[str]:
    """What keeps the five hosts from being one healthy cluster that went on from block `n`; waits for three blocks."""
    wait_for_height(lab, n + 3)
    tip = min(found for host in lab.hosts if (found := height(lab, host)) is not None)
    words = disagreements(lab, 1, tip) + second_writers(lab) + shut_out(lab)
    for host in lab.hosts:
        (first,) = blocks(lab, host, n + 1, n + 1)
        if parent_hash(first) != digest:
            words.append(f"{host.name}: block {n + 1} stands on {parent_hash(first)}, block {n} was {digest}")
        if mode(lab, host) != "raft":
            words.append(f"{host.name} is in mode {mode(lab, host)}")
    leading = leaders(lab)
    return words if len(leading) == 1 else [*words, f"leaders: {leading}"]


def single_problems(lab: Settings, before: Sequence[Block], *, cluster: bool = False) -> list[str]:
    """What keeps node-1 from being the single sequencer again, on top of the blocks `before`; waits for three more.

    `cluster`: the other hosts may have made some of them.
    """
    host, *others = lab.hosts
    wait_for_height(lab, before[-1].height + 3, [host])
    tip = height(lab, host) or 0
    words = disagreements(lab, before[0].height, tip, [host]) + second_writers(lab) + shut_out(lab)
    for old, new in zip(before, blocks(lab, host, before[0].height, before[-1].height), strict=True):
        if old != new:
            words.append(f"block {old.height} is not what it was")
    if leading := leaders(lab):
        words.append(f"leaders: {leading}")
    unit = lab.layout.unit
    shown = machine.execute(host, ["systemctl", "cat", f"{unit}.service"]).stdout
    if "evnode-ha" in shown:
        words.append("node-1's unit is not the operator's own")
    if mode(lab, host) not in (None, "single"):
        words.append(f"node-1 is in mode {mode(lab, host)}")
    for other in others:
        if mode(lab, other) == "raft":
            words.append(f"{other.name} is in mode raft")
        if not cluster and produced(lab, other):
            words.append(f"{other.name} has made blocks")
    for every in lab.hosts:
        if (machine.root(every) / f"run/evnode-ha/{unit}/frozen").exists():
            words.append(f"{every.name} is frozen")
    return words
