# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""A node's settings as it will use them: an explicit flag wins over the file, the file over the default."""

from __future__ import annotations

import hashlib
import re
import typing as t

from ansible_collections.evnode.sequencer_ha.plugins.module_utils._errors import HaError
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._node_flags import BOOLEAN_FLAGS

if t.TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULTS: dict[str, t.Any] = {
    "db_path": "data",
    "node.aggregator": False,
    "node.promotable": False,
    "node.based_sequencer": False,
    "node.light": False,
    "node.block_time": "1s",
    "node.max_pending_headers_and_data": 0,
    "node.lazy_mode": False,
    "node.lazy_block_interval": "60s",
    "node.scrape_interval": "1s",
    "node.catchup_timeout": "0s",
    "node.readiness_window_seconds": 15,
    "node.readiness_max_blocks_behind": 15,
    "da.address": "",
    "da.auth_token": "",
    "da.submit_options": "",
    "da.signing_addresses": [],
    # Without one the node makes up another at every start, so there is no default to name.
    "da.namespace": None,
    "da.data_namespace": "",
    "da.forced_inclusion_namespace": "",
    "da.block_time": "6s",
    "da.start_height": 0,
    "da.request_timeout": "60s",
    "p2p.listen_address": "/ip4/0.0.0.0/tcp/7676",
    "p2p.peers": "",
    "p2p.blocked_peers": "",
    "p2p.allowed_peers": "",
    "p2p.disable_connection_gater": True,
    "rpc.address": "127.0.0.1:7331",
    "rpc.enable_da_visualization": False,
    "instrumentation.prometheus": False,
    "instrumentation.prometheus_listen_addr": ":26660",
    "instrumentation.pprof": False,
    "log.level": "info",
    "log.format": "text",
    "log.trace": False,
    "signer.signer_type": "file",
    "signer.signer_path": "config",
    "raft.enable": False,
    "raft.node_id": "",
    "raft.raft_addr": "",
    "raft.raft_dir": None,
    "raft.peers": "",
    "raft.snap_count": 3,
    "raft.send_timeout": "200ms",
    "raft.heartbeat_timeout": "350ms",
    "raft.leader_lease_timeout": "175ms",
    "raft.election_timeout": "1s",
    "raft.snapshot_threshold": 500,
    "raft.trailing_logs": 200,
    "pruning.pruning_mode": "disabled",
}

_INTEGERS = frozenset(
    {
        "da.batch_min_items", "da.max_submit_attempts", "da.mempool_ttl", "da.start_height",
        "instrumentation.max_open_connections", "node.max_pending_headers_and_data",
        "node.readiness_max_blocks_behind", "node.readiness_window_seconds", "pruning.pruning_keep_recent",
        "raft.snap_count", "raft.snapshot_threshold", "raft.trailing_logs", "signer.kms.aws.max_retries",
        "signer.kms.gcp.max_retries",
    }
)  # fmt: skip
_FLOATS = frozenset({"da.batch_size_threshold", "instrumentation.tracing_sample_rate"})
_LISTS = frozenset({"da.signing_addresses"})

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION_PART = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})


class SettingError(HaError):
    """A setting has a value that the node would not take."""


class Setting(t.NamedTuple):
    """A value and where it comes from: ``flag``, ``yaml`` or ``default``."""

    value: t.Any
    origin: str


def effective(flags: Mapping[str, str], file: Mapping[str, t.Any]) -> dict[str, Setting]:
    """Return every setting by dotted key; ``file`` is the flattened evnode.yaml."""
    found = {key: Setting(value, "default") for key, value in DEFAULTS.items()}
    for key, value in file.items():
        # A key without a value is as good as no key.
        if value is not None:
            found[key] = Setting(value, "yaml")
    for key, text in file_settings(flags).items():
        found[key] = Setting(text, "flag")
    return found


def file_settings(flags: Mapping[str, str]) -> dict[str, t.Any]:
    """Return the settings that these flags stand for, typed as the file would hold them.

    The passphrase file and the cache switch are flags only, and are left out.
    """
    return {
        key: typed(key, text) for key, text in flags.items() if key not in ("signer.passphrase_file", "clear_cache")
    }


def typed(key: str, text: str) -> t.Any:
    """Return a flag's text as the type that its key has; SettingError for a text that the node refuses."""
    if key in BOOLEAN_FLAGS:
        return boolean(text, key)
    try:
        if key in _INTEGERS:
            return int(text, 0)
        if key in _FLOATS:
            return float(text)
    except ValueError as exc:
        raise SettingError(f"{key} must be a number, not {text!r}; correct the flag in the unit") from exc
    if key in _LISTS:
        return [item.strip() for item in text.split(",") if item.strip()]
    return text


def boolean(value: t.Any, key: str) -> bool:
    """Return a truth value as the node reads it; SettingError for any other text."""
    if isinstance(value, bool):
        return value
    text = str(value)
    if text in _TRUE:
        return True
    if text in _FALSE or text == "":
        return False
    raise SettingError(f"{key} must be true or false, not {text!r}; correct it")


def is_on(settings: Mapping[str, Setting], key: str) -> bool:
    """Tell whether a switch is on."""
    return boolean(settings[key].value, key) if key in settings else False


def seconds(value: t.Any, key: str) -> float:
    """Return a duration (``92ms``, ``1.5s``, ``2m30s``) in seconds; SettingError for anything else."""
    if isinstance(value, bool) or value is None:
        raise SettingError(f"{key} must be a duration such as 500ms or 2s, not {value!r}; correct it")
    if isinstance(value, (int, float)):
        # A bare number counts nanoseconds.
        return float(value) * 1e-9
    text = str(value).strip()
    sign = -1.0 if text.startswith("-") else 1.0
    body = text.lstrip("+-")
    if body == "0":
        return 0.0
    parts = list(_DURATION_PART.finditer(body))
    if not parts or "".join(part.group(0) for part in parts) != body:
        raise SettingError(f"{key} must be a duration such as 500ms or 2s, not {text!r}; correct it")
    return sign * sum(float(part.group(1)) * _UNITS[part.group(2)] for part in parts)


def text_of(value: t.Any) -> str:
    """Return a value as the node turns it into text (a whole number without a fraction)."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list):
        return ",".join(text_of(item) for item in value)
    return "" if value is None else str(value)


def namespace_hex(name: str) -> str:
    """Return the DA namespace that a configured name stands for: version 0, zeros, ten bytes of its SHA-256."""
    return "00" * 19 + hashlib.sha256(name.encode()).hexdigest()[:20]


def port_of(address: str, key: str) -> int:
    """Return the port of ``host:port`` or of a TCP/UDP multiaddr; SettingError where there is none."""
    if address.startswith("/"):
        parts = address.split("/")
        for at, part in enumerate(parts[:-1]):
            if part in ("tcp", "udp") and parts[at + 1].isdigit():
                return int(parts[at + 1])
    else:
        port = address.rpartition(":")[2]
        if port.isdigit() and ":" in address:
            return int(port)
    raise SettingError(f"{key} names no port: {address!r}; correct it")


def on_loopback(address: str) -> str:
    """Return where a listener on ``host:port`` is reached from its own host: a wildcard is reached on loopback."""
    host, _colon, port = address.rpartition(":")
    if host in ("", "0.0.0.0", "localhost"):
        return f"127.0.0.1:{port}"
    if host.strip("[]") == "::":
        return f"[::1]:{port}"
    return address
