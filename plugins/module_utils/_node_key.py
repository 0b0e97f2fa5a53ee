# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""Give a new member a P2P identity of its own, made by the node's own binary."""

from __future__ import annotations

import os
import typing as t

from . import _account
from ._as_user import UserRunner, passing_home, run_as
from ._files import make_dirs, read_bytes, write_atomic
from ._peer_id import NodeKeyError, peer_id_in, peer_id_of_key

if t.TYPE_CHECKING:
    from contextlib import AbstractContextManager

_KEY = os.path.join("config", "node_key.json")


class NewKey(t.NamedTuple):
    """Where the key belongs, which binary makes it, and who owns it."""

    home: str
    binary: str
    user: str
    group: str

    @property
    def path(self) -> str:
        """The key file."""
        return os.path.join(self.home, _KEY)


def existing(wanted: NewKey) -> str | None:
    """Return the peer id of the key that is there, None where there is none."""
    return peer_id_in(wanted.path)


def create(
    wanted: NewKey,
    *,
    run: UserRunner = run_as,
    home_for: t.Callable[[str], AbstractContextManager[str]] = passing_home,
) -> str:
    """Create the key unless it exists, and return its peer id.

    ``init`` would also write a genesis of its own, a random DA namespace and a file that turns a sequencer's
    production off; so it runs in a home that is thrown away, and only the key is taken from it.
    """
    there = existing(wanted)
    if there is not None:
        return there
    uid, gid = _account.ids(wanted.user, wanted.group)
    with home_for(wanted.user) as scratch:
        done = run([wanted.binary, "init", "--home", scratch], wanted.user, home=scratch)
        content = read_bytes(os.path.join(scratch, _KEY))
    if content is None:
        told = next((line for line in done.stderr.splitlines() if line.startswith("Error:")), f"exit code {done.rc}")
        raise NodeKeyError(f"{wanted.binary} init made no node key ({told}); check that it is an ev-node binary")
    found = peer_id_of_key(content, wanted.path)
    make_dirs(wanted.home, mode=0o750, uid=uid, gid=gid)
    make_dirs(os.path.dirname(wanted.path), mode=0o750, uid=uid, gid=gid)
    write_atomic(wanted.path, content, mode=0o600, uid=uid, gid=gid)
    return found
