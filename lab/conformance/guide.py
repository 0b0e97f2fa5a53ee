# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The upstream guide, followed to the letter on loopback, and what became of the chain.

    EVNODE_BINARY=/path/to/binary python3 lab/conformance/guide.py --runs 10

Kept from the guide: a copy of node-1's data while it is stopped (step 5), node-1 restarted and producing while the
others are prepared, its Raft timings, five starts without a supervisor within a second (step 9). Changed, since the
guide cannot start otherwise: a concrete address instead of 0.0.0.0, the passphrase by file, the DA address, signer path
and ports of each home kept.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    __package__ = "conformance"

from .cluster import Head, grow, offline_chain, offline_head
from .node import Bench, ConformanceError, Json, Node, Settings, World

GUIDE_RAFT: dict[str, Any] = {
    "heartbeat_timeout": "92ms",
    "election_timeout": "368ms",
    "leader_lease_timeout": "46ms",
    "send_timeout": "50ms",
    "trailing_logs": 18000,
    "snapshot_threshold": 5000,
    "snap_count": 3,
}
MEMBERS = 5
QUORUM = 3
# Seconds. The first leader may wait 30 s for its peers, so a stall is only certain after that.
STALL_AFTER = 36.0
SETTLE = 6.0
SPREAD = 1.0


@dataclass
class Outcome:
    """What became of the chain in one run."""

    healthy: int
    """Members at the end that run, answer, and agree with the most advanced chain, which continues the original one."""
    fork: bool
    """Blocks were signed twice: two stores, or a store and the chain as it was before the cutover, differ at a height.

    Also where a store holds the old blocks and goes on with one whose parent is another.
    """
    stalled: bool
    """No block was made any more at the end."""
    head: int
    """Height at the final stop of node-1."""
    copied_at: int
    """Height of the copies on the joiners."""
    tip: int
    """Highest height in any store at the end."""
    forked: dict[str, int]
    """Lowest height at which a member's store differs from the chain before the cutover, or from the longest store."""
    ended: dict[str, int]
    """Exit codes of the members that had ended by themselves."""
    reasons: dict[str, str]
    """Last ``Error:`` line of each of them."""


def follow_the_guide(bench: Bench, chance: random.Random, block_time: str = "1s") -> Outcome:
    """One run of steps 2 to 10. Raises :class:`ConformanceError` if the chain cannot be prepared."""
    first = bench.sequencer(block_time=block_time)
    copied = grow(first, 3)
    members = [first, *(bench.joiner(f"node-{number}", first, data=True) for number in range(2, MEMBERS + 1))]
    first.start()
    first.wait_height(copied.height + 3)
    if first.stop() != 0:
        raise ConformanceError(f"expected node-1 to stop with 0\n{first.describe()}")
    head = offline_head(first)
    original = offline_chain(first)
    for member in members:
        member.as_member(members, GUIDE_RAFT)
        member.raft_dir.mkdir()
    begin = time.monotonic()
    offsets = {member.name: chance.uniform(0.0, SPREAD) for member in members}
    for member in sorted(members, key=lambda member: offsets[member.name]):
        time.sleep(max(0.0, begin + offsets[member.name] - time.monotonic()))
        member.start()
    stalled = _watch(members)
    return _judge(members, original, head, copied.height, stalled)


def _produced(members: Sequence[Node]) -> int:
    return sum(member.log().count("produced block") for member in members)


def _watch(members: Sequence[Node]) -> bool:
    return watch(lambda: _produced(members), lambda: sum(member.alive for member in members))


def watch(blocks: Callable[[], int], living: Callable[[], int]) -> bool:
    """Waits until the outcome is clear; whether the chain has stalled.

    ``blocks`` counts the blocks that all members together have produced, ``living`` the members that run.
    """
    started = time.monotonic()
    produced, changed_at = 0, started
    first_block_at: float | None = None
    while True:
        now = time.monotonic()
        count = blocks()
        if count > produced:
            produced, changed_at = count, now
            first_block_at = first_block_at or now
        if living() < QUORUM and now - changed_at > 3.0:
            return True
        if first_block_at is not None and now - first_block_at > SETTLE and now - changed_at < 3.0:
            return False
        if now - changed_at > STALL_AFTER:
            return True
        time.sleep(0.1)


def _judge(members: Sequence[Node], original: list[Json], head: Head, copied_at: int, stalled: bool) -> Outcome:
    answering: dict[str, int] = {}
    for member in members:
        if member.alive and (height := member.height_or_none()):
            answering[member.name] = height
    ended = {member.name: member.exit_code for member in members if not member.alive and member.exit_code is not None}
    reasons = {member.name: _reason(member) for member in members if member.name in ended}
    for member in members:
        member.signal(signal.SIGTERM)
    for member in members:
        try:
            member.wait_exit(20.0)
        except ConformanceError:
            member.kill()
    chains = {member.name: offline_chain(member) for member in members}
    return judge(chains, original, head, answering, copied_at, stalled, ended, reasons)


