# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""What a store holds: every file as its size and the hashes of its chunks that are not all zero.

Two trees with the same content have the same digest whatever their file systems did with holes, because a chunk of
zeros counts as a hole everywhere. Nothing outside the root is ever opened: no link is followed, not even a directory's.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import fnmatch
import hashlib
import itertools
import json
import os
import re
import stat
import time
import typing as t

from .._errors import HaError

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

CHUNK = 256 * 1024
"""Bytes hashed together; part of the digest's definition, so both ends must agree on it."""

_ZEROS = bytes(CHUNK)

NEVER_COPIED = (
    "LOCK",
    "node_key.json",
    "evnode.yaml",
    "signer.json",
    "jwt.hex",
    "jwtsecret",
    "discovery-secret",
    "known-peers.json",
    "mdbx.lck",
    "lock",
    "*.ipc",
)
"""Locks, secrets and what makes a host itself: neither sent, nor compared, nor deleted, whatever a caller asks for."""

IMMUTABLE = ("*.sst",)
"""Files that their database writes once and never again."""

SETTLED_NS = 10 * 1_000_000_000
"""A file younger than this may still be being written through a memory map, which moves no time stamp."""


class StoreError(HaError):
    """A store could not be read, sent, written or proven equal."""


class Entry(t.NamedTuple):
    """A directory (``kind`` d) or a file (``kind`` f) below a root; ``chunks`` maps chunk number to SHA-256.

    ``links`` is how many names a file has on its own host; it does not travel.
    """

    path: str
    kind: str
    mode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    real: int
    chunks: dict[int, bytes]
    links: int = 1

    @property
    def stamp(self) -> tuple[int, int, int, int]:
        """What changes when somebody writes to the file."""
        return (self.size, self.mtime_ns, self.ctime_ns, self.inode)


class Summary(t.NamedTuple):
    """A manifest in four numbers; ``apparent`` and ``real`` are bytes."""

    digest: str
    files: int
    apparent: int
    real: int

    def as_dict(self) -> dict[str, t.Any]:
        """Return it as modules return it."""
        return {
            "digest": self.digest,
            "files": self.files,
            "apparent_bytes": self.apparent,
            "real_bytes": self.real,
        }


class Rules:
    """Which paths count.

    A pattern without a slash is compared with every component of a path, one with a slash with the whole path from the
    root; what is below an excluded directory is excluded too.
    """

    def __init__(self, exclude: Iterable[str] = (), *, only: str | None = None) -> None:
        """``exclude`` is added to ``NEVER_COPIED``; ``only`` names the one file that counts, where a root is a file."""
        self.only = only
        wished = (pattern.strip("/") for pattern in exclude)
        self.patterns = tuple(sorted({*NEVER_COPIED, *(pattern for pattern in wished if pattern)}))
        self._name = _any_of(pattern for pattern in self.patterns if "/" not in pattern)
        self._path = _any_of(pattern for pattern in self.patterns if "/" in pattern)

    def excluded(self, path: str) -> bool:
        """Tell whether a path relative to the root is left out."""
        parts = path.split("/")
        above = itertools.accumulate(parts, lambda left, right: f"{left}/{right}")
        return any(self.excluded_here(upper, part) for upper, part in zip(above, parts))

    def excluded_here(self, path: str, name: str) -> bool:
        """The same for a path whose last component is ``name`` and whose parent is known not to be left out."""
        if self.only is not None and path != self.only:
            return True
        return bool(self._name.match(name) or self._path.match(path))


def _any_of(patterns: Iterable[str]) -> re.Pattern[str]:
    # An empty alternation would match everything; this one matches nothing.
    return re.compile("|".join(map(fnmatch.translate, patterns)) or r"(?!)")


def split_root(path: str) -> tuple[str, str | None]:
    """Return the directory to read, and the one file that counts in it where the root is a file."""
    return (os.path.dirname(path), os.path.basename(path)) if os.path.isfile(path) else (path, None)


def open_root(path: str) -> int:
    """Open a root directory (a link *to* the root is the operator's business and followed)."""
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as exc:
        raise StoreError(f"Expected a directory at {path}, found: {exc.strerror}; give the store's real path") from exc


def check_relative(path: str) -> list[str]:
    """Return the components of a path that stays below its root; raise StoreError for any other path."""
    parts = path.split("/")
    if not path or "\0" in path or any(part in ("", ".", "..") for part in parts):
        raise StoreError(f"Expected a plain path below the root, found {path!r}")
    return parts


