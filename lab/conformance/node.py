# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Driver for ev-node-like binaries on loopback: homes, processes, RPC, logs, and waits with limits.

Nothing in here knows an application's name: the binary is a path, and the directories that it leaves are listed.
Every process belongs to a :class:`Bench`; closing the bench ends all of them, and they die with the Python process.
"""

from __future__ import annotations

import base64
import copy
import ctypes
import hashlib
import http.client
import json
import os
import random
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import yaml

T = TypeVar("T")
Json = dict[str, Any]

PASSPHRASE = "conformance-passphrase"
CHAIN_ID = "conformance-1"
DEFAULT_DA_ADDRESS = "http://127.0.0.1:7980"
UNPRIVILEGED_ID = 65534
_PR_SET_PDEATHSIG = 1
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


class ConformanceError(AssertionError):
    """A condition was not met within its limit; the message holds the last state and the end of the logs."""


class RpcError(Exception):
    """The node gave no usable answer.

    ``kind`` is one of ``refused``, ``timeout``, ``empty``, ``http``, ``bad_answer``; ``status`` is the HTTP status
    or 0; ``body`` is the decoded JSON error where the node sent one.
    """

    def __init__(self, kind: str, message: str, status: int = 0, body: Json | None = None) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind
        self.status = status
        self.body = body or {}


@dataclass(frozen=True)
class Completed:
    """A command that has ended."""

    argv: list[str]
    rc: int
    stdout: str
    stderr: str

    @property
    def error(self) -> str:
        """The text after ``Error: ``; the usage text that follows it says nothing about the failure."""
        for line in self.stderr.splitlines():
            if line.startswith("Error: "):
                return line[len("Error: ") :]
        return ""

    def describe(self) -> str:
        return f"{shlex.join(self.argv)} -> {self.rc}\nstdout: {self.stdout[-800:]}\nstderr: {self.stderr[:1200]}"


def _die_with_parent() -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def wait_for(
    what: str,
    probe: Callable[[], T | None],
    timeout: float,
    *,
    interval: float = 0.03,
    describe: Callable[[], str] = lambda: "",
    give_up: Callable[[], str | None] = lambda: None,
) -> T:
    """Calls ``probe`` until it returns something true and returns that.

    ``give_up`` may say why waiting on is pointless. Raises :class:`ConformanceError` naming the last value, the time
    and ``describe()``.
    """
    started = time.monotonic()
    last: object = None
    while True:
        reason = give_up()
        value = probe()
        if value:
            return value
        last = value
        elapsed = time.monotonic() - started
        if reason is not None or elapsed >= timeout:
            why = reason or f"limit of {timeout:g} s reached"
            raise ConformanceError(f"expected: {what}; {why} after {elapsed:.1f} s; last value: {last!r}\n{describe()}")
        time.sleep(interval)


_handed_out: set[int] = set()


def free_port() -> int:
    """A TCP port on loopback that nothing uses, below the range from which the kernel takes source ports."""
    for _ in range(500):
        port = random.randrange(20000, 32000)
        if port in _handed_out:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _handed_out.add(port)
        return port
    raise ConformanceError("expected a free port between 20000 and 32000 on loopback, found none in 500 tries")


def port_open(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((host, port)) == 0


def peer_id_of(node_key: Path) -> str:
    """The libp2p peer ID of a ``node_key.json``: base58 of the identity multihash of the Ed25519 public key."""
    public = base64.b64decode(json.loads(node_key.read_text())["pub_key"])
    if len(public) != 32:
        raise ConformanceError(f"expected 32 bytes of public key in {node_key}, found {len(public)}")
    raw = b"\x00\x24\x08\x01\x12\x20" + public
    number = int.from_bytes(raw, "big")
    text = ""
    while number:
        number, digit = divmod(number, 58)
        text = _BASE58[digit] + text
    return "1" * (len(raw) - len(raw.lstrip(b"\0"))) + text


def signer_address_of(signer_file: Path) -> str:
    """Base64 of sha256 of the signer's raw public key, as genesis spells a proposer."""
    public = base64.b64decode(json.loads(signer_file.read_text())["pub_key"])
    return base64.b64encode(hashlib.sha256(public).digest()).decode()


