# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading a stopped node's head: refused while it runs, isolated, and always ended."""

from __future__ import annotations

import contextlib

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.module_utils import _head
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._process import Result
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._rpc import NodeClient

STORE = _head.Store("chain", "/usr/bin/node", "/srv/h", "chain", "chain", ["start", "--home", "/srv/h"], timeout=2)


class Units:
    """systemd with a stopped node; the reader is active from systemd-run until it is stopped or ends itself."""

    def __init__(self, commands: object) -> None:
        self.node, self.reader = "inactive", "inactive"
        commands.answer_with(["systemctl", "show"], self._show)  # type: ignore[attr-defined]
        commands.answer_with(["systemd-run"], self._launch)  # type: ignore[attr-defined]
        commands.answer_with(["systemctl", "stop"], self._stop)  # type: ignore[attr-defined]
        commands.answer(["systemctl", "reset-failed"])  # type: ignore[attr-defined]
        commands.answer(["journalctl"], "Error: cannot acquire directory lock\n")  # type: ignore[attr-defined]
        self.ends_at_once = False

    def _show(self, argv: list[str]) -> Result:
        state = self.reader if "evnode-head" in argv[-1] else self.node
        return Result(0, f"ActiveState={state}\nMainPID={77 if state == 'active' else 0}\n", "")

    def _launch(self, _argv: list[str]) -> Result:
        self.reader = "failed" if self.ends_at_once else "active"
        return Result(0, "", "")

    def _stop(self, argv: list[str]) -> Result:
        self.reader = "inactive"
        return Result(0, "", "")


@contextlib.contextmanager
def no_other_network(_pid: int):
    yield False


def read(store, commands, clock, address):
    return _head.read_head(
        store, run=commands, clock=clock, network=no_other_network, client=lambda _address: NodeClient(address)
    )


@pytest.fixture
def units(commands):
    return Units(commands)


def test_the_head_of_a_stopped_node(commands, units, fake_clock, recorded_node):
    node = recorded_node("follower")
    newest = NodeClient(node.address).state()["height"]
    head = read(STORE._replace(heights=[newest, newest + 1]), commands, fake_clock, node.address)
    assert head["height"] == newest
    assert head["hash"] == NodeClient(node.address).p2p_head()["hash"]
    assert head["chain_id"] == "rec-chain"
    assert list(head["headers"]) == [str(newest)]
    assert head["headers"][str(newest)]["hash"] == head["hash"]
    assert units.reader == "inactive"
    (argv,) = commands.starting_with("systemd-run")
    assert "--property=User=chain" in argv
    assert "--unit=evnode-head-chain.service" in argv


@pytest.mark.parametrize("state", ["active", "activating", "deactivating"])
def test_a_running_node_is_left_alone(commands, units, fake_clock, state):
    units.node = state
    with pytest.raises(_head.RunningError, match=f"to be stopped, found it {state}"):
        read(STORE, commands, fake_clock, "127.0.0.1:1")
    assert not commands.starting_with("systemd-run")


def test_a_store_that_another_process_has_open(commands, units, fake_clock):
    units.ends_at_once = True
    with pytest.raises(_head.HeadError, match="cannot acquire directory lock"):
        read(STORE, commands, fake_clock, "127.0.0.1:1")
    assert fake_clock.now == 0, "an ended reader is not waited for"


def test_a_reader_that_never_answers_is_ended(commands, units, fake_clock):
    with pytest.raises(_head.HeadError, match="to open within 2 s"):
        read(STORE, commands, fake_clock, "127.0.0.1:1")
    assert units.reader == "inactive"


def test_a_header_store_that_is_behind_is_no_head(commands, units, fake_clock, recorded_node):
    node = recorded_node("follower")
    node.put("POST", "/evnode.v1.StoreService/GetP2PStoreInfo", {}, {"status": 200, "body": '{"stores":[]}'})
    with pytest.raises(_head.HeadError, match="its header store at 0"):
        read(STORE, commands, fake_clock, node.address)
    assert units.reader == "inactive"


def test_an_empty_store(commands, units, fake_clock, recorded_node):
    node = recorded_node("follower")
    node.put(
        "POST",
        "/evnode.v1.StoreService/GetState",
        {},
        {"status": 200, "body": '{"state":{"chainId":"rec-chain","initialHeight":"1"}}'},
    )
    head = read(STORE._replace(heights=[1]), commands, fake_clock, node.address)
    assert (head["height"], head["hash"], head["headers"]) == (0, None, {})


def test_the_reader_can_reach_nobody():
    given = [
        "start",
        "--home",
        "/srv/h",
        "--evnode.p2p.peers=/ip4/10.0.0.1/tcp/7676/p2p/x",
        "--evnode.da.address",
        "http://10.0.0.9:7980",
        "--evnode.da.auth_token=canary",
        "--kv-endpoint=0.0.0.0:9090",
    ]
    argv = _head.arguments_of(STORE._replace(arguments=given), 1111, 2222)
    assert argv[:2] == ["/usr/bin/node", "start"]
    assert "--kv-endpoint=0.0.0.0:9090" in argv
    assert "--evnode.da.address=" in argv
    assert "--evnode.p2p.peers=" in argv
    assert "--evnode.node.aggregator=false" in argv
    assert "--evnode.raft.enable=false" in argv
    assert "--evnode.rpc.address=127.0.0.1:1111" in argv
    assert not any("10.0.0" in item or "canary" in item for item in argv)


def test_the_applications_flags_alone_will_do():
    argv = _head.arguments_of(STORE._replace(arguments=["--kv-endpoint", "x"]), 1, 2)
    assert argv[:6] == ["/usr/bin/node", "start", "--home", "/srv/h", "--kv-endpoint", "x"]
    assert _head.arguments_of(STORE._replace(arguments=[]), 1, 2)[1:4] == ["start", "--home", "/srv/h"]


def test_free_ports_are_different():
    assert len(set(_head.free_ports(5))) == 5
