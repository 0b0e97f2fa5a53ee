# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands on the lab machine."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from lab.errors import LabError


def run(
    argv: Sequence[str],
    *,
    check: bool = True,
    stdin: str | None = None,
    timeout: float = 60.0,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command and return its result, output captured as text.

    Raises LabError with the command's own words when `check` is true and it fails, and always when it
    takes longer than `timeout` seconds or does not exist.
    """
    try:
        done = subprocess.run(
            list(argv),
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            env=dict(env) if env is not None else None,
        )
    except FileNotFoundError as error:
        raise LabError(f"`{argv[0]}` is not installed on the lab machine; run `make tools`") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"`{' '.join(argv)}` did not end within {timeout:g} s") from error
    if check and done.returncode != 0:
        words = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()
        raise LabError(f"`{' '.join(argv)}` ended with {done.returncode}: {' / '.join(words[-4:])}")
    return done


def wait_for(what: str, probe: Callable[[], str | None], *, timeout: float, interval: float = 0.1) -> float:
    """Call `probe` until it returns None (done) and return the seconds it took.

    `probe` returns what is still missing, in words; the last of them is in the LabError raised after `timeout`.
    """
    begin = time.monotonic()
    while True:
        missing = probe()
        elapsed = time.monotonic() - begin
        if missing is None:
            return elapsed
        if elapsed >= timeout:
            raise LabError(f"{what}: not within {timeout:g} s; last seen: {missing}")
        time.sleep(interval)


def end_on_sigterm() -> None:
    """Let SIGTERM end this program as an exception does, so that what it began is taken down as well."""
    signal.signal(signal.SIGTERM, lambda *_what: sys.exit(1))
