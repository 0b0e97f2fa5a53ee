# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The copy: what arrives, what stays, what is proven, and what a copy that failed looks like."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import pathlib
import random
import shutil
import subprocess
import typing as t

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.module_utils._half_copy import HalfCopyError, unfinished
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._store import disk, pull, tree
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._store.tree import CHUNK, StoreError
from tests.unit.plugins.module_utils._store.store_pair import MIB, Pair, PipeLink, real_bytes

dice = random.Random(7)


def fill(pair: Pair) -> None:
    pair.write("evm/000001.sst", dice.randbytes(3 * MIB + 17))
    pair.write("evm/000002.sst", dice.randbytes(100))
    pair.write("evm/MANIFEST", b"m" * 500)
    pair.write("evm/DISCARD", b"")
    pair.write("evm/LOCK", b"4711")
    pair.write("raft/raft.db", b"foreign")
    (pair.source / "evm/empty").mkdir()
    pair.sparse("executor/000001.vlog", 2 * 1024 * MIB - 2, {0: b"head", 700 * MIB + 5: b"x" * 60000})
    pair.sparse("executor/00001.mem", 128 * MIB, {0: dice.randbytes(20000)})


def tree_of(path: pathlib.Path) -> dict[str, bytes | None]:
    """Everything below a directory; large files by their size and a few bytes."""
    found: dict[str, bytes | None] = {}
    for file in sorted(path.rglob("*")):
        name = str(file.relative_to(path))
        if file.is_dir():
            found[name] = None
        elif file.stat().st_size > 64 * MIB:
            with file.open("rb") as handle:
                handle.seek(700 * MIB)
                found[name] = str(file.stat().st_size).encode() + handle.read(70000)
        else:
            found[name] = file.read_bytes()
    return found


def test_a_warm_and_a_last_copy_leave_an_equal_store(pair: Pair) -> None:
    fill(pair)
    with pair.puller(exclude=["raft"]) as puller:
        warm = puller.warm()
        assert warm.changed
        assert warm.manifest is None
        assert pair.marker().exists()
        pair.write("evm/000003.sst", dice.randbytes(MIB))
        pair.write("evm/MANIFEST", b"m" * 600)
        last = puller.last()
    left_out = ("evm/LOCK", "raft", "raft/raft.db")
    assert tree_of(pair.target) == {name: data for name, data in tree_of(pair.source).items() if name not in left_out}
    assert last.files == 2
    assert last.bytes == MIB + 600
    assert last.manifest
    assert last.manifest.files == 7
    assert not pair.marker().exists()


