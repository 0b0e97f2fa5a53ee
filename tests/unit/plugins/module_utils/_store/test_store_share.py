# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The share's configuration, its command lines, and its life under systemd with recorded answers."""

from __future__ import annotations

import io
import json
import os
import pathlib
import typing as t
import zipfile

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.module_utils._process import Result
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._store import share
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._store.share import Joiner, Share
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._store.tree import StoreError

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB0123456789abcdefghijABCDEFGHIJ0123456789ab"


@pytest.fixture
def wanted(tmp_path: pathlib.Path) -> Share:
    for name in ("a/store", "share", "state"):
        (tmp_path / name).mkdir(parents=True)
    return Share(
        unit="ev-node",
        roots={"data": str(tmp_path / "a/store")},
        joiners=[Joiner("node-2", KEY + " node-2", "127.0.0.2"), Joiner("node-3", KEY, "127.0.0.3")],
        address="127.0.0.1",
        port=2222,
        lifetime=600,
        exclude=["raft"],
        folder=str(tmp_path / "share"),
        state_dir=str(tmp_path / "state"),
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"address": "node-1"}, "own IP address"),
        ({"address": "0.0.0.0"}, "means all of them"),
        ({"address": "::"}, "means all of them"),
        ({"roots": {}}, "at least one root"),
        ({"roots": {"data": "/"}}, "two levels deep"),
        ({"roots": {"data": "/etc"}}, "two levels deep"),
        ({"roots": {"data": "/none/at/all"}}, "Expected the directory of a store"),
        ({"roots": {"a b": "/usr/share"}}, "plain name"),
        ({"joiners": []}, "at least one joiner"),
        ({"joiners": [Joiner("n", KEY, "node-2")]}, "IP address of n"),
        ({"joiners": [Joiner("n", KEY, '1.1.1.1",command="sh')]}, "IP address of n"),
        ({"joiners": [Joiner("n", KEY + "\n" + KEY, "127.0.0.1")]}, "in one line"),
        ({"joiners": [Joiner("n", 'command="sh" ' + KEY, "127.0.0.1")]}, "public key"),
        ({"joiners": [Joiner("n", "ssh-ed25519", "127.0.0.1")]}, "public key"),
        ({"joiners": [Joiner("n", "-----BEGIN OPENSSH PRIVATE KEY-----", "127.0.0.1")]}, "public key"),
    ],
)
def test_what_must_not_reach_a_configuration_is_refused(wanted: Share, change: dict[str, t.Any], words: str) -> None:
    with pytest.raises(StoreError, match=words):
        share.check(wanted._replace(**change))


def test_a_root_that_is_a_link_is_shared_by_its_real_path(wanted: Share, tmp_path: pathlib.Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "a/store")
    checked = share.check(wanted._replace(roots={"data": str(tmp_path / "link")}))
    assert checked.roots == {"data": str(tmp_path / "a/store")}


def test_every_key_is_tied_to_its_address_and_the_one_command(wanted: Share) -> None:
    lines = share.authorized_keys(share.check(wanted), "python3 -I server.pyz").splitlines()
    assert lines == [
        f'restrict,from="127.0.0.2",command="python3 -I server.pyz" {KEY}',
        f'restrict,from="127.0.0.3",command="python3 -I server.pyz" {KEY}',
    ]


@pytest.mark.parametrize(
    "line",
    [
        "ListenAddress 127.0.0.1:2222",
        "ForceCommand python3 -I x",
        "AllowUsers root",
        "PermitRootLogin forced-commands-only",
        "AuthenticationMethods publickey",
        "PasswordAuthentication no",
        "UsePAM no",
        "DisableForwarding yes",
        "PermitTTY no",
        "PermitUserRC no",
        "StrictModes yes",
    ],
)
def test_the_configuration_allows_one_thing(wanted: Share, line: str) -> None:
    assert line in share.sshd_config(share.check(wanted), 2222, "python3 -I x").splitlines()


def test_an_ipv6_address_is_written_in_brackets(wanted: Share) -> None:
    checked = share.check(wanted._replace(address="fd00::1"))
    assert "ListenAddress [fd00::1]:2222" in share.sshd_config(checked, 2222, "x").splitlines()


def test_the_sandbox_can_write_nowhere_but_to_its_own_two_directories(wanted: Share) -> None:
    argv = share.sandbox(wanted, ["/usr/sbin/sshd", "-D"])
    assert argv[-3:] == ["--", "/usr/sbin/sshd", "-D"]
    assert "--unit=evnode-share-ev-node.service" in argv
    assert "--property=ProtectSystem=strict" in argv
    assert "--property=ProtectHome=read-only" in argv
    assert "--property=RuntimeMaxSec=600" in argv
    assert f"--property=ReadWritePaths={wanted.folder} {wanted.state_dir}" in argv
    (capabilities,) = [item for item in argv if "CapabilityBoundingSet" in item]
    assert "DAC_OVERRIDE" not in capabilities
    assert "SYS_ADMIN" not in capabilities


