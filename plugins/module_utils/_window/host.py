# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.
"""What the window asks of a machine: stop and prove, rename, start, watch."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import json
import os
import re
import shutil
import threading
import time
import typing as t

from .. import _files, _systemd
from .._errors import HaError
from .._execution import ExecutionClient, ExecutionError
from .._half_copy import unfinished
from .._intake import close_intake, intake_table, open_intake
from .._proc import LISTEN, tcp_sockets
from .._process import run as _run
from .._raft_probe import RaftProbeError, ask_for
from .._raft_store import last_index, snapshots
from .._rpc import NodeClient, RpcError
from .._seal import sealed_state
from .._units import fence_path
from .bus import Bus, BusError
from .protocol import Committed, Digest, Failed, Frozen, IntakeClosed, Limits, Matched, Proof, Resumed, Started, Thawed
from .runtime import boot_clock

if t.TYPE_CHECKING:
    from collections.abc import Callable

    from .._process import Runner
    from .._store.pull import Puller

POLL = 0.02
SETTLE_POLL = 0.1
UNIT_LOOK = 1.0
"""Seconds between two looks at the unit while its node comes up."""
HALTED = "full node halted successfully"
RACE = "bootstrap only works on new clusters"
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_HEIGHT = re.compile(r"\bheight=(\d+)")


class HostError(HaError):
    """The machine is not, or could not be brought, into the state that the window needs."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a window has to know about its machine; read from the file that the module writes. No secrets."""

    run: str
    role: str
    member: str
    coordinator: str
    members: tuple[dict[str, t.Any], ...]
    unit: str
    config_dir: str
    state_dir: str
    run_dir: str
    rpc_address: str
    raft_address: str
    own_raft_address: str
    raft_dir: str
    store_paths: tuple[str, ...] = ()
    closed_ports: tuple[int, ...] = ()
    seed: str = "follow"
    require_all: bool = True
    max_lag: int = 3
    intake_ports: tuple[int, ...] = ()
    execution_rpc: str = ""
    scrape_interval: float = 1.0
    block_time: float = 1.0
    copy: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    fingerprints: dict[str, str] = dataclasses.field(default_factory=dict)
    limits: Limits = dataclasses.field(default_factory=Limits)
    stop_limit: float = 45.0
    health: float = 60.0

    @property
    def service(self) -> str:
        """The unit's full name."""
        return f"{self.unit}.service"

    @property
    def own_state(self) -> str:
        """The unit's own directory of state."""
        return os.path.join(self.state_dir, self.unit)

    @property
    def current(self) -> str:
        """The switch."""
        return os.path.join(self.config_dir, self.unit, "current")

    @property
    def frozen(self) -> str:
        """The file that keeps systemd from starting the unit."""
        return fence_path(self.unit, self.run_dir)

    @property
    def table(self) -> str:
        """The nftables table (and iptables chain) that closes the intake."""
        return intake_table(self.unit)

    @classmethod
    def load(cls, data: dict[str, t.Any]) -> Settings:
        """Read what ``dump`` wrote."""
        data = dict(data)
        data["limits"] = Limits(**data.get("limits", {}))
        for name in ("members", "store_paths", "closed_ports", "intake_ports"):
            data[name] = tuple(data.get(name, ()))
        return cls(**data)

    def dump(self) -> dict[str, t.Any]:
        """Return plain JSON data."""
        return dataclasses.asdict(self)


def produced(lines: list[str]) -> int:
    """Return the highest height that the node says it produced, 0 where it says nothing."""
    best = 0
    for line in lines:
        if "produced block" not in line:
            continue
        plain = _COLOUR.sub("", line)
        height = 0
        with contextlib.suppress(ValueError, TypeError, KeyError):
            entry = json.loads(plain)
            height = int(entry["height"]) if entry.get("message") == "produced block" else 0
        if not height:
            found = _HEIGHT.search(plain)
            height = int(found.group(1)) if found else 0
        best = max(best, height)
    return best


