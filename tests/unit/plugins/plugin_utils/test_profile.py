# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import copy
import json
import re
import typing as t
from pathlib import Path

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.filter.migration import FilterModule
from ansible_collections.evnode.sequencer_ha.plugins.plugin_utils import _effective, _member_files
from ansible_collections.evnode.sequencer_ha.plugins.plugin_utils._member_files import RAFT_SETTINGS
from ansible_collections.evnode.sequencer_ha.plugins.plugin_utils._profile import Reading, span_seconds

YAML = """\
node: {aggregator: true, block_time: 500ms}
da: {address: "http://da", namespace: lab, auth_token: hush}
signer: {signer_path: /srv/n/config}
rpc: {address: "0.0.0.0:7331"}
"""
ADDRESS = "QWRkcmVzcw=="


class Case:
    """A healthy sequencer; tests spoil one thing."""

    def __init__(self) -> None:
        self.overrides: dict[str, str] = {}
        self.arguments = [
            "start",
            "--home=/srv/n",
            "--evnode.signer.passphrase_file=/etc/pass",
            "--kv-endpoint=0.0.0.0:1",
        ]
        self.yaml = YAML
        self.raw: dict[str, t.Any] = {
            "unit": "chain",
            "properties": {
                "LoadState": "loaded",
                "ActiveState": "active",
                "MainPID": "7",
                "UnitFileState": "enabled",
                "LimitNOFILE": "65536",
                "TimeoutStopUSec": "1min 30s",
                "NeedDaemonReload": "no",
            },
            "fragment_path": "/etc/systemd/system/chain.service",
            "drop_ins": ["/x/10-a.conf", "/x/zz-evnode-ha.conf"],
            "unit_settings": {
                "environment": ["A=1", "API_TOKEN=hush"],
                "environment_files": ["-/etc/default/chain"],
                "after": ["el.service"],
                "prefixes": "",
                "exec_start": ["/opt/node", *self.arguments],
                "commands": 1,
            },
            "account": {"user": "chain", "group": "chain", "uid": 5, "gid": 5, "groups": [5], "home": "/home/chain"},
            "process": {
                "pid": 7,
                "argv": ["/opt/node", *self.arguments],
                "exe": "/opt/node",
                "exe_deleted": False,
                "cwd": "/var/lib",
                "uid": 5,
                "user": "chain",
                "gid": 5,
                "home": "/home/chain",
                "db_path": None,
                "environment_names": ["A", "HOME"],
                "confined": None,
                "started": 1000.0,
            },
            "source": "process",
            "mode": "unmanaged",
            "managed": False,
            "binary": "/opt/node",
            "home": "/srv/n",
            "home_origin": "flag",
        }
        self.probed: dict[str, t.Any] = {
            "binary_sha256": "aa",
            "running_sha256": "aa",
            "binary_version": "v1",
            "binary_executable": True,
            "binary_raft_flags": [*sorted(RAFT_SETTINGS), "raft.bootstrap"],
            "genesis": {"sha256": "bb", "chain_id": "c-1", "proposer_address": ADDRESS},
            "node_key_present": True,
            "signer": {"present": True, "address": ADDRESS},
            "paths": {
                "passphrase_file": {"present": True, "readable": True, "open": False},
                "signer": {"present": True, "readable": True, "open": False},
            },
            "node": {
                "namespaces": {"header": "0x" + _effective.namespace_hex("lab"), "data": None},
                "next_proposer": None,
                "chain_id": "c-1",
                "height": 9,
                "age_s": 0.4,
                "interval_s": 0.51,
                "reason": None,
            },
        }
        self.yaml_facts: dict[str, t.Any] = {"present": True, "readable": True, "changed": 900.0}

    def reading(self) -> Reading:
        path = "/srv/n/config/evnode.yaml"
        content = base64.b64encode(self.yaml.encode()).decode()
        source = {"path": path, "content_path": path, "content": content, **self.yaml_facts}
        raw = copy.deepcopy(self.raw)
        return Reading({**raw, "arguments": self.arguments, "yaml": source}, self.overrides)

    def profile(self) -> dict[str, t.Any]:
        return self.reading().profile(self.probed)

    def problems(self) -> dict[str, dict[str, str]]:
        return {problem["id"]: problem for problem in self.profile()["problems"]}


