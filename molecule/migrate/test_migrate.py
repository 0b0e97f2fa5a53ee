# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole migration, with transactions coming in all the time: what it changes, what it does not, what it tells."""

from __future__ import annotations

import base64
import contextlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
import yaml

from lab import chain, fleet, machine, traffic
from lab.layout import Layout
from lab.settings import Host, Settings
from lab.shell import wait_for
from lab.trial import fence, history, leaks
from lab.trial.disk import Untouched
from lab.trial.play import Controller, Outcome

RATE = 20.0
# What the operator of this chain has set, beside what its node needs.
OPERATORS_OWN: dict[str, dict[str, Any]] = {"instrumentation": {"max_open_connections": 7}, "log": {"level": "debug"}}
COORDINATORS_STORY = ["secrets", "seeded", "configured", "window_open", "armed", "frozen", "committed", "window_closed"]
JOINERS_STORY = [
    "provisioned",
    "secrets",
    "seeded",
    "configured",
    "sealed",
    "window_open",
    "holding",
    "committed",
    "window_closed",
    "settled",
]


@dataclass(frozen=True)
class Migration:
    """The run that this scenario is about, and what was watched meanwhile."""

    outcome: Outcome
    first: int
    """Height when the sender of transactions had started."""
    needles: leaks.Needles
    sampler: leaks.Sampler
    frozen_at: float
    n: int
    hash: str


@pytest.fixture(scope="module")
def sending(lab: Settings) -> Iterator[int]:
    """Transactions to node-1 from now on; the height at which that began."""
    host = lab.hosts[0]
    config = machine.root(host) / lab.layout.home.lstrip("/") / "config" / "evnode.yaml"
    settings = {f"{section}.{key}": value for section, own in OPERATORS_OWN.items() for key, value in own.items()}
    config.write_text(chain.edit_yaml(config.read_text(encoding="utf-8"), settings), encoding="utf-8")
    before = history.height(lab, host) or 0
    machine.execute(host, ["systemctl", "restart", f"{lab.layout.unit}.service"])
    height = chain.wait_for_blocks(lab, host, above=before + 1)
    traffic.start(lab, host.name, RATE)
    yield height
    traffic.stop(lab)


@pytest.fixture(scope="module")
def rehearsed(lab: Settings, controller: Controller, sending: int) -> tuple[Outcome, list[str]]:
    """`--check --diff`, and what it changed."""
    before = Untouched(lab)
    outcome = controller.run("check", "--check", "--diff")
    return outcome, before.changes()


@pytest.fixture(scope="module")
def migration(lab: Settings, controller: Controller, sending: int, rehearsed: tuple[Outcome, list[str]]) -> Migration:
    """The migration, at the wordiest, with every process watched."""
    needles = leaks.Needles(leaks.secrets_of(lab))
    with leaks.Sampler(needles, [controller.home, controller.tmp]) as sampler:
        outcome = controller.run("migrate", "-vvv", "-e", f"evnode_report_dir={controller.reports}")
    assert outcome.code == 0, outcome.errors()
    host = lab.hosts[0]
    receipt = history.receipt(lab, host)
    (frozen,) = [entry for entry in history.journal(lab, host, run=receipt["run"]) if entry["event"] == "frozen"]
    at = datetime.fromisoformat(frozen["at"]).timestamp()
    history.wait_for_height(lab, receipt["n"] + 3)
    return Migration(outcome, sending, needles, sampler, at, receipt["n"], receipt["hash"])


def test_a_rehearsal_changes_nothing_and_foretells(rehearsed: tuple[Outcome, list[str]]) -> None:
    outcome, changes = rehearsed
    assert outcome.code == 0, outcome.errors()
    assert changes == []
    assert "POINT OF NO RETURN" in outcome.text
    assert outcome.count("changed") > 0
    for foretold in ("raft_addr:", "AssertPathExists", "put a drop-in beside", "Rollback removes this file"):
        assert foretold in outcome.text


def test_five_members_go_on_at_the_next_block(lab: Settings, migration: Migration) -> None:
    assert history.cluster_problems(lab, migration.n, migration.hash) == []


