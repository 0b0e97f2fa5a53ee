# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The floor: the same hosts, staged and sealed by the product, turned into a cluster by local timers and nothing else.

Every host watches its own node from an agreed moment on, stops it at the next block, renames the switch and starts it.
Nobody asks whether the others hold the same block. What the product's window costs beyond that is its coordination.

Staging takes a minute, so one staged set of hosts is fired several times: afterwards all five are stopped, the Raft
directories are put back as sealing left them, the switches are turned back, and the chain goes on where it was.
"""

from __future__ import annotations

import base64
import concurrent.futures
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lab import chain, fleet, machine
from lab.bench import chains, migration, stats
from lab.errors import LabError
from lab.rpc import RpcError
from lab.settings import Host, Settings
from lab.shell import run

FIRE = Path(__file__).with_name("fire.py")
STAGE = "lab/bench/stage.yml"
FIRE_LIMIT_S = 20.0


@dataclass
class Floor:
    """One firing. Seconds unless the name says otherwise."""

    anchor: bool
    healthy: int = 0
    fork: bool = False
    n: int | None = None
    gap_s: float | None = None
    parts_s: dict[str, float] = field(default_factory=dict)
    spread_ms: float | None = None
    load: float | None = None
    failed: str = ""


def stage(lab: Settings, anchor: bool, log: Path) -> None:
    """A fresh chain, and everything that a migration does before its window. LabError when that fails."""
    migration.fresh_chain(lab)
    code, _seconds = migration.play(lab, STAGE, log, variables={"evnode_anchor": anchor})
    if code != 0:
        raise LabError(f"{STAGE} ended with {code}: {migration.last_words(log)}")
    for host in lab.hosts[1:]:
        raft = raft_dir(lab, host)
        machine.execute(host, ["cp", "--archive", raft, f"{raft}.sealed"])


def raft_dir(lab: Settings, host: Host) -> str:
    """The Raft directory that the staged configuration names."""
    path = machine.root(host) / "etc/evnode-ha" / lab.layout.unit / "raft" / "evnode.yaml"
    return str(yaml.safe_load(path.read_text(encoding="utf-8"))["raft"]["raft_dir"])


def switch(lab: Settings) -> str:
    """The switch between the modes, on a host."""
    return f"/etc/evnode-ha/{lab.layout.unit}/current"


def rehearse(lab: Settings, anchor: bool) -> Floor:
    """Fire once and measure. LabError where the hosts do not come out of it as a cluster led by the first."""
    floor = Floor(anchor)
    first = lab.hosts[0]
    witness = _record(lab)
    at = _between_blocks(lab)
    with concurrent.futures.ThreadPoolExecutor(len(lab.hosts)) as pool:
        moments = list(pool.map(lambda host: _fire(lab, host, at), lab.hosts))
    floor.n = moments[0]["height"]
    floor.load = round(os.getloadavg()[0], 2)
    trouble = chains.healthy_members(lab, floor.n, timeout=60)
    floor.healthy = sum(not words for words in trouble.values())
    stores = chains.read_members(lab)
    conflicts = stats.conflicts({"before": witness.digests, **{name: store.digests for name, store in stores.items()}})
    glued = [height for store in stores.values() for height in stats.glued(store.parents, witness.hashes)]
    floor.fork = bool(conflicts or glued)
    problems = [f"{name} {words}" for name, words in trouble.items() if words]
    problems += [f"fork at {height}" for height in [*conflicts, *glued][:1]]
    heights = sorted({moment["height"] for moment in moments})
    problems += [f"stopped at different heights {heights}"] if len(heights) > 1 else []
    times = {height: when for store in stores.values() for height, when in store.times.items()}
    if floor.n in times and floor.n + 1 in times:
        block_ns, next_ns = times[floor.n], times[floor.n + 1]
        floor.gap_s = round((next_ns - block_ns) / 1e9, 4)
        starts = dict(zip(lab.hosts, fleet.each(lab.hosts, lambda host: started_at(lab, host)), strict=True))
        floor.spread_ms = stats.spread_ms(starts.values())
        marks = chains.log_marks(lab, first, starts[first])
        floor.parts_s = stats.floor_parts(block_ns=block_ns, next_ns=next_ns, started=starts[first], marks=marks)
        floor.parts_s["stop_s"] = round(moments[0]["stopped"] - moments[0]["seen"], 4)
    else:
        problems.append(f"no member holds blocks {floor.n} and {floor.n + 1}")
    floor.failed = "; ".join(problems)
    return floor


def put_back(lab: Settings) -> None:
    """Undo a firing: staged and sealed again, the first produces alone. LabError when it is too late for that."""
    first, *others = lab.hosts
    unit = f"{lab.layout.unit}.service"
    node = chain.node(lab, first)
    leads = node.is_leader()
    node.close()
    if not leads:
        raise LabError(f"{first.name} does not lead, so others may hold more than it")
    # The leader first: the others call no election for five seconds, so no block is made that it does not hold.
    for group in ([first], others):
        fleet.each(group, lambda host: machine.execute(host, ["systemctl", "stop", unit], check=False, timeout=100))
    for host in lab.hosts:
        raft = raft_dir(lab, host)
        machine.execute(host, ["rm", "-rf", raft])
        if host == first:
            owner = f"{lab.layout.user}:{lab.layout.group}"
            machine.execute(host, ["mkdir", "--mode=0700", raft])
            machine.execute(host, ["chown", owner, raft])
        else:
            machine.execute(host, ["cp", "--archive", f"{raft}.sealed", raft])
        mode = "single" if host == first else "follower"
        machine.execute(host, ["ln", "--symbolic", "--force", "--no-dereference", mode, switch(lab)])
        machine.execute(host, ["systemctl", "reset-failed", unit], check=False)
    for host in lab.hosts:
        machine.execute(host, ["systemctl", "start", unit])
    height = chain.wait_for_blocks(lab, first, above=0)
    height = chain.wait_for_blocks(lab, first, above=height + 1)
    seen = chains.wait_together(lab, height - 1, timeout=60)
    behind = [host.name for host in lab.hosts if seen.get(host.name, 0) < height]
    if behind:
        raise LabError(f"after the firing was undone, {', '.join(behind)} did not follow to {height}")


def started_at(lab: Settings, host: Host) -> float:
    """When the unit's process was started, in seconds since 1970 with microseconds. LabError if it never was."""
    argv = [
        "systemctl",
        "show",
        "--timestamp=us",
        "--property=ExecMainStartTimestampMonotonic",
        f"{lab.layout.unit}.service",
    ]
    shown = machine.execute(host, argv).stdout.strip().partition("=")[2]
    micros = int(shown or 0)
    if not micros:
        raise LabError(f"{lab.layout.unit} on {host.name} was never started")
    return time.time() - (time.clock_gettime(time.CLOCK_MONOTONIC) - micros / 1e6)