def copy_sparse(source: Path, target: Path) -> None:
    """Copies a directory tree and keeps holes as holes; lock files are left out, they belong to a process."""
    for directory, _, files in os.walk(source):
        here = target / Path(directory).relative_to(source)
        here.mkdir(parents=True, exist_ok=True)
        for name in files:
            if name == "LOCK":
                continue
            _copy_file_sparse(Path(directory) / name, here / name)


def _copy_file_sparse(source: Path, target: Path) -> None:
    with source.open("rb") as reader, target.open("wb") as writer:
        size = os.fstat(reader.fileno()).st_size
        offset = 0
        while offset < size:
            try:
                start = os.lseek(reader.fileno(), offset, os.SEEK_DATA)
            except OSError:
                break
            end = os.lseek(reader.fileno(), start, os.SEEK_HOLE)
            reader.seek(start)
            writer.seek(start)
            left = end - start
            while left:
                chunk = reader.read(min(left, 1 << 20))
                if not chunk:
                    break
                writer.write(chunk)
                left -= len(chunk)
            offset = end
        writer.truncate(size)
    shutil.copymode(source, target)


class Binary:
    """The binary under test, copied to where an unprivileged user may run it."""

    def __init__(self, source: Path, directory: Path) -> None:
        if not source.is_file():
            raise ConformanceError(
                f"expected an ev-node-like binary at {source} (EVNODE_BINARY), found none: build it or name another"
            )
        self.source = source
        self.path = directory / source.name
        if not self.path.exists():
            shutil.copy(source, self.path)
        self.path.chmod(0o755)
        self._start_help: str | None = None

    def run(
        self,
        *args: str,
        timeout: float = 30.0,
        cwd: Path | None = None,
        user: int | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Completed:
        """Runs the binary to its end."""
        argv = [str(self.path), *args]
        try:
            done = subprocess.run(
                argv,
                capture_output=True,
                timeout=timeout,
                cwd=cwd,
                user=user,
                group=user,
                extra_groups=None if user is None else [],
                env=None if env is None else {**os.environ, **env},
                stdin=subprocess.DEVNULL,
                umask=0o022,
                check=False,
            )
        except subprocess.TimeoutExpired as expired:
            tail = (expired.stderr or b"").decode(errors="replace")[-2000:]
            raise ConformanceError(
                f"expected {shlex.join(argv)} to end within {timeout:g} s, it did not; stderr:\n{tail}"
            ) from expired
        return Completed(
            argv, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        )

    def has_start_flag(self, name: str) -> bool:
        """Whether ``start`` knows an application's own flag."""
        if self._start_help is None:
            shown = self.run("start", "--help")
            self._start_help = shown.stdout + shown.stderr
        return f"--{name} " in self._start_help


@dataclass
class Ports:
    """Ports of one node on loopback."""

    rpc: int = field(default_factory=free_port)
    p2p: int = field(default_factory=free_port)
    raft: int = field(default_factory=free_port)


class Node:
    """One home directory and the process that may run on it."""

    def __init__(self, bench: Bench, home: Path, name: str) -> None:
        self.bench = bench
        self.home = home
        self.name = name
        self.ports = Ports()
        self.config: Json = {}
        self.process: subprocess.Popen[bytes] | None = None
        self.logs: list[Path] = []
        self.started_at = 0.0

    # -- files -------------------------------------------------------------------------------------------------------

    @property
    def config_dir(self) -> Path:
        return self.home / "config"

    @property
    def yaml_path(self) -> Path:
        return self.config_dir / "evnode.yaml"

    @property
    def data_dir(self) -> Path:
        return self.home / "data"

    @property
    def raft_dir(self) -> Path:
        return self.home / "raft"

    @property
    def signer_file(self) -> Path:
        return self.config_dir / "signer.json"

    @property
    def peer_id(self) -> str:
        return peer_id_of(self.config_dir / "node_key.json")

    @property
    def multiaddr(self) -> str:
        return f"/ip4/127.0.0.1/tcp/{self.ports.p2p}/p2p/{self.peer_id}"

    @property
    def raft_addr(self) -> str:
        return f"127.0.0.1:{self.ports.raft}"

    @property
    def rpc_addr(self) -> str:
        return f"127.0.0.1:{self.ports.rpc}"

    def genesis(self) -> Json:
        loaded: Json = json.loads((self.config_dir / "genesis.json").read_text())
        return loaded

    def write_config(self, **sections: Mapping[str, Any] | None) -> None:
        """Merges sections into this node's evnode.yaml and writes it; a section of ``None`` is removed."""
        for section, values in sections.items():
            if values is None:
                self.config.pop(section, None)
            else:
                self.config.setdefault(section, {}).update(values)
        self.yaml_path.parent.mkdir(parents=True, exist_ok=True)
        self.yaml_path.write_text(yaml.safe_dump(self.config, sort_keys=False))

    def as_full_node(self, *peers: Node, **node: Any) -> None:
        """No aggregator, no Raft, following ``peers``."""
        self.write_config(
            raft=None,
            node={"aggregator": False, **node},
            p2p={"peers": ",".join(peer.multiaddr for peer in peers)},
        )

    def as_single(self, **node: Any) -> None:
        """The only sequencer: aggregator, no Raft, no peers."""
        self.write_config(raft=None, node={"aggregator": True, **node}, p2p={"peers": ""})

    def as_member(
        self, members: Sequence[Node], raft: Mapping[str, Any] | None = None, *, p2p_peers: Sequence[Node] | None = None
    ) -> None:
        """A Raft member among ``members``; ``raft`` adds or replaces keys of the section."""
        others = [member for member in members if member is not self]
        section: Json = {
            "enable": True,
            "node_id": self.name,
            "raft_addr": self.raft_addr,
            "raft_dir": str(self.raft_dir),
            "peers": ",".join(f"{member.name}@{member.raft_addr}" for member in others),
        }
        section.update(raft or {})
        self.config.pop("raft", None)
        dialled = others if p2p_peers is None else p2p_peers
        self.write_config(
            node={"aggregator": True},
            raft=section,
            p2p={"peers": ",".join(peer.multiaddr for peer in dialled)},
        )

    def adopt(self, other: Node, *, data: bool = False) -> None:
        """Takes the genesis and the signer of another node, and its data if asked for; never its node key."""
        for name in ("genesis.json", "signer.json"):
            source = other.config_dir / name
            if source.exists():
                shutil.copy(source, self.config_dir / name)
        if data:
            shutil.rmtree(self.data_dir, ignore_errors=True)
            copy_sparse(other.data_dir, self.data_dir)

    # -- process -----------------------------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def exit_code(self) -> int | None:
        return None if self.process is None else self.process.poll()

    def start_args(self, *flags: str, passphrase: bool | None = None) -> list[str]:
        """Arguments of ``start``; the passphrase file is named where the node needs a signer."""
        needs = self.config.get("node", {}).get("aggregator", False) if passphrase is None else passphrase
        args = ["start", "--home", str(self.home)]
        if needs:
            args += ["--evnode.signer.passphrase_file", str(self.bench.passphrase_file)]
        return [*args, *self.bench.start_args, *flags]

    def start(
        self, *flags: str, passphrase: bool | None = None, cwd: Path | None = None, user: int | None = None
    ) -> Node:
        """Starts the process and returns at once."""
        if self.alive:
            raise ConformanceError(f"{self.name} is running already")
        log = self.bench.directory / f"{self.home.name}.{len(self.logs)}.log"
        self.logs.append(log)
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [str(self.bench.binary.path), *self.start_args(*flags, passphrase=passphrase)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=cwd or self.bench.directory,
                user=user,
                group=user,
                extra_groups=None if user is None else [],
                env={**os.environ, "HOME": str(self.home)},
                preexec_fn=_die_with_parent,
            )
        self.started_at = time.monotonic()
        return self

    def signal(self, number: int) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def wait_exit(self, timeout: float = 20.0) -> int:
        """Waits for the process to end; its exit code."""
        if self.process is None:
            raise ConformanceError(f"{self.name} was never started")
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired as expired:
            raise ConformanceError(
                f"expected {self.name} to end within {timeout:g} s, it runs on\n{self.describe()}"
            ) from expired

    def stop(self, timeout: float = 20.0) -> int:
        """SIGTERM, then the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait_exit(timeout)

    def kill(self) -> None:
        """SIGKILL; the process is gone when this returns."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)

    # -- log ---------------------------------------------------------------------------------------------------------

    def log(self) -> str:
        """Everything that the latest process has written."""
        return self.logs[-1].read_text(errors="replace") if self.logs else ""

    def log_has(self, text: str) -> bool:
        return text in self.log()

    def describe(self, lines: int = 25) -> str:
        state = "running" if self.alive else f"ended with {self.exit_code}"
        # What follows `Error:` is the usage text; it would hide the log.
        seen = self.log().split("\nUsage:\n")[0].splitlines()
        tail = "\n    ".join(line[:400] for line in seen[-lines:])
        return f"{self.name} ({self.home}): {state}; end of its log:\n    {tail}"

    def wait(self, what: str, probe: Callable[[], T | None], timeout: float = 20.0, *, running: bool = True) -> T:
        """:func:`wait_for` with this node's log in the failure; the end of a ``running`` process ends it."""

        def ended() -> str | None:
            return f"{self.name} has ended with {self.exit_code}" if running and not self.alive else None

        return wait_for(f"{self.name}: {what}", probe, timeout, describe=self.describe, give_up=ended)

    def wait_log(self, text: str, timeout: float = 20.0, *, running: bool = True) -> float:
        """Waits for a text in the log; seconds from the start of the process until it was seen."""
        self.wait(f"log has {text!r}", lambda: self.log_has(text), timeout, running=running)
        return time.monotonic() - self.started_at

    # -- RPC ---------------------------------------------------------------------------------------------------------

    def request(self, method: str, path: str, body: Json | None = None, timeout: float = 3.0) -> tuple[int, bytes]:
        """One HTTP request to the node's RPC address: status and body. Raises :class:`RpcError`."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports.rpc, timeout=timeout)
        try:
            payload = None if body is None else json.dumps(body)
            connection.request(
                method, path, payload, {"Content-Type": "application/json"} if payload is not None else {}
            )
            answer = connection.getresponse()
            return answer.status, answer.read()
        except ConnectionRefusedError as refused:
            raise RpcError("refused", str(refused)) from refused
        except TimeoutError as late:
            raise RpcError("timeout", f"no answer within {timeout:g} s") from late
        except (
            http.client.RemoteDisconnected,
            http.client.BadStatusLine,
            ConnectionResetError,
            BrokenPipeError,
        ) as gone:
            raise RpcError("empty", str(gone)) from gone
        finally:
            connection.close()

    def call(self, method: str, body: Json | None = None) -> Json:
        """One unary call, for example ``StoreService/GetState``."""
        status, raw = self.request("POST", f"/evnode.v1.{method}", body or {})
        try:
            answer: Json = json.loads(raw)
        except ValueError as error:
            raise RpcError("bad_answer", f"{method}: {raw[:200]!r}", status) from error
        if status != 200:
            raise RpcError("http", f"{method}: {status} {answer}", status, answer)
        return answer

    def state(self) -> Json:
        state: Json = self.call("StoreService/GetState")["state"]
        return state

    def height(self) -> int:
        """Height by GetState; 0 while the field is absent."""
        return int(self.state().get("lastBlockHeight", "0"))

    def height_or_none(self) -> int | None:
        """Height, or nothing while the node does not answer or has no state yet."""
        try:
            return self.height()
        except RpcError:
            return None

    def block(self, height: int) -> Json:
        return self.call("StoreService/GetBlock", {"height": str(height)})

    def header(self, height: int) -> Json:
        """The header of a block with its signature: equal objects are equal blocks."""
        header: Json = self.block(height)["block"]["header"]
        return header

    def parent_hash(self, height: int) -> str:
        """The hash that block ``height`` names as its parent's, base64."""
        found: str = self.header(height)["header"]["lastHeaderHash"]
        return found

    def header_store_head(self) -> tuple[int, str]:
        """Height and hash (base64) of the head of the header store; (0, "") while it is empty."""
        for store in self.call("StoreService/GetP2PStoreInfo").get("stores", []):
            if store["label"] == "Header Store":
                head = store.get("head", {})
                return int(head.get("height", "0")), head.get("hash", "")
        raise RpcError("bad_answer", "GetP2PStoreInfo names no Header Store")

    def namespaces(self) -> Json:
        return self.call("ConfigService/GetNamespace")

    def net_info(self) -> Json:
        info: Json = self.call("P2PService/GetNetInfo")["netInfo"]
        return info

    def raft_node(self) -> Json:
        status, raw = self.request("GET", "/raft/node")
        if status != 200:
            raise RpcError("http", f"/raft/node: {status}", status)
        answer: Json = json.loads(raw)
        return answer

    def wait_rpc(self, timeout: float = 20.0) -> None:
        """Waits until GetState is answered, with a state or with ``not_found``."""

        def answers() -> bool:
            try:
                self.state()
            except RpcError as error:
                return error.kind == "http" and error.status == 404
            return True

        self.wait("RPC answers", answers, timeout)

    def wait_height(self, height: int, timeout: float = 30.0) -> int:
        """Waits until the node has at least ``height``; the height seen."""
        return self.wait(
            f"height >= {height}", lambda: found if (found := self.height_or_none() or 0) >= height else None, timeout
        )


class Bench:
    """A directory, the binary, and every node started in it. A context manager: leaving it ends all processes."""

    def __init__(self, binary: Binary, directory: Path, da_address: str, start_args: Sequence[str] = ()) -> None:
        self.binary = binary
        self.directory = directory
        self.da_address = da_address
        self.start_args = list(start_args)
        # All chains of a session share one DA node: each has a namespace of its own there.
        self.namespace = f"conformance-{random.getrandbits(48):012x}"
        self.nodes: list[Node] = []
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o755)
        self.passphrase_file = directory / "passphrase"
        self.passphrase_file.write_text(PASSPHRASE + "\n")

    def __enter__(self) -> Bench:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends every process and removes the homes; logs stay until their directory goes."""
        for node in self.nodes:
            node.kill()
        for node in self.nodes:
            shutil.rmtree(node.home, ignore_errors=True)

    def add(self, name: str) -> Node:
        """A node without anything in its home."""
        home = self.directory / f"{name}-{len(self.nodes)}"
        node = Node(self, home, name)
        self.nodes.append(node)
        return node

    def init(self, node: Node, *flags: str, aggregator: bool = False, chain_id: str = CHAIN_ID) -> Completed:
        """Runs ``init`` on the node's home."""
        args = ["init", "--home", str(node.home), "--chain_id", chain_id]
        if aggregator:
            args += ["--evnode.node.aggregator", "--evnode.signer.passphrase_file", str(self.passphrase_file)]
        return self.binary.run(*args, *flags)

    def base_config(self, node: Node, block_time: str) -> Json:
        """The configuration that every node of a test chain shares, with the node's own ports."""
        return {
            "node": {"block_time": block_time, "aggregator": False},
            "da": {"address": self.da_address, "namespace": self.namespace, "block_time": "1s"},
            "p2p": {"listen_address": f"/ip4/127.0.0.1/tcp/{node.ports.p2p}", "peers": ""},
            "rpc": {"address": node.rpc_addr},
            "signer": {"signer_type": "file", "signer_path": str(node.config_dir)},
            "log": {"format": "json"},
        }

    def sequencer(self, name: str = "node-1", block_time: str = "100ms") -> Node:
        """A new chain's single sequencer, not started."""
        node = self.add(name)
        done = self.init(node, aggregator=True)
        if done.rc != 0:
            raise ConformanceError(f"expected init to succeed: {done.describe()}")
        node.config = self.base_config(node, block_time)
        node.as_single()
        return node

    def joiner(self, name: str, of: Node, *, data: bool = False) -> Node:
        """A machine prepared for the chain of ``of``: own node key, same genesis and signer, its data if asked for."""
        node = self.add(name)
        done = self.init(node)
        if done.rc != 0:
            raise ConformanceError(f"expected init to succeed: {done.describe()}")
        node.config = copy.deepcopy(of.config)
        node.config.update(
            {
                section: values
                for section, values in self.base_config(node, of.config["node"]["block_time"]).items()
                if section in ("p2p", "rpc", "signer")
            }
        )
        node.adopt(of, data=data)
        node.as_full_node(of)
        return node

    def describe(self, lines: int = 8) -> str:
        return "\n".join(node.describe(lines) for node in self.nodes if node.logs)

    def wait(self, what: str, probe: Callable[[], T | None], timeout: float) -> T:
        """:func:`wait_for` with the logs of all nodes in the failure."""
        return wait_for(what, probe, timeout, describe=self.describe)


