# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.
"""The receiving end's disk: what has to change, and changing it in place with holes kept as holes."""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
import typing as t

from . import tree
from .tree import CHUNK, Entry, StoreError

if t.TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_BLOCK = 4096
_ZERO_BLOCK = bytes(_BLOCK)
_PUNCH_KEEP_SIZE = 0x01 | 0x02
_FSYNC_EACH = 32
SPARE = 16 * 1024 * 1024
"""Bytes that have to stay free on the file system after the copy."""

_libc = ctypes.CDLL(None, use_errno=True)
_fallocate = getattr(_libc, "fallocate64", None) or getattr(_libc, "fallocate", None)
_syncfs = getattr(_libc, "syncfs", None)


class FileJob(t.NamedTuple):
    """One file to make equal: chunks to ``fetch``, and chunks to turn into holes."""

    entry: Entry
    fetch: list[int]
    clear: list[int]

    @property
    def bytes(self) -> int:
        """Bytes that have to come over the wire."""
        return sum(min(CHUNK, self.entry.size - number * CHUNK) for number in self.fetch)


class Plan(t.NamedTuple):
    """What makes one root equal; ``grows`` and ``frees`` are bytes on disk."""

    remove: list[Entry]
    folders: list[Entry]
    files: list[FileJob]
    grows: int
    frees: int

    @property
    def bytes(self) -> int:
        """Bytes that have to come over the wire."""
        return sum(job.bytes for job in self.files)


def compare(source: Iterable[Entry], here: Iterable[Entry]) -> Plan:
    """Find out what turns ``here`` into ``source``."""
    wanted = {entry.path: entry for entry in source}
    found = {entry.path: entry for entry in here}
    remove = [entry for path, entry in found.items() if path not in wanted or wanted[path].kind != entry.kind]
    # A file with other names is replaced, never written to: they may be a backup (cp -al), or files of the source.
    remove += [
        entry
        for path, entry in found.items()
        if entry.links > 1
        and path in wanted
        and wanted[path].kind == "f"
        and not _equal(entry, wanted[path], mode=True)
    ]
    gone = {entry.path for entry in remove}
    folders = [entry for path, entry in wanted.items() if entry.kind == "d" and (path not in found or path in gone)]
    files: list[FileJob] = []
    grows = 0
    for path, entry in wanted.items():
        old = found.get(path) if path not in gone else None
        if entry.kind != "f" or (old and _equal(old, entry)):
            continue
        held = old.chunks if old else {}
        fetch = [number for number in sorted(entry.chunks) if held.get(number) != entry.chunks[number]]
        clear = [number for number in sorted(held) if number not in entry.chunks and number * CHUNK < entry.size]
        job = FileJob(entry, fetch, clear)
        files.append(job)
        fresh = [number for number in fetch if number not in held]
        # A file that is mostly holes inside its chunks takes no more room here than it takes there.
        room = sum(min(CHUNK, entry.size - number * CHUNK) for number in fresh)
        grows += min(room, entry.real + _BLOCK * len(fresh)) if not held else room
    return Plan(remove, folders, files, grows, sum(entry.real for entry in remove if entry.links == 1))


def _equal(here: Entry, there: Entry, *, mode: bool = False) -> bool:
    """Tell whether two files hold the same; with ``mode`` also whether the one here needs no other."""
    return here.size == there.size and here.chunks == there.chunks and (not mode or here.mode == there.mode)


