# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the members hold: headers read from their nodes, running or not, and the chain recorded while it is made."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lab import chain, fleet, machine
from lab.errors import LabError
from lab.rpc import Block, Node, RpcError
from lab.settings import Host, Settings
from lab.shell import wait_for

PROBE = "evnode-bench-probe"


@dataclass
class Store:
    """The blocks of one store by height: digest of the header, hash of its parent, time in nanoseconds since 1970."""

    digests: dict[int, str] = field(default_factory=dict)
    parents: dict[int, str] = field(default_factory=dict)
    times: dict[int, int] = field(default_factory=dict)
    hashes: dict[int, str] = field(default_factory=dict)
    """Hashes as the node itself showed them, of those blocks that were its head when it was asked."""

    def add(self, height: int, block: Block) -> None:
        """Take a block in."""
        self.digests[height] = digest(block)
        self.times[height] = block.time_ns
        self.parents[height] = block.last_header_hash

    @property
    def head(self) -> int:
        """The highest height, 0 of an empty store."""
        return max(self.digests, default=0)


def digest(block: Block) -> str:
    """A digest of the header, equal for equal headers whoever answered."""
    return hashlib.sha256(json.dumps(block.header, sort_keys=True).encode()).hexdigest()[:16]


def shown_head(node: Node) -> tuple[int, str]:
    """Height and hash of the last block that a node shows its peers; (0, "") before the first."""
    for store in node.call("/evnode.v1.StoreService/GetP2PStoreInfo", {}).get("stores", []):
        if store.get("label") == "Header Store":
            head = store.get("head", {})
            return int(head.get("height", 0)), str(head.get("hash", ""))
    raise RpcError("GetP2PStoreInfo names no Header Store")


def read(node: Node) -> Store:
    """All blocks of a node that answers, from height 1. RpcError when one of them is missing."""
    store = Store()
    for height in range(1, node.height() + 1):
        store.add(height, node.block(height))
    height, shown = shown_head(node)
    if shown:
        store.hashes[height] = shown
    return store


def read_member(lab: Settings, host: Host) -> Store:
    """The store of a member, asked while it runs, or opened as a plain full node that talks to nobody."""
    node = chain.node(lab, host)
    try:
        return read(node)
    except RpcError:
        return read_stopped(lab, host)
    finally:
        node.close()


def read_members(lab: Settings) -> dict[str, Store]:
    """The stores of all hosts, by name."""
    names = [host.name for host in lab.hosts]
    return dict(zip(names, fleet.each(lab.hosts, lambda host: read_member(lab, host)), strict=True))


def read_stopped(lab: Settings, host: Host) -> Store:
    """The store of a member whose node does not answer; its unit is stopped. LabError when it cannot be opened."""
    with probing(lab, host) as node:
        return read(node)


@contextlib.contextmanager
def probing(lab: Settings, host: Host) -> Iterator[Node]:
    """A full node on the host's own store, without peers and without DA: it answers and changes nothing."""
    layout = lab.layout
    if not (machine.root(host) / layout.home.lstrip("/") / "config" / "genesis.json").exists():
        raise LabError(f"{host.name} has no chain in {layout.home}")
    machine.execute(host, ["systemctl", "stop", f"{layout.unit}.service"], check=False, timeout=100)
    port = layout.ports["rpc"] + 2000
    flags = [
        "--evnode.node.aggregator=false",
        "--evnode.raft.enable=false",
        "--evnode.p2p.peers=",
        "--evnode.da.address=",
    ]
    flags += [f"--evnode.p2p.listen_address=/ip4/127.0.0.1/tcp/{layout.ports['p2p'] + 2000}"]
    flags += [f"--evnode.rpc.address=127.0.0.1:{port}"]
    transient(host, lab, PROBE, [layout.binary, "start", "--home", layout.home, *flags])
    node = Node(host, port)

    def missing() -> str | None:
        try:
            node.height()
        except RpcError as error:
            said = machine.execute(host, ["journalctl", "--unit", PROBE, "--lines=2", "--output=cat"], check=False)
            return f"{error}; it said: {' / '.join(said.stdout.splitlines())}"
        return None

    try:
        wait_for(f"the stopped store of {host.name}", missing, timeout=30)
        yield node
    finally:
        node.close()
        machine.execute(host, ["systemctl", "stop", f"{PROBE}.service"], check=False, timeout=100)
        machine.execute(host, ["systemctl", "reset-failed", f"{PROBE}.service"], check=False)


def transient(host: Host, lab: Settings, unit: str, argv: list[str], *properties: str) -> None:
    """Start a process on the host as the chain's user, that nobody starts again when it ends."""
    layout = lab.layout
    own = [f"User={layout.user}", f"Group={layout.group}", f"WorkingDirectory={layout.user_home}", "Restart=no"]
    shown = [f"--property={item}" for item in (*own, *properties)]
    machine.execute(host, ["systemd-run", "--quiet", f"--unit={unit}.service", *shown, "--", *argv])


