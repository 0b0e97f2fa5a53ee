# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import json
import typing as t

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.module_utils import _unit_file
from ansible_collections.evnode.sequencer_ha.plugins.plugin_utils import _member_files as files
from ansible_collections.evnode.sequencer_ha.plugins.plugin_utils import _node_yaml

BASE = b"""\
# written by hand
node:
  aggregator: true
  block_time: 1s
  own_key: kept
da:
  address: http://da:7980
  namespace: lab
p2p:
  listen_address: /ip4/0.0.0.0/tcp/7676
  peers: "/ip4/10.0.0.9/tcp/7676/p2p/FULL, /ip4/10.0.0.2/tcp/7676/p2p/P2"
rpc:
  address: 10.0.0.1:7331
unknown_section:
  kept: 0x10
"""
ARGUMENTS = [
    "start",
    "--home=/srv/n",
    "--evnode.node.aggregator",
    "--evnode.signer.passphrase_file",
    "/etc/pass",
    "--rollkit.log.level=debug",
    "--evnode.raft.enable=false",
    "--evnode.da.auth_token=hush",
    "--evnode.clear_cache",
    "--kv-endpoint",
    "10.0.0.1:9090",
    "--evm.fee-recipient=0xAB",
]
MEMBERS = [
    {"name": f"m{n}", "node_id": f"node-{n}", "address": f"10.0.0.{n}", "peer_id": f"P{n}", "sequencer": n == 1}
    for n in (1, 2, 3)
]
TIMINGS = {
    "heartbeat_timeout": "350ms",
    "election_timeout": "1000ms",
    "leader_lease_timeout": "175ms",
    "send_timeout": "200ms",
}
PROFILE = {
    "unit": "chain",
    "home": "/srv/n",
    "yaml_path": "/srv/n/config/evnode.yaml",
    "passphrase_file": "/etc/pass",
    "signer": {"type": "file", "path": "/srv/n/config/signer.json", "address": "x"},
    "namespaces": {"header": None},
}


def request(number: int = 2, **changes: t.Any) -> files.Request:
    given: dict[str, t.Any] = {
        "profile": PROFILE,
        "base": BASE,
        "arguments": ARGUMENTS,
        "member": MEMBERS[number - 1],
        "members": files.members_from(MEMBERS),
        "raft_port": 5001,
        "raft_dir": "/srv/raft",
        "timings": TIMINGS,
        "snap_count": 3,
        "snapshot_threshold": 500,
        "trailing_logs": 200,
        "first_leader": number == 1,
    }
    return files.Request(**{**given, **changes})


def settings(made: files.Files, mode: str) -> dict[str, t.Any]:
    return _node_yaml.flatten(_node_yaml.load(made.modes[mode].yaml.decode()))


def test_single_is_byte_for_byte_what_runs_today() -> None:
    made = files.build(request(1), ["single"])
    assert made.modes["single"] == (ARGUMENTS, BASE)


def test_raft_arguments_hold_the_belt_the_passphrase_file_and_the_applications_flags() -> None:
    assert files.build(request()).modes["raft"].arguments == [
        "start",
        "--home",
        "/srv/n",
        "--evnode.raft.enable=true",
        "--evnode.node.aggregator=true",
        "--evnode.signer.passphrase_file=/etc/pass",
        "--kv-endpoint",
        "10.0.0.1:9090",
        "--evm.fee-recipient=0xAB",
    ]


def test_follower_arguments_make_a_plain_full_node() -> None:
    assert files.build(request()).modes["follower"].arguments == [
        "start",
        "--home",
        "/srv/n",
        "--evnode.node.aggregator=false",
        "--evnode.raft.enable=false",
        "--kv-endpoint",
        "10.0.0.1:9090",
        "--evm.fee-recipient=0xAB",
    ]


def test_the_operators_keys_and_flags_are_in_the_file() -> None:
    found = settings(files.build(request()), "raft")
    assert found["node.own_key"] == "kept"
    assert found["unknown_section.kept"] == 16
    assert found["log.level"] == "debug"
    assert found["da.auth_token"] == "hush"
    assert found["node.block_time"] == "1s"
    assert "clear_cache" not in found
    assert "signer.passphrase_file" not in found