@pytest.fixture
def case() -> Case:
    return Case()


@pytest.mark.parametrize(
    ("flags", "kms"),
    [
        (
            ["kms.provider=aws", "kms.aws.key_id=alias/k", "kms.aws.region=eu-central-1"],
            {"provider": "aws", "key": "alias/k", "region": "eu-central-1", "profile": ""},
        ),
        (
            ["kms.provider=gcp", "kms.gcp.key_name=projects/p", "kms.gcp.credentials_file=/etc/gcp.json"],
            {"provider": "gcp", "key": "projects/p", "credentials_file": "/etc/gcp.json"},
        ),
        ([], {"provider": ""}),
    ],
)
def test_a_key_in_a_kms_is_named_as_the_node_names_it(case: Case, flags: list[str], kms: dict[str, str]) -> None:
    case.arguments += [f"--evnode.signer.{flag}" for flag in ["signer_type=kms", *flags]]
    assert case.profile()["signer"]["kms"] == kms


def test_a_healthy_sequencer_has_no_problems(case: Case) -> None:
    assert case.problems() == {}


def test_a_member_names_its_cluster(case: Case) -> None:
    assert case.profile()["membership"] == {}
    peers = "b@10.0.0.2:5001, c@[fd00::3]:5001"
    text = f"raft: {{node_id: a, raft_addr: '10.0.0.1:5001', peers: '{peers}'}}\n"
    case.raw["raft_yaml"] = base64.b64encode(text.encode()).decode()
    assert case.profile()["membership"] == {"a": "10.0.0.1:5001", "b": "10.0.0.2:5001", "c": "[fd00::3]:5001"}


@pytest.mark.parametrize("text", [b"raft: [", b"\xff", b"raft: {enable: true}\n"])
def test_a_member_whose_file_names_no_cluster(case: Case, text: bytes) -> None:
    case.raw["raft_yaml"] = base64.b64encode(text).decode()
    assert case.profile()["membership"] == {}


def test_the_profile_says_what_was_found(case: Case) -> None:
    profile = case.profile()
    assert profile["argv"] == ["/opt/node", *case.arguments]
    assert profile["application_flags"] == ["--kv-endpoint=0.0.0.0:1"]
    assert profile["passphrase_file"] == "/etc/pass"
    assert profile["rpc_address"] == "127.0.0.1:7331"
    assert profile["block_time_s"] == 0.5
    assert profile["db_path"] == "/srv/n/data"
    assert profile["ports"] == {"p2p": 7676, "rpc": 7331, "raft": None}
    assert profile["signer"] == {"type": "file", "path": "/srv/n/config/signer.json", "address": ADDRESS, "kms": None}
    assert profile["environment_files"] == ["-/etc/default/chain"]
    assert profile["timeout_stop_s"] == 90.0
    assert profile["drop_ins"] == ["/x/10-a.conf"]
    assert profile["effective"]["node.block_time"] == {"value": "500ms", "origin": "yaml"}


@pytest.mark.parametrize("owner", ["other", None])
def test_no_account_is_made_to_run_the_program_of_another(case: Case, owner: str | None) -> None:
    case.raw["account"]["user"] = "root"
    case.raw["process"]["user"] = owner
    assert case.reading().request()["user"] == owner
    case.raw["process"] = None
    assert case.reading().request()["user"] == "root"


def test_what_a_url_lets_in_with_is_only_in_the_material(case: Case) -> None:
    url = "https://account:canary@10.0.0.9:26658/"
    case.yaml = case.yaml.replace("http://da", url)
    case.arguments += [f"--evnode.instrumentation.tracing_endpoint={url}", "--evm.eth-url", url]
    case.raw["unit_settings"]["environment"].append(f"DB_URL={url}")
    reading = case.reading()
    profile = reading.profile(case.probed)
    assert "canary" not in json.dumps(profile)
    assert [target["address"] for target in FilterModule().filters()["da_targets"](profile, {})] == ["10.0.0.9"]
    material = reading.material()
    assert f"DB_URL={url}" in material["environment"]
    assert url in base64.b64decode(material["base"]).decode()
    assert "secret_on_command_line" in {problem["id"] for problem in profile["problems"]}


