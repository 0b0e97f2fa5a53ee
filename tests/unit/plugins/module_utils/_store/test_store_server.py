# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a client with a valid key can get out of the server, and what it cannot."""

from __future__ import annotations

import os
import typing as t

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.module_utils._store import wire
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._store.client import Session
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._store.tree import StoreError
from tests.unit.plugins.module_utils._store.store_pair import Pair


@pytest.fixture
def talk(pair: Pair) -> t.Iterator[wire.Channel]:
    pair.write("db/a.sst", b"a" * 100)
    pair.write("db/node_key.json", b"secret")
    link = pair.link()
    link.channel.await_greeting()
    yield link.channel
    link.close()


def ask(talk: wire.Channel, **message: t.Any) -> dict[str, t.Any]:
    talk.send(message)
    while True:
        answer = talk.receive_json()
        if not answer.get("busy"):
            return answer


def test_a_scan_names_files_and_leaves_secrets_out(talk: wire.Channel) -> None:
    answer = ask(talk, op="scan", root="data")
    assert [item["path"] for item in answer["entries"]] == ["db", "db/a.sst"]


@pytest.mark.parametrize(
    "path", ["../../etc/passwd", "/etc/passwd", "db/../../../source-state/store-hashes.json", "db//a.sst", ""]
)
def test_path_traversal_is_refused(talk: wire.Channel, path: str) -> None:
    ask(talk, op="scan", root="data")
    answer = ask(talk, op="get", root="data", items=[[path, 100, [[0, 1]]]])
    assert "plain path below the root" in answer["error"]


def test_a_secret_is_not_sent_though_its_path_is_known(talk: wire.Channel) -> None:
    ask(talk, op="scan", root="data")
    assert ask(talk, op="get", root="data", items=[["db/node_key.json", 6, [[0, 1]]]]) == {
        "error": "db/node_key.json is not shared"
    }


def test_a_link_planted_after_the_scan_is_not_followed(pair: Pair, talk: wire.Channel) -> None:
    ask(talk, op="scan", root="data")
    (pair.source / "db/b.sst").symlink_to("/etc/passwd")
    answer = ask(talk, op="get", root="data", items=[["db/b.sst", 100, [[0, 1]]]])
    assert answer["gone"] == 0


def test_a_pipe_does_not_hang_the_server(pair: Pair, talk: wire.Channel) -> None:
    ask(talk, op="scan", root="data")
    os.mkfifo(pair.source / "db/pipe")
    assert ask(talk, op="get", root="data", items=[["db/pipe", 100, [[0, 1]]]])["why"] == "not a plain file"


@pytest.mark.parametrize("root", ["other", "/etc", "../data", None, ["data"]])
def test_other_roots_are_refused(talk: wire.Channel, root: t.Any) -> None:
    assert "error" in ask(talk, op="scan", root=root)


@pytest.mark.parametrize("question", ["put", "delete", "exec", None, 3, {"a": 1}])
def test_there_is_no_question_that_writes(pair: Pair, talk: wire.Channel, question: t.Any) -> None:
    before = sorted(str(path) for path in pair.source.rglob("*"))
    assert "is not one of hello, scan, get, confirm" in ask(talk, op=question, root="data", path="x")["error"]
    assert sorted(str(path) for path in pair.source.rglob("*")) == before


@pytest.mark.parametrize("items", [None, [["db/a.sst"]], [["db/a.sst", "x", []]], [[1, 2, 3]], [["db/a.sst", 9, [7]]]])
def test_a_malformed_request_gets_an_error_and_the_talk_goes_on(talk: wire.Channel, items: t.Any) -> None:
    ask(talk, op="scan", root="data")
    assert "error" in ask(talk, op="get", root="data", items=items)
    assert ask(talk, op="hello")["version"] == wire.VERSION


def test_nothing_is_sent_before_a_scan_has_said_what_is_left_out(talk: wire.Channel) -> None:
    assert "Expected a scan" in ask(talk, op="get", root="data", items=[])["error"]
    assert "Expected a scan" in ask(talk, op="confirm", root="data")["error"]


def test_ranges_beyond_the_file_are_empty(talk: wire.Channel) -> None:
    ask(talk, op="scan", root="data")
    talk.send({"op": "get", "root": "data", "items": [["db/a.sst", 100, [[0, 1], [99, 1]]]]})
    assert talk.receive()[1][12:] == b"a" * 100
    assert talk.receive()[1][12:] == b""
    assert talk.receive_json() == {"end": True}


def test_clients_of_one_stop_share_one_reading(pair: Pair) -> None:
    pair.write("db/000001.vlog", b"v" * 1000)
    sessions = []
    for _round in range(3):
        link = pair.link()
        session = Session(link.channel, link.trouble)
        session.hello()
        sessions.append(session)
    first = sessions[0].scan("data", [], quiet=True, once="stop-1")
    (kept,) = (pair.base / "scans").glob("scan-*.json")
    stamp = kept.stat().st_mtime_ns
    assert sessions[1].scan("data", [], quiet=True, once="stop-1") == first
    assert kept.stat().st_mtime_ns == stamp
    pair.write("db/000001.vlog", b"w" * 1000)
    assert sessions[2].scan("data", [], quiet=True, once="stop-1") != first
    for link in pair.links:
        link.close()


def test_another_version_is_refused_with_what_to_do(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    link = pair.link()
    monkeypatch.setattr(wire, "VERSION", 2)
    with pytest.raises(StoreError, match="different versions of the collection; share again"):
        Session(link.channel, link.trouble).hello()
    link.close()
