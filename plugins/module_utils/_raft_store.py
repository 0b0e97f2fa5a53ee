# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.
"""Read what a stopped member's Raft directory holds: the last log index, and whether there are snapshots.

The log is a bbolt file. Only as much of its format is read as it takes to find the greatest key of one bucket.
"""

from __future__ import annotations

import os
import struct

from ._errors import HaError

LOG = "raft-log.db"
STABLE = "raft-stable.db"
_MAGIC = 0xED0CDAED
_PAGE = struct.Struct("<QHHI")
_META = struct.Struct("<IIIIQQQQQ")
_LEAF = struct.Struct("<IIII")
_BRANCH = struct.Struct("<IIQ")
_BUCKET = struct.Struct("<QQ")
_IS_BRANCH, _IS_LEAF, _IS_BUCKET = 0x01, 0x02, 0x01
_DEEPEST = 32


class RaftStoreError(HaError):
    """A Raft directory's files cannot be read."""


def last_index(path: str) -> int:
    """Return the greatest index in a ``raft-log.db``; 0 where there is no file or no entry."""
    try:
        with open(path, "rb") as handle:
            data = handle.read()
    except FileNotFoundError:
        return 0
    except OSError as exc:
        raise RaftStoreError(f"{path} cannot be read: {exc.strerror}") from exc
    if not data:
        return 0
    try:
        return _last_index(data)
    except (struct.error, IndexError, ValueError, OverflowError) as exc:
        raise RaftStoreError(f"{path} is not a readable Raft log: {exc}") from exc


def snapshots(raft_dir: str) -> list[str]:
    """Return the names of the snapshots in a Raft directory, unfinished ones too."""
    try:
        return sorted(os.listdir(os.path.join(raft_dir, "snapshots")))
    except FileNotFoundError:
        return []
    except OSError as exc:
        raise RaftStoreError(f"{raft_dir}/snapshots cannot be read: {exc.strerror}") from exc


def holds_blocks(raft_dir: str) -> bool:
    """Tell whether the directory holds more than a sealed membership: entries after the first, or a snapshot."""
    return last_index(os.path.join(raft_dir, LOG)) > 1 or bool(snapshots(raft_dir))


def _last_index(data: bytes) -> int:
    size, root = _root(data)
    bucket = _find(data, size, root, b"logs", 0)
    if bucket is None:
        return 0
    (page, _sequence) = _BUCKET.unpack_from(bucket)
    # A bucket this small lives inside its parent's value, as a page of its own after the header.
    key = _greatest(data, size, page, 0) if page else _greatest_on(bucket[_BUCKET.size :])
    return int.from_bytes(key, "big") if key else 0


def _root(data: bytes) -> tuple[int, int]:
    """Return page size and root page of the newer of the two meta pages."""
    best = (-1, 0, 0)
    sizes = [1 << power for power in range(9, 17)]
    for offset in (0, *sizes):
        if len(data) < offset + _PAGE.size + _META.size:
            continue
        magic, version, size, _flags, root, _sequence, _free, _high, txid = _META.unpack_from(data, offset + _PAGE.size)
        if magic == _MAGIC and version == 2 and offset in (0, size):
            best = max(best, (txid, size, root))
    if best[0] < 0:
        raise ValueError("no valid meta page")
    return best[1], best[2]


def _page(data: bytes, size: int, number: int) -> bytes:
    offset = number * size
    _id, _flags, _count, overflow = _PAGE.unpack_from(data, offset)
    return data[offset : offset + (overflow + 1) * size]


def _find(data: bytes, size: int, number: int, name: bytes, depth: int) -> bytes | None:
    if depth > _DEEPEST:
        raise ValueError("a tree without an end")
    page = _page(data, size, number)
    _id, flags, count, _overflow = _PAGE.unpack_from(page)
    if flags & _IS_BRANCH:
        for place in range(count):
            _pos, _ksize, child = _BRANCH.unpack_from(page, _PAGE.size + place * _BRANCH.size)
            found = _find(data, size, child, name, depth + 1)
            if found is not None:
                return found
        return None
    for place in range(count):
        kind, key, value = _leaf(page, place)
        if kind & _IS_BUCKET and key == name:
            return value
    return None


def _greatest(data: bytes, size: int, number: int, depth: int) -> bytes | None:
    if depth > _DEEPEST:
        raise ValueError("a tree without an end")
    page = _page(data, size, number)
    _id, flags, count, _overflow = _PAGE.unpack_from(page)
    if flags & _IS_BRANCH:
        _pos, _ksize, child = _BRANCH.unpack_from(page, _PAGE.size + (count - 1) * _BRANCH.size)
        return _greatest(data, size, child, depth + 1)
    return _greatest_on(page)


def _greatest_on(page: bytes) -> bytes | None:
    _id, flags, count, _overflow = _PAGE.unpack_from(page)
    if not flags & _IS_LEAF:
        raise ValueError(f"a page with flags {flags:#x} where a leaf should be")
    return _leaf(page, count - 1)[1] if count else None


def _leaf(page: bytes, place: int) -> tuple[int, bytes, bytes]:
    start = _PAGE.size + place * _LEAF.size
    kind, pos, ksize, vsize = _LEAF.unpack_from(page, start)
    key = page[start + pos : start + pos + ksize]
    return kind, key, page[start + pos + ksize : start + pos + ksize + vsize]
