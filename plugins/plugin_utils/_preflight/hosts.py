# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""What a machine has to offer to a member."""

from __future__ import annotations

import re
import typing as t

from .._timings import TimingError, duration_ms
from .._verdicts import BLOCK, OK, WARN, Verdict
from .evidence import raft_timings, size

if t.TYPE_CHECKING:
    from collections.abc import Iterator

    from .evidence import Data, Evidence

_GIB = 1 << 30
_SWAPPED = 256 << 20
_LEAST_SYSTEMD = 240
_LEAST_PYTHON = (3, 9)
_LEAST_FREE = 256 << 20
# A store, a Raft log and what is kept of a run are some dozens of files, and a store adds some every hour.
_LEAST_INODES = 1000


def platform(evidence: Evidence) -> Iterator[Verdict]:
    """The system is one that a member can run on."""
    origin = evidence.answering.get(evidence.sequencers[0], {}) if evidence.sequencers else {}
    for name, host in evidence.answering.items():
        if host.get("root") is False:
            remedy = "allow the login user sudo, and run the play with become"
            yield Verdict("no-sudo", BLOCK, name, "root by become", "an ordinary user", remedy)
        version = host.get("systemd_version")
        if version is None:
            remedy = "members need systemd: their nodes are supervised from the first start"
            yield Verdict("no-systemd", BLOCK, name, f"systemd {_LEAST_SYSTEMD} or newer", "none", remedy)
        else:
            yield _least("systemd-too-old", name, int(version), _LEAST_SYSTEMD, "systemd", "upgrade the host")
        python = tuple(int(part) for part in re.findall(r"\d+", str(host.get("python") or ""))[:2])
        if python and python < _LEAST_PYTHON:
            remedy = "install a newer Python, and set ansible_python_interpreter to it"
            yield Verdict("python-too-old", BLOCK, name, "Python 3.9 or newer", str(host["python"]), remedy)
        elif python:
            yield Verdict("python", OK, name, "Python 3.9 or newer", str(host["python"]))
        if origin.get("architecture") and host.get("architecture") != origin["architecture"]:
            remedy = "members run the sequencer's binary: use a machine of the same architecture"
            found = str(host.get("architecture"))
            yield Verdict("other-architecture", BLOCK, name, str(origin["architecture"]), found, remedy)
        yield from _tools(evidence, name, host)
        yield from _memory(name, host, origin)
        yield from _system(name, host, origin)
        kind = str(host.get("fstype") or "")
        if kind.startswith(("nfs", "cifs", "smb", "fuse.sshfs")):
            remedy = "move the home to a local disk: the store's lock and Raft's log rely on one"
            yield Verdict("network-file-system", BLOCK, name, "the home on a local file system", kind, remedy)
        yield from _mounts(evidence, name, host)
        if host.get("reboot_pending"):
            remedy = "reboot it before the migration, and keep automatic reboots away from that night"
            yield Verdict("reboot-pending", WARN, name, "no reboot due", "an upgrade waits for one", remedy)


def _least(identity: str, name: str, found: int, least: int, what: str, remedy: str) -> Verdict:
    expected = f"{what} {least} or newer"
    if found < least:
        return Verdict(identity, BLOCK, name, expected, f"{what} {found}", remedy)
    return Verdict(what, OK, name, expected, f"{what} {found}")


def disk_speed(evidence: Evidence) -> Iterator[Verdict]:
    """A member's vote and each block are on its disk before it answers: the sender waits no longer than this."""
    try:
        most = duration_ms(raft_timings(evidence)["send_timeout"]) / 2
    except TimingError:
        return  # told by the mesh
    expected = f"a write on the disk of the Raft log within {most:g} ms (99 of 100)"
    for name, host in evidence.answering.items():
        found = (host.get("sync") or {}).get("p99_ms")
        if found is not None and found > most:
            remedy = "use a faster disk for the Raft log, or longer times in evnode_raft_timings"
            yield Verdict("slow-disk", BLOCK, name, expected, f"{found:g} ms", remedy)
        elif found is not None:
            yield Verdict("disk-speed", OK, name, expected, f"{found:g} ms")


def _system(name: str, host: Data, origin: Data) -> Iterator[Verdict]:
    swapped = (host.get("memory") or {}).get("swapped") or 0
    if swapped > _SWAPPED:
        remedy = "free memory or turn swap off: a leader that waits for its own memory loses its lease and ends"
        yield Verdict("swapping", WARN, name, "next to nothing swapped out", f"{size(swapped)} swapped out", remedy)
    if host.get("upgrades"):
        remedy = "stop them for the night of the migration: an upgrade may restart the node, or the host"
        found = ", ".join(host["upgrades"])
        yield Verdict("automatic-upgrades", WARN, name, "no upgrades but those that a person starts", found, remedy)
    if host.get("selinux") and not origin.get("selinux"):
        remedy = "give the home, the Raft directory and the program the labels that let systemd run and the node write"
        yield Verdict("selinux", WARN, name, "no SELinux, like the sequencer", "SELinux enforces its policy", remedy)


