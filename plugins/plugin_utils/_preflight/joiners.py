# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""Whether a joiner is empty, or what an earlier run has left there; and who else runs a node."""

from __future__ import annotations

import typing as t

from .._verdicts import BLOCK, OK, WARN, Verdict
from .._verify import second_nodes

if t.TYPE_CHECKING:
    from collections.abc import Iterator

    from .evidence import Data, Evidence


def joiners(evidence: Evidence) -> Iterator[Verdict]:
    """A joiner is empty, or what an earlier run of this collection left there."""
    if evidence.migrated:
        return
    profile = evidence.sequencer
    origin = evidence.answering.get(evidence.sequencers[0], {}) if evidence.sequencers else {}
    for name in evidence.joiners:
        host = evidence.answering.get(name)
        if host is None:
            continue
        mode = host.get("mode")
        foreign = mode in (None, "unmanaged")
        if mode == "raft":
            remedy = "if a rollback missed this host, run --tags rollback again, which takes it out of its cluster; "
            remedy += "if it belongs to another one, take it out of the inventory"
            yield Verdict("already-raft", BLOCK, name, "a host that is no Raft member", "switched to Raft", remedy)
        if foreign and host.get("unit_exists"):
            state = "which runs" if host.get("unit_active") else "which is stopped"
            remedy = "remove that unit, or use a machine of its own: the joiner's unit would take its name"
            yield Verdict("unit-name-taken", BLOCK, name, "no unit of the sequencer's name", f"one, {state}", remedy)
        yield from _home(name, host, profile, foreign=foreign)
        yield _binary(name, host, profile)
        yield from _environment(name, host, origin)


def beside(evidence: Evidence) -> Iterator[Verdict]:
    """Nobody else may write while the chain changes hands; what a member's own unit runs is looked at elsewhere."""
    chain_id = evidence.sequencer.get("chain_id")
    hosts = {name: {**host, "chain_id": chain_id} for name, host in evidence.answering.items()}
    remedy = "end it, and find out what starts it, or it will write beside the cluster"
    yield from second_nodes(hosts, "node of this chain", remedy)


def _home(name: str, host: Data, profile: Data, *, foreign: bool) -> Iterator[Verdict]:
    genesis, wanted = host.get("home_genesis_sha256"), profile.get("genesis_sha256")
    home = str(profile.get("home") or "the home")
    if genesis and wanted and genesis != wanted:
        found = f"another genesis (chain {host.get('home_chain_id') or 'unknown'})"
        remedy = f"move {home} away on this host"
        yield Verdict("other-chain", BLOCK, name, f"no other chain in {home}", found, remedy)
    elif host.get("home_has_blocks") and not genesis:
        remedy = f"move {home} away on this host: nobody can tell which chain its blocks belong to"
        yield Verdict("unknown-chain", BLOCK, name, f"no other chain in {home}", "blocks without a genesis", remedy)
    elif host.get("home_has_blocks") and foreign:
        remedy = "they are kept and followed from; move the home away if this host is to start from nothing"
        yield Verdict("home-in-use", WARN, name, f"an empty {home}", "blocks of this chain", remedy)
    else:
        yield Verdict("home", OK, name, f"no other chain in {home}", "none")


def _binary(name: str, host: Data, profile: Data) -> Verdict:
    found, wanted = host.get("binary_sha256"), profile.get("binary_sha256")
    where = str(profile.get("binary") or "the binary")
    if found and wanted and found != wanted:
        remedy = f"remove {where} on this host; provisioning copies the sequencer's own binary there"
        expected = f"{where} with checksum {str(wanted)[:12]} or none"
        return Verdict("binary-differs", BLOCK, name, expected, str(found)[:12], remedy)
    return Verdict("binary", OK, name, f"the sequencer's {where} or none", "equal" if found else "none yet")


def _environment(name: str, host: Data, origin: Data) -> Iterator[Verdict]:
    there = host.get("environment_files") or {}
    for path, wanted in (origin.get("environment_files") or {}).items():
        if there.get(path) and there[path] != wanted:
            remedy = "make both equal, or give the sequencer's unit an environment file of its own"
            expected = f"the sequencer's {path}, or none" if wanted else f"no {path}, as on the sequencer"
            yield Verdict("environment-file-differs", BLOCK, name, expected, "another content", remedy)


def raft_dirs(evidence: Evidence) -> Iterator[Verdict]:
    """No member holds a Raft log of somebody else."""
    if evidence.migrated:
        return
    for name, host in evidence.answering.items():
        entries = host.get("raft_dir_entries") or []
        is_sequencer = name in evidence.sequencers
        where = str(evidence.options.get("raft_dir") or "the Raft directory")
        if not entries:
            yield Verdict("raft-dir-empty", OK, name, f"an empty {where}", "empty or absent")
        elif host.get("held") and not is_sequencer:
            remedy = "nothing has to be done: the stage sync takes away what is left; --tags rollback does it at once"
            yield Verdict("rollback-unfinished", WARN, name, f"an empty {where}", "left by a rollback", remedy)
        elif host.get("sealed") and not is_sequencer:
            yield Verdict(
                "raft-dir-sealed", OK, name, f"an empty {where}, or one that this collection sealed", "sealed"
            )
        else:
            remedy = (
                f"find out whose it is; if no cluster uses it, move {where} away on this host and run preflight again"
            )
            found = ", ".join(str(entry) for entry in entries[:4])
            yield Verdict("raft-dir-not-empty", BLOCK, name, f"an empty {where}", found, remedy)