def test_the_chain_did_not_pause_before_the_cutover(
    lab: Settings, migration: Migration, note: Callable[[str], None]
) -> None:
    blocks = history.blocks(lab, lab.hosts[0], migration.first, migration.n + 1)
    *before, pause = history.gaps_s(blocks)
    assert len(before) > 10
    # A block carries the time at which it was begun, so the stop right after block N does not count.
    assert history.stops(lab, lab.hosts[0], (blocks[0], blocks[-2])) == 0
    assert history.stops(lab, lab.hosts[0], (blocks[0], blocks[-1])) == 1
    # Block time is a second; room for a busy machine.
    assert max(before) < 3.0, f"{max(before):.2f} s between two blocks before the freeze"
    assert f"paused for {pause:.3f} s" in migration.outcome.text
    note(f"block {migration.n} to {migration.n + 1}: {pause:.3f} s; longest before: {max(before):.3f} s")
    note(f"whole run at -vvv: {migration.outcome.seconds:.0f} s")


def test_nothing_was_copied_in_the_window(lab: Settings, migration: Migration) -> None:
    run = history.receipt(lab, lab.hosts[0])["run"]
    for host in lab.hosts[1:]:
        (holding,) = [entry for entry in history.journal(lab, host, run=run) if entry["event"] == "holding"]
        assert holding["digest"] == "", host.name
    opened = next(e for e in history.journal(lab, lab.hosts[0], run=run) if e["event"] == "window_open")
    unit = f"evnode-share-{lab.layout.unit}.service"
    argv = ["journalctl", "--no-pager", "--output=short-unix", f"--unit={unit}"]
    said = machine.execute(lab.hosts[0], argv).stdout.splitlines()
    times = [float(line.split()[0]) for line in said if line[:1].isdigit()]
    assert times, "the share that provisioning uses has left no trace, so this test would see none of a copy either"
    assert max(times) < datetime.fromisoformat(opened["at"]).timestamp()


def test_the_journals_tell_the_story(lab: Settings, migration: Migration) -> None:
    for host in lab.hosts:
        wanted = COORDINATORS_STORY if host == lab.hosts[0] else JOINERS_STORY
        told = iter(history.events(lab, host))
        assert [event for event in wanted if event not in told] == [], f"{host.name}: {history.events(lab, host)}"
        for entry in history.journal(lab, host):
            if entry["event"] in ("frozen", "holding", "committed"):
                assert (entry["n"], entry["hash"]) == (migration.n, migration.hash), host.name


def test_units_start_at_boot_and_the_anchor_is_gone(lab: Settings, migration: Migration, hosts: dict[str, Any]) -> None:
    layout = lab.layout
    keys = [f"{layout.home}/{name}" for name in ("passphrase", "config/signer.json", "config/node_key.json")]
    gone = [
        f"/run/evnode-ha/{layout.unit}/frozen",
        f"/etc/systemd/system/{layout.unit}-anchor.service",
        f"{layout.home}-anchor",
    ]

    def check(own: Host) -> None:
        host = hosts[own.name]
        service = host.service(layout.unit)
        assert service.is_enabled and service.is_running, own.name
        assert not host.service(f"{layout.unit}-anchor").is_running, own.name
        shown = host.check_output(f"stat --format='%a %U %G' {' '.join(keys)}").splitlines()
        assert shown == [f"600 {layout.user} {layout.group}"] * len(keys), own.name
        assert history.mode(lab, own) == "raft", own.name
        assert [path for path in gone if (machine.root(own) / path.lstrip("/")).exists()] == [], own.name

    fleet.each(lab.hosts, check)


