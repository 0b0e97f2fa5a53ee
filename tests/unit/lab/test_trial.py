# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the scenarios judge by has to see what it is for."""

from __future__ import annotations

import base64
import os

import pytest

from lab.trial import disk, history, leaks, play

SECRET = b"correct horse battery"


@pytest.mark.parametrize("before", ["", "a", "ab", "abc", "a longer text before it"])
@pytest.mark.parametrize("after", ["", "z", "yz", "xyz"])
def test_a_secret_is_seen_inside_base64_at_every_offset(before, after):
    encoded = base64.b64encode(before.encode() + SECRET + after.encode())
    assert leaks.Needles({"secret": SECRET}).within(b"x=" + encoded + b";")


def test_other_text_holds_no_secret():
    needles = leaks.Needles({"secret": SECRET})
    assert needles.within(b"correct horse" + b"\n" + base64.b64encode(b"correct horse") + SECRET[::-1]) == set()


def test_a_secret_across_two_pieces_of_a_sparse_file_is_seen(tmp_path):
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.seek(8 * disk.CHUNK - 5)
        file.write(SECRET)
        file.truncate(64 * disk.CHUNK)
    needles = leaks.Needles({"secret": SECRET})
    assert needles.in_file(path) == {"secret (plain)"}
    assert needles.below(tmp_path) == {"file": {"secret (plain)"}}


def test_the_data_of_a_file_is_all_of_it(tmp_path):
    path = tmp_path / "file"
    text = os.urandom(3 * disk.CHUNK + 17)
    path.write_bytes(text)
    assert b"".join(disk.data_of(path)) == text


def test_the_recap_is_read_by_host():
    output = """
ok: [node-1] => changed=5
PLAY RECAP *********************************************************************
localhost                  : ok=7    changed=0    unreachable=0    failed=0    skipped=0    rescued=0    ignored=0
node-1                     : ok=42   changed=2    unreachable=0    failed=1    skipped=17   rescued=0    ignored=0
"""
    found = play.recap(output)
    assert set(found) == {"localhost", "node-1"}
    assert (found["node-1"]["changed"], found["node-1"]["failed"]) == (2, 1)


def test_a_run_that_ended_early_has_no_recap():
    assert play.recap("ERROR! the playbook could not be found\n") == {}


def test_a_difference_names_what_came_went_and_changed():
    words = disk.difference({"/a": "1", "/b": "1", "/c": "1"}, {"/a": "1", "/b": "2", "/d": "1"})
    assert words == ["/b: 1 => 2", "/c: 1 => gone", "/d: not there => 1"]


LOG = """
\x1b[90m9:01PM\x1b[0m \x1b[32mINF\x1b[0m produced block \x1b[36mheight=\x1b[0m7 txs=0
{"level":"info","height":8,"message":"produced block"}
9:01PM INF applied block height=9
9:02PM INF produced block height=7 txs=1
"""


def test_every_block_that_a_log_names_counts_as_often_as_it_does():
    assert history.heights_made(LOG) == [7, 8, 7]
    assert history.heights_made("") == []


@pytest.mark.parametrize(
    ("made", "words"),
    [
        pytest.param({"a": [1, 2], "b": [3]}, [], id="one-writer"),
        pytest.param({"a": [1, 2], "b": [2]}, ["block 2 was made by a and b"], id="two-hosts"),
        pytest.param({"a": [1, 2, 2], "b": []}, ["block 2 was made by a and a"], id="one-host-twice"),
    ],
)
def test_a_height_that_was_made_twice_is_named(made, words):
    assert history.made_twice(made) == words


def test_logs_that_tell_nothing_are_no_proof():
    assert "would not be seen" in history.made_twice({"a": [], "b": []})[0]
