# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Raft timings from measured round-trip times."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.evnode.sequencer_ha.plugins.plugin_utils._timings import TimingError, timings

if t.TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DOCUMENTATION = """
name: raft_timings
short_description: Compute Raft timings from the largest round-trip time
version_added: 0.1.0
author: The evnode.sequencer_ha authors (@evnode)
description:
  - Heartbeat 4 times the round-trip time, election 4 heartbeats, leader lease half a heartbeat, send 3 times the
    round-trip time.
  - With the profile V(relaxed) these are never shorter than ev-node's defaults of 350 ms, 1 s, 175 ms and 200 ms.
  - With the profile V(guide) a round-trip time up to 25 ms gives the values that upstream names for one region, 92
    ms, 368 ms, 46 ms and 50 ms. A pause of 46 ms on the leader then costs the leadership, and losing it ends
    ev-node's process.
  - Timings that a Raft member would refuse at its start are an error.
positional: overrides, profile
options:
  _input:
    description: The largest round-trip time between any two members, in milliseconds.
    type: float
    required: true
  overrides:
    description:
      - Values to take as they are, by the names C(heartbeat_timeout), C(election_timeout), C(leader_lease_timeout) and
        C(send_timeout), each a Go duration such as V(350ms).
    type: dict
    default: {}
  profile:
    description: V(relaxed) or V(guide).
    type: str
    default: relaxed
    choices: [relaxed, guide]
"""

EXAMPLES = """
- name: Compute the timings
  ansible.builtin.set_fact:
    member_timings: "{{ 120 | evnode.sequencer_ha.raft_timings }}"
# heartbeat_timeout: 480ms, election_timeout: 1920ms, leader_lease_timeout: 240ms, send_timeout: 360ms
"""

RETURN = """
_value:
  description:
    - The four timings as Go durations, and as C(profile) where they come from, V(guide-25ms), V(relaxed) or
      V(computed).
  type: dict
"""


def raft_timings(
    rtt_max_ms: float, overrides: Mapping[str, t.Any] | None = None, profile: str = "relaxed"
) -> dict[str, str]:
    """Return the timings; an error names what would be refused."""
    try:
        return timings(float(rtt_max_ms), profile=profile, overrides=overrides)
    except (TimingError, TypeError, ValueError) as exc:
        raise AnsibleFilterError(f"raft_timings: {exc}") from exc


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., t.Any]]:
        """Return the filters by name."""
        return {"raft_timings": raft_timings}
