# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""The numbers of a service user and its group."""

from __future__ import annotations

import grp
import os
import pwd
import typing as t

from ._errors import HaError


class AccountError(HaError):
    """A user or a group does not exist on this host."""


def ids(user: str | None, group: str | None, *, may_be_missing: bool = False) -> tuple[int, int]:
    """Return uid and gid of two names (None is who runs this); -1 for a missing one where that is allowed.

    Allowed in check mode, where nothing has created the account yet. AccountError otherwise.
    """

    def number(what: str, look_up: t.Callable[[], int]) -> int:
        try:
            return look_up()
        except KeyError:
            if may_be_missing:
                return -1
            raise AccountError(
                f"Expected the {what} on this host, found none; run the stage provision, or create it"
            ) from None

    return (
        os.geteuid() if user is None else number(f"user {user}", lambda: pwd.getpwnam(user).pw_uid),
        os.getegid() if group is None else number(f"group {group}", lambda: grp.getgrnam(group).gr_gid),
    )
