# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.
"""Give a joiner's Raft directory its membership before the window, so that nobody can ask it for a vote too early.

The node runs alone in Raft mode until it has written its configuration. One of five is no quorum, so it never leads.
It runs on an empty store in a home of its own, which is removed afterwards: the member's store may be half a copy, and
nothing but the Raft directory is to change. The switch is not touched: whatever happens here, a reboot brings the
follower back.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import typing as t

from . import _account, _files, _journal, _systemd
from ._errors import HaError
from ._mode import current
from ._process import run as _run
from ._raft_store import LOG, STABLE, holds_blocks, last_index
from ._wait import SYSTEM_CLOCK, Clock, wait_until

if t.TYPE_CHECKING:
    from collections.abc import Sequence

    from ._process import Runner

BOOTSTRAPPED = "bootstrapped raft cluster"
EXISTING = "raft node started with existing local state"
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class SealError(HaError):
    """A member's Raft directory could not be sealed, or is not what sealing left."""


class Seal(t.NamedTuple):
    """What to seal, and as whom."""

    unit: str
    binary: str
    arguments: list[str]
    user: str
    group: str
    working_directory: str | None
    raft_dir: str
    config_dir: str
    state_dir: str
    timeout: float
    run_id: str = "-"
    environment: tuple[str, ...] = ()

    @property
    def service(self) -> str:
        """The member's own unit."""
        return f"{self.unit}.service"

    @property
    def transient(self) -> str:
        """The unit that seals."""
        return f"evnode-seal-{self.unit}.service"

    @property
    def journal(self) -> str:
        """The member's journal."""
        return os.path.join(self.state_dir, self.unit, "journal.jsonl")


class Sealed(t.NamedTuple):
    """Whether the directory is as sealing left it, and if not why not."""

    ok: bool
    reason: str
    sealed_at: str = ""


def record_path(state_dir: str, unit: str) -> str:
    """Return where the seal is recorded."""
    return os.path.join(state_dir, unit, "sealed.json")


def raft_fingerprints(folder: str) -> dict[str, str]:
    """Return the hex SHA-256 of every file below a Raft directory, by its path in it."""
    return {
        os.path.relpath(path, folder): _files.sha256_file(path)
        for path in (os.path.join(place, name) for place, _folders, names in os.walk(folder) for name in names)
    }


def sealed_state(state_dir: str, unit: str, raft_dir: str) -> Sealed:
    """Compare the Raft directory with the record of its sealing."""
    path = record_path(state_dir, unit)
    content = _files.read_bytes(path)
    if content is None:
        return Sealed(False, f"{raft_dir} was never sealed ({path} is missing); seal it first")
    try:
        record = json.loads(content)
        files = dict(record["files"])
    except (ValueError, KeyError, TypeError):
        return Sealed(False, f"{path} is not readable; seal {raft_dir} again")
    if record.get("raft_dir") != raft_dir:
        return Sealed(False, f"{path} speaks of {record.get('raft_dir')}, not of {raft_dir}; seal it again")
    if not files or files != raft_fingerprints(raft_dir):
        return Sealed(False, f"{raft_dir} is not what sealing left there; seal it again")
    return Sealed(True, "", str(record.get("sealed_at", "")))


def refuse_while_raft(config_dir: str, unit: str) -> None:
    """Raise SealError where the member is, or may become at its next start, part of a cluster."""
    mode = current(config_dir, unit)
    if mode == "raft":
        raise SealError(
            f"{config_dir}/{unit}/current points at raft: this member belongs to a cluster, nothing is sealed or wiped"
        )


