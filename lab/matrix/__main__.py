# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m lab.matrix`: plant each fault of faults.yml alone, run preflight, and compare what it says.

With LAB_EXECUTION they are those of clients.yml, on an EVM chain.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from lab import chain, execution, fleet, machine
from lab.errors import LabError
from lab.layout import render
from lab.settings import CHECKOUT, Host, Settings, from_environment
from lab.shell import end_on_sigterm
from lab.trial.disk import Untouched
from lab.trial.play import Controller, Outcome

FOLDER = CHECKOUT / "build" / "matrix"
FAULTS = Path(__file__).with_name("faults.yml")
CLIENTS = Path(__file__).with_name("clients.yml")
SAVED = "matrix"

Said = tuple[str, str, str]


class Fault(NamedTuple):
    """`finds`: pairs of patterns, verdict and member; the rest as in faults.yml."""

    name: str
    on: str
    does: str
    everywhere: str
    settings: Mapping[str, Any]
    groups: Mapping[str, Sequence[str]]
    vars: Mapping[str, Mapping[str, Any]]
    arguments: Sequence[str]
    finds: Sequence[tuple[str, str]]

    @property
    def on_hosts(self) -> bool:
        """Whether a host is changed by it."""
        return bool(self.does or self.everywhere or self.settings)


def faults(text: str) -> list[Fault]:
    """The faults of a document."""
    found = []
    for entry in yaml.safe_load(text):
        known = {"fault", "on", "does", "everywhere", "settings", "groups", "vars", "arguments", "finds"}
        if not {"fault", "finds"} <= set(entry) <= known:
            raise LabError(f"a fault has fault, finds and some of {', '.join(sorted(known))}; found {sorted(entry)}")
        finds = [
            (verdict, member)
            for verdict, members in entry["finds"].items()
            for member in (members if isinstance(members, list) else [members])
        ]
        found.append(
            Fault(
                entry["fault"],
                entry.get("on", "node-1"),
                entry.get("does", ""),
                entry.get("everywhere", ""),
                entry.get("settings", {}),
                entry.get("groups", {}),
                entry.get("vars", {}),
                entry.get("arguments", []),
                finds,
            )
        )
    return found


def differences(finds: Sequence[tuple[str, str]], said: Sequence[Said]) -> list[str]:
    """What was expected and not said, and what was said beyond that; ``said`` is verdict, severity and member."""
    loud = [(verdict, member) for verdict, severity, member in said if severity != "ok"]
    words = [
        f"not said: {verdict} of {member}"
        for verdict, member in finds
        if not any(fnmatchcase(one, verdict) and fnmatchcase(other, member) for one, other in loud)
    ]
    return words + [
        f"said beyond: {one} of {other}"
        for one, other in loud
        if not any(fnmatchcase(one, verdict) and fnmatchcase(other, member) for verdict, member in finds)
    ]


def inventory(lab: Settings, fault: Fault, placeholders: dict[str, str]) -> dict[str, Any]:
    """The lab's inventory with the fault in it; `placeholders`: what they stand for."""
    found = fleet.inventory(lab)
    groups = found["all"]["children"]["evnode_members"]["children"]
    hosts = {name: values for group in groups.values() for name, values in group["hosts"].items()}
    for name, values in fault.vars.items():
        filled = {
            key: render(value, placeholders) if isinstance(value, str) else value for key, value in values.items()
        }
        hosts[name] = {**hosts[name], **filled}
    for group, content in groups.items():
        names = fault.groups.get(group, list(content["hosts"])) if fault.groups else list(content["hosts"])
        content["hosts"] = {name: hosts[name] for name in names}
    return found


