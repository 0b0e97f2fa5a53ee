# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import itertools

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.plugin_utils._timings import (
    ELECTION,
    HEARTBEAT,
    LEASE,
    NAMES,
    SEND,
    TimingError,
    check,
    duration_ms,
    go_duration,
    timings,
)

GUIDE = ("92ms", "368ms", "46ms", "50ms")
RELAXED = ("350ms", "1s", "175ms", "200ms")


def values(found: dict[str, str]) -> tuple[str, ...]:
    return tuple(found[name] for name in NAMES)


@pytest.mark.parametrize(
    ("rtt", "profile", "wanted", "source"),
    [
        pytest.param(0, "relaxed", RELAXED, "relaxed", id="one-machine"),
        pytest.param(0.3, "relaxed", RELAXED, "relaxed", id="one-rack"),
        pytest.param(60, "relaxed", RELAXED, "relaxed", id="last-round-trip-that-the-defaults-carry"),
        pytest.param(70, "relaxed", ("350ms", "1400ms", "175ms", "210ms"), "computed", id="floor-of-the-heartbeat"),
        pytest.param(120, "relaxed", ("480ms", "1920ms", "240ms", "360ms"), "computed", id="far-apart"),
        pytest.param(0.3, "guide", GUIDE, "guide-25ms", id="guide"),
        pytest.param(25, "guide", GUIDE, "guide-25ms", id="last-round-trip-of-the-guide"),
        pytest.param(25.01, "guide", ("102ms", "408ms", "51ms", "76ms"), "computed", id="beyond-the-guide"),
        pytest.param(250, "guide", ("1s", "4s", "500ms", "750ms"), "computed", id="other-continent"),
    ],
)
def test_timings(rtt, profile, wanted, source):
    found = timings(rtt, profile=profile)
    assert values(found) == wanted
    assert found["profile"] == source


@pytest.mark.parametrize("profile", ["relaxed", "guide"])
def test_no_round_trip_gives_what_a_member_refuses(profile):
    for tenths in itertools.chain(range(0, 5000, 7), [99999]):
        found = {
            name: duration_ms(text) for name, text in timings(tenths / 10, profile=profile).items() if name in NAMES
        }
        check(found)
        assert found[HEARTBEAT] >= 3 * tenths / 10, "a heartbeat has to make its round trip well in time"
        assert all(value == int(value) for value in found.values())


def test_overrides_are_taken_as_they_are():
    found = timings(1, overrides={SEND: "1.5s", ELECTION: "2s", HEARTBEAT: "", LEASE: None})
    assert values(found) == ("350ms", "2s", "175ms", "1500ms")
    assert found["profile"] == "computed"


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        pytest.param({LEASE: "400ms"}, "leader_lease_timeout of at most heartbeat_timeout", id="lease-over-heartbeat"),
        pytest.param(
            {ELECTION: "300ms"}, "election_timeout of at least heartbeat_timeout", id="election-under-heartbeat"
        ),
        pytest.param({HEARTBEAT: "2s"}, "election_timeout of at least heartbeat_timeout", id="heartbeat-alone"),
        pytest.param({LEASE: "4ms"}, "of at least 5 ms", id="too-short"),
        pytest.param({SEND: "0s"}, "send_timeout above zero", id="no-time-to-send"),
        pytest.param({SEND: "200"}, "with a unit", id="nanoseconds"),
        pytest.param({SEND: "-200ms"}, "with a unit", id="negative"),
        pytest.param({"heartbeat": "1s"}, "an override out of", id="no-such-timing"),
    ],
)
def test_overrides_that_a_member_would_refuse(overrides, reason):
    with pytest.raises(TimingError, match=reason):
        timings(1, overrides=overrides)


@pytest.mark.parametrize("rtt", [-1, float("nan"), float("inf"), True])
def test_round_trips_that_are_none(rtt):
    with pytest.raises(TimingError, match="round-trip time"):
        timings(rtt)


def test_an_unknown_profile():
    with pytest.raises(TimingError, match="relaxed, guide"):
        timings(1, profile="tight")


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("92ms", 92), ("1.5s", 1500), ("1m30s", 90_000), ("350us", 0.35), ("1h", 3_600_000), (".5s", 500)],
)
def test_go_durations(text, milliseconds):
    assert duration_ms(text) == pytest.approx(milliseconds)


@pytest.mark.parametrize(
    ("milliseconds", "text"), [(1000, "1s"), (1400, "1400ms"), (92, "92ms"), (0.35, "0.35ms"), (120_000, "120s")]
)
def test_durations_are_written_plainly(milliseconds, text):
    assert go_duration(milliseconds) == text
    assert duration_ms(text) == pytest.approx(milliseconds)