def holders(paths: t.Sequence[str], proc: str = "/proc", *, reader: str = "") -> list[str]:
    """Return the processes that have a file below one of the paths open, as ``pid (command)``.

    ``reader`` is the unit whose processes may: the one-time share, which only reads.
    """
    wanted = [os.path.realpath(path) for path in paths]
    if not wanted:
        return []
    found = []
    for pid in os.listdir(proc):
        if not pid.isdigit() or int(pid) == os.getpid():
            continue
        folder = os.path.join(proc, pid, "fd")
        with contextlib.suppress(OSError):  # the process ended while being looked at
            for name in os.listdir(folder):
                with contextlib.suppress(OSError):
                    target = os.readlink(os.path.join(folder, name))
                    if any(target == path or target.startswith(path + "/") for path in wanted):
                        if reader and reader.encode() in (_files.read_bytes(os.path.join(proc, pid, "cgroup")) or b""):
                            break
                        found.append(f"{pid} ({_command(proc, pid)})")
                        break
    return found


def _command(proc: str, pid: str) -> str:
    return (_files.read_bytes(os.path.join(proc, pid, "comm")) or b"?").decode(errors="replace").strip()


def listening(ports: t.Sequence[int]) -> list[int]:
    """Return those of the TCP ports that something on this host listens on."""
    return sorted({seen.port for seen in tcp_sockets() if seen.state == LISTEN}.intersection(ports))


