# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import getpass
import hashlib
import json
import os
import tempfile
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.module_utils import _as_user, _unit_file
from ansible_collections.evnode.sequencer_ha.plugins.module_utils import _discovery as discovery
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._process import Result
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._rpc import RpcError

if t.TYPE_CHECKING:
    from collections.abc import Sequence

USER = getpass.getuser()


class FakeHost:
    """A host with one unit: recorded ``systemctl show`` answers, a /proc and a unit directory below a temporary one."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home = root / "home"
        (self.home / "config").mkdir(parents=True)
        self.units = root / "systemd"
        self.units.mkdir()
        self.properties = {"LoadState": "loaded", "ActiveState": "active", "MainPID": "0", "User": USER}
        self.host = discovery.Host(run=self.run, proc=str(root / "proc"), etc_systemd=str(self.units))

    def run(self, argv: Sequence[str], *, timeout: float = 60, stdin: str | None = None) -> Result:
        assert list(argv[:2]) == ["systemctl", "show"]
        return Result(0, "".join(f"{name}={value}\n" for name, value in self.properties.items()), "")

    def unit(self, text: str, **drop_ins: str) -> None:
        path = self.units / "chain.service"
        path.write_text(text)
        self.properties["FragmentPath"] = str(path)
        folder = self.units / "chain.service.d"
        folder.mkdir(exist_ok=True)
        paths = []
        for name, content in drop_ins.items():
            (folder / f"{name}.conf").write_text(content)
            paths.append(str(folder / f"{name}.conf"))
        self.properties["DropInPaths"] = " ".join(paths)

    def process(self, argv: list[str], exe: str, environ: str = "HOME=/x\0SECRET_TOKEN=hush\0") -> None:
        base = self.root / "proc" / "77"
        base.mkdir(parents=True)
        (base / "cmdline").write_bytes(b"\0".join(word.encode() for word in argv) + b"\0")
        (base / "environ").write_text(environ)
        (base / "status").write_text(f"Name:\tnode\nUid:\t{os.getuid()}\t0\t0\t0\nGid:\t{os.getgid()}\t0\t0\t0\n")
        fields = " ".join(["S", *["0"] * 18, "1000", *["0"] * 5])
        (base / "stat").write_text(f"77 (a node) {fields}\n")
        (self.root / "proc" / "stat").write_text("cpu 1\nbtime 1000000\n")
        os.symlink(exe, base / "exe")
        os.symlink(str(self.root), base / "cwd")
        self.properties["MainPID"] = "77"

    def read(self, overrides: dict[str, str] | None = None) -> dict[str, t.Any]:
        return discovery.read("chain", str(self.root / "etc"), overrides or {}, host=self.host)


@pytest.fixture
def fake(tmp_path: Path) -> FakeHost:
    return FakeHost(tmp_path)


def test_the_running_process_wins_over_the_unit(fake: FakeHost) -> None:
    fake.unit("[Service]\nExecStart=/opt/node start --home /elsewhere\n")
    fake.process(["node", "start", "--home", str(fake.home), "--x=a b"], "/opt/node")
    raw = fake.read()
    assert raw["arguments"] == ["start", "--home", str(fake.home), "--x=a b"]
    assert (raw["binary"], raw["home"], raw["source"]) == ("/opt/node", str(fake.home), "process")
    assert (raw["process"]["uid"], raw["process"]["user"]) == (os.getuid(), USER)
    assert raw["unit_settings"]["exec_start"] == ["/opt/node", "start", "--home", "/elsewhere"]


def test_a_script_is_seen_through_to_what_it_started(fake: FakeHost) -> None:
    fake.unit("[Service]\nExecStart=/bin/sh -c 'exec /opt/node start'\n")
    fake.process(["/opt/node", "start", f"--home={fake.home}"], "/opt/node")
    raw = fake.read()
    assert raw["binary"] == "/opt/node"
    assert raw["unit_settings"]["exec_start"][0] == "/bin/sh"


def test_values_of_the_process_environment_are_not_reported(fake: FakeHost) -> None:
    fake.unit("[Service]\nExecStart=/opt/node start\n")
    fake.process(["/opt/node", "start", f"--home={fake.home}"], "/opt/node")
    raw = fake.read()
    assert "SECRET_TOKEN" in raw["process"]["environment_names"]
    assert "hush" not in json.dumps(raw)


def test_the_start_of_a_process_is_read_past_a_name_with_blanks(fake: FakeHost) -> None:
    fake.unit("[Service]\nExecStart=/opt/node start\n")
    fake.process(["/opt/node", "start", f"--home={fake.home}"], "/opt/node")
    assert fake.read()["process"]["started"] == 1000000 + 1000 / os.sysconf("SC_CLK_TCK")


def test_a_process_of_an_account_without_a_name(fake: FakeHost) -> None:
    fake.process(["/opt/node", "start"], "/opt/node")
    (fake.root / "proc" / "77" / "status").write_text("Uid:\t54321\t54321\n")
    assert (fake.read()["process"]["uid"], fake.read()["process"]["user"]) == (54321, None)


def test_a_replaced_program_is_told(fake: FakeHost) -> None:
    fake.unit("[Service]\nExecStart=/opt/node start\n")
    fake.process(["/opt/node", "start"], "/opt/node (deleted)")
    raw = fake.read()
    assert (raw["process"]["exe"], raw["process"]["exe_deleted"]) == ("/opt/node", True)


def test_a_stopped_unit_is_read_with_drop_ins_variables_and_environment_files(fake: FakeHost) -> None:
    extra = fake.root / "default"
    extra.write_text('MORE="--kv-endpoint=0.0.0.0:1 --evnode.log.level=debug"\n')
    fake.unit(
        "[Service]\nExecStart=/opt/node start\nEnvironment=NS=lab\n",
        flags=f"[Service]\nEnvironmentFile=-{extra}\nExecStart=\n"
        f"ExecStart=/opt/node start --home {fake.home} --evnode.da.namespace=${{NS}} $MORE\n",
    )
    raw = fake.read()
    assert raw["source"] == "unit"
    assert raw["arguments"] == [
        "start", "--home", str(fake.home), "--evnode.da.namespace=lab", "--kv-endpoint=0.0.0.0:1",
        "--evnode.log.level=debug",
    ]  # fmt: skip


def test_specifiers_in_paths_of_environment_files_are_expanded(fake: FakeHost) -> None:
    fake.unit("[Service]\nExecStart=/opt/node start\nEnvironmentFile=-/etc/default/%N\nEnvironmentFile=/etc/%m.env\n")
    assert fake.read()["unit_settings"]["environment_files"] == ["-/etc/default/chain", "/etc/%m.env"]


def test_without_a_home_flag_the_name_of_the_program_decides(fake: FakeHost) -> None:
    fake.unit("[Service]\nExecStart=/opt/evm start\n")
    fake.process(["evm", "start"], "/opt/evm", environ="HOME=/var/lib/u\0")
    raw = fake.read()
    assert (raw["home"], raw["home_origin"]) == ("/var/lib/u/.evm", "default")


def test_overrides_are_believed(fake: FakeHost) -> None:
    fake.unit("[Service]\nExecStart=/opt/node start\n")
    raw = fake.read({"home": str(fake.home), "binary": "/opt/other"})
    assert (raw["home"], raw["binary"]) == (str(fake.home), "/opt/other")


def test_a_relative_home_starts_at_the_working_directory(fake: FakeHost) -> None:
    fake.unit("[Service]\nExecStart=/opt/node start\n")
    fake.process(["/opt/node", "start", "--home", "home"], "/opt/node")
    assert fake.read()["home"] == str(fake.home)


def test_the_file_is_carried_as_it_is(fake: FakeHost) -> None:
    (fake.home / "config" / "evnode.yaml").write_bytes(b"# x\nlog:\n  level: info\n")
    fake.unit(f"[Service]\nExecStart=/opt/node start --home {fake.home}\n")
    source = fake.read()["yaml"]
    assert base64.b64decode(source["content"]) == b"# x\nlog:\n  level: info\n"
    assert (source["present"], source["readable"]) == (True, True)


def test_an_armed_unit_is_read_from_the_saved_single_mode(fake: FakeHost) -> None:
    single = fake.root / "etc" / "chain" / "single"
    single.mkdir(parents=True)
    (single / "args.env").write_text(_unit_file.arguments_file(["start", "--home", str(fake.home), "--x=a b"]))
    (single / "evnode.yaml").write_bytes(b"node: {block_time: 2s}\n")
    os.symlink("raft", single.parent / "current")
    (single.parent / "raft").mkdir()
    (single.parent / "raft" / "evnode.yaml").write_bytes(b"raft: {enable: true}\n")
    fake.unit(
        "[Service]\nExecStart=/opt/node start\n", **{"zz-evnode-ha": "[Service]\nExecStart=\nExecStart=/opt/node $X\n"}
    )
    fake.process(["/opt/node", "start", "--home", str(fake.home), "--evnode.raft.enable=true"], "/opt/node")
    raw = fake.read()
    assert (raw["mode"], raw["managed"], raw["source"]) == ("raft", True, "files")
    assert raw["arguments"] == ["start", "--home", str(fake.home), "--x=a b"]
    assert base64.b64decode(raw["yaml"]["content"]) == b"node: {block_time: 2s}\n"
    assert base64.b64decode(raw["raft_yaml"]) == b"raft: {enable: true}\n"
    assert raw["unit_settings"]["exec_start"] == ["/opt/node", "start"]


@pytest.mark.parametrize(
    ("target", "exists", "mode"),
    [
        ("raft", True, "raft"),
        ("single", False, "single"),
        ("odd", True, "unmanaged"),
        (None, True, "unmanaged"),
        (None, False, "absent"),
    ],
)
def test_modes(tmp_path: Path, target: str | None, exists: bool, mode: str) -> None:
    (tmp_path / "chain").mkdir()
    if target:
        os.symlink(target, tmp_path / "chain" / "current")
    assert discovery.read_mode(str(tmp_path), "chain", exists=exists) == mode


def test_a_missing_unit_is_no_crash(fake: FakeHost) -> None:
    fake.properties.update(LoadState="not-found", ActiveState="inactive")
    raw = fake.read()
    assert (raw["mode"], raw["arguments"], raw["process"]) == ("absent", [], None)


def test_an_account_that_does_not_exist_is_no_crash(fake: FakeHost) -> None:
    fake.properties["User"] = "no-such-account"
    fake.unit("[Service]\nExecStart=/opt/node start --home /h\n")
    assert fake.read()["account"]["uid"] is None


def test_the_probe_finds_the_address_of_the_key_and_survives_a_node_that_is_down(fake: FakeHost) -> None:
    public = bytes(range(32))
    signer = fake.home / "config" / "signer.json"
    signer.write_text(json.dumps({"pub_key": base64.b64encode(public).decode()}))
    genesis = fake.home / "config" / "genesis.json"
    genesis.write_text(json.dumps({"chain_id": "c-1", "proposer_address": "QQ=="}))
    found = discovery.probe(
        {
            "binary": "/nonexistent", "home": str(fake.home), "signer_file": str(signer), "rpc_address": "127.0.0.1:1",
            "paths": {"passphrase_file": str(signer), "jwt_file": "/nonexistent", "none": None}, "uid": None,
        },
        host=fake.host,
    )  # fmt: skip
    assert found["signer"] == {"present": True, "address": base64.b64encode(hashlib.sha256(public).digest()).decode()}
    assert found["genesis"]["chain_id"] == "c-1"
    assert found["genesis"]["sha256"] == hashlib.sha256(genesis.read_bytes()).hexdigest()
    assert found["paths"]["passphrase_file"] == {"present": True, "readable": True, "open": False}
    assert found["paths"]["jwt_file"] == {"present": False, "readable": False, "open": False}
    assert (found["binary_executable"], found["binary_raft_flags"]) == (False, None)
    assert "none" not in found["paths"]
    assert found["node"]["namespaces"] is None
    assert "refused" in found["node"]["reason"]


@pytest.mark.skipif(os.geteuid() != 0, reason="another account can only be tried by root")
def test_a_file_of_root_is_not_readable_for_another_account(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("x")
    path.chmod(0o600)
    nobody = {"uid": 65534, "gid": 65534, "groups": [65534]}
    assert discovery.readable_as(str(path), nobody) is False
    assert discovery.readable_as(str(path), {"uid": 0, "gid": 0, "groups": []}) is True


HELP = """Flags:
      --evnode.raft.enable             enable Raft
      --evnode.raft.snap_count uint    snapshots to keep (see --evnode.raft.enable)
      --evnode.p2p.peers string
