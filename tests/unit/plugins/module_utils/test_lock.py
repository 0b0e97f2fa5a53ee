# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.module_utils import _lock

OURS = {"run": "1", "controller": "a 0 10 5", "user": "anna", "host": "desk"}
THEIRS = {"run": "2", "controller": "b 0 11 6", "user": "bert", "host": "awx"}
# A connection of client port 50000 (C350 hex), seen from the server.
TCP = (
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    "   0: 0100000A:0016 0200000A:C350 {state} 00000000:00000000 00:00000000 00000000     0        0 4711 1\n"
)


@pytest.fixture
def proc(tmp_path):
    """A process 30 below a shell below sshd's session, which alone has the connection in its environment."""
    root = tmp_path / "proc"
    for pid, parent, environ in (
        (30, 20, b"PATH=/bin\0"),
        (20, 10, b"HOME=/\0"),
        (10, 1, b"A=b\0SSH_CONNECTION=10.0.0.2 50000 10.0.0.1 22\0"),
    ):
        (root / str(pid)).mkdir(parents=True)
        (root / str(pid) / "environ").write_bytes(environ)
        (root / str(pid) / "stat").write_text(f"{pid} (a (strange) name) S {parent} 1 1")
    (root / "net").mkdir()
    (root / "net" / "tcp").write_text(TCP.format(state="01"))
    return root


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "run" / "ev-node" / "lock.json")


def held_by(path, holder, connection="10.0.0.2 50000 10.0.0.1 22"):
    _lock.take(path, holder)
    record = {**_lock.read(path), "connection": connection}
    with open(path, "w", encoding="utf-8") as file:
        json.dump(record, file)


def test_the_connection_is_found_behind_sudo(proc):
    assert _lock.connection_of(30, str(proc)) == "10.0.0.2 50000 10.0.0.1 22"
    assert _lock.connection_of(99, str(proc)) == ""


def test_a_lock_is_taken_once_and_given_back_by_its_holder_only(path, proc):
    assert _lock.take(path, OURS, proc=str(proc)) == _lock.Taken(True, {})
    assert _lock.take(path, OURS, proc=str(proc)) == _lock.Taken(True, {})
    assert _lock.release(path, THEIRS) is False
    assert _lock.read(path)["user"] == "anna"
    assert _lock.release(path, OURS) is True
    assert _lock.read(path) == {}


def test_a_run_that_is_connected_keeps_others_out(path, proc):
    held_by(path, THEIRS)
    taken = _lock.take(path, OURS, proc=str(proc))
    assert (taken.mine, taken.holder["user"]) == (False, "bert")
    assert _lock.read(path)["run"] == "2"


@pytest.mark.parametrize("state", ["06", "08"])
def test_a_run_whose_connection_has_ended_is_gone(path, proc, state):
    (proc / "net" / "tcp").write_text(TCP.format(state=state))
    held_by(path, THEIRS)
    taken = _lock.take(path, OURS, proc=str(proc))
    assert (taken.mine, taken.holder["user"]) == (True, "bert")
    assert _lock.read(path)["run"] == "1"


def test_a_run_without_a_connection_to_look_at_counts_as_there(path, proc):
    held_by(path, THEIRS, connection="")
    assert not _lock.take(path, OURS, proc=str(proc)).mine


def test_somebody_who_says_so_takes_over(path, proc):
    held_by(path, THEIRS)
    assert _lock.take(path, OURS, over=True, proc=str(proc)).mine


def test_two_runs_of_one_second_are_two(path, proc):
    held_by(path, {**THEIRS, "run": OURS["run"]})
    assert not _lock.take(path, OURS, proc=str(proc)).mine


def test_a_broken_lock_is_named(path, proc):
    _lock.take(path, OURS, proc=str(proc))
    with open(path, "w", encoding="utf-8") as file:
        file.write("{")
    with pytest.raises(_lock.LockError, match="is not JSON"):
        _lock.take(path, OURS, proc=str(proc))
