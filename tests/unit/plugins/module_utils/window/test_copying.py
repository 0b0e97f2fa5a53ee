# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import os
import subprocess
import threading

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.module_utils._window import copying, host
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._window.protocol import Failed, Matched
from tests.unit.plugins.module_utils._store.store_pair import Pair
from tests.unit.plugins.module_utils.window.test_host import joiner, machine
from tests.unit.plugins.module_utils.window.test_host import settings as make_settings

settings = make_settings


@pytest.fixture
def pair(tmp_path):
    made = Pair(tmp_path / "pair")
    made.write("000001.sst", b"s" * 5000)
    made.sparse("000001.vlog", 1 << 24, {0: b"head", 9_000_000: b"tail"})
    yield made
    for link in made.links:
        if link.process.poll() is None:
            link.process.kill()
            link.process.wait()


def source_digest(pair):
    return copying.source_digest({"roots": {"data": str(pair.source)}, "exclude": []}, str(pair.source_state))


def copier(settings, pair):
    wanted = dataclasses.replace(joiner(settings), seed="copy")
    built, systemd = machine(wanted)
    systemd.active = False
    built._puller = pair.puller()
    return built


def test_a_joiners_proof_is_the_sources_own_digest(settings, pair):
    built = copier(settings, pair)
    assert built.describe() == (0, "", "")
    found = built.match(21, "h21", threading.Event())
    built.close()
    assert found == Matched(21, "h21", source_digest(pair))


def test_one_changed_byte_of_the_source_is_another_digest(settings, pair):
    built = copier(settings, pair)
    found = built.match(21, "h21", threading.Event())
    built.close()
    pair.write("000001.sst", b"s" * 4999 + b"S")
    assert isinstance(found, Matched)
    assert found.digest != source_digest(pair)


def test_nothing_is_copied_into_a_store_that_is_in_use(settings, pair):
    built = copier(settings, pair)
    folder = settings.store_paths[0]
    with open(os.path.join(folder, "LOCK"), "w+") as lock:
        holder = subprocess.Popen(["sleep", "30"], stdin=lock)
    try:
        found = built.match(21, "h21", threading.Event())
    finally:
        holder.kill()
        holder.wait()
    assert isinstance(found, Failed)
    assert f"is still held by {holder.pid}" in found.reason


def test_a_source_that_is_away_is_told_before_anything_is_stopped(settings):
    wanted = dataclasses.replace(joiner(settings), seed="copy", copy={"roots": {}})
    built, _systemd = machine(wanted)
    height, digest, trouble = built.describe()
    assert (height, digest) == (0, "")
    assert "the source of the last copy cannot be reached" in trouble


def test_a_coordinator_without_roots_says_so():
    with pytest.raises(copying.CopyError, match=r"copy\.roots is empty"):
        copying.source_digest({}, "/nowhere")


def test_the_share_may_read_what_nobody_else_may_hold(tmp_path):
    proc = tmp_path / "proc" / "4711"
    (proc / "fd").mkdir(parents=True)
    (tmp_path / "data").mkdir()
    os.symlink(tmp_path / "data" / "000001.vlog", proc / "fd" / "3")
    (proc / "comm").write_text("python3\n")
    (proc / "cgroup").write_text("0::/system.slice/evnode-share-ev-node.service\n")
    paths, where = [str(tmp_path / "data")], str(tmp_path / "proc")
    assert host.holders(paths, where, reader="evnode-share-ev-node.service") == []
    assert host.holders(paths, where) == ["4711 (python3)"]
    (proc / "cgroup").write_text("0::/system.slice/ev-node.service\n")
    assert host.holders(paths, where, reader="evnode-share-ev-node.service") == ["4711 (python3)"]