class Machine:
    """What both roles do."""

    def __init__(
        self,
        settings: Settings,
        *,
        journal: Callable[[str, dict[str, t.Any]], None],
        run: Runner = _run,
        client: NodeClient | None = None,
    ) -> None:
        self.settings = settings
        self.journal = journal
        self.run = run
        self.client = client or NodeClient(settings.rpc_address, timeout=1.0)
        self.marks: dict[str, float] = {}
        self._invocation = ""
        self._bus: Bus | None = None
        self.connect_bus: Callable[[], Bus] = Bus

    # -- looking

    def facts(self) -> dict[str, str]:
        """Return what systemd says about the unit."""
        wanted = ["ActiveState", "SubState", "Result", "ExecMainStatus", "MainPID", "InvocationID", "NRestarts"]
        return _systemd.show(self.settings.service, wanted, run=self.run)

    def mode(self) -> str | None:
        """Return what the switch points at."""
        return _files.read_link(self.settings.current)

    def started_at(self) -> float | None:
        """Return when the unit's process was started, in seconds of the real-time clock, to the microsecond."""
        stamp = _systemd.show(self.settings.service, ["ExecMainStartTimestampMonotonic"], run=self.run)
        micros = int(stamp.get("ExecMainStartTimestampMonotonic") or 0)
        if not micros:
            return None
        return time.time() - (time.clock_gettime(time.CLOCK_MONOTONIC) - micros / 1e6)

    def missing_mode_files(self, mode: str) -> list[str]:
        """Return the files of a mode that are not there."""
        folder = os.path.join(self.settings.config_dir, self.settings.unit, mode)
        return [
            path
            for path in (os.path.join(folder, name) for name in ("args.env", "evnode.yaml"))
            if not os.path.isfile(path)
        ]

    def fence_trouble(self) -> str:
        """Say what is wrong with the loaded unit; empty where the switch and the fence are in it."""
        service = self.settings.service
        shown = _systemd.show(service, ["EnvironmentFiles", "NeedDaemonReload", "LoadState"], run=self.run)
        if shown.get("LoadState") != "loaded":
            return f"{service} is {shown.get('LoadState', 'unknown')} to systemd"
        if shown.get("NeedDaemonReload") == "yes":
            return f"{service} changed on disk and systemd has not read it again; run systemctl daemon-reload"
        if os.path.join(self.settings.current, "args.env") not in shown.get("EnvironmentFiles", ""):
            return f"{service} does not read {self.settings.current}/args.env; install the member's unit first"
        return ""

    def remember_invocation(self) -> None:
        """Keep which start of the unit is looked at, so that its log lines are found once it has stopped."""
        self._invocation = self.facts().get("InvocationID", "")

    def log(self, lines: int = 40) -> list[str]:
        """Return the newest lines of the remembered start.

        Each call reads the journal afresh: a following reader is woken up to 250 ms late.
        """
        match = f"_SYSTEMD_INVOCATION_ID={self._invocation}"
        done = self.run(["journalctl", "--no-pager", "--quiet", "--output=cat", "--all", f"--lines={lines}", match])
        return [_COLOUR.sub("", line) for line in done.stdout.splitlines()] if done.rc == 0 and self._invocation else []

    # -- stopping

    def stop_proven(self) -> str:
        """Stop the unit and prove it stopped cleanly; return what is wrong, empty where nothing is."""
        _systemd.stop(self.settings.service, timeout=self.settings.stop_limit, run=self.run)
        self.marks["stopped"] = boot_clock()
        trouble = self.prove_stopped()
        self.marks["proven"] = boot_clock()
        return trouble

    def prove_stopped(self) -> str:
        """Say what speaks against a clean and complete stop; empty where nothing does."""
        facts = self.facts()
        if facts.get("ActiveState") not in ("inactive", "failed") or facts.get("MainPID", "0") != "0":
            return f"{self.settings.service} is {facts.get('ActiveState')} ({facts.get('SubState')}) after its stop"
        clean = facts.get("Result") == "success" and facts.get("ExecMainStatus") == "0"
        # Only an unclean exit has to be explained by the log, whose last line may come after the process has gone.
        if not clean and not self.await_halted():
            return (
                f"{self.settings.service} stopped with result {facts.get('Result')}, exit code "
                f"{facts.get('ExecMainStatus')} and without '{HALTED}' in its log: its store may lack its last writes"
            )
        return self.still_stopped()

    def await_halted(self, limit: float = 1.0) -> list[str]:
        """Return the newest log lines once the one that ends a clean stop is among them; empty after ``limit``."""
        deadline = boot_clock() + limit
        while True:
            lines = self.log()
            if any(HALTED in line for line in lines):
                return lines
            if boot_clock() >= deadline:
                return []
            time.sleep(POLL / 4)

    def client_block(self, n: int) -> str:
        """Return the hash of block ``n`` of the execution client, empty where there is none; HostError unless its
        newest block is ``n``, like that of its stopped node.

        A node that starts with a client ahead of it rolls that client back, and with one behind it plays blocks again.
        """
        if not self.settings.execution_rpc:
            return ""
        try:
            block = ExecutionClient(self.settings.execution_rpc, timeout=2.0).block(None)
        except ExecutionError as exc:
            raise HostError(f"its execution client does not tell its newest block: {exc.message}") from exc
        if block["height"] != n:
            raise HostError(f"its execution client is at block {block['height']}, its node stopped at {n}")
        return str(block["hash"])

    def still_stopped(self) -> str:
        """Say which process or port is left; empty where none is."""
        left = holders(self.settings.store_paths, reader=f"evnode-share-{self.settings.unit}.service")
        if left:
            return f"the store below {', '.join(self.settings.store_paths)} is still held by {', '.join(left)}"
        ports = listening(self.settings.closed_ports)
        if ports:
            return f"something still listens on port {', '.join(map(str, ports))}"
        return ""

    # -- the first cluster block

    def settle(self, n: int, digest: str) -> dict[str, t.Any]:
        """Watch the started member until it holds block ``n`` + 1; heal the bootstrap race; return receipt facts."""
        deadline = boot_clock() + self.settings.health
        healed = 0
        last = "nothing seen yet"
        facts: dict[str, str] = {}
        look = boot_clock() + UNIT_LOOK
        while True:
            if self.mode() != "raft":
                return {
                    "healthy": False,
                    "problem": f"{self.settings.current} points at {self.mode()}: the member was taken back",
                }
            # A process a look, on a host that is busy starting the node: the node itself is asked far more often.
            if boot_clock() >= look:
                facts = self.facts()
                look = boot_clock() + UNIT_LOOK
                if healed < 2 and facts.get("ActiveState") != "active" and self._raced(facts):
                    healed += 1
                    self._heal()
            state = facts.get("ActiveState", "not looked at yet")
            try:
                height = self.client.state()["height"]
                raft = self.client.raft_node()
                last = f"unit {state}, height {height}, {'Raft' if raft else 'no Raft answer'}"
                if height > n and raft:
                    self.marks.setdefault("first_block", boot_clock())
                    return self._healthy(n, digest, height, raft, self.facts(), healed)
            except RpcError as exc:
                last = f"unit {state} ({facts.get('SubState')}), {exc.message}"
            if boot_clock() >= deadline:
                problem = f"no block above {n} on {self.settings.member} within {self.settings.health:g} s: {last}"
                log = _systemd.unit_log(self.settings.service, lines=15, run=self.run)
                return {
                    "healthy": False,
                    "problem": problem,
                    "log": [_COLOUR.sub("", line)[:300] for line in log],
                    "healed": healed,
                }
            time.sleep(SETTLE_POLL)

    def _healthy(
        self, n: int, digest: str, height: int, raft: dict[str, t.Any], facts: dict[str, str], healed: int
    ) -> dict[str, t.Any]:
        found: dict[str, t.Any] = {"healthy": True, "height": height, "leader": bool(raft.get("is_leader"))}
        found["restarts"] = int(facts.get("NRestarts") or 0)
        found["healed"] = healed
        port = int(self.settings.own_raft_address.rpartition(":")[2])
        found["raft_port_open"] = bool(listening([port]))
        try:
            first = self.client.block(n + 1)
            found["parent"] = first["parent"]
            found["block_time_ns"] = {n + 1: first["time_ns"], n: self.client.block(n)["time_ns"]}
            head = self.client.p2p_head()
            found["hash_next"] = head["hash"] if head["height"] == n + 1 else None
            if found["hash_next"] is None and height > n + 1:
                found["hash_next"] = self.client.block(n + 2)["parent"]
            if digest and first["parent"] != digest:
                found["healthy"] = False
                found["problem"] = (
                    f"block {n + 1} has parent {first['parent']}, and block {n} had hash {digest} before the stop"
                )
        except RpcError as exc:
            found["note"] = exc.message
        return found

    def _raced(self, facts: dict[str, str]) -> bool:
        invocation = facts.get("InvocationID") or None
        log = _systemd.unit_log(self.settings.service, lines=60, invocation=invocation, run=self.run)
        return any(RACE in line for line in log)

    def _heal(self) -> None:
        """Give a member that was asked for a vote before it had its configuration an empty Raft directory again."""
        folder = self.settings.raft_dir
        _systemd.stop(self.settings.service, timeout=self.settings.stop_limit, run=self.run)
        index = last_index(os.path.join(folder, "raft-log.db"))
        if index or snapshots(folder):
            self.journal("bootstrap_race_not_healed", {"raft_dir": folder, "last_index": index})
        else:
            for name in ("raft-log.db", "raft-stable.db"):
                _files.remove_files([os.path.join(folder, name)])
            self.journal("bootstrap_race_healed", {"raft_dir": folder})
        _systemd.reset_failed(self.settings.service, run=self.run)
        self.start_unit()

    def open_bus(self) -> None:
        """Connect to systemd ahead of the start; without that connection ``start_unit`` is only slower."""
        with contextlib.suppress(BusError):
            self._bus = self._bus or self.connect_bus()

    def start_unit(self) -> None:
        """Ask systemd to start the unit, without waiting."""
        bus, self._bus = self._bus, None
        if bus is not None:
            try:
                bus.start(self.settings.service)
                return
            except BusError as exc:
                self.journal("bus_failed", {"reason": exc.message})
            finally:
                bus.close()
        done = self.run(["systemctl", "start", "--no-block", "--", self.settings.service], timeout=30)
        if done.rc != 0:
            raise HostError(f"systemctl start {self.settings.service} failed: {done.stderr.strip() or done.rc}")

    def started(self) -> Started:
        """Start in Raft mode, and say what stands in the way."""
        try:
            self.start_unit()
        except HaError as exc:
            return Started(exc.message)
        return Started()


