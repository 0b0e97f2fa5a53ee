# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The matrix of planted faults: how its list is read, and when a report is what was expected."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.matrix.__main__ import CLIENTS, FAULTS, differences, faults

SAID = [("disk", "ok", "node-1"), ("no-route", "block", "node-2 -> node-3"), ("jitter", "warn", "node-4")]


@pytest.mark.parametrize(
    ("finds", "wrong"),
    [
        ([("no-route", "node-2 -> node-3"), ("jitter", "node-4")], []),
        ([("no-route", "* -> node-3"), ("*", "node-4")], []),
        ([("no-route", "* -> node-3")], ["said beyond: jitter of node-4"]),
        ([], ["said beyond: no-route of node-2 -> node-3", "said beyond: jitter of node-4"]),
        (
            [("no-route", "node-2 -> node-3"), ("jitter", "node-5")],
            ["not said: jitter of node-5", "said beyond: jitter of node-4"],
        ),
        ([("disk", "node-1"), ("*", "*")], ["not said: disk of node-1"]),
    ],
)
def test_all_that_is_expected_and_nothing_beyond(finds: list[tuple[str, str]], wrong: list[str]) -> None:
    assert differences(finds, SAID) == wrong


def test_members_of_a_verdict_may_be_many() -> None:
    (fault,) = faults("[{fault: a, finds: {no-route: [x, y], jitter: z}}]")
    assert fault.finds == [("no-route", "x"), ("no-route", "y"), ("jitter", "z")]
    assert (fault.on, fault.on_hosts) == ("node-1", False)


@pytest.mark.parametrize("text", ["[{fault: a}]", "[{fault: a, finds: {}, host: node-1}]"], ids=["no end", "a slip"])
def test_an_entry_of_another_form(text: str) -> None:
    with pytest.raises(LabError, match="a fault has fault, finds"):
        faults(text)


def test_every_verdict_of_the_list_is_one_of_preflights() -> None:
    known = set(re.findall(r"^### (\S+)$", (Path(__file__).parents[3] / "docs/verdicts.md").read_text(), re.MULTILINE))
    listed = [*faults(FAULTS.read_text()), *faults(CLIENTS.read_text())]
    named = {verdict for fault in listed for verdict, _member in fault.finds}
    assert named - {"*"} <= known
