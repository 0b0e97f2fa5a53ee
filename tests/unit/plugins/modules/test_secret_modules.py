# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.module_utils._files import fingerprint
from ansible_collections.evnode.sequencer_ha.plugins.modules import run_journal, secret_read, secret_write, signer_proof

CANARY = "canary-5f0c2b"
CONTENT = base64.b64encode(CANARY.encode()).decode()


def written(path, content=CONTENT, **more):
    """Arguments of secret_write for one file."""
    return {"files": [{"path": str(path), "content": content, **more}]}


def test_reading_needs_no_log(run_module, tmp_path):
    path = tmp_path / "secret"
    path.write_text(CANARY)
    refused = run_module(secret_read, {"paths": [str(path)]})
    assert refused["failed"] is True
    assert "no_log: true" in refused["msg"]
    assert CANARY not in str(refused)
    assert CONTENT not in str(refused)
    found = run_module(secret_read, {"paths": [str(path)]}, no_log=True)
    digest = fingerprint(CANARY.encode())
    assert found["files"] == [{"path": str(path), "present": True, "content": CONTENT, "sha256": digest}]
    assert found["changed"] is False


def test_reading_what_is_absent_or_too_big(run_module, tmp_path):
    none, path, folder = tmp_path / "none", tmp_path / "big", tmp_path / "folder"
    absent = run_module(secret_read, {"paths": [str(none)]}, no_log=True)
    assert absent["files"] == [{"path": str(none), "present": False, "content": "", "sha256": None}]
    path.write_bytes(bytes(11))
    folder.mkdir()
    paths = [str(none), str(path), str(folder)]
    refused = run_module(secret_read, {"paths": paths, "max_bytes": 10}, no_log=True)
    assert "at most 10 bytes" in refused["msg"] and "Expected a plain file" in refused["msg"]
    assert "files" not in refused


def test_write_check_write_again(run_module, tmp_path):
    path, second = tmp_path / "d" / "secret", tmp_path / "second"
    arguments = written(path, mode="0640", parents_mode="0700")
    arguments["files"].append({"path": str(second), "content": CONTENT})
    foreseen = run_module(secret_write, arguments, check=True)
    assert foreseen["changed"] is True
    assert not path.parent.exists() and not second.exists()
    done = run_module(secret_write, arguments)
    assert done["changed"] is True
    assert foreseen["diff"] == done["diff"], "check mode shows what will happen"
    assert [diff["after_header"] for diff in done["diff"]] == [str(path), str(second)]
    assert (path.read_text(), os.stat(path).st_mode & 0o777) == (CANARY, 0o640)
    again = run_module(secret_write, arguments)
    assert (again["changed"], again["diff"]) == (False, [])
    arguments["files"][0]["content"] = base64.b64encode(b"new").decode()
    other = run_module(secret_write, arguments, check=True)
    assert other["changed"] is True
    assert [(file["path"], file["changed"]) for file in other["files"]] == [(str(path), True), (str(second), False)]
    assert path.read_text() == CANARY


def test_nothing_that_is_returned_shows_the_secret(run_module, tmp_path):
    path = tmp_path / "secret"
    for arguments in (written(path), written(path, mode="bad")):
        result = run_module(secret_write, arguments)
        assert CANARY not in str(result)
        assert CONTENT not in str(result)


@pytest.mark.parametrize("wrong", [{"content": "%"}, {"mode": "bad"}, {"parents_mode": "9"}])
def test_nothing_is_written_where_one_of_the_files_is_asked_for_wrongly(run_module, tmp_path, wrong):
    arguments = written(tmp_path / "first")
    arguments["files"] += written(tmp_path / "second", **wrong)["files"]
    assert run_module(secret_write, arguments)["failed"] is True
    assert list(tmp_path.iterdir()) == []


def test_in_check_mode_the_owner_may_be_missing(run_module, tmp_path):
    arguments = written(tmp_path / "secret", owner="no-such-user")
    assert run_module(secret_write, arguments, check=True)["changed"] is True
    assert "Expected the user no-such-user" in run_module(secret_write, arguments)["msg"]


def test_only_the_very_content_is_taken_away(run_module, tmp_path):
    path = tmp_path / "secret"
    arguments = {**written(path), "state": "absent"}
    assert run_module(secret_write, arguments)["changed"] is False
    path.write_text("the key of another chain")
    for check in (True, False):
        refused = run_module(secret_write, arguments, check=check)
        assert "found something else, which was left" in refused["msg"]
    assert path.read_text() == "the key of another chain"
    path.write_text(CANARY)
    foreseen = run_module(secret_write, arguments, check=True)
    assert (foreseen["changed"], path.exists()) == (True, True)
    done = run_module(secret_write, arguments)
    assert (done["changed"], path.exists(), done["diff"]) == (True, False, foreseen["diff"])
    assert CANARY not in str(done) and CONTENT not in str(done)


