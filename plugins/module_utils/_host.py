# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""What a host is and holds, as far as a migration depends on it. Reads only."""

from __future__ import annotations

import contextlib
import ctypes
import glob
import hashlib
import ipaddress
import json
import os
import platform
import pwd
import re
import shutil
import socket
import time
import typing as t

from . import _client_unit, _disk, _strays
from ._errors import HaError
from ._execution import facts
from ._files import fingerprint, read_bytes, read_link, sha256_file
from ._half_copy import unfinished
from ._peer_id import peer_id_in
from ._proc import listening_sockets
from ._process import run as _run
from ._rpc import bare_hex
from ._seal import record_path, sealed_state
from ._systemd import show
from ._units import is_held, written_by_us

if t.TYPE_CHECKING:
    from collections.abc import Sequence

    from ._process import Runner

_MODES = ("single", "follower", "raft")
_TOOLS = ("systemctl", "systemd-run", "journalctl", "ssh", "sshd")
_UNITS = "/etc/systemd/system"
# Debian's and Ubuntu's way of saying that an upgrade waits for a reboot (update-notifier-common).
_REBOOT_REQUIRED = "/run/reboot-required"
# Debian, Ubuntu; Fedora, RHEL; openSUSE. apt-daily-upgrade.timer is no evidence: without the first it does nothing.
_UPGRADES = (
    "unattended-upgrades.service",
    "dnf-automatic.timer",
    "dnf-automatic-install.timer",
    "dnf5-automatic.timer",
    "transactional-update.timer",
)
# What timedatectl calls synchronized: the kernel's own estimate of its error, in microseconds.
_MAX_CLOCK_ERROR_US = 16_000_000


class Wanted(t.NamedTuple):
    """What to look at; None leaves a part out."""

    address: str | None = None
    unit: str | None = None
    home: str | None = None
    db_path: str | None = None
    raft_dir: str | None = None
    binary: str | None = None
    user: str | None = None
    config_dir: str = "/etc/evnode-ha"
    state_dir: str = "/var/lib/evnode-ha"
    ports: Sequence[int] = ()
    space_paths: Sequence[str] = ()
    execution_rpc: str | None = None
    client_unit: str | None = None
    jwt_file: str | None = None
    environment_files: Sequence[str] = ()


def collect(wanted: Wanted, *, run: Runner = _run, proc: str = "/proc") -> dict[str, t.Any]:
    """Return the facts of this host; a fact that cannot be read is None."""
    addresses = local_addresses(proc)
    sockets = listening_sockets(proc)
    listening = {str(port): port in sockets for port in wanted.ports}
    host: dict[str, t.Any] = {
        "addresses": addresses,
        "has_address": None if not wanted.address else has_address(wanted.address, addresses),
        "python": platform.python_version(),
        "root": os.geteuid() == 0,
        "systemd_version": systemd_version(run),
        "listening": listening,
        "listeners": owners({port: sockets[port] for port in wanted.ports if port in sockets}, proc),
        "free_bytes": {path: _disk.free_bytes(path) for path in wanted.space_paths},
        "free_inodes": {path: _disk.free_inodes(path) for path in wanted.space_paths},
        "read_only": [path for path in _written(wanted) if _disk.mounted_with(path, os.ST_RDONLY)],
        "no_exec": _disk.mounted_with(wanted.binary, os.ST_NOEXEC) if wanted.binary else None,
        "reboot_pending": os.path.exists(_REBOOT_REQUIRED),
        "clock": {"epoch": time.time(), "synchronized": clock_synchronized()},
        "architecture": platform.machine(),
        "memory": memory(proc),
        "sync": _disk.sync_times(wanted.raft_dir) if wanted.raft_dir else None,
        "selinux": selinux(),
        "upgrades": upgrades(run),
        "tools": {tool: shutil.which(tool, path="/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin") for tool in _TOOLS},
        "hostname": socket.gethostname(),
    }
    host["user_exists"] = None if not wanted.user else _user_exists(wanted.user)
    host.update(_unit(wanted, run))
    host.update(_home(wanted, proc))
    host["binary_sha256"] = sha256_file(wanted.binary) if wanted.binary and os.path.isfile(wanted.binary) else None
    host["raft_dir_entries"] = _entries(wanted.raft_dir)
    host["sealed"] = _sealed(wanted)
    host["held"] = is_held(wanted.unit) if wanted.unit else None
    host["strays"] = _strays.find(wanted.unit, run=run, proc=proc) if wanted.unit else None
    host["mode"] = _mode(wanted, host["unit_ours"])
    host["execution"] = facts(wanted.execution_rpc) if wanted.execution_rpc else None
    host["client"] = _client(wanted) if wanted.client_unit else None
    host["jwt_sha256"] = _secret_fingerprint(wanted.jwt_file) if wanted.jwt_file else None
    host["environment_files"] = {path: _content_fingerprint(path) for path in wanted.environment_files}
    return host


