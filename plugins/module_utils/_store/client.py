# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.
"""The receiving end's talk with the source: one ssh connection, four questions."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import typing as t

from .._files import write_atomic
from . import tree, wire
from .tree import CHUNK, Entry, StoreError

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

HOST_ALIAS = "evnode-share"
_LONGEST = 1 << 30


class Source(t.NamedTuple):
    """Where the share listens, and the only host key it may show (``type base64``)."""

    address: str
    port: int
    host_key: str


class Hello(t.NamedTuple):
    """What the source shares: root names with their directories' modes, roots that are files, what it never sends."""

    roots: dict[str, int]
    files: dict[str, str]
    exclude: list[str]


class Session:
    """Questions to a server over an open channel."""

    def __init__(self, channel: wire.Channel, trouble: Callable[[], str] = str) -> None:
        """``trouble`` says what the transport wrote last, for when the other end hangs up."""
        self.channel = channel
        self._trouble = trouble

    def hello(self) -> Hello:
        """Greet, and learn what is shared."""
        with self._hung_up("while the copy was being set up"):
            self.channel.await_greeting()
            self.channel.send({"op": "hello"})
            answer = self._next()
        if answer.get("version") != wire.VERSION or answer.get("chunk") != CHUNK:
            raise StoreError(
                f"Expected store protocol {wire.VERSION} with chunks of {CHUNK} bytes, found {answer.get('version')} "
                f"with {answer.get('chunk')}: the two hosts run different versions of the collection; share again"
            )
        return Hello(
            {str(name): int(mode) for name, mode in answer["roots"].items()},
            {str(name): str(file) for name, file in answer["files"].items()},
            list(answer["exclude"]),
        )

    def scan(self, root: str, exclude: Sequence[str], *, quiet: bool, once: str = "") -> list[Entry]:
        """Return the manifest of a root; see ``tree.scan`` for ``quiet`` and ``Server`` for ``once``."""
        found: list[Entry] = []
        with self._hung_up(f"while {root} was being read"):
            self.channel.send({"op": "scan", "root": root, "exclude": list(exclude), "quiet": quiet, "once": once})
            while True:
                answer = self._next()
                found.extend(tree.load(item) for item in answer.get("entries", []))
                if answer.get("end"):
                    return found

    def get(self, root: str, items: Sequence[tuple[str, int, list[int]]]) -> Iterator[tuple[int, int, bytes]]:
        """Yield place in ``items``, chunk number and content; (place, -1, why) for a file that is no more.

        An item is path, size and chunk numbers.
        """
        with self._hung_up(f"while {root} was being copied"):
            self.channel.send(
                {"op": "get", "root": root, "items": [[path, size, runs_of(numbers)] for path, size, numbers in items]}
            )
            while True:
                kind, payload = self.channel.receive()
                if kind == wire.DATA:
                    place = int.from_bytes(payload[:4], "big")
                    if place >= len(items):
                        raise StoreError("The source sent a chunk that nobody asked for")
                    yield place, int.from_bytes(payload[4:12], "big"), payload[12:]
                    continue
                answer = self._checked(wire.Channel.parse(kind, payload))
                if answer.get("end"):
                    return
                if "gone" in answer:
                    yield int(answer["gone"]), -1, str(answer.get("why")).encode()

    def confirm(self, root: str) -> list[str]:
        """Return paths that changed on the source since the scan; none is what a stopped store has."""
        with self._hung_up(f"while {root} was being confirmed"):
            self.channel.send({"op": "confirm", "root": root})
            while True:
                answer = self._next()
                if answer.get("end"):
                    return [str(path) for path in answer["changed"]]

    def _next(self) -> dict[str, t.Any]:
        return self._checked(self.channel.receive_json())

    @staticmethod
    def _checked(answer: dict[str, t.Any]) -> dict[str, t.Any]:
        if "error" in answer:
            raise StoreError(f"The source says: {answer['error']}")
        return answer

    @contextlib.contextmanager
    def _hung_up(self, when: str) -> Iterator[None]:
        try:
            yield
        except (EOFError, BrokenPipeError, ConnectionResetError) as exc:
            said = self._trouble()
            raise StoreError(
                f"The source ended the connection {when}{': ' + said if said else ''}; "
                "nothing that was copied so far is lost: share the store again and repeat"
            ) from exc


def runs_of(numbers: Iterable[int]) -> list[list[int]]:
    """Turn ascending numbers into runs of first and count."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][0] + runs[-1][1] == number:
            runs[-1][1] += 1
        else:
            runs.append([number, 1])
    return runs


class SshLink:
    """An ssh process to a share; its files are next to the one-time key and go with it."""

    def __init__(self, source: Source, key: str, *, silence: float = 30.0, connect_timeout: int = 10) -> None:
        """``key`` is the path of the private key; the host key is pinned, nothing of the user's ssh set-up is read."""
        if "\n" in source.host_key or len(source.host_key.split()) < 2:
            raise StoreError("Expected a host key as 'type base64' from the share, found something else")
        folder = os.path.dirname(key)
        try:
            # Beside the key, and removed with it: a process that is killed leaves nothing of its own behind.
            known_hosts = known_hosts_of(key)
            write_atomic(known_hosts, f"{HOST_ALIAS} {' '.join(source.host_key.split()[:2])}\n".encode(), mode=0o600)
            self._noise = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        except OSError as exc:
            raise StoreError(f"{folder} cannot be written: {exc.strerror}; create the one-time key first") from exc
        options = {
            "BatchMode": "yes",
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "PreferredAuthentications": "publickey",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": known_hosts,
            "GlobalKnownHostsFile": "/dev/null",
            "HostKeyAlias": HOST_ALIAS,
            "CheckHostIP": "no",
            "ControlMaster": "no",
            "ControlPath": "none",
            "Compression": "no",
            "ForwardAgent": "no",
            "ForwardX11": "no",
            "ClearAllForwardings": "yes",
            "ConnectTimeout": str(connect_timeout),
            "ServerAliveInterval": "5",
            "ServerAliveCountMax": "3",
            "LogLevel": "ERROR",
        }
        argv = ["ssh", "-F", "/dev/null", "-T", "-i", key, "-p", str(source.port), "-l", "root"]
        for name, value in options.items():
            argv += ["-o", f"{name}={value}"]
        try:
            self._process = subprocess.Popen(
                [*argv, "--", source.address, "store"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._noise,
                env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "HOME": "/"},
                start_new_session=True,
            )
        except OSError as exc:
            self._noise.close()
            raise StoreError(f"ssh cannot be run: {exc.strerror}; install the OpenSSH client on this host") from exc
        self.channel = wire.Channel(
            _fd(self._process.stdout), _fd(self._process.stdin), silence=silence, longest=_LONGEST
        )

    def trouble(self) -> str:
        """Return the last line that ssh wrote about what went wrong."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=2)
        self._noise.seek(0)
        lines = self._noise.read().decode(errors="replace").splitlines()
        return "; ".join(line.strip() for line in lines[-3:] if line.strip())

    def close(self) -> None:
        """Hang up."""
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if pipe:
                    pipe.close()
        try:
            self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._noise.close()


def known_hosts_of(key: str) -> str:
    """Return the file that pins the share's host key for a one-time key."""
    return f"{key}.known_hosts"


def _fd(pipe: t.IO[bytes] | None) -> int:
    if pipe is None:
        raise StoreError("ssh was started without a pipe")
    return pipe.fileno()
