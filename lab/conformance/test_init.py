# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``init``: which files it writes, with which modes, and why it is not to be run twice."""

from __future__ import annotations

import base64
import json
import stat
import time
from pathlib import Path

import yaml

from .node import CHAIN_ID, Bench, Node, peer_id_of, signer_address_of


def modes(directory: Path) -> dict[str, int]:
    return {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in directory.iterdir()}


def written(node: Node) -> dict[str, object]:
    loaded: dict[str, object] = yaml.safe_load(node.yaml_path.read_text())
    return loaded


def test_with_aggregator_four_private_files(bench: Bench) -> None:
    node = bench.add("node-1")
    done = bench.init(node, aggregator=True)
    assert done.rc == 0, done.describe()
    assert modes(node.config_dir) == {
        "evnode.yaml": 0o600,
        "node_key.json": 0o600,
        "genesis.json": 0o600,
        "signer.json": 0o600,
    }
    assert stat.S_IMODE(node.config_dir.stat().st_mode) == 0o750
    assert f"Successfully initialized config file at {node.yaml_path}" in done.stderr
    assert done.stdout == ""


def test_with_aggregator_genesis_names_the_signer(bench: Bench) -> None:
    node = bench.add("node-1")
    assert bench.init(node, aggregator=True).rc == 0
    genesis = node.genesis()
    assert genesis["proposer_address"] == signer_address_of(node.signer_file)
    assert genesis["chain_id"] == CHAIN_ID
    assert genesis["initial_height"] == 1
    assert genesis.get("da_start_height", 0) == 0


def test_with_aggregator_yaml_has_an_absolute_signer_path(bench: Bench) -> None:
    node = bench.add("node-1")
    assert bench.init(node, aggregator=True).rc == 0
    config = written(node)
    assert config["node"]["aggregator"] is True  # type: ignore[index]
    assert config["signer"]["signer_path"] == str(node.config_dir)  # type: ignore[index]


def test_key_files_have_the_known_fields(bench: Bench) -> None:
    node = bench.add("node-1")
    assert bench.init(node, aggregator=True).rc == 0
    key = json.loads((node.config_dir / "node_key.json").read_text())
    assert set(key) == {"priv_key", "pub_key"}
    private, public = base64.b64decode(key["priv_key"]), base64.b64decode(key["pub_key"])
    assert len(private) == 64 and private[32:] == public
    assert peer_id_of(node.config_dir / "node_key.json").startswith("12D3KooW")
    signer = json.loads(node.signer_file.read_text())
    assert set(signer) == {"priv_key_encrypted", "nonce", "pub_key", "salt"}
    assert [len(base64.b64decode(signer[name])) for name in ("nonce", "pub_key", "salt")] == [12, 32, 16]


def test_without_aggregator_no_signer_and_no_proposer(bench: Bench) -> None:
    node = bench.add("node-2")
    done = bench.init(node)
    assert done.rc == 0, done.describe()
    assert modes(node.config_dir) == {"evnode.yaml": 0o600, "node_key.json": 0o600, "genesis.json": 0o600}
    assert node.genesis()["proposer_address"] is None
    config = written(node)
    assert config["node"]["aggregator"] is False  # type: ignore[index]
    assert config["signer"]["signer_path"] == "config"  # type: ignore[index]


def test_without_aggregator_the_genesis_cannot_be_started(bench: Bench) -> None:
    node = bench.add("node-2")
    assert bench.init(node).rc == 0
    node.config = bench.base_config(node, "1s")
    node.as_full_node()
    node.start()
    assert node.wait_exit() == 1
    assert node.log_has("proposer_address cannot be nil"), node.describe()


def test_without_aggregator_a_second_init_fails(bench: Bench) -> None:
    node = bench.add("node-2")
    assert bench.init(node).rc == 0
    again = bench.init(node)
    assert again.rc == 1, again.describe()
    assert again.error == "error loading existing genesis file: proposer_address cannot be nil"


def test_aggregator_needs_a_passphrase_file(bench: Bench) -> None:
    node = bench.add("node-1")
    done = bench.binary.run("init", "--home", str(node.home), "--evnode.node.aggregator")
    assert done.rc == 1, done.describe()
    assert done.error == "failed to initialize signer via factory: passphrase is required when using local file signer"
    assert not node.signer_file.exists()


def test_again_on_a_sequencers_home_flips_it_and_loses_what_the_operator_wrote(bench: Bench) -> None:
    node = bench.add("node-1")
    assert bench.init(node, aggregator=True).rc == 0
    kept = {name: (node.config_dir / name).read_bytes() for name in ("genesis.json", "node_key.json", "signer.json")}
    node.yaml_path.write_text(node.yaml_path.read_text() + "\n# operator's note\nmy_own_key: 7\n")
    again = bench.init(node)
    assert again.rc == 0, again.describe()
    assert f"Genesis file already exists at {node.config_dir / 'genesis.json'}, skipping creation." in again.stderr
    assert {name: (node.config_dir / name).read_bytes() for name in kept} == kept
    assert written(node)["node"]["aggregator"] is False  # type: ignore[index]
    text = node.yaml_path.read_text()
    assert "operator's note" not in text and "my_own_key" not in text


def test_again_with_a_wrong_passphrase_fails(bench: Bench) -> None:
    node = bench.add("node-1")
    assert bench.init(node, aggregator=True).rc == 0
    wrong = bench.directory / "wrong"
    wrong.write_text("not this\n")
    again = bench.binary.run(
        "init", "--home", str(node.home), "--evnode.node.aggregator", "--evnode.signer.passphrase_file", str(wrong)
    )
    assert again.rc == 1, again.describe()
    assert "wrong passphrase" in again.error


def test_namespace_is_random_and_differs_between_machines(bench: Bench) -> None:
    first, second = bench.add("node-1"), bench.add("node-2")
    assert bench.init(first).rc == 0
    second_of_first = int(time.time())
    bench.wait("the next second of the clock", lambda: int(time.time()) > second_of_first, 3.0)
    assert bench.init(second).rc == 0
    namespaces = [written(node)["da"]["namespace"] for node in (first, second)]  # type: ignore[index]
    assert all(isinstance(namespace, str) and len(namespace) == 10 for namespace in namespaces)
    assert namespaces[0] != namespaces[1]
