# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look for secrets where they must not be: processes, logs, disks of the hosts and of the controller."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from lab import machine
from lab.errors import LabError
from lab.settings import Host, Settings
from lab.trial import disk

# Shorter than this, a match may be chance.
_LEAST = 12
# A process that has not called exec(2) for so many rounds is looked at in every so-many-th only: it rarely does later.
_SETTLED, _SELDOM = 20, 10


def forms(secret: bytes) -> dict[str, bytes]:
    """A secret as it may look in a text: as it is, in hex, and as part of a longer Base64 text."""
    found = {"plain": secret, "hex": secret.hex().encode()}
    for shift in range(3):
        # The first and last characters depend on the neighbours; what is left depends on the secret alone.
        text = base64.b64encode(b"\0" * shift + secret)
        start = 0 if shift == 0 else 4
        whole = (shift + len(secret)) // 3 * 4
        found[f"base64+{shift}"] = text[start:whole]
    return {name: form for name, form in found.items() if len(form) >= _LEAST}


class Needles:
    """What is looked for: name to bytes."""

    def __init__(self, secrets: Mapping[str, bytes]) -> None:
        self.wanted = {
            f"{name} ({how})": form for name, secret in secrets.items() for how, form in forms(secret).items()
        }
        self.longest = max(map(len, self.wanted.values()))

    def within(self, data: bytes) -> set[str]:
        """Names of the needles in some bytes."""
        return {name for name, form in self.wanted.items() if form in data}

    def in_file(self, path: Path) -> set[str]:
        """Names of the needles in a file; none for a file that is gone."""
        found: set[str] = set()
        with contextlib.suppress(FileNotFoundError):
            for piece in disk.data_of(path, overlap=self.longest - 1):
                found |= self.within(piece)
        return found

    def below(self, folder: Path) -> dict[str, set[str]]:
        """Files below a folder that hold needles, by their path below it."""
        found = {}
        for where, _folders, files in os.walk(folder):
            for name in files:
                path = Path(where) / name
                if path.is_symlink() or not path.is_file():
                    continue
                seen = self.in_file(path)
                if seen:
                    found[str(path.relative_to(folder))] = seen
        return found


def secrets_of(lab: Settings) -> dict[str, bytes]:
    """The chain's secrets out of the first host: passphrase, encrypted key with its salt, and the key itself."""
    host, layout = lab.hosts[0], lab.layout
    root = machine.root(host)
    found = {"passphrase": (root / layout.passphrase_file.lstrip("/")).read_bytes().strip()}
    signer = json.loads((root / layout.home.lstrip("/") / "config" / "signer.json").read_text(encoding="utf-8"))
    for field, value in signer.items():
        if "pub" not in field and isinstance(value, str) and len(value) >= _LEAST:
            found[f"signer.json {field}"] = value.encode()
    export = [layout.binary, "keys", "export", "--home", layout.home]
    export += [f"--evnode.signer.passphrase_file={layout.passphrase_file}"]
    done = machine.execute(host, ["runuser", "--user", layout.user, "--", *export], check=False)
    words = [word for word in (done.stdout + done.stderr).split() if len(word) >= 64 and _is_hex(word)]
    if done.returncode != 0 or not words:
        raise LabError(f"{host.name}: the key could not be exported to look for it (exit code {done.returncode})")
    # The seed; what a node may write behind it is the public half.
    found["private key"] = bytes.fromhex(words[-1])[:32]
    return found


def _is_hex(word: str) -> bool:
    try:
        bytes.fromhex(word)
    except ValueError:
        return False
    return True


def journal(host: Host) -> bytes:
    """All fields of all entries of the host's journal; entries in the files themselves may be compressed."""
    argv = machine.enter_argv(host, ["journalctl", "--output=export", "--all", "--no-pager"])
    return subprocess.run(argv, capture_output=True, timeout=120, check=True).stdout


class _Process(NamedTuple):
    """What a process was when it was looked at last, and in how many rounds it has been that."""

    command: bytes
    rounds: int


class Sampler:
    """Looks again and again at every process of the lab machine, those of all hosts included, and at some folders.

    A host's processes are processes of the lab machine, so one look covers controller and hosts.
    """

    def __init__(self, needles: Needles, folders: Iterable[Path] = (), interval: float = 0.05) -> None:
        self._needles, self._folders, self._interval = needles, list(folders), interval
        self.found: Counter[tuple[str, str]] = Counter()
        self.rounds = 0
        self._processes: set[tuple[str, str]] = set()
        self._known: dict[str, _Process] = {}
        self._files: dict[str, int] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="sampler", daemon=True)

    @property
    def processes(self) -> int:
        """How many different processes were looked at."""
        return len(self._processes)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=10)

    def _loop(self) -> None:
        while not self._stop.is_set():
            self._look()
            self.rounds += 1
            self._stop.wait(self._interval)

    def _look(self) -> None:
        before, self._known = self._known, {}
        for pid in os.listdir("/proc"):
            if not pid.isdigit():
                continue
            known = before.get(pid)
            if known is not None and known.rounds > _SETTLED and self.rounds % _SELDOM:
                self._known[pid] = known
                continue
            with contextlib.suppress(OSError):
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
                # Both are set by exec(2), so one that is what it was holds what it held.
                if known is not None and known.command == command:
                    self._known[pid] = _Process(command, known.rounds + 1)
                    continue
                self._known[pid] = _Process(command, 0)
                environment = Path(f"/proc/{pid}/environ").read_bytes()
                self._processes.add((pid, command[:80].decode(errors="replace")))
                for name in self._needles.within(command):
                    self.found[("command line", name)] += 1
                for name in self._needles.within(environment):
                    self.found[("environment", name)] += 1
        for folder in self._folders:
            for where, _folders, files in os.walk(folder):
                for name in files:
                    self._look_at(Path(where) / name)

    def _look_at(self, path: Path) -> None:
        with contextlib.suppress(OSError):
            found = path.lstat()
            # Only what is new or has grown: a long log is not read again each time.
            if self._files.get(str(path)) == found.st_mtime_ns or not path.is_file():
                return
            self._files[str(path)] = found.st_mtime_ns
            for name in self._needles.in_file(path):
                self.found[(f"file {path}", name)] += 1