def seal(wanted: Seal, *, check: bool = False, run: Runner = _run, clock: Clock = SYSTEM_CLOCK) -> tuple[bool, Sealed]:
    """Seal the directory unless it is sealed; return whether anything changed and the state."""
    refuse_while_raft(wanted.config_dir, wanted.unit)
    before = sealed_state(wanted.state_dir, wanted.unit, wanted.raft_dir)
    if before.ok:
        return False, before
    if holds_blocks(wanted.raft_dir):
        raise SealError(
            f"{wanted.raft_dir} holds log entries of a cluster (last index "
            f"{last_index(os.path.join(wanted.raft_dir, LOG))}); expected an empty directory. Find out whose they are, "
            "then remove them with raft_seal state=absent force=true"
        )
    trouble = raft_dir_trouble(wanted.raft_dir)
    if trouble:
        raise SealError(trouble)
    if check:
        return True, before
    was_running = _systemd.active_state(wanted.service, run=run) in ("active", "activating", "reloading")
    _journal.append(wanted.journal, wanted.run_id, "sealing", {"raft_dir": wanted.raft_dir, "was_running": was_running})
    try:
        if was_running:
            _systemd.stop(wanted.service, run=run)
        # What an interrupted sealing left: no more than a membership, as was looked at above.
        wipe(wanted.raft_dir)
        _make_raft_dir(wanted)
        _run_alone(wanted, run, clock)
        files = raft_fingerprints(wanted.raft_dir)
        if last_index(os.path.join(wanted.raft_dir, LOG)) != 1 or holds_blocks(wanted.raft_dir):
            raise SealError(
                f"{wanted.raft_dir} holds something else than one configuration after the sealing; nothing was recorded"
            )
        entry = _journal.append(wanted.journal, wanted.run_id, "sealed", {"raft_dir": wanted.raft_dir})
        record = {"raft_dir": wanted.raft_dir, "sealed_at": entry["at"], "run": wanted.run_id, "files": files}
        path = record_path(wanted.state_dir, wanted.unit)
        _files.write_atomic(path, (json.dumps(record, indent=1, sort_keys=True) + "\n").encode(), mode=0o600)
    finally:
        if was_running:
            _systemd.start(wanted.service, run=run)
    return True, sealed_state(wanted.state_dir, wanted.unit, wanted.raft_dir)


def unseal(wanted: Seal, *, force: bool, check: bool = False, run: Runner = _run) -> bool:
    """Empty the Raft directory and forget the seal; True if there was anything."""
    refuse_while_raft(wanted.config_dir, wanted.unit)
    path = record_path(wanted.state_dir, wanted.unit)
    there = os.path.exists(path) or (os.path.isdir(wanted.raft_dir) and bool(os.listdir(wanted.raft_dir)))
    if not there:
        return False
    if not force and holds_blocks(wanted.raft_dir):
        raise SealError(f"{wanted.raft_dir} holds log entries of a cluster; only force=true removes them")
    trouble = raft_dir_trouble(wanted.raft_dir)
    if trouble:
        raise SealError(trouble)
    if check:
        return True
    if _systemd.active_state(wanted.transient, run=run) in ("active", "activating"):
        _systemd.stop(wanted.transient, run=run)
    _files.remove_files([path])
    wipe(wanted.raft_dir)
    _journal.append(wanted.journal, wanted.run_id, "unsealed", {"raft_dir": wanted.raft_dir})
    return True


def wipe(folder: str) -> bool:
    """Remove everything below a Raft directory, and keep the directory; True if there was anything."""
    if not os.path.isdir(folder):
        return False
    with _files.opened_dir(folder) as opened:
        # By its descriptor: the account owns the directory above, and may put a link in its place meanwhile.
        pinned = f"/proc/self/fd/{opened}"
        try:
            names = os.listdir(opened)
            for name in names:
                path = os.path.join(pinned, name)
                if os.path.isdir(path) and not os.path.islink(path):
                    shutil.rmtree(path)
                else:
                    os.unlink(path)
            os.fsync(opened)
        except OSError as exc:
            place = str(exc.filename or folder).replace(pinned, folder, 1)
            raise SealError(f"{place} cannot be removed: {exc.strerror}; mend the disk, run again") from exc
    return bool(names)


def raft_dir_trouble(folder: str) -> str:
    """Say why a directory must not be emptied: it is not plainly one of Raft's. Empty where it is."""
    if not os.path.isabs(folder) or os.path.realpath(folder).count("/") < 2:
        return f"expected an absolute path two directories deep at least as Raft directory, found {folder!r}"
    if os.path.isdir(folder):
        foreign = sorted(set(os.listdir(folder)) - {LOG, STABLE, "snapshots"})
        if foreign:
            found = ", ".join(foreign[:5])
            return f"{folder} holds {found}, which is not of Raft; give the Raft directory a folder of its own"
    return ""


def _make_raft_dir(wanted: Seal) -> None:
    uid, gid = _account.ids(wanted.user, wanted.group)
    if _files.make_dirs(wanted.raft_dir, mode=0o700, uid=uid, gid=gid):
        return
    with _files.opened_dir(wanted.raft_dir) as folder:
        os.fchown(folder, uid, gid)


def _home_of(arguments: Sequence[str]) -> str:
    """Return the node's home from its command line."""
    for index, word in enumerate(arguments):
        if word.startswith("--home="):
            return word.partition("=")[2]
        if word == "--home" and index + 1 < len(arguments):
            return arguments[index + 1]
    raise SealError("the arguments of the sealing have no --home; take them from member_config")