"""


class Program:
    """A program that anybody may run, with recorded answers and what it was asked, by whom and in which home."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "node"
        self.path.write_text("")
        self.path.chmod(0o755)
        self.answers: dict[str, _as_user.Outcome] = {}
        self.asked: list[tuple[str, str, bool]] = []

    def __call__(
        self, argv: Sequence[str], user: str, *, home: str, keep_output: bool = True, timeout: float = 60
    ) -> _as_user.Outcome:
        assert (argv[0], keep_output, timeout) == (str(self.path), True, 10)
        question = " ".join(argv[1:])
        self.asked.append((question, user, os.listdir(home) == []))
        return self.answers[question]

    def probe(self, user: str | None = USER) -> dict[str, t.Any]:
        """Probe a host that has nothing but this program."""
        request = {"binary": str(self.path), "user": user, "raft_flags": True, "uid": None}
        return discovery.probe(request, host=discovery.Host(run_as=self))


@pytest.fixture
def program(tmp_path: Path) -> Program:
    found = Program(tmp_path)
    found.answers = {
        "version": _as_user.Outcome(0, "", "evm version: v1.1.1\n"),
        "start --help": _as_user.Outcome(0, "", HELP),
    }
    return found


def test_the_programs_help_tells_what_it_knows_of_raft(program: Program) -> None:
    assert program.probe()["binary_raft_flags"] == ["raft.enable", "raft.snap_count"]
    program.answers["start --help"] = _as_user.Outcome(0, "--evnode.p2p.peers string")
    assert program.probe()["binary_raft_flags"] == []
    for unknown, code in (("unknown command", 1), ("a program that hides its flags", 0)):
        program.answers["start --help"] = _as_user.Outcome(code, unknown)
        assert program.probe()["binary_raft_flags"] is None


