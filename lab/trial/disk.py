# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is on a host's disk and what runs on it, to be compared before and after something that changes nothing."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from lab import image, machine
from lab.settings import Host, Settings

# Written by the operating system of its own accord, or by any login.
_RESTLESS = (
    "var/log/*",
    "var/lib/systemd/*",
    "var/lib/sudo/*",
    "var/cache/ldconfig/*",
    "home/operator/.ansible*",
)

CHUNK = 1 << 20


def data_of(path: Path, overlap: int = 0) -> Iterator[bytes]:
    """The contents of a file without its holes, in pieces; `overlap` bytes of a piece come again in the next."""
    with path.open("rb", buffering=0) as file:
        size, position = os.fstat(file.fileno()).st_size, 0
        while position < size:
            try:
                position = os.lseek(file.fileno(), position, os.SEEK_DATA)
            except OSError:
                return  # a hole up to the end
            end = os.lseek(file.fileno(), position, os.SEEK_HOLE)
            tail = b""
            while position < end:
                piece = os.pread(file.fileno(), min(CHUNK, end - position), position)
                if not piece:
                    return
                position += len(piece)
                yield tail + piece
                tail = (tail + piece)[-overlap:] if overlap else b""


def _describe(path: Path) -> str:
    found = path.lstat()
    base = f"{stat.filemode(found.st_mode)} {found.st_uid}:{found.st_gid} {found.st_mtime_ns}"
    if stat.S_ISLNK(found.st_mode):
        return f"{base} -> {path.readlink()}"
    if not stat.S_ISREG(found.st_mode):
        return base
    digest = hashlib.sha256()
    for piece in data_of(path):
        digest.update(piece)
    return f"{base} {found.st_size} bytes, sha256 {digest.hexdigest()}"


def snapshot(host: Host, lower: Path, ignore: Iterable[str] = ()) -> dict[str, str]:
    """Everything that the host has ever written: path below `/` to mode, owner, time and checksum.

    A host's own writes are the upper folder of its overlay, so nothing can hide in a place nobody thought of. A folder
    of the image that is there as it was is no write: the overlay copies it as soon as a nameless file is made in it.
    `ignore` are shell patterns of paths below `/`, without the leading slash; what lies under a match is left out too.
    """
    patterns = [*_RESTLESS, *ignore]
    found: dict[str, str] = {}
    for folder, folders, files in os.walk(host.upper):
        relative = os.path.relpath(folder, host.upper)
        for name in [*folders, *files]:
            path = os.path.normpath(os.path.join(relative, name))
            if any(fnmatch.fnmatch(path, pattern) for pattern in patterns):
                if name in folders:
                    folders.remove(name)
                continue
            full = Path(folder) / name
            try:
                text = _describe(full)
            except FileNotFoundError:
                continue  # gone while being looked at
            origin = lower / path
            if not (name in folders and origin.is_dir() and _describe(origin) == text):
                found[path] = text
    return found


def running(lab: Settings, host: Host) -> dict[str, str]:
    """What is not on the disk: pid and state of the chain's unit, units made for a time, and the folder in /run."""
    unit = f"{lab.layout.unit}.service"
    names = "MainPID,ActiveState,UnitFileState,FragmentPath,DropInPaths,NRestarts,NeedDaemonReload"
    shown = machine.execute(host, ["systemctl", "show", f"--property={names}", unit]).stdout
    state = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    folders = ["/run/evnode-ha", "/run/systemd/transient"]
    listed = machine.execute(
        host, ["find", *folders, "-name", "*evnode*", "-o", "-path", "/run/evnode-ha/*"], check=False
    )
    state["made for a time"] = " ".join(sorted(listed.stdout.split()))
    return state


def difference(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """What is new, gone or other, in words; empty when nothing is."""
    words = []
    for path in sorted(before.keys() | after.keys()):
        if before.get(path) != after.get(path):
            words.append(f"{path}: {before.get(path, 'not there')} => {after.get(path, 'gone')}")
    return words


class Untouched:
    """All hosts of a lab at one moment, to ask later what has been changed since.

    The store of a node that runs is left out: `stores` names the hosts for which that is meant, default the first.
    """

    def __init__(self, lab: Settings, *, stores: Iterable[str] = ("node-1",), ignore: Iterable[str] = ()) -> None:
        self._lab, self._stores, self._ignore = lab, set(stores), list(ignore)
        self._before = self._look()

    def _look(self) -> dict[str, str]:
        home = self._lab.layout.home.lstrip("/")
        found = {}
        lower = image.path(self._lab.cache)
        for host in self._lab.hosts:
            # A follower's anchor has a store as well.
            own = [f"{home}/data", f"{home}-anchor/data"] if host.name in self._stores else []
            for path, text in snapshot(host, lower, [*own, *self._ignore]).items():
                found[f"{host.name}:/{path}"] = text
            for key, text in running(self._lab, host).items():
                found[f"{host.name}: {key}"] = text
        return found

    def changes(self) -> list[str]:
        """What is different by now, in words."""
        return difference(self._before, self._look())
