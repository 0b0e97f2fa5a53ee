# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Three members on IPv6, another layout, way of seeding and ansible-core, and the collection as users install it."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import fleet, traffic
from lab.settings import CHECKOUT, Host, Settings
from lab.trial import history
from lab.trial.play import Controller, Outcome

LAYOUT = "alternative"
HOSTS = 3
RATE = 20.0


def program(name: str) -> Path:
    """Of the environment with the newer ansible-core, where this machine has a Python for it."""
    newer = CHECKOUT / ".venv-next" / "bin" / name
    return newer if newer.exists() else Path(sys.executable).parent / name


@pytest.fixture(scope="module")
def tarball(folder: Path) -> Path:
    """The collection, built from this checkout."""
    argv: list[str | Path] = [
        program("ansible-galaxy"),
        "collection",
        "build",
        "--output-path",
        folder / "built",
        CHECKOUT,
    ]
    subprocess.run(argv, check=True, timeout=120, stdout=subprocess.DEVNULL)
    (found,) = (folder / "built").glob("*.tar.gz")
    return found


@pytest.fixture(scope="module")
def installed(lab: Settings, folder: Path, tarball: Path) -> Controller:
    """A controller with an empty working directory and the collection installed beside it."""
    collections, empty = folder / "collections", folder / "empty"
    empty.mkdir()
    found = Controller(
        lab,
        folder,
        playbook="evnode.sequencer_ha.migrate",
        program=program("ansible-playbook"),
        cwd=empty,
        collections=collections,
    )
    argv: list[str | Path] = [
        program("ansible-galaxy"),
        "collection",
        "install",
        "--offline",
        "-p",
        collections,
        tarball,
    ]
    subprocess.run(argv, check=True, timeout=120, stdout=subprocess.DEVNULL, cwd=empty, env=found.environment)
    return found


@pytest.fixture(scope="module")
def migration(lab: Settings, installed: Controller) -> tuple[int, Outcome]:
    """The migration, and the height at which transactions began to come in."""
    traffic.start(lab, "node-1", RATE)
    first = history.height(lab, lab.hosts[0]) or 0
    closed = f'{{"evnode_seed": "copy", "evnode_intake_ports": [{lab.layout.ports["app"]}]}}'
    outcome = installed.run("migrate", "-e", closed)
    traffic.stop(lab)
    assert outcome.code == 0, outcome.errors()
    return first, outcome


def test_the_tarball_holds_the_collection_alone(tarball: Path) -> None:
    with tarfile.open(tarball) as archive:
        tops = {name.split("/")[0] for name in archive.getnames()}
    assert {"MANIFEST.json", "README.md", "meta", "playbooks", "plugins", "roles"} <= tops
    assert tops <= {
        *("CHANGELOG.md", "FILES.json", "LICENSE", "MANIFEST.json", "README.md"),
        *("changelogs", "docs", "inventory.example", "meta", "playbooks", "plugins", "roles"),
    }


def test_three_members_go_on_at_the_next_block(
    lab: Settings, installed: Controller, migration: tuple[int, Outcome], note: Callable[[str], None]
) -> None:
    receipt = history.receipt(lab, lab.hosts[0])
    assert history.cluster_problems(lab, receipt["n"], receipt["hash"]) == []
    reached = "IPv6" if ":" in fleet.member_address(lab, lab.hosts[0]) else "IPv4, because this machine has no IPv6"
    note(f"ansible-core {installed.ansible}, members on {reached}, whole run: {migration[1].seconds:.0f} s")


def test_the_chain_did_not_pause_before_the_cutover(
    lab: Settings, migration: tuple[int, Outcome], note: Callable[[str], None]
) -> None:
    n = history.receipt(lab, lab.hosts[0])["n"]
    blocks = history.blocks(lab, lab.hosts[0], migration[0], n + 1)
    *before, pause = history.gaps_s(blocks)
    assert len(before) > 10
    # A block carries the time at which it was begun, so the stop right after block N does not count.
    assert history.stops(lab, lab.hosts[0], (blocks[0], blocks[-2])) == 0
    assert history.stops(lab, lab.hosts[0], (blocks[0], blocks[-1])) == 1
    # Block time is a second; room for a busy machine.
    assert max(before) < 3.0, f"{max(before):.2f} s between two blocks before the freeze"
    note(f"block {n} to {n + 1}: {pause:.3f} s; longest before: {max(before):.3f} s")


def test_the_stores_were_copied_and_proven(lab: Settings, migration: tuple[int, Outcome]) -> None:
    holding = [entry for host in lab.hosts[1:] for entry in history.journal(lab, host) if entry["event"] == "holding"]
    assert len(holding) == len(lab.hosts) - 1
    assert len({entry["digest"] for entry in holding}) == 1 and holding[0]["digest"]


def test_no_accepted_transaction_is_lost(
    lab: Settings, migration: tuple[int, Outcome], note: Callable[[str], None]
) -> None:
    verdict = traffic.check(lab, "node-1")
    assert verdict.accepted > 100
    assert verdict.missing == []
    assert verdict.duplicate == []
    # Otherwise the intake was never closed, or never opened again.
    assert verdict.refused > 0
    log = traffic.read(traffic.log_path(lab))
    assert log[-1].outcome == "accepted"
    note(f"transactions: {verdict.accepted} accepted, all in the chain once; {verdict.refused} refused")


def test_units_start_at_boot(lab: Settings, migration: tuple[int, Outcome], hosts: dict[str, Any]) -> None:
    layout = lab.layout

    def check(own: Host) -> None:
        host = hosts[own.name]
        service = host.service(layout.unit)
        assert service.is_enabled and service.is_running, own.name
        address = fleet.member_address(lab, own)
        assert host.socket(f"tcp://{address}:{layout.ports['raft']}").is_listening, own.name
        for path in (layout.passphrase_file, f"{layout.home}/config/signer.json"):
            assert host.file(path).mode & 0o007 == 0, f"{own.name}: {path}"

    fleet.each(lab.hosts, check)


def test_a_joiner_that_is_lost_is_replaced_by_way_of_the_single_sequencer(
    lab: Settings, installed: Controller, migration: tuple[int, Outcome], folder: Path, note: Callable[[str], None]
) -> None:
    """Two of three go on as the cluster; the new host is no member of it, whatever it is called."""
    *others, lost = lab.hosts
    tip = history.height(lab, lab.hosts[0])
    assert tip
    made = history.blocks(lab, lab.hosts[0], 1, tip)
    fleet.replace(lab, lost)
    refused = installed.run("refused", "--tags", "provision,cutover")
    assert refused.code != 0 and refused.count("changed") == 0, refused.tail()
    assert "node-3 (node-3) is a member of the cluster, and its host holds nothing of it any more." in refused.text
    without = folder / "without.yml"
    without.write_text(yaml.safe_dump(fleet.inventory(lab, others)), encoding="utf-8")
    copied = ("-e", '{"evnode_seed": "copy"}')
    back = installed.run("back", "--tags", "rollback", *copied, inventory=without)
    assert back.code == 0 and "The single sequencer produces." in back.text, back.errors()
    again = installed.run("again", "--skip-tags", "preflight,plan,verify,finalize", *copied)
    assert again.code == 0, again.errors()
    receipt = history.receipt(lab, lab.hosts[0])
    assert history.cluster_problems(lab, receipt["n"], receipt["hash"]) == []
    for host in lab.hosts:
        assert history.blocks(lab, host, 1, tip) == made, host.name
    note(f"a lost joiner replaced: {back.seconds:.0f} s back, {again.seconds:.0f} s to the new cluster")