class Matrix:
    """A lab with a chain, and preflight run on it for one fault after the other."""

    def __init__(self, lab: Settings) -> None:
        self.lab = lab
        self.controller = Controller(lab, FOLDER)
        self.planted: Host | None = None

    def _names(self, host: Host) -> dict[str, str]:
        names = self.lab.layout.names(address=host.address, da_address=chain.da_address(self.lab))
        names["da_port"] = str(chain.DA_PORT)
        return {**names, **{one.name.replace("-", "_"): one.address for one in self.lab.hosts}}

    def begin(self) -> None:
        """A new chain, and its hosts kept to come back to."""
        with fleet.exclusive(self.lab):
            fleet.down(self.lab)
            chain.up(self.lab)
            # Of a chain with fewer blocks nobody can tell whether it keeps its block time.
            chain.wait_for_blocks(self.lab, self.lab.hosts[0], above=10)
            fleet.save(self.lab, SAVED)
        self._wait()

    def _wait(self) -> None:
        chain.wait_for_blocks(self.lab, self.lab.hosts[0], above=0)

    def mend(self) -> None:
        """Put all hosts back to how they were before the last fault."""
        if self.planted is None:
            return
        # A host's network outlives the host.
        machine.execute(self.planted, ["nft", "delete", "table", "inet", "planted"], check=False)
        chain.restore(self.lab, SAVED)
        self.planted = None
        self._wait()

    def plant(self, fault: Fault) -> None:
        """Put the fault on its host."""
        self.mend()
        host = self.lab.host(fault.on)
        self.planted = host if fault.on_hosts else None
        for one in self.lab.hosts if fault.everywhere else ():
            machine.execute(one, ["sh", "-euc", render(fault.everywhere, self._names(one))])
        names = self._names(host)
        if fault.settings:
            path = f"{self.lab.layout.home}/config/evnode.yaml"
            settings = {
                key: render(value, names) if isinstance(value, str) else value for key, value in fault.settings.items()
            }
            text = chain.edit_yaml(machine.execute(host, ["cat", path]).stdout, settings)
            # The file's time says nothing of this, so that what is said is said of the setting.
            keep = 'cp --preserve "$1" /run/kept && cat > "$1" && touch --reference=/run/kept "$1" && rm /run/kept'
            machine.execute(host, ["sh", "-c", keep, "keep", path], stdin=text)
        if fault.does:
            machine.execute(host, ["sh", "-euc", render(fault.does, names)])

    def run(self, fault: Fault) -> tuple[list[str], float]:
        """What preflight said wrongly of the fault, and how long it took, in seconds."""
        self.plant(fault)
        names = self._names(self.lab.hosts[0])
        report = self.controller.reports / "preflight.json"
        report.unlink(missing_ok=True)
        path = self.controller.folder / "inventory.yml"
        path.write_text(yaml.safe_dump(inventory(self.lab, fault, names)), encoding="utf-8")
        # A client writes of its own accord too.
        before = Untouched(self.lab, ignore=[f"{execution.HOME.lstrip('/')}/*"] if execution.wanted() else [])
        arguments = [render(argument, names) for argument in fault.arguments]
        outcome = self.controller.run(
            fault.name.replace(" ", "-"),
            "--tags",
            "preflight",
            "-e",
            f"evnode_report_dir={self.controller.reports}",
            *arguments,
            inventory=path,
        )
        return [*self._judge(fault, outcome, report), *before.changes()], outcome.seconds

    @staticmethod
    def _judge(fault: Fault, outcome: Outcome, report: Path) -> list[str]:
        if not report.exists():
            return [f"no report: {outcome.tail(12)}"]
        told = json.loads(report.read_text(encoding="utf-8"))
        said = [(verdict["id"], verdict["severity"], verdict["member"]) for verdict in told["verdicts"]]
        words = differences(fault.finds, said)
        if told["blocked"] != (outcome.code != 0):
            words.append(f"exit code {outcome.code} though blocked is {told['blocked']}")
        if outcome.count("changed"):
            words.append(f"changed={outcome.count('changed')}")
        return words


def main(argv: Sequence[str] | None = None) -> int:
    """Run all faults, or some; 0 when exactly what was expected was said of each."""
    parser = argparse.ArgumentParser(prog="python -m lab.matrix", description=__doc__)
    parser.add_argument("names", nargs="*", help="parts of the names of faults; all without any")
    chosen = parser.parse_args(argv)
    listed = CLIENTS if execution.wanted() else FAULTS
    wanted = [
        fault
        for fault in faults(listed.read_text(encoding="utf-8"))
        if not chosen.names or any(name in fault.name for name in chosen.names)
    ]
    if not wanted:
        raise LabError(f"no fault's name has {' or '.join(chosen.names)} in it; see {listed}")
    shutil.rmtree(FOLDER, ignore_errors=True)
    matrix = Matrix(from_environment())
    wrong, seconds = [], []
    begin = time.monotonic()
    end_on_sigterm()
    try:
        matrix.begin()
        for fault in wanted:
            words, took = matrix.run(fault)
            seconds.append(took)
            if words:
                wrong.append(fault.name)
            print(f"{fault.name:<58} {took:5.1f} s  {'; '.join(words) or 'ok'}", flush=True)
    finally:
        fleet.down(matrix.lab)
    print(
        f"\n{len(wanted) - len(wrong)} of {len(wanted)} faults judged exactly; preflight took "
        f"{statistics.median(seconds):.1f} s at the median, {max(seconds):.1f} s at most; "
        f"{time.monotonic() - begin:.0f} s in all"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
