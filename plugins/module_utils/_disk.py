# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""Disks, as far as a node depends on them. Nothing that outlives the call is written."""

from __future__ import annotations

import contextlib
import os
import typing as t

from ._files import read_bytes
from ._wait import SYSTEM_CLOCK

if t.TYPE_CHECKING:
    from ._wait import Clock

_PAGE = b"\0" * 4096


def free_bytes(path: str) -> int | None:
    """Return how much an ordinary user may still write at ``path``, or where it would be created."""
    found = _stat_of(path)
    return None if found is None else found.f_bavail * found.f_frsize


def free_inodes(path: str) -> int | None:
    """Return how many files an ordinary user may still create there; None where the file system sets no number."""
    found = _stat_of(path)
    return None if found is None or not found.f_files else found.f_favail


def _stat_of(path: str) -> os.statvfs_result | None:
    """Return what is known of the file system that ``path`` is on, or would be on."""
    try:
        return os.statvfs(_existing(path))
    except OSError:
        return None


def mounted_with(path: str, flag: int) -> bool:
    """Tell whether the file system of ``path`` has a flag of statvfs(3)."""
    found = _stat_of(path)
    return found is not None and bool(found.f_flag & flag)


def real_bytes(folder: str) -> int | None:
    """Return what the files below a directory take on disk, holes left out; None where there is no file."""
    total, seen = 0, False
    for place, _folders, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # a running node removes files all the time
                total += os.lstat(os.path.join(place, name)).st_blocks * 512
                seen = True
    return total if seen else None


def file_system(path: str, proc: str = "/proc") -> str | None:
    """Return the type of the file system that ``path`` is on, or would be on."""
    best, kind = "", None
    real = os.path.realpath(path)
    for line in (read_bytes(f"{proc}/self/mountinfo") or b"").decode("utf-8", "replace").splitlines():
        before, dash, after = line.partition(" - ")
        if not dash:
            continue
        mount = before.split()[4].replace("\\040", " ")
        inside = real == mount or real.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best):
            best, kind = mount, after.split()[0]
    return kind


def sync_times(path: str, *, samples: int = 100, limit_s: float = 1.0, clock: Clock = SYSTEM_CLOCK) -> dict[str, t.Any]:
    """Return how long 4 KiB take to the disk of ``path``: ``p50_ms``, ``p99_ms`` and ``max_ms`` of so many ``samples``.

    The file has no name (O_TMPFILE) and is gone with the call. No values, and a ``reason``, where the file system knows
    no such files. Stops after ``limit_s`` seconds, with fewer samples.
    """
    now = clock.monotonic
    found: dict[str, t.Any] = {"samples": 0, "p50_ms": None, "p99_ms": None, "max_ms": None, "reason": None}
    times: list[float] = []
    try:
        file = os.open(_existing(path), os.O_TMPFILE | os.O_WRONLY, 0o600)
    except OSError as exc:
        return {**found, "reason": f"no file without a name at {path}: {exc.strerror}"}
    try:
        begin = now()
        while len(times) < samples and now() - begin < limit_s:
            before = now()
            os.pwrite(file, _PAGE, len(times) * len(_PAGE))
            os.fdatasync(file)
            times.append(now() - before)
    except OSError as exc:
        return {**found, "reason": f"a write at {path} failed: {exc.strerror}"}
    finally:
        os.close(file)
    times.sort()
    values = {"p50_ms": times[len(times) // 2], "p99_ms": times[(len(times) * 99 - 1) // 100], "max_ms": times[-1]}
    return {**found, "samples": len(times), **{name: round(value * 1000, 2) for name, value in values.items()}}


def _existing(path: str) -> str:
    """Return ``path``, or the next one above it that exists."""
    while not os.path.exists(path) and path not in ("", "/"):
        path = os.path.dirname(path)
    return path or "/"
