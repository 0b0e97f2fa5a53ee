# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan: what it says, what it takes to be another one, and how long the pause is."""

from __future__ import annotations

import copy
import typing as t

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.plugin_utils import _plan as planning

PROFILE: dict[str, t.Any] = {
    "unit": "chain",
    "user": "svc",
    "group": "svc",
    "home": "/srv/chain",
    "binary": "/opt/chain",
    "binary_sha256": "b1",
    "chain_id": "c-1",
    "genesis_sha256": "g1",
    "signer": {"type": "file", "path": "/srv/chain/config"},
    "effective": {"node.block_time": {"value": "1s", "origin": "yaml"}},
    "block_time_s": 1.0,
    "main_pid": 100,
    "active_state": "active",
}
MEMBERS: list[dict[str, t.Any]] = [
    {"name": f"node-{number}", "node_id": f"node-{number}", "address": f"10.0.0.{number}", "sequencer": number == 1}
    for number in (1, 2, 3)
]
OPTIONS: dict[str, t.Any] = {
    "state": "single",
    "seed": "follow",
    "anchor_host": "node-3",
    "timings": {"heartbeat_timeout": "350ms"},
    "rtt_max_ms": 0.2,
    "choices": {"seed": "follow", "require_all": True},
}


def of(change: t.Callable[[dict[str, t.Any], list[dict[str, t.Any]], dict[str, t.Any]], None]) -> planning.Plan:
    profile, members, options = copy.deepcopy((PROFILE, MEMBERS, OPTIONS))
    change(profile, members, options)
    return planning.plan(profile, members, options)


def test_it_marks_the_point_of_no_return_once() -> None:
    steps = planning.plan(PROFILE, MEMBERS, OPTIONS).steps
    assert sum("POINT OF NO RETURN" in step for step in steps) == 1


def test_a_cluster_has_nothing_to_do_and_no_pause() -> None:
    plan = of(lambda _profile, _members, options: options.update(state="cluster"))
    assert plan.steps[0].startswith("Already migrated") and plan.pause is None


@pytest.mark.parametrize(
    ("change", "moved"),
    [
        (lambda profile, _members, _options: profile.update(binary_sha256="b2"), ["binary"]),
        (lambda profile, _members, _options: profile.update(genesis_sha256="g2"), ["chain"]),
        (lambda profile, _members, _options: profile["effective"]["node.block_time"].update(value="2s"), ["settings"]),
        (lambda profile, _members, _options: profile.update(home="/srv/other"), ["service"]),
        (lambda _profile, members, _options: members[2].update(address="10.0.0.9"), ["members"]),
        (lambda _profile, members, _options: members.pop(), ["members"]),
        (lambda _profile, _members, options: options["choices"].update(require_all=False), ["choices"]),
        (lambda profile, members, _o: (profile.update(unit="x"), members.pop()), ["members", "service"]),
    ],
    ids=["binary", "genesis", "a setting", "home", "an address", "a member less", "a choice", "two at once"],
)
def test_what_has_moved_is_named(change: t.Any, moved: list[str]) -> None:
    approved = planning.plan(PROFILE, MEMBERS, OPTIONS).fingerprint
    assert planning.moved(approved, of(change).fingerprint) == moved


def test_what_goes_on_by_itself_moves_nothing() -> None:
    def later(profile: dict[str, t.Any], members: list[dict[str, t.Any]], options: dict[str, t.Any]) -> None:
        profile.update(main_pid=200, active_state="activating")
        members[1]["peer_id"] = "12D3KooW"
        options.update(rtt_max_ms=0.4, timings={"heartbeat_timeout": "360ms"})

    approved = planning.plan(PROFILE, MEMBERS, OPTIONS).fingerprint
    assert planning.moved(approved, of(later).fingerprint) == []


@pytest.mark.parametrize("approved", ["yes", "0123abcd", "chain-0123abcd"])
def test_a_word_that_is_no_fingerprint_approves_nothing(approved: str) -> None:
    assert planning.moved(approved, planning.plan(PROFILE, MEMBERS, OPTIONS).fingerprint)


# Gaps of whole runs on two cores: the stand-in and the real node, quiet and busy, with and without an anchor.
@pytest.mark.parametrize("gap", [2.07, 2.35, 2.84, 2.95, 3.61, 4.12])
def test_the_pause_with_an_anchor_is_foretold(gap: float) -> None:
    pause = planning.expected_pause(PROFILE, OPTIONS)
    assert pause.low <= gap <= pause.high
    assert pause.high - pause.low < 3


@pytest.mark.parametrize("gap", [3.09, 3.27, 3.70, 3.96, 4.20, 4.79])
def test_the_pause_without_one_is_foretold(gap: float) -> None:
    pause = planning.expected_pause(PROFILE, {**OPTIONS, "anchor_host": ""})
    assert pause.low <= gap <= pause.high


def test_what_takes_longer_makes_it_longer() -> None:
    plain = planning.expected_pause(PROFILE, OPTIONS)
    for longer in (
        planning.expected_pause({**PROFILE, "block_time_s": 2.0}, OPTIONS),
        planning.expected_pause(PROFILE, {**OPTIONS, "rtt_max_ms": 80.0}),
        planning.expected_pause(PROFILE, {**OPTIONS, "timings": {"heartbeat_timeout": "1s"}}),
        planning.expected_pause(PROFILE, {**OPTIONS, "seed": "copy"}),
    ):
        assert longer.low > plain.low and longer.high > plain.high


def test_a_sequencer_that_is_late_with_its_blocks_will_be_late_with_the_next_one() -> None:
    plain = planning.expected_pause(PROFILE, OPTIONS)
    late = planning.expected_pause({**PROFILE, "node": {"interval_s": 3.0}}, OPTIONS)
    assert late.low == pytest.approx(plain.low + 2)
    lazy = {**PROFILE["effective"], "node.lazy_mode": {"value": True, "origin": "yaml"}}
    silent = planning.expected_pause({**PROFILE, "node": {"interval_s": 60.0}, "effective": lazy}, OPTIONS)
    assert silent == plain


@pytest.mark.parametrize("seed", ["follow", "copy", "copy_then_follow"])
def test_what_is_carried_over_and_how_large(seed: str) -> None:
    steps = planning.plan(PROFILE, MEMBERS, {**OPTIONS, "seed": seed, "store_bytes": 3 << 30}).steps
    assert sum("(3.0 GiB each)" in step for step in steps) == 1
    unread = planning.plan(PROFILE, MEMBERS, {**OPTIONS, "seed": seed, "store_bytes": None}).steps
    assert not any("each)" in step for step in unread)


def test_environment_files_are_said_to_be_roots() -> None:
    steps = planning.plan({**PROFILE, "environment_files": ["-/etc/default/chain"]}, MEMBERS, OPTIONS).steps
    assert sum("/etc/default/chain (mode 0600, owner svc, of environment files root)" in step for step in steps) == 1
    assert not any("environment files" in step for step in planning.plan(PROFILE, MEMBERS, OPTIONS).steps)


def test_it_says_what_happens_when_something_fails() -> None:
    before, window, after = planning.plan(PROFILE, MEMBERS, OPTIONS).failures
    assert "node-1 goes on as it is" in before and "node-1's own host" in window and "2 of 3 members" in after
    assert of(lambda _profile, _members, options: options.update(state="committed")).failures == []
