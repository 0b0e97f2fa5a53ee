# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role `secrets` writes on a joiner, and what is taken away from one again."""

from __future__ import annotations

import base64
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

CHECKOUT = Path(__file__).parents[3]


def run(folder: Path, tasks: list[dict[str, Any]], variables: dict[str, Any]) -> None:
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars_files": [str(CHECKOUT / "playbooks" / "vars" / "roles.yml")],
        "tasks": tasks,
    }
    (folder / "play.yml").write_text(yaml.safe_dump([play]))
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / "collections"),
        "ANSIBLE_HOME": str(folder / "home"),
    }
    variables = {"ansible_python_interpreter": sys.executable, **variables}
    argv = [str(Path(sys.executable).parent / "ansible-playbook"), "play.yml", "-i", "localhost,", "-c", "local"]
    argv += ["-e", json.dumps(variables)]
    done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def read(path: Path, content: str | None) -> dict[str, Any]:
    """One file as secret_read returns it."""
    text = base64.b64encode((content or "").encode()).decode()
    return {"path": str(path), "present": content is not None, "content": text, "sha256": None}


@pytest.mark.skipif(os.geteuid() != 0, reason="files get the owners of a member")
def test_only_what_the_sequencer_has_is_written_and_environment_files_are_roots(tmp_path: Path) -> None:
    passphrase, fresh, equal, gone, own = (tmp_path / name for name in ("pass", "d/fresh", "equal", "gone", "own"))
    equal.write_text("A=1\n")
    equal.chmod(0o644)
    own.write_text("MINE=1\n")
    files = [{"name": "environment", "path": str(path)} for path in (fresh, equal, gone, own)]
    variables = {
        "secrets_files": [{"name": "passphrase", "path": str(passphrase)}, *files],
        "secrets_contents": [
            read(passphrase, "words"),
            read(fresh, "TOKEN=1\n"),
            read(equal, "A=1\n"),
            read(gone, None),
            read(own, None),
        ],
        "secrets_owner": "nobody",
        "secrets_group": "nogroup",
        "secrets_secure_logging": True,
    }
    run(tmp_path, [{"ansible.builtin.include_role": {"name": "evnode.sequencer_ha.secrets"}}], variables)
    assert (passphrase.owner(), stat.S_IMODE(passphrase.stat().st_mode)) == ("nobody", 0o600)
    assert (fresh.read_text(), fresh.owner(), fresh.group()) == ("TOKEN=1\n", "root", "root")
    assert [stat.S_IMODE(path.stat().st_mode) for path in (fresh, fresh.parent, equal)] == [0o600, 0o755, 0o644]
    assert not gone.exists()
    assert own.read_text() == "MINE=1\n"


def test_environment_files_are_not_among_what_is_taken_away(tmp_path: Path) -> None:
    profile = {
        "signer": {"type": "file", "path": "/k/signer.json"},
        "passphrase_file": "/k/pass",
        "jwt_file": "/k/jwt",
        "genesis_path": "/k/genesis.json",
        "environment_files": ["-/etc/environment"],
    }
    out = {"dest": str(tmp_path / "out"), "content": "{{ secrets_keys | to_json }}", "mode": "0600"}
    run(tmp_path, [{"ansible.builtin.copy": out}], {"evnode_profile": profile})
    assert [entry["path"] for entry in json.loads((tmp_path / "out").read_text())] == ["/k/signer.json", "/k/pass"]
