# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""The systemd unit of an execution client: whose it is, where its data are, and what of them makes the host itself."""

from __future__ import annotations

import os
import typing as t

from . import _discovery, _disk, _node_flags
from ._errors import HaError

if t.TYPE_CHECKING:
    from collections.abc import Sequence

    from ._discovery import Host


class ClientUnitError(HaError):
    """A unit is none of an execution client whose data could be copied."""


class Kind(t.NamedTuple):
    """A program: where its databases are below its data directory, and what there belongs to one host only."""

    word: str
    folder: str
    own: tuple[str, ...]


# go-ethereum keeps its chain in <datadir>/geth, beside the operator's keystore; reth keeps databases in <datadir>
# itself (db, static_files, rocksdb). Secrets, locks and sockets of both are among _store.tree.NEVER_COPIED.
_KINDS = (
    Kind("reth", "", ("logs", "reth.toml", "invalid_block_hooks", "exex")),
    Kind("geth", "geth", ("nodekey", "nodes", "transactions.rlp", "blobpool")),
)

# The flag of geth that says how much space has to stay free.
_NO_PLACE = "datadir.minfreedisk"


class ClientUnit(t.NamedTuple):
    """What a copy has to know of a client; ``exclude`` are patterns, ``bytes`` what the copied files take on disk."""

    unit: str
    active: bool
    user: str
    group: str
    kind: str
    data_dir: str
    root: str
    exclude: list[str]
    bytes: int


def read(unit: str, *, host: Host | None = None) -> ClientUnit:
    """Return the client of a unit; ClientUnitError where there is none, or it does not say where its data are."""
    raw = _discovery.read(unit, "/etc/evnode-ha", {}, host=host)
    if raw["properties"].get("LoadState") != "loaded":
        raise ClientUnitError(f"Expected the execution client's unit {unit}.service, found none; install the client")
    kind = _kind(unit, raw["binary"])
    data_dir = _data_dir(raw["arguments"])
    if not data_dir or not os.path.isabs(data_dir):
        raise ClientUnitError(
            f"Expected --datadir with an absolute path in the command line of {unit}.service, found "
            f"{data_dir or 'none'}; add it there"
        )
    flags = sorted({word.partition("=")[0] for word in raw["arguments"]})
    elsewhere = [flag for flag in flags if flag.lstrip("-").startswith("datadir.") and flag.lstrip("-") != _NO_PLACE]
    if elsewhere:
        raise ClientUnitError(
            f"Expected all data of {unit}.service below {data_dir}, found {', '.join(elsewhere)}: a copy would be half "
            'of it; let each node fill its client instead (evnode_execution_service: "")'
        )
    root = os.path.normpath(os.path.join(data_dir, kind.folder))
    account = raw["account"]
    return ClientUnit(
        unit,
        raw["properties"].get("ActiveState") == "active",
        account["user"],
        account["group"] or account["user"],
        kind.word,
        data_dir,
        root,
        list(kind.own),
        _disk.real_bytes(root) or 0,
    )


def _kind(unit: str, program: str) -> Kind:
    name = os.path.basename(program)
    for kind in _KINDS:
        if kind.word in name:
            return kind
    raise ClientUnitError(
        f"Expected geth or reth in the unit {unit}.service, found {name or 'no program'}: what of its data may be "
        'copied is not known; let each node fill its client instead (evnode_execution_service: "")'
    )


def _data_dir(arguments: Sequence[str]) -> str | None:
    # Flags of Go programs may have one dash.
    doubled = [f"-{word}" if word.startswith("-datadir") else word for word in arguments]
    return _node_flags.application_value(doubled, ["datadir"])
