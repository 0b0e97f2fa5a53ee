# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import socket
import struct
import threading

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.module_utils import _raft_probe, _raft_store
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._raft_probe import RaftProbeError
from tests.unit.plugins.module_utils.window.raft_log import SEALED_LOG

# What hashicorp/raft v1.7.3 answered to the request of this module, taken from the wire.
ANSWER = bytes.fromhex(
    "a085a441646472af3132372e302e302e313a3435313131a74772616e746564c2a24944a66e6f64652d31af50726f746f636f6c56657273"
    "696f6e03a45465726d01"
)


def test_the_request_is_what_the_library_reads():
    assert _raft_probe.pre_vote_request("node-2", "10.0.0.2:5001") == (
        b"\x04\x86\xafProtocolVersion\x03\xa2ID\xa6node-2\xa4Addr\xad10.0.0.2:5001"
        b"\xa4Term\x00\xacLastLogIndex\x00\xabLastLogTerm\x00"
    )


def test_a_recorded_answer_names_the_member():
    assert _raft_probe.read_answer(ANSWER) == ("node-1", "127.0.0.1:45111", 1)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param(b"\xacnope, really\xc0", "refused the question: nope, really", id="error"),
        pytest.param(b"\xa0\x80", "no Raft header", id="empty-map"),
        pytest.param(b"\xa0\x81\xa2ID\xa6node-1", "not one to a pre-vote", id="header-only"),
        pytest.param(b"\xa0\xc0", "no Raft header", id="nil"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n", "no Raft header|refused|unexpected byte", id="http"),
    ],
)
def test_what_is_no_answer_is_no_proof(answer, reason):
    with pytest.raises(RaftProbeError, match=reason):
        _raft_probe.read_answer(answer)


class Listener:
    """A port that accepts and then does what the test wants."""

    def __init__(self, serve):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.socket.getsockname()[1]}"
        self.thread = threading.Thread(target=self.run, args=(serve,), daemon=True)
        self.thread.start()

    def run(self, serve):
        link, _peer = self.socket.accept()
        with link:
            serve(link)

    def close(self):
        self.socket.close()
        self.thread.join(5)


def ask(serve, timeout=0.3):
    listener = Listener(serve)
    try:
        return _raft_probe.ask(listener.address, asker="node-2", timeout=timeout)
    finally:
        listener.close()


def test_an_answer_in_pieces_is_put_together():
    def serve(link):
        assert link.recv(4096)[:1] == b"\x04"
        for at in range(len(ANSWER)):
            link.sendall(ANSWER[at : at + 1])

    assert ask(serve, timeout=5).node_id == "node-1"


def test_a_port_that_accepts_and_is_mute_is_no_proof():
    with pytest.raises(RaftProbeError, match=r"gave no Raft answer within 0\.3 s"):
        ask(lambda link: link.recv(4096) and threading.Event().wait(0.6))


def test_a_port_that_closes_is_no_proof():
    with pytest.raises(RaftProbeError, match=r"closed the connection|cannot be reached"):
        ask(lambda link: link.recv(4096))


def test_a_flood_is_no_proof():
    def serve(link):
        link.recv(4096)
        link.sendall(b"\xdb\x7f\xff\xff\xff" + b"x" * 100_000)

    with pytest.raises(RaftProbeError):
        ask(serve, timeout=2)


def test_a_closed_port_is_no_proof():
    with socket.create_server(("127.0.0.1", 0)) as port:
        address = f"127.0.0.1:{port.getsockname()[1]}"
    with pytest.raises(RaftProbeError, match="cannot be reached"):
        _raft_probe.ask(address, asker="node-2", timeout=1)


# ---- the log on disk --------------------------------------------------------------------------------------------


def test_a_sealed_log_holds_one_entry(tmp_path):
    (tmp_path / "raft-log.db").write_bytes(SEALED_LOG)
    assert _raft_store.last_index(str(tmp_path / "raft-log.db")) == 1
    assert not _raft_store.holds_blocks(str(tmp_path))


