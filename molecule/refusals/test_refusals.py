# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What preflight refuses. Findings are collected, so one run has several faults planted, each on a host of its own."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import chain, fleet, machine
from lab.settings import Settings
from lab.trial import fence, history
from lab.trial.disk import Untouched
from lab.trial.play import Controller, Outcome

Inventory = dict[str, Any]
CANARY = "canary-7d1e90"


class Preflight:
    """Runs preflight on all hosts and says what it found, and what it changed."""

    def __init__(self, lab: Settings, controller: Controller) -> None:
        self._lab, self._controller = lab, controller

    def __call__(self, name: str, *arguments: str, change: Callable[[Inventory], None] | None = None) -> Outcome:
        """Refused, with everything left as it was. `change` alters a copy of the lab's inventory for this run."""
        inventory = fleet.inventory(self._lab)
        if change is not None:
            change(inventory)
        path = self._controller.folder / f"{name}.yml"
        path.write_text(yaml.safe_dump(inventory), encoding="utf-8")
        before = Untouched(self._lab)
        report = ("-e", f"evnode_report_dir={self._controller.reports}")
        outcome = self._controller.run(name, "--tags", "preflight", *report, *arguments, inventory=path)
        assert outcome.code != 0, outcome.tail()
        assert outcome.count("changed") == 0
        assert before.changes() == []
        return outcome

    def findings(self, outcome: Outcome) -> set[tuple[str, str]]:
        """What stands in the way, as (what, on which host); each of them is on the screen, with a remedy."""
        report = self._report()
        assert report["blocked"]
        found = [verdict for verdict in report["verdicts"] if verdict["severity"] == "block"]
        said = _letters(outcome.text)
        for verdict in found:
            assert verdict["remedy"] and verdict["found"], verdict
            for words in (f"{verdict['member']} {verdict['id']}: expected", verdict["found"], verdict["remedy"]):
                assert _letters(words) in said, f"not on the screen: {words}"
        return {(verdict["id"], verdict["member"]) for verdict in found}

    def told(self) -> set[tuple[str, str]]:
        """What the latest report warns of, as (what, on which host)."""
        return {
            (verdict["id"], verdict["member"])
            for verdict in self._report()["verdicts"]
            if verdict["severity"] == "warn"
        }

    def _report(self) -> dict[str, Any]:
        text = (self._controller.reports / "preflight.json").read_text(encoding="utf-8")
        report: dict[str, Any] = json.loads(text)
        return report


def _letters(text: str) -> str:
    """Without what a terminal's line breaks and YAML's quotes may add or take."""
    return "".join(letter for letter in text if letter.isalnum())


def group(inventory: Inventory, name: str) -> dict[str, Any]:
    """The hosts of a group, to be changed."""
    hosts: dict[str, Any] = inventory["all"]["children"]["evnode_members"]["children"][name]["hosts"]
    return hosts


@pytest.fixture(scope="module")
def preflight(lab: Settings, controller: Controller) -> Preflight:
    """Preflight on the lab as it is."""
    return Preflight(lab, controller)


@contextlib.contextmanager
def files(lab: Settings, host: str, contents: dict[str, str]) -> Iterator[None]:
    """Put files on a host for a while; what was there comes back."""
    target = lab.host(host)
    kept = {path: f"{path}.kept" for path in contents if (machine.root(target) / path.lstrip("/")).exists()}
    made = []
    for path, text in contents.items():
        if path in kept:
            machine.execute(target, ["cp", "--archive", path, kept[path]])
        missing = [
            str(parent) for parent in Path(path).parents if not (machine.root(target) / str(parent)[1:]).exists()
        ]
        made += missing[-1:]
        machine.execute(target, ["mkdir", "--parents", str(Path(path).parent)])
        machine.execute(target, ["tee", path], stdin=text)
    try:
        yield
    finally:
        for path in contents:
            if path in kept:
                machine.execute(target, ["mv", kept[path], path])
            else:
                machine.execute(target, ["rm", "--force", path])
        for folder in made:
            machine.execute(target, ["rm", "--recursive", "--force", folder])