def judge(
    chains: Mapping[str, Sequence[Json]],
    original: Sequence[Json],
    head: Head,
    answering: Mapping[str, int],
    copied_at: int,
    stalled: bool,
    ended: dict[str, int],
    reasons: dict[str, str],
) -> Outcome:
    """The outcome of a run, out of the chains from height 1 in all members' stores and in node-1 at its final stop.

    ``original`` ends at ``head``, whose hash is the parent that the next block has to have. ``answering`` is the height
    of each member that still answered at the end.
    """
    longest = max(chains.values(), key=len)
    seams = {name: _departs(chain, original, head) or _differ(chain, longest) for name, chain in chains.items()}
    fork = any(seams.values())
    tip = len(longest)
    continues = tip > head.height and not _departs(longest, original, head)
    healthy = 0
    for name, height in answering.items():
        agrees = height > len(original) and len(chains[name]) >= tip - 2 and not _differ(chains[name], longest)
        healthy += continues and not stalled and agrees
    forked = {name: height for name, height in seams.items() if height}
    return Outcome(healthy, fork, stalled, len(original), copied_at, tip, forked, ended, reasons)


def _departs(chain: Sequence[Json], original: Sequence[Json], head: Head) -> int:
    """The lowest height at which a chain leaves the original, by another block or another parent; 0 if it does not."""
    if found := _differ(chain, original):
        return found
    if len(chain) > head.height and chain[head.height]["header"]["lastHeaderHash"] != head.hash:
        return head.height + 1
    return 0


def _differ(one: Sequence[Mapping[str, object]], other: Sequence[Mapping[str, object]]) -> int:
    """The lowest height at which two chains from height 1 hold different blocks; 0 where one begins with the other."""
    pairs = enumerate(zip(one, other, strict=False), 1)
    return next((height for height, (left, right) in pairs if left != right), 0)


def _reason(member: Node) -> str:
    lines = [line for line in member.log().splitlines() if line.startswith("Error: ")]
    return lines[-1][len("Error: ") :][:120] if lines else ""


def run_guide(
    runs: int, settings: Settings | None = None, *, seed: int | None = None, block_time: str = "1s"
) -> list[Outcome]:
    """Follows the guide ``runs`` times, each on a chain of its own; prints a line for each run."""
    chance = random.Random(seed)
    outcomes: list[Outcome] = []
    with World(settings or Settings.from_environment()) as world:
        for number in range(1, runs + 1):
            with world.bench() as bench:
                outcomes.append(follow_the_guide(bench, chance, block_time))
            print(line(number, outcomes[-1]), flush=True)
    return outcomes


def results(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """What the bench keeps of each run: ``healthy`` (int), ``fork`` (bool), ``stalled`` (bool)."""
    return [{"healthy": outcome.healthy, "fork": outcome.fork, "stalled": outcome.stalled} for outcome in outcomes]


def line(number: int, outcome: Outcome) -> str:
    """One row of the table."""
    ends = ", ".join(f"{name} {code} ({outcome.reasons.get(name, '')})" for name, code in outcome.ended.items()) or "-"
    forks = ", ".join(f"{name} {height}" for name, height in outcome.forked.items()) or "-"
    return (
        f"{number:>3}  healthy {outcome.healthy}/{MEMBERS}  {'FORK' if outcome.fork else 'ok  '}  "
        f"{'STALLED' if outcome.stalled else 'running'}  copied at {outcome.copied_at}, stopped at {outcome.head}, "
        f"tip {outcome.tip}  other blocks from: {forks}  ended: {ends}"
    )


def table(outcomes: Sequence[Outcome]) -> str:
    """All rows and a sum."""
    rows = [line(number, outcome) for number, outcome in enumerate(outcomes, 1)]
    good = sum(outcome.healthy == MEMBERS and not outcome.fork and not outcome.stalled for outcome in outcomes)
    forks, stalls = sum(outcome.fork for outcome in outcomes), sum(outcome.stalled for outcome in outcomes)
    return "\n".join([*rows, f"the guide: {len(outcomes)} runs, {good} healthy, {forks} forked, {stalls} stalled"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: the table on stdout, or JSON."""
    parser = argparse.ArgumentParser(description="Follow the upstream guide on loopback, report what it did.")
    runs = int(os.environ.get("GUIDE_RUNS") or 10)
    parser.add_argument("--runs", type=int, default=runs, help="number of runs (default 10, or GUIDE_RUNS)")
    parser.add_argument("--block-time", default="1s", help="block time of the chain (default 1s)")
    parser.add_argument("--seed", type=int, default=None, help="seed of the random start offsets")
    parser.add_argument("--json", type=Path, default=None, help="also write the runs to this file")
    chosen = parser.parse_args(arguments)
    outcomes = run_guide(chosen.runs, seed=chosen.seed, block_time=chosen.block_time)
    if chosen.json is not None:
        chosen.json.parent.mkdir(parents=True, exist_ok=True)
        chosen.json.write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=2) + "\n")
    print(table(outcomes).splitlines()[-1])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