def test_the_program_is_the_server_and_nothing_else_and_the_same_each_time() -> None:
    packed = share.program()
    assert packed == share.program()
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        assert sorted(archive.namelist()) == [
            "__main__.py",
            "evnode_ha/__init__.py",
            "evnode_ha/_errors.py",
            "evnode_ha/_store/__init__.py",
            "evnode_ha/_store/server.py",
            "evnode_ha/_store/tree.py",
            "evnode_ha/_store/wire.py",
        ]
        assert b"ansible" not in archive.read("evnode_ha/_store/server.py")


class Host:
    """A host whose systemd and OpenSSH answer from memory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, answers: bool = True) -> None:
        self.state = "inactive"
        self.started: list[list[str]] = []
        self.now = 1000.0
        self._answers = answers
        monkeypatch.setattr(share, "banner", lambda _address, _port: "SSH-2.0-OpenSSH_9.2" if self._listening() else "")
        monkeypatch.setattr(share, "free_port", lambda _address: 40000 + len(self.started))
        monkeypatch.setattr(share.time, "time", lambda: self.now)
        monkeypatch.setattr(share.shutil, "which", lambda *_args, **_more: "/usr/sbin/sshd")

    def _listening(self) -> bool:
        return self.state == "active" and self._answers

    def run(self, argv: t.Sequence[str], *, timeout: float = 60, stdin: str | None = None) -> Result:
        if argv[0] == "systemd-run":
            self.started.append(list(argv))
            self.state = "active" if self._answers else "failed"
        elif argv[0] == "ssh-keygen":
            path = pathlib.Path(argv[-1])
            path.write_text("private")
            path.with_name(path.name + ".pub").write_text("ssh-ed25519 AAAAhost comment\n")
        elif argv[0] == "journalctl":
            return Result(0, "Bind to port 2222 on 127.0.0.1 failed: Address already in use.\n", "")
        elif argv[:2] == ["systemctl", "show"]:
            return Result(0, f"ActiveState={self.state}\n", "")
        elif argv[:2] == ["systemctl", "stop"]:
            self.state = "inactive"
        return Result(0, "", "")


def test_present_starts_it_once_and_a_second_time_changes_nothing(
    wanted: Share, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host(monkeypatch)
    assert share.present(wanted, run=host.run) == (True, share.Offer(2222, "ssh-ed25519 AAAAhost", 1600))
    assert share.present(wanted, run=host.run) == (False, share.Offer(2222, "ssh-ed25519 AAAAhost", 1600))
    assert len(host.started) == 1
    assert os.stat(f"{wanted.folder}/authorized_keys").st_mode & 0o777 == 0o600
    assert json.loads(pathlib.Path(wanted.folder, "server.json").read_text())["roots"] == wanted.roots


@pytest.mark.parametrize(
    "change", [{"port": 2223}, {"exclude": []}, {"joiners": [Joiner("node-2", KEY, "127.0.0.9")]}, {"lifetime": 6000}]
)
def test_another_wish_replaces_it(wanted: Share, monkeypatch: pytest.MonkeyPatch, change: dict[str, t.Any]) -> None:
    host = Host(monkeypatch)
    share.present(wanted, run=host.run)
    assert share.present(wanted._replace(**change), run=host.run)[0]
    assert len(host.started) == 2


def test_one_that_is_about_to_end_is_replaced(wanted: Share, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch)
    share.present(wanted, run=host.run)
    host.now += 301
    assert share.present(wanted, run=host.run) == (True, share.Offer(2222, "ssh-ed25519 AAAAhost", 1901))


def test_absent_leaves_nothing_and_says_whether_there_was_something(
    wanted: Share, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host(monkeypatch)
    share.present(wanted, run=host.run)
    assert share.absent(wanted, run=host.run)
    assert host.state == "inactive"
    assert not os.path.exists(wanted.folder)
    assert not share.absent(wanted, run=host.run)


def test_a_port_that_is_taken_is_told_with_what_sshd_said(wanted: Share, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch, answers=False)
    with pytest.raises(StoreError, match=r"answer on 127\.0\.0\.1 port 2222.*the unit failed.*Address already in use"):
        share.present(wanted, run=host.run)
    assert not os.path.exists(wanted.folder)


def test_a_free_port_that_was_taken_meanwhile_is_tried_again(wanted: Share, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch, answers=False)
    with pytest.raises(StoreError):
        share.present(wanted._replace(port=0), run=host.run)
    assert len(host.started) == 3


def test_the_one_time_key_is_made_once_and_removed(wanted: Share, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch)
    path = f"{wanted.folder}/key"
    assert share.make_key(path, "node-2", run=host.run) == "ssh-ed25519 AAAAhost"
    assert share.make_key(path, "node-2", run=lambda *_a, **_m: pytest.fail("made again")) == "ssh-ed25519 AAAAhost"
    assert share.remove_key(path)
    assert not share.remove_key(path)
