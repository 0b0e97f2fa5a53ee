# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the scenarios judge by has to see what it is for."""

from __future__ import annotations

import base64
import os

import pytest

from lab.trial import disk, leaks, play

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
