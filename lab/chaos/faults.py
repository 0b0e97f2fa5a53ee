# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Let something die in a lab, and mend it."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable

from lab import fleet, machine, network
from lab.chaos.cases import CONTROLLER
from lab.errors import LabError
from lab.settings import Host, Settings
from lab.trial import history
from lab.trial.play import Running

# What the collection writes to and keeps.
WRITTEN = ("/etc/evnode-ha", "/var/lib/evnode-ha")
# Room for everything that a run writes; what fills it up leaves none.
_DISK = "16m"
_BALLAST = ".ballast"


def arrange(lab: Settings, fault: str, victims: tuple[str, ...]) -> None:
    """What a fault needs to have been there before the run: a disk that can be filled up."""
    if fault != "disk full":
        return
    for host in map(lab.host, victims):
        for path in WRITTEN:
            script = 'mkdir -p "$1" "$2" && mount -t tmpfs -o size="$3" tmpfs "$2" && chmod --reference="$1" "$2"'
            script += ' && cp -a "$1/." "$2" && mount --bind "$2" "$1"'
            machine.execute(host, ["sh", "-c", script, "sh", path, f"/run/lab{path.replace('/', '-')}", _DISK])


def strike(lab: Settings, fault: str, victims: tuple[str, ...], run: Running) -> None:
    """Let it happen now, on all victims at the same moment."""
    if fault == CONTROLLER:
        run.kill()
        return
    act: Callable[[Host], None] = {
        "power cut": machine.power_cut,
        "reboot": lambda host: _say(host, "systemctl", "reboot"),
        "cut off": lambda host: network.partition(lab, host, []),
        "node killed": lambda host: _signal(host, f"{lab.layout.unit}.service", signal.SIGKILL),
        "node frozen": lambda host: _signal(host, f"{lab.layout.unit}.service", signal.SIGSTOP),
        "window killed": lambda host: _signal(host, window_unit(lab), signal.SIGKILL),
        "window frozen": lambda host: _signal(host, window_unit(lab), signal.SIGSTOP),
        "disk full": _fill,
        "disk read-only": _read_only,
    }[fault]

    def hit(host: Host) -> None:
        # What is dead already cannot be killed.
        with contextlib.suppress(LabError):
            act(host)

    hosts = [lab.host(name) for name in victims]
    if fault == "cut off":
        # The cuts of a lab are one list.
        for host in hosts:
            hit(host)
    else:
        fleet.each(hosts, hit)


def mend(lab: Settings, fault: str, victims: tuple[str, ...]) -> None:
    """Everything is on, reachable and writable again, and nothing is frozen."""
    network.set_cuts(lab, set())
    fleet.power_on(lab, lab.hosts)
    for host in map(lab.host, victims):
        for path in WRITTEN:
            if fault == "disk read-only":
                # Where the host has booted since, nothing is mounted any more.
                _say(host, "umount", path)
            elif fault == "disk full":
                machine.execute(host, ["rm", "--force", f"{path}/{_BALLAST}"])
        unit = f"{lab.layout.unit}.service"
        for name in (unit, window_unit(lab)):
            _signal(host, name, signal.SIGCONT)
        if fault == "node killed" and history.mode(lab, host) in (None, "single"):
            # The operator's own unit has no restart policy, so what was killed is for the operator to start.
            died = machine.execute(host, ["systemctl", "show", "--property=Result", "--value", unit]).stdout.strip()
            if died == "signal":
                _say(host, "systemctl", "start", unit)


def window_unit(lab: Settings) -> str:
    """The unit of a window, on every host."""
    return f"evnode-window-{lab.layout.unit}.service"


def _say(host: Host, *argv: str) -> None:
    machine.execute(host, list(argv), check=False)


def _signal(host: Host, unit: str, what: signal.Signals) -> None:
    _say(host, "systemctl", "kill", f"--signal={what.value}", unit)


def _fill(host: Host) -> None:
    for path in WRITTEN:
        _say(host, "dd", "if=/dev/zero", f"of={path}/{_BALLAST}", "bs=64k")


def _read_only(host: Host) -> None:
    for path in WRITTEN:
        machine.execute(host, ["mkdir", "--parents", path])
        machine.execute(host, ["mount", "--bind", path, path])
        machine.execute(host, ["mount", "--options", "remount,bind,ro", path])