class Coordinator(Machine):
    """The member that produces."""

    def __init__(self, settings: Settings, **options: t.Any) -> None:
        super().__init__(settings, **options)
        self._stopping: concurrent.futures.Future[str] | None = None

    def check(self) -> None:
        """Raise HostError unless this machine can freeze and commit."""
        wanted = self.settings
        problems = []
        if self.mode() != "single":
            problems.append(f"{wanted.current} points at {self.mode()}, expected single")
        for mode in ("single", "raft"):
            problems += [f"{path} is missing" for path in self.missing_mode_files(mode)]
        fence = self.fence_trouble()
        if fence:
            problems.append(fence)
        else:
            text = self.run(["systemctl", "cat", "--", wanted.service]).stdout
            if f"ConditionPathExists=!{wanted.frozen}" not in text:
                problems.append(
                    f"{wanted.service} has no ConditionPathExists=!{wanted.frozen}: it could be started by hand"
                )
        if self.facts().get("ActiveState") != "active":
            problems.append(f"{wanted.service} is not active")
        if os.path.isdir(wanted.raft_dir) and os.listdir(wanted.raft_dir):
            problems.append(f"{wanted.raft_dir} is not empty; the first leader starts with an empty one")
        path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
        if wanted.intake_ports and not (shutil.which("nft", path=path) or shutil.which("iptables", path=path)):
            problems.append("intake_ports are to be closed and neither nft nor iptables was found; install nftables")
        if problems:
            raise HostError(f"{wanted.member} cannot lead the window: {'; '.join(problems)}")

    def head(self) -> int | None:
        """Return the node's height, None where it does not answer."""
        try:
            return int(self.client.state()["height"])
        except RpcError:
            return None

    def close_intake(self, token: threading.Event) -> IntakeClosed | Failed:
        """Close clients' ports, then wait until what was accepted is in blocks."""
        try:
            close_intake(self.settings.intake_ports, self.settings.table, run=self.run)
            before = self.head()
            deadline = boot_clock() + self.settings.limits.freeze
            scraped = boot_clock() + self.settings.scrape_interval
            at_scrape: int | None = None
            while boot_clock() < deadline and not token.is_set():
                height = self.head()
                if at_scrape is None and boot_clock() >= scraped:
                    at_scrape = height
                # One block may have been under way at the last scrape; the one after it holds what was scraped.
                if at_scrape is not None and height is not None and height >= at_scrape + 2:
                    return IntakeClosed()
                time.sleep(POLL * 2)
            if token.is_set():
                return Failed("a member was lost while the intake was being closed")
            return Failed(
                f"no new blocks within {self.settings.limits.freeze:g} s after the intake was closed at height {before}"
            )
        except HaError as exc:
            return Failed(f"the intake could not be closed: {exc.message}")

    def freeze(self, token: threading.Event) -> Frozen | Failed:
        """Stop right after a block, fence, prove; N comes from the node's own log, its hash from its own P2P store."""
        try:
            return self._freeze(token)
        except HaError as exc:
            return Failed(exc.message)

    def _freeze(self, token: threading.Event) -> Frozen | Failed:
        limit = self.settings.limits.freeze
        self.remember_invocation()
        seen: dict[int, str] = {}
        block = self._await_block(seen, limit, token)
        if token.is_set():
            return Failed("a member was lost before the freeze")
        if not block:
            return Failed(f"no new block within {limit:g} s; last seen height {max(seen, default=0)}")
        self.marks["block"] = boot_clock()
        _files.make_dirs(os.path.dirname(self.settings.frozen), mode=0o700)
        _files.write_atomic(self.settings.frozen, f"{self.settings.run}\n".encode(), mode=0o600)
        # The joiners stop while this host proves: no commit happens before ``_stopping`` has given its proof.
        self._stopping = concurrent.futures.ThreadPoolExecutor(1, "stop").submit(self.stop_proven)
        self.open_bus()
        while not self._stopping.done() and self._p2p_head(seen):
            time.sleep(POLL / 2)
        return self._last_block(seen)

    def _last_block(self, seen: dict[int, str]) -> Frozen | Failed:
        """Read from the node's own log which block was its last: the line that ends a clean stop comes after all."""
        stopping = t.cast("concurrent.futures.Future[str]", self._stopping)
        lines: list[str] = []
        while not lines and not stopping.done():
            lines = self.await_halted(0.1)
        lines = lines or self.await_halted()
        self.marks["halted"] = boot_clock()
        logged = produced(lines)
        if not logged:
            trouble = self._proof_of_stop()
            return Failed(
                trouble
                or f"the log of {self.settings.service} does not tell which block was its last ('produced block' and "
                f"'{HALTED}' are needed): set its log level to info"
            )
        n = max([logged, *seen])
        if n != logged:
            return Failed(f"the log of {self.settings.service} ends at block {logged}, its RPC had shown {n}")
        self.client_block(n)
        if self.settings.seed != "follow":
            # Who copies begins at once, and files are at rest only when the process that wrote them has gone.
            trouble = self._proof_of_stop()
            if trouble:
                return Failed(trouble)
        return Frozen(n, seen.get(n, ""))

    def _proof_of_stop(self) -> str:
        """Wait for the stop that ``freeze`` began; say what is wrong with it, empty where nothing is."""
        if self._stopping is None:
            return "the sequencer was not stopped by this window"
        try:
            return self._stopping.result(timeout=self.settings.stop_limit + 5)
        except concurrent.futures.TimeoutError:
            return f"{self.settings.service} did not stop within {self.settings.stop_limit:g} s"
        except HaError as exc:
            return exc.message

    def _await_block(self, seen: dict[int, str], limit: float, token: threading.Event) -> int:
        """Return the height of a block that appears from now on and has been given to the peers, 0 at the limit."""
        deadline = boot_clock() + limit
        first = 0
        while boot_clock() < deadline and not token.is_set():
            head = self._p2p_head(seen)
            # The header store shows a block just before it is broadcast: seen twice, it has gone out.
            if first and head > first and self._p2p_head(seen) >= head:
                return head
            first = first or head
            time.sleep(POLL)
        return 0

    def _p2p_head(self, seen: dict[int, str]) -> int:
        try:
            head = self.client.p2p_head()
        except RpcError:
            return 0
        if head["height"] and head["hash"]:
            seen[head["height"]] = head["hash"]
        return int(head["height"])

    def digest(self, n: int) -> Digest | Failed:
        """Return the digest over the stopped files, or the hash of the execution client's block ``n``."""
        try:
            if self.settings.seed == "follow":
                return Digest(self.client_block(n))
            from .copying import source_digest

            return Digest(source_digest(self.settings.copy, self.settings.own_state))
        except HaError as exc:
            return Failed(exc.message)

    def commit(self, n: int, digest: str) -> Committed | Failed:
        """Prove once more that nothing runs and nothing can start; then the one rename."""
        wanted = self.settings
        try:
            trouble = self._proof_of_stop()
            if trouble:
                return Failed(trouble)
            if not os.path.exists(wanted.frozen):
                return Failed(f"{wanted.frozen} is gone: somebody lifted the fence")
            facts = self.facts()
            if facts.get("ActiveState") not in ("inactive", "failed") or facts.get("MainPID", "0") != "0":
                return Failed(f"{wanted.service} is {facts.get('ActiveState')} again before the commit")
            left = self.still_stopped()
            if left:
                return Failed(left)
            if self.mode() != "single":
                return Failed(f"{wanted.current} points at {self.mode()}, expected single")
            self.open_bus()
            _files.switch_link(wanted.current, "raft")
        except HaError as exc:
            return self._take_back(exc.message)
        return Committed()

    def _take_back(self, reason: str) -> Committed | Failed:
        """Undo a rename that may not be on disk: pushed as a commit, a power cut could still undo it.

        One that cannot be undone either is a commit once it is on disk.
        """
        with contextlib.suppress(HaError):
            _files.switch_link(self.settings.current, "single")
        if self.mode() == "raft":
            with contextlib.suppress(HaError, OSError):
                self._force_switch()
                return Committed()
        return Failed(f"the commit was not written: {reason}")

    def _force_switch(self) -> None:
        _files.fsync_dir(os.path.dirname(self.settings.current))

    def start(self, n: int, digest: str) -> Started:
        """Lift the fence and start as the pinned first leader."""
        _files.remove_files([self.settings.frozen])
        return self.started()

    def thaw(self) -> Thawed:
        """Run again in the mode that the switch names."""
        if self._stopping is not None:
            # A start before the stop has ended would be lost, or would call the stop off half-way.
            self._proof_of_stop()
        trouble = ""
        try:
            if self.mode() == "raft":
                # Others take this member's start for proof that the rename is on disk.
                self._force_switch()
            _files.remove_files([self.settings.frozen])
            self.start_unit()
        except (HaError, OSError) as exc:
            trouble = str(exc)
        self.open_intake()
        return Thawed(trouble)

    def open_intake(self) -> None:
        """Let clients in again: the cluster has made its first block."""
        if self.settings.intake_ports:
            open_intake(self.settings.table, run=self.run)

    def producing_again(self, n: int) -> dict[str, t.Any]:
        """After an abort: wait until the single sequencer answers with a height not below ``n``."""
        deadline = boot_clock() + self.settings.health
        last = "no answer yet"
        while boot_clock() < deadline:
            try:
                height = self.client.state()["height"]
                last = f"height {height}"
                if height > n or (height == n and not n):
                    return {"healthy": True, "height": height}
            except RpcError as exc:
                last = exc.message
            time.sleep(0.05)
        return {"healthy": False, "problem": f"{self.settings.service} did not go on above {n} after the abort: {last}"}