def local_addresses(proc: str = "/proc") -> list[str]:
    """Return the addresses of this host's interfaces, IPv4 first, as text; loopback included."""
    found: set[ipaddress.IPv4Address | ipaddress.IPv6Address] = set()
    candidate = None
    for line in _lines(f"{proc}/net/fib_trie"):
        words = line.split()
        if words[:1] == ["|--"] or (len(words) > 1 and words[0] == "+--"):
            candidate = words[1] if words[0] == "|--" else None
        elif "LOCAL" in words and words[0] == "/32" and candidate:
            found.add(ipaddress.IPv4Address(candidate))
    for line in _lines(f"{proc}/net/if_inet6"):
        found.add(ipaddress.IPv6Address(bytes.fromhex(line.split()[0])))
    return [str(address) for address in sorted(found, key=lambda a: (a.version, int(a)))]


def has_address(address: str, addresses: Sequence[str]) -> bool | None:
    """Tell whether this host has the address; None for something that is no address."""
    try:
        return str(ipaddress.ip_address(address)) in addresses
    except ValueError:
        return None


def owners(sockets: dict[int, set[str]], proc: str = "/proc") -> dict[str, str]:
    """Return who listens on each port, as ``name[pid]``; a port whose owner cannot be seen is left out."""
    wanted = {f"socket:[{inode}]": port for port, inodes in sockets.items() for inode in inodes}
    found: dict[str, str] = {}
    if not wanted:
        return found
    for fd in glob.iglob(f"{proc}/[0-9]*/fd/*"):
        port = wanted.get(read_link(fd) or "")
        if port is not None:
            pid = fd[len(proc) + 1 :].split("/", 1)[0]
            name = (_lines(f"{proc}/{pid}/comm") or ["?"])[0].strip()
            found[str(port)] = f"{name}[{pid}]"
    return found


def systemd_version(run: Runner = _run) -> int | None:
    """Return systemd's version number, None where there is no systemd."""
    try:
        done = run(["systemctl", "--version"])
    except HaError:
        return None
    match = re.match(r"systemd (\d+)", done.stdout)
    return int(match.group(1)) if match else None


def _written(wanted: Wanted) -> list[str]:
    """Return where a migration writes on this host; a program that is there already is not written again."""
    paths = [wanted.home, wanted.raft_dir, wanted.config_dir, wanted.state_dir, _UNITS]
    if wanted.binary and not os.path.exists(wanted.binary):
        paths.append(wanted.binary)
    return [path for path in paths if path]


class _Timex(ctypes.Structure):
    """The head of struct timex (adjtimex(2)); the rest is room for the kernel to write to."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


def clock_synchronized() -> bool | None:
    """Tell whether the kernel's clock is disciplined by something (NTP, PTP); None where it cannot be asked."""
    timex = _Timex()
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else timex.maxerror < _MAX_CLOCK_ERROR_US


def memory(proc: str = "/proc") -> dict[str, int | None]:
    """Return total and available memory, and how much of it is swapped out, in bytes."""
    values = {}
    for line in _lines(f"{proc}/meminfo"):
        name, _colon, rest = line.partition(":")
        if rest.split():
            values[name] = int(rest.split()[0]) * 1024
    swap, unused = values.get("SwapTotal"), values.get("SwapFree")
    return {
        "total": values.get("MemTotal"),
        "available": values.get("MemAvailable"),
        "swapped": None if swap is None or unused is None else swap - unused,
    }


def selinux(path: str = "/sys/fs/selinux/enforce") -> bool | None:
    """Tell whether SELinux enforces its policy; None where there is none."""
    return {"0": False, "1": True}.get("".join(_lines(path)).strip())


def upgrades(run: Runner = _run) -> list[str] | None:
    """Return the active units that upgrade packages by themselves; None where systemd cannot be asked."""
    try:
        done = run(["systemctl", "is-active", *_UPGRADES])
    except HaError:
        return None
    return [unit for unit, state in zip(_UPGRADES, done.stdout.split()) if state == "active"]