def test_a_member_knows_the_others_and_not_itself() -> None:
    found = settings(files.build(request()), "raft")
    assert found["raft.node_id"] == "node-2"
    assert found["raft.raft_addr"] == "10.0.0.2:5001"
    assert found["raft.peers"] == "node-1@10.0.0.1:5001,node-3@10.0.0.3:5001"
    assert found["p2p.peers"] == (
        "/ip4/10.0.0.1/tcp/7676/p2p/P1,/ip4/10.0.0.3/tcp/7676/p2p/P3,/ip4/10.0.0.9/tcp/7676/p2p/FULL"
    )
    assert found["signer.signer_path"] == "/srv/n/config"


def test_the_sequencers_own_address_becomes_the_members() -> None:
    assert settings(files.build(request()), "raft")["rpc.address"] == "10.0.0.2:7331"
    assert settings(files.build(request(1)), "raft")["rpc.address"] == "10.0.0.1:7331"


def test_the_follower_dials_the_sequencer_and_is_no_sequencer() -> None:
    found = settings(files.build(request(extra_peers=["/ip4/10.0.0.8/tcp/1/p2p/X "])), "follower")
    assert (found["node.aggregator"], found["raft.enable"]) == (False, False)
    assert found["p2p.peers"] == (
        "/ip4/10.0.0.1/tcp/7676/p2p/P1,/ip4/10.0.0.8/tcp/1/p2p/X,/ip4/10.0.0.9/tcp/7676/p2p/FULL"
    )
    assert found["node.catchup_timeout"] == "0s"


def test_at_first_only_the_first_leader_is_impatient() -> None:
    others, leader = settings(files.build(request(2)), "raft"), settings(files.build(request(1)), "raft")
    assert (others["raft.heartbeat_timeout"], others["raft.election_timeout"]) == ("5s", "5s")
    assert (others["raft.leader_lease_timeout"], others["raft.send_timeout"]) == ("175ms", "200ms")
    assert (leader["raft.heartbeat_timeout"], leader["raft.election_timeout"]) == ("350ms", "1000ms")


def test_in_the_end_all_have_the_same_timings() -> None:
    found = settings(files.build(request(2, stage="final")), "raft")
    assert (found["raft.heartbeat_timeout"], found["raft.election_timeout"]) == ("350ms", "1000ms")


def test_anchors_are_the_first_leaders_only_peers_and_only_at_first() -> None:
    anchor = "/ip4/10.0.0.7/tcp/7676/p2p/ANCHOR"
    assert settings(files.build(request(1, anchors=[anchor])), "raft")["p2p.peers"] == anchor
    assert anchor not in settings(files.build(request(1, anchors=[anchor], stage="final")), "raft")["p2p.peers"]
    assert anchor not in settings(files.build(request(2, anchors=[anchor])), "raft")["p2p.peers"]


@pytest.mark.parametrize(
    ("listen", "own", "dialled"),
    [
        ("/ip4/0.0.0.0/tcp/7676", "/ip4/0.0.0.0/tcp/7676", "/ip4/10.0.0.1/tcp/7676/p2p/P1"),
        ("/ip4/127.0.0.1/tcp/7676", "/ip4/10.0.0.2/tcp/7676", "/ip4/10.0.0.1/tcp/7676/p2p/P1"),
        ("/ip4/10.0.0.1/udp/9/quic-v1", "/ip4/10.0.0.2/udp/9/quic-v1", "/ip4/10.0.0.1/udp/9/quic-v1/p2p/P1"),
    ],
)
def test_the_listen_address_is_this_hosts(listen: str, own: str, dialled: str) -> None:
    base = BASE.replace(b"/ip4/0.0.0.0/tcp/7676", listen.encode())
    found = settings(files.build(request(base=base)), "follower")
    assert found["p2p.listen_address"] == own
    assert found["p2p.peers"].split(",")[0] == dialled


def test_a_member_may_have_its_own_p2p_port_and_the_others_dial_it() -> None:
    members = files.members_from([*MEMBERS[:1], {**MEMBERS[1], "p2p_port": 99}, *MEMBERS[2:]])
    assert settings(files.build(request(2, members=members)), "raft")["p2p.listen_address"] == "/ip4/0.0.0.0/tcp/99"
    assert "/ip4/10.0.0.2/tcp/99/p2p/P2" in settings(files.build(request(1, members=members)), "raft")["p2p.peers"]


