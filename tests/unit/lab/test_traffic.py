# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path

import pytest

from lab.rpc import RpcError, parse_block
from lab.scenarios import Result, find, table
from lab.traffic import Attempt, Sender, judge, read, transactions


def attempt(tx: str, outcome: str = "accepted") -> Attempt:
    return Attempt(tx, 1.0, "node-1", outcome)


def test_every_accepted_transaction_is_counted_once_missing_or_duplicate() -> None:
    attempts = [attempt("a=1"), attempt("b=1"), attempt("c=1"), attempt("d=1", "refused"), attempt("e=1", "unknown")]
    verdict = judge(attempts, [(1, [b"a=1"]), (2, [b"b=1", b"x=9"]), (3, [b"b=1", b"e=1"])])
    assert (verdict.accepted, verdict.once) == (3, 1)
    assert [found.tx for found in verdict.missing] == ["c=1"]
    assert [found.tx for found in verdict.duplicate] == ["b=1"]
    assert (verdict.refused, verdict.unknown, verdict.unknown_included) == (1, 1, 1)
    assert (verdict.first_height, verdict.last_height) == (1, 3)


def test_transactions_differ_between_runs_and_within_one() -> None:
    made = [*islice(transactions("r1"), 50), *islice(transactions("r2"), 50)]
    assert len({tx.partition("=")[0] for tx in made}) == 100


def test_a_line_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    log = tmp_path / "log"
    whole = json.dumps({"tx": "a=1", "at": 1.0, "host": "node-1", "outcome": "accepted"})
    log.write_text(f"{whole}\n{whole[:20]}", encoding="utf-8")
    assert read(log) == [attempt("a=1")]
    assert read(tmp_path / "nosuch") == []


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if body == b"drop=1":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        self.send_response(202 if body.startswith(b"ok") else 503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


def test_outcomes_of_an_offer(port: int) -> None:
    sender = Sender("127.0.0.1", port, "node-1")
    assert [sender.offer(tx).outcome for tx in ("ok=1", "bad=1", "drop=1", "ok=2")] == [
        "accepted",
        "refused",
        "unknown",
        "accepted",
    ]


def test_no_connection_is_a_refusal() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        found = Sender("127.0.0.1", unused.getsockname()[1], "node-1").offer("a=1")
    assert found.outcome == "refused"
    assert "refused" in found.detail


def test_block_of_the_rpc() -> None:
    header = {"height": "7", "time": "1700000000000000000", "lastHeaderHash": "aGFzaA=="}
    block = parse_block({"block": {"header": {"header": header}, "data": {"txs": ["YT0x"]}}})
    assert (block.height, block.time_ns, block.transactions) == (7, 1700000000000000000, (b"a=1",))
    with pytest.raises(RpcError, match="no header"):
        parse_block({"block": {}})


def test_scenarios_are_found_and_told(tmp_path: Path) -> None:
    for name in ("default", "rollback", "cutover", "migrate"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "molecule.yml").touch()
    (tmp_path / "shared").mkdir()
    assert find(tmp_path) == ["migrate", "cutover", "rollback"], "the longest first, then by name"
    lines = table([Result("cutover", 0, 12.34), Result("rollback", 2, 1.0)]).splitlines()
    assert lines[0].split() == ["cutover", "passed", "12.3", "s"]
    assert "FAILED (2)" in lines[1]
