# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An EVM chain: every member with an execution client of its own, moved and taken back as one with its node."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest

from lab import execution, machine
from lab.execution.traffic import Sender
from lab.settings import Settings
from lab.trial import history, pairs
from lab.trial.play import Controller

EXECUTION = "geth"


class Moved(NamedTuple):
    """After the migration: block N, and what was sent meanwhile."""

    n: int
    hash: str
    sender: Sender


@pytest.fixture(scope="module")
def refused(lab: Settings, controller: Controller) -> str:
    """What preflight says of clients that do not fit, each on a host of its own, and mended again afterwards."""
    silent, ahead, other = lab.hosts[2:]
    unit = f"{execution.UNIT}.service"
    machine.execute(silent, ["systemctl", "stop", unit])
    execution.put_block(ahead)
    machine.execute(other, ["sh", "-c", "echo 00 > /etc/ethereum/jwt.hex"])
    outcome = controller.run("refused", "--tags", "preflight")
    assert outcome.code != 0
    assert outcome.count("changed") == 0
    machine.execute(silent, ["systemctl", "start", unit])
    execution.wait(silent)
    execution.ask(ahead, "debug_setHead", "0x0")
    machine.execute(other, ["rm", "/etc/ethereum/jwt.hex"])
    return outcome.text


@pytest.fixture(scope="module")
def moved(lab: Settings, controller: Controller, refused: str) -> Moved:
    """The migration, with signed transactions coming in all the time."""
    with Sender(lab.hosts[0]) as sender:
        outcome = controller.run("migrate")
        assert outcome.code == 0, outcome.errors()
    receipt = history.receipt(lab, lab.hosts[0])
    return Moved(receipt["n"], receipt["hash"], sender)


def test_clients_that_do_not_fit_are_refused(lab: Settings, refused: str) -> None:
    for host, finding in zip(lab.hosts[2:], ("execution-silent", "execution-ahead", "jwt-differs"), strict=True):
        assert f"{host.name} {finding}: " in refused


def test_five_pairs_go_on_at_the_next_block(lab: Settings, moved: Moved, note: Callable[[str], None]) -> None:
    assert history.cluster_problems(lab, moved.n, moved.hash) == []
    tip = pairs.equal_heads(lab)
    agreed = {height: pairs.block(lab, height) for height in (moved.n, moved.n + 1, tip)}
    # Compared before the commit, not only afterwards.
    assert {history.receipt(lab, host)["digest"] for host in lab.hosts} == {agreed[moved.n]}
    note(f"gap: {history.longest_pause_s(lab, lab.hosts[0], moved.n - 1):.3f} s")


def test_every_transaction_was_mined_once(lab: Settings, moved: Moved, note: Callable[[str], None]) -> None:
    assert len(moved.sender.sent) > 50
    became = pairs.all_mined(moved.sender, lab.hosts[-1])
    note(f"{became.included} transactions, the slowest {became.slowest_s:.1f} s until its block's time")


def test_status_tells_of_both_layers(lab: Settings, controller: Controller, moved: Moved) -> None:
    outcome = controller.run("status", "--tags", "status,verify")
    assert outcome.code == 0, outcome.errors()
    assert outcome.text.count(", execution ") == len(lab.hosts)
    assert "execution-equal" not in outcome.text


def test_a_client_that_lost_a_block_is_given_it_again(lab: Settings, controller: Controller, moved: Moved) -> None:
    host = lab.hosts[-1]
    machine.execute(host, ["systemctl", "stop", f"{lab.layout.unit}.service"])
    height, _hash = execution.head(host)
    execution.ask(host, "debug_setHead", hex(height - 1))
    assert execution.head(host)[0] == height - 1
    outcome = controller.run("behind", "--tags", "cutover")
    assert outcome.code == 0, outcome.errors()
    assert pairs.equal_heads(lab) > height


def test_the_pair_goes_back_together(
    lab: Settings, controller: Controller, moved: Moved, note: Callable[[str], None]
) -> None:
    tip = history.height(lab, lab.hosts[0])
    assert tip and tip > moved.n
    made = history.blocks(lab, lab.hosts[0], 1, tip)
    clients = [pairs.block(lab, height) for height in (1, tip)]
    outcome = controller.run("rollback", "--tags", "rollback")
    assert outcome.code == 0, outcome.errors()
    assert history.single_problems(lab, made, cluster=True) == []
    assert pairs.equal_heads(lab) > tip
    assert clients == [pairs.block(lab, height) for height in (1, tip)]
    note(f"rollback: {history.longest_pause_s(lab, lab.hosts[0], tip):.3f} s without a block")
