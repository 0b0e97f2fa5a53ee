# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Ansible finds out about a host stays that host's, whatever the first plays of a run have done."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import yaml

CHECKOUT = Path(__file__).parents[3]
FIRST = "Check that the run covers every member"


def test_every_member_keeps_facts_of_its_own(tmp_path: Path) -> None:
    """With ansible-core 2.21 a task that ran once for all can make their facts one and the same dictionary."""
    stage = yaml.safe_load((CHECKOUT / "playbooks" / "stages" / "discover.yml").read_text(encoding="utf-8"))
    (first,) = [play for play in stage if play["name"] == FIRST]
    find_out = {"ansible.builtin.set_fact": {"found_on": "{{ inventory_hostname }}", "cacheable": True}}
    compare = {"ansible.builtin.assert": {"that": ["ansible_facts['found_on'] == inventory_hostname"]}}
    plays = [first, {"hosts": "evnode_members", "gather_facts": False, "tasks": [find_out, compare]}]
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "play.yml").write_text(yaml.safe_dump(plays, sort_keys=False))
    (tmp_path / "vars").symlink_to(CHECKOUT / "playbooks" / "vars")
    members = {"hosts": {"node-1": {}, "node-2": {}, "node-3": {}}, "vars": {"evnode_service": "chain"}}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"evnode_members": members}))
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / "collections"),
        "ANSIBLE_HOME": str(tmp_path / "home"),
    }
    argv = [str(Path(sys.executable).parent / "ansible-playbook"), "stages/play.yml", "-i", "hosts.yml", "-c", "local"]
    done = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