def _mounts(evidence: Evidence, name: str, host: Data) -> Iterator[Verdict]:
    locked = host.get("read_only") or []
    if locked:
        remedy = "mount it read-write; if the kernel made it read-only, look for errors of the disk first"
        yield Verdict("read-only", BLOCK, name, "a file system to write to", ", ".join(locked), remedy)
    if host.get("no_exec"):
        where = str(evidence.sequencer.get("binary") or "the binary")
        remedy = "mount it without noexec, or let the sequencer's unit run the program from elsewhere"
        yield Verdict("no-exec", BLOCK, name, f"{where} on a file system of programs", "mounted noexec", remedy)
    for path, free in (host.get("free_inodes") or {}).items():
        if free is not None and free < _LEAST_INODES:
            remedy = "remove files, or use a file system with more inodes"
            yield Verdict("few-inodes", BLOCK, name, f"{_LEAST_INODES} files more at {path}", f"{free} more", remedy)


def _tools(evidence: Evidence, name: str, host: Data) -> Iterator[Verdict]:
    tools = host.get("tools") or {}
    copies = evidence.options.get("seed", "follow") != "follow"
    for tool in sorted(tools):
        if tools[tool] is not None:
            continue
        needed = tool not in ("ssh", "sshd") or (copies and (tool == "sshd") == (name in evidence.sequencers))
        where = "a copy from host to host uses it" if tool in ("ssh", "sshd") else "the members are run by it"
        severity = BLOCK if needed else WARN
        if needed or (tool == "sshd") == (name in evidence.sequencers):
            yield Verdict("tool-missing", severity, name, f"the program {tool}", "none", f"install it: {where}")


def _memory(name: str, host: Data, origin: Data) -> Iterator[Verdict]:
    own, wanted = (host.get("memory") or {}).get("total"), (origin.get("memory") or {}).get("total")
    if own and wanted and own < wanted / 2:
        remedy = "any member may have to lead: give it about as much memory as the sequencer has"
        yield Verdict("little-memory", WARN, name, f"about {size(wanted)} like the sequencer", size(own), remedy)


def own_ports(evidence: Evidence) -> Iterator[Verdict]:
    """The ports that a member will listen on are free, or its own node has them."""
    ports = evidence.sequencer.get("ports") or {}
    wanted = {"Raft": evidence.options.get("raft_port"), "P2P": ports.get("p2p")}
    for name, host in evidence.answering.items():
        listening, listeners = host.get("listening") or {}, host.get("listeners") or {}
        for what, port in wanted.items():
            if port is None or str(port) not in listening:
                continue
            owner = str(listeners.get(str(port), "somebody"))
            own = bool(host.get("unit_pid")) and owner.endswith(f"[{host['unit_pid']}]")
            expected_here = what == "P2P" or evidence.migrated
            if not listening[str(port)] or (own and expected_here):
                yield Verdict("port-free", OK, name, f"{what} port {port} for the member", "it is")
            else:
                remedy = (
                    f"stop what listens there, or choose another port{' (evnode_raft_port)' if what == 'Raft' else ''}"
                )
                yield Verdict("port-taken", BLOCK, name, f"{what} port {port} free", f"{owner} listens on it", remedy)


def space(evidence: Evidence) -> Iterator[Verdict]:
    """There is room for what a migration writes."""
    origin = evidence.answering.get(evidence.sequencers[0], {}) if evidence.sequencers else {}
    store = int(origin.get("store_bytes") or 0)
    least = int(evidence.options.get("min_free_bytes") or _LEAST_FREE)
    for name, host in evidence.answering.items():
        joins = name not in evidence.sequencers and not host.get("home_has_blocks") and not evidence.migrated
        # What the store has now is written in any case; the chain goes on growing while that happens.
        needed = least + (store if joins else 0)
        for path, free in (host.get("free_bytes") or {}).items():
            if free is None:
                continue
            expected = f"{size(needed)} free at {path}"
            if free < needed:
                yield Verdict("disk-full", BLOCK, name, expected, size(free), "free some space, or use a larger disk")
            elif free < needed + max(store, _GIB):
                remedy = "there is room for the migration and little more: plan for a larger disk"
                yield Verdict(
                    "disk-small", WARN, name, f"{size(needed + max(store, _GIB))} free at {path}", size(free), remedy
                )
            else:
                yield Verdict("disk", OK, name, expected, size(free))
