# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m lab.chaos`: cases in several labs at once, a line as each ends, and a table of all."""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import multiprocessing
import os
import shutil
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from lab import fleet
from lab.chaos import trial
from lab.chaos.cases import PLACES, Row, combinations, draw, table
from lab.settings import CHECKOUT, Settings, beside, from_environment
from lab.shell import end_on_sigterm

FOLDER = CHECKOUT / "build" / "chaos"


def _write(rows: Sequence[Row], path: Path) -> None:
    told = [{**row._asdict(), "case": {**row.case._asdict(), "place": row.case.place._asdict()}} for row in rows]
    path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def summary(rows: Sequence[Row]) -> str:
    """How many, how they ended, what was violated."""
    bad = sorted(row.case.seed for row in rows if row.wrong)
    ends = {ended: sum(1 for row in rows if row.ended == ended) for ended in sorted({row.ended for row in rows})}
    pauses = [row.pause_s for row in rows if row.case.place.start == "cluster" and row.pause_s is not None]
    words = [f"{len(rows)} cases ({', '.join(f'{number} {ended}' for ended, number in ends.items())})"]
    if pauses:
        words.append(f"rollbacks hit by a fault: {statistics.median(pauses):.1f} s without a block at the median")
    words.append(f"{len(bad)} with a violation{f': seeds {bad}' if bad else ''}")
    return "; ".join(words)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the cases of some seeds; 0 when nothing was violated in any."""
    parser = argparse.ArgumentParser(prog="python -m lab.chaos", description=__doc__)
    parser.add_argument("--cases", type=int, default=len(PLACES), help="how many (N)")
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED") or 0), help="of the first case (SEED)")
    parser.add_argument("--labs", type=int, default=int(os.environ.get("LABS") or 2), help="at the same time (LABS)")
    chosen = parser.parse_args(argv)
    seeds = range(chosen.seed, chosen.seed + chosen.cases)
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    print(f"{len(seeds)} of {combinations()} combinations of place, fault and victims", flush=True)
    context = multiprocessing.get_context("spawn")
    free: multiprocessing.SimpleQueue[tuple[Settings, Path]] = context.SimpleQueue()
    # Nothing is gained by a lab that gets no case.
    own = beside(from_environment(), min(chosen.labs, len(seeds)))
    for lab in own:
        free.put((lab, FOLDER / lab.name))
    rows: list[Row] = []
    end_on_sigterm()
    try:
        pool = concurrent.futures.ProcessPoolExecutor(len(own), context, trial.begin, (free,))
        for future in concurrent.futures.as_completed([pool.submit(trial.run, draw(seed)) for seed in seeds]):
            rows.append(future.result())
            print(table(rows[-1:]), flush=True)
            _write(rows, FOLDER / "result.json")
        pool.shutdown()
    finally:
        # There are some only where this run has been broken off.
        for process in multiprocessing.active_children():
            process.terminate()
            process.join(30)
        for lab in own:
            fleet.down(lab)
        print(f"\n{table(rows)}\n\n{summary(rows)}", flush=True)
    return 1 if len(rows) < len(seeds) or any(row.wrong for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
