# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A source and a target as directories, joined by the real server program over a pair of pipes."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import typing as t

from ansible_collections.evnode.sequencer_ha.plugins.module_utils._store import share, wire
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._store.client import Source
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._store.pull import Puller

MIB = 1 << 20


class PipeLink:
    """The server as a child process, without ssh."""

    def __init__(self, program: pathlib.Path, settings: pathlib.Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-I", str(program), str(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.process.stdin
        assert self.process.stdout
        self.channel = wire.Channel(self.process.stdout.fileno(), self.process.stdin.fileno(), silence=20)

    def trouble(self) -> str:
        assert self.process.stderr
        self.process.wait(timeout=5)
        return self.process.stderr.read().decode()

    def close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        self.process.wait(timeout=5)
        assert self.process.stderr
        self.process.stderr.close()


class Pair:
    """A source directory, a target directory, and what copies between them."""

    def __init__(self, base: pathlib.Path) -> None:
        self.base = base
        self.source = base / "source" / "data"
        self.target = base / "target" / "data"
        self.state = base / "target-state"
        self.source_state = base / "source-state"
        for path in (self.source, self.target.parent, self.state, self.source_state, base / "scans"):
            path.mkdir(parents=True)
        self.program = base / "server.pyz"
        self.program.write_bytes(share.program())
        self.links: list[PipeLink] = []

    def link(self) -> PipeLink:
        settings = self.base / "server.json"
        told = {
            "roots": {"data": str(self.source)},
            "exclude": [],
            "hashes": str(self.source_state / "store-hashes.json"),
            "scratch": str(self.base / "scans"),
            "silence": 20,
        }
        settings.write_text(json.dumps(told))
        self.links.append(PipeLink(self.program, settings))
        return self.links[-1]

    def puller(self, **more: t.Any) -> Puller:
        given: dict[str, t.Any] = {
            "key": str(self.base / "key"),
            "state_dir": str(self.state),
            "uid": os.getuid(),
            "gid": os.getgid(),
            "link": self.link,
        }
        return Puller(Source("127.0.0.1", 0, "ssh-ed25519 none"), {"data": str(self.target)}, **{**given, **more})

    def marker(self) -> pathlib.Path:
        return self.state / ".copying"

    def write(self, path: str, content: bytes, *, age: float = 3600) -> pathlib.Path:
        """Write a file of the source as if ``age`` seconds ago."""
        file = self.source / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        then = file.stat().st_mtime - age
        os.utime(file, (then, then))
        return file

    def sparse(self, path: str, size: int, pieces: dict[int, bytes]) -> pathlib.Path:
        """Write a file of the source that is holes but for some pieces."""
        file = self.source / path
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("wb") as handle:
            handle.truncate(size)
            for offset, content in pieces.items():
                handle.seek(offset)
                handle.write(content)
        return file


def real_bytes(path: pathlib.Path) -> int:
    """Bytes that a file takes on disk."""
    return path.stat().st_blocks * 512
