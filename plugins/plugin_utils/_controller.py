# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""A name for one process of one controller, from which that controller can tell later whether the process is gone."""

from __future__ import annotations

import socket
from pathlib import Path

from ansible_collections.evnode.sequencer_ha.plugins.module_utils._proc import stat_fields


def identity(pid: int, proc: Path = Path("/proc")) -> str:
    """Return the name: host, boot, process and when that was started, so that none of them is taken for another."""
    return f"{socket.gethostname()} {_boot(proc)} {pid} {_started(pid, proc)}"


def gone(name: str, proc: Path = Path("/proc")) -> bool:
    """Tell whether the process of that name ran on this controller, since its last boot, and has ended.

    False for what cannot be told: a name of another controller.
    """
    words = name.split()
    if len(words) != 4 or words[:2] != [socket.gethostname(), _boot(proc)] or not words[2].isdigit():
        return False
    return _started(int(words[2]), proc) != words[3]


def _boot(proc: Path) -> str:
    try:
        return (proc / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return "unknown"


def _started(pid: int, proc: Path) -> str:
    """Return when a process was started, in clock ticks since boot; ``none`` for one that is not there."""
    fields = stat_fields(str(proc / str(pid) / "stat"))
    return fields[19] if len(fields) > 19 and fields[0] not in "ZX" else "none"
