# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the unit tests share: a clock that needs no waiting, scripted commands, a node that repeats recorded answers."""

from __future__ import annotations

import contextlib
import json
import threading
import typing as t
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.module_utils._process import Result

ANSWERS = Path(__file__).parent / "answers"


class FakeClock:
    """Time that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def fake_clock() -> FakeClock:
    return FakeClock()


class Commands:
    """Answers commands by the longest prefix that was scripted, and remembers what was asked."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self._answers: list[tuple[list[str], Callable[[list[str]], Result]]] = []

    def answer(self, prefix: Sequence[str], stdout: str = "", *, rc: int = 0, stderr: str = "") -> None:
        """Answer commands that begin so; the newest of two equally long ones counts."""
        self.answer_with(prefix, lambda _argv: Result(rc, stdout, stderr))

    def answer_with(self, prefix: Sequence[str], reply: Callable[[list[str]], Result]) -> None:
        """Answer commands that begin so by calling ``reply``."""
        self._answers.append((list(prefix), reply))

    def __call__(self, argv: Sequence[str], *, timeout: float = 60, stdin: str | None = None) -> Result:
        self.asked.append(list(argv))
        fitting = [
            (len(prefix), index, reply)
            for index, (prefix, reply) in enumerate(self._answers)
            if list(argv)[: len(prefix)] == prefix
        ]
        if not fitting:
            pytest.fail(f"nobody said what {argv} answers")
        return max(fitting, key=lambda entry: entry[:2])[2](list(argv))

    def starting_with(self, *prefix: str) -> list[list[str]]:
        """Return what was asked with this beginning."""
        return [argv for argv in self.asked if argv[: len(prefix)] == list(prefix)]


@pytest.fixture
def commands() -> Commands:
    return Commands()


class RecordedNode:
    """A node on loopback that repeats what a real one answered; ``answers`` can be changed while it runs."""

    def __init__(self, name: str) -> None:
        self.answers: dict[tuple[str, str, str], dict[str, t.Any]] = {}
        self.asked: list[tuple[str, str]] = []
        for entry in json.loads((ANSWERS / f"{name}.json").read_text()):
            self.put(entry["method"], entry["path"], entry["request"], entry)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def _reply(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                request = json.loads(self.rfile.read(length)) if length else None
                outer.asked.append((self.command, self.path))
                answer = outer.find(self.command, self.path, request)
                if "status" not in answer:
                    # What a panic in the node's handler looks like: the connection ends without a word.
                    self.close_connection = True
                    return
                body = answer["body"].encode()
                self.send_response(answer["status"])
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = _reply

            def log_message(self, format: str, *args: object) -> None:
                """Keep the test's output clean."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=lambda: self._server.serve_forever(poll_interval=0.01), daemon=True)
        self._thread.start()

    def put(self, method: str, path: str, request: object, answer: dict[str, t.Any]) -> None:
        """Answer a request so from now on."""
        self.answers[method, path, json.dumps(request, sort_keys=True)] = answer

    def find(self, method: str, path: str, request: object) -> dict[str, t.Any]:
        """Return the answer to a request; an unknown block is what the real node says of one."""
        known = self.answers.get((method, path, json.dumps(request, sort_keys=True)))
        if known is None and path.endswith("/GetBlock"):
            message = "failed to retrieve block data: load block header: datastore: key not found"
            return {"status": 500, "body": json.dumps({"code": "internal", "message": message})}
        return known or {"status": 404, "body": "404 page not found\n"}

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


@pytest.fixture
def recorded_node() -> Iterator[Callable[[str], RecordedNode]]:
    """Start nodes that repeat the answers of ``single``, ``follower`` or ``raft``."""
    with contextlib.ExitStack() as stack:

        def start(name: str) -> RecordedNode:
            node = RecordedNode(name)
            stack.callback(node.close)
            return node

        yield start


class ModuleRun(t.Protocol):
    """How a test calls a module."""

    def __call__(
        self, module: t.Any, arguments: dict[str, t.Any], *, check: bool = False, no_log: bool = False
    ) -> dict[str, t.Any]: ...


@pytest.fixture
def run_module(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> ModuleRun:
    """Run a module's main() as Ansible would, and return its result."""

    def call(
        module: t.Any, arguments: dict[str, t.Any], *, check: bool = False, no_log: bool = False
    ) -> dict[str, t.Any]:
        # Not at the top: what runs on members is tested where there is no Ansible.
        from ansible.module_utils import basic

        internal = {
            "_ansible_check_mode": check,
            "_ansible_no_log": no_log,
            "_ansible_remote_tmp": str(tmp_path),
            "_ansible_tmpdir": str(tmp_path),
        }
        given = json.dumps({"ANSIBLE_MODULE_ARGS": {**arguments, **internal}}).encode()
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", given)
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        capsys.readouterr()
        with pytest.raises(SystemExit):
            module.main()
        result: dict[str, t.Any] = json.loads(capsys.readouterr().out)
        return result

    return call
