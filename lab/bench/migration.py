# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One migration by the product, on a chain of its own, measured from outside."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab import chain, execution, fleet, machine
from lab.bench import chains, stats
from lab.errors import LabError
from lab.execution.traffic import Sender
from lab.settings import Settings
from lab.trial import pairs

# A whole migration; what hangs longer is ended and counted as failed.
PLAYBOOK_TIMEOUT_S = 600.0


@dataclass
class Run:
    """One migration. Seconds unless the name says otherwise; None where it was not got to."""

    anchor: bool
    seed: str
    healthy: int = 0
    fork: bool = False
    n: int | None = None
    gap_s: float | None = None
    predicted_s: list[float] | None = None
    """The least and the most that the plan foretold of the gap."""
    missed_slots: int | None = None
    parts_s: dict[str, float] = field(default_factory=dict)
    members_s: dict[str, dict[str, float]] = field(default_factory=dict)
    """The other members' own parts, as their receipts have them."""
    floor_s: float | None = None
    ratio: float | None = None
    spread_ms: float | None = None
    coordination_s: float | None = None
    total_s: float | None = None
    load: float | None = None
    """Load of the lab machine when the window had closed."""
    transactions: int | None = None
    """How many were mined, each once; an EVM chain's only."""
    inclusion_s: float | None = None
    """The longest time from a client's answer to the time of the block with the transaction."""
    continuous: bool = False
    """Each member holds every height from 1 to its head."""
    failed: str = ""
    """Why it is no good run, in words; empty for a good one."""


def fresh_chain(lab: Settings) -> None:
    """Five new hosts and a chain with one sequencer."""
    fleet.down(lab)
    chain.up(lab)


