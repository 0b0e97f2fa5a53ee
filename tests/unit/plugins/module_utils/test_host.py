# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.module_utils import _disk, _host, _proc
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._files import fingerprint, sha256_file
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._units import MARK

FIB_TRIE = """Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 10.0.0.0/24 2 0 2
        |-- 10.0.0.0
           /24 link UNICAST
        |-- 10.0.0.2
           /32 host LOCAL
        |-- 10.0.0.255
           /32 link BROADCAST
     +-- 127.0.0.0/8 2 0 2
        |-- 127.0.0.0
           /8 host LOCAL
        |-- 127.0.0.1
           /32 host LOCAL
"""
IF_INET6 = "fd000000000000000000000000000002 04 40 00 82     eth0\n"
TCP = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0200000A:1389 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0
   1: 0200000A:1DFC 0300000A:1389 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100 0 0 10 0
"""


@pytest.fixture
def proc(tmp_path: Path) -> str:
    folder = tmp_path / "proc"
    (folder / "net").mkdir(parents=True)
    (folder / "77" / "fd").mkdir(parents=True)
    (folder / "net" / "fib_trie").write_text(FIB_TRIE)
    (folder / "net" / "if_inet6").write_text(IF_INET6)
    (folder / "net" / "tcp").write_text(TCP)
    (folder / "meminfo").write_text(
        "MemTotal: 2048 kB\nMemAvailable: 1024 kB\nHugePages_Total:       0\nSwapTotal: 512 kB\nSwapFree: 500 kB\n"
    )
    (folder / "77" / "comm").write_text("other\n")
    (folder / "77" / "fd" / "3").symlink_to("socket:[4711]")
    return str(folder)


def test_addresses_are_those_of_interfaces_not_of_networks(proc):
    assert _host.local_addresses(proc) == ["10.0.0.2", "127.0.0.1", "fd00::2"]


@pytest.mark.parametrize(
    ("address", "found"),
    [("10.0.0.2", True), ("fd00:0::2", True), ("10.0.0.3", False), ("10.0.0.255", False), ("node-2", None)],
)
def test_an_address_on_the_host(proc, address, found):
    assert _host.has_address(address, _host.local_addresses(proc)) is found


def test_who_listens(proc):
    sockets = _proc.listening_sockets(proc)
    assert sockets == {5001: {"4711"}}, "an established connection is no listener"
    assert _host.owners(sockets, proc) == {"5001": "other[77]"}


def test_this_machine_sees_its_own_listener():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert _host.owners({port: _proc.listening_sockets()[port]})[str(port)].endswith(f"[{os.getpid()}]")
    assert port not in _proc.listening_sockets()


def test_how_the_file_systems_are_mounted(tmp_path, monkeypatch, commands, proc):
    commands.answer(["systemctl", "show"], "LoadState=not-found\nActiveState=inactive\nMainPID=0\n")
    real, flags = os.statvfs, {tmp_path: 0}

    def statvfs(path: str) -> SimpleNamespace:
        real_one = real(path)
        return SimpleNamespace(
            f_flag=flags.get(Path(path), 0),
            **{name: getattr(real_one, name) for name in ("f_bavail", "f_frsize", "f_files", "f_favail")},
        )

    monkeypatch.setattr(_disk.os, "statvfs", statvfs)
    host = member(tmp_path, commands, proc)
    assert (host["read_only"], host["no_exec"]) == ([], False)
    flags[tmp_path] = os.ST_RDONLY | os.ST_NOEXEC
    host = member(tmp_path, commands, proc)
    names = ("home", "raft", "etc", "lib", "node")
    assert (sorted(host["read_only"]), host["no_exec"]) == (sorted(str(tmp_path / name) for name in names), True)
    (tmp_path / "node").write_bytes(b"elf")
    assert str(tmp_path / "node") not in member(tmp_path, commands, proc)["read_only"]


def test_memory_in_bytes(proc):
    assert _host.memory(proc) == {"total": 2048 * 1024, "available": 1024 * 1024, "swapped": 12 * 1024}


@pytest.mark.parametrize(("text", "enforcing"), [("1", True), ("0", False), (None, None)])
def test_selinux(tmp_path, text, enforcing):
    if text is not None:
        (tmp_path / "enforce").write_text(text)
    assert _host.selinux(str(tmp_path / "enforce")) is enforcing


def test_what_upgrades_by_itself(commands):
    commands.answer(["systemctl", "is-active"], "active\ninactive\ninactive\nactive\ninactive\n", rc=3)
    assert _host.upgrades(commands) == ["unattended-upgrades.service", "dnf5-automatic.timer"]


@pytest.mark.parametrize(("said", "version"), [("systemd 252 (252.39-1~deb12u2)\n+PAM", 252), ("no", None)])
def test_systemd_version(commands, said, version):
    commands.answer(["systemctl", "--version"], said)
    assert _host.systemd_version(commands) == version


def member(tmp_path: Path, commands: object, proc: str, **more: object) -> dict[str, object]:
    commands.answer(["systemctl", "--version"], "systemd 252\n")  # type: ignore[attr-defined]
    commands.answer(["systemctl", "is-active"], "inactive\n", rc=3)  # type: ignore[attr-defined]
    wanted = _host.Wanted(
        **{  # type: ignore[arg-type]
            "address": "10.0.0.2",
            "unit": "chain",
            "home": str(tmp_path / "home"),
            "raft_dir": str(tmp_path / "raft"),
            "binary": str(tmp_path / "node"),
            "config_dir": str(tmp_path / "etc"),
            "state_dir": str(tmp_path / "lib"),
            "ports": [5001, 7676],
            "space_paths": [str(tmp_path / "home")],
            **more,
        }
    )
    return _host.collect(wanted, run=commands, proc=proc)  # type: ignore[arg-type]


def test_an_empty_host(tmp_path, commands, proc):
    commands.answer(["systemctl", "show"], "LoadState=not-found\nActiveState=inactive\nMainPID=0\n")
    host = member(tmp_path, commands, proc)
    assert (host["unit_exists"], host["unit_active"], host["unit_pid"]) == (False, False, None)
    assert (host["home_exists"], host["home_has_blocks"], host["home_chain_id"]) == (False, False, None)
    assert (host["raft_dir_entries"], host["sealed"], host["mode"]) == (None, None, "unmanaged")
    assert (host["binary_sha256"], host["node_key_exists"]) == (None, False)
    assert host["listening"] == {"5001": True, "7676": False}


def test_a_member(tmp_path, commands, proc):
    commands.answer(
        ["systemctl", "show"], "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\nMainPID=4711\n"
    )
    (tmp_path / "home" / "config").mkdir(parents=True)
    (tmp_path / "home" / "data").mkdir()
    (tmp_path / "home" / "data" / "1.sst").write_bytes(b"x" * 5000)
    (tmp_path / "home" / "config" / "genesis.json").write_text('{"chain_id": "c-1"}')
    (tmp_path / "node").write_bytes(b"elf")
    (tmp_path / "etc" / "chain").mkdir(parents=True)
    (tmp_path / "etc" / "chain" / "current").symlink_to("follower")
    raft = tmp_path / "raft"
    raft.mkdir()
    (raft / "raft-log.db").write_bytes(b"configuration")
    record = {"raft_dir": str(raft), "files": {"raft-log.db": sha256_file(str(raft / "raft-log.db"))}}
    (tmp_path / "lib" / "chain").mkdir(parents=True)
    (tmp_path / "lib" / "chain" / "sealed.json").write_text(json.dumps(record))
    host = member(tmp_path, commands, proc)
    assert (host["unit_exists"], host["unit_active"], host["unit_enabled"], host["unit_pid"]) == (
        True,
        True,
        True,
        4711,
    )
    assert (host["home_chain_id"], host["home_has_blocks"], host["mode"]) == ("c-1", True, "follower")
    assert host["home_genesis_sha256"] == sha256_file(str(tmp_path / "home" / "config" / "genesis.json"))
    assert host["binary_sha256"] == sha256_file(str(tmp_path / "node"))
    assert (host["raft_dir_entries"], host["sealed"]) == (["raft-log.db"], True)
    (raft / "raft-log.db").write_bytes(b"configuration and more")
    assert member(tmp_path, commands, proc)["sealed"] is False


@pytest.mark.parametrize(
    ("text", "mode"),
    [(f"{MARK}: made from the unit of the sequencer.\n[Service]\n", "absent"), ("[Service]\n", "unmanaged")],
)
def test_a_unit_alone_is_ours_or_somebody_elses(tmp_path, commands, proc, text, mode):
    """A run that was broken off after the unit: the same command again has to get past preflight."""
    unit = tmp_path / "chain.service"
    unit.write_text(text)
    commands.answer(["systemctl", "show"], f"LoadState=loaded\nActiveState=inactive\nFragmentPath={unit}\n")
    host = member(tmp_path, commands, proc)
    assert (host["unit_exists"], host["mode"]) == (True, mode)


def test_environment_files_are_told_by_fingerprint(tmp_path, commands, proc):
    there, none = tmp_path / "chain.env", tmp_path / "none.env"
    there.write_text("TOKEN=canary\n")
    host = member(tmp_path, commands, proc, unit=None, environment_files=[str(there), str(none)])
    assert host["environment_files"] == {str(there): fingerprint(b"TOKEN=canary\n"), str(none): None}


def test_a_host_without_systemd_still_tells_the_rest(tmp_path, commands, proc):
    commands.answer(["systemctl", "show"], rc=1, stderr="System has not been booted with systemd")
    host = member(tmp_path, commands, proc, home="", raft_dir="", binary="")
    assert (host["unit_exists"], host["home_exists"], host["raft_dir_entries"]) == (None, None, None)
    assert host["has_address"] is True


@pytest.mark.parametrize(
    ("state", "error_us", "synchronized"),
    [(0, 500, True), (5, 16_000_000, False), (-1, 0, None)],
    ids=["disciplined", "free-running", "not-allowed"],
)
def test_the_clock_is_asked_without_being_set(monkeypatch, state, error_us, synchronized):
    class Libc:
        def adjtimex(self, reference: object) -> int:
            timex = reference._obj  # type: ignore[attr-defined]
            assert timex.modes == 0, "any other value would set the clock"
            timex.maxerror = error_us
            return state

    monkeypatch.setattr(_host.ctypes, "CDLL", lambda *_given, **_named: Libc())
    assert _host.clock_synchronized() is synchronized
