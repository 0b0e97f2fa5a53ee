# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Directories that root gives to an account, below ones that the account owns already."""

from __future__ import annotations

import os
import typing as t

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.module_utils import _files
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._directories import Directory, differs, ensure
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._files import FileError
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._seal import wipe

if t.TYPE_CHECKING:
    from pathlib import Path

ACCOUNT = 4711

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def about(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_uid, found.st_gid, found.st_mode & 0o7777


def wanted(path: Path, mode: int = 0o700, owner: int = ACCOUNT) -> Directory:
    return Directory(str(path), mode, owner, owner)


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    folder = tmp_path / "sbin"
    folder.mkdir(mode=0o755)
    (folder / "tool").write_text("x")
    return folder


@pytest.fixture
def planted(tmp_path: Path, victim: Path) -> Path:
    """The link that a compromised account puts in the place of its own directory."""
    link = tmp_path / "raft"
    link.symlink_to(victim)
    os.chown(link, ACCOUNT, ACCOUNT, follow_symlinks=False)
    return link


@needs_root
def test_a_directory_is_made_and_mended(tmp_path: Path) -> None:
    folder = tmp_path / "raft"
    assert differs(wanted(folder)) == "absent"
    assert ensure(wanted(folder)) is True
    assert about(folder) == (ACCOUNT, ACCOUNT, 0o700)
    assert ensure(wanted(folder)) is False
    assert differs(wanted(folder, 0o750)) == "mode 0700"
    assert differs(wanted(folder, owner=0)) == f"owned by {ACCOUNT}:{ACCOUNT}"
    assert ensure(wanted(folder, 0o750, owner=0)) is True
    assert about(folder) == (0, 0, 0o750)


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "raft").touch()
    with pytest.raises(FileError, match="raft, found something else; move it away"):
        ensure(wanted(tmp_path / "raft"))


@needs_root
def test_a_link_of_the_account_gives_nothing_away(planted: Path, victim: Path) -> None:
    before = about(victim)
    for ask in (differs, ensure):
        with pytest.raises(FileError, match=f"found {planted}, a link of user {ACCOUNT}"):
            ask(wanted(planted))
    assert about(victim) == before


@needs_root
def test_a_link_of_root_is_the_operators_own(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "disk").symlink_to("sbin")
    (tmp_path / "raft").symlink_to(tmp_path / "disk")
    assert ensure(wanted(tmp_path / "raft")) is True
    assert about(victim) == (ACCOUNT, ACCOUNT, 0o700)


@needs_root
def test_a_link_of_root_to_one_of_the_account_is_not(tmp_path: Path, planted: Path, victim: Path) -> None:
    (tmp_path / "store").symlink_to(planted)
    before = about(victim)
    with pytest.raises(FileError, match=f"at {tmp_path}/store, found {planted}, a link of user {ACCOUNT}"):
        ensure(wanted(tmp_path / "store"))
    assert about(victim) == before


@needs_root
def test_links_that_lead_nowhere_end(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    with pytest.raises(FileError, match="links that lead nowhere"):
        ensure(wanted(tmp_path / "one"))


@needs_root
def test_a_link_in_the_place_of_a_directory_just_made_gives_nothing_away(
    tmp_path: Path, victim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = os.mkdir

    def make_and_swap(path: str, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        make(path, mode, dir_fd=dir_fd)
        (tmp_path / "raft").rename(tmp_path / "aside")
        (tmp_path / "raft").symlink_to(victim)

    monkeypatch.setattr(os, "mkdir", make_and_swap)
    before = about(victim)
    with pytest.raises(FileError, match="raft cannot be created"):
        _files.make_dirs(str(tmp_path / "raft"), mode=0o700, uid=ACCOUNT, gid=ACCOUNT)
    assert about(victim) == before


@needs_root
def test_a_link_of_the_account_empties_nothing(planted: Path, victim: Path) -> None:
    with pytest.raises(FileError, match="a link of user"):
        wipe(str(planted))
    assert os.listdir(victim) == ["tool"]


@needs_root
def test_emptying_keeps_the_directory_and_what_links_in_it_point_to(tmp_path: Path, victim: Path) -> None:
    raft = tmp_path / "own"
    (raft / "snapshots" / "2-10-1").mkdir(parents=True)
    (raft / "snapshots" / "2-10-1" / "state.bin").write_text("x")
    (raft / "away").symlink_to(victim)
    assert wipe(str(raft)) is True
    assert os.listdir(raft) == []
    assert os.listdir(victim) == ["tool"]
    assert wipe(str(raft)) is False


@needs_root
def test_what_cannot_be_removed_is_named_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raft = tmp_path / "own"
    raft.mkdir()
    (raft / "raft-log.db").touch()

    def refuse(path: str) -> None:
        raise OSError(5, "Input/output error", path)

    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(Exception, match=f"{raft}/raft-log.db cannot be removed: Input/output error"):
        wipe(str(raft))


@needs_root
def test_a_slash_at_the_end_follows_no_link_either(tmp_path: Path, victim: Path) -> None:
    link = tmp_path / "raft"
    link.symlink_to(victim)
    os.lchown(link, ACCOUNT, ACCOUNT)
    before = about(victim)
    with pytest.raises(FileError, match="a link of user 4711"):
        ensure(Directory(f"{link}/", 0o700, ACCOUNT, ACCOUNT))
    assert about(victim) == before


def test_a_slash_at_the_end_is_no_name(tmp_path: Path) -> None:
    path = tmp_path / "data" / "raft"
    assert _files.make_dirs(f"{path}/", mode=0o700, uid=os.geteuid(), gid=os.getegid())
    assert path.is_dir()
