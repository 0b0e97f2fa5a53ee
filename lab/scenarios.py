# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the Molecule scenarios: `python3 -m lab.scenarios [NAME ...]`.

Every scenario runs, whatever became of those before it, and says what it has to say in one piece; the table at the end
has a duration for each. LABS is how many run at the same time, each in a lab of its own: a migration
waits so often that one alone leaves a quarter of two cores unused.
"""

from __future__ import annotations

import concurrent.futures
import os
import queue
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lab import execution, fleet
from lab.settings import CHECKOUT, Settings, beside, from_environment
from lab.shell import end_on_sigterm

# They need what `make geth` builds.
_EVM = ("evm",)
# Longest first, so that the last one to end is not one that was begun last.
_LONGEST = ("migrate", "gates", "copy_then_follow", "evm", "chaos")


class Result(NamedTuple):
    """How a scenario ended, and after how many seconds."""

    name: str
    code: int
    seconds: float


def find(folder: Path) -> list[str]:
    """Names of the scenarios in a `molecule` folder, without the one that makes the lab."""
    names = {path.parent.name for path in folder.glob("*/molecule.yml") if path.parent.name != "default"}
    return [name for name in _LONGEST if name in names] + sorted(names - set(_LONGEST))


def _molecule(label: str, *words: str, environment: Mapping[str, str]) -> Result:
    program = Path(sys.executable).parent / "molecule"
    path = f"{program.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    begin = time.monotonic()
    if label:
        print(f"--- {label} begins", flush=True)
    done = subprocess.run(
        [str(program), *words],
        cwd=CHECKOUT,
        env={**os.environ, "PATH": path, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    print(f"\n--- molecule {' '.join(words)}\n{done.stdout}", flush=True)
    return Result(label, done.returncode, time.monotonic() - begin)


def table(results: Sequence[Result]) -> str:
    """One line a scenario: name, outcome, seconds."""
    width = max((len(result.name) for result in results), default=0)
    lines = []
    for result in results:
        ended = "passed" if result.code == 0 else f"FAILED ({result.code})"
        lines.append(f"{result.name:<{width}}  {ended:<12} {result.seconds:7.1f} s")
    return "\n".join(lines)


def _all(names: Sequence[str], labs: Sequence[Settings]) -> list[Result]:
    """Run scenarios, each in the next lab that is free."""
    free: queue.SimpleQueue[Settings] = queue.SimpleQueue()
    for lab in labs:
        free.put(lab)

    def one(name: str) -> Result:
        lab = free.get()
        try:
            where = {"LAB_NAME": lab.name, "LAB_INDEX": str(lab.index)}
            return _molecule(name, "test", "--scenario-name", name, "--destroy", "never", environment=where)
        finally:
            free.put(lab)

    with concurrent.futures.ThreadPoolExecutor(len(labs)) as pool:
        return list(pool.map(one, names))


def main(argv: Sequence[str]) -> int:
    """Run the named scenarios, or all; 0 when every one passed."""
    known = find(CHECKOUT / "molecule")
    unknown = sorted(set(argv) - set(known))
    if unknown:
        print(f"no such scenario: {', '.join(unknown)}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    names = [name for name in known if name in argv or not argv]
    skipped = [name for name in names if name in _EVM and execution.program(CHECKOUT) is None]
    if skipped and argv:
        print(f"{', '.join(skipped)}: no execution client here; run `make geth` first", file=sys.stderr)
        return 2
    names = [name for name in names if name not in skipped]
    labs = beside(from_environment(), min(len(names), int(os.environ.get("LABS") or 2)))
    end_on_sigterm()
    # Molecule remembers that it has created hosts, also those that are gone by now.
    _molecule("", "destroy", "--scenario-name", "default", environment={})
    results = []
    try:
        results.append(_molecule("default", "test", "--scenario-name", "default", environment={}))
        if results[0].code == 0:
            results += _all(names, labs)
    finally:
        for lab in labs:
            fleet.down(lab)
        print(f"\n{table(results)}", flush=True)
        for name in skipped:
            print(f"{name}: SKIPPED, NOT TESTED: no execution client here; `make geth` builds one", flush=True)
    return 1 if any(result.code != 0 for result in results) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
