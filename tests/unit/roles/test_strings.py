# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`-e name=value` and a form's answers are strings, whatever the type; a setting means the same either way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

CHECKOUT = Path(__file__).parents[3]
SETTINGS: dict[str, Any] = {
    "evnode_anchor": False,
    "evnode_require_all": False,
    "evnode_secure_logging": False,
    "evnode_agree_timeout": 45,
    "evnode_anchor_port_offset": 7,
    "evnode_raft_port": 5002,
}
DERIVED = [
    "evnode_anchor_host",
    "evnode_anchor_ports.p2p",
    "evnode_may_miss",
    "node_config_raft_port",
    "preflight_raft_port",
    "raft_bootstrap_raft_port",
    "raft_bootstrap_limits.hold",
    "secrets_secure_logging",
]


def derived(folder: Path, extra: list[str]) -> dict[str, Any]:
    """What the collection makes of some `-e` arguments."""
    members = [f"node-{number}" for number in range(1, 6)]
    sequencer = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "evnode_self": {"sequencer": {"ports": {"p2p": 7676, "rpc": 7331}}},
    }
    groups = {
        "evnode_sequencer": {"hosts": {members[0]: sequencer}},
        "evnode_joiners": {"hosts": dict.fromkeys(members[1:])},
    }
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": {"evnode_members": {"children": groups}}}}))
    play = {
        "hosts": "evnode_sequencer",
        "gather_facts": False,
        "tasks": [
            {"import_role": {"name": "evnode.sequencer_ha.evnode"}},
            {"include_vars": {"dir": str(CHECKOUT / "playbooks" / "vars")}},
            {"copy": {"dest": str(folder / "out"), "content": "{{ derived | to_json }}", "mode": "0600"}},
        ],
        "vars": {"derived": {name: f"{{{{ {name} }}}}" for name in DERIVED}},
    }
    (folder / "play.yml").write_text(yaml.safe_dump([play]))
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / "collections"),
        "ANSIBLE_HOME": str(folder / "home"),
    }
    argv = [str(Path(sys.executable).parent / "ansible-playbook"), "play.yml", "-i", "hosts.yml", *extra]
    done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads((folder / "out").read_text())
    return found


def test_strings_mean_what_the_types_mean(tmp_path: Path) -> None:
    typed = derived(tmp_path, ["-e", json.dumps(SETTINGS)])
    assert derived(tmp_path, [word for name, value in SETTINGS.items() for word in ("-e", f"{name}={value}")]) == typed
    plain = derived(tmp_path, [])
    assert all(plain[name] != typed[name] for name in DERIVED)
