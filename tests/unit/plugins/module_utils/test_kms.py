# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Trying a key in a KMS: programs that stand for the providers' tools, run as they would be."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.module_utils import _kms

ME = pwd.getpwuid(os.geteuid()).pw_name
AWS = _kms.Key("aws", "alias/sequencer", region="eu-central-1", profile="chain")
GCP = _kms.Key("gcp", "projects/p/cryptoKeyVersions/1", credentials_file="/etc/node/gcp.json")


def tool(folder: Path, name: str, script: str) -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(folder)


def test_the_public_key_is_read_with_the_nodes_own_settings(tmp_path):
    places = tool(tmp_path, "aws", f'echo "$*" > {tmp_path}/said')
    found = _kms.access(AWS, ME, places=places)
    assert (found["readable"], found["reason"], found["user"]) == (True, None, ME)
    words = (tmp_path / "said").read_text()
    assert words.startswith(
        "kms get-public-key --key-id alias/sequencer --region eu-central-1 --profile chain --cli-connect-timeout"
    )
    assert found["command"] == f"aws {words.strip()}"


def test_credentials_of_a_service_account_are_named_to_gcloud_and_nothing_is_left_in_a_home(tmp_path):
    places = tool(tmp_path, "gcloud", f'echo "$CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE $HOME $*" > {tmp_path}/said')
    assert _kms.access(GCP, ME, places=places)["readable"] is True
    credentials, home, *words = (tmp_path / "said").read_text().split()
    assert credentials == "/etc/node/gcp.json"
    assert home != pwd.getpwnam(ME).pw_dir and not os.path.exists(home)
    assert words == ["kms", "keys", "versions", "get-public-key", "projects/p/cryptoKeyVersions/1", "--quiet"]


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo >&2; echo An error occurred >&2; echo AccessDeniedException >&2; exit 254", "AccessDeniedException"),
        ("exit 3", "exit code 3"),
    ],
)
def test_a_refusal_is_told_in_the_tools_last_words(tmp_path, script, reason):
    found = _kms.access(AWS, ME, places=tool(tmp_path, "aws", script))
    assert (found["readable"], found["reason"]) == (False, reason)


def test_without_the_tool_it_is_not_tried(tmp_path):
    found = _kms.access(AWS, ME, places=str(tmp_path))
    assert (found["readable"], found["reason"]) == (None, "aws is not installed")
    assert found["command"].startswith("aws kms get-public-key --key-id alias/sequencer")


def test_a_provider_that_nobody_knows(tmp_path):
    found = _kms.access(_kms.Key("vault", "k"), ME, places=str(tmp_path))
    assert (found["readable"], found["reason"]) == (None, "no tool is known for 'vault'")


def test_root_asks_where_the_account_does_not_exist_yet(tmp_path):
    asked = []

    def run(argv, user, *, home, keep_output=True, timeout=60):
        asked.append((user, home))
        raise _kms.AsUserError("it did not end within 15 s")

    places = tool(tmp_path, "aws", "exit 0")
    found = _kms.access(AWS, "no-such-account", run=run, places=places)
    assert asked == [("root", pwd.getpwuid(0).pw_dir)]
    assert (found["user"], found["readable"], found["reason"]) == ("root", False, "it did not end within 15 s")
