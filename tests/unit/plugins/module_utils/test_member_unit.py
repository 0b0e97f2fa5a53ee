# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import grp
import os
import pwd
import stat
import typing as t

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.module_utils import _member_unit as member_unit
from ansible_collections.evnode.sequencer_ha.plugins.module_utils import _mode, _unit_file
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._files import fingerprint

if t.TYPE_CHECKING:
    from pathlib import Path

LIVE = b"# by hand\nnode:\n  block_time: 1s\n"


class Tree:
    """A host's directories below a temporary one."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home = root / "srv" / "node"
        (self.home / "config").mkdir(parents=True)
        (root / "systemd").mkdir()
        self.yaml = self.home / "config" / "evnode.yaml"
        account = pwd.getpwuid(os.geteuid())
        self.profile: dict[str, t.Any] = {
            "unit": "chain",
            "binary": "/opt/chain/bin/node",
            "home": str(self.home),
            "db_path": str(self.home / "data"),
            "yaml_path": str(self.yaml),
            "user": account.pw_name,
            "group": grp.getgrgid(os.getegid()).gr_name,
            "working_directory": "/srv",
            "environment": ["PLAIN=50% of it"],
            "environment_files": ["-/etc/default/chain", "/etc/more"],
            "limit_nofile": "65536",
            "timeout_stop_s": 10.0,
            "after": ["el.service"],
            "application_flags": ["--kv-endpoint=0.0.0.0:1"],
            "passphrase_file": "/etc/chain/pass",
            "jwt_file": None,
            "signer": {"type": "file", "path": str(self.home / "config" / "signer.json")},
            "fragment_path": None,
            "drop_ins": [],
        }

    def plan(self, role: str, **changes: t.Any) -> member_unit.Plan:
        given: dict[str, t.Any] = {
            "profile": self.profile,
            "role": role,
            "config_dir": str(self.root / "etc"),
            "state_dir": str(self.root / "state"),
            "raft_dir": str(self.root / "raft"),
            "unit_dir": str(self.root / "systemd"),
        }
        return member_unit.Plan(**{**given, **changes})

    def stage(self, mode: str, text: bytes = LIVE) -> None:
        folder = self.root / "etc" / "chain" / mode
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "args.env").write_text(_unit_file.arguments_file(["start"]))
        (folder / "evnode.yaml").write_bytes(text)

    def picture(self) -> dict[str, t.Any]:
        """Everything below home and systemd: kind, mode, owner, content."""
        found = {}
        for top in (self.home, self.root / "systemd"):
            for path in sorted(top.rglob("*")):
                info = path.lstat()
                content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else ""
                found[str(path)] = (stat.S_IFMT(info.st_mode), info.st_mode & 0o7777, info.st_uid, info.st_gid, content)
        return found


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


@pytest.fixture
def sequencer(tree: Tree) -> Tree:
    tree.yaml.write_bytes(LIVE)
    tree.yaml.chmod(0o640)
    tree.stage("single")
    _mode.switch(str(tree.root / "etc"), "chain", "single")
    return tree


def settings_of(plan: member_unit.Plan) -> _unit_file.Settings:
    with open(plan.unit_path, encoding="utf-8") as handle:
        return _unit_file.Settings([handle.read()])


def test_the_drop_in_resets_the_command_and_takes_it_from_the_mode(sequencer: Tree) -> None:
    plan = sequencer.plan("sequencer")
    outcome = member_unit.put(plan)
    base = "[Service]\nExecStart=/opt/chain/bin/node start --old\nTimeoutStopSec=10\nRestart=always\n"
    with open(plan.unit_path, encoding="utf-8") as handle:
        merged = _unit_file.Settings([base, handle.read()])
    assert outcome.reload is True
    assert merged.all("Service", "ExecStart") == ["/opt/chain/bin/node $EVNODE_HA_ARGS"]
    assert merged.last("Service", "EnvironmentFile") == f"{plan.config_dir}/chain/current/args.env"
    assert merged.last("Service", "TimeoutStopSec") == "30"
    assert merged.last("Service", "Restart") == "on-failure"
    assert merged.all("Unit", "ConditionPathExists") == [
        "!/run/evnode-ha/chain/frozen",
        f"!{sequencer.root}/state/chain/.copying",
    ]
    assert os.path.basename(plan.unit_path).startswith("zz-")


def test_the_file_becomes_a_link_that_reads_as_before(sequencer: Tree) -> None:
    plan = sequencer.plan("sequencer")
    member_unit.put(plan)
    assert os.readlink(sequencer.yaml) == plan.yaml_target
    assert sequencer.yaml.read_bytes() == LIVE


def test_a_second_time_changes_nothing_and_needs_no_reload(sequencer: Tree) -> None:
    plan = sequencer.plan("sequencer")
    member_unit.put(plan)
    before = sequencer.picture()
    outcome = member_unit.put(plan)
    assert (outcome.changed, outcome.reload) == (False, False)
    assert sequencer.picture() == before


def test_check_mode_tells_the_same_and_touches_nothing(sequencer: Tree) -> None:
    plan = sequencer.plan("sequencer")
    before = sequencer.picture()
    told = member_unit.put(plan, check=True)
    assert sequencer.picture() == before
    assert not os.path.exists(plan.saved_dir)
    done = member_unit.put(plan)
    assert (told.changed, told.reload, told.diffs) == (done.changed, done.reload, done.diffs)


def test_taking_away_restores_everything_exactly(sequencer: Tree) -> None:
    plan = sequencer.plan("sequencer")
    before = sequencer.picture()
    member_unit.put(plan)
    outcome = member_unit.remove(plan, active=True)
    assert (outcome.changed, outcome.reload) == (True, True)
    assert sequencer.picture() == before
    assert member_unit.remove(plan, active=True).changed is False


def test_a_link_of_the_operator_is_restored_as_a_link(sequencer: Tree) -> None:
    real = sequencer.root / "etc-evnode.yaml"
    real.write_bytes(LIVE)
    sequencer.yaml.unlink()
    sequencer.yaml.symlink_to(real)
    plan = sequencer.plan("sequencer")
    member_unit.put(plan)
    member_unit.remove(plan, active=False)
    assert os.readlink(sequencer.yaml) == str(real)


def test_a_put_that_was_killed_after_the_unit_is_finished_by_the_next(sequencer: Tree) -> None:
    plan = sequencer.plan("sequencer")
    before = sequencer.picture()
    member_unit.put(plan)
    sequencer.yaml.unlink()
    sequencer.yaml.write_bytes(LIVE)
    assert member_unit.put(plan).reload is False
    assert os.readlink(sequencer.yaml) == plan.yaml_target
    member_unit.remove(plan, active=False)
    assert sequencer.picture() == before


def test_other_drop_ins_stay_and_keep_their_directory(sequencer: Tree) -> None:
    folder = sequencer.root / "systemd" / "chain.service.d"
    folder.mkdir()
    (folder / "10-own.conf").write_text("[Service]\nNice=5\n")
    plan = sequencer.plan("sequencer")
    member_unit.put(plan)
    member_unit.remove(plan, active=False)
    assert os.listdir(folder) == ["10-own.conf"]


def test_arming_is_refused_when_the_live_file_was_changed_since(sequencer: Tree) -> None:
    sequencer.yaml.write_bytes(LIVE + b"# changed\n")
    with pytest.raises(member_unit.MemberUnitError, match="run the config stage again"):
        member_unit.put(sequencer.plan("sequencer"))
    assert not (sequencer.root / "systemd" / "chain.service.d").exists()


def test_arming_is_refused_without_a_mode(tree: Tree) -> None:
    tree.yaml.write_bytes(LIVE)
    with pytest.raises(member_unit.MemberUnitError, match="set mode single first"):
        member_unit.put(tree.plan("sequencer"))


def test_check_mode_foretells_the_drop_in_before_there_is_a_mode(tree: Tree) -> None:
    tree.yaml.write_bytes(LIVE)
    plan = tree.plan("sequencer")
    before = tree.picture()
    told = member_unit.put(plan, check=True)
    assert [diff["after_header"] for diff in told.diffs] == [plan.unit_path, str(tree.yaml)]
    assert tree.picture() == before


def test_a_raft_member_keeps_its_unit_running_or_not(sequencer: Tree) -> None:
    plan = sequencer.plan("sequencer")
    member_unit.put(plan)
    sequencer.stage("raft")
    _mode.switch(plan.config_dir, "chain", "raft")
    for active in (True, False):
        with pytest.raises(member_unit.MemberUnitError, match="only a rollback, which turns the switch first"):
            member_unit.remove(plan, active=active)
    assert os.path.exists(plan.unit_path)


def test_without_the_saved_original_the_single_configuration_serves(sequencer: Tree) -> None:
    plan = sequencer.plan("sequencer")
    member_unit.put(plan)
    os.unlink(os.path.join(plan.saved_dir, member_unit.ORIGINAL))
    outcome = member_unit.remove(plan, active=False)
    assert outcome.warnings
    assert sequencer.yaml.read_bytes() == LIVE
    assert not sequencer.yaml.is_symlink()


def test_a_joiner_cannot_start_before_a_mode_is_chosen(tree: Tree) -> None:
    plan = tree.plan("joiner")
    member_unit.put(plan)
    settings = settings_of(plan)
    assert settings.last("Unit", "AssertPathExists") == f"{plan.config_dir}/chain/current"
    assert settings.all("Unit", "ConditionPathExists") == [
        "!/run/evnode-ha/chain/frozen",
        f"!{tree.root}/state/chain/.copying",
    ]
    assert settings.words("Unit", "After") == ["network-online.target", "el.service"]
    assert settings.last("Service", "ExecStart") == "/opt/chain/bin/node $EVNODE_HA_ARGS"
    assert settings.last("Service", "LimitNOFILE") == "65536"
    assert os.readlink(tree.yaml) == plan.yaml_target


def test_an_environment_file_may_be_missing_only_where_it_may_on_the_sequencer(tree: Tree) -> None:
    plan = tree.plan("joiner")
    member_unit.put(plan)
    listed = settings_of(plan).all("Service", "EnvironmentFile")
    assert listed[:2] == ["-/etc/default/chain", "/etc/more"]


def test_a_percent_sign_in_the_environment_is_no_specifier(tree: Tree) -> None:
    plan = tree.plan("joiner")
    member_unit.put(plan)
    value = settings_of(plan).last("Service", "Environment") or ""
    assert _unit_file.split_words(_unit_file.specifiers(value, {})) == ["PLAIN=50% of it"]


def test_secrets_of_the_environment_go_into_a_file_of_root(tree: Tree) -> None:
    tree.profile["environment"].append("API_TOKEN=sha256:0123456789ab")
    plan = tree.plan("joiner", secret_environment=['API_TOKEN=hu"sh$'])
    outcome = member_unit.put(plan)
    with open(plan.unit_path, encoding="utf-8") as handle:
        assert "API_TOKEN" not in handle.read()
    with open(plan.environment_path, encoding="utf-8") as handle:
        assert _unit_file.parse_environment_file(handle.read()) == {"API_TOKEN": 'hu"sh$'}
    assert os.stat(plan.environment_path).st_mode & 0o777 == 0o600
    assert 'hu"sh' not in str([diff["after"] for diff in outcome.diffs])
    assert member_unit.put(plan).changed is False


def test_who_a_url_lets_in_goes_into_the_file_of_root(tree: Tree) -> None:
    url = "https://account:canary@host/"
    tree.profile["environment"] += ["DB_URL=https://sha256:0123456789ab@host/", "LATER=https://u@host/", "LATER=plain"]
    plan = tree.plan("joiner", secret_environment=[f"DB_URL={url}", "LATER=https://u@host/"])
    member_unit.put(plan)
    declared = _unit_file.environment_assignments(settings_of(plan).all("Service", "Environment"))
    assert declared == ["PLAIN=50%% of it", "LATER=plain"]
    with open(plan.environment_path, encoding="utf-8") as handle:
        assert _unit_file.parse_environment_file(handle.read()) == {"DB_URL": url}


def test_a_fingerprint_is_never_written_in_the_place_of_a_secret(tree: Tree) -> None:
    tree.profile["environment"].append("API_TOKEN=sha256:0123456789ab")
    with pytest.raises(member_unit.MemberUnitError, match=r"API_TOKEN.*material=true"):
        member_unit.put(tree.plan("joiner"))


@pytest.mark.parametrize("setting", ["binary", "working_directory"])
def test_a_path_cannot_write_a_setting_of_its_own(tree: Tree, setting: str) -> None:
    tree.profile[setting] = "/srv/node\nUser=root"
    with pytest.raises(member_unit.MemberUnitError, match=r"no line break in (ExecStart|WorkingDirectory)= of chain"):
        member_unit.unit_text(tree.plan("joiner"))


def test_a_unit_that_was_there_before_comes_back(tree: Tree) -> None:
    path = tree.root / "systemd" / "chain.service"
    path.write_text("[Service]\nExecStart=/bin/true\n")
    tree.yaml.write_bytes(b"log:\n  level: info\n")
    before = tree.picture()
    plan = tree.plan("joiner")
    member_unit.put(plan)
    assert path.read_text().startswith(member_unit.MARK)
    member_unit.remove(plan, active=False)
    assert tree.picture() == before


def test_diffs_do_not_show_the_unit_of_a_stranger(tree: Tree) -> None:
    path = tree.root / "systemd" / "chain.service"
    path.write_text("[Service]\nExecStart=/bin/true --token=canary\nEnvironment=TOKEN=canary\n")
    plan = tree.plan("joiner")
    shown = [*member_unit.put(plan, check=True).diffs, *member_unit.put(plan).diffs]
    shown += member_unit.remove(plan, active=False).diffs
    told = [diff for diff in shown if diff["after_header"] == plan.unit_path]
    stranger = f"{fingerprint(path.read_bytes())}\n"
    assert [diff["before"] for diff in told] == [stranger, stranger, member_unit.unit_text(plan)]
    assert [diff["after"] for diff in told] == [member_unit.unit_text(plan), member_unit.unit_text(plan), stranger]
    assert "canary" in path.read_text()
    assert "canary" not in str(shown)


def test_a_joiner_that_runs_is_not_taken_away(tree: Tree) -> None:
    plan = tree.plan("joiner")
    member_unit.put(plan)
    with pytest.raises(member_unit.MemberUnitError, match="stop it before"):
        member_unit.remove(plan, active=True)


@pytest.mark.parametrize(
    ("changes", "protect_home", "writable"),
    [
        ({}, True, None),
        ({"passphrase_file": "/home/chain/pass"}, False, None),
        ({"application_flags": ["--evm.jwt-secret-file=/root/jwt"]}, False, None),
        ({"home": "/usr/local/chain", "db_path": "/usr/local/chain/data"}, True, "-/usr/local/chain"),
    ],
)
def test_hardening_leaves_the_node_what_it_needs(
    tree: Tree, changes: dict[str, t.Any], protect_home: bool, writable: str | None
) -> None:
    # Elsewhere than the tree: a temporary directory may be below a home.
    tree.profile.update(
        home="/srv/n",
        db_path="/srv/n/data",
        signer={"path": "/srv/n/config/signer.json"},
        yaml_path="/srv/n/config/evnode.yaml",
    )
    tree.profile.update(changes)
    settings = _unit_file.Settings([member_unit.unit_text(tree.plan("joiner", raft_dir="/srv/raft"))])
    assert (settings.last("Service", "ProtectHome") == "yes") is protect_home
    assert settings.last("Service", "NoNewPrivileges") == "yes"
    found = settings.last("Service", "ReadWritePaths")
    assert found is None if writable is None else (found or "").split()[0] == writable


@pytest.mark.parametrize(("given", "written"), [(10.0, "30"), (90.0, "90"), (None, "infinity")])
def test_the_node_gets_at_least_thirty_seconds_to_stop(tree: Tree, given: float | None, written: str) -> None:
    tree.profile["timeout_stop_s"] = given
    settings = _unit_file.Settings([member_unit.unit_text(tree.plan("sequencer"))])
    assert settings.last("Service", "TimeoutStopSec") == written


def test_a_drop_in_that_changes_a_joiners_command_is_warned_about(tree: Tree) -> None:
    folder = tree.root / "systemd" / "chain.service.d"
    folder.mkdir()
    (folder / "50-old.conf").write_text("[Service]\nExecStart=\nExecStart=/bin/true\n")
    outcome = member_unit.put(tree.plan("joiner"))
    assert any("50-old.conf" in warning for warning in outcome.warnings)
