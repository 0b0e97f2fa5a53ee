# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import typing as t

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.module_utils import _mode as mode
from tests.unit.plugins.module_utils.window.raft_log import SEALED_LOG

if t.TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def config(tmp_path: Path) -> str:
    for name in ("single", "raft"):
        folder = tmp_path / "chain" / name
        folder.mkdir(parents=True)
        (folder / "args.env").write_text("EVNODE_HA_ARGS=start\n")
        (folder / "evnode.yaml").write_text("")
    return str(tmp_path)


def test_no_link_means_absent(config: str) -> None:
    assert mode.current(config, "chain") == "absent"


def test_switching_is_a_relative_link_and_a_second_time_changes_nothing(config: str) -> None:
    assert mode.switch(config, "chain", "single") == (True, "absent", "single")
    assert mode.switch(config, "chain", "raft") == (True, "single", "raft")
    assert mode.switch(config, "chain", "raft").changed is False
    assert os.readlink(mode.link_path(config, "chain")) == "raft"


def test_check_mode_tells_and_leaves_the_link_alone(config: str) -> None:
    mode.switch(config, "chain", "single")
    assert mode.switch(config, "chain", "raft", check=True) == (True, "single", "raft")
    assert mode.current(config, "chain") == "single"


def test_a_mode_without_its_files_is_refused_and_the_old_one_stays(config: str) -> None:
    mode.switch(config, "chain", "single")
    os.unlink(os.path.join(config, "chain", "raft", "args.env"))
    with pytest.raises(mode.ModeError, match=r"raft/args\.env.*run the config stage"):
        mode.switch(config, "chain", "raft")
    assert mode.current(config, "chain") == "single"


def test_absent_removes_the_link(config: str) -> None:
    mode.switch(config, "chain", "single")
    assert mode.switch(config, "chain", "absent").changed is True
    assert not os.path.lexists(mode.link_path(config, "chain"))
    assert mode.switch(config, "chain", "absent").changed is False


def test_something_else_in_the_place_of_the_link_is_named(config: str) -> None:
    os.mkdir(mode.link_path(config, "chain"))
    with pytest.raises(mode.ModeError, match="should be a symbolic link"):
        mode.switch(config, "chain", "single")


def test_a_link_to_a_place_that_is_no_mode_is_named(config: str) -> None:
    os.symlink("/etc", mode.link_path(config, "chain"))
    with pytest.raises(mode.ModeError, match="points at /etc"):
        mode.current(config, "chain")


def test_nothing_runs_on_half_a_copy(config: str, tmp_path: Path) -> None:
    state = tmp_path / "state"
    (state / "chain").mkdir(parents=True)
    (state / "chain" / ".copying").write_text('{"/srv/chain/data": {"phase": "warm", "from": "10.0.0.1"}}')
    with pytest.raises(mode.ModeError, match=r"/srv/chain/data.*never proven"):
        mode.switch(config, "chain", "raft", state_dir=str(state))
    assert mode.current(config, "chain") == "absent"
    assert mode.switch(config, "chain", "single", state_dir=str(state)).changed is True
    (state / "chain" / ".copying").unlink()
    assert mode.switch(config, "chain", "raft", state_dir=str(state)).changed is True


def test_a_member_without_a_raft_log_does_not_join(config: str, tmp_path: Path) -> None:
    log = tmp_path / "raft-log.db"
    with pytest.raises(mode.ModeError, match="found no Raft log there"):
        mode.switch(config, "chain", "raft", raft_dir=str(tmp_path))
    log.write_bytes(SEALED_LOG)
    assert mode.switch(config, "chain", "raft", raft_dir=str(tmp_path)).changed
    log.unlink()
    assert not mode.switch(config, "chain", "raft", raft_dir=str(tmp_path)).changed