def test_a_link_is_not_taken_away(run_module, tmp_path):
    (tmp_path / "real").write_text(CANARY)
    (tmp_path / "secret").symlink_to("real")
    arguments = {**written(tmp_path / "secret"), "state": "absent"}
    assert "was left" in run_module(secret_write, arguments)["msg"]
    assert (tmp_path / "secret").is_symlink()


def test_a_file_that_another_service_reads_too_stays_as_it_is(run_module, tmp_path):
    path, link = tmp_path / "real", tmp_path / "jwt"
    path.write_text(CANARY)
    path.chmod(0o640)
    link.symlink_to("real")
    arguments = written(link, if_held="keep_closed")
    assert run_module(secret_write, arguments)["changed"] is False
    assert link.is_symlink()
    assert run_module(secret_write, written(link, if_held="replace"), check=True)["changed"] is True
    path.chmod(0o644)
    assert run_module(secret_write, arguments, check=True)["changed"] is True, "everybody could read it"
    path.write_text("another")
    path.chmod(0o640)
    assert run_module(secret_write, arguments)["changed"] is True
    assert (link.is_symlink(), link.read_text()) == (False, CANARY)


@pytest.mark.parametrize(("if_held", "changed"), [("keep_closed", True), ("keep", False)])
def test_a_file_that_everybody_reads_stays_where_it_may_be_open(run_module, tmp_path, if_held, changed):
    path = tmp_path / "environment"
    path.write_text(CANARY)
    path.chmod(0o644)
    arguments = written(path, if_held=if_held)
    assert run_module(secret_write, arguments)["changed"] is changed
    assert os.stat(path).st_mode & 0o777 == (0o600 if changed else 0o644)
    path.write_text("another")
    assert run_module(secret_write, arguments)["changed"] is True
    assert path.read_text() == CANARY


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask as somebody else")
@pytest.mark.parametrize(("group", "stays"), [("nogroup", True), ("root", False)])
def test_a_file_stays_only_where_the_owner_can_read_it(run_module, tmp_path, group, stays):
    """Through a directory that is open, as the kernel sees it for that user."""
    import shutil
    import tempfile

    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        os.chmod(folder, 0o755)
        path = Path(folder, "jwt")
        path.write_text(CANARY)
        path.chmod(0o640)
        shutil.chown(path, "root", group)
        arguments = written(path, if_held="keep_closed", owner="nobody", group="nogroup")
        assert run_module(secret_write, arguments, check=True)["changed"] is not stays


def test_the_journal_module_leaves_a_receipt(run_module, tmp_path):
    path = tmp_path / "state" / "journal.jsonl"
    arguments = {"path": str(path), "run": "r1", "event": "prepared", "facts": {"height": 7}}
    checked = run_module(run_journal, arguments, check=True)
    assert (checked["receipt"]["height"], checked["written"]) == (7, False)
    assert not path.exists()
    done = run_module(run_journal, arguments)
    assert (done["receipt"]["event"], done["written"], done["changed"]) == ("prepared", True, False)
    assert path.read_text().count("\n") == 1
    assert "may not be called at" in run_module(run_journal, {**arguments, "facts": {"at": 1}})["msg"]


def test_the_proof_in_check_mode_names_what_is_not_there_yet(run_module, tmp_path):
    binary = tmp_path / "node"
    binary.touch()
    arguments = {
        "binary": str(binary),
        "signer_path": str(tmp_path / "config"),
        "passphrase_file": str(tmp_path / "passphrase"),
        "user": "chain",
    }
    result = run_module(signer_proof, arguments, check=True)
    assert (result["address"], result["changed"]) == (None, False)
    assert str(tmp_path / "passphrase") in result["reason"]
    assert str(binary) not in result["reason"]
    assert "Expected a signer" in run_module(signer_proof, arguments)["msg"]


@pytest.mark.parametrize("opens", [True, False])
def test_the_proof_lets_the_binary_decide(run_module, tmp_path, opens):
    """A stand-in for the binary prints a key, as the real one does: it must come out nowhere."""
    import json
    import pwd

    binary = tmp_path / "node"
    binary.write_text(
        f"#!/bin/sh\necho {CANARY}\necho {CANARY} >&2\ntest -r $4/config/signer.json || exit 9\nexit {int(not opens)}\n"
    )
    binary.chmod(0o755)
    (tmp_path / "signer.json").write_text(json.dumps({"pub_key": base64.b64encode(bytes(32)).decode()}))
    (tmp_path / "passphrase").write_text("words\n")
    arguments = {
        "binary": str(binary),
        "signer_path": str(tmp_path),
        "passphrase_file": str(tmp_path / "passphrase"),
        "user": pwd.getpwuid(os.geteuid()).pw_name,
    }
    result = run_module(signer_proof, arguments)
    assert CANARY not in str(result)
    if opens:
        assert result["address"] == "Zmh6rfhivXdsj8GLjp+OIAiXFIVu4jOzkCpZHQ1fKSU="
    else:
        assert "does not open" in result["msg"]
    assert Path(tmp_path, "signer.json").exists()
