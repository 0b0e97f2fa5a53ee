# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""The record a run leaves on every member: one JSON object a line, on disk before the call returns."""

from __future__ import annotations

import datetime
import errno
import json
import os
import typing as t

from ._files import FileError, fsync_dir, make_dirs

if t.TYPE_CHECKING:
    from collections.abc import Mapping

_RESERVED = frozenset({"at", "run", "event"})


def append(path: str, run: str, event: str, facts: Mapping[str, t.Any] | None = None) -> dict[str, t.Any]:
    """Append one entry, fsync it, and return it; facts must be JSON and must not hold a secret."""
    entry = entry_of(path, run, event, facts)
    folder = os.path.dirname(path)
    make_dirs(folder, mode=0o700)
    new = not os.path.exists(path)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        try:
            # A line that a power cut left torn must not swallow this one.
            start = b"" if new or _ends_whole(path) else b"\n"
            line = start + json.dumps(entry).encode() + b"\n"
            # One write(2) on O_APPEND: two writers never mix their lines.
            if os.write(fd, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(fd)
        finally:
            os.close(fd)
        if new:
            fsync_dir(folder)
    except OSError as exc:
        raise FileError(f"{path} cannot be written: {exc.strerror}") from exc
    return entry


def entry_of(path: str, run: str, event: str, facts: Mapping[str, t.Any] | None = None) -> dict[str, t.Any]:
    """Return the entry that ``append`` with the same arguments would write now."""
    clash = _RESERVED.intersection(facts or {})
    if clash:
        raise FileError(f"{path}: a journal fact may not be called {', '.join(sorted(clash))}")
    now = datetime.datetime.now(datetime.timezone.utc)
    entry = {"at": now.isoformat(timespec="microseconds").replace("+00:00", "Z"), "run": run, "event": event}
    entry.update(facts or {})
    return entry


def read(path: str) -> list[dict[str, t.Any]]:
    """Return all entries, oldest first; a last line that a power cut left torn is passed over."""
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            lines = handle.read().splitlines()
    except FileNotFoundError:
        return []
    except OSError as exc:
        raise FileError(f"{path} cannot be read: {exc.strerror}") from exc
    entries = []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            entries.append(entry)
    return entries


def _ends_whole(path: str) -> bool:
    with open(path, "rb") as handle:
        if handle.seek(0, os.SEEK_END) == 0:
            return True
        handle.seek(-1, os.SEEK_END)
        return handle.read(1) == b"\n"
