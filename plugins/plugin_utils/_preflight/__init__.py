# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""Judge everything that was read before a migration: all findings, none hides another."""

from __future__ import annotations

import typing as t

from .._verdicts import worst_first
from . import access, clocks, execution, hosts, inventory, joiners, network, sequencer
from .evidence import Evidence

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .._verdicts import Verdict

__all__ = ["Evidence", "judge"]

_CHECKS: tuple[Callable[[Evidence], Iterator[Verdict]], ...] = (
    inventory.inventory,
    access.reachable,
    inventory.identities,
    inventory.addresses,
    sequencer.sequencer,
    access.forks,
    access.tasks,
    hosts.platform,
    hosts.disk_speed,
    execution.execution,
    joiners.joiners,
    joiners.beside,
    joiners.raft_dirs,
    hosts.own_ports,
    hosts.space,
    clocks.clocks,
    network.mesh,
    network.probed_ports,
    network.open_to_others,
)


def judge(evidence: Evidence) -> list[Verdict]:
    """Return a verdict for everything that was looked at, worst first."""
    return worst_first(verdict for check in _CHECKS for verdict in check(evidence))
