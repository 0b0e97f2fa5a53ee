# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""The switch: one symbolic link that says which command line and which file a member's unit starts with."""

from __future__ import annotations

import os
import typing as t

from ._errors import HaError
from ._files import fsync_dir, read_link, remove_files, switch_link
from ._half_copy import marker_path, unfinished
from ._raft_store import LOG, last_index

ABSENT = "absent"
MODES = ("single", "follower", "raft")
MODE_FILES = ("args.env", "evnode.yaml")


class ModeError(HaError):
    """The switch cannot be set as asked."""


class Change(t.NamedTuple):
    """What the switch said before, what it says (or would say) now."""

    changed: bool
    before: str
    after: str


def link_path(config_dir: str, unit: str) -> str:
    """Return the path of a unit's switch."""
    return os.path.join(config_dir, unit, "current")


def current(config_dir: str, unit: str) -> str:
    """Return the mode that is set, ``absent`` where none is; ModeError where the switch is not ours."""
    link = link_path(config_dir, unit)
    target = read_link(link)
    if target is None:
        if os.path.lexists(link):
            raise ModeError(f"{link} should be a symbolic link, and is a file or directory; move it away")
        return ABSENT
    name = os.path.basename(target.rstrip("/"))
    if name not in MODES:
        raise ModeError(f"{link} points at {target}, expected one of {', '.join(MODES)}; remove the link")
    return name


def missing_files(config_dir: str, unit: str, mode: str) -> list[str]:
    """Return the files that a mode needs and does not have."""
    paths = [os.path.join(config_dir, unit, mode, name) for name in MODE_FILES]
    return [path for path in paths if not os.path.isfile(path)]


def switch(
    config_dir: str,
    unit: str,
    mode: str,
    *,
    state_dir: str | None = None,
    raft_dir: str | None = None,
    check: bool = False,
) -> Change:
    """Set the switch by one rename, or remove it; with ``check`` only tell. ModeError where files are missing.

    With ``state_dir`` a copy that was begun and never proven equal stands in the way of modes that would run on it.
    With ``raft_dir`` a Raft log that was never sealed, or was emptied by a rollback, stands in the way of ``raft``:
    members with empty logs can elect a leader among themselves, whatever blocks the others hold.
    """
    before = current(config_dir, unit)
    if raft_dir is not None and mode == "raft" and before != mode and last_index(os.path.join(raft_dir, LOG)) == 0:
        raise ModeError(
            f"mode raft of {unit} needs the membership that sealing writes into {raft_dir}, found no Raft log there. "
            "If a rollback was begun and broken off, finish it: run rollback again"
        )
    if state_dir is not None and mode not in (ABSENT, "single"):
        own = os.path.join(state_dir, unit)
        half = unfinished(own)
        if half:
            raise ModeError(
                f"mode {mode} of {unit} would run on {', '.join(sorted(half))}, whose copy was begun and never proven "
                f"equal; finish the copy, or empty that directory and remove {marker_path(own)}"
            )
    if mode != ABSENT:
        missing = missing_files(config_dir, unit, mode)
        if missing:
            raise ModeError(
                f"mode {mode} of {unit} needs {' and '.join(missing)}, found no such file; run the config stage first"
            )
    change = Change(before != mode, before, mode)
    if check or not change.changed:
        return change
    link = link_path(config_dir, unit)
    if mode == ABSENT:
        remove_files([link])
        fsync_dir(os.path.dirname(link))
    else:
        # Relative, so that the directory can be looked at from a rescue system too.
        switch_link(link, mode)
    return change
