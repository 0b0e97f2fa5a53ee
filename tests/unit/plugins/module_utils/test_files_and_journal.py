# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import stat
import threading

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.module_utils import _files, _journal


def mode_of(path: object) -> int:
    return stat.S_IMODE(os.lstat(str(path)).st_mode)


def test_write_is_a_change_once(tmp_path):
    path = tmp_path / "secret"
    assert _files.write_atomic(str(path), b"one", mode=0o600) is True
    assert _files.write_atomic(str(path), b"one", mode=0o600) is False
    assert (path.read_bytes(), mode_of(path)) == (b"one", 0o600)
    assert _files.write_atomic(str(path), b"one", mode=0o640) is True
    assert mode_of(path) == 0o640
    assert os.listdir(tmp_path) == ["secret"]


def test_write_replaces_a_link_and_leaves_its_target(tmp_path):
    target = tmp_path / "target"
    target.write_bytes(b"theirs")
    link = tmp_path / "link"
    link.symlink_to(target)
    assert _files.write_atomic(str(link), b"ours", mode=0o600) is True
    assert (target.read_bytes(), link.is_symlink(), link.read_bytes()) == (b"theirs", False, b"ours")


def test_write_is_never_readable_by_others_on_the_way(tmp_path, monkeypatch):
    seen = []
    real = os.fchown

    def watch(fd: int, uid: int, gid: int) -> None:
        seen.append(stat.S_IMODE(os.fstat(fd).st_mode))
        real(fd, uid, gid)

    monkeypatch.setattr(os, "fchown", watch)
    _files.write_atomic(str(tmp_path / "file"), b"x", mode=0o644)
    assert seen == [0o600]


def test_a_failed_write_leaves_the_old_content_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def refuse(_source: str, _target: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(_files.FileError, match="No space left"):
        _files.write_atomic(str(path), b"new", mode=0o600)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_temporary_file_of_a_killed_process_is_no_obstacle(tmp_path):
    (tmp_path / f".file.{os.getpid()}.new").write_bytes(b"half")
    assert _files.write_atomic(str(tmp_path / "file"), b"whole", mode=0o600) is True
    assert os.listdir(tmp_path) == ["file"]


def test_the_switch_moves_by_one_rename(tmp_path):
    link = str(tmp_path / "current")
    assert _files.read_link(link) is None
    assert _files.switch_link(link, "single") is True
    assert _files.switch_link(link, "single") is False
    assert _files.switch_link(link, "raft") is True
    assert _files.read_link(link) == "raft"
    assert os.listdir(tmp_path) == ["current"]


def test_reading_what_is_not_there(tmp_path):
    assert _files.read_bytes(str(tmp_path / "none")) is None
    with pytest.raises(_files.FileError, match="cannot be read"):
        _files.sha256_file(str(tmp_path / "none"))
    with pytest.raises(_files.FileError, match="cannot be read"):
        _files.read_bytes(str(tmp_path))


def test_fingerprints_are_short_and_equal_for_equal_contents(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"content")
    assert _files.fingerprint(b"content") == "sha256:" + _files.sha256_file(str(path))[:12]
    assert _files.fingerprint(b"content") != _files.fingerprint(b"content ")


def test_directories_above_are_roots_own(tmp_path):
    path = tmp_path / "a" / "b"
    assert _files.make_dirs(str(path), mode=0o700, uid=os.getuid(), gid=os.getgid()) is True
    assert _files.make_dirs(str(path), mode=0o755) is False
    assert (mode_of(path), mode_of(path.parent)) == (0o700, 0o755)


def test_removing_names_only_what_was_there(tmp_path):
    (tmp_path / "one").touch()
    paths = [str(tmp_path / "one"), str(tmp_path / "two")]
    assert _files.remove_files(paths) == paths[:1]


def test_journal_keeps_the_order_and_the_facts(tmp_path):
    path = str(tmp_path / "state" / "journal.jsonl")
    first = _journal.append(path, "r1", "armed", {"height": 7})
    second = _journal.append(path, "r1", "committed")
    assert _journal.read(path) == [first, second]
    assert first["height"] == 7
    assert first["at"].endswith("Z")
    assert (mode_of(path), mode_of(tmp_path / "state")) == (0o600, 0o700)


def test_journal_refuses_facts_that_would_hide_its_own(tmp_path):
    path = tmp_path / "journal.jsonl"
    with pytest.raises(_files.FileError, match="may not be called at, run"):
        _journal.append(str(path), "r1", "armed", {"run": 1, "at": 2})
    assert not path.exists()


def test_a_torn_last_line_swallows_nothing(tmp_path):
    path = tmp_path / "journal.jsonl"
    _journal.append(str(path), "r1", "armed")
    with path.open("ab") as handle:
        handle.write(b'{"at": "2026-01-01T00:00:00Z", "run": "r1", "ev')
    _journal.append(str(path), "r1", "committed")
    assert [entry["event"] for entry in _journal.read(str(path))] == ["armed", "committed"]


def test_two_writers_do_not_mix_their_lines(tmp_path):
    path = str(tmp_path / "journal.jsonl")

    def write(name: str) -> None:
        for number in range(30):
            _journal.append(path, name, "step", {"number": number, "padding": name * 500})

    threads = [threading.Thread(target=write, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries = _journal.read(path)
    for name in "ab":
        assert [entry["number"] for entry in entries if entry["run"] == name] == list(range(30))


def test_reading_passes_over_what_is_no_entry(tmp_path):
    path = tmp_path / "journal.jsonl"
    path.write_text("7\nnonsense\n" + json.dumps({"event": "armed"}) + "\n")
    assert _journal.read(str(path)) == [{"event": "armed"}]
    assert _journal.read(str(tmp_path / "none")) == []


def test_a_journal_is_never_written_through_a_link(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.touch()
    (tmp_path / "journal.jsonl").symlink_to(elsewhere)
    with pytest.raises(_files.FileError):
        _journal.append(str(tmp_path / "journal.jsonl"), "r1", "armed")
    assert elsewhere.read_bytes() == b""
