# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.
"""Nodes that run on a host beside the unit: started by hand, by cron, by a container, from another unit.

No file on a host can keep root from starting the node's binary with another home and the chain's key. What cannot be
prevented is at least seen.
"""

from __future__ import annotations

import json
import os
import re
import typing as t

from . import _node_flags
from ._errors import HaError
from ._files import FileError, read_bytes, read_link
from ._systemd import show

if t.TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ._process import Runner

_AGGREGATOR = re.compile(r"^\s*aggregator:\s*[\"']?(true|false)\b", re.MULTILINE)


class Stray(t.NamedTuple):
    """A node process that the unit did not start.

    ``started_by``: the systemd unit or scope that it belongs to. ``aggregator``: whether it makes blocks; None where
    neither its flags nor its file tell. ``chain_id``: of the genesis in its home, None where there is none.
    """

    pid: int
    program: str
    started_by: str
    home: str | None
    chain_id: str | None
    aggregator: bool | None


def find(unit: str, *, run: Runner, proc: str = "/proc") -> list[dict[str, t.Any]]:
    """Return all node processes of this host, containers included, but those of the collection's own units."""
    service = unit if unit.endswith(".service") else f"{unit}.service"
    name = service.removesuffix(".service")
    own = (service, f"{name}-anchor.service", *(f"evnode-{what}-{service}" for what in ("seal", "head", "window")))
    program = _program_of(service, run)
    found = []
    for pid in _pids(proc):
        words = _words(f"{proc}/{pid}/cmdline")
        if not _is_node(words, _inode(f"{proc}/{pid}/exe"), program):
            continue
        started_by = _unit_of(f"{proc}/{pid}/cgroup")
        if started_by not in own:
            found.append(_describe(pid, words, started_by, proc)._asdict())
    return found


def _program_of(service: str, run: Runner) -> tuple[int, int] | None:
    try:
        command = show(service, ["ExecStart"], run=run).get("ExecStart", "")
    except HaError:
        # Flags still give a node away.
        return None
    path = re.search(r"path=([^ ;]+)", command)
    return _inode(path[1]) if path else None


def _pids(proc: str) -> Iterator[int]:
    return (int(name) for name in sorted(os.listdir(proc)) if name.isdigit())


def _words(path: str) -> list[str]:
    text = _text(path)
    return text.rstrip("\0").split("\0") if text else []


def _text(path: str) -> str:
    try:
        return (read_bytes(path) or b"").decode("utf-8", "replace")
    except FileError:
        # Also a process that has ended since.
        return ""


def _is_node(words: Sequence[str], exe: tuple[int, int] | None, program: tuple[int, int] | None) -> bool:
    starts = any(word in _node_flags.SUBCOMMANDS for word in words[1:3])
    same = exe is not None and exe == program
    return starts and (
        same or any(word.startswith("--") and _node_flags.own_key(word[2:]) is not None for word in words)
    )


def _inode(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _unit_of(path: str) -> str:
    """The innermost unit of a process's cgroups, of either hierarchy."""
    parts = (part for line in _text(path).splitlines() for part in line.split(":", 2)[-1].split("/")[::-1])
    return next((part for part in parts if part.endswith((".service", ".scope"))), "no unit")


def _describe(pid: int, words: Sequence[str], started_by: str, proc: str) -> Stray:
    try:
        line = _node_flags.parse(words[1:])
    except HaError:
        # It will not live long with such a command line.
        line = _node_flags.parse([])
    home = line.home
    # As the process sees it: it may be in a container, or relative to where it runs.
    seen = f"{proc}/{pid}/root{home}" if home and home.startswith("/") else f"{proc}/{pid}/cwd/{home or '.'}"
    return Stray(
        pid=pid,
        program=(read_link(f"{proc}/{pid}/exe") or words[0]).replace(" (deleted)", ""),
        started_by=started_by,
        home=home,
        chain_id=_chain_id(f"{seen}/config/genesis.json"),
        aggregator=_aggregator(line.flags.get("node.aggregator"), f"{seen}/config/evnode.yaml"),
    )


def _aggregator(flag: str | None, yaml_path: str) -> bool | None:
    """A flag counts before the file."""
    if flag is not None:
        return flag.lower() in ("true", "t", "1")
    written = _AGGREGATOR.search(_text(yaml_path))
    return written[1] == "true" if written else None


def _chain_id(path: str) -> str | None:
    try:
        genesis = json.loads(_text(path))
    except ValueError:
        return None
    value = genesis.get("chain_id") if isinstance(genesis, dict) else None
    return value if isinstance(value, str) else None