def open_beneath(root_fd: int, path: str, flags: int, mode: int = 0o600) -> int:
    """Open a path below an open root without following any link on the way; raise OSError as open(2) does."""
    parts = check_relative(path)
    folder = root_fd
    try:
        for part in parts[:-1]:
            deeper = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            if folder != root_fd:
                os.close(folder)
            folder = deeper
        return os.open(parts[-1], flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, mode, dir_fd=folder)
    finally:
        if folder != root_fd:
            os.close(folder)


def chunks_of(fd: int, size: int) -> Iterator[tuple[int, bytes]]:
    """Yield number and content of every chunk of an open file that is not all zero, in order."""
    done = -1
    for start, end in _data_segments(fd, size):
        for number in range(max(start // CHUNK, done + 1), (end - 1) // CHUNK + 1):
            done = number
            content = read_chunk(fd, number, size)
            if content and content != _ZEROS[: len(content)]:
                yield number, content


def _data_segments(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of what is not a hole; a file system without holes calls all of a file data."""
    place = 0
    while place < size:
        try:
            start = os.lseek(fd, place, os.SEEK_DATA)
        except OSError as exc:
            if exc.errno == errno.ENXIO:
                return
            if exc.errno != errno.EINVAL:
                raise
            start, place = place, size
        else:
            place = min(os.lseek(fd, start, os.SEEK_HOLE), size)
        if start < place:
            yield start, place


def read_chunk(fd: int, number: int, size: int) -> bytes:
    """Return one chunk's bytes up to ``size`` or the file's end."""
    offset = number * CHUNK
    wanted = min(CHUNK, size - offset)
    content = os.pread(fd, wanted, offset) if wanted > 0 else b""
    while 0 < len(content) < wanted:
        more = os.pread(fd, wanted - len(content), offset + len(content))
        if not more:
            break
        content += more
    return content


def hash_file(fd: int, size: int, beat: Callable[[int], None] | None = None) -> dict[int, bytes]:
    """Return the SHA-256 of every chunk that is not all zero; ``beat`` is told the bytes read, chunk by chunk."""
    found: dict[int, bytes] = {}
    for number, content in chunks_of(fd, size):
        found[number] = hashlib.sha256(content).digest()
        if beat:
            beat(len(content))
    return found


def scan(
    root: str,
    rules: Rules,
    *,
    known: Mapping[str, Entry] | None = None,
    quiet: bool = False,
    reuse: Callable[[str], bool] | None = None,
    beat: Callable[[int], None] | None = None,
    now_ns: Callable[[], int] = time.time_ns,
) -> Iterator[Entry]:
    """Yield every directory and file below ``root``, each directory before what is in it.

    ``known`` holds entries of an earlier scan of this host: a file that was not touched since and for which ``reuse``
    says yes (an immutable one, unless told otherwise) is not read again. ``quiet`` says that nobody writes any more:
    then a file that vanishes or changes meanwhile is an error, while otherwise it is passed over or taken as it was.
    Raises StoreError for a link (what it points to would be missing in a copy). Sockets, pipes and devices are passed
    over.
    """
    root_fd = open_root(root)
    try:
        yield from _scan_folder(root_fd, root, "", _Scan(rules, known or {}, quiet, reuse or immutable, beat, now_ns))
    finally:
        os.close(root_fd)


class _Scan(t.NamedTuple):
    rules: Rules
    known: Mapping[str, Entry]
    quiet: bool
    reuse: Callable[[str], bool]
    beat: Callable[[int], None] | None
    now_ns: Callable[[], int]


def _scan_folder(fd: int, root: str, prefix: str, job: _Scan) -> Iterator[Entry]:
    with os.scandir(fd) as listing:
        names = sorted(item.name for item in listing)
    for name in names:
        path = prefix + name
        if job.rules.excluded_here(path, name):
            continue
        try:
            found = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if stat.S_ISLNK(found.st_mode):
                raise StoreError(
                    f"{root}/{path} is a symbolic link; a copy would lack what it points to: "
                    "give the directory it points to as a root of its own and exclude the link"
                )
            if stat.S_ISDIR(found.st_mode):
                deeper = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
                try:
                    yield _entry(path, "d", found, {})
                    yield from _scan_folder(deeper, root, path + "/", job)
                finally:
                    os.close(deeper)
            elif stat.S_ISREG(found.st_mode):
                yield _scan_file(fd, name, path, found, job)
        except FileNotFoundError as exc:
            if job.quiet:
                raise StoreError(f"{root}/{path} vanished while it was read: something still writes there") from exc
        except OSError as exc:
            raise StoreError(f"{root}/{path} cannot be read: {exc.strerror}") from exc


def _scan_file(folder: int, name: str, path: str, found: os.stat_result, job: _Scan) -> Entry:
    before = job.known.get(path)
    fresh = _entry(path, "f", found, {})
    if before is not None and job.reuse(path) and before.kind == "f" and before.stamp == fresh.stamp:
        return fresh._replace(chunks=before.chunks)
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    try:
        opened = os.fstat(fd)
        chunks = hash_file(fd, opened.st_size, job.beat)
        after = os.fstat(fd)
    finally:
        os.close(fd)
    first, last = _entry(path, "f", opened, chunks), _entry(path, "f", after, chunks)
    if first.stamp == last.stamp and job.now_ns() - opened.st_mtime_ns > SETTLED_NS:
        return first
    if job.quiet and first.stamp != last.stamp:
        raise StoreError(f"{path} changed while it was read: something still writes to this store; stop it first")
    # Inode 0 is nobody's: such an entry is good for this once, and never taken for known later.
    return first if job.quiet else first._replace(inode=0)


def _entry(path: str, kind: str, found: os.stat_result, chunks: dict[int, bytes]) -> Entry:
    file = kind == "f"
    return Entry(
        path,
        kind,
        stat.S_IMODE(found.st_mode),
        found.st_size if file else 0,
        found.st_mtime_ns,
        found.st_ctime_ns,
        found.st_ino,
        found.st_blocks * 512 if file else 0,
        chunks,
        found.st_nlink if file else 1,
    )


def stamps(root: str, rules: Rules) -> dict[str, tuple[int, int, int, int]]:
    """Return the stamp of every file below ``root`` without reading any."""
    found: dict[str, tuple[int, int, int, int]] = {}

    def walk(fd: int, prefix: str) -> None:
        with os.scandir(fd) as listing:
            names = [item.name for item in listing]
        for name in names:
            path = prefix + name
            if rules.excluded_here(path, name):
                continue
            here = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if stat.S_ISDIR(here.st_mode):
                deeper = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
                try:
                    walk(deeper, path + "/")
                finally:
                    os.close(deeper)
            elif stat.S_ISREG(here.st_mode):
                found[path] = _entry(path, "f", here, {}).stamp

    root_fd = open_root(root)
    try:
        walk(root_fd, "")
    except OSError as exc:
        raise StoreError(f"{root} cannot be read again: {exc.strerror}; something still writes there") from exc
    finally:
        os.close(root_fd)
    return found


def immutable(path: str) -> bool:
    """Tell whether a file is of a kind that is never rewritten."""
    name = path.rsplit("/", 1)[-1]
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in IMMUTABLE)


def digest_of(entries: Iterable[Entry]) -> str:
    """Return one hex SHA-256 for a tree's paths, sizes and contents; owners, modes and times do not count."""
    total = hashlib.sha256(b"evnode store manifest 1\n")
    for entry in sorted(entries, key=lambda item: item.path.encode(errors="surrogateescape")):
        name = entry.path.encode(errors="surrogateescape")
        total.update(f"{entry.kind} {entry.size} {len(entry.chunks)} {len(name)}\n".encode() + name)
        for number in sorted(entry.chunks):
            total.update(number.to_bytes(8, "big") + entry.chunks[number])
    return total.hexdigest()


def summary(trees: Mapping[str, Sequence[Entry]]) -> Summary:
    """Sum up one manifest over several roots, keyed by their names."""
    total = hashlib.sha256()
    for name in sorted(trees):
        total.update(f"{name}\0{digest_of(trees[name])}\n".encode())
    files = [entry for entries in trees.values() for entry in entries if entry.kind == "f"]
    return Summary(
        total.hexdigest(), len(files), sum(entry.size for entry in files), sum(entry.real for entry in files)
    )


def differences(expected: Iterable[Entry], found: Iterable[Entry], *, most: int = 5) -> list[str]:
    """Name the first ``most`` paths that are not equal, each with what is different."""
    left = {entry.path: entry for entry in expected}
    right = {entry.path: entry for entry in found}
    told = []
    for path in sorted({*left, *right}):
        there, here = left.get(path), right.get(path)
        if there is None or here is None:
            told.append(f"{path} ({'missing here' if here is None else 'only here'})")
        elif there.kind != here.kind:
            told.append(f"{path} (a directory on one side, a file on the other)")
        elif there.size != here.size:
            told.append(f"{path} (size {there.size} there, {here.size} here)")
        elif there.chunks != here.chunks:
            number = min(
                number
                for number in {*there.chunks, *here.chunks}
                if there.chunks.get(number) != here.chunks.get(number)
            )
            told.append(f"{path} (content differs from byte {number * CHUNK} on)")
        if len(told) >= most:
            break
    return told


def dump(entry: Entry) -> dict[str, t.Any]:
    """Turn an entry into JSON; chunk numbers travel as runs, hashes as one hex string."""
    numbers = sorted(entry.chunks)
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][0] + runs[-1][1] == number:
            runs[-1][1] += 1
        else:
            runs.append([number, 1])
    return {
        "path": entry.path,
        "stat": [entry.kind, entry.mode, entry.size, entry.mtime_ns, entry.ctime_ns, entry.inode, entry.real],
        "runs": runs,
        "hashes": b"".join(entry.chunks[number] for number in numbers).hex(),
    }


def load(data: t.Any) -> Entry:
    """Turn JSON of ``dump`` back into an entry; StoreError where it is not one."""
    try:
        check_relative(data["path"])
        kind, mode, size, mtime_ns, ctime_ns, inode, real = data["stat"]
        numbers = [number for first, count in data["runs"] for number in range(first, first + count)]
        hashes = bytes.fromhex(data["hashes"])
        if kind not in ("d", "f") or len(hashes) != 32 * len(numbers) or (numbers and numbers[-1] * CHUNK >= size):
            raise ValueError("kind, or number of hashes")
        chunks = {number: hashes[32 * place : 32 * place + 32] for place, number in enumerate(numbers)}
        return Entry(data["path"], kind, int(mode) & 0o7777, int(size), mtime_ns, ctime_ns, inode, real, chunks)
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise StoreError(f"A manifest entry is not readable: {exc}") from exc


def load_known(path: str) -> dict[str, dict[str, Entry]]:
    """Read the hashes that an earlier scan left, per root path; a file that cannot be read knows nothing."""
    try:
        with open(path, encoding="utf-8") as handle:
            data = json.load(handle)
        return {
            root: {entry.path: entry for entry in map(load, entries)} for root, entries in data["immutable"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StoreError):
        return {}


def save_known(path: str, trees: Mapping[str, Iterable[Entry]], known: Mapping[str, Mapping[str, Entry]]) -> bool:
    """Keep the hashes of immutable files for the next scan of the same roots (root path to entries).

    ``known`` is what ``load_known`` returned; where it holds them all already nothing is written, and False returned.
    """
    fresh = {
        root: {
            entry.path: entry._replace(links=1)
            for entry in entries
            if entry.inode and entry.kind == "f" and immutable(entry.path)
        }
        for root, entries in trees.items()
    }
    if all(known.get(root, {}).get(path) == entry for root in fresh for path, entry in fresh[root].items()):
        return False
    kept = {root: [dump(entry) for entry in found.values()] for root, found in {**known, **fresh}.items()}
    temporary = f"{path}.{os.getpid()}.new"
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w") as handle:
            json.dump({"immutable": kept}, handle)
        os.rename(temporary, path)
    except OSError as exc:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise StoreError(f"{path} cannot be written: {exc.strerror}") from exc
    return True


LOCK_FILES = ("LOCK", "mdbx.lck")
"""Files that an open database holds a lock on: geth its directory's, Pebble and MDBX that of the database."""


class DatabaseLocks:
    """The locks that an open database holds: held here, nobody opens it; not to be had, a process has it open.

    Badger locks its directory. Others lock a file in it, some with flock(2), some with fcntl(2), which do not see each
    other.
    """

    def __init__(self, root: str, folders: Iterable[str], *, shared: bool = False) -> None:
        """Lock ``root`` and the ``folders`` below it; StoreError names the directory that is in use."""
        self._fds: list[int] = []
        kind = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
        try:
            for path in [root, *(f"{root}/{folder}" for folder in folders)]:
                if not self._lock(path, os.O_RDONLY | os.O_DIRECTORY, kind):
                    continue
                for name in LOCK_FILES:
                    if self._lock(f"{path}/{name}", os.O_NOFOLLOW | (os.O_RDONLY if shared else os.O_RDWR), kind):
                        fcntl.lockf(self._fds[-1], kind)
        except OSError as exc:
            self.release()
            if isinstance(exc, (BlockingIOError, PermissionError)):
                raise StoreError(
                    f"Expected {path} to be closed, found a process that has it open; stop the node, or the execution "
                    "client, first"
                ) from exc
            raise StoreError(f"{root} cannot be locked: {exc.strerror}") from exc

    def _lock(self, path: str, flags: int, kind: int) -> bool:
        try:
            self._fds.append(os.open(path, flags | os.O_CLOEXEC))
        except (FileNotFoundError, IsADirectoryError):
            return False
        fcntl.flock(self._fds[-1], kind)
        return True

    def release(self) -> None:
        """Let others open it again."""
        for fd in self._fds:
            os.close(fd)
        self._fds = []