def test_the_program_is_asked_as_the_nodes_account_in_an_empty_home(program: Program) -> None:
    assert program.probe()["binary_version"] == "v1.1.1"
    assert program.asked == [("version", USER, True), ("start --help", USER, True)]
    program.answers["version"] = _as_user.Outcome(1, "no version: built without")
    assert program.probe()["binary_version"] is None


@pytest.mark.parametrize("user", ["no-such-account", "54321", None])
def test_a_program_of_an_unknown_account_is_not_run_at_all(program: Program, user: str | None) -> None:
    found = program.probe(user)
    assert (found["binary_version"], found["binary_raft_flags"], program.asked) == (None, None, [])


@pytest.mark.parametrize(
    ("text", "profile"),
    [
        ("unconfined\n", None),
        ("", None),
        ("/usr/bin/node (complain)\n", None),
        ("/usr/bin/node (enforce)\n", "/usr/bin/node (enforce)"),
        ("system_u:system_r:unconfined_service_t:s0\0", None),
        ("system_u:system_r:evnode_t:s0\0", "system_u:system_r:evnode_t:s0"),
    ],
)
def test_who_holds_a_process(tmp_path: Path, text: str, profile: str | None) -> None:
    (tmp_path / "current").write_text(text)
    assert discovery._confined(str(tmp_path / "current")) == profile