def test_the_operators_settings_stay(lab: Settings, migration: Migration) -> None:
    state = machine.root(lab.hosts[0]) / f"var/lib/evnode-ha/{lab.layout.unit}"
    original = yaml.safe_load((state / "original" / "evnode.yaml").read_text(encoding="utf-8"))
    # What a cluster has to have its own way.
    theirs = {"raft", "p2p.peers", "node.aggregator"}
    for host in lab.hosts:
        text = machine.execute(host, ["cat", f"{lab.layout.home}/config/evnode.yaml"]).stdout
        merged = yaml.safe_load(text)
        for section, values in original.items():
            if not isinstance(values, dict):
                assert merged[section] == values, f"{host.name}: {section}"
                continue
            for key, value in values.items():
                if not {section, f"{section}.{key}"} & theirs:
                    assert merged[section][key] == value, f"{host.name}: {section}.{key}"
        assert merged["instrumentation"]["max_open_connections"] == 7
        number = lab.hosts.index(host) + 1
        assert merged["raft"]["raft_addr"] == f"{host.address}:{lab.layout.ports['raft']}"
        assert merged["raft"]["node_id"] == f"node-{number}"
        assert len(merged["p2p"]["peers"].split(",")) == 4


def test_every_transaction_is_there_once(lab: Settings, migration: Migration, note: Callable[[str], None]) -> None:
    traffic.stop(lab)
    verdict = traffic.check(lab, "node-1")
    first_block = history.blocks(lab, lab.hosts[0], migration.n + 1, migration.n + 1)[0].time_ns / 1e9
    assert verdict.accepted > 100
    assert verdict.duplicate == []
    # What a node has accepted and not yet asked its application for is lost when it stops: ev-node's own limit.
    scrape_interval, block_time = 1.0, 1.0
    earliest = migration.frozen_at - scrape_interval - 2 * block_time
    stray = [attempt for attempt in verdict.missing if not earliest <= attempt.at <= first_block]
    assert stray == []
    note(
        f"transactions: {verdict.accepted} accepted, {verdict.once} in the chain once, {len(verdict.missing)} accepted "
        f"in the last moments before the stop and lost, {verdict.refused} refused, {verdict.unknown} without an answer"
    )


def test_a_second_run_changes_nothing(lab: Settings, controller: Controller, migration: Migration) -> None:
    before = Untouched(lab, stores=[host.name for host in lab.hosts], ignore=[f"{lab.layout.home.lstrip('/')}/raft/*"])
    outcome = controller.run("again")
    assert outcome.code == 0, outcome.errors()
    assert outcome.count("changed") == 0
    assert "Already migrated" in outcome.text
    assert before.changes() == []


@pytest.mark.parametrize("way", fence.WAYS, ids=lambda way: way.name)
def test_the_old_sequencer_comes_back_as_a_member_or_not_at_all(
    lab: Settings, migration: Migration, way: fence.Way, note: Callable[[str], None]
) -> None:
    note(f"{way.name}: {fence.attempt(lab, lab.hosts[0], way)}")


def test_after_all_that_there_is_one_history(lab: Settings, migration: Migration) -> None:
    tip = max(height for peer in lab.hosts[1:] if (height := history.height(lab, peer)) is not None)
    history.wait_for_height(lab, tip + 3, timeout=60)
    assert history.disagreements(lab, migration.n, tip + 3) == []
    assert history.second_writers(lab) == []
    assert leftovers(lab) == ""


def leftovers(lab: Settings) -> str:
    """What systemd says of changes that were not taken back."""
    unit = f"{lab.layout.unit}.service"
    asked = ["systemctl", "show", "--property=DropInPaths,NeedDaemonReload,UnitFileState", unit]
    shown = machine.execute(lab.hosts[0], asked).stdout
    wanted = {
        f"DropInPaths=/etc/systemd/system/{unit}.d/zz-evnode-ha.conf",
        "NeedDaemonReload=no",
        "UnitFileState=enabled",
    }
    return "" if set(shown.split("\n")) >= wanted else shown


def test_a_writer_beside_the_unit_is_named(lab: Settings, controller: Controller, migration: Migration) -> None:
    """No file keeps root from starting the program with a home of its own: what cannot be prevented is seen."""
    with fence.second_writer(lab, lab.hosts[0]):
        shown = controller.run("status", "--tags", "status")
        judged = controller.run("verify", "--tags", "verify")
    for words in ("node-1: MAY BE A SECOND WRITER: process", "by-hand.service", "home /run/copy"):
        assert words in shown.text
    for host in lab.hosts:
        assert f"{host.name}: mode raft" in shown.text
    assert (shown.code, shown.count("changed"), judged.count("changed")) == (0, 0, 0)
    assert judged.code != 0 and "second-node" in judged.text


