# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An EVM chain whose joiners get the client's data together with the store, out of one stop."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from lab import chain, execution, machine
from lab.execution.traffic import Sender
from lab.settings import Host, Settings
from lab.trial import history, pairs
from lab.trial.play import Controller

HOSTS = 3
EXECUTION = "geth"
SETTINGS = {"evnode_seed": "copy_then_follow", "evnode_execution_service": execution.UNIT}
OWN = ("geth/nodekey", "jwt.hex")


class Moved(NamedTuple):
    """After the migration: block N, what was sent, what of each client was its own, and the height before."""

    n: int
    hash: str
    sender: Sender
    own: dict[str, list[str]]
    before: int


def own_files(host: Host) -> list[str]:
    """Checksums of what makes a client itself, where it has these files."""
    paths = [f"{execution.HOME}/{name}" for name in OWN]
    return sorted(machine.execute(host, ["sha256sum", *paths], check=False).stdout.splitlines())


@pytest.fixture(scope="module")
def paused(lab: Settings, hosts: dict[str, Any]) -> int:
    """A pause that nobody ends: the host itself brings back node and client. Returns the height before."""
    host = lab.hosts[0]
    unit, client = f"{lab.layout.unit}.service", f"{execution.UNIT}.service"
    before = chain.wait_for_blocks(lab, host, above=3)
    served = json.dumps({"unit": execution.UNIT, "url": f"http://127.0.0.1:{execution.ETH_PORT}"})
    arguments = f"unit={lab.layout.unit} state=paused limit=5 client='{served}'"
    told = hosts[host.name].ansible("evnode.sequencer_ha.sequencer_pause", arguments, check=False, become=True)
    assert told.get("changed"), told
    states = machine.execute(host, ["systemctl", "is-active", unit, client], check=False).stdout.split()
    assert states == ["inactive", "inactive"]
    return before


@pytest.fixture(scope="module")
def moved(lab: Settings, controller: Controller, paused: int) -> Moved:
    """The migration, with signed transactions coming in all the time."""
    before = chain.wait_for_blocks(lab, lab.hosts[0], above=paused + 3)
    own = {host.name: own_files(host) for host in lab.hosts}
    with Sender(lab.hosts[0]) as sender:
        # What comes afterwards does not know how a client was filled.
        outcome = controller.run("migrate", "--skip-tags", "verify,finalize")
        assert outcome.code == 0, outcome.errors()
    assert "and of the data of the execution client (" in outcome.text
    receipt = history.receipt(lab, lab.hosts[0])
    return Moved(receipt["n"], receipt["hash"], sender, own, before)


def test_a_pause_ends_by_itself(lab: Settings, paused: int) -> None:
    assert chain.wait_for_blocks(lab, lab.hosts[0], above=paused) > paused


def test_all_pairs_go_on_at_the_next_block(lab: Settings, moved: Moved, note: Callable[[str], None]) -> None:
    assert history.cluster_problems(lab, moved.n, moved.hash) == []
    tip = pairs.equal_heads(lab)
    for height in (1, moved.n, moved.n + 1, tip):
        pairs.block(lab, height)
    staging = history.gaps_s(history.blocks(lab, lab.hosts[0], moved.before, moved.n))
    note(
        f"copy: gap {history.longest_pause_s(lab, lab.hosts[0], moved.n - 1):.3f} s, {max(staging):.3f} s for the copy"
    )


def test_no_node_had_to_play_the_chain_again(lab: Settings, moved: Moved) -> None:
    for host in lab.hosts[1:]:
        said = machine.execute(host, ["journalctl", "--unit", f"{lab.layout.unit}.service", "--output=cat"]).stdout
        assert "execution layer is behind" not in said, host.name
        assert "execution layer ahead" not in said, host.name


def test_what_makes_a_client_itself_stayed(lab: Settings, moved: Moved) -> None:
    assert {host.name: own_files(host) for host in lab.hosts} == moved.own
    keys = [line for lines in moved.own.values() for line in lines if line.endswith("/nodekey")]
    assert len({line.split()[0] for line in keys}) == len(lab.hosts)
    for host in lab.hosts:
        strangers = machine.execute(host, ["find", f"{execution.HOME}/geth", "!", "-user", execution.USER]).stdout
        assert strangers == "", host.name


def test_every_transaction_was_mined_once(lab: Settings, moved: Moved, note: Callable[[str], None]) -> None:
    became = pairs.all_mined(moved.sender, lab.hosts[-1])
    note(f"copy: {became.included} transactions, the slowest {became.slowest_s:.1f} s until its block's time")


def test_a_second_copy_changes_nothing(lab: Settings, controller: Controller, moved: Moved) -> None:
    outcome = controller.run("again", "--tags", "sync")
    assert outcome.code == 0, outcome.errors()
    assert outcome.count("changed") == 0
