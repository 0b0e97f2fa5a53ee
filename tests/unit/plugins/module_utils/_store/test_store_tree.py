# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What counts as the content of a store, and what is never read."""

from __future__ import annotations

import fcntl
import json
import os
import pathlib
import socket
import subprocess
import sys
import time
import typing as t

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.module_utils._store import tree
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._store.tree import (
    CHUNK,
    DatabaseLocks,
    Rules,
    StoreError,
)

MIB = 1 << 20


def entries(root: pathlib.Path, *exclude: str, **more: t.Any) -> list[tree.Entry]:
    return list(tree.scan(str(root), Rules(exclude), **more))


def digest(root: pathlib.Path, *exclude: str) -> str:
    return tree.digest_of(entries(root, *exclude))


def aged(path: pathlib.Path, seconds: float = 3600) -> pathlib.Path:
    then = time.time() - seconds
    os.utime(path, (then, then))
    return path


def test_written_zeros_and_holes_have_the_same_digest(tmp_path: pathlib.Path) -> None:
    full, holes = tmp_path / "full", tmp_path / "holes"
    full.mkdir()
    holes.mkdir()
    content = bytes(3 * MIB) + b"x" * 10 + bytes(2 * MIB)
    (full / "a.vlog").write_bytes(content)
    with (holes / "a.vlog").open("wb") as handle:
        handle.truncate(len(content))
        handle.seek(3 * MIB)
        handle.write(b"x" * 10)
    assert (full / "a.vlog").stat().st_blocks > (holes / "a.vlog").stat().st_blocks
    assert digest(full) == digest(holes)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("one byte", lambda root: (root / "d/f").write_bytes(b"a" * 9 + b"b")),
        ("one zero byte longer", lambda root: (root / "d/f").write_bytes(b"a" * 10 + b"\0")),
        ("another name", lambda root: (root / "d/f").rename(root / "d/g")),
        ("one more empty file", lambda root: (root / "d/h").touch()),
        ("one more directory", lambda root: (root / "e").mkdir()),
        ("one file less", lambda root: (root / "d/f").unlink()),
    ],
)
def test_every_difference_in_content_changes_the_digest(
    tmp_path: pathlib.Path, name: str, change: t.Callable[[pathlib.Path], object]
) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").write_bytes(b"a" * 10)
    before = digest(tmp_path)
    change(tmp_path)
    assert digest(tmp_path) != before, name


def test_owner_mode_and_time_do_not_change_the_digest(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"a")
    before = digest(tmp_path)
    file.chmod(0o600)
    aged(file)
    assert digest(tmp_path) == before


def test_content_moved_to_another_chunk_changes_the_digest(tmp_path: pathlib.Path) -> None:
    piece = b"p" * CHUNK
    (tmp_path / "f").write_bytes(piece + bytes(CHUNK) + b"end")
    before = digest(tmp_path)
    (tmp_path / "f").write_bytes(bytes(CHUNK) + piece + b"end")
    assert digest(tmp_path) != before


@pytest.mark.parametrize(
    ("path", "excluded"),
    [
        ("LOCK", True),
        ("evm-single/LOCK", True),
        ("config/node_key.json", True),
        ("evnode.yaml", True),
        ("reth/reth.ipc", True),
        ("raft/logs/1", True),
        ("deep/raft/x", True),
        ("a/b/c", True),
        ("a/b", True),
        ("a/bc", False),
        ("x/a/b", False),
        ("000001.sst", False),
        ("BLOCK", False),
    ],
)
def test_exclusion(path: str, excluded: bool) -> None:
    assert Rules(["raft", "a/b/"]).excluded(path) is excluded


def test_excluded_files_are_not_in_the_manifest(tmp_path: pathlib.Path) -> None:
    (tmp_path / "raft").mkdir()
    (tmp_path / "raft/log").touch()
    (tmp_path / "LOCK").touch()
    (tmp_path / "MANIFEST").touch()
    assert [entry.path for entry in entries(tmp_path, "raft")] == ["MANIFEST"]


def test_a_link_inside_a_store_is_an_error_and_not_followed(tmp_path: pathlib.Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "store").mkdir()
    (tmp_path / "store/data").symlink_to(tmp_path / "outside")
    with pytest.raises(StoreError, match=r"store/data is a symbolic link.*root of its own"):
        entries(tmp_path / "store")


