# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signer: what is checked at the start, what only when a node leads, and how a passphrase is proven offline."""

from __future__ import annotations

from pathlib import Path

import pytest

from .node import Bench, Node, signer_address_of


def wrong_passphrase(bench: Bench) -> Path:
    path = bench.directory / "wrong-passphrase"
    path.write_text("not this\n")
    return path


def starts_and_says(node: Node, text: str, *flags: str) -> None:
    node.start(*flags, passphrase=False)
    assert node.wait_exit() == 1, node.describe()
    assert node.log_has(text), f"expected {text!r}\n{node.describe(60)}"


def test_wrong_passphrase_ends_the_start(bench: Bench) -> None:
    node = bench.sequencer()
    text = "initialize signer via factory: failed to decrypt private key (wrong passphrase?)"
    starts_and_says(node, text, "--evnode.signer.passphrase_file", str(wrong_passphrase(bench)))


def test_missing_passphrase_flag_ends_the_start(bench: Bench) -> None:
    starts_and_says(bench.sequencer(), "passphrase file must be provided via --evnode.signer.passphrase_file")


def test_the_file_cannot_name_the_passphrase(bench: Bench) -> None:
    node = bench.sequencer()
    node.write_config(signer={"passphrase_file": str(bench.passphrase_file)})
    starts_and_says(node, "passphrase file must be provided via --evnode.signer.passphrase_file")


def test_empty_passphrase_file_ends_the_start(bench: Bench) -> None:
    empty = bench.directory / "empty"
    empty.write_text(" \n")
    starts_and_says(
        bench.sequencer(), f"passphrase file '{empty}' is empty", "--evnode.signer.passphrase_file", str(empty)
    )


def test_missing_signer_ends_the_start(bench: Bench) -> None:
    node = bench.sequencer()
    node.signer_file.unlink()
    node.start()
    assert node.wait_exit() == 1
    assert node.log_has(f"key file not found at {node.signer_file}"), node.describe(60)


def test_a_follower_needs_neither_signer_nor_passphrase(bench: Bench) -> None:
    leader = bench.sequencer()
    leader.start()
    leader.wait_height(2)
    node = bench.joiner("node-2", leader)
    node.signer_file.unlink()
    node.start(passphrase=False)
    node.wait_height(2)


def test_the_running_chain_proposes_with_the_address_in_genesis(bench: Bench) -> None:
    node = bench.sequencer()
    node.start()
    node.wait_height(2)
    address = signer_address_of(node.signer_file)
    assert node.genesis()["proposer_address"] == address
    assert node.state()["nextProposerAddress"] == address
    assert node.header(2)["header"]["proposerAddress"] == address
    assert node.header(2)["signer"]["address"] == address


def test_a_foreign_signer_is_noticed_when_the_node_leads(bench: Bench) -> None:
    node = bench.sequencer()
    stranger = bench.sequencer("stranger")
    node.signer_file.write_bytes(stranger.signer_file.read_bytes())
    node.start()
    assert node.wait_exit() == 1
    assert node.log_has("not a proposer"), node.describe(60)
    assert not node.log_has("produced block")


@pytest.mark.parametrize("linked", [False, True], ids=["file", "link"])
def test_export_proves_the_passphrase(bench: Bench, linked: bool) -> None:
    node = bench.sequencer()
    home = node.home
    if linked:
        home = bench.directory / "only-a-link"
        (home / "config").mkdir(parents=True)
        (home / "config" / "signer.json").symlink_to(node.signer_file)
    good = bench.binary.run(
        "keys", "export", "--home", str(home), "--evnode.signer.passphrase_file", str(bench.passphrase_file)
    )
    assert good.rc == 0, good.rc
    assert good.stdout == ""
    assert len(bytes.fromhex(good.stderr.split()[-1])) == 64
    bad = bench.binary.run(
        "keys", "export", "--home", str(home), "--evnode.signer.passphrase_file", str(wrong_passphrase(bench))
    )
    assert bad.rc == 1
    assert "failed to decrypt private key (wrong passphrase)" in bad.error
    if linked:
        assert [entry.name for entry in (home / "config").iterdir()] == ["signer.json"]


def test_export_needs_the_flag(bench: Bench) -> None:
    node = bench.sequencer()
    done = bench.binary.run("keys", "export", "--home", str(node.home))
    assert done.rc == 1
    assert done.error == "passphrase file is required. Please provide it using the --evnode.signer.passphrase_file flag"


def test_import_refuses_to_overwrite(bench: Bench) -> None:
    node = bench.sequencer()
    before = node.signer_file.read_bytes()
    done = bench.binary.run(
        "keys",
        "import",
        "00" * 64,
        "--home",
        str(node.home),
        "--evnode.signer.passphrase_file",
        str(bench.passphrase_file),
    )
    assert done.rc == 1
    assert done.error == f"key file already exists at {node.signer_file}. Use --force to overwrite"
    assert node.signer_file.read_bytes() == before