def test_secrets_are_only_in_the_material(case: Case) -> None:
    case.arguments.append("--evnode.da.auth_token=hush")
    reading = case.reading()
    assert "hush" not in json.dumps(reading.profile(case.probed))
    material = reading.material()
    assert json.loads(base64.b64decode(material["arguments"])) == case.arguments
    assert base64.b64decode(material["base"]).decode() == YAML
    assert material["environment"] == ["API_TOKEN=hush"]


def test_a_relative_signer_path_starts_at_the_working_directory(case: Case) -> None:
    case.yaml = YAML.replace("/srv/n/config}", "keys/signer.json}")
    assert case.reading().request()["signer_file"] == "/var/lib/keys/signer.json"
    assert "/var/lib/keys" in case.problems()["relative_signer_path"]["remedy"]


@pytest.mark.parametrize("path", ["/etc/x/*.env", "-/etc/chain[12]", "/etc/chain?", "/etc/%m.env", "default/chain"])
def test_a_path_of_an_environment_file_that_is_not_of_one_file(case: Case, path: str) -> None:
    case.raw["unit_settings"]["environment_files"] = [path]
    problems = case.problems()
    assert set(problems) == {"environment_file_pattern"}
    assert path.lstrip("-") in problems["environment_file_pattern"]["found"]


@pytest.mark.parametrize(
    ("prefix", "present", "told"),
    [("", False, {"environment_file_missing"}), ("-", False, set()), ("", True, set())],
)
def test_an_environment_file_that_is_gone(case: Case, prefix: str, present: bool, told: set[str]) -> None:
    case.raw["unit_settings"]["environment_files"] = [f"{prefix}/etc/default/chain"]
    assert case.reading().request()["paths"]["/etc/default/chain"] == "/etc/default/chain"
    case.probed["paths"]["/etc/default/chain"] = {"present": present, "readable": present, "open": False}
    assert set(case.problems()) == told


def test_overrides_win(case: Case) -> None:
    case.overrides = {"signer_path": "/k", "rpc_address": "127.0.0.1:9", "passphrase_file": "/p", "jwt_file": "/j"}
    request = case.reading().request()
    assert request["signer_file"] == "/k/signer.json"
    assert request["rpc_address"] == "127.0.0.1:9"
    assert (request["paths"]["passphrase_file"], request["paths"]["jwt_file"]) == ("/p", "/j")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("namespace: lab, ", "", "namespace_missing"),
        ("namespace: lab", "namespace: other", "namespace_differs"),
        ("namespace: lab", "namespace: lab, namespace: lab", "yaml_broken"),
        ("block_time: 500ms", "block_time: 500ms, catchup_timeout: 3s", "catchup_timeout"),
        ("block_time: 500ms", "block_time: 500ms, promotable: true", "promotable"),
        ("block_time: 500ms", "block_time: 500ms, based_sequencer: true", "based_sequencer"),
        ("block_time: 500ms", "block_time: 500ms, light: true", "light_node"),
        ("block_time: 500ms", "block_time: 5m, lazy_mode: true", "lazy_interval"),
        ("block_time: 500ms", "block_time: 500", "bad_setting_absent"),
        ("block_time: 500ms", "block_time: fast", "bad_setting"),
        ("aggregator: true", "aggregator: false", "not_aggregator"),
        ('address: "http://da", ', "", "da_address_missing"),
        ("signer:", "raft: {enable: true}\nsigner:", "raft_already_on"),
        ("signer:", 'p2p: {listen_address: "/ip4/127.0.0.1/tcp/1"}\nsigner:', "p2p_on_loopback"),
    ],
)
def test_settings_that_stand_in_the_way(case: Case, old: str, new: str, problem: str) -> None:
    assert old in YAML
    case.yaml = YAML.replace(old, new)
    if problem == "bad_setting_absent":
        # A bare number counts nanoseconds, and is a duration.
        assert case.profile()["block_time_s"] == pytest.approx(5e-7)
    else:
        assert problem in case.problems()