def play(
    lab: Settings, playbook: str, log: Path, *, variables: Mapping[str, Any] | None = None, tags: str = ""
) -> tuple[int, float]:
    """Run a playbook of the checkout as an operator does; exit code and seconds. The output goes to `log`."""
    argv = [str(Path(sys.executable).parent / "ansible-playbook"), playbook, "-i", str(lab.inventory)]
    if variables:
        argv += ["--extra-vars", json.dumps(dict(variables))]
    if tags:
        argv += ["--tags", tags]
    env = {
        **os.environ,
        "ANSIBLE_CONFIG": str(lab.checkout / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(lab.checkout / "collections"),
        "ANSIBLE_FORCE_COLOR": "0",
        "ANSIBLE_NOCOLOR": "1",
    }
    begin = time.monotonic()
    with log.open("w", encoding="utf-8") as output:
        try:
            done = subprocess.run(
                argv,
                cwd=lab.checkout,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=PLAYBOOK_TIMEOUT_S,
            )
        except FileNotFoundError as error:
            raise LabError(f"{argv[0]} is not there; run `make venv`") from error
        except subprocess.TimeoutExpired as error:
            raise LabError(f"{playbook} did not end within {PLAYBOOK_TIMEOUT_S:g} s; see {log}") from error
    return done.returncode, time.monotonic() - begin


def last_words(log: Path, limit: int = 300) -> str:
    """What a playbook that failed said last, in one line."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "no output"
    found = re.findall(r"^(?:fatal: .*|\[ERROR\]: .*|ERROR! .*|\s+msg: .*)$", text, flags=re.MULTILINE)
    words = found[-1].strip() if found else " / ".join(text.strip().splitlines()[-2:])
    return words[:limit]


def migrate(lab: Settings, *, anchor: bool, seed: str, log: Path) -> Run:
    """Migrate the chain that is up and measure it. LabError only where nothing could be measured at all."""
    run = Run(anchor=anchor, seed=seed)
    with contextlib.ExitStack() as stack:
        recorder = stack.enter_context(chains.Recorder(lab, lab.hosts[0]))
        sender = stack.enter_context(Sender(lab.hosts[0])) if execution.wanted() else None
        reports = log.with_suffix(".reports")
        reports.mkdir(parents=True, exist_ok=True)
        choices: dict[str, Any] = {"evnode_anchor": anchor, "evnode_seed": seed, "evnode_report_dir": str(reports)}
        if sender is not None and seed == "copy_then_follow":
            choices["evnode_execution_service"] = execution.UNIT
        code, seconds = play(lab, "migrate.yml", log, variables=choices)
        run.total_s = round(seconds, 2)
        run.load = round(os.getloadavg()[0], 2)
    if code != 0:
        run.failed = f"migrate.yml ended with {code}: {last_words(log)}"
    else:
        pause = json.loads((reports / "plan.json").read_text(encoding="utf-8"))["pause"]
        run.predicted_s = [pause["low"], pause["high"]]
    measure(lab, run, recorder.store)
    if sender is not None and not run.failed:
        try:
            pairs.equal_heads(lab)
            became = pairs.all_mined(sender, lab.hosts[-1])
            run.transactions, run.inclusion_s = became.included, round(became.slowest_s, 2)
        except LabError as error:
            run.failed = str(error)
    return run


def measure(lab: Settings, run: Run, recorded: chains.Store) -> None:
    """Fill in what can be read from the members after a migration, whether it went well or not."""
    receipts = chains.receipts(lab)
    first = receipts.get(lab.hosts[0].name, {})
    run.n = _integer(first.get("n"))
    shown = first.get("hash")
    if run.n is not None and isinstance(shown, str) and shown:
        # Taken from the old node before its stop; the witness is seldom quick enough for the very last block.
        recorded.hashes.setdefault(run.n, base64.b64encode(bytes.fromhex(shown)).decode())
    trouble = chains.healthy_members(lab, run.n or recorded.head)
    run.healthy = sum(not words for words in trouble.values())
    stores = chains.read_members(lab)
    judge(run, stores, recorded)
    if not run.failed and run.healthy < len(lab.hosts):
        run.failed = "; ".join(f"{name} {words}" for name, words in trouble.items() if words)
    if run.n is None:
        run.failed = run.failed or f"{lab.hosts[0].name} has no receipt of a window"
        return
    times = {height: at for store in stores.values() for height, at in store.times.items()}
    if run.n not in times or run.n + 1 not in times:
        run.failed = run.failed or f"no member holds blocks {run.n} and {run.n + 1}"
        return
    block_ns, next_ns = times[run.n], times[run.n + 1]
    run.gap_s = round((next_ns - block_ns) / 1e9, 4)
    run.missed_slots = missed_slots(times, run.n)
    started = _number(first.get("started_at"))
    marks = chains.log_marks(lab, lab.hosts[0], started) if started is not None else {}
    run.parts_s, run.coordination_s = stats.pause_parts(block_ns=block_ns, next_ns=next_ns, receipt=first, marks=marks)
    run.members_s = {name: _floats(receipt.get("parts")) for name, receipt in receipts.items()}
    starts = [at for receipt in receipts.values() if (at := _number(receipt.get("started_at"))) is not None]
    run.spread_ms = stats.spread_ms(starts) if len(starts) == len(lab.hosts) else None


def judge(run: Run, stores: Mapping[str, chains.Store], recorded: chains.Store) -> None:
    """Whether all stores, and what was seen of the chain while it was made, are one chain without a hole."""
    held = {name: store.digests for name, store in stores.items()}
    conflicts = stats.conflicts({**held, "as it was made": recorded.digests})
    seams = {name: stats.glued(store.parents, recorded.hashes) for name, store in stores.items()}
    glued = {name: heights for name, heights in seams.items() if heights}
    run.fork = bool(conflicts or glued)
    run.continuous = all(store.head > 0 and len(store.digests) == store.head for store in stores.values())
    if glued:
        run.failed = f"blocks on another parent than was there: {glued}; {run.failed}"
    if conflicts:
        height, blocks = next(iter(conflicts.items()))
        run.failed = f"fork at {height}: {', '.join(f'{name} {value}' for name, value in blocks.items())}; {run.failed}"
    lost = recorded.head - max((store.head for store in stores.values()), default=0)
    if lost > 0:
        run.failed = f"the last {lost} of {recorded.head} blocks that were seen are in no store; {run.failed}"


def missed_slots(times: Mapping[int, int], n: int) -> int:
    """How many blocks the pause after block `n` cost, by the median distance of the blocks up to `n`."""
    gaps = [times[height] - times[height - 1] for height in range(max(3, n - 20), n + 1) if height - 1 in times]
    usual = stats.percentile(gaps, 0.5)
    return max(0, round((times[n + 1] - times[n]) / usual) - 1) if usual else 0


def preflight(lab: Settings, log: Path) -> float:
    """Seconds that the preflight of all members takes. LabError when it finds something."""
    code, seconds = play(lab, "migrate.yml", log, tags="preflight")
    if code != 0:
        raise LabError(f"preflight ended with {code}: {last_words(log)}")
    return round(seconds, 2)


def version(lab: Settings) -> str:
    """What the node on the first host says it is."""
    done = machine.execute(lab.hosts[0], [lab.layout.binary, "version"], check=False)
    words = (done.stdout or done.stderr).strip().splitlines()
    return words[0].rpartition(":")[2].strip() if words else "unknown"


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _floats(value: object) -> dict[str, float]:
    return {str(name): float(number) for name, number in value.items()} if isinstance(value, dict) else {}
