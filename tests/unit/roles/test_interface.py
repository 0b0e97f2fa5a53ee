# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator may set is said in several places; here they are held together."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

CHECKOUT = Path(__file__).parents[3]
ROLES = sorted(path.name for path in (CHECKOUT / "roles").iterdir())
TAKING_OVER = "Decide by the settings of the members"
ASSIGNMENT = re.compile(r"^(?:# )?((evnode_\w+): .*)$", re.MULTILINE)


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}


def entry_points(role: str) -> dict[str, dict[str, Any]]:
    specs = read(CHECKOUT / "roles" / role / "meta" / "argument_specs.yml")["argument_specs"]
    return {name: spec.get("options", {}) for name, spec in specs.items()}


def test_the_example_inventory_has_every_variable_as_it_is_by_default() -> None:
    texts = ["roles/evnode/defaults/main.yml", "inventory.example/group_vars/evnode_members.yml"]
    defaults, example = (ASSIGNMENT.findall((CHECKOUT / text).read_text(encoding="utf-8")) for text in texts)
    assert len(defaults) > 20
    assert example == defaults


@pytest.mark.parametrize("role", ROLES)
def test_defaults_are_the_documented_ones(role: str) -> None:
    defaults = read(CHECKOUT / "roles" / role / "defaults" / "main.yml") or {}
    documented = {name for options in entry_points(role).values() for name in options}
    assert set(defaults) <= documented
    for name, options in entry_points(role).items():
        for option, spec in options.items():
            if "default" in spec:
                assert defaults[option] == spec["default"], f"{name}: {option}"
            else:
                computed = isinstance(defaults.get(option), str) and "{{" in defaults[option]
                assert option not in defaults or computed, f"{name}: {option} has a default that is not documented"


@pytest.mark.parametrize("role", ROLES)
def test_every_entry_point_is_documented(role: str) -> None:
    files = {path.stem for path in (CHECKOUT / "roles" / role / "tasks").glob("*.yml") if path.stem[0] != "_"}
    assert files == set(entry_points(role))


def sentences(path: Path) -> list[str]:
    parsed = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    texts = [node.value for node in parsed if isinstance(node, ast.Constant)]
    return [text for text in texts if isinstance(text, str) and " " in text]


def test_a_remedy_names_variables_that_an_inventory_may_set() -> None:
    defaults = read(CHECKOUT / "roles" / "evnode" / "defaults" / "main.yml")
    known = {*defaults, "evnode_members", "evnode_sequencer", "evnode_joiners"}
    named = {
        (path.name, word)
        for folder in ("plugin_utils", "module_utils")
        for path in (CHECKOUT / "plugins" / folder).rglob("*.py")
        for text in sentences(path)
        for word in re.findall(r"\bevnode_[a-z_]+[a-z]", text)
    }
    assert len(named) > 5
    assert {(name, word) for name, word in named if word not in known and word != "evnode_ha"} == set()


WORD = re.compile(r"(?<![.'\w])[a-z]+_\w+")


def words_of(value: Any) -> set[str]:
    return set(WORD.findall(yaml.safe_dump(value, width=1_000_000)))


def made_of(names: set[str]) -> set[str]:
    """Variables, and all that they are made of."""
    derived = {
        **read(CHECKOUT / "playbooks" / "vars" / "members.yml"),
        **read(CHECKOUT / "playbooks" / "vars" / "roles.yml"),
    }
    open_, found = names, set()
    while open_:
        found |= open_
        open_ = {word for name in open_ & set(derived) for word in words_of(derived[name])} - found
    return found


def decided_by() -> set[str]:
    """Every variable that a play on localhost reads, through the variables that are made of others."""
    open_: set[str] = set()
    for path in (CHECKOUT / "playbooks" / "stages").glob("*.yml"):
        for play in read(path):
            if play.get("hosts") == "localhost" and play["name"] != TAKING_OVER:
                open_ |= words_of(play["tasks"])
                for included in re.findall(r"\.\./tasks/(\w+\.yml)", yaml.safe_dump(play["tasks"])):
                    open_ |= words_of(read(CHECKOUT / "playbooks" / "tasks" / included))
    return made_of(open_)


# What changes nothing that is done: how long is waited, how fast it is copied, where it is told, and by whose word.
NOT_PLANNED = {
    *("evnode_arm_timeout", "evnode_freeze_timeout", "evnode_agree_timeout", "evnode_health_timeout", "evnode_soak"),
    *("evnode_follow_timeout", "evnode_follow_lag", "evnode_copy_bandwidth", "evnode_copy_timeout", "evnode_copy_port"),
    *("evnode_state_dir", "evnode_report_dir", "evnode_secure_logging", "evnode_approved_plan", "evnode_take_over"),
    *("evnode_resume_timeout", "evnode_rollback_trust"),
}


def test_a_plan_that_was_approved_is_one_with_all_choices() -> None:
    settings = set(entry_points("evnode")["main"])
    # Read from the variables of each host, by name, and from what runs.
    by_host = {"evnode_address", "evnode_node_id", "evnode_application_flags", "evnode_service"}
    assert settings - made_of({"evnode_plan"}) - by_host == NOT_PLANNED
    assert {"evnode_flags_by_member", "evnode_member_list", "evnode_profile"} <= made_of({"evnode_plan"})


def test_plays_on_localhost_decide_by_settings_of_the_members() -> None:
    settings = set(entry_points("evnode")["main"])
    decisive = read(CHECKOUT / "playbooks" / "vars" / "members.yml")["evnode_decisive_settings"]
    plays = read(CHECKOUT / "playbooks" / "stages" / "discover.yml")
    [taking] = [play for play in plays if play["name"] == TAKING_OVER]
    taken = taking["tasks"][-1]["ansible.builtin.set_fact"]
    assert taken == {name: f"{{{{ evnode_set_there.{name} }}}}" for name in decisive}
    # A joiner's unit has the name of the sequencer's, whoever reads it.
    assert set(decisive) == settings & decided_by() | {"evnode_service"}
