# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""Directories with an owner and a mode, whose parents are never touched where they exist."""

from __future__ import annotations

import os
import typing as t

from ._files import make_dirs, opened_dir


class Directory(t.NamedTuple):
    """One directory as it should be; ``mode`` is a number such as 0o750."""

    path: str
    mode: int
    uid: int
    gid: int


def differs(wanted: Directory) -> str | None:
    """Say in a few words what is different on disk, or None; a file or a link in the way is an error."""
    try:
        with opened_dir(wanted.path) as folder:
            found = os.fstat(folder)
    except FileNotFoundError:
        return "absent"
    if (found.st_uid, found.st_gid) != (wanted.uid, wanted.gid):
        return f"owned by {found.st_uid}:{found.st_gid}"
    if found.st_mode & 0o7777 != wanted.mode:
        return f"mode {found.st_mode & 0o7777:04o}"
    return None


def ensure(wanted: Directory) -> bool:
    """Make it so; True if anything changed."""
    if differs(wanted) is None:
        return False
    if make_dirs(wanted.path, mode=wanted.mode, uid=wanted.uid, gid=wanted.gid):
        return True
    with opened_dir(wanted.path) as folder:
        os.fchown(folder, wanted.uid, wanted.gid)
        os.fchmod(folder, wanted.mode)
    return True