@contextlib.contextmanager
def without_ssh(lab: Settings, name: str = "node-4") -> Iterator[None]:
    """A member that nobody can log in to: it may hold blocks that no other has."""
    host = lab.host(name)
    machine.execute(host, ["systemctl", "stop", "ssh.service"])
    machine.execute(host, ["pkill", "sshd"], check=False)
    try:
        yield
    finally:
        machine.execute(host, ["systemctl", "start", "ssh.service"])


def test_status_shows_the_others_while_the_host_of_old_is_away(
    lab: Settings, controller: Controller, migration: Migration
) -> None:
    with without_ssh(lab, "node-1"):
        shown = controller.run("away", "--tags", "status")
        refused = controller.run("away-back", "--tags", "rollback")
    assert refused.code != 0
    assert re.search("Expected to read node-1.*was unreachable.*Nothing was changed", refused.text), refused.tail()
    assert (shown.code, shown.count("changed")) == (0, 0), shown.tail()
    assert re.search(r"node-1: mode unknown.*was unreachable", shown.text)
    for host in lab.hosts[1:]:
        assert re.search(rf"{host.name}: mode raft, (leader|follower), height [0-9]+", shown.text), shown.text


def test_the_cutover_starts_a_member_that_is_down(lab: Settings, controller: Controller, migration: Migration) -> None:
    down = lab.hosts[4]
    machine.execute(down, ["systemctl", "stop", f"{lab.layout.unit}.service"])
    outcome = controller.run("brought-back", "--tags", "cutover")
    assert outcome.code == 0, outcome.errors()
    assert outcome.count("changed") == 1
    history.wait_for_height(lab, (history.height(lab, lab.hosts[1]) or 0) + 2)