def _unit(wanted: Wanted, run: Runner) -> dict[str, t.Any]:
    names = ("unit_exists", "unit_ours", "unit_active", "unit_enabled", "unit_pid")
    facts: dict[str, t.Any] = dict.fromkeys(names)
    if not wanted.unit:
        return facts
    name = wanted.unit if wanted.unit.endswith(".service") else f"{wanted.unit}.service"
    try:
        found = show(name, ["LoadState", "ActiveState", "UnitFileState", "MainPID", "FragmentPath"], run=run)
    except HaError:
        return facts
    facts["unit_exists"] = found.get("LoadState") not in (None, "not-found")
    facts["unit_active"] = found.get("ActiveState") in ("active", "activating", "reloading")
    facts["unit_enabled"] = found.get("UnitFileState") in ("enabled", "enabled-runtime")
    facts["unit_pid"] = int(found.get("MainPID") or 0) or None
    facts["unit_ours"] = bool(found.get("FragmentPath")) and written_by_us(found["FragmentPath"])
    return facts


def _home(wanted: Wanted, proc: str) -> dict[str, t.Any]:
    facts: dict[str, t.Any] = {
        "home_exists": None,
        "home_chain_id": None,
        "home_genesis_sha256": None,
        "home_has_blocks": None,
        "store_bytes": None,
        "node_key_exists": None,
        "peer_id": None,
        "fstype": None,
    }
    if not wanted.home:
        return facts
    genesis = os.path.join(wanted.home, "config", "genesis.json")
    facts["home_exists"] = os.path.isdir(wanted.home)
    facts["fstype"] = _disk.file_system(wanted.home, proc)
    key = os.path.join(wanted.home, "config", "node_key.json")
    facts["node_key_exists"] = os.path.isfile(key)
    with contextlib.suppress(HaError):  # a key that is none is told where it is needed
        facts["peer_id"] = peer_id_in(key)
    content = read_bytes(genesis)
    if content is not None:
        facts["home_genesis_sha256"] = sha256_file(genesis)
        with contextlib.suppress(ValueError, AttributeError):
            facts["home_chain_id"] = json.loads(content).get("chain_id")
    store = os.path.join(wanted.home, wanted.db_path or "data")
    facts["store_bytes"] = _disk.real_bytes(store)
    facts["home_has_blocks"] = facts["store_bytes"] is not None
    return facts


def _user_exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _entries(folder: str | None) -> list[str] | None:
    """Return the names in a directory, None where it does not exist."""
    try:
        return sorted(os.listdir(folder)) if folder else None
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise HaError(f"{folder} cannot be listed: {exc.strerror}; run this with become") from exc


def _mode(wanted: Wanted, unit_ours: bool | None) -> str | None:
    if not wanted.unit:
        return None
    folder = os.path.join(wanted.config_dir, wanted.unit)
    target = read_link(os.path.join(folder, "current"))
    if target in _MODES:
        return target
    # A run that was broken off before it wrote a configuration has left a unit alone.
    return "absent" if unit_ours or os.path.isdir(folder) else "unmanaged"


def _client(wanted: Wanted) -> dict[str, t.Any]:
    """Return what a copy has to know of the client, or the ``reason`` why it is not known.

    ``free_bytes``: where its data are. ``half_copied``: an earlier copy to it was broken off, so that it does not run.
    """
    try:
        client = _client_unit.read(str(wanted.client_unit))
        half = client.root in unfinished(os.path.join(wanted.state_dir, str(wanted.unit)))
    except HaError as exc:
        return {"reason": exc.message}
    free = _disk.free_bytes(client.root)
    return {**client._asdict(), "free_bytes": free, "half_copied": half, "reason": None}


def _secret_fingerprint(path: str) -> str | None:
    """Return a checksum of a hex secret however it is written: with or without ``0x`` and a newline."""
    content = read_bytes(path)
    if content is None:
        return None
    secret = bare_hex(content.decode("ascii", "replace").strip()) or ""
    return hashlib.sha256(secret.encode()).hexdigest()


def _content_fingerprint(path: str) -> str | None:
    content = read_bytes(path)
    return None if content is None else fingerprint(content)


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            return handle.read().splitlines()
    except OSError:
        return []


def _sealed(wanted: Wanted) -> bool | None:
    """Tell whether the Raft directory is exactly what sealing left there; None where it was never sealed."""
    if not wanted.unit or not wanted.raft_dir or not os.path.exists(record_path(wanted.state_dir, wanted.unit)):
        return None
    return sealed_state(wanted.state_dir, wanted.unit, wanted.raft_dir).ok