class Recorder:
    """Keeps what a node says about each block soon after it was made, on a thread of its own.

    What it has recorded of the single sequencer is the witness against which the stores of the members are held.
    """

    def __init__(self, lab: Settings, host: Host, interval: float = 0.25) -> None:
        self.store = Store()
        self._node = chain.node(lab, host)
        self._interval = interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def __enter__(self) -> Recorder:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stop.set()
        self._thread.join(timeout=30)

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            # A node that is being replaced does not answer, and a host that is off has no network.
            with contextlib.suppress(RpcError, OSError):
                for height in range(self.store.head + 1, self._node.height() + 1):
                    self.store.add(height, self._node.block(height))
                height, shown = shown_head(self._node)
                if shown:
                    self.store.hashes.setdefault(height, shown)
        self._node.close()


def wait_together(lab: Settings, above: int, timeout: float) -> dict[str, int]:
    """Wait until all members answer with a height beyond `above`; the last heights seen, whether they do or not."""
    nodes = {host.name: chain.node(lab, host) for host in lab.hosts}
    seen: dict[str, int] = {}

    def missing() -> str | None:
        for name, node in nodes.items():
            try:
                seen[name] = node.height()
            except RpcError:
                seen.pop(name, None)
        behind = [name for name in nodes if seen.get(name, 0) <= above]
        return f"{', '.join(behind)} not beyond {above}" if behind else None

    try:
        with contextlib.suppress(LabError):
            wait_for("all members", missing, timeout=timeout, interval=0.2)
    finally:
        for node in nodes.values():
            node.close()
    return seen


def healthy_members(lab: Settings, n: int, timeout: float = 15.0) -> dict[str, str]:
    """What is wrong with each member, empty for a healthy one.

    Healthy is: it answers as a Raft member, it goes beyond block `n`, it holds the same block as all others at the
    highest height that all who answer have, and it still grows.
    """
    before = wait_together(lab, n, timeout)
    after = wait_together(lab, max(before.values(), default=n), timeout) if before else {}
    common = min(after.values(), default=0)
    trouble: dict[str, str] = {}
    held: dict[str, str] = {}
    for host in lab.hosts:
        node = chain.node(lab, host)
        try:
            if host.name not in after:
                trouble[host.name] = "does not answer"
            elif node.is_leader() is None:
                trouble[host.name] = "is no Raft member"
            elif after[host.name] <= n:
                trouble[host.name] = f"is at {after[host.name]}, not beyond {n}"
            elif after[host.name] <= before.get(host.name, 0):
                trouble[host.name] = f"stays at {after[host.name]}"
            else:
                held[host.name] = digest(node.block(common))
        except RpcError as error:
            trouble[host.name] = str(error)
        finally:
            node.close()
    most = max(set(held.values()), key=list(held.values()).count, default="")
    trouble.update({name: f"holds another block {common}" for name, value in held.items() if value != most})
    return {host.name: trouble.get(host.name, "") for host in lab.hosts}


def log_marks(lab: Settings, host: Host, since: float, unit: str | None = None) -> dict[str, float]:
    """When the node that was started at `since` logged what divides a pause; all moments in seconds since 1970.

    Empty where its log does not have these lines, for example because it logs less.
    """
    name = unit or lab.layout.unit
    argv = ["journalctl", "--unit", f"{name}.service", "--output=json", f"--since=@{int(since)}", "--no-pager", "--all"]
    done = machine.execute(host, argv, check=False)
    return marks_of(done.stdout, since)


MARKS = {
    "raft": "initialized raft node",
    "leader": "entering leader state",
    "leading": "starting leader operations",
    "ready": "initialized state",
}


def marks_of(journal: str, since: float) -> dict[str, float]:
    """The moments of `log_marks` out of the journal's JSON lines."""
    found: dict[str, float] = {}
    for line in journal.splitlines():
        try:
            entry = json.loads(line)
            at = int(entry["__REALTIME_TIMESTAMP"]) / 1e6
            message = entry["MESSAGE"]
        except (ValueError, KeyError, TypeError):
            continue
        text = bytes(message).decode(errors="replace") if isinstance(message, list) else str(message)
        if at < since:
            continue
        for mark, words in MARKS.items():
            if words in text and _in_order(mark, found):
                found[mark] = at
    return found


def _in_order(mark: str, found: dict[str, float]) -> bool:
    names = list(MARKS)
    before = names[: names.index(mark)]
    return mark not in found and all(name in found for name in before)


def receipts(lab: Settings) -> dict[str, dict[str, object]]:
    """The window's receipts of all hosts that have one."""
    found: dict[str, dict[str, object]] = {}
    for host in lab.hosts:
        with contextlib.suppress(OSError, ValueError, LabError):
            path = machine.root(host) / "var/lib/evnode-ha" / lab.layout.unit / "window-receipt.json"
            data = json.loads(Path(path).read_text(encoding="utf-8"))
            if isinstance(data, dict):
                found[host.name] = data
    return found


def until(what: str, probe: Callable[[], bool], timeout: float, interval: float = 0.1) -> None:
    """Wait for a yes. LabError at the limit."""
    wait_for(what, lambda: None if probe() else "no", timeout=timeout, interval=interval)


def now() -> float:
    """Seconds since 1970."""
    return time.time()