def test_ipv6_members_are_written_with_brackets() -> None:
    members = files.members_from([{**item, "address": f"fd00::{n}"} for n, item in enumerate(MEMBERS, 1)])
    found = settings(files.build(request(member={**MEMBERS[1], "address": "fd00::2"}, members=members)), "raft")
    assert found["raft.raft_addr"] == "[fd00::2]:5001"
    assert found["p2p.peers"].startswith("/ip6/fd00::1/tcp/7676/p2p/P1,")


def test_sealing_needs_nothing_but_the_followers_file() -> None:
    made = files.build(request())
    raft = {
        key: value for key, value in settings(made, "raft").items() if key.startswith("raft.") and key != "raft.enable"
    }
    for key, value in raft.items():
        assert f"--evnode.{key}={value}" in made.seal_arguments
    for flag in ("--evnode.raft.enable=true", "--evnode.node.aggregator=true", "--evnode.log.format=json"):
        assert flag in made.seal_arguments
    assert not any("catchup_timeout" in word for word in made.seal_arguments)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (("block_time: 1s", "block_time: 1s\n  catchup_timeout: 5s"), r"node\.catchup_timeout is 5s"),
        (("block_time: 1s", "block_time: 1s\n  promotable: true"), r"node\.promotable is on"),
        (("block_time: 1s", "block_time: 1s\n  based_sequencer: true"), r"node\.based_sequencer is on"),
        (("  namespace: lab\n", ""), r"da\.namespace is not set.*evnode_config_overrides"),
        (("  address: http://da:7980\n", ""), r"da\.address is not set"),
        (("block_time: 1s", "block_time: 60s\n  lazy_mode: true"), "lazy_block_interval must be above"),
        (("block_time: 1s", "block_time: 1s\n  block_time: 2s"), "block_time stands twice"),
        (("/ip4/0.0.0.0/tcp/7676", "/dns4/x/tcp/7676"), "must be an address such as"),
    ],
)
def test_what_cannot_work_with_raft_is_refused_by_name(change: tuple[str, str], match: str) -> None:
    base = BASE.decode().replace(*change).encode()
    assert base != BASE
    with pytest.raises(files.MemberConfigError, match=match):
        files.build(request(base=base))


def test_a_flag_of_the_old_command_line_is_refused_just_the_same() -> None:
    with pytest.raises(files.MemberConfigError, match="catchup_timeout is 9s"):
        files.build(request(arguments=[*ARGUMENTS, "--evnode.node.catchup_timeout=9s"]))


def test_an_override_lifts_a_refusal() -> None:
    made = files.build(
        request(arguments=[*ARGUMENTS, "--evnode.node.catchup_timeout=9s"], overrides={"node.catchup_timeout": "0s"})
    )
    assert settings(made, "raft")["node.catchup_timeout"] == "0s"


def test_a_namespace_that_is_not_the_running_one_is_refused() -> None:
    with pytest.raises(files.MemberConfigError, match=r"'lab' stands for .* the sequencer uses 0x00ff"):
        files.build(request(profile={**PROFILE, "namespaces": {"header": "0x00ff"}}))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"leader_lease_timeout": "400ms"}, "leader_lease_timeout above heartbeat_timeout"),
        ({"election_timeout": "300ms"}, "election_timeout below heartbeat_timeout"),
        ({"heartbeat_timeout": "4ms", "leader_lease_timeout": "2ms"}, "below 5 ms"),
        ({"heartbeat_timeout": 350}, "below 5 ms"),
        ({"send_timeout": ""}, "no send_timeout"),
    ],
)
def test_timings_that_raft_refuses_are_named(change: dict[str, t.Any], match: str) -> None:
    with pytest.raises(files.MemberConfigError, match=match):
        files.build(request(timings={**TIMINGS, **change}))