def test_sockets_and_pipes_are_passed_over(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    here = socket.socket(socket.AF_UNIX)
    monkeypatch.chdir(tmp_path)
    here.bind("socket")
    here.close()
    (tmp_path / "file").touch()
    assert [entry.path for entry in entries(tmp_path)] == ["file"]


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd", "", ".", "a//b", "a/./b", "a\0b", "a/"])
def test_paths_that_leave_the_root_are_refused(path: str) -> None:
    with pytest.raises(StoreError, match="plain path below the root"):
        tree.check_relative(path)


def test_open_beneath_follows_no_link_on_the_way(tmp_path: pathlib.Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/key").write_text("k")
    (tmp_path / "store/way").symlink_to(tmp_path / "secret")
    (tmp_path / "store/key").symlink_to(tmp_path / "secret/key")
    root = tree.open_root(str(tmp_path / "store"))
    try:
        for path in ("way/key", "key"):
            with pytest.raises(OSError, match=r"Not a directory|symbolic links"):
                tree.open_beneath(root, path, os.O_RDONLY)
    finally:
        os.close(root)


def read_bytes_of(root: pathlib.Path, known: dict[str, tree.Entry]) -> int:
    read = [0]

    def beat(size: int) -> None:
        read[0] += size

    entries(root, known=known, beat=beat)
    return read[0]


def test_an_immutable_file_is_read_once_and_any_other_each_time(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.sst").write_bytes(b"s" * 1000)
    aged(tmp_path / "a.sst")
    (tmp_path / "b.vlog").write_bytes(b"v" * 10)
    aged(tmp_path / "b.vlog")
    known = {entry.path: entry for entry in entries(tmp_path)}
    assert read_bytes_of(tmp_path, known) == 10


def test_an_immutable_file_that_was_touched_is_read_again(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "a.sst"
    file.write_bytes(b"s" * 1000)
    aged(file)
    known = {entry.path: entry for entry in entries(tmp_path)}
    stamp = file.stat()
    file.write_bytes(b"t" * 1000)
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert read_bytes_of(tmp_path, known) == 1000


def test_a_young_file_of_a_running_node_is_not_trusted_later(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.sst").write_bytes(b"s" * 1000)
    known = {entry.path: entry for entry in entries(tmp_path)}
    assert read_bytes_of(tmp_path, known) == 1000
    quiet = {entry.path: entry for entry in entries(tmp_path, quiet=True)}
    assert read_bytes_of(tmp_path, quiet) == 0


def test_a_write_during_a_quiet_scan_is_an_error(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"a" * 10)

    def writes(_size: int) -> None:
        with file.open("ab") as handle:
            handle.write(b"more")

    with pytest.raises(StoreError, match="f changed while it was read: something still writes"):
        entries(tmp_path, quiet=True, beat=writes)
    assert [entry.size for entry in entries(tmp_path, beat=writes)] == [14]


def test_a_file_that_vanishes_is_passed_over_unless_nobody_should_write(tmp_path: pathlib.Path) -> None:
    def vanishes(_size: int) -> None:
        (tmp_path / "b").unlink(missing_ok=True)

    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"x")
    assert [entry.path for entry in entries(tmp_path, beat=vanishes)] == ["a"]
    (tmp_path / "b").write_bytes(b"x")
    with pytest.raises(StoreError, match="b vanished while it was read"):
        entries(tmp_path, beat=vanishes, quiet=True)


def test_an_entry_survives_json_with_a_name_that_is_not_utf8(tmp_path: pathlib.Path) -> None:
    with open(os.fsencode(tmp_path) + b"/\xff.sst", "wb") as handle:
        handle.truncate(5 * CHUNK)
        handle.seek(CHUNK)
        handle.write(b"a" * 2 * CHUNK)
        handle.seek(4 * CHUNK + 5)
        handle.write(b"b")
    (entry,) = entries(tmp_path, quiet=True)
    assert sorted(entry.chunks) == [1, 2, 4]
    assert tree.load(json.loads(json.dumps(tree.dump(entry)))) == entry


@pytest.mark.parametrize(
    "change",
    [
        {"path": "../../etc/cron.d/x"},
        {"path": "/etc/passwd"},
        {"path": 7},
        {"stat": ["l", 0o644, 10, 0, 0, 1, 0]},
        {"stat": ["f"]},
        {"hashes": "00"},
        {"runs": [[10_000_000, 1]]},
        {"runs": "x"},
    ],
)
def test_a_hostile_entry_is_refused(tmp_path: pathlib.Path, change: dict[str, t.Any]) -> None:
    (tmp_path / "f").write_bytes(b"a")
    (entry,) = entries(tmp_path)
    with pytest.raises(StoreError):
        tree.load({**tree.dump(entry), **change})


def test_known_hashes_are_kept_for_immutable_files_and_written_only_when_new(tmp_path: pathlib.Path) -> None:
    store, memory = tmp_path / "store", str(tmp_path / "hashes.json")
    store.mkdir()
    for name in ("a.sst", "b.vlog"):
        (store / name).write_bytes(b"x" * 10)
        aged(store / name)
    found = entries(store)
    assert tree.load_known(memory) == {}
    assert tree.save_known(memory, {str(store): found}, {})
    known = tree.load_known(memory)
    assert list(known[str(store)]) == ["a.sst"]
    assert not tree.save_known(memory, {str(store): found}, known)
    assert os.stat(memory).st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "[]", "{", '{"immutable": {"/r": [{}]}}', '{"immutable": 3}'])
def test_a_broken_memory_knows_nothing(tmp_path: pathlib.Path, text: str) -> None:
    (tmp_path / "h").write_text(text)
    assert tree.load_known(str(tmp_path / "h")) == {}


def test_differences_name_the_first_paths_and_what_differs(tmp_path: pathlib.Path) -> None:
    left, right = tmp_path / "left", tmp_path / "right"
    for side in (left, right):
        side.mkdir()
        (side / "same").write_bytes(b"s")
        (side / "byte").write_bytes(b"a" * CHUNK + b"a")
        (side / "size").write_bytes(b"a")
    (left / "missing").touch()
    (right / "more").touch()
    (right / "byte").write_bytes(b"a" * CHUNK + b"b")
    (right / "size").write_bytes(b"ab")
    assert tree.differences(entries(left), entries(right)) == [
        f"byte (content differs from byte {CHUNK} on)",
        "missing (missing here)",
        "more (only here)",
        "size (size 1 there, 2 here)",
    ]
    assert len(tree.differences(entries(left), entries(right), most=2)) == 2


def test_a_lock_that_a_node_holds_is_noticed_and_ours_keeps_a_node_out(tmp_path: pathlib.Path) -> None:
    (tmp_path / "db").mkdir()
    ours = DatabaseLocks(str(tmp_path), ["db", "gone"])
    with pytest.raises(StoreError, match=f"Expected {tmp_path}/db to be closed.*stop the node, or"):
        DatabaseLocks(str(tmp_path / "db"), [])
    ours.release()
    DatabaseLocks(str(tmp_path / "db"), []).release()


@pytest.mark.parametrize("lock", [fcntl.flock, fcntl.lockf], ids=["flock", "fcntl"])
@pytest.mark.parametrize("shared", [True, False], ids=["source", "target"])
def test_the_lock_file_of_an_open_client_is_noticed(tmp_path: pathlib.Path, lock: t.Any, shared: bool) -> None:
    held = tmp_path / "chaindata" / "LOCK"
    held.parent.mkdir()
    held.touch()
    # In a process of its own: fcntl(2) does not keep a process away from itself.
    code = (
        "import fcntl, sys; f = open(sys.argv[1], 'w'); getattr(fcntl, sys.argv[2])(f, 2); print(flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(held), lock.__name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdin and other.stdout and other.stdout.readline()
        with pytest.raises(StoreError, match=r"chaindata to be closed.*or the execution client, first"):
            DatabaseLocks(str(tmp_path), ["chaindata"], shared=shared)
        other.communicate(b"\n")
    DatabaseLocks(str(tmp_path), ["chaindata"], shared=shared).release()


def test_a_missing_root_says_so(tmp_path: pathlib.Path) -> None:
    with pytest.raises(StoreError, match=f"Expected a directory at {tmp_path}/none"):
        entries(tmp_path / "none")
