# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from lab.bench import floor, guide
from lab.settings import Settings, from_environment


class Chain(ThreadingHTTPServer):
    """A node whose shown head and stored head are what the test says, and which counts how often it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.shown, self.held = 7, 7
        self.asked: list[str] = []
        self.grow_after = 3


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        node = self.server
        assert isinstance(node, Chain)
        method = self.path.rpartition("/")[2]
        node.asked.append(method)
        if len(node.asked) == node.grow_after:
            node.shown, node.held = 8, 8
        if method == "GetState":
            body: dict[str, Any] = {"state": {"lastBlockHeight": str(node.held)}}
        else:
            body = {"stores": [{"label": "Header Store", "head": {"height": str(node.shown)}}]}
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_given: object) -> None:
        return


@pytest.fixture
def node() -> Iterator[Chain]:
    server = Chain()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def fire(tmp_path: Path, node: Chain, *, leads: bool, limit: float = 10.0) -> subprocess.CompletedProcess[str]:
    tools = tmp_path / "bin"
    tools.mkdir()
    told = tmp_path / "told"
    # What the switch says when systemd is asked is part of what is recorded.
    systemctl = f'#!/bin/sh\necho "$@" "$(readlink {tmp_path}/current)" >> {told}\n'
    (tools / "systemctl").write_text(systemctl)
    (tools / "systemctl").chmod(0o755)
    (tmp_path / "current").symlink_to("single")
    plan = {
        "at": time.time() + 0.1,
        "rpc_port": node.server_address[1],
        "unit": "chain.service",
        "current": str(tmp_path / "current"),
        "leads": leads,
        "limit": limit,
    }
    return subprocess.run(
        [sys.executable, "-I", "-", base64.b64encode(json.dumps(plan).encode()).decode()],
        input=floor.FIRE.read_text(encoding="utf-8"),
        capture_output=True,
        check=False,
        text=True,
        timeout=30,
        env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"},
    )


@pytest.mark.parametrize("leads", [True, False])
def test_a_host_stops_at_the_next_block_and_starts_as_a_member(tmp_path: Path, node: Chain, leads: bool) -> None:
    done = fire(tmp_path, node, leads=leads)
    assert done.returncode == 0, done.stderr
    moments = json.loads(done.stdout)
    assert moments["height"] == 8
    assert moments["seen"] <= moments["stopped"] <= moments["asked"]
    assert (tmp_path / "told").read_text().splitlines() == [
        "stop chain.service single",
        "start --no-block chain.service raft",
    ]
    assert set(node.asked) == ({"GetP2PStoreInfo"} if leads else {"GetState"})
    # The sequencer looks twice before it takes a block for sent.
    assert len(node.asked) == (4 if leads else 3)


def test_a_host_that_sees_no_block_stops_nothing(tmp_path: Path, node: Chain) -> None:
    node.grow_after = 10**9
    done = fire(tmp_path, node, leads=True, limit=0.3)
    assert done.returncode != 0
    assert "no block above 7 within 0.3 s" in done.stderr
    assert not (tmp_path / "told").exists()


@pytest.fixture
def lab() -> Settings:
    return from_environment({"LAB_NAME": "unit", "LAB_INDEX": "4"})


def test_the_guide_is_followed_with_its_own_flags(lab: Settings) -> None:
    peers = {host: f"id-{host.number}" for host in lab.hosts}
    flags = guide._flags(lab, lab.hosts[1], peers)
    assert flags[:4] == [
        "--evnode.node.aggregator=true",
        "--evnode.raft.enable=true",
        "--evnode.raft.node_id=node-2",
        "--evnode.raft.raft_addr=10.87.4.12:5001",
    ]
    assert "--evnode.raft.raft_dir=/var/lib/ev-node/raft" in flags
    assert "--evnode.raft.heartbeat_timeout=92ms" in flags and "--evnode.raft.leader_lease_timeout=46ms" in flags
    # The guide has this one in the file only.
    assert not [flag for flag in flags if "snap_count" in flag]
    others = next(flag for flag in flags if flag.startswith("--evnode.raft.peers=")).partition("=")[2]
    assert others == "node-1@10.87.4.11:5001,node-3@10.87.4.13:5001,node-4@10.87.4.14:5001,node-5@10.87.4.15:5001"
    assert flags[-1].startswith("--evnode.p2p.peers=/ip4/10.87.4.11/tcp/7676/p2p/id-1,")
    assert "id-2" not in flags[-1]
