# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.evnode.sequencer_ha.plugins.filter.raft_timings import FilterModule

raft_timings = FilterModule().filters()["raft_timings"]


def test_the_filter_takes_what_jinja_gives():
    assert raft_timings("0.4")["heartbeat_timeout"] == "350ms"
    assert raft_timings(20, {}, "guide")["profile"] == "guide-25ms"
    assert raft_timings(20, {"send_timeout": "1s"})["send_timeout"] == "1s"


@pytest.mark.parametrize("given", [(None,), ("fast",), (1, {"send_timeout": "1"}), (1, {}, "tight")])
def test_the_filter_says_what_is_wrong(given):
    with pytest.raises(AnsibleFilterError, match="raft_timings: "):
        raft_timings(*given)