def test_a_disk_that_dies_is_named_and_the_connection_closed(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(pair)

    def dead(_target: disk.Target) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(disk.Target, "sync", dead)
    with pair.puller() as puller:
        with pytest.raises(StoreError, match=f"{pair.target} cannot be read or written: Input/output error"):
            puller.warm()
        assert pair.links[-1].process.returncode is not None


def test_a_root_of_another_account_is_given_to_it(pair: Pair) -> None:
    fill(pair)
    # Only root gives files away.
    account = (65534, 65534) if os.getuid() == 0 else (os.getuid(), os.getgid())
    with pair.puller(owners={"data": account, "other": (1, 1)}) as puller:
        puller.last()
    found = {(path.lstat().st_uid, path.lstat().st_gid) for path in [pair.target, *pair.target.rglob("*")]}
    assert found == {account}


def test_holes_stay_holes(pair: Pair) -> None:
    fill(pair)
    with pair.puller() as puller:
        puller.last()
    for name in ("executor/000001.vlog", "executor/00001.mem"):
        assert (pair.target / name).stat().st_size == (pair.source / name).stat().st_size
        assert real_bytes(pair.target / name) <= real_bytes(pair.source / name) + 4096


def test_the_last_copy_of_a_sparse_store_carries_what_changed(pair: Pair) -> None:
    fill(pair)
    with pair.puller() as puller:
        puller.warm()
        pair.sparse("executor/000001.vlog", 2 * 1024 * MIB - 2, {900 * MIB: dice.randbytes(100_000)})
        last = puller.last()
    assert 0 < last.bytes < MIB < 2 * 1024 * MIB < last.manifest.apparent


def test_zeros_written_out_here_count_as_equal_to_holes_there(pair: Pair) -> None:
    pair.sparse("a.vlog", 4 * MIB, {MIB: b"x"})
    pair.target.mkdir()
    (pair.target / "a.vlog").write_bytes(bytes(MIB) + b"x" + bytes(3 * MIB - 1))
    with pair.puller() as puller:
        outcome = puller.last()
    assert (outcome.bytes, outcome.files, outcome.changed) == (0, 0, False)


def test_data_that_became_a_hole_there_becomes_one_here(pair: Pair) -> None:
    pair.sparse("a.vlog", 8 * MIB, {0: b"a" * 8 * MIB})
    with pair.puller() as puller:
        puller.warm()
        pair.sparse("a.vlog", 8 * MIB, {5 * MIB: b"b"})
        puller.last()
    assert (pair.target / "a.vlog").read_bytes() == (pair.source / "a.vlog").read_bytes()
    assert real_bytes(pair.target / "a.vlog") <= 8192


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"a" * 10, b"a" * 3 * CHUNK),
        (b"a" * 3 * CHUNK, b"a" * 10),
        (b"a" * 3 * CHUNK, b""),
        (b"", b"a"),
        (b"a" * CHUNK + b"b", b"a" * CHUNK + b"c"),
        (b"a" * CHUNK + bytes(100), b"a" * CHUNK + bytes(7)),
        (bytes(5000), b"\0" * 4999 + b"z"),
        (b"a" * 5000, b"a" * 4000 + bytes(CHUNK)),
    ],
    ids=["grown", "shrunk", "emptied", "filled", "last-chunk", "shorter-hole", "hole-filled", "hole-made"],
)
def test_growth_truncation_and_rewriting(pair: Pair, before: bytes, after: bytes) -> None:
    pair.write("f", before)
    with pair.puller() as puller:
        puller.last()
        assert (pair.target / "f").read_bytes() == before
        pair.write("f", after)
        puller.last()
    assert (pair.target / "f").read_bytes() == after


def test_what_the_source_lacks_is_deleted_and_what_is_excluded_stays(pair: Pair) -> None:
    pair.write("keep", b"k")
    for name in ("old/deep/file", "mixed/file", "mixed/LOCK", "raft/log"):
        (pair.target / name).parent.mkdir(parents=True, exist_ok=True)
        (pair.target / name).write_text("x")
    with pair.puller(exclude=["raft"]) as puller, pytest.raises(StoreError, match=r"mixed \(only here\)"):
        puller.last()
    (pair.target / "mixed/LOCK").unlink()
    with pair.puller(exclude=["raft"]) as puller:
        puller.last()
    assert sorted(str(path.relative_to(pair.target)) for path in pair.target.rglob("*")) == ["keep", "raft", "raft/log"]


def test_a_file_that_became_a_directory_and_the_other_way_round(pair: Pair) -> None:
    pair.write("a", b"x")
    pair.write("b/c", b"x")
    with pair.puller() as puller:
        puller.last()
        (pair.source / "a").unlink()
        pair.write("a/x", b"1")
        (pair.source / "b/c").unlink()
        (pair.source / "b").rmdir()
        pair.write("b", b"2")
        puller.last()
    assert tree_of(pair.target) == {"a": None, "a/x": b"1", "b": b"2"}


def test_modes_and_times_are_kept_and_everything_has_the_owner(pair: Pair) -> None:
    file = pair.write("d/f", b"x")
    file.chmod(0o640)
    file.parent.chmod(0o750)
    pair.source.chmod(0o710)
    with pair.puller(uid=os.getuid(), gid=os.getgid()) as puller:
        puller.last()
        assert (pair.target / "d/f").stat().st_mtime_ns == file.stat().st_mtime_ns
        assert oct((pair.target / "d/f").stat().st_mode & 0o777) == "0o640"
        assert oct((pair.target / "d").stat().st_mode & 0o777) == "0o750"
        assert oct(pair.target.stat().st_mode & 0o777) == "0o710"
        file.chmod(0o600)
        assert not puller.last().changed
        assert oct((pair.target / "d/f").stat().st_mode & 0o777) == "0o600"


