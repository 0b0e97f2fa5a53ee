# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/verdicts.md has an entry for every verdict of preflight, with its severity, a line for every one of verify, and
none for any other. The sections of the runbook that messages name are there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.plugin_utils import _profile, _verify
from ansible_collections.evnode.sequencer_ha.plugins.plugin_utils._preflight import (
    access,
    clocks,
    execution,
    hosts,
    inventory,
    joiners,
    network,
    sequencer,
)

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "verdicts.md").read_text(encoding="utf-8")
SEVERITIES = {"BLOCK": "block", "WARN": "warn", "OK": "ok"}


def bindings(function: ast.FunctionDef) -> list[dict[str, Any]]:
    """What the names of a function may stand for, as written down: rows of a loop, choices of an assignment."""
    choices: list[list[dict[str, Any]]] = []
    for node in ast.walk(function):
        if isinstance(node, ast.For) and isinstance(node.iter, ast.Tuple):
            targets = node.target.elts if isinstance(node.target, ast.Tuple) else [node.target]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
            rows = [ast.literal_eval(row) for row in node.iter.elts]
            choices.append([dict(zip(names, row if isinstance(row, tuple) else (row,), strict=True)) for row in rows])
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.IfExp):
            (target,) = node.targets
            values = [value.value for value in (node.value.body, node.value.orelse) if isinstance(value, ast.Constant)]
            if isinstance(target, ast.Name) and values:
                choices.append([{target.id: value} for value in values])
    return [{key: value for part in row for key, value in part.items()} for row in product(*choices)]


def text_of(node: ast.expr, names: dict[str, Any]) -> str | None:
    """The text that an expression stands for; None for one that comes from elsewhere: it is found where it is made."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.JoinedStr):
        parts = [text_of(part.value if isinstance(part, ast.FormattedValue) else part, names) for part in node.values]
        return None if None in parts else "".join(str(part) for part in parts)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "replace":
        before = text_of(node.func.value, names)
        return None if before is None else before.replace(*(ast.literal_eval(argument) for argument in node.args))
    return None


def calls(module: Any, wanted: dict[str, int | None], only: set[str] | None = None) -> Iterator[tuple[str, set[str]]]:
    """Ids in the calls of `wanted` (name, and which argument is the severity), with the severities they may have."""
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    for function in functions:
        if only is not None and function.name not in only:
            continue
        for node in ast.walk(function):
            name = getattr(node.func, "id", getattr(node.func, "attr", "")) if isinstance(node, ast.Call) else ""
            if not isinstance(node, ast.Call) or name not in wanted:
                continue
            place = wanted[name]
            severity = None if place is None else SEVERITIES.get(getattr(node.args[place], "id", ""))
            for names in bindings(function):
                identity = text_of(node.args[0], names)
                if identity is not None:
                    yield identity.replace("_", "-"), {severity} - {None}


def in_code() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for identity, severities in (
        *(
            call
            for module in (access, clocks, execution, hosts, inventory, joiners, network, sequencer)
            for call in calls(module, {"Verdict": 1, "_least": None})
        ),
        *calls(_profile, {"_problem": None}),
        *calls(_verify, {"Verdict": 1}, {"second_nodes"}),
    ):
        found.setdefault(identity, set()).update(severities)
    return found


IN_CODE = in_code()
ENTRIES = dict(re.findall(r"^### (\S+)\n(.+)$", TEXT, re.MULTILINE))
IN_ORDER = set(re.findall(r"`([a-z0-9-]+)`", TEXT.partition("## In order")[2].partition("\n## ")[0]))


def test_the_code_was_understood() -> None:
    """Of each way in which an id is written, one."""
    assert {"even-members", "no-sequencer", "duplicate-peer-id", "distinct-peer-id", "light-node"} <= set(IN_CODE)
    assert {"jwt-file-unreadable", "bad-flag", "systemd-too-old", "second-node"} <= set(IN_CODE)


def test_every_verdict_has_an_entry_and_every_entry_a_verdict() -> None:
    good = {identity for identity, severities in IN_CODE.items() if severities == {"ok"}} | {"systemd"}
    assert good == IN_ORDER
    assert sorted(ENTRIES) == sorted(set(IN_CODE) - good)
    assert len(re.findall(r"^### ", TEXT, re.MULTILINE)) == len(ENTRIES)


@pytest.mark.parametrize("identity", sorted(ENTRIES))
def test_an_entry_names_severity_evidence_and_remedy(identity: str) -> None:
    entry = ENTRIES[identity]
    assert IN_CODE[identity] - {"ok"} <= set(re.findall(r"`(block|warn|ok)`", entry))
    _before, evidence, after = entry.partition("Evidence: ")
    assert evidence
    # The sentence after the evidence is the remedy.
    assert re.search(r"\. [A-Z][^.]+\.", after), entry


def test_told_only_is_a_warning() -> None:
    for problem in sequencer.TOLD_ONLY:
        assert ENTRIES[problem.replace("_", "-")].startswith("`warn`"), problem
    for identity, _severities in calls(_profile, {"_problem": None}):
        if identity.replace("-", "_") not in sequencer.TOLD_ONLY:
            assert ENTRIES[identity].startswith("`block`"), identity


def test_hazards_name_verdicts_that_exist() -> None:
    table = TEXT.partition("## The hazards of doing it by hand")[2]
    rows = [line.split("|")[2] for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 42
    named = {word for row in rows for word in re.findall(r"`([a-z0-9]+(?:-[a-z0-9]+)+)`", row)}
    assert named <= set(IN_CODE)


def test_every_verdict_of_verify_has_a_line() -> None:
    text = Path(_verify.__file__).read_text(encoding="utf-8")
    bad = set(re.findall(r'Verdict\(\s*"([a-z-]+)", (?!OK)', text)) | set(re.findall(r'_unreadable\("([a-z-]+)"', text))
    bad |= {f"{name}-differs" for name in re.findall(r'_equal\(\s*"([a-z]+)"', text)}
    assert {"seam", "raft-off", "namespace-differs", "hash-unknown", "member-silent"} <= bad
    table = TEXT.partition("## What verify says")[2].partition("\n## ")[0]
    ids = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    # raft-member is of a chain that has gone back to its single sequencer, which the stage is not asked about.
    assert sorted(re.findall(r"`([a-z-]+)`", " ".join(ids))) == sorted(bad - {"raft-member"})


def test_sections_of_the_runbook_that_messages_name_are_there() -> None:
    headings = re.findall(r"^#+ (.+)$", (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8"), re.MULTILINE)
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "plugins").rglob("*.py")]
    named = {section for text in sources for section in re.findall(r"the runbook, section '([^']+)'", text)}
    assert len(named) > 1
    assert named <= set(headings)
