# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m lab.model`: search every schedule of the window and of the way back, and show what the guide allows."""

from __future__ import annotations

import argparse
import concurrent.futures
import sys
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from lab.model import guide
from lab.model.back import Back
from lab.model.search import Found, search
from lab.model.window import Window


class Variant(NamedTuple):
    """A way of running the window."""

    seed: str
    require_all: bool
    clients: bool = False

    def __str__(self) -> str:
        with_clients = ", with execution clients" if self.clients else ""
        return f"evnode_seed: {self.seed}, evnode_require_all: {str(self.require_all).lower()}{with_clients}"


VARIANTS = [
    *(Variant(seed, require_all) for seed in ("follow", "copy") for require_all in (True, False)),
    # With clients a joiner can hold the right header and be another one still.
    Variant("follow", require_all=False, clients=True),
]


def explore(model: Window | Back) -> tuple[Found[Any], float]:
    """Search a model; what was found, and seconds."""
    begin = time.monotonic()
    return search(model.initial(), model.successors, model.violated, model.end), time.monotonic() - begin


def examine(variant: Variant, members: int, faults: int) -> tuple[Found[Any], float]:
    """Search one variant of the window."""
    return explore(Window(members - 1, faults, **variant._asdict()))


def report(title: str, found: Found[Any], seconds: float) -> str:
    """What a search saw, in words."""
    extent = "all of them" if found.complete else "up to the first violation"
    lines = [f"{title}: {found.states} states, {found.steps} steps ({extent}), {seconds:.0f} s"]
    lines += [f"  {number:>5}  {name}" for name, number in sorted(found.ends.items(), key=lambda item: -item[1])]
    if found.broken:
        lines += [f"  VIOLATED  {found.broken}", *(f"    {step}" for step in found.trace)]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Search; 0 when every promise holds in every state of window and way back, and the guide breaks one."""
    parser = argparse.ArgumentParser(prog="python -m lab.model", description=__doc__)
    parser.add_argument("--members", type=int, default=5, help="of the cluster, the sequencer counted")
    parser.add_argument("--faults", type=int, default=2, help="that may happen in one window, or one rollback")
    chosen = parser.parse_args(argv)
    safe = True
    with concurrent.futures.ProcessPoolExecutor() as pool:
        running = {variant: pool.submit(examine, variant, chosen.members, chosen.faults) for variant in VARIANTS}
        once = Back(chosen.members - 1, chosen.faults, runs=1)
        again = Back(chosen.members - 1, max(0, chosen.faults - 1), runs=2, by_hand=True)
        ways = {back: pool.submit(explore, back) for back in (once, again)}
        for variant, future in running.items():
            found, seconds = future.result()
            title = f"the window, {variant}, {chosen.members} members, {chosen.faults} faults"
            print(report(title, found, seconds), flush=True)
            safe = safe and found.complete
        for back, future in ways.items():
            found, seconds = future.result()
            title = f"the way back, {back}, {chosen.members} members, {back.faults} faults"
            print(report(title, found, seconds), flush=True)
            safe = safe and found.complete
    begin = time.monotonic()
    forked = search(guide.initial(), guide.successors, guide.violated, guide.end)
    print(report("the guide, 5 members, no fault", forked, time.monotonic() - begin))
    return 0 if safe and forked.broken else 1


if __name__ == "__main__":
    sys.exit(main())
