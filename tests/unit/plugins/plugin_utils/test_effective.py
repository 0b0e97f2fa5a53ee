# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.plugin_utils import _effective as effective


def test_flag_over_file_over_default() -> None:
    found = effective.effective(
        {"node.block_time": "2s"}, {"node.block_time": "3s", "log.level": "debug", "own.key": 7}
    )
    assert found["node.block_time"] == ("2s", "flag")
    assert found["log.level"] == ("debug", "yaml")
    assert found["rpc.address"] == ("127.0.0.1:7331", "default")
    assert found["own.key"] == (7, "yaml")


def test_an_empty_key_of_the_file_is_no_key() -> None:
    assert effective.effective({}, {"log.level": None})["log.level"].origin == "default"


def test_flags_become_typed_settings_without_those_that_are_flags_only() -> None:
    assert effective.file_settings(
        {"raft.enable": "1", "raft.snap_count": "3", "da.batch_size_threshold": "0.5", "da.signing_addresses": "a, b",
         "signer.passphrase_file": "/x", "clear_cache": "true", "node.block_time": "1s"}
    ) == {
        "raft.enable": True, "raft.snap_count": 3, "da.batch_size_threshold": 0.5, "da.signing_addresses": ["a", "b"],
        "node.block_time": "1s",
    }  # fmt: skip


def test_a_value_that_the_node_refuses_is_named() -> None:
    with pytest.raises(effective.SettingError, match=r"raft\.enable must be true or false, not 'yes'"):
        effective.file_settings({"raft.enable": "yes"})
    with pytest.raises(effective.SettingError, match=r"raft\.snap_count must be a number"):
        effective.file_settings({"raft.snap_count": "few"})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("92ms", 0.092),
        ("1.5s", 1.5),
        ("2m30s", 150.0),
        ("1h", 3600.0),
        ("0", 0.0),
        ("-1s", -1.0),
        (92, 92e-9),
        ("100us", 1e-4),
        (".5s", 0.5),
    ],
)
def test_durations(text: t.Any, seconds: float) -> None:
    assert effective.seconds(text, "k") == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["1d", "1", "", "s", "1s2", None, True])
def test_what_is_no_duration_is_named(text: t.Any) -> None:
    with pytest.raises(effective.SettingError, match="must be a duration"):
        effective.seconds(text, "node.block_time")


def test_the_namespace_is_what_a_real_node_answered() -> None:
    # GetNamespace of a node that was started with these two names.
    assert effective.namespace_hex("rollup headers") == "0000000000000000000000000000000000000078fdbaf69b7a3c51a221"
    assert effective.namespace_hex("rollup data") == "00000000000000000000000000000000000000c5cc7c727b7305055ea2"


@pytest.mark.parametrize(
    ("address", "port"),
    [("/ip4/0.0.0.0/tcp/7676", 7676), ("/ip4/1.2.3.4/udp/9/quic-v1", 9), (":26660", 26660), ("[::]:1", 1)],
)
def test_ports(address: str, port: int) -> None:
    assert effective.port_of(address, "k") == port


@pytest.mark.parametrize("address", ["7331", "host:", "/dns4/x"])
def test_an_address_without_a_port_is_named(address: str) -> None:
    with pytest.raises(effective.SettingError, match="names no port"):
        effective.port_of(address, "rpc.address")


@pytest.mark.parametrize(
    ("address", "reached"),
    [
        ("0.0.0.0:1", "127.0.0.1:1"),
        (":1", "127.0.0.1:1"),
        ("[::]:1", "[::1]:1"),
        ("10.0.0.1:1", "10.0.0.1:1"),
        ("localhost:1", "127.0.0.1:1"),
    ],
)
def test_a_wildcard_is_reached_on_loopback(address: str, reached: str) -> None:
    assert effective.on_loopback(address) == reached
