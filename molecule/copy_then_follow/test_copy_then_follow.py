# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every stage by its tag alone, as people with an approval in between do it, and the way back before the cutover.

Three members: without node-1 all that are left are the quorum.

The stages depend on each other only through what is on the hosts: no run knows anything of the one before.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from lab import machine
from lab.settings import Settings
from lab.trial import history
from lab.trial.disk import Untouched, running
from lab.trial.play import Controller, Outcome

HOSTS = 3
SETTINGS = {"evnode_seed": "copy_then_follow"}
STAGING = ("provision", "secrets", "peer_ids", "sync", "config")


@pytest.fixture(scope="module")
def fresh(lab: Settings) -> Untouched:
    """The hosts before anything was done to them."""
    return Untouched(lab)


@pytest.fixture(scope="module")
def approved(controller: Controller, fresh: Untouched) -> tuple[str, ...]:
    """The plan as it was shown, and the word that exactly this may be done: arguments of every later run."""
    outcome = controller.run("plan", "--tags", "plan", "-e", f"evnode_report_dir={controller.reports}")
    assert outcome.code == 0, outcome.errors()
    plan = json.loads((controller.reports / "plan.json").read_text(encoding="utf-8"))
    assert any("are given a copy of the store" in step for step in plan["steps"]), "what the inventory's group sets"
    assert 0 < plan["pause"]["low"] < plan["pause"]["high"]
    shown = "".join(outcome.text.split())
    assert f"evnode_approved_plan={plan['fingerprint']}" in shown
    return ("-e", f"evnode_approved_plan={plan['fingerprint']}")


@pytest.fixture(scope="module")
def staged(lab: Settings, controller: Controller, approved: tuple[str, ...]) -> dict[str, Outcome]:
    """Each stage before the cutover, a run each."""
    found = {}
    for stage in STAGING:
        # A run that ended early is begun again from the top: what it has left is in nobody's way.
        tags = f"preflight,{stage}" if stage == "secrets" else stage
        found[stage] = controller.run(stage, "--tags", tags, *approved)
        assert found[stage].code == 0, found[stage].errors()
    return found


def test_only_the_plan_that_was_approved_is_done(
    controller: Controller, fresh: Untouched, approved: tuple[str, ...]
) -> None:
    # As people do it who want an approval before the cutover: what is skipped takes no check of the others away.
    stages = ("--skip-tags", "preflight,cutover,verify,finalize")
    moved = controller.run("moved", *stages, *approved, "-e", "evnode_require_all=false")
    assert moved.code != 0 and "it differs in choices. Nothing was changed." in moved.text, moved.tail()
    assert fresh.changes() == []


def test_stages_before_the_cutover(lab: Settings, staged: dict[str, Outcome], note: Callable[[str], None]) -> None:
    assert staged["peer_ids"].count("changed") == 0
    for stage in ("provision", "secrets", "sync", "config"):
        assert staged[stage].count("changed") > 0
    for host in lab.hosts[1:]:
        assert history.mode(lab, host) == "follower"
    tip = history.height(lab, lab.hosts[0]) or 0
    history.wait_for_height(lab, tip)
    assert history.disagreements(lab, 1, tip) == []
    assert history.second_writers(lab) == []
    # Once, for the last part of the copy alone.
    assert history.stops(lab, lab.hosts[0]) == 1
    pauses = history.gaps_s(history.blocks(lab, lab.hosts[0], 1, tip))
    note(f"longest time between two blocks while staging: {max(pauses):.3f} s")


def test_node_1_is_as_it_was(lab: Settings, staged: dict[str, Outcome], fresh: Untouched) -> None:
    own = ("node-1:/etc/evnode-ha", "node-1:/var/lib/evnode-ha", "node-1: made for a time", "node-1: MainPID")
    # A new name in a directory changes the directory's time.
    parents = ("node-1:/etc:", "node-1:/var/lib:")
    changed = [words for words in fresh.changes() if words.startswith("node-1") and not words.startswith(own + parents)]
    assert changed == []


def test_stages_again(
    controller: Controller, staged: dict[str, Outcome], lab: Settings, approved: tuple[str, ...]
) -> None:
    pid = running(lab, lab.hosts[0])["MainPID"]
    # There is nothing to finish before a cutover: the anchor stays.
    outcome = controller.run("again", "--tags", ",".join([*STAGING, "finalize"]), *approved)
    assert outcome.code == 0, outcome.errors()
    assert outcome.count("changed") == 0
    assert running(lab, lab.hosts[0])["MainPID"] == pid


