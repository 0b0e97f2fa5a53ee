# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""Execution clients: one for each node, of one genesis, no further than their nodes."""

from __future__ import annotations

import typing as t

from .._profile import execution_client
from .._verdicts import BLOCK, OK, Verdict
from .evidence import endpoint, is_loopback, size

if t.TYPE_CHECKING:
    from collections.abc import Iterator

    from .evidence import Data, Evidence

# Client and node are asked at different moments.
_BEHIND = 1
# What has to be left beside a copy.
_SPARE = 2**30


def execution(evidence: Evidence) -> Iterator[Verdict]:
    """Judge the clients of a chain that has them."""
    asked = evidence.sequencer.get("execution")
    if not asked or not evidence.sequencers:
        return
    source = evidence.sequencers[0]
    urls = {str(asked[key]) for key in ("eth_url", "engine_url")}
    shared = sorted(url for url in urls if not is_loopback(endpoint(url).hostname or ""))
    if shared:
        remedy = "run a client on the sequencer's own host, reached over loopback, and one on every joiner"
        expected = "a client of its own for every node: members get the sequencer's flags byte for byte"
        yield Verdict("execution-shared", BLOCK, source, expected, f"one at {', '.join(shared)}", remedy)
        return
    origin = evidence.answering.get(source, {})
    wanted = (origin.get("execution") or {}).get("genesis_hash")
    copied = bool(evidence.options.get("execution_service")) and not evidence.migrated
    if copied:
        yield from _units(evidence, origin)
    for name, host in evidence.answering.items():
        client = host.get("execution") or {}
        if client.get("height") is None:
            if copied and (host.get("client") or {}).get("half_copied"):
                # Stopped by a run that was broken off; the next one writes the rest and starts it.
                continue
            remedy = f"start an execution client of the chain's genesis on this host, answering at {asked['eth_url']}"
            found = str(client.get("reason") or "it was not asked")
            yield Verdict("execution-silent", BLOCK, name, "an answer of its execution client", found, remedy)
            continue
        yield from _client(evidence, name, host, client, wanted)
    yield from _flags(evidence, asked)
    yield from _secrets(evidence, origin)
    if evidence.options.get("seed") == "copy" and not evidence.migrated:
        remedy = "use evnode_seed: follow, or copy_then_follow with the clients' unit in evnode_execution_service"
        expected = "a seed that fills the execution clients"
        yield Verdict("seed-without-client", BLOCK, "all", expected, "copy, which leaves them empty", remedy)


def _units(evidence: Evidence, origin: Data) -> Iterator[Verdict]:
    """The clients whose data are copied: all of one kind, with room for the data of the sequencer's."""
    source = origin.get("client") or {}
    needed = int(source.get("bytes") or 0) + _SPARE
    for name, host in evidence.answering.items():
        client = host.get("client") or {}
        free = client.get("free_bytes")
        if not client or client.get("reason"):
            remedy = "correct evnode_execution_service, or leave it empty and let each node fill its client"
            found = str(client.get("reason") or "it was not read")
            expected = f"the unit {evidence.options['execution_service']}.service of a client whose data can be copied"
            yield Verdict("execution-unit", BLOCK, name, expected, found, remedy)
        elif source.get("kind") and client["kind"] != source["kind"]:
            remedy = "install the same client on every member: no other reads its data"
            yield Verdict("execution-kind", BLOCK, name, str(source["kind"]), str(client["kind"]), remedy)
        elif name not in evidence.sequencers and free is not None and free < needed:
            expected = f"{size(needed)} free at {client['root']}"
            remedy = "free some space, or use a larger disk"
            yield Verdict("execution-space", BLOCK, name, expected, size(free), remedy)


def _client(evidence: Evidence, name: str, host: Data, client: Data, wanted: str | None) -> Iterator[Verdict]:
    found = client["genesis_hash"]
    if wanted and found != wanted:
        remedy = "initialize this host's client with the genesis file of the sequencer's"
        yield Verdict("execution-genesis", BLOCK, name, f"a client of genesis {wanted}", str(found), remedy)
        return
    if evidence.migrated:
        return
    height = int(client["height"])
    if name in evidence.sequencers:
        node = (evidence.sequencer.get("node") or {}).get("height")
        if node is not None and height < int(node) - _BEHIND:
            remedy = "find out from both journals why the client does not take the node's blocks"
            yield Verdict("execution-behind", BLOCK, name, f"a client at {node}, like its node", str(height), remedy)
            return
    elif not host.get("home_has_blocks") and height > 0:
        remedy = "empty the client's data directory: the node has no block yet and would roll all of these back"
        yield Verdict("execution-ahead", BLOCK, name, "a client without blocks, like its node", str(height), remedy)
        return
    yield Verdict("execution-ready", OK, name, "a client of the chain's genesis", str(client.get("version")))


def _flags(evidence: Evidence, asked: Data) -> Iterator[Verdict]:
    """A member with flags of its own (``evnode_application_flags``) is still asked and driven like all others."""
    for name, words in (evidence.options.get("application_flags") or {}).items():
        if not words or name in evidence.sequencers:
            continue
        own = execution_client([str(word) for word in words]) or {}
        other = {key: value for key, value in asked.items() if str(own.get(key)).lower() != str(value).lower()}
        if other:
            remedy = "leave these in evnode_application_flags as on the sequencer: each of them makes another chain"
            expected = ", ".join(f"{key} {value}" for key, value in sorted(other.items()))
            found = ", ".join(f"{key} {own.get(key)}" for key in sorted(other))
            yield Verdict("execution-flags", BLOCK, name, expected, found, remedy)


def _secrets(evidence: Evidence, origin: Data) -> Iterator[Verdict]:
    own = origin.get("jwt_sha256")
    for name, host in evidence.answering.items():
        other = host.get("jwt_sha256")
        if own and other and other != own:
            where = evidence.sequencer.get("jwt_file")
            remedy = f"give this host's client the sequencer's secret and restart it, or remove an unused {where}"
            expected = f"the sequencer's secret in {where}, or none yet"
            yield Verdict("jwt-differs", BLOCK, name, expected, "another one, which would be overwritten", remedy)
