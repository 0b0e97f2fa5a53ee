# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the Molecule scenarios one after the other in one lab: `python3 -m lab.scenarios [NAME ...]`.

Every scenario runs, whatever became of those before it; the table at the end has a duration for each.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from lab.settings import CHECKOUT


def find(folder: Path) -> list[str]:
    """Names of the scenarios in a `molecule` folder, without the one that makes the lab."""
    return sorted(path.parent.name for path in folder.glob("*/molecule.yml") if path.parent.name != "default")


def _molecule(*words: str) -> int:
    program = Path(sys.executable).parent / "molecule"
    path = f"{program.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    print(f"\n--- molecule {' '.join(words)}", flush=True)
    return subprocess.call([str(program), *words], cwd=CHECKOUT, env={**os.environ, "PATH": path})


def table(results: Sequence[tuple[str, int, float]]) -> str:
    """One line a scenario: name, outcome, seconds."""
    width = max((len(name) for name, _code, _seconds in results), default=0)
    return "\n".join(
        f"{name:<{width}}  {'passed' if code == 0 else f'FAILED ({code})':<12} {seconds:7.1f} s"
        for name, code, seconds in results
    )


def main(argv: Sequence[str]) -> int:
    """Run the named scenarios, or all; 0 when every one passed."""
    known = find(CHECKOUT / "molecule")
    unknown = sorted(set(argv) - set(known))
    if unknown:
        print(f"no such scenario: {', '.join(unknown)}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    results: list[tuple[str, int, float]] = []

    def timed(label: str, *words: str) -> int:
        begin = time.monotonic()
        code = _molecule(*words)
        results.append((label, code, time.monotonic() - begin))
        return code

    # Molecule remembers that it has created hosts, also those that are gone by now.
    _molecule("destroy", "--scenario-name", "default")
    try:
        created = timed("(create)", "create", "--scenario-name", "default")
        created = created or timed("default", "verify", "--scenario-name", "default")
        if created == 0:
            for name in argv or known:
                timed(name, "test", "--scenario-name", name, "--destroy", "never")
    finally:
        timed("(destroy)", "destroy", "--scenario-name", "default")
        print(f"\n{table(results)}", flush=True)
    return 1 if any(code != 0 for _name, code, _seconds in results) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
