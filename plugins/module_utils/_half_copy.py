# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""What a host is told of stores that were begun to be copied and not proven equal."""

from __future__ import annotations

import json
import os
import typing as t

from ._errors import HaError
from ._files import read_bytes

_MARKER = ".copying"


class HalfCopyError(HaError):
    """Nobody can tell which stores on this host are half a copy."""


def marker_path(state_dir: str) -> str:
    """Return the file whose presence says: the store on this host is half a copy, do not start on it."""
    return os.path.join(state_dir, _MARKER)


def unfinished(state_dir: str) -> dict[str, t.Any]:
    """Return the roots on this host that were begun and not proven, each with ``phase`` and ``from``."""
    data = read_bytes(marker_path(state_dir))
    if data is None:
        return {}
    try:
        found = json.loads(data)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise HalfCopyError(
            f"{marker_path(state_dir)} cannot be read; remove it once a last copy has been proven by hand"
        )
    return found