@pytest.mark.parametrize(
    ("address", "match"),
    [
        ("0.0.0.0", "wildcard"),
        ("::", "wildcard"),
        ("127.0.0.1", "no other member reaches"),
        ("::1", "no other member"),
        ("node-2.example", "is a host name"),
        ("10.0.0", "is a host name"),
    ],
)
def test_an_address_that_raft_cannot_use_is_refused(address: str, match: str) -> None:
    with pytest.raises(files.MemberConfigError, match=match):
        files.members_from([MEMBERS[0], {**MEMBERS[1], "address": address}])


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"peer_id": "P1"}, "m2 and m1 have the same peer_id"),
        ({"address": "10.0.0.1"}, "same address"),
        ({"node_id": "node-1"}, "same node_id"),
        ({"node_id": "a@b"}, "may hold letters"),
        ({"sequencer": True}, "exactly one"),
        ({"peer_id": ""}, "has no peer_id"),
    ],
)
def test_members_that_clash_are_named(change: dict[str, t.Any], match: str) -> None:
    with pytest.raises(files.MemberConfigError, match=match):
        files.members_from([MEMBERS[0], {**MEMBERS[1], **change}])


def test_conflicts_say_what_became_of_old_flags_and_hide_secrets() -> None:
    found = {item["flag"]: item for item in files.build(request()).conflicts}
    assert "members use true" in found["--evnode.raft.enable"]["remedy"]
    assert "dropped" in found["--evnode.clear_cache"]["remedy"]
    assert "moved" in found["--evnode.da.auth_token"]["remedy"]
    assert "hush" not in json.dumps(found)
    assert "10.0.0.1:9090" in found
    assert "10.0.0.1:9090" not in {item["flag"] for item in files.build(request(1)).conflicts}


def test_a_diff_shows_fingerprints() -> None:
    made = files.build(request(1))
    for text in (made.modes["raft"].yaml.decode(), _unit_file.arguments_file(made.modes["single"].arguments)):
        assert "hush" in text
        shown = files.redacted(text)
        assert "hush" not in shown
        assert "sha256:" in shown


def test_who_a_url_lets_in_is_in_the_files_and_not_in_what_is_shown() -> None:
    url = "https://account:canary@10.0.0.1:26658/"
    arguments = [*ARGUMENTS, f"--evnode.da.address={url}", "--db-url", url]
    made = files.build(request(arguments=arguments))
    assert settings(made, "raft")["da.address"] == url
    assert made.modes["raft"].arguments[-1] == url
    found = {item["flag"]: item for item in made.conflicts}
    assert "moved" in found["--evnode.da.address"]["remedy"]
    for shown in (
        json.dumps(made.conflicts),
        files.redacted(made.modes["raft"].yaml.decode()),
        files.redacted(_unit_file.arguments_file(made.modes["raft"].arguments)),
    ):
        assert "canary" not in shown
        assert "@10.0.0.1:26658/" in shown


def test_arguments_come_from_material_process_or_file() -> None:
    words = ["start", "--a=b c"]
    for encoded in (json.dumps(words), "/bin/node\0" + "\0".join(words) + "\0", _unit_file.arguments_file(words)):
        assert files.read_arguments(base64.b64encode(encoded.encode()).decode(), {}) == words
    assert files.read_arguments("", {"argv": ["/bin/node", *words]}) == words


@pytest.mark.parametrize("value", ["sha256:0123456789ab", "https://sha256:0123456789ab@host/"])
def test_a_fingerprint_is_never_taken_for_a_secret(value: str) -> None:
    with pytest.raises(files.MemberConfigError, match="material: true"):
        files.read_arguments("", {"argv": ["/n", "start", f"--evnode.da.auth_token={value}"]})


def test_another_application_flag_for_one_member() -> None:
    made = files.build(request(application_flags=["--kv-endpoint", "10.0.0.2:9090"]))
    assert made.modes["raft"].arguments[-2:] == ["--kv-endpoint", "10.0.0.2:9090"]


def test_a_kms_signer_needs_no_passphrase_file() -> None:
    arguments = ["start", "--home=/srv/n", "--evnode.signer.signer_type=kms"]
    profile = {**PROFILE, "passphrase_file": None, "signer": {"type": "kms", "path": None, "address": None}}
    made = files.build(request(arguments=arguments, profile=profile))
    assert not any("passphrase" in word for word in made.modes["raft"].arguments)
    assert "signer.signer_path" not in settings(made, "raft")
