# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""From raw material to the profile of a sequencer, with what stands in the way of a migration."""

from __future__ import annotations

import base64
import json
import os
import re
import typing as t

from ansible_collections.evnode.sequencer_ha.plugins.module_utils import _node_flags
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._discovery import DROP_IN

from . import _effective, _node_yaml
from ._member_files import RAFT_SETTINGS

if t.TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_EXPECTED_VARIABLES = frozenset(
    {
        "HOME", "USER", "LOGNAME", "SHELL", "PATH", "LANG", "INVOCATION_ID", "JOURNAL_STREAM", "SYSTEMD_EXEC_PID",
        "PWD", "OLDPWD", "SHLVL", "_", "MEMORY_PRESSURE_WATCH", "MEMORY_PRESSURE_WRITE", "NOTIFY_SOCKET", "MAINPID",
        "CREDENTIALS_DIRECTORY", "RUNTIME_DIRECTORY", "STATE_DIRECTORY", "LOGS_DIRECTORY", "CACHE_DIRECTORY",
        "CONFIGURATION_DIRECTORY", "EVNODE_HA_ARGS",
    }
)  # fmt: skip
_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ash", "busybox", "env", "sudo", "su", "runuser", "setpriv", "tmux"})
# A process's start is known to a second only, and counted from a boot time that clock corrections move.
_CLOCK_SLACK_S = 5.0
_EVM_FLAGS = frozenset(
    f"--evm.{name}" for name in ("eth-url", "engine-url", "jwt-secret-file", "genesis-hash", "fee-recipient")
)
# How long a node may take to answer, and to make a block, when preflight meets it right after its start.
_PATIENCE_S = 5.0
_STALE_S, _STALE_BLOCKS = 10.0, 5
# Parts of a block time: what the blocks' times of a sequencer with little to do stay well below.
_LATE = 1.25
# A store keeps dozens of files open, and every client and peer is one more.
_LEAST_OPEN_FILES = 4096
# systemd expands these itself, on each host to something else, and ignores a path that is not absolute.
_ONE_FILE = re.compile(r"/[^*?\[\\%]*\Z")
_UNLIMITED = frozenset({"infinity", "18446744073709551615"})
_SPAN = re.compile(r"([0-9.]+)\s*(y|month|w|d|h|min|s|ms|us)")
_SPAN_SECONDS = {
    "y": 31557600.0, "month": 2629800.0, "w": 604800.0, "d": 86400.0, "h": 3600.0, "min": 60.0, "s": 1.0,
    "ms": 1e-3, "us": 1e-6,
}  # fmt: skip


def execution_client(flags: Sequence[str]) -> dict[str, str | None] | None:
    """Return the execution client that a node with these flags drives, None where it drives none. Holds no secrets."""
    if not any(word.partition("=")[0] in _EVM_FLAGS for word in flags):
        return None

    def value(name: str, default: str | None = None) -> str | None:
        return _node_flags.shown("", _node_flags.application_value(flags, [f"evm.{name}"])) or default

    return {
        "eth_url": value("eth-url", "http://localhost:8545"),
        "engine_url": value("engine-url", "http://localhost:8551"),
        "genesis_hash": value("genesis-hash"),
        "fee_recipient": value("fee-recipient"),
    }