class Node:
    """A node whose newest block is so many seconds old, told anew at each question; an error is raised."""

    def __init__(self, *ages: float | RpcError, block_s: float = 1.0) -> None:
        self.ages, self.block_s = list(ages), block_s

    def state(self) -> dict[str, t.Any]:
        self.age = self.ages.pop(0) if len(self.ages) > 1 else self.ages[0]
        if isinstance(self.age, RpcError):
            raise self.age
        return {"chain_id": "c-1", "height": 20, "next_proposer": None}

    def block(self, height: int) -> dict[str, t.Any]:
        assert not isinstance(self.age, RpcError)
        return {"time_ns": (time.time() - self.age - (20 - (height or 20)) * self.block_s) * 1e9}

    def namespaces(self) -> dict[str, t.Any]:
        return {"header": "aa", "data": "bb"}


QUESTION = {"rpc_address": "127.0.0.1:7331", "patience_s": 5, "stale_s": 10}


def ask(monkeypatch: pytest.MonkeyPatch, node: Node, clock: t.Any) -> dict[str, t.Any]:
    monkeypatch.setattr(discovery, "NodeClient", lambda *_given, **_named: node)
    return discovery._ask(QUESTION, clock)


def test_a_chain_that_goes_on(monkeypatch: pytest.MonkeyPatch, fake_clock: t.Any) -> None:
    found = ask(monkeypatch, Node(0.4, block_s=1.5), fake_clock)
    assert (found["height"], found["interval_s"], found["reason"]) == (20, 1.5, None)
    assert found["age_s"] == pytest.approx(0.4, abs=0.2)
    assert fake_clock.now == 0