def test_a_second_last_copy_changes_nothing(pair: Pair) -> None:
    fill(pair)
    with pair.puller() as puller:
        first, second = puller.last(), puller.last()
    assert (second.changed, second.bytes, second.removed) == (False, 0, 0)
    assert second.manifest == first.manifest


def test_many_small_files(pair: Pair) -> None:
    for number in range(10_000):
        path = pair.source / f"{number % 50}/{number}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(str(number).encode())
    with pair.puller() as puller:
        outcome = puller.last(limit=60)
    assert outcome.files == 10_000
    assert (pair.target / "7/9957").read_text() == "9957"


def test_a_file_larger_than_a_batch(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pull, "_BATCH_BYTES", 2 * CHUNK)
    content = dice.randbytes(7 * CHUNK + 5)
    pair.write("big", content)
    pair.write("small", b"s")
    with pair.puller() as puller:
        assert puller.last().files == 2
    assert (pair.target / "big").read_bytes() == content


def test_a_byte_changed_here_is_found_and_put_right(pair: Pair) -> None:
    pair.write("evm/000001.vlog", b"a" * MIB)
    with pair.puller() as puller:
        puller.warm()
        file = pair.target / "evm/000001.vlog"
        stamp = file.stat()
        with file.open("r+b") as handle:
            handle.seek(500_000)
            handle.write(b"b")
        os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        assert puller.last().bytes == CHUNK
    assert file.read_bytes() == b"a" * MIB


def test_a_byte_changed_here_in_an_immutable_file_is_found_too(pair: Pair) -> None:
    pair.write("evm/000001.sst", b"a" * MIB)
    with pair.puller() as puller:
        puller.warm()
        file = pair.target / "evm/000001.sst"
        stamp = file.stat()
        with file.open("r+b") as handle:
            handle.write(b"b")
        os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        assert puller.last().bytes == CHUNK
    assert file.read_bytes() == b"a" * MIB


class Meddling(PipeLink):
    """A link that does something to the files when the talk reaches a question."""

    question = ""

    def __init__(self, inner: PipeLink, question: str, act: t.Callable[[], object]) -> None:
        self.process, self.channel = inner.process, inner.channel
        send = self.channel.send

        def meddle(message: t.Mapping[str, t.Any]) -> None:
            if message["op"] == question:
                act()
            send(message)

        self.channel.send = meddle  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("question", "act", "words"),
    [
        ("get", lambda pair: pair.write("f", b"b" * 100), "data/f changed on the source while it was copied"),
        ("get", lambda pair: (pair.source / "f").unlink(), "data/f is gone from the source"),
        ("confirm", lambda pair: pair.write("f", b"b" * 100), r"data changed during the last copy \(f\)"),
        ("confirm", lambda pair: pair.write("g", b""), r"data changed during the last copy \(g\)"),
    ],
)
def test_a_source_that_still_writes_is_noticed(
    pair: Pair, question: str, act: t.Callable[[Pair], object], words: str
) -> None:
    pair.write("f", b"a" * 100)
    with (
        pair.puller(link=lambda: Meddling(pair.link(), question, lambda: act(pair))) as puller,
        pytest.raises(StoreError, match=words),
    ):
        puller.last()
    assert pair.marker().exists()


def test_a_warm_copy_puts_up_with_a_source_that_writes(pair: Pair) -> None:
    pair.write("f", b"a" * 100)
    pair.write("g", b"a" * 100)

    def act() -> None:
        pair.write("f", b"b" * 50)
        (pair.source / "g").unlink()

    with pair.puller(link=lambda: Meddling(pair.link(), "get", act)) as puller:
        puller.warm()
    with pair.puller() as puller:
        puller.last()
    assert tree_of(pair.target) == {"f": b"b" * 50}


