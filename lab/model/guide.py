# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The upstream guide's procedure as a model, without a single fault: what it allows when everything works.

What a node does comes from its source (ev-node v1.2.3): with an empty Raft log every member is an equally valid winner
of the first election, the winner goes on above *its own* store (`pkg/raft/election.go`, `block/internal/executing`),
and nothing compares that store with anybody else's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

FIRST = 10
"""Height of the chain when the guide is begun."""
MOST = 3
"""Blocks that the model lets anybody make after that."""


class Chain(NamedTuple):
    """The five machines."""

    step: str = "before the copy"
    sequencer: bool = True
    """Whether the single sequencer runs."""
    stores: tuple[int, ...] = (FIRST, 0, 0, 0, 0)
    """Height of each store; node-1's is the first."""
    started: tuple[bool, ...] = (False,) * 5
    leader: int = -1
    signed: int = FIRST
    """The highest block that was ever signed."""
    again: int = 0
    """A height at which a second block was signed; 0 where there is none."""


def initial() -> Chain:
    """A chain with a single sequencer, and four empty machines."""
    return Chain()


def successors(now: Chain) -> Iterator[tuple[str, Chain]]:
    """What may come next, by the guide's own steps."""
    made = now.signed - FIRST
    if now.sequencer and made < MOST:
        height = now.signed + 1
        yield f"node-1 makes block {height}", now._replace(signed=height, stores=(height, *now.stores[1:]))
    if now.step == "before the copy":
        yield "step 5: stop node-1", now._replace(step="copy", sequencer=False)
    elif now.step == "copy":
        copied = (now.stores[0],) * 5
        yield f"step 5: copy its store, at height {copied[0]}, to all", now._replace(step="copied", stores=copied)
    elif now.step == "copied":
        yield "step 5: start node-1 again", now._replace(step="configured", sequencer=True)
    elif now.step == "configured":
        yield "step 9a: stop node-1", now._replace(step="start", sequencer=False)
    elif now.step == "start":
        for member, started in enumerate(now.started):
            if not started:
                known = tuple(started or member == other for other, started in enumerate(now.started))
                yield f"step 9b: start node-{member + 1}, at height {now.stores[member]}", now._replace(started=known)
        if sum(now.started) >= 3 and now.leader < 0:
            for member, started in enumerate(now.started):
                if started:
                    yield f"node-{member + 1} wins the election", now._replace(leader=member)
    if now.leader >= 0 and made < MOST:
        height = now.stores[now.leader] + 1
        stores = tuple(max(height, store) if now.started[member] else store for member, store in enumerate(now.stores))
        again = height if height <= now.signed else now.again
        after = now._replace(stores=stores, signed=max(height, now.signed), again=again)
        yield f"node-{now.leader + 1} makes block {height}", after


def violated(now: Chain) -> str:
    """The promise that does not hold; empty where all do."""
    return (
        f"nothing re-signed: there are two blocks {now.again}, both with the sequencer's signature" if now.again else ""
    )


def end(now: Chain) -> tuple[str, str]:
    """A state from which nothing leads on is where the model stops counting blocks."""
    return ("a cluster produces" if now.leader >= 0 else "the guide is under way"), ""