def test_one_machine_is_filled_again(
    lab: Settings, controller: Controller, staged: dict[str, Outcome], approved: tuple[str, ...]
) -> None:
    """The others follow and are not copied to; the sequencer stops once more, for the one that is empty."""
    layout, empty = lab.layout, lab.hosts[-1]
    machine.execute(empty, ["systemctl", "stop", f"{layout.unit}.service"])
    machine.execute(empty, ["rm", "--recursive", f"/etc/evnode-ha/{layout.unit}/current", f"{layout.home}/data"])
    outcome = controller.run("one-again", "--tags", "sync", *approved)
    assert outcome.code == 0, outcome.errors()
    assert history.stops(lab, lab.hosts[0]) == 2
    assert [history.mode(lab, host) for host in lab.hosts[1:]] == ["follower"] * len(lab.hosts[1:])
    tip = history.height(lab, lab.hosts[0]) or 0
    history.wait_for_height(lab, tip)
    assert history.disagreements(lab, 1, tip) == []


def test_the_way_back_before_the_cutover(lab: Settings, controller: Controller, staged: dict[str, Outcome]) -> None:
    host = lab.hosts[0]
    tip = history.height(lab, host) or 0
    before = history.blocks(lab, host, 1, tip)
    then = running(lab, host)
    outcome = controller.run("rollback", "--tags", "rollback")
    assert outcome.code == 0, outcome.errors()
    assert "The single sequencer produces" in outcome.text
    assert running(lab, host) == then
    assert history.single_problems(lab, before) == []


@pytest.fixture(scope="module")
def finished(
    lab: Settings, controller: Controller, staged: dict[str, Outcome], approved: tuple[str, ...]
) -> dict[str, Outcome]:
    """The stages from the cutover on, a run each."""
    found = {}
    for stage in ("cutover", "verify", "finalize"):
        found[stage] = controller.run(stage, "--tags", stage, *approved)
        assert found[stage].code == 0, found[stage].errors()
    return found


def test_stages_from_the_cutover_on(lab: Settings, finished: dict[str, Outcome], note: Callable[[str], None]) -> None:
    assert finished["cutover"].count("changed") > 0
    assert finished["verify"].count("changed") == 0
    receipt = history.receipt(lab, lab.hosts[0])
    assert history.cluster_problems(lab, receipt["n"], receipt["hash"]) == []
    unit = f"{lab.layout.unit}.service"
    for host in lab.hosts:
        assert machine.execute(host, ["systemctl", "is-enabled", unit]).stdout.strip() == "enabled", host.name
    note(", ".join(f"{stage} {outcome.seconds:.0f} s" for stage, outcome in finished.items()))


@pytest.fixture(scope="module")
def behind(lab: Settings, finished: dict[str, Outcome]) -> int:
    """A height that the cluster made without node-1, which is stopped."""
    host, *others = lab.hosts
    machine.execute(host, ["systemctl", "stop", f"{lab.layout.unit}.service"])
    tip = max(height for other in others if (height := history.height(lab, other)) is not None)
    history.wait_for_height(lab, tip + 3, others)
    return tip + 3


def test_members_come_back_where_a_copy_takes_too_long(lab: Settings, controller: Controller, behind: int) -> None:
    others = lab.hosts[1:]
    made = history.blocks(lab, others[0], 1, behind)
    limits = ("-e", "evnode_copy_bandwidth=5000", "-e", "evnode_resume_timeout=10")
    outcome = controller.run("slow", "--tags", "rollback", *limits)
    assert outcome.code != 0, outcome.tail()
    assert "could not be copied to node-1, whose own may be incomplete now, so node-1 was left stopped" in outcome.text
    assert "evnode_resume_timeout (10 s), the members came back before its end: make that longer" in outcome.text
    history.wait_for_height(lab, behind + 3, others)
    assert history.disagreements(lab, 1, behind + 3, others) == []
    assert history.blocks(lab, others[0], 1, behind) == made
    assert history.second_writers(lab) == []


def test_the_way_back_from_a_cluster_that_went_on_without_node_1(
    lab: Settings, controller: Controller, behind: int, note: Callable[[str], None]
) -> None:
    host, *others = lab.hosts
    tip = max(height for other in others if (height := history.height(lab, other)) is not None)
    made = history.blocks(lab, others[0], 1, tip)
    outcome = controller.run("back", "--tags", "rollback")
    assert outcome.code == 0, outcome.errors()
    assert "holds the most advanced store" in outcome.text
    assert history.single_problems(lab, made, cluster=True) == []
    history.wait_for_height(lab, tip + 3)
    assert history.disagreements(lab, 1, tip + 3) == []
    note(f"rollback with the store moved: {history.longest_pause_s(lab, host, tip - 1):.3f} s")
