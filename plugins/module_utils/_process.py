# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""Run a command with a time limit, in the C locale, with its output kept."""

from __future__ import annotations

import os
import subprocess
import typing as t

from ._errors import HaError

if t.TYPE_CHECKING:
    from collections.abc import Sequence


class ProcessError(HaError):
    """A command could not be run, or did not end in time."""


class Result(t.NamedTuple):
    """What a command left behind."""

    rc: int
    stdout: str
    stderr: str


class Runner(t.Protocol):
    """How the utilities run commands; tests pass recorded answers instead."""

    def __call__(self, argv: Sequence[str], *, timeout: float = 60, stdin: str | None = None) -> Result:
        """Run ``argv`` for at most ``timeout`` seconds."""


def run(argv: Sequence[str], *, timeout: float = 60, stdin: str | None = None) -> Result:
    """Run ``argv`` (no shell) for at most ``timeout`` seconds and return its exit code and output."""
    try:
        done = subprocess.run(
            list(argv),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
            env={**os.environ, "LC_ALL": "C", "LANG": "C"},
        )
    except FileNotFoundError as exc:
        raise ProcessError(f"{argv[0]} is needed and was not found on this host; install it") from exc
    except subprocess.TimeoutExpired as exc:
        raise ProcessError(f"{' '.join(argv[:3])} did not end within {timeout:g} s") from exc
    except OSError as exc:
        raise ProcessError(f"{argv[0]} cannot be run: {exc.strerror}") from exc
    return Result(done.returncode, done.stdout, done.stderr)
