# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.
"""The file that keeps systemd from starting the node while something is decided, and what lifts one that was left."""

from __future__ import annotations

import contextlib
import os
import typing as t

from . import _files, _systemd
from ._errors import HaError
from ._intake import intake_table, open_intake
from ._process import run as _run
from ._units import fence_path, window_unit

if t.TYPE_CHECKING:
    from collections.abc import Iterator

    from ._process import Runner


class FenceError(HaError):
    """A window that is under way needs its fence."""


@contextlib.contextmanager
def raised(unit: str, run_dir: str) -> Iterator[None]:
    """Keep systemd from starting the unit meanwhile, whoever asks. One that is left goes with a boot or a later run."""
    fence = fence_path(unit, run_dir)
    _files.make_dirs(os.path.dirname(fence), mode=0o700)
    _files.write_atomic(fence, b"", mode=0o600)
    try:
        yield
    finally:
        _files.remove_files([fence])


def lift(unit: str, config_dir: str, run_dir: str, *, run: Runner = _run) -> list[str]:
    """Take a fence away, and open the intake that was closed with it; what was done, in words.

    Only with the switch forced to disk: others take the start of a member for proof of the commit.
    """
    fence = fence_path(unit, run_dir)
    if not os.path.exists(fence):
        return []
    if _systemd.active_state(window_unit(unit), run=run) not in ("inactive", "failed"):
        raise FenceError(f"{fence} keeps {unit}.service from starting while a window is under way; run again after it")
    _files.fsync_dir(os.path.join(config_dir, unit))
    _files.remove_files([fence])
    open_intake(intake_table(unit), run=run)
    return [f"remove {fence}"]
