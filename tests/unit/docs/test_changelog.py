# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The changelog names every plugin that there is, and no other."""

from __future__ import annotations

from pathlib import Path

import yaml

from ansible_collections.evnode.sequencer_ha.plugins.filter import member_list, migration, raft_timings

ROOT = Path(__file__).parents[3]


def told(kind):
    releases = yaml.safe_load((ROOT / "changelogs" / "changelog.yaml").read_text(encoding="utf-8"))["releases"]
    return [
        entry["name"]
        for release in releases.values()
        for entry in (release.get("modules", []) if kind == "modules" else release.get("plugins", {}).get(kind, []))
    ]


def test_every_module_was_announced_once():
    modules = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("[!_]*.py"))
    assert sorted(told("modules")) == modules
    readable = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").replace("\\", "")
    assert [name for name in modules if f"evnode.sequencer_ha.{name} - " not in readable] == []


def test_every_filter_was_announced_once():
    filters = sorted(name for file in (member_list, migration, raft_timings) for name in file.FilterModule().filters())
    assert sorted(told("filter")) == filters
    readable = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").replace("\\", "")
    assert [name for name in filters if f"evnode.sequencer_ha.{name} - " not in readable] == []
