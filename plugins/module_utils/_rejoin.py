# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""A joiner that has been taken out of the cluster by a rollback, until the rollback is beyond return.

Its switch no longer says ``raft``, so nothing starts it as a member, and its Raft log is still there. A unit that
survives reboots asks the first leader's Raft port, and only the answer of a Raft member with that leader's own id
brings this joiner back into the cluster: then the first leader has not become the single sequencer, and did not even
begin to. It cannot answer so afterwards, because its own switch is turned with its node stopped.
"""

from __future__ import annotations

import json
import os
import sys
import typing as t

from . import _files, _journal, _systemd
from ._errors import HaError
from ._mode import current, switch
from ._packed import SWITCHING, pack
from ._process import run as _run
from ._raft_probe import RaftProbeError, ask_for
from ._units import UNITS, is_held, rejoin_path, rejoin_unit
from ._wait import SYSTEM_CLOCK, Clock

if t.TYPE_CHECKING:
    from ._process import Runner

INTERVAL = 1.0
"""Seconds between two questions."""


class RejoinError(HaError):
    """The unit that brings a joiner back could not be installed or taken away."""


class Rejoin(t.NamedTuple):
    """One joiner, and whom it asks: ``address`` is the host:port of the Raft member ``leader``."""

    unit: str
    config_dir: str
    state_dir: str
    raft_dir: str
    leader: str = ""
    address: str = ""
    me: str = ""
    run_id: str = "-"

    @property
    def name(self) -> str:
        """The unit that asks."""
        return rejoin_unit(self.unit)

    @property
    def own(self) -> str:
        """What this host keeps about the member."""
        return os.path.join(self.state_dir, self.unit)

    @property
    def program(self) -> str:
        """The program."""
        return os.path.join(self.own, "rejoin.pyz")

    @property
    def settings(self) -> str:
        """What the program reads."""
        return os.path.join(self.own, "rejoin.json")


def pause(wanted: Rejoin, *, run: Runner = _run) -> None:
    """End the questions for now: an answer that was asked for before must not count later."""
    if _systemd.active_state(wanted.name, run=run) not in ("inactive", "failed"):
        _systemd.stop(wanted.name, run=run)


def install(wanted: Rejoin, *, python: str = sys.executable, units: str = UNITS, run: Runner = _run) -> None:
    """Put program and unit in place, for this boot and every later one. It does not ask yet."""
    _files.make_dirs(wanted.own, mode=0o700)
    _files.write_atomic(wanted.program, pack((*SWITCHING, "_units", "_rejoin"), "_rejoin"), mode=0o600)
    _files.write_atomic(wanted.settings, json.dumps(wanted._asdict()).encode(), mode=0o600)
    lines = [
        "[Unit]",
        f"Description=Return of {wanted.unit} to its cluster, should its rollback not be finished",
        "Wants=network-online.target",
        "After=network-online.target",
        "[Service]",
        "Type=exec",
        f"ExecStart={python} -I {wanted.program} {wanted.settings}",
        "Restart=on-failure",
        "RestartSec=2",
        "UMask=0077",
        "[Install]",
        "WantedBy=multi-user.target",
    ]
    _files.write_atomic(rejoin_path(wanted.unit, units), ("\n".join(lines) + "\n").encode(), mode=0o644)
    _say(["enable", "--quiet", "--no-reload", "--", wanted.name], run)
    _systemd.daemon_reload(run=run)


def begin(wanted: Rejoin, *, run: Runner = _run) -> None:
    """Start to ask."""
    _systemd.start(wanted.name, run=run)


def remove(wanted: Rejoin, *, units: str = UNITS, run: Runner = _run) -> bool:
    """Take unit and program away; True if there were any."""
    there = is_held(wanted.unit, units)
    if there:
        pause(wanted, run=run)
        _say(["disable", "--quiet", "--no-reload", "--", wanted.name], run)
    # The unit last: by it a joiner is known to be held.
    gone = _files.remove_files([wanted.settings, wanted.program, rejoin_path(wanted.unit, units)])
    if there:
        _systemd.daemon_reload(run=run)
    return bool(gone)


def _say(words: list[str], run: Runner) -> None:
    done = run(["systemctl", *words], timeout=60)
    if done.rc != 0:
        raise RejoinError(f"systemctl {' '.join(words)} failed: {done.stderr.strip()}")


def wait_for_proof(wanted: Rejoin, *, clock: Clock = SYSTEM_CLOCK, tell: t.Callable[[str], None]) -> None:
    """Ask until the first leader answers as a Raft member; what is in the way is told once, whenever it changes.

    There is no limit on purpose. Without an answer the first leader may be the single sequencer, and then this joiner
    must never come back; the rollback that is run again takes the unit away.
    """
    told = ""
    while True:
        try:
            found = ask_for(wanted.leader, wanted.address, asker=wanted.me, timeout=1.0)
        except RaftProbeError as exc:
            if exc.message != told:
                tell(f"no proof: {exc.message}")
                told = exc.message
        else:
            tell(f"{wanted.leader} is a member of the cluster in term {found.term}")
            return
        clock.sleep(INTERVAL)


def come_back(wanted: Rejoin, *, run: Runner = _run) -> None:
    """Turn the switch and start the member. Ended anywhere in it, it is done to its end the next time."""
    service = f"{wanted.unit}.service"
    turned = current(wanted.config_dir, wanted.unit) != "raft"
    if turned:
        switch(wanted.config_dir, wanted.unit, "raft", raft_dir=wanted.raft_dir, check=True)
        # It may run as a follower by now, and a start would leave it one.
        _systemd.stop(service, run=run)
        switch(wanted.config_dir, wanted.unit, "raft", raft_dir=wanted.raft_dir)
    _systemd.reset_failed(service, run=run)
    _systemd.start(service, run=run)
    if turned:
        _journal.append(os.path.join(wanted.own, "journal.jsonl"), wanted.run_id, "rejoined", {"leader": wanted.leader})


def main(argv: list[str]) -> int:
    """Run the unit whose settings file is the only argument."""
    with open(argv[0], encoding="utf-8") as handle:
        wanted = Rejoin(**json.load(handle))
    try:
        if current(wanted.config_dir, wanted.unit) != "raft":
            wait_for_proof(wanted, tell=_tell)
        come_back(wanted)
        # Not ``remove``: that would wait for this very process to end.
        _say(["disable", "--quiet", "--no-reload", "--", wanted.name], _run)
        _files.remove_files([rejoin_path(wanted.unit), wanted.settings, wanted.program])
    except HaError as exc:
        _tell(exc.message)
        return 1
    return 0


def _tell(words: str) -> None:
    sys.stderr.write(f"{words}\n")
    sys.stderr.flush()
