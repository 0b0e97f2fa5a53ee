# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""Units and files of this collection that others look for by their names."""

from __future__ import annotations

import os

from ._files import read_bytes

UNITS = "/etc/systemd/system"
MARK = "# Written by evnode.sequencer_ha"
RUNTIME_DIR = "/run/evnode-ha"


def written_by_us(path: str) -> bool:
    """Tell whether a unit file, or a drop-in, is one of this collection's."""
    return (read_bytes(path) or b"").startswith(MARK.encode())


def fence_path(unit: str, run_dir: str = RUNTIME_DIR) -> str:
    """Return where the fence of a unit lies, with which systemd does not start it: in memory, gone after a boot."""
    return os.path.join(run_dir, unit, "frozen")


def window_unit(unit: str) -> str:
    """Return the name of the transient unit that runs a window."""
    return f"evnode-window-{unit}.service"


def rejoin_unit(unit: str) -> str:
    """Return the name of the unit with which a held joiner waits for word of the sequencer."""
    return f"evnode-rejoin-{unit}.service"


def rejoin_path(unit: str, units: str = UNITS) -> str:
    """Return the file of that unit."""
    return os.path.join(units, rejoin_unit(unit))


def is_held(unit: str, units: str = UNITS) -> bool:
    """Tell whether this joiner waits for proof, or did so when its rollback was broken off."""
    return os.path.exists(rejoin_path(unit, units))
