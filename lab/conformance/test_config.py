# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Configuration: flag before file before default, silence about a broken file, and what is refused."""

from __future__ import annotations

import http.client
import itertools
import os
import time

import pytest

from .cluster import HALTED, grow
from .node import UNPRIVILEGED_ID, Bench, Node, free_port, port_open


def fails_with(node: Node, text: str, *flags: str) -> None:
    """The node ends with 1 and says ``text``, and RPC was never up."""
    node.start(*flags)
    code = node.wait_exit()
    assert code == 1, node.describe()
    assert node.log_has(text), f"expected {text!r}\n{node.describe(60)}"
    assert not node.log_has("Started RPC server"), node.describe()


def belt_flags(bench: Bench, node: Node) -> list[str]:
    """What a unit says on the command line so that the node starts even without its file."""
    return [
        "--evnode.node.aggregator=true",
        f"--evnode.da.address={bench.da_address}",
        f"--evnode.rpc.address={node.rpc_addr}",
        f"--evnode.p2p.listen_address=/ip4/127.0.0.1/tcp/{node.ports.p2p}",
        f"--evnode.signer.signer_path={node.config_dir}",
    ]


def next_second(bench: Bench) -> None:
    """The namespace is drawn from a generator that is seeded with the second of the clock."""
    now = int(time.time())
    bench.wait("the next second of the clock", lambda: int(time.time()) > now, 3.0)


def test_the_file_beats_the_default(bench: Bench) -> None:
    node = bench.sequencer()
    node.start()
    node.wait_rpc()
    assert port_open(node.ports.rpc) and port_open(node.ports.p2p)


def test_a_flag_beats_the_file(bench: Bench) -> None:
    node = bench.sequencer()
    in_file, on_command_line = node.ports.rpc, free_port()
    node.ports.rpc = on_command_line
    node.start(f"--evnode.rpc.address=127.0.0.1:{on_command_line}")
    node.wait_rpc()
    assert not port_open(in_file)


def test_the_default_where_neither_speaks(bench: Bench) -> None:
    node = bench.sequencer()
    node.write_config(rpc=None)
    node.start()
    node.wait_log("127.0.0.1:7331", running=False)


def test_flags_have_an_older_prefix(bench: Bench) -> None:
    node = bench.sequencer()
    in_file = node.ports.rpc
    node.ports.rpc = free_port()
    node.start(f"--rollkit.rpc.address=127.0.0.1:{node.ports.rpc}")
    node.wait_rpc()
    assert not port_open(in_file)


def test_an_empty_flag_beats_the_file(bench: Bench) -> None:
    leader = bench.sequencer()
    leader.start()
    leader.wait_height(3)
    node = bench.joiner("node-2", leader)
    node.start("--evnode.p2p.peers=")
    node.wait_rpc()
    # Three block times: the same node with its peers is at the tip after a fraction of one.
    reached = leader.height() + 3
    leader.wait_height(reached)
    assert node.height() == 0, node.describe()
    assert node.stop() == 0
    node.start()
    node.wait_height(reached)


def test_unknown_keys_are_ignored(bench: Bench) -> None:
    node = bench.sequencer()
    node.write_config(no_such_section={"key": 1}, node={"no_such_key": True})
    node.start()
    node.wait_height(1)


def test_a_file_behind_symbolic_links_is_read(bench: Bench) -> None:
    node = bench.sequencer()
    real = bench.directory / "modes" / "single"
    real.mkdir(parents=True)
    node.yaml_path.rename(real / "evnode.yaml")
    (bench.directory / "modes" / "current").symlink_to("single")
    node.yaml_path.symlink_to(bench.directory / "modes" / "current" / "evnode.yaml")
    node.start()
    node.wait_height(1)


def test_a_broken_file_means_defaults_without_a_word(bench: Bench) -> None:
    """The file asks for Raft; broken, it makes a single sequencer that produces."""
    node = bench.sequencer()
    node.as_member([node], {"peers": "node-2@127.0.0.1:1,node-3@127.0.0.1:2"})
    node.yaml_path.write_text(node.yaml_path.read_text() + "\n  broken: [\n\t:\n")
    node.start(*belt_flags(bench, node))
    node.wait_height(1)
    assert not port_open(node.ports.raft)
    assert "evnode.yaml" not in node.log() and "yaml" not in node.log().lower()


def test_an_unreadable_file_means_defaults_without_a_word(bench: Bench) -> None:
    node = bench.sequencer()
    node.as_member([node], {"peers": "node-2@127.0.0.1:1,node-3@127.0.0.1:2"})
    user = UNPRIVILEGED_ID if os.geteuid() == 0 else None
    node.yaml_path.chmod(0o000)
    if user is not None:
        for directory, _, files in os.walk(node.home):
            for path in (directory, *(os.path.join(directory, name) for name in files)):
                if path != str(node.yaml_path):
                    os.chown(path, user, user)
        bench.passphrase_file.chmod(0o644)
    node.start(*belt_flags(bench, node), user=user)
    node.wait_height(1)
    assert not port_open(node.ports.raft)
    assert "yaml" not in node.log().lower()


def test_the_belt_refuses_to_start_on_a_broken_file(bench: Bench) -> None:
    node = bench.sequencer()
    node.as_member([node])
    node.yaml_path.write_text("raft: [broken\n")
    fails_with(node, "node ID is required", *belt_flags(bench, node), "--evnode.raft.enable=true")


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("node", "aggregator", "perhaps"),
        ("node", "block_time", 1),
        ("raft", "heartbeat_timeout", "92"),
        ("raft", "snap_count", "many"),
    ],
)
def test_a_wrong_type_is_refused(bench: Bench, section: str, key: str, value: object) -> None:
    node = bench.sequencer()
    node.write_config(**{section: {key: value}})
    node.start(passphrase=True)
    assert node.wait_exit() == 1, node.describe()
    assert node.log_has("reading evnode.yaml") and node.log_has("failed decoding viper"), node.describe(60)


