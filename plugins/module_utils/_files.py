# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""Files that must be whole or absent: atomic replacement, links as switches, fingerprints."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import typing as t

from ._errors import HaError

if t.TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


_MOST_LINKS = 40


class FileError(HaError):
    """A file could not be read or written as asked."""


def read_bytes(path: str) -> bytes | None:
    """Return the content, or None where there is no such file."""
    try:
        with open(path, "rb") as handle:
            return handle.read()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise FileError(f"{path} cannot be read: {exc.strerror}") from exc


def fsync_dir(path: str) -> None:
    """Make a rename in this directory survive a power cut (fsync(2), NOTES)."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_atomic(path: str, data: bytes, *, mode: int, uid: int | None = None, gid: int | None = None) -> bool:
    """Put ``data`` at ``path`` with this mode and owner, by one rename; True if anything differed before.

    The temporary file is created 0600 and gets its final mode last, so a secret is never readable half-way.
    A symbolic link at ``path`` is replaced, not followed.
    """
    wanted_uid = os.geteuid() if uid is None else uid
    wanted_gid = os.getegid() if gid is None else gid
    if not needs_write(path, data, mode=mode, uid=wanted_uid, gid=wanted_gid):
        return False
    folder = os.path.dirname(path) or "."
    temporary = os.path.join(folder, f".{os.path.basename(path)}.{os.getpid()}.new")
    try:
        _forget(temporary)  # left by a killed process that had the same id
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(fd, "wb") as handle:
                handle.write(data)
                handle.flush()
                os.fchown(handle.fileno(), wanted_uid, wanted_gid)
                os.fchmod(handle.fileno(), mode)
                os.fsync(handle.fileno())
            os.rename(temporary, path)
        except BaseException:
            with contextlib.suppress(FileError):
                _forget(temporary)
            raise
        fsync_dir(folder)
    except OSError as exc:
        raise FileError(f"{path} cannot be written: {exc.strerror}") from exc
    return True


def needs_write(path: str, data: bytes, *, mode: int, uid: int | None = None, gid: int | None = None) -> bool:
    """Tell whether ``write_atomic`` with the same arguments would change anything."""
    wanted = (os.geteuid() if uid is None else uid, os.getegid() if gid is None else gid, mode)
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return True
    if not os.path.isfile(path) or os.path.islink(path):
        return True
    return (found.st_uid, found.st_gid, found.st_mode & 0o7777) != wanted or read_bytes(path) != data


def switch_link(link: str, target: str) -> bool:
    """Point ``link`` at ``target`` by one rename(2) and fsync the directory; True if it pointed elsewhere."""
    if read_link(link) == target:
        return False
    folder = os.path.dirname(link) or "."
    temporary = os.path.join(folder, f".{os.path.basename(link)}.{os.getpid()}.new")
    try:
        _forget(temporary)
        os.symlink(target, temporary)
        os.rename(temporary, link)
        fsync_dir(folder)
    except OSError as exc:
        with contextlib.suppress(FileError):
            _forget(temporary)
        raise FileError(f"{link} cannot be pointed at {target}: {exc.strerror}") from exc
    return True


def read_link(link: str) -> str | None:
    """Return where ``link`` points, or None where it is not a symbolic link."""
    try:
        return os.readlink(link)
    except OSError:
        return None


def sha256_file(path: str) -> str:
    """Return the hex SHA-256 of a file's content."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as handle:
            for piece in iter(lambda: handle.read(1 << 20), b""):
                digest.update(piece)
    except OSError as exc:
        raise FileError(f"{path} cannot be read: {exc.strerror}") from exc
    return digest.hexdigest()


def fingerprint(data: bytes) -> str:
    """Return a short name for a content, fit for logs: two equal contents have equal names."""
    return "sha256:" + hashlib.sha256(data).hexdigest()[:12]


@contextlib.contextmanager
def opened_dir(path: str) -> Iterator[int]:
    """Hold a directory open whose owner, mode or content is to be changed; its descriptor.

    FileNotFoundError where there is nothing, FileError for anything else.

    A link at the end of the path is followed only where it is root's. Whoever may write to the directory above can put
    one there, and what it points to would be given to the account, or emptied.
    """
    folder = _open_dir(path)
    try:
        yield folder
    finally:
        os.close(folder)


def _open_dir(path: str) -> int:
    place = _named(path)
    try:
        for _hop in range(_MOST_LINKS):
            found = os.open(place, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                about = os.fstat(found)
                if not stat.S_ISLNK(about.st_mode):
                    return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=found)
                if about.st_uid != 0:
                    raise FileError(
                        f"Expected a directory, or a link of root to one, at {path}, found {place}, a link of user "
                        f"{about.st_uid}; look who put it there, and remove it, or make it root's with chown -h"
                    )
                place = _named(os.path.join(os.path.dirname(place), os.readlink("", dir_fd=found)))
            finally:
                os.close(found)
    except FileNotFoundError:
        raise
    except NotADirectoryError as exc:
        raise FileError(f"Expected a directory at {path}, found something else; move it away") from exc
    except OSError as exc:
        raise FileError(f"{path} cannot be opened: {exc.strerror}") from exc
    raise FileError(f"Expected a directory at {path}, found links that lead nowhere; remove them")


def _named(path: str) -> str:
    # With a slash at the end the kernel follows a link whatever it was told.
    return path.rstrip("/") or "/"


def make_dirs(path: str, *, mode: int, uid: int = 0, gid: int = 0) -> bool:
    """Create a directory, and those above it (0755, root), unless it is there; True if it was created."""
    path = _named(path)
    if os.path.isdir(path):
        return False
    parent = os.path.dirname(path)
    if parent and not os.path.isdir(parent):
        make_dirs(parent, mode=0o755)
    try:
        above = os.open(parent or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            name = os.path.basename(path)
            os.mkdir(name, 0o700, dir_fd=above)
            # Whoever owns the directory above can put a link in the place of the new one at any moment.
            made = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
        finally:
            os.close(above)
        try:
            os.fchown(made, uid, gid)
            os.fchmod(made, mode)
        finally:
            os.close(made)
    except OSError as exc:
        raise FileError(f"{path} cannot be created: {exc.strerror}") from exc
    return True


def remove_files(paths: Iterable[str]) -> list[str]:
    """Remove the files (or links) that exist, and return their names."""
    return [path for path in paths if _forget(path)]


def _forget(path: str) -> bool:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    except OSError as exc:
        raise FileError(f"{path} cannot be removed: {exc.strerror}") from exc
    return True
