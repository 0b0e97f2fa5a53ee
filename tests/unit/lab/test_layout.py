# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from lab.chain import edit_yaml
from lab.errors import LabError
from lab.layout import Layout, available, load, merge_settings, render

LAYOUTS = available()


def names(layout: Layout) -> dict[str, str]:
    return layout.names(address="10.87.0.11", da_address="http://10.87.0.1:7980")


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_placeholder_is_filled(name: str) -> None:
    layout = load(name)
    texts = [layout.unit_file, *layout.drop_ins.values(), *layout.files.values()]
    texts += [value for value in layout.settings.values() if isinstance(value, str)]
    for text in texts:
        assert not re.search(r"@[a-z0-9_]+@", render(text, names(layout)))


@pytest.mark.parametrize("name", LAYOUTS)
def test_paths_are_absolute_and_ports_differ(name: str) -> None:
    layout = load(name)
    assert all(path.startswith("/") for path in (layout.home, layout.user_home, layout.binary, layout.passphrase_file))
    assert set(layout.ports) == {"rpc", "p2p", "raft", "app"}
    assert len(set(layout.ports.values())) == 4


@pytest.mark.parametrize("name", LAYOUTS)
def test_last_command_line_has_home_and_passphrase_file(name: str) -> None:
    layout = load(name)
    text = "\n".join([layout.unit_file, *(layout.drop_ins[key] for key in sorted(layout.drop_ins))])
    joined = render(text, names(layout)).replace("\\\n", " ")
    last = [line for line in joined.splitlines() if line.startswith("ExecStart=")][-1]
    argv = shlex.split(last.removeprefix("ExecStart="))
    flat = [part for word in argv for part in word.split("=", 1)]
    assert argv[:2] == [layout.binary, "start"]
    assert flat[flat.index("--home") + 1] == layout.home
    assert flat[flat.index("--evnode.signer.passphrase_file") + 1] == layout.passphrase_file


def test_the_second_layout_shares_nothing_that_could_be_assumed() -> None:
    one, other = load("default"), load("alternative")
    for key in ("unit", "user", "group", "home", "user_home", "binary", "chain_id"):
        assert getattr(one, key) != getattr(other, key)
    assert not set(one.ports.values()) & set(other.ports.values())
    assert not other.home.startswith(other.user_home)


def test_unknown_placeholder_is_named() -> None:
    with pytest.raises(LabError, match="@nosuch@"):
        render("a @nosuch@ b", {"home": "/x"})


def test_incomplete_layout_names_its_keys(tmp_path: Path) -> None:
    (tmp_path / "x.yml").write_text("unit: a\nuniit: b\n", encoding="utf-8")
    with pytest.raises(LabError, match=r"unknown keys \['uniit'\], missing keys .*'binary'"):
        load("x", tmp_path)


TEXT = """\
# top
db_path: data
node:
  # how often
  block_time: 100ms
  lazy_mode: false

da:
  address: ""
"""


def test_edit_keeps_comments_and_order() -> None:
    edited = edit_yaml(TEXT, {"node.block_time": "1s", "da.address": "http://a:1", "db_path": "store"})
    assert edited == TEXT.replace("100ms", "1s").replace('""', "http://a:1").replace("data", "store")


def test_edit_follows_the_indentation_that_is_there() -> None:
    text = "node:\n    # how often\n\n    block_time: 1s\n"
    assert edit_yaml(text, {"node.block_time": "2s", "node.new": 1}) == (
        "node:\n    # how often\n\n    block_time: 2s\n    new: 1\n"
    )


def test_edit_adds_keys_and_sections() -> None:
    edited = edit_yaml(TEXT, {"node.new": 5, "rpc.address": "127.0.0.1:1", "top": "x: y"})
    assert "# how often" in edited
    assert merge_settings({}, {"a.b": 1}) == {"a": {"b": 1}}
    assert "  new: 5\n" in edited
    assert "rpc:\n  address: 127.0.0.1:1\n" in edited
    assert "top: 'x: y'\n" in edited


def test_edit_refuses_what_it_cannot_express() -> None:
    with pytest.raises(LabError, match=r"node\.block_time"):
        edit_yaml("node: {block_time: 1s}\n", {"node.block_time": "2s"})
