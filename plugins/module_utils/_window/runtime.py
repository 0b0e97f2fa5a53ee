# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.
"""Moves bytes, time and host work for one machine of the window; decides nothing.

One event loop owns the machine. What a host does (stop a unit, wait for a height) runs on a thread of its own, one
after the other, and comes back as an event, so that messages and limits are served meanwhile.
"""

from __future__ import annotations

import asyncio
import asyncio.base_events
import concurrent.futures
import contextlib
import os
import secrets
import socket
import threading
import time
import typing as t

from . import messages
from .messages import MessageError
from .protocol import (
    Begin,
    Cancel,
    CloseIntake,
    Commit,
    Committed,
    Connected,
    Digest,
    Failed,
    Finish,
    Freeze,
    Frozen,
    Head,
    IntakeClosed,
    Lost,
    Match,
    Matched,
    Note,
    Probe,
    Proof,
    Report,
    Resume,
    Resumed,
    Send,
    SendReport,
    Start,
    Started,
    Thaw,
    Thawed,
)

if t.TYPE_CHECKING:
    from collections.abc import Callable

    from .protocol import Action, Driver, Event, Plan

BEAT = 0.5
SILENCE = 3.0
WATCH = 0.2
RETRY = 0.1
OPENING = 5.0
LINGER = 10.0
MAX_STRANGERS = 32


def boot_clock() -> float:
    """Seconds since boot, a suspended host's sleep included: a limit must run out for the suspended too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def sign_of_life() -> None:
    """Tell systemd's watchdog that the event loop turns; nothing happens where there is none."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
            link.sendto(b"WATCHDOG=1", "\0" + address[1:] if address.startswith("@") else address)


class Host(t.Protocol):
    """What both roles ask of their machine; every method may block and none may raise but for a defect."""

    def start(self, n: int, digest: str) -> Started:
        """Start the node in the mode that the commit chose."""


class CoordinatorHost(Host, t.Protocol):
    """The machine of the member that produces."""

    def head(self) -> int | None:
        """Return the node's height, None where it does not answer."""

    def close_intake(self, token: threading.Event) -> IntakeClosed | Failed:
        """Close clients' ports."""

    def freeze(self, token: threading.Event) -> Frozen | Failed:
        """Stop, fence and prove."""

    def digest(self, n: int) -> Digest | Failed:
        """Return what has to be equal on all besides the header of block ``n``."""

    def commit(self, n: int, digest: str) -> Committed | Failed:
        """Prove once more, rename."""

    def thaw(self) -> Thawed:
        """Run again in the mode that the switch names."""


class ParticipantHost(Host, t.Protocol):
    """The machine of a joiner."""

    def describe(self) -> tuple[int, str, str]:
        """Return height, hash of that height (may be empty) and trouble (empty where there is none)."""

    def match(self, n: int, digest: str, token: threading.Event) -> Matched | Failed:
        """Reach ``n``, stop, prove."""

    def probe(self) -> Proof:
        """Ask the coordinator's Raft port."""

    def resume(self) -> Resumed:
        """Follow again."""


class Outcome(t.NamedTuple):
    """How the machine ended, and the moments it passed (seconds of ``boot_clock``)."""

    outcome: str
    reason: str
    marks: dict[str, float]


