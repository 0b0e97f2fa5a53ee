# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every scenario starts from: a fresh lab with a chain on node-1, and a controller to run playbooks on.

A scenario's module may set `LAYOUT` to the name of a lab layout, `HOSTS` to another number of hosts than five,
`EXECUTION` to an execution client, and `SETTINGS` to what the inventory sets for the group of the members.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import testinfra

from lab import chain, fleet, network, traffic
from lab.settings import CHECKOUT, MOST_HOSTS, Settings, from_environment
from lab.trial.play import Controller

_NOTES: list[str] = []


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest) -> Iterator[Settings]:
    """A new lab with a producing chain; afterwards its network is whole and nothing is sent to it any more."""
    os.environ["LAB_LAYOUT"] = getattr(request.module, "LAYOUT", "default")
    os.environ["LAB_HOSTS"] = str(getattr(request.module, "HOSTS", MOST_HOSTS))
    os.environ["LAB_EXECUTION"] = getattr(request.module, "EXECUTION", "")
    settings = from_environment()
    with fleet.exclusive(settings):
        # Not restored from a saved one: a DA node would remember blocks that the chain is about to make again.
        fleet.down(settings)
        chain.up(settings)
    yield settings
    traffic.stop(settings)
    network.set_cuts(settings, set())


@pytest.fixture(scope="module")
def folder(request: pytest.FixtureRequest) -> Path:
    """Where a scenario keeps its logs: `build/scenarios/<scenario>`, emptied first."""
    path = CHECKOUT / "build" / "scenarios" / request.path.parent.name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


@pytest.fixture(scope="module")
def controller(request: pytest.FixtureRequest, lab: Settings, folder: Path) -> Controller:
    """Runs `migrate.yml` of this checkout."""
    return Controller(lab, folder, settings=getattr(request.module, "SETTINGS", None))


@pytest.fixture(scope="module")
def hosts(lab: Settings) -> dict[str, Any]:
    """The five hosts for Testinfra, as root."""
    return {
        host.name: testinfra.get_host(f"ansible://{host.name}", ansible_inventory=str(lab.inventory), sudo=True)
        for host in lab.hosts
    }


@pytest.fixture(scope="session")
def note() -> Callable[[str], None]:
    """Keep a sentence for the end of the scenario's output: figures that are worth reading when all is well."""
    return _NOTES.append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what the tests noted."""
    if _NOTES:
        terminalreporter.section("seen")
        for line in _NOTES:
            terminalreporter.line(line)