@contextlib.contextmanager
def mounted(lab: Settings, host: str, path: str, options: str) -> Iterator[None]:
    """Put an empty file system of its own at a path for a while."""
    target = lab.host(host)
    made = not (machine.root(target) / path.lstrip("/")).exists()
    machine.execute(target, ["mkdir", "--parents", path])
    machine.execute(target, ["mount", "--types", "tmpfs", "--options", options, "tmpfs", path])
    try:
        yield
    finally:
        machine.execute(target, ["umount", path])
        if made:
            machine.execute(target, ["rmdir", path])


@contextlib.contextmanager
def firewall(lab: Settings, host: str, source: str, port: int, verdict: str) -> Iterator[None]:
    """Let a host refuse what comes from another one to a TCP port, for a while."""
    target = lab.host(host)
    rule = f"ip saddr {lab.host(source).address} tcp dport {port} {verdict}"
    lines = ["table inet planted {", "chain refused {", "type filter hook input priority 0;", rule, "}", "}", ""]
    machine.execute(target, ["nft", "-f", "-"], stdin="\n".join(lines))
    try:
        yield
    finally:
        machine.execute(target, ["nft", "delete", "table", "inet", "planted"])


def another_signer(lab: Settings) -> str:
    """A signer that the chain's passphrase opens, and that has never signed a block."""
    layout, host, home = lab.layout, lab.hosts[0], "/tmp/another"
    init = [layout.binary, "init", "--home", home, "--chain_id", "another", "--evnode.node.aggregator"]
    machine.execute(host, ["install", "-d", "-o", layout.user, "-g", layout.group, home])
    run = ["runuser", "--user", layout.user, "--", *init, f"--evnode.signer.passphrase_file={layout.passphrase_file}"]
    machine.execute(host, run)
    text = machine.execute(host, ["cat", f"{home}/config/signer.json"]).stdout
    machine.execute(host, ["rm", "--recursive", home])
    return text


def test_hosts_that_cannot_take_part(lab: Settings, preflight: Preflight) -> None:
    layout = lab.layout
    first = lab.hosts[0]
    foreign = json.dumps({"chain_id": "another-chain", "proposer_address": "AAAA"})
    stop = ["systemctl", "stop", f"{layout.unit}.service"]
    with contextlib.ExitStack() as planted:
        plant = planted.enter_context
        plant(fence.second_writer(lab, first))
        plant(files(lab, "node-1", {f"{layout.home}/config/signer.json": another_signer(lab)}))
        plant(files(lab, "node-2", {layout.binary: "#!/bin/sh\necho another version\n"}))
        plant(files(lab, "node-3", {f"{layout.home}/config/genesis.json": foreign}))
        plant(files(lab, "node-4", {f"{layout.home}/raft/raft-log.db": "a log"}))
        plant(files(lab, "node-5", {"/etc/sudoers.d/operator": "operator ALL=(ALL) ALL\n"}))
        plant(firewall(lab, "node-2", "node-3", layout.ports["raft"], "reject with tcp reset"))
        plant(firewall(lab, "node-4", "node-2", layout.ports["p2p"], "drop"))
        machine.execute(first, stop)
        outcome = preflight("hosts")
    machine.execute(first, ["systemctl", "start", f"{layout.unit}.service"])
    found = preflight.findings(outcome)
    assert {
        ("signer-not-proposer", "node-1"),
        ("unit-inactive", "node-1"),
        ("second-node", "node-1"),
        ("binary-differs", "node-2"),
        ("other-chain", "node-3"),
        ("raft-dir-not-empty", "node-4"),
        ("no-sudo", "node-5"),
        ("port-filtered", "node-3 -> node-2"),
        ("port-filtered", "node-2 -> node-4"),
    } <= found
    assert len([pair for finding, pair in found if finding == "port-filtered"]) == 2


