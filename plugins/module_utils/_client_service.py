# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""Stop an execution client while its data are copied, and start it until it answers: its node would end at once."""

from __future__ import annotations

import typing as t

from . import _systemd
from ._execution import ExecutionClient, ExecutionError
from ._process import run as _run
from ._systemd import UnitError
from ._wait import SYSTEM_CLOCK, wait_until

if t.TYPE_CHECKING:
    from ._process import Runner
    from ._wait import Clock

_ANSWER_S = 120.0


class Client(t.NamedTuple):
    """An execution client: its unit, and the JSON-RPC at which it answers."""

    unit: str
    url: str

    @property
    def service(self) -> str:
        """The unit's full name."""
        return f"{self.unit}.service"


def is_active(client: Client, *, run: Runner = _run) -> bool:
    """Tell whether the client runs."""
    return _systemd.active_state(client.service, run=run) == "active"


def stop(client: Client, *, run: Runner = _run) -> bool:
    """Stop the client and wait until its processes are gone; True if it ran."""
    ran = is_active(client, run=run)
    # Also where it is about to be started again.
    _systemd.stop(client.service, run=run)
    return ran


def start(client: Client, *, run: Runner = _run, clock: Clock = SYSTEM_CLOCK) -> bool:
    """Start the client and wait until it answers; True if it had to be started. UnitError when it gives no answer."""
    started = not is_active(client, run=run)
    if started:
        _systemd.start(client.service, run=run)

    def silence() -> str:
        try:
            ExecutionClient(client.url).block(None)
        except ExecutionError as exc:
            return exc.message
        return ""

    told = wait_until(silence, lambda reason: not reason, timeout=_ANSWER_S, interval=0.1, clock=clock)
    if not told.ok:
        raise UnitError(f"{client.service} runs and does not answer within {_ANSWER_S:g} s: {told.last}")
    return started
