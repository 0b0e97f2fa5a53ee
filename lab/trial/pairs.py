# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes and their execution clients, looked at as one thing."""

from __future__ import annotations

from lab import execution
from lab.errors import LabError
from lab.execution.traffic import Became, Sender
from lab.settings import Host, Settings
from lab.shell import wait_for
from lab.trial import history


def equal_heads(lab: Settings) -> int:
    """Wait until all nodes and all clients are at one height with one block, and return it."""
    at = 0

    def differing() -> str | None:
        nonlocal at
        found = {host.name: (history.height(lab, host), *execution.head(host)) for host in lab.hosts}
        ((node, client, _hash), *others) = set(found.values())
        at = client
        return None if not others and node == client else f"{found}"

    wait_for("equal heads of nodes and clients", differing, timeout=60, interval=0.05)
    return at


def block(lab: Settings, height: int) -> str:
    """The hash that every client has for a block, bare hex; AssertionError where they differ."""
    found = {host.name: execution.ask(host, "eth_getBlockByNumber", hex(height), False)["hash"] for host in lab.hosts}
    assert len(set(found.values())) == 1, f"{height}: {found}"
    return str(next(iter(found.values()))).removeprefix("0x")


def all_mined(sender: Sender, host: Host) -> Became:
    """Wait until all transactions are in the chain of a host, and prove that none is in it twice."""

    def waiting() -> str | None:
        missing = sender.became(host).missing
        return None if not missing else f"not mined: {missing[:5]}"

    wait_for("all transactions in the chain", waiting, timeout=60, interval=0.5)
    became = sender.became(host)
    # A nonce is used once, so as many as were sent is each of them, and none twice.
    if became.nonce != len(sender.sent):
        raise LabError(f"{len(sender.sent)} transactions were sent, and the account's nonce is {became.nonce}")
    return became