@contextlib.contextmanager
def receipt(host: Host, layout: Layout, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> Iterator[None]:
    """Another receipt of the freeze, or none."""
    path = machine.root(host) / f"var/lib/evnode-ha/{layout.unit}/window-receipt.json"
    original = path.read_text(encoding="utf-8")
    changed = change(json.loads(original))
    if changed is None:
        path.unlink()
    else:
        path.write_text(json.dumps(changed), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(original, encoding="utf-8")
        path.chmod(0o600)


@contextlib.contextmanager
def without_receipts(lab: Settings) -> Iterator[None]:
    """Any member that acknowledged block N can tell it, so all of them have to have lost it."""
    with contextlib.ExitStack() as planted:
        for host in lab.hosts:
            planted.enter_context(receipt(host, lab.layout, lambda _was: None))
        yield


def with_another_n(lab: Settings) -> contextlib.AbstractContextManager[None]:
    return receipt(lab.hosts[0], lab.layout, lambda was: {**was, "hash": "0" * 64})


UNPROVABLE = {
    "a member that cannot be read": (without_ssh, r"may hold blocks that no other has: node-4.*evnode_rollback_trust"),
    "no receipt of the freeze": (without_receipts, "No member holds a receipt of the freeze"),
    "another block N": (with_another_n, "hold different histories"),
}


@pytest.mark.parametrize("case", UNPROVABLE)
def test_a_way_back_that_cannot_be_proven_is_refused(
    lab: Settings, controller: Controller, migration: Migration, case: str
) -> None:
    plant, reason = UNPROVABLE[case]
    raft = f"{lab.layout.home.lstrip('/')}/raft/*"
    with plant(lab):
        before = Untouched(lab, stores=[host.name for host in lab.hosts], ignore=[raft])
        outcome = controller.run("refused", "--tags", "rollback")
        assert before.changes() == []
    assert outcome.code != 0
    assert re.search(f"Refused, and nothing was changed:.*{reason}", outcome.text, re.DOTALL), outcome.tail()
    history.wait_for_height(lab, (history.height(lab, lab.hosts[1]) or 0) + 2)


def test_nothing_is_taken_away_from_a_cluster(lab: Settings, controller: Controller, migration: Migration) -> None:
    outcome = controller.run("not-removed", "--tags", "remove")
    assert outcome.code != 0
    assert outcome.count("changed") == 0
    assert "found cluster: a cluster's members need their keys" in outcome.text


def test_the_way_back_keeps_every_block(
    lab: Settings, controller: Controller, migration: Migration, note: Callable[[str], None]
) -> None:
    before = Untouched(lab, stores=[host.name for host in lab.hosts], ignore=[f"{lab.layout.home.lstrip('/')}/raft/*"])
    foretold = controller.run("back-foretold", "--tags", "rollback", "--check")
    assert foretold.code == 0, foretold.errors()
    assert "The single sequencer would produce." in foretold.text and foretold.count("changed") > 0
    assert before.changes() == []
    tip = history.height(lab, lab.hosts[0])
    assert tip and tip > migration.n
    history.wait_for_height(lab, tip)
    made = history.blocks(lab, lab.hosts[0], 1, tip)
    # A receipt that the sequencer could not write is told by those who acknowledged block N.
    with receipt(lab.hosts[0], lab.layout, lambda _was: None):
        outcome = controller.run("rollback", "--tags", "rollback")
    assert outcome.code == 0, outcome.errors()
    assert "The single sequencer produces." in outcome.text
    assert history.single_problems(lab, made, cluster=True) == []
    pause = history.longest_pause_s(lab, lab.hosts[0], tip)
    note(f"rollback with blocks of the cluster: {pause:.3f} s without a block")


def test_the_search_for_secrets_finds(lab: Settings) -> None:
    decoy = "decoy-Jg4mXw81-not-a-secret"
    needles, host = leaks.Needles({"decoy": decoy.encode()}), lab.hosts[2]
    encoded = base64.b64encode(f"in a longer text: {decoy}".encode()).decode()
    with leaks.Sampler(needles) as sampler:
        machine.execute(host, ["env", f"DECOY={encoded}", "sleep", "1"])
    assert {where for where, _name in sampler.found} == {"command line", "environment"}
    machine.execute(host, ["logger", "--journald"], stdin=f"MESSAGE={'x' * 4096}{decoy}\n")
    wait_for("the journal", lambda: None if needles.within(leaks.journal(host)) else "no entry", timeout=10)


def test_secrets_are_nowhere_else(
    lab: Settings, controller: Controller, migration: Migration, note: Callable[[str], None]
) -> None:
    """Late, so that the runs of this scenario are covered. What is allowed has to be found: the search itself works."""
    needles, sampler = migration.needles, migration.sampler
    home = lab.layout.home.lstrip("/")
    own = {lab.layout.passphrase_file.lstrip("/"), f"{home}/config/signer.json"}
    for host in lab.hosts:
        assert set(needles.below(host.upper)) == own, host.name
        assert needles.below(machine.root(host) / "run") == {}, host.name
        assert needles.below(machine.root(host) / "tmp") == {}, host.name
        assert needles.within(leaks.journal(host)) == set(), host.name
    assert needles.below(controller.folder) == {}
    assert dict(sampler.found) == {}
    assert sampler.rounds > 100 and sampler.processes > 500
    note(f"secrets: {sampler.processes} processes looked at in {sampler.rounds} rounds, {len(needles.wanted)} forms")


def test_what_the_joiners_were_given_can_be_taken_away(
    lab: Settings, controller: Controller, migration: Migration
) -> None:
    outcome = controller.run("removed", "--tags", "remove")
    assert outcome.code == 0, outcome.errors()
    for host in lab.hosts[1:]:
        assert migration.needles.below(host.upper) == {}, host.name
        unit = f"{lab.layout.unit}.service"
        shown = machine.execute(host, ["systemctl", "show", "--property=LoadState,ActiveState", unit]).stdout
        assert shown.split() == ["LoadState=not-found", "ActiveState=inactive"], host.name
    tip = history.height(lab, lab.hosts[0])
    assert tip
    history.wait_for_height(lab, tip + 2, lab.hosts[:1])
    assert controller.run("nothing-left", "--tags", "remove").count("changed") == 0
