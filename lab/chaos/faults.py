# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Let something die in a lab, and mend it."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable

from lab import fleet, machine, network
from lab.errors import LabError
from lab.settings import Host, Settings
from lab.trial.play import Running

# What the collection and the node write to; a file system that refuses takes both.
WRITTEN = ("/etc/evnode-ha", "/var/lib/evnode-ha")


def strike(lab: Settings, fault: str, victims: tuple[str, ...], run: Running) -> None:
    """Let it happen now."""
    if fault == "controller killed":
        run.kill()
        return
    act: Callable[[Settings, Host], None] = {
        "power cut": lambda _lab, host: machine.power_cut(host),
        "cut off": lambda lab, host: network.partition(lab, host, []),
        "node killed": _node_killed,
        "window killed": lambda lab, host: _signal_window(lab, host, signal.SIGKILL),
        "window frozen": lambda lab, host: _signal_window(lab, host, signal.SIGSTOP),
        "disk read-only": _read_only,
    }[fault]
    for name in victims:
        # What is dead already cannot be killed.
        with contextlib.suppress(LabError):
            act(lab, lab.host(name))


def mend(lab: Settings) -> None:
    """Everything is on, reachable and writable again."""
    network.set_cuts(lab, set())
    off = [host for host in lab.hosts if not machine.is_on(host)]
    fleet.power_on(lab, off)
    for host in lab.hosts:
        if host in off:
            continue
        for path in WRITTEN:
            # Where nothing was mounted there is nothing to take back.
            machine.execute(host, ["umount", path], check=False)
        _signal_window(lab, host, signal.SIGCONT)


def _node_killed(lab: Settings, host: Host) -> None:
    machine.execute(host, ["systemctl", "kill", "--signal=KILL", f"{lab.layout.unit}.service"], check=False)


def _signal_window(lab: Settings, host: Host, what: signal.Signals) -> None:
    unit = f"evnode-window-{lab.layout.unit}.service"
    machine.execute(host, ["systemctl", "kill", f"--signal={what.value}", unit], check=False)


def _read_only(_lab: Settings, host: Host) -> None:
    for path in WRITTEN:
        machine.execute(host, ["mkdir", "--parents", path])
        machine.execute(host, ["mount", "--bind", path, path])
        machine.execute(host, ["mount", "--options", "remount,bind,ro", path])
