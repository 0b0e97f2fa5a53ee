# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.
"""The source's end of a copy: reads what it was told to share, answers four questions, cannot be made to write it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import stat
import sys
import time
import typing as t

from . import tree, wire
from .tree import CHUNK, Entry, Rules, StoreError

if t.TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_BATCH = 512 * 1024


class Server:
    """Answers one client over one channel.

    Messages: ``hello`` (what is shared), ``scan`` (a root's manifest), ``get`` (chunks of files), ``confirm`` (has
    anything changed since the scan).
    """

    def __init__(
        self,
        channel: wire.Channel,
        roots: Mapping[str, str],
        *,
        exclude: Sequence[str] = (),
        hashes: str | None = None,
        scratch: str | None = None,
    ) -> None:
        """``hashes`` remembers immutable files, ``scratch`` is a directory for scans that clients share."""
        self._channel = channel
        self._roots = {name: tree.split_root(path) for name, path in roots.items()}
        self._exclude = tuple(exclude)
        self._hashes, self._scratch = hashes, scratch
        self._scanned: dict[str, tuple[Rules, list[Entry]]] = {}
        self._known: dict[str, dict[str, Entry]] = {}
        self._known_since = -1
        self._beaten = time.monotonic()

    def serve(self) -> None:
        """Answer until the client leaves."""
        self._channel.greet()
        while True:
            try:
                request = self._channel.receive_json()
            except EOFError:
                return
            try:
                self._answer(request)
            except StoreError as exc:
                self._channel.send({"error": exc.message})
            except (KeyError, TypeError, ValueError, AttributeError) as exc:
                self._channel.send({"error": f"The request cannot be understood: {type(exc).__name__} {exc}"})

    def _answer(self, request: dict[str, t.Any]) -> None:
        question = request.get("op")
        if question == "hello":
            self._channel.send(
                {
                    "version": wire.VERSION,
                    "chunk": CHUNK,
                    "roots": {name: stat.S_IMODE(os.stat(path).st_mode) for name, (path, _file) in self._roots.items()},
                    "files": {name: file for name, (_path, file) in self._roots.items() if file},
                    "exclude": list(self._exclude),
                }
            )
            # Clients greet before the source stops: what is read now does not have to be read then.
            self._learn()
        elif question == "scan":
            self._scan(request)
        elif question == "get":
            self._get(request)
        elif question == "confirm":
            self._confirm(request)
        else:
            raise StoreError(f"The question {question!r} is not one of hello, scan, get, confirm")

    def _root(self, request: dict[str, t.Any]) -> tuple[str, str, str | None]:
        name = request["root"]
        if name not in self._roots:
            raise StoreError(f"{name!r} is not shared; shared are: {', '.join(sorted(self._roots))}")
        return (name, *self._roots[name])

    def _scan(self, request: dict[str, t.Any]) -> None:
        name, root, file = self._root(request)
        rules = Rules([*self._exclude, *map(str, request.get("exclude", []))], only=file)
        quiet = bool(request.get("quiet"))
        once = str(request.get("once") or "")
        entries = self._scan_once(name, root, rules, once) if quiet and once else self._scan_now(root, rules, quiet)
        self._scanned[name] = (rules, entries)
        batch: list[dict[str, t.Any]] = []
        weight = 0
        for entry in entries:
            item = tree.dump(entry)
            batch.append(item)
            weight += 128 + len(item["path"]) + len(item["hashes"])
            if weight > _BATCH:
                self._channel.send({"entries": batch})
                batch, weight = [], 0
        self._channel.send({"entries": batch, "end": True})

    def _scan_now(self, root: str, rules: Rules, quiet: bool) -> list[Entry]:
        self._learn()
        entries = list(tree.scan(root, rules, known=self._known.get(root), quiet=quiet, beat=self._beat))
        if quiet and not rules.only:
            self._must_be_closed(root, entries)
        if self._hashes:
            tree.save_known(self._hashes, {root: entries}, self._known)
        return entries

    def _learn(self) -> None:
        """Take over what other servers of this host have hashed since."""
        with contextlib.suppress(OSError):
            since = os.stat(self._hashes).st_mtime_ns if self._hashes else -1
            if self._hashes and since != self._known_since:
                self._known, self._known_since = tree.load_known(self._hashes), since

    def _scan_once(self, name: str, root: str, rules: Rules, once: str) -> list[Entry]:
        """Scan a stopped store once for all clients that name the same stop; the others wait and take the result."""
        if self._scratch is None or rules.only:
            return self._scan_now(root, rules, True)
        key = hashlib.sha256(json.dumps([name, root, rules.patterns, once]).encode()).hexdigest()
        path = os.path.join(self._scratch, f"scan-{key}.json")
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    self._beat(0)
                    time.sleep(0.005)
            with contextlib.suppress(OSError, ValueError, StoreError):
                with open(path, encoding="utf-8") as handle:
                    entries = [tree.load(item) for item in json.load(handle)]
                if self._stamps(entries) == tree.stamps(root, rules):
                    self._must_be_closed(root, entries)
                    return entries
            entries = self._scan_now(root, rules, True)
            with open(f"{path}.new", "w", encoding="utf-8") as handle:
                json.dump([tree.dump(entry) for entry in entries], handle)
            os.rename(f"{path}.new", path)
            return entries
        finally:
            os.close(lock)

    @staticmethod
    def _must_be_closed(root: str, entries: Sequence[Entry]) -> None:
        # Shared and given back at once: a node that has to come back finds the directory free.
        folders = [entry.path for entry in entries if entry.kind == "d"]
        tree.DatabaseLocks(root, folders, shared=True).release()

    @staticmethod
    def _stamps(entries: Sequence[Entry]) -> dict[str, tuple[int, int, int, int]]:
        return {entry.path: entry.stamp for entry in entries if entry.kind == "f"}

    def _get(self, request: dict[str, t.Any]) -> None:
        name, root, _file = self._root(request)
        if name not in self._scanned:
            raise StoreError("Expected a scan before the first get")
        rules = self._scanned[name][0]
        root_fd = tree.open_root(root)
        try:
            for place, (path, size, runs) in enumerate(request["items"]):
                tree.check_relative(path)
                if rules.excluded(path):
                    raise StoreError(f"{path} is not shared")
                self._get_file(root_fd, place, path, int(size), runs)
        finally:
            os.close(root_fd)
        self._channel.send({"end": True})

    def _get_file(self, root_fd: int, place: int, path: str, size: int, runs: list[list[int]]) -> None:
        try:
            fd = tree.open_beneath(root_fd, path, os.O_RDONLY)
        except OSError as exc:
            self._channel.send({"gone": place, "why": exc.strerror})
            return
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                self._channel.send({"gone": place, "why": "not a plain file"})
                return
            for first, count in runs:
                for number in range(first, first + count):
                    content = tree.read_chunk(fd, number, size)
                    self._channel.send_data(place.to_bytes(4, "big"), number.to_bytes(8, "big"), content)
        finally:
            os.close(fd)

    def _confirm(self, request: dict[str, t.Any]) -> None:
        name, root, file = self._root(request)
        if name not in self._scanned:
            raise StoreError("Expected a scan before a confirm")
        rules, entries = self._scanned[name]
        if not file:
            self._must_be_closed(root, entries)
        then, now = self._stamps(entries), tree.stamps(root, rules)
        changed = sorted(path for path in {*then, *now} if then.get(path) != now.get(path))
        self._channel.send({"changed": changed[:5], "end": True})

    def _beat(self, _read: int) -> None:
        now = time.monotonic()
        if now - self._beaten >= 1.0:
            self._beaten = now
            self._channel.send({"busy": True})


def main(arguments: Sequence[str]) -> int:
    """Serve over standard input and output what the file named by the only argument says may be shared."""
    with open(arguments[0], encoding="utf-8") as handle:
        told = json.load(handle)
    # What a client sends is not a path to write to, but nothing this program creates may be readable by others either.
    os.umask(0o077)
    channel = wire.Channel(sys.stdin.fileno(), sys.stdout.fileno(), silence=float(told["silence"]))
    server = Server(
        channel, told["roots"], exclude=told["exclude"], hashes=told.get("hashes"), scratch=told.get("scratch")
    )
    try:
        server.serve()
    except (BrokenPipeError, ConnectionResetError):
        return 0
    except StoreError as exc:
        sys.stderr.write(f"{exc.message}\n")
        return 1
    return 0
