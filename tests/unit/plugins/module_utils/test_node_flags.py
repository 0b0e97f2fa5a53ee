# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.module_utils import _node_flags as flags


def test_both_spellings_of_a_value_and_both_prefixes_are_read() -> None:
    line = flags.parse(
        [
            "start",
            "--home",
            "/h",
            "--evnode.node.block_time",
            "2s",
            "--rollkit.da.address=http://da",
            "--evnode.raft.enable",
        ]
    )
    assert (line.subcommand, line.home) == ("start", "/h")
    assert line.flags == {"node.block_time": "2s", "da.address": "http://da", "raft.enable": "true"}
    assert line.spellings["da.address"] == "--rollkit.da.address"


def test_a_switch_does_not_swallow_the_next_word() -> None:
    line = flags.parse(["start", "--evnode.node.aggregator", "--kv-endpoint", "0.0.0.0:1"])
    assert line.flags == {"node.aggregator": "true"}
    assert line.application == ["--kv-endpoint", "0.0.0.0:1"]


def test_the_last_of_two_flags_counts_and_the_pair_is_named() -> None:
    line = flags.parse(["start", "--evnode.p2p.peers=a", "--rollkit.p2p.peers=b"])
    assert line.flags["p2p.peers"] == "b"
    assert line.duplicates == ["p2p.peers"]


def test_application_flags_are_kept_byte_for_byte_and_in_order() -> None:
    words = ["--evm.eth-url=http://x:1", "--evm.fee-recipient", "0xAB", "-v", "--solo-sequencer"]
    assert flags.parse(["start", words[0], "--home=/h", *words[1:]]).application == words


def test_a_flag_without_its_value_is_refused() -> None:
    with pytest.raises(flags.FlagError, match=r"ends with --evnode\.da\.address"):
        flags.parse(["start", "--evnode.da.address"])


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("evnode.da.auth_token", True),
        ("evm.jwt-secret", True),
        ("evm.jwt-secret-file", False),
        ("evnode.signer.passphrase_file", False),
        ("evnode.signer.passphrase", True),
        ("API_KEY", True),
        ("signer.kms.gcp.credentials_file", False),
        ("signer.kms.aws.key_id", False),
        ("node.block_time", False),
    ],
)
def test_secrets_are_told_by_name(name: str, secret: bool) -> None:
    assert flags.is_secret(name) is secret


def test_masking_hides_both_spellings_and_equal_secrets_look_equal() -> None:
    shown = flags.mask_arguments(["start", "--evnode.da.auth_token=hush", "--my.password", "hush", "--home=/h"])
    assert "hush" not in " ".join(shown)
    assert shown[1].partition("=")[2] == shown[3]
    assert shown[-1] == "--home=/h"


def test_masked_environment_keeps_what_is_no_secret() -> None:
    assert flags.mask_environment(["A=1", "API_TOKEN=hush"])[0] == "A=1"
    assert "hush" not in flags.mask_environment(["API_TOKEN=hush"])[0]


CANARY = "https://account:c@nary@host:26658/path?by=a@b"


def test_a_url_shows_its_host_and_not_who_is_let_in() -> None:
    shown = flags.shown("da.address", CANARY)
    assert shown.startswith("https://sha256:") and shown.endswith("@host:26658/path?by=a@b")
    assert shown == flags.shown("other", CANARY), "equal secrets look equal"
    assert shown != flags.shown("da.address", CANARY.replace("c@nary", "other"))
    assert "nary" not in flags.shown("x", f"http://10.0.0.1:1,{CANARY}")


@pytest.mark.parametrize(
    "value", ["https://host:1/a?by=a@b", "node-2@10.0.0.2:5001", "/ip4/10.0.0.9/tcp/7676/p2p/X", "", 7, True, None]
)
def test_what_lets_nobody_in_is_shown_as_it_is(value: object) -> None:
    assert flags.shown("da.address", value) == value
    assert not flags.holds_secret("da.address", value)


def test_urls_are_masked_wherever_names_are() -> None:
    words = ["start", f"--evnode.da.address={CANARY}", "--db-url", CANARY, "--db-name=x", f"--api.token={CANARY}"]
    assert "nary" not in " ".join(flags.mask_arguments(words))
    assert flags.secret_flags(words) == ["--api.token", "--db-url", "--evnode.da.address"]
    assert "nary" not in flags.mask_environment([f"DB_URL={CANARY}"])[0]
    assert [flags.secret_assignment(item) for item in (f"DB_URL={CANARY}", "API_TOKEN=x", "A=1")] == [True, True, False]
    nested = flags.mask_settings({"da.address": CANARY, "app": {"urls": [CANARY, 7], "token": ["hush"]}})
    assert "nary" not in str(nested) and "hush" not in str(nested)
    assert nested["app"]["urls"][1] == 7


def test_what_was_masked_once_is_still_known_as_a_secret() -> None:
    assert flags.secret_assignment(flags.mask_environment([f"DB_URL={CANARY}"])[0])


def test_an_application_flag_is_found_in_both_spellings() -> None:
    assert flags.application_value(["--evm.jwt-secret-file", "/a"], flags.JWT_FLAGS) == "/a"
    assert flags.application_value(["--evm.jwt-secret-file=/a", "--evm.jwt-secret-file=/b"], flags.JWT_FLAGS) == "/b"
    assert flags.application_value(["--other"], flags.JWT_FLAGS) is None