def test_a_difference_at_the_end_names_the_first_files_and_keeps_the_marker(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abcdefgh":
        pair.write(name, b"x" * 5000)
    put = disk.FileWriter.put
    monkeypatch.setattr(disk.FileWriter, "put", lambda self, number, content: put(self, number, content[:-1] + b"!"))
    with pair.puller() as puller, pytest.raises(StoreError, match=r"not equal to the source: data/a \(content differs"):
        puller.last()
    assert json.loads(pair.marker().read_text())[str(pair.target)]["phase"] == "last"


def test_a_source_killed_in_the_middle_leaves_the_marker_and_can_be_repeated(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        pair.write(f"{number}.sst", dice.randbytes(MIB))
    put = disk.FileWriter.put
    written: list[int] = []

    def put_and_kill(self: disk.FileWriter, number: int, content: bytes) -> None:
        put(self, number, content)
        written.append(number)
        if len(written) == 9:
            pair.links[0].process.kill()

    with monkeypatch.context() as patch:
        patch.setattr(disk.FileWriter, "put", put_and_kill)
        with (
            pair.puller() as puller,
            pytest.raises(StoreError, match=r"ended the connection while data was being copied"),
        ):
            puller.last()
    assert pair.marker().exists()
    with pair.puller() as puller:
        outcome = puller.last()
    assert outcome.bytes == 20 * MIB - len(written) * CHUNK
    assert not pair.marker().exists()


def test_a_store_that_is_open_here_is_not_written(pair: Pair) -> None:
    pair.write("evm/f", b"new")
    (pair.target / "evm").mkdir(parents=True)
    (pair.target / "evm/f").write_bytes(b"old")
    holder = os.open(pair.target / "evm", os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    try:
        with pair.puller() as puller, pytest.raises(StoreError, match=r"data/evm to be closed.*stop the node, or"):
            puller.warm()
        assert (pair.target / "evm/f").read_bytes() == b"old"
    finally:
        os.close(holder)


def test_a_store_that_is_open_at_the_source_gets_a_warm_copy_only(pair: Pair) -> None:
    pair.write("evm/f", b"x")
    holder = os.open(pair.source / "evm", os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    try:
        with pair.puller() as puller:
            puller.warm()
            with pytest.raises(StoreError, match=r"The source says: Expected .*evm to be closed"):
                puller.last()
    finally:
        os.close(holder)
    with pair.puller() as puller:
        puller.last()


def test_the_files_owner_cannot_lead_the_copy_out_of_the_store(pair: Pair) -> None:
    pair.write("evm/f", b"x")
    outside = pair.base / "outside"
    outside.mkdir()
    pair.target.mkdir()
    (pair.target / "evm").symlink_to(outside)
    with pair.puller() as puller, pytest.raises(StoreError, match="evm is a symbolic link"):
        puller.warm()
    assert list(outside.iterdir()) == []


def test_a_hostile_source_cannot_name_a_path_outside(pair: Pair) -> None:
    pair.write("f", b"x")
    with pair.puller() as puller:
        puller.connect()
        real = tree.load

        def evil(data: dict[str, t.Any]) -> tree.Entry:
            return real({**data, "path": "../evil"})

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tree, "load", evil)
            with pytest.raises(StoreError, match="plain path below the root"):
                puller.warm()
    assert not (pair.target.parent / "evil").exists()


def test_too_little_space_is_told_before_anything_is_written(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.write("big", dice.randbytes(3 * MIB))
    monkeypatch.setattr(disk.Target, "free", lambda _self: (1, 2 * MIB))
    words = r"Expected 19\.0 MiB of free space for .*found 2\.0 MiB"
    with pair.puller() as puller, pytest.raises(StoreError, match=words):
        puller.warm()
    assert list(pair.target.iterdir()) == []


def test_holes_need_no_space(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.sparse("a.vlog", 2048 * MIB, {5: b"x"})
    monkeypatch.setattr(disk.Target, "free", lambda _self: (1, disk.SPARE + MIB))
    with pair.puller() as puller:
        assert puller.last().files == 1


def test_a_time_limit_ends_a_copy(pair: Pair) -> None:
    # Compared at once on the slowest machine, copied for 20 s.
    for number in range(20):
        pair.write(f"{number}.sst", dice.randbytes(1024))
    with pair.puller(bandwidth=1024) as puller, pytest.raises(StoreError, match="within the time it was given"):
        puller.last(limit=3)
    assert pair.marker().exists()


def test_a_connection_opened_before_serves_later_phases(pair: Pair) -> None:
    pair.write("f", b"x")
    with pair.puller() as puller:
        puller.connect()
        puller.warm()
        puller.last()
    assert len(pair.links) == 1


def test_a_root_that_is_not_shared_is_named(pair: Pair) -> None:
    puller = pair.puller()
    puller._roots = {"execution": str(pair.target)}
    with puller, pytest.raises(StoreError, match="execution is not shared; shared are: data"):
        puller.connect()


@pytest.mark.parametrize("path", ["/", "/var", "relative/path", "/var/../etc", ""])
def test_a_target_that_cannot_be_meant_is_refused(pair: Pair, path: str) -> None:
    with pytest.raises(StoreError, match="absolute path of a store"):
        pull.Puller(
            pull.Source("127.0.0.1", 1, "a b"), {"data": path}, key="k", state_dir=str(pair.state), uid=0, gid=0
        )


def test_progress_tells_the_bytes_and_the_time_left(pair: Pair) -> None:
    pair.write("f", dice.randbytes(4 * MIB))
    told: list[dict[str, t.Any]] = []
    with pair.puller(listener=told.append) as puller:
        puller.last()
    assert [state["step"] for state in told if state["step"] != "copy"] == ["compare", "prove", "done"]
    assert told[-1]["bytes_done"] == told[-1]["bytes_total"] == 4 * MIB
    assert told[-1]["files_done"] == told[-1]["files_total"] == 1


def test_immutable_files_are_read_once_over_two_runs(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.write("a.sst", dice.randbytes(MIB))
    pair.write("b.vlog", dice.randbytes(1000))
    with pair.puller() as puller:
        puller.warm()
    read: list[int] = []
    hashing = tree.hash_file

    def counted(fd: int, size: int, beat: t.Callable[[int], None] | None = None) -> dict[int, bytes]:
        read.append(size)
        return hashing(fd, size, beat)

    monkeypatch.setattr(tree, "hash_file", counted)
    with pair.puller() as puller:
        puller.last()
    assert read == [1000]
    hashes = json.loads((pair.source_state / "store-hashes.json").read_text())
    assert [item["path"] for item in hashes["immutable"][str(pair.source)]] == ["a.sst"]


def test_a_single_file_is_replaced_and_its_neighbours_stay(pair: Pair) -> None:
    pair.write("evm", b"new program").chmod(0o755)
    pair.write("neighbour", b"n")
    pair.target.mkdir()
    (pair.target / "mine").write_bytes(b"m")
    (pair.target / "evm").write_bytes(b"old program, longer")
    inode = (pair.target / "evm").stat().st_ino
    pair.source, pair.target = pair.source / "evm", pair.target / "evm"
    holder = pair.target.open("rb")
    with pair.puller() as puller:
        assert puller.last().changed
        assert not puller.last().changed
    assert pair.target.read_bytes() == b"new program"
    assert holder.read() == b"old program, longer"
    assert pair.target.stat().st_ino != inode or holder.closed
    holder.close()
    assert oct(pair.target.stat().st_mode & 0o777) == "0o755"
    assert sorted(os.listdir(pair.target.parent)) == ["evm", "mine"]


def test_a_running_program_is_replaced(pair: Pair) -> None:
    pair.write("prog", b"#!/bin/sh\n").chmod(0o755)
    pair.target.mkdir()
    shutil.copy("/bin/sleep", pair.target / "prog")
    pair.source, pair.target = pair.source / "prog", pair.target / "prog"
    with subprocess.Popen([str(pair.target), "60"]) as running:
        with pair.puller() as puller:
            puller.last()
        running.kill()
    assert pair.target.read_bytes() == b"#!/bin/sh\n"


def test_a_single_file_under_another_name_is_refused(pair: Pair) -> None:
    pair.write("evm", b"x")
    pair.source = pair.source / "evm"
    with pair.puller() as puller, pytest.raises(StoreError, match="to be called evm here too"):
        puller.connect()


def test_a_proof_of_one_root_says_nothing_about_another(pair: Pair) -> None:
    pair.write("db/f", b"x")
    with pair.puller() as puller:
        puller.warm()
    whole = pair.target
    pair.source, pair.target = pair.source / "db/f", pair.base / "bin/f"
    with pair.puller() as puller:
        puller.last()
    assert list(unfinished(str(pair.state))) == [str(whole)]
    assert pair.marker().exists()


def test_a_marker_that_cannot_be_read_is_not_taken_for_none(pair: Pair) -> None:
    pair.write("f", b"x")
    pair.marker().write_text("{")
    with pair.puller() as puller, pytest.raises(HalfCopyError, match=r"\.copying cannot be read"):
        puller.last()


def hard_linked(pair: Pair) -> pathlib.Path:
    """A backup of the copy that took no room."""
    backup = pair.base / "backup"
    backup.mkdir()
    for name in ("000001.sst", "MANIFEST"):
        os.link(pair.target / "evm" / name, backup / name)
    return backup


def test_a_hard_linked_backup_keeps_its_bytes_and_links_that_differ_converge(pair: Pair) -> None:
    fill(pair)
    pair.write("evm/one", b"1" * 500)
    pair.write("evm/two", b"2" * 500)
    with pair.puller() as puller:
        puller.last()
        backup = hard_linked(pair)
        before = tree_of(backup)
        os.unlink(pair.target / "evm/two")
        os.link(pair.target / "evm/one", pair.target / "evm/two")
        pair.write("evm/000001.sst", dice.randbytes(3 * MIB))
        pair.write("evm/MANIFEST", b"n" * 500).chmod(0o600)
        last = puller.last()
    assert last.manifest
    assert tree_of(backup) == before
    assert (pair.target / "evm/two").read_bytes() == b"2" * 500
    assert (pair.target / "evm/000001.sst").read_bytes() == (pair.source / "evm/000001.sst").read_bytes()


def test_a_hard_linked_backup_keeps_its_mode_and_what_is_equal_is_not_fetched(pair: Pair) -> None:
    fill(pair)
    with pair.puller() as puller:
        puller.last()
        backup = hard_linked(pair)
        mode = (backup / "MANIFEST").stat().st_mode
        (pair.source / "evm/MANIFEST").chmod(0o600)
        last = puller.last()
    assert (last.files, last.bytes) == (1, 500)
    assert (backup / "MANIFEST").stat().st_mode == mode
    assert (pair.target / "evm/MANIFEST").stat().st_mode & 0o777 == 0o600


def test_a_copy_that_has_nothing_to_change_marks_nothing(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(pair)
    with pair.puller() as puller:
        puller.last()
        written: list[str] = []
        monkeypatch.setattr(pull.Puller, "_mark", lambda _self, phase: written.append(phase))
        assert not puller.last().changed
        pair.write("evm/MANIFEST", b"m" * 600)
        puller.last()
    assert written == ["last"]


def test_a_store_that_is_in_use_is_not_called_half_a_copy(pair: Pair) -> None:
    fill(pair)
    pair.target.mkdir()
    held = os.open(pair.target, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pair.puller() as puller, pytest.raises(StoreError, match="to be closed"):
            puller.last()
    finally:
        os.close(held)
    assert not pair.marker().exists()
