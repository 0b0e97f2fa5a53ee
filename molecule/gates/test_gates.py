# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gates that are forced to fail, one cutover after the other on the same five hosts, and the one that succeeds at last.

All of them are seeded by copying: it is what has a last copy that can go wrong.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import pytest

from lab import fleet, machine, network
from lab.rpc import Block
from lab.settings import Host, Settings
from lab.shell import wait_for
from lab.trial import history
from lab.trial.disk import running
from lab.trial.play import Controller, Outcome, Running

SETTINGS = {"evnode_seed": "copy"}
# A cutover waits for what this scenario keeps away; the defaults suit hosts that are only slow.
LIMITS = ("-e", '{"evnode_agree_timeout": 6, "evnode_health_timeout": 12}')
REST = "cutover,verify,finalize"
CUTOVER = ("--tags", "cutover", *LIMITS)

# Runs inside a host: once a file tells it to, writes one byte that is not the right one to the start of the largest
# file below a directory, empty space not counted, again and again. Files of a store come and go.
ALTER = """
import os, sys, time
store, go = sys.argv[1:]
def largest():
    paths = [os.path.join(folder, name) for folder, _folders, names in os.walk(store) for name in names]
    return max(paths, key=lambda path: os.stat(path).st_blocks)
right = {}
while not os.path.exists(go):
    path = largest()
    right[path] = open(path, "rb").read(1)[0]
    time.sleep(0.005)
turn = 0
while True:
    turn += 1
    try:
        path = largest()
        with open(path, "r+b", buffering=0) as file:
            known = right.setdefault(path, file.read(1)[0])
            file.seek(0)
            file.write(bytes([known ^ (1 + turn % 2)]))
    except FileNotFoundError:
        pass
    time.sleep(0.001)
"""


@pytest.fixture(scope="module")
def staged(lab: Settings, controller: Controller) -> Outcome:
    """Everything up to the pause that an approval may need."""
    outcome = controller.run("stage", "--skip-tags", REST)
    assert outcome.code == 0, outcome.errors()
    return outcome


@pytest.fixture
def chain_so_far(lab: Settings, staged: Outcome) -> list[Block]:
    """All blocks up to now."""
    tip = history.height(lab, lab.hosts[0])
    assert tip
    return history.blocks(lab, lab.hosts[0], 1, tip)


def when(lab: Settings, host: Host, event: str, run: Running, known: int) -> None:
    """Wait until an event stands in a host's journal that was not among the `known` first entries."""

    def missing() -> str | None:
        told = history.events(lab, host)[known:]
        if event in told:
            return None
        assert not run.ended(), f"the run ended before {event}: {run.wait().errors()}"
        return f"{host.name}: {told}"

    wait_for(f"{event} on {host.name}", missing, timeout=180, interval=0.005)


@contextlib.contextmanager
def altering(lab: Settings, host: Host) -> Iterator[Callable[[], None]]:
    """Alter one byte of a host's store all the time, once what this gives is called."""
    store, go = f"{lab.layout.home}/data", "/run/alter"
    program = ["systemd-run", "--quiet", "--collect", "--unit=alter", "python3", "-c", ALTER, store, go]
    machine.execute(host, program)
    try:
        yield (machine.root(host) / go.lstrip("/")).touch
    finally:
        machine.execute(host, ["systemctl", "stop", "alter.service"])
        machine.execute(host, ["rm", "--force", go])


@contextlib.contextmanager
def broken(lab: Settings, hosts: Sequence[Host]) -> Iterator[None]:
    """Keep the unit of these hosts from starting."""
    folder = f"/run/systemd/system/{lab.layout.unit}.service.d"
    for host in hosts:
        machine.execute(host, ["mkdir", "--parents", folder])
        words = "[Service]\nExecStartPre=/bin/sh -c 'exit 3'\n"
        machine.execute(host, ["tee", f"{folder}/broken.conf"], stdin=words)
        machine.execute(host, ["systemctl", "daemon-reload"])
    try:
        yield
    finally:
        for host in hosts:
            machine.execute(host, ["rm", "--recursive", folder])
            machine.execute(host, ["systemctl", "daemon-reload"])


@contextlib.contextmanager
def read_only(host: Host, path: str) -> Iterator[None]:
    """Let nothing write below a directory of a host."""
    machine.execute(host, ["mount", "--bind", path, path])
    try:
        machine.execute(host, ["mount", "--options", "remount,bind,ro", path])
        yield
    finally:
        machine.execute(host, ["umount", path])


def test_fewer_forks_than_members(lab: Settings, controller: Controller, chain_so_far: list[Block]) -> None:
    """The last member would not be asked before the others have given up."""
    pid = running(lab, lab.hosts[0])["MainPID"]
    outcome = controller.run("forks", *CUTOVER, "--forks", "4")
    assert outcome.code != 0
    assert "Expected at least 5 forks of Ansible, found 4" in outcome.text, outcome.tail()
    assert (outcome.count("changed"), running(lab, lab.hosts[0])["MainPID"]) == (0, pid)


