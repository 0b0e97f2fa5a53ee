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
def refused(lab: Settings, controller: Controller) -> dict[str, str]:
    """What preflight says of a client that does not fit, tried one after the other, each mended again."""
    said = {}
    victim = lab.hosts[2]

    def attempt(name: str, *more: str) -> None:
        outcome = controller.run(name, "--tags", "preflight", *more)
        assert outcome.code != 0, f"{name} was not refused"
        assert outcome.count("changed") == 0
        said[name] = outcome.text

    unit = f"{execution.UNIT}.service"
    machine.execute(victim, ["systemctl", "stop", unit])
    attempt("silent")
    machine.execute(victim, ["systemctl", "start", unit])
    execution.wait(victim)
    execution.put_block(victim)
    attempt("ahead")
    execution.ask(victim, "debug_setHead", "0x0")
    machine.execute(victim, ["sh", "-c", "echo 00 > /etc/ethereum/jwt.hex"])
    attempt("jwt")
    machine.execute(victim, ["rm", "/etc/ethereum/jwt.hex"])
    return said


@pytest.fixture(scope="module")
def moved(lab: Settings, controller: Controller, refused: dict[str, str]) -> Moved:
    """The migration, with signed transactions coming in all the time."""
    with Sender(lab.hosts[0]) as sender:
        outcome = controller.run("migrate")
        assert outcome.code == 0, outcome.errors()
    receipt = history.receipt(lab, lab.hosts[0])
    return Moved(receipt["n"], receipt["hash"], sender)


def test_a_client_that_does_not_fit_is_refused(refused: dict[str, str]) -> None:
    assert "execution-silent: " in refused["silent"]
    assert "execution-ahead: " in refused["ahead"]
    assert "jwt-differs: " in refused["jwt"]


def test_five_pairs_go_on_at_the_next_block(lab: Settings, moved: Moved, note: Callable[[str], None]) -> None:
    assert history.cluster_problems(lab, moved.n, moved.hash) == []
    tip = pairs.equal_heads(lab)
    agreed = {height: pairs.block(lab, height) for height in (moved.n, moved.n + 1, tip)}
    # Compared before the commit, not only afterwards.
    assert {history.receipt(lab, host)["digest"] for host in lab.hosts} == {agreed[moved.n]}
    note(f"gap: {history.longest_pause_s(lab, lab.hosts[0], moved.n - 1):.3f} s")


def test_every_transaction_was_mined_once(lab: Settings, moved: Moved, note: Callable[[str], None]) -> None:
    assert len(moved.sender.sent) > 50
    became = pairs.all_mined(moved.sender, lab.hosts[4])
    note(f"{became.included} transactions, the slowest {became.slowest_s:.1f} s until its block's time")


def test_status_tells_of_both_layers(lab: Settings, controller: Controller, moved: Moved) -> None:
    outcome = controller.run("status", "--tags", "status,verify")
    assert outcome.code == 0, outcome.errors()
    assert outcome.text.count(", execution ") == len(lab.hosts)
    assert "execution-equal" not in outcome.text


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
