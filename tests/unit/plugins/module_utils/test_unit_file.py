# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""systemd's notation: what is read and written here was compared with systemd 252 on a real host."""

from __future__ import annotations

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.module_utils import _unit_file as unit_file

UNIT = """\
[Unit]
Description=chain

[Service]
ExecStart=/usr/bin/node start \\
    --home /srv/home \\
# a comment between continued lines
    --flag=x
Environment=A=1
"""

NASTY = [
    "start", "--home", "/a b/c", "--x=it's", '--y=say "hi"', "--z=both ' and \"", "--b=back\\slash \\n \\\\",
    "--d=$HOME ${HOME} $$", "--t=`id`", "", "--p=%h%%", "--s=;", ";", "--u=ünï", "--c=#no", "-", "--e=",
    '--j={"a": [1, "x y"]}', "--star=*?[a]", "--bang=!", "--amp=a&b|c<d>e", "--tilde=~/x", "  lead and trail  ",
]  # fmt: skip


def test_continued_lines_are_joined_across_a_comment() -> None:
    settings = unit_file.Settings([UNIT])
    assert unit_file.command(settings.last("Service", "ExecStart") or "").argv == [
        "/usr/bin/node", "start", "--home", "/srv/home", "--flag=x",
    ]  # fmt: skip


def test_an_empty_assignment_in_a_drop_in_resets_the_list() -> None:
    drop_in = "[Service]\nExecStart=\nExecStart=/usr/bin/other start\n"
    assert unit_file.Settings([UNIT, drop_in]).all("Service", "ExecStart") == ["/usr/bin/other start"]


def test_a_drop_in_adds_to_a_list_it_does_not_reset() -> None:
    assert unit_file.Settings([UNIT, "[Service]\nEnvironment=B=2\n"]).all("Service", "Environment") == ["A=1", "B=2"]


def test_the_same_key_of_another_section_is_something_else() -> None:
    assert unit_file.Settings([UNIT]).last("Unit", "ExecStart") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a  b", ["a", "b"]),
        ("'a b' \"c d\"", ["a b", "c d"]),
        ("--x='a b'c", ["--x=a bc"]),
        ("a\\x20b \\101", ["a b", "A"]),
        ("'it\\'s'", ["it's"]),
        ("'' x", ["", "x"]),
        ("\\q", ["\\q"]),
    ],
)
def test_words_are_split_as_systemd_splits_them(text: str, words: list[str]) -> None:
    assert unit_file.split_words(text) == words


def test_an_open_quote_is_named() -> None:
    with pytest.raises(unit_file.UnitFileError, match="quote is not closed"):
        unit_file.split_words("start 'a b")


def test_prefixes_are_taken_off_and_the_name_after_an_at_sign_left_out() -> None:
    assert unit_file.command("@-/usr/bin/node mynode start") == unit_file.Command("@-", ["/usr/bin/node", "start"])


def test_braced_variables_stay_one_word_and_bare_ones_are_split() -> None:
    cmd = unit_file.command("/n start ${ONE} $MANY $$x pre${ONE} $GONE")
    environment = {"ONE": "a b", "MANY": "--c 'd e'"}
    assert unit_file.expand(cmd, environment) == ["/n", "start", "a b", "--c", "d e", "$x", "prea b"]


def test_a_colon_prefix_switches_variables_off() -> None:
    assert unit_file.expand(unit_file.command(":/n $X"), {"X": "1"}) == ["/n", "$X"]


def test_specifiers_are_replaced_where_known() -> None:
    assert unit_file.specifiers("%h/%%/%q", {"h": "/root"}) == "/root/%/%q"


def test_an_environment_file_is_read_with_quotes_escapes_and_comments() -> None:
    text = '# c\nA=1 2  \nB=\'x # y\'\nC="q \\" \\$ \\n"\n; no\nD=a\\\nb\nbad line\n1X=no\nE=\n'
    assert unit_file.parse_environment_file(text) == {"A": "1 2", "B": "x # y", "C": 'q " $ \\n', "D": "ab", "E": ""}


def test_the_arguments_file_gives_back_every_word_it_was_given() -> None:
    text = unit_file.arguments_file(NASTY)
    assert text.count("\n") == 1
    assert unit_file.read_arguments_file(text) == NASTY


def test_the_arguments_file_is_written_as_seen_to_work() -> None:
    assert unit_file.arguments_file(["--a=b c", "$x", "it's"]) == "EVNODE_HA_ARGS=\"'--a=b c' '\\$x' \\\"it's\\\"\"\n"


def test_a_control_character_in_an_argument_is_refused_without_its_value() -> None:
    with pytest.raises(unit_file.UnitFileError, match="'--token' holds a control character") as caught:
        unit_file.arguments_file(["--token=hush\nhush"])
    assert "hush" not in caught.value.message


def test_a_file_without_the_variable_says_what_to_do() -> None:
    with pytest.raises(unit_file.UnitFileError, match="run the config stage again"):
        unit_file.read_arguments_file("OTHER=1\n")


def test_an_assignment_survives_the_unit_file() -> None:
    assignment = 'A=say "hi" \\ there'
    assert unit_file.split_words(unit_file.quote_assignment(assignment)) == [assignment]