def test_a_disk_that_refuses_the_copy(lab: Settings, controller: Controller, chain_so_far: list[Block]) -> None:
    victim, first = lab.hosts[3], lab.hosts[0]
    known, pid = len(history.events(lab, first)), running(lab, first)["MainPID"]
    with read_only(victim, f"{lab.layout.home}/data"):
        outcome = controller.run("read-only", *CUTOVER)
    assert outcome.code != 0
    said = outcome.text.partition("Called off before the cutover, the sequencer was not touched.")[2]
    assert victim.name in said and lab.hosts[1].name not in said.partition("}")[0], outcome.tail()
    assert "window_open" not in history.events(lab, first)[known:]
    assert running(lab, first)["MainPID"] == pid
    assert history.single_problems(lab, chain_so_far) == []
    for host in lab.hosts:
        left = machine.execute(host, ["find", f"/run/evnode-ha/{lab.layout.unit}", "-name", "*key*"], check=False)
        # Where the copy failed the run ends; its key opens nothing any more.
        assert left.stdout == "" or host == victim, left.stdout


def test_a_store_that_keeps_changing(
    lab: Settings, controller: Controller, chain_so_far: list[Block], note: Callable[[str], None]
) -> None:
    victim, known = lab.hosts[1], len(history.events(lab, lab.hosts[1]))
    with altering(lab, victim) as begin, controller.start("altered", CUTOVER) as run:
        # Not earlier: a store that changes during the warm copy before the window is noticed there.
        when(lab, victim, "window_start", run, known)
        begin()
        outcome = run.wait()
    assert outcome.code != 0
    assert "Called off, the single sequencer produces as before: node-2" in outcome.text, outcome.tail()
    assert history.single_problems(lab, chain_so_far) == []
    receipt = history.receipt(lab, lab.hosts[0])
    assert receipt["outcome"] == "aborted" and "node-2" in receipt["reason"]
    note(f"altered byte: {receipt['reason']}")


def test_a_joiner_that_is_cut_off_during_the_last_copy(
    lab: Settings, controller: Controller, chain_so_far: list[Block], note: Callable[[str], None]
) -> None:
    victim, first = lab.hosts[2], lab.hosts[0]
    known = len(history.events(lab, first))
    with controller.start("cut-off", CUTOVER) as run:
        # From here on everything is ready; a copy that has to begin yet takes longer than the cut.
        when(lab, first, "armed", run, known)
        network.partition(lab, victim, [])
        try:
            when(lab, first, "window_closed", run, known)
        finally:
            network.heal(lab, victim)
        outcome = run.wait()
    assert outcome.code != 0
    assert "Called off, the single sequencer produces as before" in outcome.text, outcome.tail()
    assert history.single_problems(lab, chain_so_far) == []
    receipt = history.receipt(lab, first)
    assert receipt["outcome"] == "aborted" and victim.name in receipt["reason"]
    told = history.events(lab, first)[known:]
    assert "frozen" in told and "committed" not in told
    note(f"cut off: {receipt['reason']}")


def test_three_members_that_cannot_start(
    lab: Settings, controller: Controller, chain_so_far: list[Block], note: Callable[[str], None]
) -> None:
    victims, first = lab.hosts[2:], lab.hosts[0]
    known = len(history.events(lab, first))
    with broken(lab, victims), controller.start("cannot-start", CUTOVER) as run:
        when(lab, first, "committed", run, known)
        # Other stages, and chosen by what is left out: they are kept away as well.
        second = controller.run("meanwhile", "--skip-tags", f"preflight,plan,{REST}")
        outcome = run.wait()
    assert second.code != 0 and "Expected no other run on this host, found run" in second.text, second.tail()
    assert outcome.code != 0
    assert "Rolled back, the single sequencer produces" in outcome.text, outcome.tail()
    for victim in victims:
        assert victim.name in outcome.text.partition("Rolled back, the single sequencer produces")[2]
    assert "committed" in history.events(lab, first)[known:]
    assert history.single_problems(lab, chain_so_far) == []
    raft = f"{lab.layout.home}/raft"
    for host in lab.hosts:
        left = machine.execute(host, ["find", raft, "-mindepth", "1", "-type", "f"], check=False).stdout
        assert left == "", f"{host.name}: {left}"
    note(f"three that cannot start: {outcome.seconds:.0f} s to the rollback's end")


def test_the_same_command_succeeds_afterwards(
    lab: Settings, controller: Controller, chain_so_far: list[Block], note: Callable[[str], None]
) -> None:
    outcome = controller.run("at-last", "--tags", "cutover,verify")
    assert outcome.code == 0, outcome.errors()
    receipt = history.receipt(lab, lab.hosts[0])
    assert receipt["n"] >= chain_so_far[-1].height
    assert history.cluster_problems(lab, receipt["n"], receipt["hash"]) == []
    kept = history.blocks(lab, lab.hosts[4], 1, chain_so_far[-1].height)
    assert kept == chain_so_far
    assert len(fleet.status(lab)["cut"]) == 0
    note(f"cutover and verify after all of that: {outcome.seconds:.0f} s")