def test_no_log_holds_nothing(tmp_path):
    assert _raft_store.last_index(str(tmp_path / "raft-log.db")) == 0
    assert not _raft_store.holds_blocks(str(tmp_path))


def test_a_snapshot_is_blocks(tmp_path):
    (tmp_path / "raft-log.db").write_bytes(SEALED_LOG)
    (tmp_path / "snapshots" / "2-968-1795547294372").mkdir(parents=True)
    assert _raft_store.holds_blocks(str(tmp_path))


def far_away():
    """A log whose root lies beyond what any file can hold, as one may look that is just being written."""
    data = bytearray(SEALED_LOG)
    for meta in (0, 4096):
        data[meta + 32 : meta + 40] = b"\xff" * 8
    return bytes(data)


@pytest.mark.parametrize("damage", [b"not a database" * 500, SEALED_LOG[:4096], b"\0" * 32768, far_away()])
def test_a_file_that_cannot_be_read_is_an_error_and_not_empty(tmp_path, damage):
    (tmp_path / "raft-log.db").write_bytes(damage)
    with pytest.raises(_raft_store.RaftStoreError, match=r"raft-log.db is not a readable Raft log"):
        _raft_store.last_index(str(tmp_path / "raft-log.db"))


def leaf(number, items):
    """A bbolt leaf page of 4096 bytes; an item is flags, key, value."""
    heads, data, at = b"", b"", 16 + 16 * len(items)
    for place, (flags, key, value) in enumerate(items):
        heads += struct.pack("<IIII", flags, at + len(data) - (16 + 16 * place), len(key), len(value))
        data += key + value
    return (struct.pack("<QHHI", number, 2, len(items), 0) + heads + data).ljust(4096, b"\0")


def branch(number, children):
    heads, data, at = b"", b"", 16 + 16 * len(children)
    for place, (key, child) in enumerate(children):
        heads += struct.pack("<IIQ", at + len(data) - (16 + 16 * place), len(key), child)
        data += key
    return (struct.pack("<QHHI", number, 1, len(children), 0) + heads + data).ljust(4096, b"\0")


def meta(number, root, txid):
    body = struct.pack("<IIIIQQQQQ", 0xED0CDAED, 2, 4096, 0, root, 0, 9, 9, txid) + b"\0" * 8
    return (struct.pack("<QHHI", number, 4, 0, 0) + body).ljust(4096, b"\0")


def key(index):
    return index.to_bytes(8, "big")


def test_the_greatest_key_of_a_deep_tree_by_the_newer_meta_page(tmp_path):
    pages = [
        meta(0, 2, 6),
        meta(1, 3, 7),
        leaf(2, []),
        leaf(3, [(1, b"conf", struct.pack("<QQ", 4, 0)), (1, b"logs", struct.pack("<QQ", 5, 0))]),
        leaf(4, [(0, b"\xff" * 8, b"")]),
        branch(5, [(key(1), 6), (key(300), 7)]),
        leaf(6, [(0, key(1), b"x"), (0, key(299), b"x")]),
        leaf(7, [(0, key(300), b"x"), (0, key(1037), b"x")]),
    ]
    path = tmp_path / "raft-log.db"
    path.write_bytes(b"".join(pages))
    assert _raft_store.last_index(str(path)) == 1037


def test_a_tree_that_points_at_itself_is_an_error(tmp_path):
    pages = [meta(0, 2, 1), meta(1, 2, 2), leaf(2, [(1, b"logs", struct.pack("<QQ", 3, 0))]), branch(3, [(key(1), 3)])]
    path = tmp_path / "raft-log.db"
    path.write_bytes(b"".join(pages))
    with pytest.raises(_raft_store.RaftStoreError):
        _raft_store.last_index(str(path))