@pytest.mark.parametrize(
    ("where", "value", "problem"),
    [
        ("raw.properties.LoadState", "not-found", "unit_missing"),
        ("raw.process", None, "unit_inactive"),
        ("raw.properties.NeedDaemonReload", "yes", "unit_not_loaded"),
        ("raw.unit_settings.prefixes", "+", "exec_prefix"),
        ("raw.unit_settings.commands", 2, "several_commands"),
        ("raw.unit_settings.exec_start", ["/opt/node", "start"], "unit_changed"),
        ("raw.unit_settings.exec_start", ["/bin/sh", "-c", "x"], "started_by_script"),
        ("raw.binary", "/bin/bash", "wrapper"),
        ("raw.process.uid", 0, "other_account"),
        ("raw.process.exe_deleted", True, "binary_replaced"),
        ("probed.running_sha256", "cc", "binary_replaced"),
        ("yaml_facts.changed", 2000.0, "yaml_newer"),
        ("yaml_facts.readable", False, "yaml_unreadable"),
        ("yaml_facts.present", False, "yaml_missing"),
        ("probed.genesis", None, "genesis_missing"),
        ("probed.node_key_present", False, "node_key_missing"),
        ("probed.binary_sha256", None, "binary_missing"),
        ("probed.signer.present", False, "signer_missing"),
        ("probed.signer.address", "b3RoZXI=", "signer_not_proposer"),
        ("probed.node.next_proposer", "b3RoZXI=", "signer_not_proposer"),
        ("probed.paths.passphrase_file.present", False, "passphrase_file_missing"),
        ("probed.paths.passphrase_file.readable", False, "passphrase_file_unreadable"),
    ],
)
def test_what_the_host_shows(case: Case, where: str, value: t.Any, problem: str) -> None:
    head, *path = where.split(".")
    place = getattr(case, head)
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    found = case.problems()
    assert problem in found
    assert found[problem]["remedy"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["start", "--home=/srv/n"], "passphrase_file_missing"),
        (["version"], "not_evnode"),
        (["start", "--evnode.p2p.peers=a", "--evnode.p2p.peers=b"], "duplicate_flag"),
        (["start", "--evnode.da.auth_token=hush"], "secret_on_command_line"),
        (["start", "--evnode.raft.enable=yes"], "bad_flag"),
    ],
)
def test_what_the_command_line_shows(case: Case, arguments: list[str], problem: str) -> None:
    case.arguments = arguments
    found = case.problems()
    assert problem in found
    assert "hush" not in json.dumps(found)


def test_a_start_within_the_clocks_slack_is_no_newer_file(case: Case) -> None:
    case.yaml_facts["changed"] = 1001.0
    assert case.problems() == {}


def test_names_of_variables_that_a_script_set_are_told(case: Case) -> None:
    case.raw["unit_settings"]["exec_start"] = ["/usr/local/bin/start.sh"]
    case.raw["process"]["environment_names"] = ["A", "HOME", "GOGC"]
    assert "variables that may come from it: GOGC" in case.problems()["started_by_script"]["found"]


def test_an_armed_unit_is_not_compared_with_the_original_command(case: Case) -> None:
    case.raw.update(managed=True, mode="raft")
    case.raw["process"]["argv"] = ["/opt/node", "start", "--evnode.raft.enable=true"]
    assert case.problems() == {}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1min 30s", 90.0),
        ("infinity", None),
        ("500ms", 0.5),
        ("", None),
        ("1h 2min", 3720.0),
        ("18446744073709551615", None),
    ],
)
def test_spans_of_systemd(text: str, seconds: float | None) -> None:
    assert span_seconds(text) == seconds


