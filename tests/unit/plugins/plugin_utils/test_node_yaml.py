# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
import yaml

from ansible_collections.evnode.sequencer_ha.plugins.plugin_utils import _node_yaml as node_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("12:30", "12:30"),
        ("2026-01-02", "2026-01-02"),
        ("1e3", 1000.0),
        ("0o17", 15),
        ("017", 15),
        ("08", 8.0),
        ("1_000", 1000),
        ("~", None),
        ("92ms", "92ms"),
        ("0x1F", 31),
        ('"5"', "5"),
    ],
)
def test_values_are_read_as_the_node_reads_them(text: str, value: t.Any) -> None:
    found = node_yaml.load(f"k: {text}\n")["k"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    "value", ["no", "on", "1e3", "0o17", "12:30", "", "92ms", "y", "a: b", "# x", "true", "5", "~", "ü"]
)
def test_texts_stay_texts_for_every_version_of_yaml(value: str) -> None:
    text = node_yaml.dump({"k": value})
    assert node_yaml.load(text) == {"k": value}
    assert yaml.safe_load(text) == {"k": value}


def test_types_and_order_survive() -> None:
    document = {"z": 1, "a": {"b": True, "c": 0.8, "d": ["x", 2], "e": None}}
    text = node_yaml.dump(document)
    assert node_yaml.load(text) == document
    assert list(node_yaml.load(text)) == ["z", "a"]


def test_a_key_that_stands_twice_is_named_with_its_line() -> None:
    with pytest.raises(node_yaml.NodeYamlError, match=r"key namespace stands twice \(line 3\)"):
        node_yaml.load("da:\n  namespace: a\n  namespace: b\n")


@pytest.mark.parametrize(
    ("text", "match"), [("a: [", "not valid YAML"), ("- a\n- b\n", "no settings"), ("a:\n\tb: 1\n", "line 2")]
)
def test_what_the_node_would_ignore_is_an_error(text: str, match: str) -> None:
    with pytest.raises(node_yaml.NodeYamlError, match=match):
        node_yaml.load(text)


def test_an_empty_file_and_a_second_document_are_fine() -> None:
    assert node_yaml.load("") == {}
    assert node_yaml.load("a: 1\n---\nb: 2\n") == {"a": 1}


def test_keys_are_flattened_without_regard_to_case() -> None:
    assert node_yaml.flatten({"Node": {"Block_Time": "1s"}, "raft.enable": True}) == {
        "node.block_time": "1s",
        "raft.enable": True,
    }


def test_a_setting_replaces_every_spelling_of_its_key() -> None:
    document = {"Node": {"Aggregator": True, "x": 1}, "node.aggregator": True, "other": {"keep": 1}}
    merged = node_yaml.with_settings(document, {"node.aggregator": False, "raft.enable": True})
    assert merged == {"Node": {"Aggregator": False, "x": 1}, "other": {"keep": 1}, "raft": {"enable": True}}
    assert document["node.aggregator"] is True


def test_two_spellings_of_a_section_become_one() -> None:
    merged = node_yaml.with_settings({"da": {"a": 1}, "DA": {"b": 2}}, {"da.c": 3})
    assert merged == {"da": {"a": 1, "b": 2, "c": 3}}


def test_subclasses_of_plain_types_are_written_as_plain() -> None:
    class Tagged(str):
        """Like the texts that Ansible hands over."""

    assert node_yaml.dump(node_yaml.with_settings({}, {"a.b": Tagged("x")})) == "a:\n  b: x\n"
