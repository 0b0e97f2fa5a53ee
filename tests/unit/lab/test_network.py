# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from lab.network import cut_rules, inside, outside_rules
from lab.settings import from_environment
from lab.shell import wait_for


def test_only_hosts_reach_a_raft_port(tmp_path: Path) -> None:
    lab = from_environment({"LAB_LAYOUT": "alternative"}, tmp_path)
    assert 'iifname "uplink" tcp dport 15001 drop' in outside_rules(lab)


def test_no_cut_is_an_empty_chain() -> None:
    assert "drop" not in cut_rules([])


def test_a_cut_works_in_both_directions() -> None:
    rules = cut_rules([("port-1", "port-2")])
    assert 'iifname "port-1" oifname "port-2" drop' in rules
    assert 'iifname "port-2" oifname "port-1" drop' in rules
    assert rules.count("drop") == 2


def test_a_host_cut_off_from_everything() -> None:
    rules = [line.strip() for line in cut_rules([("port-3", "*")]).splitlines() if "drop" in line]
    assert rules == ['iifname "port-3" drop', 'oifname "port-3" drop']


def test_missing_namespace_leaves_the_thread_where_it_was(tmp_path: Path) -> None:
    before = os.readlink("/proc/thread-self/ns/net")
    with pytest.raises(FileNotFoundError), inside(tmp_path / "nosuch"):
        pass
    assert os.readlink("/proc/thread-self/ns/net") == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may enter a network namespace")
def test_only_the_calling_thread_moves_and_its_sockets_stay() -> None:
    holder = subprocess.Popen(["unshare", "--net", "sleep", "30"])
    entered = threading.Event()
    seen: list[str] = []

    def look() -> None:
        if entered.wait(10):
            seen.append(os.readlink("/proc/thread-self/ns/net"))

    other = threading.Thread(target=look)
    other.start()
    try:
        here = os.readlink("/proc/thread-self/ns/net")
        there = Path(f"/proc/{holder.pid}/ns/net")
        wait_for("unshare", lambda: "same namespace" if os.readlink(there) == here else None, timeout=10, interval=0.01)
        with inside(there):
            assert os.readlink("/proc/thread-self/ns/net") == os.readlink(there)
            entered.set()
            other.join()
            lonely = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        assert os.readlink("/proc/thread-self/ns/net") == here
        # Its loopback is down: the socket still belongs to the other namespace.
        with lonely, pytest.raises(OSError, match="unreachable"):
            lonely.connect(("127.0.0.1", 9))
    finally:
        entered.set()
        holder.kill()
        holder.wait()
    assert seen == [here]
