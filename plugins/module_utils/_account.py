# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""The numbers of a service user and its group."""

from __future__ import annotations

import grp
import os
import pwd

from ._errors import HaError


class AccountError(HaError):
    """A user or a group does not exist on this host."""


def ids(user: str | None, group: str | None, *, may_be_missing: bool = False) -> tuple[int, int]:
    """Return uid and gid of two names (None is who runs this); -1 for a missing one where that is allowed.

    Allowed in check mode, where nothing has created the account yet. AccountError otherwise.
    """
    uid, gid = os.geteuid(), os.getegid()
    try:
        if user is not None:
            uid = pwd.getpwnam(user).pw_uid
    except KeyError:
        if not may_be_missing:
            raise AccountError(
                f"Expected the user {user} on this host, found none; run the stage provision, or create it"
            ) from None
        uid = -1
    try:
        if group is not None:
            gid = grp.getgrnam(group).gr_gid
    except KeyError:
        if not may_be_missing:
            raise AccountError(
                f"Expected the group {group} on this host, found none; run the stage provision, or create it"
            ) from None
        gid = -1
    return uid, gid