class Participant(Machine):
    """A joiner."""

    def __init__(self, settings: Settings, **options: t.Any) -> None:
        super().__init__(settings, **options)
        self._stopped = self._matching = False
        self._sealed: str | None = None
        self._prepared = ""
        self._head = (0, "")
        self._puller: Puller | None = None

    @property
    def follows(self) -> bool:
        """Whether this joiner runs as a follower until the window."""
        return self.settings.seed == "follow"

    def check(self) -> None:
        """Raise HostError unless this machine can become a member."""
        wanted = self.settings
        problems = [f"{path} is missing" for path in self.missing_mode_files("raft")]
        if self.mode() == "raft":
            problems.append(f"{wanted.current} points at raft already")
        fence = self.fence_trouble()
        if fence:
            problems.append(fence)
        half = self._half_copied() if self.follows else ""
        if half:
            problems.append(half)
        sealed = sealed_state(wanted.state_dir, wanted.unit, wanted.raft_dir)
        if not sealed.ok:
            problems.append(sealed.reason)
        if problems:
            raise HostError(f"{wanted.member} cannot take part in the window: {'; '.join(problems)}")

    def _half_copied(self) -> str:
        """Say which copy keeps the unit from starting; empty where none does."""
        half = ", ".join(sorted(unfinished(self.settings.own_state)))
        return half and (
            f"the copy to {half} was begun and never proven equal, so {self.settings.service} would not start; "
            "finish that copy first"
        )

    def describe(self) -> tuple[int, str, str]:
        """Return height, hash and trouble; once stopped, what it stopped at."""
        if self._stopped:
            return (*self._head, "")
        if not self.follows:
            return (0, "", self._connect_copy())
        try:
            height = int(self.client.state()["height"])
            head = self.client.p2p_head()
        except RpcError as exc:
            return (*self._head, f"its follower does not answer: {exc.message}")
        seen = (height, str(head["hash"] or "") if head["height"] == height else "")
        if not self._matching:
            # Another thread may be keeping what it stops at, and this look may be older.
            self._head = seen
        return (*seen, "")

    def match(self, n: int, digest: str, token: threading.Event) -> Matched | Failed:
        """Reach block ``n``, stop, prove, and have everything ready for the start."""
        self._matching = True
        try:
            found = self._follow_to(n, digest, token) if self.follows else self._copy(n, digest, token)
            if isinstance(found, Matched):
                self._prepare()
            return found
        except HaError as exc:
            return Failed(exc.message)

    def _follow_to(self, n: int, digest: str, token: threading.Event) -> Matched | Failed:
        self.remember_invocation()
        deadline = boot_clock() + self.settings.limits.hold / 2
        last, reached = "no answer yet", ""
        while not token.is_set():
            try:
                height = int(self.client.state()["height"])
                head = self.client.p2p_head()
                last = f"height {height}, header {head['height']}"
                if height > n or head["height"] > n:
                    return Failed(f"its follower is at {last}, above block {n} at which the sequencer stopped")
                if height == n and head["height"] == n:
                    reached = str(head["hash"] or "")
                    if digest and head["hash"] != digest:
                        return Failed(
                            f"its follower holds block {n} with hash {head['hash']}, the sequencer with {digest}"
                        )
                    break
            except RpcError as exc:
                last = exc.message
            if boot_clock() >= deadline:
                return Failed(
                    f"its follower did not reach block {n} within {self.settings.limits.hold / 2:g} s: {last}"
                )
            time.sleep(POLL / 4)
        if token.is_set():
            return Failed("called off")
        self.marks["reached"] = boot_clock()
        self._head, self._stopped = (n, reached), True
        trouble = self.stop_proven()
        return Failed(trouble) if trouble else Matched(n, reached, self.client_block(n))

    def _connect_copy(self) -> str:
        """Open the connection for the last copy before anything is stopped; say what stands in the way."""
        try:
            from .copying import puller

            if self._puller is None:
                self._puller = puller(self.settings.copy, self.settings.own_state)
            self._puller.connect()
        except HaError as exc:
            return f"the source of the last copy cannot be reached: {exc.message}"
        return ""

    def _copy(self, n: int, digest: str, token: threading.Event) -> Matched | Failed:
        trouble = self.still_stopped() or self._connect_copy()
        if trouble or self._puller is None:
            return Failed(trouble or "no source to copy from")
        copied = self._puller.last(limit=self.settings.limits.hold / 2, once=f"{self.settings.run}-{n}")
        self.marks["copied"] = boot_clock()
        if copied.manifest is None:
            return Failed("the last copy brought no proof")
        manifest = copied.manifest.digest
        self._head = (n, digest)
        self._stopped = True
        return Failed("called off") if token.is_set() else Matched(n, digest, manifest)

    def close(self) -> None:
        """Hang up to the source of the last copy."""
        if self._puller is not None:
            self._puller.close()

    def _prepare(self) -> None:
        """Lay the new link beside the switch, so that the commit costs one rename(2)."""
        half = self._half_copied()
        if half:
            raise HostError(half)
        self._prepared = f"{self.settings.current}.commit"
        _files.remove_files([self._prepared])
        try:
            os.symlink("raft", self._prepared)
        except OSError as exc:
            raise HostError(f"{self._prepared} cannot be created: {exc.strerror}") from exc
        self.open_bus()

    def probe(self) -> Proof:
        """Ask the coordinator's Raft port; only a Raft member with the coordinator's own id is proof."""
        wanted = self.settings
        try:
            found = ask_for(
                wanted.coordinator,
                wanted.raft_address,
                asker=wanted.member,
                asker_address=wanted.own_raft_address,
                timeout=1.0,
            )
        except RaftProbeError as exc:
            return Proof(False, exc.message)
        return Proof(True, f"{found.node_id} answers in term {found.term}")

    def start(self, n: int, digest: str) -> Started:
        """Turn the switch and start; the rename is made durable after the start, since losing it harms nobody."""
        try:
            os.rename(self._prepared, self.settings.current)
        except OSError as exc:
            return Started(f"{self.settings.current} cannot be pointed at raft: {exc.strerror}")
        started = self.started()
        _files.fsync_dir(os.path.dirname(self.settings.current))
        return started

    def resume(self) -> Resumed:
        """Follow again where this joiner followed before; with ``copy`` nothing ran."""
        try:
            _files.remove_files([f"{self.settings.current}.commit"])
            if self.follows:
                if self.mode() != "follower":
                    return Resumed(f"{self.settings.current} points at {self.mode()}, expected follower")
                self.start_unit()
        except HaError as exc:
            return Resumed(exc.message)
        self._stopped = self._matching = False
        return Resumed()

    def enable(self) -> None:
        """Have the member come back by itself after a reboot."""
        done = self.run(["systemctl", "enable", "--", self.settings.service], timeout=60)
        if done.rc != 0:
            raise HostError(f"systemctl enable {self.settings.service} failed: {done.stderr.strip()}")