def _empty_home(wanted: Seal) -> str:
    """Make a home with the member's configuration, genesis and node key, and with no store; return its path."""
    home = _home_of(wanted.arguments)
    place = f"{home.rstrip('/')}-seal"
    shutil.rmtree(place, ignore_errors=True)
    uid, gid = _account.ids(wanted.user, wanted.group)
    config = os.path.join(place, "config")
    for folder in (place, config):
        if not _files.make_dirs(folder, mode=0o700, uid=uid, gid=gid):
            raise SealError(f"{folder} is in the way of the sealing and cannot be removed; move it away")
    os.symlink(
        os.path.join(wanted.config_dir, wanted.unit, "follower", "evnode.yaml"), os.path.join(config, "evnode.yaml")
    )
    for name in ("genesis.json", "node_key.json"):
        content = _files.read_bytes(os.path.join(home, "config", name))
        if content is None:
            raise SealError(f"{home}/config/{name} is missing; run the stages provision and secrets first")
        _files.write_atomic(os.path.join(config, name), content, mode=0o600, uid=uid, gid=gid)
    return place


def _in_home(arguments: Sequence[str], home: str, place: str) -> list[str]:
    """Return the command line with another home, and with its store there whatever the file says."""
    moved = [place if word == home else f"--home={place}" if word == f"--home={home}" else word for word in arguments]
    return [*moved, f"--evnode.db_path={place}/data"]


def _run_alone(wanted: Seal, run: Runner, clock: Clock) -> None:
    place = _empty_home(wanted)
    try:
        moved = wanted._replace(arguments=_in_home(wanted.arguments, _home_of(wanted.arguments), place))
        _run_until_bootstrapped(moved, run, clock)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _run_until_bootstrapped(wanted: Seal, run: Runner, clock: Clock) -> None:
    _systemd.reset_failed(wanted.transient, run=run)
    since = time.time()
    started = run(_command(wanted))
    if started.rc != 0:
        raise SealError(f"{wanted.transient} could not be started: {started.stderr.strip() or started.rc}")
    try:
        # The journal keeps every attempt of this unit's name: only what came since the start counts.
        def lines() -> list[str]:
            done = run(
                [
                    "journalctl",
                    "--no-pager",
                    "--output=cat",
                    "--all",
                    f"--unit={wanted.transient}",
                    f"--since=@{since:.6f}",
                ]
            )
            return [_COLOUR.sub("", line) for line in done.stdout.splitlines()]

        def probe() -> tuple[str, list[str]]:
            return _systemd.active_state(wanted.transient, run=run), lines()

        def is_done(seen: tuple[str, list[str]]) -> bool:
            return seen[0] in ("inactive", "failed") or any(BOOTSTRAPPED in line for line in seen[1])

        result = wait_until(probe, is_done, timeout=wanted.timeout, interval=0.05, clock=clock)
        state, log = result.last
        if not any(BOOTSTRAPPED in line for line in log):
            told = " / ".join(line[:300] for line in log if "rror" in line or "raft" in line)[-900:] or "nothing"
            raise SealError(
                f"{wanted.binary} did not write its membership within {wanted.timeout:g} s (unit {state}, after "
                f"{result.elapsed:.1f} s); its log says: {told}"
            )
    finally:
        # One that ended by itself is collected already.
        if _systemd.active_state(wanted.transient, run=run) not in ("inactive", "failed"):
            _systemd.stop(wanted.transient, run=run)
        _systemd.reset_failed(wanted.transient, run=run)
    left = _systemd.active_state(wanted.transient, run=run)
    if left not in ("inactive", "failed"):
        raise SealError(f"{wanted.transient} is still {left} after its stop")


def _command(wanted: Seal) -> Sequence[str]:
    properties = [
        f"User={wanted.user}",
        f"Group={wanted.group}",
        "Type=exec",
        "KillMode=control-group",
        "TimeoutStopSec=30",
        "Restart=no",
        # Nobody has to come back for this to end.
        f"RuntimeMaxSec={max(5, int(wanted.timeout) + 15)}",
    ]
    if wanted.working_directory:
        properties.append(f"WorkingDirectory=-{wanted.working_directory}")
    return [
        "systemd-run",
        "--quiet",
        "--collect",
        f"--unit={wanted.transient}",
        f"--description=Seal the Raft membership of {wanted.unit}",
        *(f"--property={item}" for item in properties),
        *(f"--setenv={item}" for item in wanted.environment),
        "--",
        wanted.binary,
        *wanted.arguments,
    ]