class Reading:
    """One reading of a sequencer: what to ask the host next, and then the profile."""

    def __init__(self, raw: Mapping[str, t.Any], overrides: Mapping[str, str]) -> None:
        """``raw`` is the answer of the module's first half."""
        self.raw = raw
        self.overrides = overrides
        self.problems: list[dict[str, str]] = []
        self.arguments: list[str] = list(raw["arguments"])
        self.line = _node_flags.parse(self.arguments)
        self.settings = self._settings()

    def _problem(self, name: str, found: str, remedy: str) -> None:
        self.problems.append({"id": name, "found": found, "remedy": remedy})

    def _settings(self) -> dict[str, _effective.Setting]:
        file: dict[str, t.Any] = {}
        source = self.raw["yaml"]
        if source["present"]:
            try:
                file = _node_yaml.flatten(_node_yaml.load(self.base.decode("utf-8")))
            except (_node_yaml.NodeYamlError, UnicodeDecodeError) as exc:
                reason = exc.message if isinstance(exc, _node_yaml.NodeYamlError) else "it is not UTF-8 text"
                self._problem(
                    "yaml_broken",
                    f"the node ignores {source['content_path']} without a word: {reason}",
                    "correct the file, and check that what the chain uses now is what the file says",
                )
        try:
            found = _effective.effective(self.line.flags, file)
        except _effective.SettingError as exc:
            self._problem("bad_flag", exc.message, "correct the command line of the unit")
            found = _effective.effective({}, file)
        start = (self.raw.get("process") or {}).get("db_path")
        if start and found["db_path"].origin != "flag":
            found["db_path"] = _effective.Setting(start, "environment")
        return found

    @property
    def base(self) -> bytes:
        """The live evnode.yaml; empty where there is none."""
        return base64.b64decode(self.raw["yaml"].get("content") or "")

    @property
    def working_directory(self) -> str:
        """Where relative paths of the command line and the file start."""
        process = self.raw.get("process") or {}
        declared = str(self.raw["properties"].get("WorkingDirectory") or "").lstrip("-!")
        if declared == "~":
            declared = str(self.raw["account"].get("home") or "/")
        return str(process.get("cwd") or declared or "/")

    @property
    def rpc_address(self) -> str:
        """Where the node answers on its own host."""
        return self.overrides.get("rpc_address") or _effective.on_loopback(str(self._value("rpc.address")))

    @property
    def passphrase_file(self) -> str | None:
        """The file with the signer's passphrase, absolute."""
        return self._absolute(self.overrides.get("passphrase_file") or self.line.flags.get(_node_flags.PASSPHRASE_FLAG))

    @property
    def jwt_file(self) -> str | None:
        """The file with the execution client's secret, absolute."""
        found = _node_flags.application_value(self.line.application, _node_flags.JWT_FLAGS)
        return self._absolute(self.overrides.get("jwt_file") or found)

    @property
    def execution(self) -> dict[str, str | None] | None:
        """The execution client that the node drives, None for a chain without one."""
        return execution_client(self.line.application)

    @property
    def signer_file(self) -> str | None:
        """The signer's key file, absolute; None for a signer that has no file."""
        if self._value("signer.signer_type") != "file":
            return None
        path = self.overrides.get("signer_path") or str(self._value("signer.signer_path") or "")
        folder = path.removesuffix("signer.json")
        return os.path.join(self._absolute(folder) or self.working_directory, "signer.json")

    @property
    def is_somewhere(self) -> bool:
        """Whether a program or a home is known; without either there is nothing to ask the host for."""
        return bool(self.raw["home"] or self.raw["binary"])

    def request(self) -> dict[str, t.Any]:
        """Return what to ask the host next."""
        process = self.raw.get("process") or {}
        account = self.raw["account"]
        return {
            "binary": self.raw["binary"],
            "exe_pid": process.get("pid"),
            "home": self.raw["home"],
            "signer_file": self.signer_file,
            "paths": {
                "passphrase_file": self.passphrase_file,
                "jwt_file": self.jwt_file,
                "signer": self.signer_file,
                "db_path": self._db_path(),
                **{path: path for _optional, path in self._environment_files()},
            },
            "rpc_address": self.rpc_address if process else "",
            # A member without a quorum gives no answer, however long one waits.
            "patience_s": _PATIENCE_S if self._alone else 0,
            "stale_s": self._stale_s(),
            "is_node": self._is_node,
            "raft_flags": bool(process) and self._alone and self._is_node,
            # Who runs the program may have chosen it, so that no other account may be made to run it.
            "user": process["user"] if process else account["user"],
            "uid": account["uid"],
            "gid": account["gid"],
            "groups": account["groups"],
        }

    def profile(self, probed: Mapping[str, t.Any]) -> dict[str, t.Any]:
        """Return the profile; secret values are fingerprints."""
        raw, properties, account = self.raw, self.raw["properties"], self.raw["account"]
        home, unit_settings = raw["home"], raw["unit_settings"]
        genesis = probed.get("genesis") or {}
        node = probed.get("node") or {}
        proposer = node.get("next_proposer") or genesis.get("proposer_address")
        signer = probed.get("signer") or {}
        self._judge_unit(probed)
        self._judge_files(probed)
        self._judge_environment_files(probed.get("paths") or {})
        self._judge_settings(probed)
        self._judge_chain(node)
        self._judge_signer(signer, proposer, probed)
        self._judge_open_secrets(probed.get("paths") or {})
        return {
            "unit": raw["unit"],
            "fragment_path": raw["fragment_path"],
            "drop_ins": [path for path in raw["drop_ins"] if os.path.basename(path) != DROP_IN],
            "active_state": properties.get("ActiveState", "inactive"),
            "main_pid": int(properties.get("MainPID", "0") or 0),
            "enabled": properties.get("UnitFileState") in ("enabled", "enabled-runtime"),
            "user": account["user"],
            "group": account["group"],
            "working_directory": self.working_directory,
            "environment": _node_flags.mask_environment(unit_settings["environment"]),
            "environment_files": unit_settings["environment_files"],
            "limit_nofile": properties.get("LimitNOFILE") or None,
            "timeout_stop_s": span_seconds(properties.get("TimeoutStopUSec", "")),
            "after": unit_settings["after"],
            "binary": raw["binary"],
            "binary_sha256": probed.get("binary_sha256"),
            "binary_version": probed.get("binary_version"),
            "argv": [raw["binary"], *_node_flags.mask_arguments(self.arguments)],
            "subcommand": self.line.subcommand,
            "home": home,
            "yaml_path": raw["yaml"]["path"],
            "yaml_present": raw["yaml"]["present"],
            "node_key_path": os.path.join(home, "config", "node_key.json"),
            "genesis_path": os.path.join(home, "config", "genesis.json"),
            "genesis_sha256": genesis.get("sha256"),
            "db_path": self._db_path(),
            "raft_dir": self._value("raft.raft_dir") or None,
            "chain_id": genesis.get("chain_id") or node.get("chain_id"),
            "proposer_address": proposer,
            "signer": {
                "type": str(self._value("signer.signer_type")),
                "path": self.signer_file,
                "address": signer.get("address"),
                "kms": self._kms(),
            },
            "passphrase_file": self.passphrase_file,
            "jwt_file": self.jwt_file,
            "execution": self.execution,
            "application_flags": _node_flags.mask_arguments(self.line.application),
            "evnode_flags": _node_flags.mask_settings(self.line.flags),
            "effective": self._shown_settings(),
            "ports": self._ports(),
            "rpc_address": self.rpc_address,
            "p2p_listen_address": str(self._value("p2p.listen_address")),
            "p2p_peers": str(self._value("p2p.peers") or ""),
            "block_time_s": self._seconds("node.block_time"),
            "namespaces": node.get("namespaces") or {"header": None, "data": None},
            "node": {key: node.get(key) for key in ("height", "age_s", "interval_s", "reason")},
            "mode": raw["mode"],
            "armed": raw["managed"],
            "membership": self._membership(),
            "problems": self.problems,
        }

    def _membership(self) -> dict[str, str]:
        """Return the Raft address of every member of this host's cluster by node id; empty where it is in none.

        Everything else of the profile is from the files of before the cutover, which name none.
        """
        try:
            document = _node_yaml.load(base64.b64decode(self.raw.get("raft_yaml") or "").decode("utf-8"))
        except (_node_yaml.NodeYamlError, UnicodeDecodeError):
            return {}
        said = {key: str(value) for key, value in _node_yaml.flatten(document).items()}
        own = f"{said.get('raft.node_id', '')}@{said.get('raft.raft_addr', '')}"
        listed = [peer.strip().partition("@") for peer in (own, *said.get("raft.peers", "").split(","))]
        return {node_id: address for node_id, _at, address in listed if node_id and address}

    def _environment_files(self) -> list[tuple[bool, str]]:
        """Return whether each may be missing, and its path."""
        listed = self.raw["unit_settings"]["environment_files"]
        return [(item.startswith("-"), item.removeprefix("-")) for item in listed]

    def _kms(self) -> dict[str, str] | None:
        """Return how the node names its key in a KMS, None for a key in a file."""
        if str(self._value("signer.signer_type")) != "kms":
            return None

        def said(key: str) -> str:
            found = self.settings.get(f"signer.kms.{key}")
            return str(found.value or "") if found else ""

        provider = said("provider")
        options = {
            "aws": {"key": "key_id", "region": "region", "profile": "profile"},
            "gcp": {"key": "key_name", "credentials_file": "credentials_file"},
        }.get(provider, {})
        return {"provider": provider, **{option: said(f"{provider}.{name}") for option, name in options.items()}}

    def material(self) -> dict[str, t.Any]:
        """Return what holds secrets, for masked tasks only."""
        declared = self.raw["unit_settings"]["environment"]
        return {
            "base": self.raw["yaml"].get("content") or "",
            "arguments": base64.b64encode(json.dumps(self.arguments).encode()).decode(),
            "environment": [item for item in declared if _node_flags.secret_assignment(item)],
        }

    def _value(self, key: str) -> t.Any:
        return self.settings[key].value

    def _absolute(self, path: str | None) -> str | None:
        if not path:
            return None
        return os.path.normpath(os.path.join(self.working_directory, path))

    @property
    def _is_node(self) -> bool:
        """Whether the command line is one of an ev-node program."""
        return self.line.subcommand in _node_flags.SUBCOMMANDS

    @property
    def _alone(self) -> bool:
        """Whether this node is, or should be, a single sequencer."""
        return self.raw["mode"] in ("unmanaged", "single")

    def _stale_s(self) -> float:
        """Return the age in seconds from which the newest block says that no new ones come."""
        lazy = self._seconds("node.lazy_block_interval") if self._on("node.lazy_mode") else None
        return max(_STALE_S, _STALE_BLOCKS * (lazy or self._seconds("node.block_time") or 0))

    def _db_path(self) -> str:
        return os.path.join(self.raw["home"], str(self._value("db_path")))

    def _seconds(self, key: str) -> float | None:
        try:
            return _effective.seconds(self._value(key), key)
        except _effective.SettingError as exc:
            self._problem("bad_setting", exc.message, "correct the setting")
            return None

    def _ports(self) -> dict[str, int | None]:
        found: dict[str, int | None] = {}
        for name, key in (("p2p", "p2p.listen_address"), ("rpc", "rpc.address"), ("raft", "raft.raft_addr")):
            address = str(self._value(key) or "")
            try:
                found[name] = _effective.port_of(address, key) if address else None
            except _effective.SettingError as exc:
                found[name] = None
                self._problem("bad_setting", exc.message, "correct the setting")
        return found

    def _shown_settings(self) -> dict[str, dict[str, t.Any]]:
        values = _node_flags.mask_settings({key: setting.value for key, setting in self.settings.items()})
        return {key: {"value": values[key], "origin": self.settings[key].origin} for key in sorted(values)}

    def _judge_unit(self, probed: Mapping[str, t.Any]) -> None:
        raw, properties = self.raw, self.raw["properties"]
        unit, process, declared = raw["unit"], raw.get("process"), raw["unit_settings"]
        if properties.get("LoadState") in (None, "", "not-found"):
            self._problem(
                "unit_missing",
                f"systemd knows no unit {unit}.service",
                "name the unit of the sequencer (evnode_service)",
            )
            return
        if not process:
            state = properties.get("ActiveState", "inactive")
            self._problem(
                "unit_inactive", f"{unit}.service is {state}", "start the sequencer; it has to be producing blocks"
            )
        if not self._is_node:
            program = " ".join([raw["binary"] or "nothing", *self.arguments[:1]])
            self._problem(
                "not_evnode",
                f"{unit}.service runs {program}, which does not look like an ev-node program's start command",
                "name the unit that runs the node itself as its main process",
            )
        if os.path.basename(raw["binary"] or "") in _SHELLS:
            self._problem(
                "wrapper",
                f"the main process of {unit}.service is {raw['binary']}, not the node",
                "let the script end with exec, or put the node's command into ExecStart=",
            )
        if declared["commands"] > 1:
            self._problem(
                "several_commands", f"{unit}.service has {declared['commands']} ExecStart= lines", "leave one"
            )
        if set(declared["prefixes"]) & set("+!"):
            self._problem(
                "exec_prefix",
                f"ExecStart= of {unit}.service begins with {declared['prefixes']}, so User= does not count",
                "remove the prefix and let User= name the account",
            )
        limit = str(properties.get("LimitNOFILE") or "")
        if limit.isdigit() and limit not in _UNLIMITED and int(limit) < _LEAST_OPEN_FILES:
            self._problem(
                "few_open_files",
                f"{unit}.service may have {limit} files open, sockets among them",
                f"set LimitNOFILE= to {_LEAST_OPEN_FILES} or more: members get the same limit",
            )
        if properties.get("NeedDaemonReload") == "yes":
            self._problem(
                "unit_not_loaded",
                f"the files of {unit}.service changed since systemd read them",
                "run systemctl daemon-reload",
            )
        if process:
            self._judge_process(process, probed)

    def _judge_process(self, process: Mapping[str, t.Any], probed: Mapping[str, t.Any]) -> None:
        raw, unit, declared = self.raw, self.raw["unit"], self.raw["unit_settings"]
        if process["exe_deleted"] or (
            probed.get("running_sha256") and probed.get("running_sha256") != probed.get("binary_sha256")
        ):
            self._problem(
                "binary_replaced",
                f"the running node is not the program that {raw['binary']} holds now",
                "restart the sequencer with the program that it is to keep",
            )
        if raw["managed"]:
            return
        wanted, given = list(declared["exec_start"]), list(process["argv"])
        wrapped = bool(wanted) and os.path.basename(wanted[0]) != os.path.basename(raw["binary"])
        if wrapped:
            listed = {item.partition("=")[0] for item in declared["environment"]}
            extra = [name for name in process["environment_names"] if name not in _EXPECTED_VARIABLES | listed]
            names = f"; variables that may come from it: {', '.join(extra)}" if extra else ""
            self._problem(
                "started_by_script",
                f"{unit}.service starts {wanted[0]}, and what runs is {raw['binary']}{names}",
                "anything the script does besides starting the node is not carried over; put it into the unit",
            )
        elif wanted and wanted[1:] != given[1:]:
            self._problem(
                "unit_changed",
                f"{unit}.service would start the node with other arguments than it runs with now",
                "restart the sequencer, or undo the change of its unit",
            )
        if process.get("confined"):
            self._problem(
                "confined",
                f"the node is held by {process['confined']}",
                f"let that policy allow {raw['home']}/raft and the files below /etc/evnode-ha, on joiners too",
            )
        if process["uid"] != raw["account"]["uid"]:
            self._problem(
                "other_account",
                f"the node runs as uid {process['uid']}, its unit names {raw['account']['user']}",
                "correct User= in the unit and restart the sequencer",
            )
        changed = raw["yaml"].get("changed")
        if changed and process.get("started") and changed > process["started"] + _CLOCK_SLACK_S:
            self._problem(
                "yaml_newer",
                f"{raw['yaml']['path']} is newer than the running node, which may run with other settings",
                "restart the sequencer, or undo the change",
            )

    def _judge_files(self, probed: Mapping[str, t.Any]) -> None:
        raw = self.raw
        source = raw["yaml"]
        if not raw["home"]:
            self._problem(
                "home_unknown",
                "the command line has no --home and the account has no home",
                "put home into evnode_overrides",
            )
            return
        if raw["home_origin"] == "default" and not probed.get("genesis"):
            self._problem(
                "home_unknown",
                f"the command line has no --home, and {raw['home']} holds no genesis",
                "put --home into the unit, or home into evnode_overrides",
            )
        if not source["present"]:
            self._problem(
                "yaml_missing",
                f"{source['path']} does not exist",
                "nothing to do if flags say it all; else put home into evnode_overrides",
            )
        elif not source["readable"]:
            self._problem(
                "yaml_unreadable",
                f"{raw['account']['user']} cannot read {source['content_path']}, and the node then takes its defaults",
                "make the file readable for the account of the service and restart the sequencer",
            )
        if not probed.get("genesis"):
            self._problem(
                "genesis_missing", f"{raw['home']}/config/genesis.json does not exist", "put home into evnode_overrides"
            )
        if not probed.get("node_key_present"):
            self._problem(
                "node_key_missing",
                f"{raw['home']}/config/node_key.json does not exist",
                "put home into evnode_overrides",
            )
        if probed.get("binary_sha256") is None:
            self._problem(
                "binary_missing", f"{raw['binary'] or 'the program'} does not exist", "put binary into evnode_overrides"
            )
        elif probed.get("binary_executable") is False:
            self._problem(
                "binary_not_executable",
                f"{raw['account']['user']} may not run {raw['binary']}, so the node could not be started again",
                "give the account the right to run it, and to enter every directory above it",
            )
        flags = probed.get("binary_raft_flags")
        missing = [] if flags is None else sorted(set(RAFT_SETTINGS) - set(flags))
        if missing:
            self._problem(
                "binary_without_raft",
                f"the help of {raw['binary']} knows no {', '.join(missing)}",
                "upgrade the single sequencer first, in a step of its own (ev-node 1.1.1 or later), then migrate",
            )

    def _judge_environment_files(self, paths: Mapping[str, t.Any]) -> None:
        unit = self.raw["unit"]
        for optional, path in self._environment_files():
            if not _ONE_FILE.match(path):
                self._problem(
                    "environment_file_pattern",
                    f"EnvironmentFile= of {unit}.service names {path}, which is not the absolute path of one file",
                    "name each file by its path, without a pattern and without a specifier that the host decides",
                )
            elif not optional and (paths.get(path) or {}).get("present") is False:
                self._problem(
                    "environment_file_missing",
                    f"EnvironmentFile= of {unit}.service names {path}, which does not exist, so the node could not be "
                    "started again",
                    "put the file back, or write a - in front of its path in the unit",
                )

    def _judge_settings(self, probed: Mapping[str, t.Any]) -> None:
        for key in self.line.duplicates:
            self._problem(
                "duplicate_flag",
                f"{self.line.spellings[key]} stands twice with different values",
                "leave the one that counts (the last)",
            )
        for flag in _node_flags.secret_flags(self.arguments):
            self._problem(
                "secret_on_command_line",
                f"{flag} puts a secret where every account of the host can read it",
                "move it into evnode.yaml; the members' files will hold it there"
                if _node_flags.own_key(flag[2:])
                else "use the flag's form that names a file, if it has one",
            )
        for key, name, remedy in (
            (
                "node.promotable",
                "promotable",
                "set node.promotable: false; Raft and promotable mode exclude each other",
            ),
            (
                "node.based_sequencer",
                "based_sequencer",
                "a based sequencer needs no Raft cluster; set node.based_sequencer: false",
            ),
            ("node.light", "light_node", "set node.light: false"),
        ):
            if self._on(key):
                self._problem(name, f"{key} is on", remedy)
        if not self._on("node.aggregator") and self._alone:
            self._problem(
                "not_aggregator", "node.aggregator is off: this node makes no blocks", "name the unit of the sequencer"
            )
        if self._on("raft.enable") and self._alone:
            self._problem(
                "raft_already_on", "raft.enable is on", "this node is a Raft member already; nothing is to be migrated"
            )
        if (self._seconds("node.catchup_timeout") or 0) > 0:
            self._problem(
                "catchup_timeout",
                f"node.catchup_timeout is {self._value('node.catchup_timeout')}; with Raft the node refuses to start",
                "remove it, or set it to 0s in evnode_config_overrides",
            )
        if self._on("node.lazy_mode") and (self._seconds("node.lazy_block_interval") or 0) <= (
            self._seconds("node.block_time") or 0
        ):
            self._problem("lazy_interval", "node.lazy_block_interval is not above node.block_time", "raise it")
        if not str(self._value("da.address") or "").strip():
            self._problem(
                "da_address_missing", "da.address is not set", "a node that makes blocks needs one; set da.address"
            )
        self._judge_namespace(probed)
        listen = str(self._value("p2p.listen_address"))
        if "/127." in listen or "/ip6/::1/" in listen:
            self._problem(
                "p2p_on_loopback",
                f"p2p.listen_address is {listen}: no other host can reach it",
                "let it listen on 0.0.0.0 or on the private address and restart the sequencer",
            )

    def _judge_chain(self, node: Mapping[str, t.Any]) -> None:
        if not self.raw.get("process") or not self._alone:
            return
        height, age, interval = node.get("height"), node.get("age_s"), node.get("interval_s")
        if height is None:
            self._problem(
                "rpc_silent",
                f"the node runs and does not answer: {node.get('reason')}",
                "find out from its journal what it waits for; everything that is proven of a chain is asked there",
            )
            return
        if age is None or age > self._stale_s():
            self._problem(
                "chain_stalled",
                f"block {height} is the newest and {'has no time' if age is None else f'{age:.0f} s old'}",
                "let the chain make blocks again first: its journal says what it waits for (DA, execution client)",
            )
        block_time = self._seconds("node.block_time")
        if interval and block_time and interval > block_time * _LATE and not self._on("node.lazy_mode"):
            self._problem(
                "block_time_missed",
                f"a block every {interval:g} s with a block time of {block_time:g} s",
                "find out what the sequencer waits for: a cluster's leader has the same work and a quorum to ask",
            )

    def _judge_namespace(self, probed: Mapping[str, t.Any]) -> None:
        name = _effective.text_of(self._value("da.namespace"))
        if not name:
            self._problem(
                "namespace_missing",
                "da.namespace is not set, so the node makes up another one at every start",
                "set da.namespace to the name that the chain's blobs are under, and restart the sequencer",
            )
            return
        answered = ((probed.get("node") or {}).get("namespaces") or {}).get("header")
        if answered and _plain_hex(answered) not in (_effective.namespace_hex(name), _plain_hex(name)):
            self._problem(
                "namespace_differs",
                f"the running node uses namespace {answered}, the configured name {name!r} stands for "
                f"{_effective.namespace_hex(name)}",
                "find out which one holds the chain's blobs, set it, and restart the sequencer",
            )

    def _judge_signer(self, signer: Mapping[str, t.Any], proposer: str | None, probed: Mapping[str, t.Any]) -> None:
        kind = self._value("signer.signer_type")
        if kind != "file":
            return
        path = self.signer_file
        if not os.path.isabs(str(self._value("signer.signer_path") or "")) and not self.overrides.get("signer_path"):
            self._problem(
                "relative_signer_path",
                f"signer.signer_path {self._value('signer.signer_path')!r} depends on the working directory, "
                f"now {self.working_directory}",
                f"nothing to do: members get the absolute path {os.path.dirname(path or '')}",
            )
        if not signer.get("present"):
            self._problem("signer_missing", f"{path} does not exist", "put signer_path into evnode_overrides")
        elif proposer and signer.get("address") != proposer:
            self._problem(
                "signer_not_proposer",
                f"the key in {path} has the address {signer.get('address')}, the chain's proposer is {proposer}",
                "name the key that signs the chain's blocks: signer_path in evnode_overrides",
            )
        paths = probed.get("paths") or {}
        for name, what in (("passphrase_file", "the signer's passphrase"), ("jwt_file", "the JWT secret")):
            found = paths.get(name)
            if found and not found["present"]:
                self._problem(
                    f"{name}_missing", f"the file with {what} does not exist", f"put {name} into evnode_overrides"
                )
            elif found and not found["readable"]:
                self._problem(
                    f"{name}_unreadable",
                    f"{self.raw['account']['user']} cannot read the file with {what}",
                    "make it readable for the account of the service",
                )
        # A follower opens no signer.
        if not self.passphrase_file and self._on("node.aggregator"):
            self._problem(
                "passphrase_file_missing",
                "the command line names no --evnode.signer.passphrase_file",
                "put passphrase_file into evnode_overrides",
            )

    def _judge_open_secrets(self, paths: Mapping[str, t.Any]) -> None:
        secrets = {"signer": self.signer_file, "passphrase_file": self.passphrase_file, "jwt_file": self.jwt_file}
        for secret, path in secrets.items():
            if (paths.get(secret) or {}).get("open"):
                self._problem(
                    "secret_file_open",
                    f"every account of the host can read {path}",
                    "take the right to read from others (chmod o=); members get it with mode 0600",
                )

    def _on(self, key: str) -> bool:
        try:
            return _effective.is_on(self.settings, key)
        except _effective.SettingError as exc:
            self._problem("bad_setting", exc.message, "correct the setting")
            return False


def span_seconds(text: str) -> float | None:
    """Return a time span as ``systemctl show`` prints it (``1min 30s``) in seconds; None for no limit."""
    if not text or text in _UNLIMITED:
        return None
    parts = _SPAN.findall(text)
    return sum(float(number) * _SPAN_SECONDS[unit] for number, unit in parts) if parts else None


def _plain_hex(text: str) -> str:
    lowered = text.lower()
    return lowered[2:] if lowered.startswith("0x") else lowered