class DaNode:
    """A DA node beside the chain, started from a command line in which ``{port}`` is replaced by a free port."""

    def __init__(self, command: str, directory: Path) -> None:
        port = free_port()
        self.address = f"http://127.0.0.1:{port}" if "{port}" in command else DEFAULT_DA_ADDRESS
        host_port = self.address.removeprefix("http://").rsplit(":", 1)
        self.port = int(host_port[1])
        self.log = directory / "da.log"
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                shlex.split(command.replace("{port}", str(port))),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                preexec_fn=_die_with_parent,
            )
        wait_for(
            f"the DA node to listen on {self.address}",
            lambda: port_open(self.port),
            20.0,
            describe=lambda: self.log.read_text(errors="replace")[-2000:],
            give_up=lambda: None if self.process.poll() is None else f"it has ended with {self.process.poll()}",
        )

    def close(self) -> None:
        self.process.kill()
        self.process.wait(10)


@dataclass
class Settings:
    """What the environment chooses: ``EVNODE_BINARY``, ``DA_COMMAND``, ``EVNODE_START_ARGS``."""

    binary: Path
    da_command: str | None
    start_args: list[str]

    @classmethod
    def from_environment(cls) -> Settings:
        default = Path(__file__).resolve().parents[2] / "build" / "standin" / "evnode-standin"
        return cls(
            binary=Path(os.environ.get("EVNODE_BINARY") or default).resolve(),
            da_command=os.environ.get("DA_COMMAND") or None,
            start_args=shlex.split(os.environ.get("EVNODE_START_ARGS", "")),
        )


class World:
    """Everything that outlives a single test: the directory, the binary under test, the DA node."""

    def __init__(self, settings: Settings) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="evnode-conformance-"))
        self.directory.chmod(0o755)
        self._benches = 0
        self._da: DaNode | None = None
        try:
            self.binary = Binary(settings.binary, self.directory)
            if settings.da_command:
                self._da = DaNode(settings.da_command, self.directory)
        except BaseException:
            self.close()
            raise
        self.da_address = self._da.address if self._da else f"http://127.0.0.1:{free_port()}"
        self.start_args = settings.start_args

    def bench(self) -> Bench:
        self._benches += 1
        return Bench(self.binary, self.directory / f"bench-{self._benches}", self.da_address, self.start_args)

    def close(self) -> None:
        if self._da is not None:
            self._da.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> World:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def heights(nodes: Sequence[Node]) -> Iterator[tuple[str, int | None]]:
    """Name and height of each node, ``None`` for those that do not answer."""
    for node in nodes:
        yield node.name, node.height_or_none()