@pytest.mark.parametrize("mode", ["follower", "raft"])
def test_a_joiner_is_not_judged_as_a_sequencer(case: Case, mode: str) -> None:
    case.raw.update(managed=True, mode=mode)
    case.yaml = YAML.replace("aggregator: true", "aggregator: false" if mode == "follower" else "aggregator: true")
    case.yaml += f"raft: {{enable: {'true' if mode == 'raft' else 'false'}}}\n"
    if mode == "follower":
        case.arguments = ["start", "--home=/srv/n"]
    assert case.problems() == {}


def test_a_node_that_does_not_answer_is_no_chain(case: Case) -> None:
    case.probed["node"] = {"height": None, "reason": "127.0.0.1:7331 gave no answer within 3 s"}
    (problem,) = case.problems().values()
    assert problem["id"] == "rpc_silent"
    assert "gave no answer within 3 s" in problem["found"]


@pytest.mark.parametrize(("age", "stalls"), [(9.9, False), (10.5, True), (None, True)])
def test_a_chain_without_new_blocks(case: Case, age: float | None, stalls: bool) -> None:
    case.probed["node"]["age_s"] = age
    assert set(case.problems()) == ({"chain_stalled"} if stalls else set())


def test_a_lazy_chain_may_be_silent_for_some_intervals(case: Case) -> None:
    case.yaml = case.yaml.replace("node: {", "node: {lazy_mode: true, lazy_block_interval: 60s, ", 1)
    assert case.reading().request()["stale_s"] == 300
    case.probed["node"].update(age_s=200.0, interval_s=60.0)
    assert case.problems() == {}


def test_a_chain_that_is_slower_than_its_block_time(case: Case) -> None:
    case.probed["node"]["interval_s"] = 0.8
    assert case.problems()["block_time_missed"]["found"] == "a block every 0.8 s with a block time of 0.5 s"


def test_a_program_that_does_not_know_raft(case: Case) -> None:
    case.probed["binary_raft_flags"].remove("raft.snap_count")
    assert "knows no raft.snap_count" in case.problems()["binary_without_raft"]["found"]
    case.probed["binary_raft_flags"] = None
    assert case.problems() == {}


def test_what_a_member_sets_is_what_a_program_has_to_know() -> None:
    text = Path(_member_files.__file__).read_text(encoding="utf-8")
    written = set(re.findall(r'^            "(raft\.[a-z_]+)": ', text, re.MULTILINE))
    assert written == RAFT_SETTINGS


@pytest.mark.parametrize(
    ("spoil", "name"),
    [
        (lambda case: case.probed.update(binary_executable=False), "binary_not_executable"),
        (lambda case: case.raw["process"].update(confined="/usr/bin/node (enforce)"), "confined"),
        (lambda case: case.raw["properties"].update(LimitNOFILE="1024"), "few_open_files"),
        (lambda case: case.probed["paths"]["signer"].update(open=True), "secret_file_open"),
    ],
)
def test_what_else_is_seen(case: Case, spoil: t.Callable[[Case], None], name: str) -> None:
    spoil(case)
    assert set(case.problems()) == {name}


@pytest.mark.parametrize("limit", ["524288", "infinity", "", "18446744073709551615"])
def test_enough_open_files(case: Case, limit: str) -> None:
    case.raw["properties"]["LimitNOFILE"] = limit
    assert case.problems() == {}


def test_a_chain_without_an_execution_client(case: Case) -> None:
    assert case.profile()["execution"] is None


def test_the_execution_client_is_read_from_the_flags(case: Case) -> None:
    case.arguments += ["--evm.jwt-secret-file", "/etc/jwt", "--evm.engine-url=http://127.0.0.1:9551"]
    case.raw["process"]["argv"] = ["/opt/node", *case.arguments]
    case.raw["unit_settings"]["exec_start"] = ["/opt/node", *case.arguments]
    assert case.profile()["execution"] == {
        "eth_url": "http://localhost:8545",
        "engine_url": "http://127.0.0.1:9551",
        "genesis_hash": None,
        "fee_recipient": None,
    }
