# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.
"""The copy itself: warm while the chain runs, last when it is stopped, and the proof.

A store that is only half here must never look like one that can be started, so a marker stands in the state directory
from before the first byte is written until the proof.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import json
import os
import time
import typing as t

from .._errors import HaError
from .._files import fsync_dir, make_dirs, write_atomic
from .._half_copy import marker_path, unfinished
from .._wait import SYSTEM_CLOCK
from . import tree
from .client import Session, Source, SshLink
from .disk import SPARE, FileJob, Plan, Target, compare
from .pace import Progress, TokenBucket
from .tree import CHUNK, DatabaseLocks, Entry, Rules, StoreError, Summary

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from .._wait import Clock

HASHES = "store-hashes.json"
_BATCH_BYTES = 32 * 1024 * 1024
_BATCH_FILES = 2048


class Outcome(t.NamedTuple):
    """What a phase did. ``manifest`` is the proof, and None after a warm copy, which proves nothing."""

    changed: bool
    bytes: int
    files: int
    removed: int
    seconds: float
    manifest: Summary | None


class Link(t.Protocol):
    """How the other end is reached."""

    channel: t.Any

    def trouble(self) -> str:
        """Say what went wrong with the connection."""

    def close(self) -> None:
        """Hang up."""


class Puller:
    """Copies the roots of a share onto this host; one connection for any number of phases.

    The node (and the execution client) whose files are written must be stopped on this host: the locks of its databases
    are taken and held while they are written. As a context manager it hangs up at the end.
    """

    def __init__(
        self,
        source: Source,
        roots: Mapping[str, str],
        *,
        key: str,
        state_dir: str,
        uid: int,
        gid: int,
        owners: Mapping[str, tuple[int, int]] | None = None,
        exclude: Sequence[str] = (),
        bandwidth: float = 0,
        listener: Callable[[dict[str, t.Any]], None] | None = None,
        silence: float = 30.0,
        clock: Clock = SYSTEM_CLOCK,
        link: Callable[[], Link] | None = None,
    ) -> None:
        """``roots`` maps names of the share to directories here; ``state_dir`` keeps the marker and the known hashes.

        ``owners`` are uid and gid of roots that belong to others than ``uid`` and ``gid``. ``bandwidth`` is bytes a
        second (0: no limit), ``silence`` the seconds after which a mute source counts as gone, ``listener`` is told the
        progress.
        """
        self._roots = {name: _destination(path) for name, path in roots.items()}
        if not self._roots:
            raise StoreError("Expected at least one root to copy, found none")
        self._state_dir = state_dir
        self._owners = {name: (owners or {}).get(name, (uid, gid)) for name in self._roots}
        self._exclude = list(exclude)
        self._bandwidth, self._listener, self._clock = bandwidth, listener, clock
        self._source = source
        self._open_link = link or (lambda: SshLink(source, key, silence=silence))
        self._link: Link | None = None
        self._session: Session | None = None
        self._modes: dict[str, int] = {}
        self._files: dict[str, str] = {}
        self._known: dict[str, dict[str, Entry]] = {}
        self._given_up = False

    def __enter__(self) -> Puller:
        """Return itself; ``connect`` is called by the first phase, or earlier by the caller."""
        return self

    def __exit__(self, *_exc: object) -> None:
        """Hang up."""
        self.close()

    def connect(self) -> None:
        """Open the connection, so that a phase that follows has nothing left to wait for."""
        if self._session is not None:
            return
        link = self._open_link()
        session = Session(link.channel, link.trouble)
        try:
            hello = session.hello()
            missing = sorted(set(self._roots) - set(hello.roots))
            if missing:
                raise StoreError(f"{', '.join(missing)} is not shared; shared are: {', '.join(sorted(hello.roots))}")
        except BaseException:
            link.close()
            raise
        for name, file in hello.files.items():
            if name in self._roots and os.path.basename(self._roots[name]) != file:
                link.close()
                raise StoreError(f"Expected {name} to be called {file} here too, found {self._roots[name]}")
        self._modes, self._files = hello.roots, hello.files
        self._exclude = sorted({*self._exclude, *hello.exclude})
        self._link, self._session = link, session

    def close(self) -> None:
        """Hang up."""
        if self._link is not None:
            self._link.close()
        self._link = self._session = None

    def warm(self, *, limit: float | None = None) -> Outcome:
        """Copy what can be copied while the source runs; to be repeated at will, and never a valid store by itself."""
        return self._phase("warm", limit, "")

    def last(self, *, limit: float | None = None, once: str = "") -> Outcome:
        """Make this host's store equal to the stopped source's, prove it, and return the proof.

        ``once`` names the stop: all joiners that give the same name (new for every stop) share one reading of the
        source. ``limit`` is seconds. StoreError says which files differ; the marker then stays.
        """
        return self._phase("last", limit, once)

    def _phase(self, phase: str, limit: float | None, once: str) -> Outcome:
        started = self._clock.monotonic()
        self.connect()
        session = t.cast(Session, self._session)
        session.channel.deadline = None if limit is None else time.monotonic() + limit
        progress = Progress(phase, self._listener, clock=self._clock)
        try:
            with contextlib.ExitStack() as stack:
                targets = {name: self._target(name, stack) for name in self._roots}
                sources, here = self._compare(session, phase == "last", once, stack)
                plans = {name: self._plan(name, sources[name], here[name]) for name in self._roots}
                self._check_room(plans, targets)
                changed = any(plan.files or plan.remove or plan.folders for plan in plans.values())
                if changed:
                    # Not earlier: a store that is in use, or equal already, is not touched, and its node may start.
                    self._mark(phase)
                for name, plan in plans.items():
                    targets[name].remove(plan.remove)
                    targets[name].make_folders(plan.folders)
                progress.copying(
                    sum(plan.bytes for plan in plans.values()), sum(len(plan.files) for plan in plans.values())
                )
                pace = TokenBucket(self._bandwidth, clock=self._clock)
                moved = 0
                for name, plan in plans.items():
                    moved += self._fetch(session, name, plan, targets[name], pace, progress, phase == "last")
                    targets[name].settle(sources[name])
                    targets[name].sync()
                progress.proving()
                now_here = self._read_again(here, plans)
                manifest = self._prove(session, sources, now_here) if phase == "last" else None
                tree.save_known(
                    self._hashes, {self._roots[name]: entries for name, entries in now_here.items()}, self._known
                )
                if manifest is not None:
                    self._unmark()
        except (HaError, OSError) as exc:
            # The answers still under way belong to a question nobody asks any more.
            self.close()
            if isinstance(exc, HaError):
                raise
            where = exc.filename or ", ".join(self._roots.values())
            raise StoreError(f"{where} cannot be read or written: {exc.strerror or exc}") from exc
        finally:
            session.channel.deadline = None
        progress.finished()
        return Outcome(
            changed,
            moved,
            sum(len(plan.files) for plan in plans.values()),
            sum(len(plan.remove) for plan in plans.values()),
            round(self._clock.monotonic() - started, 3),
            manifest,
        )

    def _plan(self, name: str, source: list[Entry], here: list[Entry]) -> Plan:
        plan = compare(source, here)
        if name in self._files and plan.files:
            # A program that runs cannot be written to, but it can be replaced.
            return compare(source, [])._replace(remove=here)
        return plan

    def _folder(self, name: str) -> str:
        return os.path.dirname(self._roots[name]) if name in self._files else self._roots[name]

    def _rules(self, name: str) -> Rules:
        return Rules(self._exclude, only=self._files.get(name))

    def _target(self, name: str, stack: contextlib.ExitStack) -> Target:
        path = self._folder(name)
        uid, gid = self._owners[name]
        if name in self._files:
            make_dirs(path, mode=0o755)
        else:
            make_dirs(path, mode=self._modes[name], uid=uid, gid=gid)
        target = Target(path, uid=uid, gid=gid)
        stack.callback(target.close)
        return target

    def _compare(
        self, session: Session, quiet: bool, once: str, stack: contextlib.ExitStack
    ) -> tuple[dict[str, list[Entry]], dict[str, list[Entry]]]:
        """Read both ends at the same time."""
        self._given_up = False
        with concurrent.futures.ThreadPoolExecutor(max_workers=1) as pool:
            reading = pool.submit(self._scan_here, stack)
            try:
                sources = {name: session.scan(name, self._exclude, quiet=quiet, once=once) for name in self._roots}
            except BaseException:
                self._given_up = True
                raise
            return sources, reading.result()

    def _scan_here(self, stack: contextlib.ExitStack) -> dict[str, list[Entry]]:
        self._known = tree.load_known(self._hashes)
        found = {}
        for name in self._roots:
            path, rules = self._folder(name), self._rules(name)
            if name in self._files:
                found[name] = list(tree.scan(path, rules, quiet=True, beat=self._beat))
                continue
            folders = [os.path.relpath(folder, path) for folder, _dirs, _files in os.walk(path)]
            locks = DatabaseLocks(path, [folder for folder in folders if folder != "."])
            stack.callback(locks.release)
            found[name] = list(tree.scan(path, rules, known=self._known.get(path), quiet=True, beat=self._beat))
        return found

    def _beat(self, _read: int) -> None:
        if self._given_up:
            raise StoreError("The comparison was given up because the other end failed")
        if self._session is not None:
            self._session.channel.check_deadline()

    def _read_again(self, before: Mapping[str, list[Entry]], plans: Mapping[str, Plan]) -> dict[str, list[Entry]]:
        """Read what was written; all else was read in this very phase, and its stamp tells whether it is the same."""
        here: dict[str, list[Entry]] = {}
        for name in self._roots:
            path, rules = self._folder(name), self._rules(name)
            written = {job.entry.path for job in plans[name].files}
            known = {entry.path: entry for entry in before[name]}
            here[name] = list(
                tree.scan(path, rules, known=known, quiet=True, reuse=lambda file: file not in written, beat=self._beat)  # noqa: B023
            )
        return here

    def _check_room(self, plans: Mapping[str, Plan], targets: Mapping[str, Target]) -> None:
        free: dict[int, int] = {}
        need: dict[int, int] = {}
        for name, plan in plans.items():
            device, left = targets[name].free()
            free[device] = left
            need[device] = need.get(device, 0) + plan.grows - plan.frees
        for device, wanted in need.items():
            if wanted > 0 and wanted + SPARE > free[device]:
                where = ", ".join(self._roots[name] for name in plans if targets[name].free()[0] == device)
                raise StoreError(
                    f"Expected {_size(wanted + SPARE)} of free space for {where}, found {_size(free[device])}; "
                    "make room or give another path"
                )

    def _fetch(
        self,
        session: Session,
        name: str,
        plan: Plan,
        target: Target,
        pace: TokenBucket,
        progress: Progress,
        exact: bool,
    ) -> int:
        moved = 0
        counted: set[str] = set()
        for batch in _batches(plan.files):
            current = -1
            with contextlib.ExitStack() as stack:
                writer = None
                asked = [(job.entry.path, job.entry.size, job.fetch) for job in batch]
                for place, number, content in session.get(name, asked):
                    job = batch[place]
                    if number < 0:
                        if exact:
                            raise StoreError(
                                f"{name}/{job.entry.path} is gone from the source: something still writes there; "
                                "stop it first"
                            )
                        continue
                    if exact and hashlib.sha256(content).digest() != job.entry.chunks.get(number):
                        raise StoreError(
                            f"{name}/{job.entry.path} changed on the source while it was copied (from byte "
                            f"{number * CHUNK} on): something still writes there; stop it first"
                        )
                    if number not in job.entry.chunks or len(content) > CHUNK:
                        raise StoreError("The source sent a chunk that nobody asked for")
                    pace.take(len(content))
                    if place != current:
                        stack.close()
                        writer, current = stack.enter_context(target.writing(job)), place
                    if writer is not None:
                        writer.put(number, content)
                    moved += len(content)
                    progress.add(len(content))
            for job in batch:
                if not job.fetch:
                    with target.writing(job):
                        pass
            finished = {job.entry.path for job in batch} - counted
            counted |= finished
            progress.add(0, len(finished))
        return moved

    def _prove(
        self,
        session: Session,
        sources: Mapping[str, list[Entry]],
        here: Mapping[str, list[Entry]],
    ) -> Summary:
        """Compare both ends, and ask the source whether it is still what it was."""
        for name in self._roots:
            changed = session.confirm(name)
            if changed:
                raise StoreError(
                    f"The source's {name} changed during the last copy ({', '.join(changed)}): "
                    "something still writes there; stop it first"
                )
        theirs, ours = tree.summary(sources), tree.summary(here)
        if theirs.digest != ours.digest:
            told = [f"{name}/{line}" for name in self._roots for line in tree.differences(sources[name], here[name])]
            raise StoreError(f"The copy is not equal to the source: {'; '.join(told[:5])}; repeat the last copy")
        return ours

    @property
    def _hashes(self) -> str:
        return os.path.join(self._state_dir, HASHES)

    def _mark(self, phase: str) -> None:
        make_dirs(self._state_dir, mode=0o700)
        told = {"phase": phase, "from": self._source.address}
        self._write_marks({**unfinished(self._state_dir), **dict.fromkeys(self._roots.values(), told)})

    def _unmark(self) -> None:
        left = {path: told for path, told in unfinished(self._state_dir).items() if path not in self._roots.values()}
        if left:
            self._write_marks(left)
            return
        with contextlib.suppress(FileNotFoundError):
            os.unlink(marker_path(self._state_dir))
        fsync_dir(self._state_dir)

    def _write_marks(self, marks: Mapping[str, t.Any]) -> None:
        write_atomic(marker_path(self._state_dir), (json.dumps(marks, sort_keys=True) + "\n").encode(), mode=0o600)


def manifest(root: str, exclude: Sequence[str] = ()) -> Summary:
    """Return the manifest of one stopped store on this host."""
    folder, file = tree.split_root(root.rstrip("/") or "/")
    entries = list(tree.scan(folder, Rules(exclude, only=file), quiet=True))
    return tree.summary({"store": entries})


def pull(puller: Puller, phase: str, *, limit: float | None = None, once: str = "") -> Outcome:
    """Run one phase (warm or last) over one connection."""
    with puller:
        return puller.last(limit=limit, once=once) if phase == "last" else puller.warm(limit=limit)


def _batches(jobs: Sequence[FileJob]) -> Iterator[list[FileJob]]:
    batch: list[FileJob] = []
    size = 0
    for job in jobs:
        # One file may be larger than a batch: its chunks are then asked for in several.
        for part in _parts(job):
            if batch and (size + part.bytes > _BATCH_BYTES or len(batch) >= _BATCH_FILES):
                yield batch
                batch, size = [], 0
            batch.append(part)
            size += part.bytes
    if batch:
        yield batch


def _parts(job: FileJob) -> Iterator[FileJob]:
    most = _BATCH_BYTES // CHUNK
    yield FileJob(job.entry, job.fetch[:most], job.clear)
    for start in range(most, len(job.fetch), most):
        yield FileJob(job.entry, job.fetch[start : start + most], [])


def _destination(path: str) -> str:
    clean = os.path.normpath(path)
    if not os.path.isabs(path) or clean.count("/") < 2:
        raise StoreError(f"Expected the absolute path of a store, two directories deep at least, found {path!r}")
    return clean


def _size(amount: int) -> str:
    value = float(amount)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"