def test_file_systems_that_cannot_take_a_member(lab: Settings, preflight: Preflight) -> None:
    layout = lab.layout
    with contextlib.ExitStack() as planted:
        plant = planted.enter_context
        plant(mounted(lab, "node-2", layout.home, "nr_inodes=200"))
        plant(mounted(lab, "node-3", layout.home, "ro"))
        plant(mounted(lab, "node-4", str(Path(layout.binary).parent), "noexec"))
        plant(mounted(lab, "node-5", layout.home, "size=8m"))
        plant(files(lab, "node-1", {"/run/reboot-required": ""}))
        outcome = preflight("file-systems", "--forks", "4")
    assert preflight.findings(outcome) == {
        ("few-inodes", "node-2"),
        ("read-only", "node-3"),
        ("no-exec", "node-4"),
        ("disk-full", "node-5"),
        ("few-forks", "all"),
    }
    assert preflight.told() == {("reboot-pending", "node-1")}


def test_an_inventory_that_contradicts_itself(lab: Settings, preflight: Preflight) -> None:
    chain.wait_for_blocks(lab, lab.hosts[0], above=0)

    def change(inventory: Inventory) -> None:
        joiners = group(inventory, "evnode_joiners")
        group(inventory, "evnode_sequencer")["node-2"] = joiners["node-2"]
        joiners["node-3"]["evnode_address"] = lab.hosts[2].address.replace(".13", ".99")
        # Nothing listens there: an answer at once, and not the one that was hoped for.
        joiners["node-4"]["ansible_port"] = 9
        del joiners["node-5"]

    found = preflight.findings(preflight("inventory", change=change))
    assert ("address-not-on-host", "node-3") in found
    assert ("unreachable", "node-4") in found
    assert ("even-members", "all") in found
    assert ("host-in-both-groups", "node-2") in found
    assert ("several-sequencers", "node-1, node-2") in found


def test_an_inventory_without_a_sequencer(preflight: Preflight) -> None:
    def change(inventory: Inventory) -> None:
        group(inventory, "evnode_sequencer").clear()
        for name in ("node-4", "node-5"):
            del group(inventory, "evnode_joiners")[name]

    found = preflight.findings(preflight("no-sequencer", change=change))
    assert ("no-sequencer", "all") in found
    assert ("too-few-members", "all") in found


@pytest.mark.parametrize(
    ("service", "finding"), [("no-such-unit", "unit-missing"), ("cron", "not-evnode")], ids=["unknown", "another"]
)
def test_a_unit_that_is_not_the_sequencers(preflight: Preflight, service: str, finding: str) -> None:
    found = preflight.findings(preflight(f"unit-{service}", "-e", f"evnode_service={service}"))
    assert (finding, "node-1") in found


def test_members_that_are_set_otherwise(preflight: Preflight) -> None:
    def change(inventory: Inventory) -> None:
        inventory["all"]["children"]["evnode_members"]["vars"]["evnode_seed"] = "copy"
        group(inventory, "evnode_joiners")["node-3"].update(
            evnode_seed="follow",
            evnode_config_overrides={"da.auth_token": CANARY},
            evnode_overrides={"group": "nobody"},
        )

    outcome = preflight("apart", "-vvv", change=change)
    assert 'evnode_seed is "follow" on node-3 and "copy" on node-1.' in outcome.text
    assert "evnode_config_overrides of node-3 is not that of node-1." in outcome.text
    assert "evnode_overrides of node-3" not in outcome.text, "a matter of each host"
    assert CANARY not in outcome.text


def test_a_run_on_some_hosts_only(preflight: Preflight) -> None:
    outcome = preflight("limit", "--limit", "node-2")
    assert "found --limit node-2" in outcome.text
    assert "run again without a limit" in outcome.text


def test_the_same_hosts_pass_when_all_is_mended(lab: Settings, controller: Controller) -> None:
    outcome = controller.run("mended", "--tags", "preflight")
    assert outcome.code == 0, outcome.tail()
    tip = history.height(lab, lab.hosts[0])
    assert tip and history.disagreements(lab, 1, tip, lab.hosts[:1]) == []
