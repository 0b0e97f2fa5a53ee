# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.
"""The last copy inside the window, where joiners were seeded by copying (``evnode_seed: copy``)."""

from __future__ import annotations

import os
import typing as t

from .. import _account
from .._errors import HaError
from .._store import tree
from .._store.client import Source
from .._store.pull import HASHES, Puller
from .._store.tree import Rules

if t.TYPE_CHECKING:
    from collections.abc import Mapping


class CopyError(HaError):
    """What a last copy needs to know was not given."""


def source_digest(copy: Mapping[str, t.Any], state_dir: str) -> str:
    """Return the manifest digest of the coordinator's own stopped files: ``roots`` {name: path}, ``exclude``."""
    roots = copy.get("roots") or {}
    if not roots:
        raise CopyError("the coordinator's copy.roots is empty; name the directories that joiners copy")
    rules = Rules(copy.get("exclude") or [])
    known = tree.load_known(os.path.join(state_dir, HASHES))
    trees = {
        name: list(tree.scan(os.path.realpath(path), rules, known=known.get(os.path.realpath(path)), quiet=True))
        for name, path in roots.items()
    }
    return tree.summary(trees).digest


def puller(copy: Mapping[str, t.Any], state_dir: str) -> Puller:
    """Return a puller for ``source``, ``roots``, ``key``, ``owner``, ``group``, ``exclude``, ``bandwidth``."""
    try:
        source = copy["source"]
        uid, gid = _account.ids(str(copy["owner"]), str(copy["group"]))
        return Puller(
            Source(str(source["address"]), int(source["port"]), str(source["host_key"])),
            dict(copy["roots"]),
            key=str(copy["key"]),
            state_dir=state_dir,
            uid=uid,
            gid=gid,
            exclude=list(copy.get("exclude") or []),
            bandwidth=float(copy.get("bandwidth") or 0),
        )
    except (KeyError, TypeError, ValueError) as exc:
        raise CopyError(f"the participant's copy settings lack or misname {exc}") from exc
