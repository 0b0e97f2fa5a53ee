# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""Read and place one secret file, so that its content is only ever in memory and in the file."""

from __future__ import annotations

import base64
import binascii
import os
import stat
import typing as t

from ._errors import HaError
from ._files import fingerprint, make_dirs, needs_write, read_bytes, remove_files, write_atomic


class SecretError(HaError):
    """A secret file is not there, is not a plain file, or is too big."""


class Secret(t.NamedTuple):
    """A file's content and the short name under which logs may speak of it."""

    content: bytes
    fingerprint: str


class Placement(t.NamedTuple):
    """Where a secret belongs; ``mode`` and ``parents_mode`` are numbers such as 0o600.

    ``uid``/``gid`` of -1 stand for an account that does not exist yet (check mode before the account is created).
    """

    path: str
    mode: int
    uid: int
    gid: int
    parents_mode: int | None = None


def read_secret(path: str, max_bytes: int) -> Secret | None:
    """Return the content of a regular file (a link to one is followed), None where there is nothing."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise SecretError(f"{path} cannot be read: {exc.strerror}; run this with become") from exc
    if not stat.S_ISREG(found.st_mode):
        raise SecretError(f"Expected a plain file at {path}, found something else; name the file that holds the secret")
    if found.st_size > max_bytes:
        raise SecretError(f"Expected at most {max_bytes} bytes in {path}, found {found.st_size}; is it the right file?")
    content = read_bytes(path)
    return None if content is None else Secret(content, fingerprint(content))


def decode(text: str) -> bytes:
    """Turn Base64 into bytes; the message of a failure does not repeat the text."""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as exc:
        raise SecretError(
            "Expected the content as Base64, found something else; pass what secret_read returned"
        ) from exc


def octal(text: str) -> int:
    """Turn a mode such as ``'0600'`` into a number."""
    try:
        mode = int(text, 8)
    except ValueError as exc:
        raise SecretError(f"Expected an octal mode such as '0600', found '{text}'; quote it as a string") from exc
    if not 0 <= mode <= 0o7777:
        raise SecretError(f"Expected an octal mode such as '0600', found '{text}'")
    return mode


def describe(path: str) -> str:
    """Describe what is at ``path`` by fingerprint, mode and owner: fit for a diff."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return "absent"
    if not stat.S_ISREG(found.st_mode):
        return "not a plain file"
    content = read_bytes(path) or b""
    return describe_as(content, found.st_mode & 0o7777, str(found.st_uid), str(found.st_gid))


def describe_as(content: bytes, mode: int, owner: str, group: str) -> str:
    """Describe a content with its mode and owner in the words of ``describe``."""
    return f"{fingerprint(content)} mode {mode:04o} owner {owner}:{group}"


def differs(place: Placement, content: bytes) -> bool:
    """Tell whether ``put`` would change anything."""
    if os.path.isdir(place.path):
        raise SecretError(f"Expected a file or nothing at {place.path}, found a directory; name a file")
    return needs_write(place.path, content, mode=place.mode, uid=place.uid, gid=place.gid)


def put(place: Placement, content: bytes) -> bool:
    """Write the secret by one rename, never readable half-way; True if anything changed."""
    if not differs(place, content):
        return False
    folder = os.path.dirname(place.path)
    if not os.path.isdir(folder):
        if place.parents_mode is None:
            raise SecretError(f"Expected the directory {folder}, found none; create it or set parents_mode")
        make_dirs(folder, mode=place.parents_mode, uid=place.uid, gid=place.gid)
    return write_atomic(place.path, content, mode=place.mode, uid=place.uid, gid=place.gid)


def holds(path: str, content: bytes, *, closed: bool) -> bool:
    """Tell whether a plain file, or a link to one, has this content, ``closed`` to all but its owner and group."""
    try:
        found = os.stat(path)
    except OSError:
        return False
    fits = stat.S_ISREG(found.st_mode) and not (closed and found.st_mode & stat.S_IRWXO)
    return fits and found.st_size == len(content) and read_bytes(path) == content


def take_away(path: str, content: bytes, *, check: bool = False) -> bool:
    """Remove the file that holds the content, True if there was one; SecretError where it holds something else."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(found.st_mode) or read_bytes(path) != content:
        raise SecretError(
            f"Expected what was written to {path}, or nothing, found something else, which was left; look at it, and "
            "remove it by hand if no other chain needs it"
        )
    if not check:
        remove_files([path])
    return True