class Target:
    """One root on this host; no link below it is ever followed, so the files' owner cannot lead root elsewhere."""

    def __init__(self, path: str, *, uid: int, gid: int) -> None:
        """``uid`` and ``gid`` own everything that is written."""
        self.path, self._uid, self._gid = path, uid, gid
        self._fd = tree.open_root(path)
        self._touched: list[str] = []

    def close(self) -> None:
        """Let go of the root."""
        os.close(self._fd)

    def free(self) -> tuple[int, int]:
        """Return the file system's device and its free bytes."""
        found = os.fstatvfs(self._fd)
        return os.fstat(self._fd).st_dev, found.f_bavail * found.f_frsize

    def remove(self, entries: Sequence[Entry]) -> None:
        """Delete files and directories; a directory that still holds something excluded stays."""
        for entry in sorted(entries, key=lambda item: item.path, reverse=True):
            with self._parent(entry.path) as (folder, name):
                if entry.kind == "f":
                    os.unlink(name, dir_fd=folder)
                else:
                    with contextlib.suppress(OSError):
                        os.rmdir(name, dir_fd=folder)

    def make_folders(self, entries: Sequence[Entry]) -> None:
        """Create directories, upper ones first."""
        for entry in sorted(entries, key=lambda item: item.path):
            with self._parent(entry.path) as (folder, name), contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=folder)

    @contextlib.contextmanager
    def writing(self, job: FileJob) -> Iterator[FileWriter]:
        """Open a file at its final size, with what has to vanish cut out, for its chunks to be written."""
        try:
            fd = tree.open_beneath(self._fd, job.entry.path, os.O_RDWR | os.O_CREAT)
        except OSError as exc:
            raise StoreError(f"{self.path}/{job.entry.path} cannot be written: {exc.strerror}") from exc
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise StoreError(f"{self.path}/{job.entry.path} is in the way and not a plain file; move it away")
            writer = FileWriter(fd, job.entry.size)
            for number in job.clear:
                writer.clear(number)
            yield writer
            os.fchown(fd, self._uid, self._gid)
            os.fchmod(fd, job.entry.mode)
            os.utime(fd, ns=(job.entry.mtime_ns, job.entry.mtime_ns))
            self._touched.append(job.entry.path)
        except OSError as exc:
            raise StoreError(f"{self.path}/{job.entry.path} cannot be written: {exc.strerror}") from exc
        finally:
            os.close(fd)

    def settle(self, entries: Iterable[Entry]) -> None:
        """Give everything its owner and mode."""
        for entry in entries:
            try:
                fd = tree.open_beneath(self._fd, entry.path, os.O_RDONLY)
            except FileNotFoundError:
                continue
            try:
                found = os.fstat(fd)
                if (found.st_uid, found.st_gid) != (self._uid, self._gid):
                    os.fchown(fd, self._uid, self._gid)
                if stat.S_IMODE(found.st_mode) != entry.mode:
                    os.fchmod(fd, entry.mode)
            finally:
                os.close(fd)

    def sync(self) -> None:
        """Make what was written survive a power cut."""
        if len(self._touched) > _FSYNC_EACH and _syncfs is not None and _syncfs(self._fd) == 0:
            self._touched.clear()
            return
        folders = {path.rpartition("/")[0] for path in self._touched} - {""}
        for path in [*self._touched, *sorted(folders)]:
            with contextlib.suppress(FileNotFoundError):
                fd = tree.open_beneath(self._fd, path, os.O_RDONLY)
                try:
                    os.fsync(fd)
                finally:
                    os.close(fd)
        os.fsync(self._fd)
        self._touched.clear()

    @contextlib.contextmanager
    def _parent(self, path: str) -> Iterator[tuple[int, str]]:
        upper, _slash, name = path.rpartition("/")
        folder = tree.open_beneath(self._fd, upper, os.O_RDONLY | os.O_DIRECTORY) if upper else os.dup(self._fd)
        try:
            yield folder, name
        except OSError as exc:
            raise StoreError(f"{self.path}/{path} cannot be changed: {exc.strerror}") from exc
        finally:
            os.close(folder)


class FileWriter:
    """Writes chunks into one open file; blocks of zeros become holes."""

    def __init__(self, fd: int, size: int) -> None:
        """``size`` is the file's final size in bytes."""
        self._fd, self._size = fd, size
        os.ftruncate(fd, size)

    def clear(self, number: int) -> None:
        """Turn a chunk into a hole."""
        offset = number * CHUNK
        length = min(CHUNK, self._size - offset)
        if length > 0 and not _punch(self._fd, offset, length):
            self._write(bytes(length), offset)

    def put(self, number: int, content: bytes) -> None:
        """Write a chunk; parts of it that are zero take no room."""
        offset = number * CHUNK
        if _ZERO_BLOCK not in content or not _punch(self._fd, offset, len(content)):
            self._write(content, offset)
            return
        start = 0
        for place in range(0, len(content) + _BLOCK, _BLOCK):
            block = content[place : place + _BLOCK]
            if block and block != _ZERO_BLOCK[: len(block)]:
                continue
            if start < place:
                self._write(content[start:place], offset + start)
            start = place + _BLOCK

    def _write(self, content: bytes, offset: int) -> None:
        view = memoryview(content)
        while view:
            written = os.pwrite(self._fd, view, offset)
            view, offset = view[written:], offset + written


def _punch(fd: int, offset: int, length: int) -> bool:
    """Cut a hole; False where the file system has none."""
    if _fallocate is None:
        return False
    return bool(_fallocate(fd, _PUNCH_KEEP_SIZE, ctypes.c_int64(offset), ctypes.c_int64(length)) == 0)