@pytest.mark.parametrize("flag", ["--evnode.signer.passphrase=secret", "--evm.jwt-secret=00", "--evnode.no_such=1"])
def test_flags_of_the_guide_that_do_not_exist(bench: Bench, flag: str) -> None:
    node = bench.sequencer()
    done = bench.binary.run(*node.start_args(flag))
    assert done.rc == 1, done.describe()
    assert done.error == f"unknown flag: {flag.split('=')[0]}"


def test_an_aggregator_needs_a_da_address(bench: Bench) -> None:
    node = bench.sequencer()
    node.write_config(da={"address": ""})
    fails_with(node, "DA address is required when aggregator or promotable mode is enabled")


def test_a_full_node_needs_none(bench: Bench) -> None:
    leader = bench.sequencer()
    leader.start()
    leader.wait_height(2)
    node = bench.joiner("node-2", leader)
    node.write_config(da={"address": ""})
    node.start()
    node.wait_height(2)


def test_catchup_timeout_excludes_raft(bench: Bench) -> None:
    node = bench.sequencer()
    node.as_member([node])
    node.write_config(node={"catchup_timeout": "5s"})
    fails_with(node, "catchup timeout and Raft consensus are mutually exclusive; disable one of them")


def test_their_flags_exclude_each_other_even_when_off(bench: Bench) -> None:
    """The guide's rollback command plus the original flags."""
    node = bench.sequencer()
    done = bench.binary.run(*node.start_args("--evnode.raft.enable=false", "--evnode.node.catchup_timeout=0s"))
    assert done.rc == 1, done.describe()
    assert "evnode.node.catchup_timeout" in done.error and "evnode.raft.enable" in done.error
    assert "none of the others can be" in done.error


def test_promotable_excludes_raft(bench: Bench) -> None:
    node = bench.sequencer()
    node.as_member([node])
    node.write_config(node={"promotable": True})
    fails_with(node, "promotable mode cannot be combined with Raft consensus")


def test_raft_is_for_aggregators_only(bench: Bench) -> None:
    node = bench.sequencer()
    node.as_member([node])
    node.write_config(node={"aggregator": False})
    fails_with(node, "raft config must be used in sequencer setup only")


def test_without_a_namespace_each_start_takes_another(bench: Bench) -> None:
    node = bench.sequencer()
    del node.config["da"]["namespace"]
    node.write_config()
    seen = []
    for _ in range(2):
        node.start()
        node.wait_rpc()
        seen.append(node.namespaces()["headerNamespace"])
        assert node.stop() == 0
        next_second(bench)
    assert seen[0] != seen[1]


def test_a_space_in_the_p2p_peers_loses_a_peer(bench: Bench) -> None:
    leader = bench.sequencer()
    leader.start()
    leader.wait_height(2)
    node = bench.joiner("node-2", leader)
    node.write_config(p2p={"peers": f"/ip4/127.0.0.1/tcp/1/p2p/{node.peer_id}, {leader.multiaddr}"})
    node.start()
    node.wait_log("failed to parse peer")
    reached = leader.height() + 2
    leader.wait_height(reached)
    assert node.height_or_none() in (0, None), node.describe()


def test_flags_of_the_application_stand_beside_those_of_the_node(bench: Bench) -> None:
    """What is not ``evnode.*`` is known to ``start`` only from the command line, so it has to be carried over."""
    # The evm node has other flags of its own, and needs an execution client before it starts at all.
    if not bench.binary.has_start_flag("kv-endpoint"):
        pytest.skip("this binary has no --kv-endpoint")
    node = bench.sequencer()
    port = free_port()
    node.start("--kv-endpoint", f"127.0.0.1:{port}")
    node.wait_height(1)
    rpc, node.ports.rpc = node.ports.rpc, port
    status, _ = node.request("GET", "/kv?key=absent")
    assert status == 404
    connection_status = post_text(node, "/tx", "a=1")
    assert connection_status == 202

    def value() -> bool:
        found, body = node.request("GET", "/kv?key=a")
        return found == 200 and body.decode().strip() == "1"

    node.wait("the value is in the state", value, 10.0)
    node.ports.rpc = rpc


def post_text(node: Node, path: str, text: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", node.ports.rpc, timeout=5)
    try:
        connection.request("POST", path, text)
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_relative_signer_path_hangs_on_the_working_directory(bench: Bench) -> None:
    node = bench.sequencer()
    node.write_config(signer={"signer_path": "config"})
    fails_with(node, "key file not found at")
    node.start(cwd=node.home)
    node.wait_height(1)
    assert node.stop() == 0 and node.log_has(HALTED)


def test_block_time_of_the_file_is_kept(bench: Bench) -> None:
    node = bench.sequencer(block_time="300ms")
    head = grow(node, 5)
    node.start()
    node.wait_height(head.height)
    times = [int(node.header(height)["header"]["time"]) for height in range(2, 6)]
    gaps = [(later - earlier) / 1e9 for earlier, later in itertools.pairwise(times)]
    assert all(gap > 0.15 for gap in gaps), gaps
    assert 0.25 < sum(gaps) / len(gaps) < 0.6, gaps
