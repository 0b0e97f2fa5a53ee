# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real one-time sshd on loopback: what its clients can do, and what hostile ones cannot.

Needs root and the OpenSSH server, since the share is an sshd that only root may log in to.
"""

from __future__ import annotations

import os
import pathlib
import random
import shutil
import socket
import subprocess
import tempfile
import typing as t

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.module_utils._store import share
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._store.client import Source
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._store.pull import Puller
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._store.share import Joiner, Share
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._store.tree import StoreError
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._wait import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run the share's sshd")
MIB = 1 << 20


class Running:
    """A share that answers, and the joiner's side of it."""

    def __init__(self, base: pathlib.Path) -> None:
        self.store, self.target = base / "source/data", base / "target/data"
        self.state, self.joiner = base / "state", base / "joiner"
        for path in (self.store, self.target.parent, self.state, self.joiner):
            path.mkdir(parents=True)
        self.key = str(self.joiner / "key")
        public = share.make_key(self.key, "node-2")
        self.share = share.check(
            Share(
                unit="test",
                roots={"data": str(self.store)},
                joiners=[Joiner("node-2", public, "127.0.0.1")],
                address="127.0.0.1",
                port=share.free_port("127.0.0.1"),
                lifetime=60,
                exclude=[],
                folder=str(base / "share"),
                state_dir=str(base / "source-state"),
            )
        )
        self.log = (base / "sshd.log").open("wb")
        argv = share.prepare(self.share, self.share.port)
        self.sshd = subprocess.Popen(argv, stderr=self.log, start_new_session=True)
        up = wait_until(
            lambda: share.banner("127.0.0.1", self.share.port),
            lambda said: said.startswith("SSH-2.0-"),
            timeout=10,
            interval=0.02,
        )
        assert up.ok, (base / "sshd.log").read_text()
        self.source = Source("127.0.0.1", self.share.port, share.host_key(self.share.folder))

    def puller(self, **more: t.Any) -> Puller:
        given: dict[str, t.Any] = {"key": self.key, "state_dir": str(self.state), "uid": 0, "gid": 0}
        return Puller(more.pop("source", self.source), {"data": str(self.target)}, **{**given, **more})

    def ssh(
        self, *words: str, key: str | None = None, options: t.Sequence[str] = ()
    ) -> subprocess.CompletedProcess[bytes]:
        argv = ["ssh", "-F", "/dev/null", "-i", key or self.key, "-p", str(self.share.port), "-l", "root"]
        for option in (
            "BatchMode=yes",
            "IdentitiesOnly=yes",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
        ):
            argv += ["-o", option]
        return subprocess.run(
            [*argv, *options, "127.0.0.1", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=20,
            check=False,
        )

    def stop(self) -> None:
        self.sshd.terminate()
        self.sshd.wait(timeout=10)
        self.log.close()


@pytest.fixture
def running() -> t.Iterator[Running]:
    # sshd wants every directory above its key file to be root's alone, which the usual temporary directory is not.
    base = pathlib.Path(tempfile.mkdtemp(prefix="evnode-share-test-", dir="/run"))
    made = Running(base)
    yield made
    made.stop()
    shutil.rmtree(base)


def test_a_store_comes_over_and_is_proven(running: Running) -> None:
    content = random.Random(1).randbytes(5 * MIB + 1)
    (running.store / "evm").mkdir()
    (running.store / "evm/1.sst").write_bytes(content)
    with (running.store / "1.vlog").open("wb") as handle:
        handle.truncate(2048 * MIB)
        handle.seek(1024 * MIB)
        handle.write(b"x" * 100_000)
    with running.puller() as puller:
        puller.connect()
        puller.warm()
        with (running.store / "1.vlog").open("r+b") as handle:
            handle.write(b"y" * 1000)
        last = puller.last(limit=10)
    assert (running.target / "evm/1.sst").read_bytes() == content
    assert (running.target / "1.vlog").stat().st_blocks * 512 < MIB
    assert last.manifest
    assert last.bytes < MIB


def test_another_key_is_refused(running: Running) -> None:
    other = str(running.joiner / "other")
    share.make_key(other, "stranger")
    with running.puller(key=other) as puller, pytest.raises(StoreError, match="Permission denied"):
        puller.connect()


def test_a_key_from_another_address_is_refused(running: Running) -> None:
    done = running.ssh("store", options=["-b", "127.0.0.9"])
    assert done.returncode == 255
    assert b"Permission denied" in done.stderr


def test_another_host_key_is_refused(running: Running) -> None:
    wrong = running.source._replace(host_key=share.make_key(str(running.joiner / "wrong"), "x"))
    with running.puller(source=wrong) as puller, pytest.raises(StoreError, match=r"[Hh]ost key"):
        puller.connect()


@pytest.mark.parametrize("words", [["cat", "/etc/shadow"], ["id"], ["touch /run/evnode-share-test-owned"], []])
def test_another_command_is_ignored_and_the_server_answers(running: Running, words: list[str]) -> None:
    done = running.ssh(*words)
    assert done.stdout == b"\0evnode-store-1\n"
    assert not os.path.exists("/run/evnode-share-test-owned")


def test_no_file_transfer(running: Running) -> None:
    assert running.ssh("sftp", options=["-s"]).stdout in (b"", b"\0evnode-store-1\n")


def test_no_terminal(running: Running) -> None:
    assert b"PTY allocation request failed" in running.ssh(options=["-tt"]).stderr


def test_no_port_is_forwarded(running: Running) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        done = running.ssh(options=["-W", f"127.0.0.1:{listener.getsockname()[1]}"])
        assert done.returncode != 0
        assert b"administratively prohibited" in done.stderr or b"open failed" in done.stderr


def test_passwords_are_not_asked_for(running: Running) -> None:
    done = running.ssh(options=["-o", "PubkeyAuthentication=no", "-v"])
    assert b"Authentications that can continue: publickey\r\n" in done.stderr


def test_an_sshd_that_is_killed_in_the_middle_is_told(running: Running) -> None:
    (running.store / "f").write_bytes(random.Random(1).randbytes(20 * MIB))
    told: list[str] = []

    def kill(state: dict[str, t.Any]) -> None:
        if state["bytes_done"] > MIB and not told:
            told.append("killed")
            os.killpg(running.sshd.pid, 9)
            for line in subprocess.run(
                ["pgrep", "-f", f"{running.share.folder}/server.pyz"], capture_output=True, text=True, check=False
            ).stdout.split():
                os.kill(int(line), 9)

    with (
        running.puller(listener=kill, bandwidth=8 * MIB) as puller,
        pytest.raises(StoreError, match=r"The source ended the connection while data was being copied"),
    ):
        puller.last(limit=20)
    assert (running.state / ".copying").exists()


def test_nobody_answers(running: Running) -> None:
    running.sshd.terminate()
    running.sshd.wait(timeout=10)
    with running.puller() as puller, pytest.raises(StoreError, match="Connection refused"):
        puller.connect()


def test_nothing_is_left_once_the_key_is_gone(running: Running) -> None:
    with running.puller() as puller:
        puller.connect()
    assert sorted(os.listdir(running.joiner)) == ["key", "key.known_hosts", "key.pub"]
    share.remove_key(running.key)
    assert os.listdir(running.joiner) == []
