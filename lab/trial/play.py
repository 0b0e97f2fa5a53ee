# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a playbook the way a person does, and keep all it said in a log."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from lab.errors import LabError
from lab.settings import Settings

LIMIT_S = 420.0

_RECAP = re.compile(r"^(?P<host>\S+)\s*: (?P<counts>(?:\w+=\d+\s*)+)$", re.MULTILINE)


@dataclass(frozen=True)
class Outcome:
    """How a run ended. `text` is all that it said, with line breaks and runs of blanks made one blank."""

    code: int
    text: str
    log: Path
    seconds: float
    recap: Mapping[str, Mapping[str, int]]

    def count(self, what: str) -> int:
        """A column of the recap, summed over all hosts: `changed`, `failed`, `unreachable` ..."""
        return sum(counts.get(what, 0) for counts in self.recap.values())

    def tail(self, lines: int = 60) -> str:
        """The last lines, for the message of a failed test."""
        said = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join([f"rc {self.code}, {self.log}", *said[-lines:]])

    def errors(self, lines: int = 40) -> str:
        """What failed tasks said, for the message of a failed test."""
        said = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        found = [number for number, line in enumerate(said) if re.match(r"(fatal|\[ERROR\]|ERROR)", line)]
        near = sorted({near for number in found for near in range(number, min(number + 15, len(said)))})
        return "\n".join([f"rc {self.code}, {self.log}", *(said[number] for number in near[:lines])])


def recap(output: str) -> dict[str, dict[str, int]]:
    """The table at the end of a run, by host; empty when the run ended before it."""
    table = output.rpartition("PLAY RECAP")[2] if "PLAY RECAP" in output else ""
    found = {}
    for match in _RECAP.finditer(table):
        pairs = (pair.split("=") for pair in match["counts"].split())
        found[match["host"]] = {name: int(number) for name, number in pairs}
    return found


class Running:
    """A playbook that runs. At the end of a `with` block it does not any more, however that was left."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, limit: float) -> None:
        self._process, self._log, self._limit, self._begin = process, log, limit, time.monotonic()

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_what: object) -> None:
        self.kill()

    def ended(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def wait(self) -> Outcome:
        """Wait for the end; LabError, and no process left, when it takes longer than its limit."""
        try:
            self._process.wait(timeout=max(1.0, self._limit - (time.monotonic() - self._begin)))
        except subprocess.TimeoutExpired as error:
            raise LabError(f"the playbook did not end within {self._limit:g} s; see {self._log}") from error
        finally:
            self.kill()
        output = self._log.read_text(encoding="utf-8", errors="replace")
        seconds = time.monotonic() - self._begin
        return Outcome(self._process.returncode, " ".join(output.split()), self._log, seconds, recap(output))

    def kill(self) -> None:
        """End it at once with all its processes, as when the controller dies."""
        if not self.ended():
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(timeout=10)


class Controller:
    """The machine that a person runs playbooks on: a working directory, and folders that only its runs write to."""

    def __init__(
        self,
        lab: Settings,
        folder: Path,
        *,
        playbook: str = "migrate.yml",
        program: Path | None = None,
        cwd: Path | None = None,
        collections: Path | None = None,
        settings: Mapping[str, object] | None = None,
    ) -> None:
        self.lab, self.folder, self._playbook = lab, folder, playbook
        self._program = program or Path(sys.executable).parent / "ansible-playbook"
        self._cwd = cwd or lab.checkout
        self.home, self.tmp, self.reports = folder / "home", folder / "tmp", folder / "reports"
        for path in (folder, self.home, self.tmp, self.reports):
            path.mkdir(parents=True, exist_ok=True)
        self.inventory = self._inventory(settings) if settings else lab.inventory
        # The checkout's settings hold for the installed collection too, except for where collections are.
        self.environment = {
            # Molecule and pytest have set variables of their own for the process that this one comes from.
            **{key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "MOLECULE_"))},
            "ANSIBLE_CONFIG": str(lab.checkout / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(collections or lab.checkout / "collections"),
            "ANSIBLE_HOME": str(self.home),
            "ANSIBLE_NOCOLOR": "1",
            "TMPDIR": str(self.tmp),
        }
        self._number = 0

    def _inventory(self, settings: Mapping[str, object]) -> Path:
        # As inventory.example has it: the hosts in one file, the settings of the chain in that of its group.
        folder = self.folder / "inventory"
        (folder / "group_vars").mkdir(parents=True)
        shutil.copy(self.lab.inventory, folder / "hosts.yml")
        (folder / "group_vars" / "evnode_members.yml").write_text(yaml.safe_dump(dict(settings)), encoding="utf-8")
        return folder / "hosts.yml"

    @property
    def ansible(self) -> str:
        """Version of the ansible-core in use."""
        done = subprocess.run([str(self._program), "--version"], capture_output=True, text=True, timeout=60, check=True)
        found = re.search(r"core ([\d.]+)", done.stdout)
        return found[1] if found else done.stdout.splitlines()[0]

    def start(
        self, name: str, arguments: Sequence[str], *, inventory: Path | None = None, limit: float = LIMIT_S
    ) -> Running:
        """Start a run; `name` is that of its log. The controller's own inventory, unless another is given."""
        self._number += 1
        log = self.folder / f"{self._number:02d}-{name}.log"
        argv = [str(self._program), self._playbook, "-i", str(inventory or self.inventory), *arguments]
        with log.open("wb") as output:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.environment,
                cwd=self._cwd,
                start_new_session=True,
            )
        return Running(process, log, limit)

    def run(self, name: str, *arguments: str, inventory: Path | None = None, limit: float = LIMIT_S) -> Outcome:
        """Run to the end."""
        return self.start(name, arguments, inventory=inventory, limit=limit).wait()
