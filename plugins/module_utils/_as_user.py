# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""Run the node's binary for a moment as its service user, in a home of its own that vanishes afterwards."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import typing as t

from ._errors import HaError

if t.TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class AsUserError(HaError):
    """A command could not be run as the service user."""


class Outcome(t.NamedTuple):
    """Exit code and both streams (empty where they were not to be kept)."""

    rc: int
    stderr: str
    stdout: str = ""


class UserRunner(t.Protocol):
    """How the modules run the binary; tests pass recorded outcomes instead."""

    def __call__(
        self, argv: Sequence[str], user: str, *, home: str, keep_output: bool = True, timeout: float = 60
    ) -> Outcome:
        """Run ``argv`` as ``user`` for at most ``timeout`` seconds."""


def _entry(user: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(user)
    except KeyError:
        raise AsUserError(f"Expected the user {user} on this host, found none; create it first") from None


def run_as(argv: Sequence[str], user: str, *, home: str, keep_output: bool = True, timeout: float = 60) -> Outcome:
    """Run ``argv`` as ``user`` with an almost empty environment and ``home`` as HOME and working directory.

    With ``keep_output`` off both streams go to /dev/null, for commands that print secrets.
    """
    account = _entry(user)
    stream = subprocess.PIPE if keep_output else subprocess.DEVNULL
    switch: dict[str, t.Any] = {}
    if account.pw_uid != os.geteuid():
        groups = os.getgrouplist(user, account.pw_gid)
        switch = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": groups}
    try:
        done = subprocess.run(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            timeout=timeout,
            check=False,
            cwd=home,
            # The node takes undotted flags from variables of the same name (HEIGHT, OUTPUT, …): give it none.
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": home, "LC_ALL": "C", "NO_COLOR": "1"},
            **switch,
        )
    except subprocess.TimeoutExpired as exc:
        raise AsUserError(f"{argv[0]} {argv[1]} did not end within {timeout:g} s") from exc
    except (OSError, subprocess.SubprocessError) as exc:
        text = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        raise AsUserError(f"{argv[0]} cannot be run as {user}: {text}; run this with become, check the binary") from exc
    told, said = (text.decode(errors="replace") for text in (done.stderr or b"", done.stdout or b""))
    return Outcome(done.returncode, told, said)


@contextlib.contextmanager
def passing_home(user: str, *, prefer: Sequence[str] = ("/run", "/dev/shm")) -> Iterator[str]:
    """Make a directory that only ``user`` can enter, on memory where there is any, and remove it at the end."""
    base = next((path for path in prefer if os.access(path, os.W_OK)), None)
    account = _entry(user)
    path = tempfile.mkdtemp(prefix="evnode-ha-", dir=base)
    try:
        os.chown(path, account.pw_uid, account.pw_gid)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