def _record(lab: Settings) -> chains.Store:
    node = chain.node(lab, lab.hosts[0])
    try:
        return chains.read(node)
    except RpcError as error:
        raise LabError(f"the chain could not be read before the firing: {error}") from error
    finally:
        node.close()


def _between_blocks(lab: Settings) -> float:
    """A moment some blocks ahead, in the middle between two of them."""
    node = chain.node(lab, lab.hosts[0])
    try:
        head = node.height()
        last, before = node.block(head), node.block(head - 1)
    finally:
        node.close()
    interval = (last.time_ns - before.time_ns) / 1e9
    ahead = last.time_ns / 1e9 + interval / 2
    # The scripts need a moment to start.
    while ahead < time.time() + 1.5:
        ahead += interval
    return ahead


def _fire(lab: Settings, host: Host, at: float) -> dict[str, Any]:
    plan = {
        "at": at,
        "rpc_port": lab.layout.ports["rpc"],
        "unit": f"{lab.layout.unit}.service",
        "current": switch(lab),
        "leads": host.number == 1,
        "limit": FIRE_LIMIT_S,
    }
    argument = base64.b64encode(json.dumps(plan).encode()).decode()
    # Read from standard input, so that nothing has to be put on the host.
    argv = machine.enter_argv(host, ["python3", "-I", "-", argument])
    done = run(argv, stdin=FIRE.read_text(encoding="utf-8"), timeout=FIRE_LIMIT_S + 90)
    moments: dict[str, Any] = json.loads(done.stdout)
    return moments