def test_a_node_that_has_just_been_started_gets_some_time(monkeypatch: pytest.MonkeyPatch, fake_clock: t.Any) -> None:
    node = Node(RpcError("refused", "nobody"), RpcError("refused", "nobody"), 30.0, 0.1)
    found = ask(monkeypatch, node, fake_clock)
    assert found["age_s"] < 1
    assert fake_clock.now == pytest.approx(0.6)


def test_a_chain_that_stands_still(monkeypatch: pytest.MonkeyPatch, fake_clock: t.Any) -> None:
    found = ask(monkeypatch, Node(30.0), fake_clock)
    assert (found["height"], found["reason"]) == (20, None)
    assert found["age_s"] == pytest.approx(30, abs=1)
    assert fake_clock.now == pytest.approx(5)


def test_a_node_that_never_answers(monkeypatch: pytest.MonkeyPatch, fake_clock: t.Any) -> None:
    found = ask(monkeypatch, Node(RpcError("timeout", "no answer within 3 s")), fake_clock)
    assert (found["height"], found["age_s"], found["reason"]) == (None, None, "no answer within 3 s")
    assert fake_clock.now == pytest.approx(5)


@pytest.mark.skipif(os.geteuid() != 0, reason="another account can only be tried by root")
def test_a_key_is_open_where_mode_and_directories_let_everybody_in() -> None:
    with tempfile.TemporaryDirectory() as folder:
        key = Path(folder) / "signer.json"
        key.write_text("{}")
        key.chmod(0o644)
        assert discovery._for_everybody(str(key)) is False
        Path(folder).chmod(0o755)
        assert discovery._for_everybody(str(key)) is True
        key.chmod(0o640)
        assert discovery._for_everybody(str(key)) is False