class _Runtime:
    """What both roles share."""

    def __init__(
        self,
        driver: Driver[t.Any],
        *,
        run: str,
        key: bytes,
        address: tuple[str, int],
        journal: Callable[[str, dict[str, t.Any]], None],
        clock: Callable[[], float] = boot_clock,
    ) -> None:
        self.driver = driver
        self.plan: Plan = driver.plan
        self.marks: dict[str, float] = {}
        self._run, self._key, self._address = run, key, address
        self._journal, self._clock = journal, clock
        self._work = concurrent.futures.ThreadPoolExecutor(1, "work")
        self._watch = concurrent.futures.ThreadPoolExecutor(2, "watch")
        self._notes = concurrent.futures.ThreadPoolExecutor(1, "notes")
        self._token = threading.Event()
        # What is to be noted while the node is being started: the disk and this interpreter are its own then.
        self._held_notes: list[Note] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[t.Any]] = set()

    async def _open(self) -> None:
        """Begin to listen, or to connect: each side has its own."""
        raise NotImplementedError

    async def _linger(self, outcome: str) -> None:
        """Serve on after the end, where somebody may still need the answer."""

    def _perform(self, action: Action) -> None:
        """Do what the machine asks for: each side has its own actions."""
        raise NotImplementedError

    async def serve(self, done: Callable[[Outcome], None] | None = None) -> Outcome:
        """Run the machine to its end; ``done`` is called on a thread with the result before connections close."""
        self._loop = asyncio.get_running_loop()
        self._finished: asyncio.Future[Finish] = self._loop.create_future()
        try:
            await self._open()
            self.deliver(Begin())
            finish = await self._finished
            result = Outcome(finish.outcome, finish.reason, self.marks)
            after = self._loop.run_in_executor(self._watch, done, result) if done else None
            await self._linger(finish.outcome)
            if after:
                await after
            return result
        finally:
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._close()
            self._notes.shutdown(wait=True)

    def _close(self) -> None:
        """Close what ``_open`` opened."""

    def _note(self, event: str, facts: dict[str, t.Any]) -> None:
        with contextlib.suppress(RuntimeError):  # the window is closing
            self._notes.submit(self._journal, event, facts)

    def mark(self, name: str) -> None:
        """Keep when something happened first."""
        self.marks.setdefault(name, self._clock())

    def deliver(self, event: Event | None) -> None:
        """Give the machine an event (None: only the time) and do what it asks for."""
        if isinstance(event, Started):
            held, self._held_notes = self._held_notes or [], None
            for note in held:
                self._note(note.event, dict(note.facts))
        for action in self.driver.handle(event, self._clock()):
            if isinstance(action, Start):
                self._held_notes = []
            if isinstance(action, Note) and self._held_notes is not None:
                self._held_notes.append(action)
            elif isinstance(action, Note):
                self._note(action.event, dict(action.facts))
            elif isinstance(action, Cancel):
                self._token.set()
            elif isinstance(action, Finish):
                if not self._finished.done():
                    self._finished.set_result(action)
            else:
                self._perform(action)
        if self._timer:
            self._timer.cancel()
            self._timer = None
        due = self.driver.next_due()
        if due is not None:
            self._timer = self._loop.call_later(max(0.0, due - self._clock()), self.deliver, None)

    def _do(
        self,
        work: Callable[[], Event],
        mark: str = "",
        *,
        aside: bool = False,
        failed: Callable[[str], Event] = Failed,
    ) -> None:
        """Run host work on a thread and deliver what it returns; ``aside`` does not wait for other work."""

        def guarded() -> Event:
            try:
                return work()
            except Exception as exc:  # a defect of the host side must end in an answer, never in silence
                return failed(f"{type(exc).__name__}: {exc}")

        def finished(future: concurrent.futures.Future[Event]) -> None:
            now = self._clock()
            with contextlib.suppress(RuntimeError):  # the loop may be closed: nobody waits for the answer any more
                self._loop.call_soon_threadsafe(arrived, future.result(), now)

        def arrived(event: Event, now: float) -> None:
            if mark:
                self.marks.setdefault(mark, now)
            self.deliver(event)

        (self._watch if aside else self._work).submit(guarded).add_done_callback(finished)

    def _spawn(self, work: t.Coroutine[t.Any, t.Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _fresh(self) -> threading.Event:
        self._token = threading.Event()
        return self._token


class _Connection:
    """An authenticated connection."""

    def __init__(self, member: str, channel: messages.Channel, writer: asyncio.StreamWriter) -> None:
        self.member, self.channel, self.writer = member, channel, writer

    def send(self, message: dict[str, t.Any]) -> None:
        """Send at once; a connection that is gone says so to its reader."""
        with contextlib.suppress(OSError, RuntimeError):
            self.writer.write(self.channel.pack(message))

    def close(self) -> None:
        """Close, whatever state it is in."""
        with contextlib.suppress(OSError, RuntimeError):
            self.writer.close()


class CoordinatorRuntime(_Runtime):
    """Listens on the member's Raft address until the commit."""

    def __init__(self, driver: Driver[t.Any], host: CoordinatorHost, **options: t.Any) -> None:
        super().__init__(driver, **options)
        self._host = host
        self._peers: dict[str, _Connection] = {}
        self._server: asyncio.base_events.Server | None = None
        self._strangers = self._turned_away = 0
        self._frozen_told: set[str] = set()
        self._end_told: set[str] = set()

    async def _open(self) -> None:
        # SO_REUSEADDR lets the node bind the same port while connections of this window are still open.
        self._server = await asyncio.start_server(
            self._accept, self._address[0], self._address[1], reuse_address=True, backlog=64
        )
        self._spawn(self._heads())
        self._spawn(self._beat())

    def port(self) -> int:
        """Return the port that is listened on."""
        if not self._server:
            raise MessageError("the window does not listen")
        return int(self._server.sockets[0].getsockname()[1])

    def _close(self) -> None:
        if self._server:
            self._server.close()
        for peer in list(self._peers.values()):
            peer.close()

    async def _linger(self, outcome: str) -> None:
        if outcome != "aborted":
            return
        # Who was asked to stop and did not hear the end would wait for its own limit: give it a while to come back.
        until = self._clock() + min(LINGER, self.plan.limits.hold)
        while self._frozen_told - self._end_told and self._clock() < until:
            await asyncio.sleep(RETRY)

    async def _heads(self) -> None:
        while not self.marks.get("freeze"):
            height = await self._loop.run_in_executor(self._watch, self._host.head)
            if height is not None and not self.marks.get("freeze"):
                self.deliver(Head(height))
            await asyncio.sleep(WATCH)

    async def _beat(self) -> None:
        while True:
            sign_of_life()
            for peer in list(self._peers.values()):
                peer.send({"type": "alive"})
            await asyncio.sleep(BEAT)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer: _Connection | None = None
        if self._strangers >= MAX_STRANGERS:
            writer.close()
            return
        self._strangers += 1
        try:
            try:
                known, rest = await asyncio.wait_for(self._authenticate(reader, writer), OPENING)
            finally:
                self._strangers -= 1
            peer = known
            await self._listen(known, reader, rest)
        except (MessageError, OSError, asyncio.TimeoutError, asyncio.IncompleteReadError) as exc:
            if peer is None and self._turned_away < MAX_STRANGERS:
                # Counted, because anybody who reaches the port can make these lines.
                self._turned_away += 1
                self._note("stranger", {"reason": str(exc) or type(exc).__name__})
        finally:
            if peer and self._peers.get(peer.member) is peer:
                del self._peers[peer.member]
                self.deliver(Lost(peer.member))
            with contextlib.suppress(OSError, RuntimeError):
                writer.close()

    async def _authenticate(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[_Connection, bytes]:
        data = b""
        while True:
            piece = await reader.read(4096)
            if not piece:
                raise MessageError("the peer closed before it named itself")
            data += piece
            opening = messages.read_hello(self._key, self._run, data)
            if opening:
                break
        member, theirs, used = opening
        if member not in self.plan.participants:
            raise MessageError(f"{member} is not a participant of this window")
        mine = secrets.token_bytes(messages.NONCE)
        writer.write(messages.welcome(self._key, self._run, member, theirs, mine))
        channel = messages.channel(self._key, self._run, member, (theirs, mine), coordinator=True)
        return _Connection(member, channel, writer), data[used:]

    async def _listen(self, peer: _Connection, reader: asyncio.StreamReader, data: bytes) -> None:
        known = False
        while True:
            for raw in peer.channel.feed(data):
                if not known:
                    # The first authentic frame proves a live peer: an opening alone could be a recorded one.
                    known = True
                    self._replace(peer)
                event = messages.decode(raw, member=peer.member)
                if event is not None and self._peers.get(peer.member) is peer:
                    self.deliver(event)
            data = await asyncio.wait_for(reader.read(65536), SILENCE)
            if not data:
                return

    def _replace(self, peer: _Connection) -> None:
        old = self._peers.pop(peer.member, None)
        if old:
            old.close()
            self.deliver(Lost(peer.member))
        self._peers[peer.member] = peer

    def _perform(self, action: Action) -> None:
        if isinstance(action, Send):
            peer = self._peers.get(action.member)
            if peer:
                peer.send(messages.encode(action.message))
                kind = getattr(action.message, "kind", "")
                (self._frozen_told if kind == "frozen" else self._end_told).add(action.member)
        elif isinstance(action, CloseIntake):
            token = self._fresh()
            self._do(lambda: self._host.close_intake(token), "intake_closed")
        elif isinstance(action, Freeze):
            self.mark("freeze")
            token = self._fresh()
            self._do(lambda: self._host.freeze(token), "frozen")
        elif isinstance(action, Commit):
            n, digest = action
            self.mark("agreed")
            self._do(lambda: self._host.commit(n, digest), "committed")
        elif isinstance(action, Start):
            n, digest = action
            self.mark("told")
            if self._server:
                self._server.close()
            self._do(lambda: self._host.start(n, digest), "started", failed=Started)
        elif isinstance(action, Thaw):
            self._do(self._host.thaw, "thawed", failed=Thawed)

    def deliver(self, event: Event | None) -> None:
        """As before; the stopped files are read beside the work thread, so that nothing queues behind them."""
        super().deliver(event)
        if isinstance(event, Frozen) and self.plan.digests:
            self._do(lambda: self._host.digest(event.n), "digest", aside=True)


class ParticipantRuntime(_Runtime):
    """Keeps a connection to the coordinator as long as there is one to be had."""

    def __init__(self, driver: Driver[t.Any], host: ParticipantHost, **options: t.Any) -> None:
        super().__init__(driver, **options)
        self._host = host
        self._link: _Connection | None = None
        self.last_error = ""

    async def _open(self) -> None:
        self._spawn(self._connect())
        self._spawn(self._reports())
        self._spawn(self._beat())

    def _close(self) -> None:
        if self._link:
            self._link.close()

    async def _connect(self) -> None:
        while not self._finished.done():
            try:
                await self._talk()
            except (MessageError, OSError, asyncio.TimeoutError) as exc:
                self.last_error = str(exc) or type(exc).__name__
            if self._link:
                self._link.close()
                self._link = None
                self.deliver(Lost(self.plan.me))
            await asyncio.sleep(RETRY)

    async def _talk(self) -> None:
        opened = asyncio.open_connection(self._address[0], self._address[1])
        reader, writer = await asyncio.wait_for(opened, SILENCE)
        try:
            sock = writer.get_extra_info("socket")
            if sock is not None:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            mine = secrets.token_bytes(messages.NONCE)
            writer.write(messages.hello(self._key, self._run, self.plan.me, mine))
            data = b""
            while True:
                piece = await asyncio.wait_for(reader.read(65536), SILENCE)
                if not piece:
                    raise MessageError(f"{self.plan.coordinator} closed the connection")
                data += piece
                answer = messages.read_welcome(self._key, self._run, self.plan.me, mine, data)
                if answer:
                    break
            theirs, used = answer
            channel = messages.channel(self._key, self._run, self.plan.me, (mine, theirs), coordinator=False)
            self._link = link = _Connection(self.plan.coordinator, channel, writer)
            self.deliver(Connected())
            data = data[used:]
            while True:
                for raw in link.channel.feed(data):
                    event = messages.decode(raw, member=self.plan.coordinator)
                    if event is not None:
                        self.deliver(event)
                data = await asyncio.wait_for(reader.read(65536), SILENCE)
                if not data:
                    return
        finally:
            writer.close()

    async def _reports(self) -> None:
        while self.driver.state.phase == "armed":
            await asyncio.sleep(WATCH)
            if self._link and self.driver.state.phase == "armed":
                await self._report()

    async def _report(self) -> None:
        link = self._link
        height, digest, trouble = await self._loop.run_in_executor(self._watch, self._host.describe)
        if link and link is self._link:
            report = Report(self.plan.me, height, digest, self.plan.fingerprints, trouble)
            link.send(messages.encode(report))

    async def _beat(self) -> None:
        while True:
            sign_of_life()
            if self._link:
                self._link.send({"type": "alive"})
            await asyncio.sleep(BEAT)

    def _perform(self, action: Action) -> None:
        if isinstance(action, Send):
            if self._link:
                self._link.send(messages.encode(action.message))
            self.mark(f"sent_{type(action.message).__name__.lower()}")
        elif isinstance(action, SendReport):
            self._spawn(self._report())
        elif isinstance(action, Match):
            n, digest = action
            self.mark("asked")
            token = self._fresh()
            self._do(lambda: self._host.match(n, digest, token), "matched")
        elif isinstance(action, Probe):
            self._do(self._host.probe, aside=True, failed=lambda reason: Proof(False, reason))
        elif isinstance(action, Start):
            n, digest = action
            self.mark("told")
            self._do(lambda: self._host.start(n, digest), "started", failed=Started)
        elif isinstance(action, Resume):
            self._do(self._host.resume, "resumed", failed=Resumed)
