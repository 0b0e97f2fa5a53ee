# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""The live node: its unit, its files, its keys, its chain."""

from __future__ import annotations

import re
import typing as t

from .._verdicts import BLOCK, OK, WARN, Verdict
from .evidence import is_lazy, is_loopback, value

if t.TYPE_CHECKING:
    from collections.abc import Iterator

    from .evidence import Evidence

# What discovery noticed and what the migration copes with by itself, or what only a person can weigh. The rest blocks.
TOLD_ONLY = frozenset(
    {
        "block_time_missed",
        "confined",
        "duplicate_flag",
        "few_open_files",
        "other_account",
        "relative_signer_path",
        "secret_file_open",
        "secret_on_command_line",
        "started_by_script",
        "unit_changed",
        "unit_not_loaded",
        "yaml_missing",
        "yaml_newer",
    }
)
# A cluster may have lost its quorum, or be half started: that is what the run is for.
_OF_THE_SINGLE = frozenset({"raft_already_on", "unit_inactive", "rpc_silent", "chain_stalled", "block_time_missed"})


def sequencer(evidence: Evidence) -> Iterator[Verdict]:
    """The live node is one that can be carried over."""
    name = evidence.sequencers[0] if evidence.sequencers else "the sequencer"
    profile = evidence.sequencer
    if not profile:
        remedy = "make the host reachable with become, name its unit in evnode_service, then run preflight again"
        yield Verdict("sequencer-unread", BLOCK, name, "a readable sequencer", "nothing was read", remedy)
        return
    overrides = evidence.options.get("overrides") or {}
    problems = profile.get("problems") or []
    for problem in problems:
        identity = str(problem["id"])
        if identity in _OF_THE_SINGLE and evidence.migrated:
            continue
        if identity == "catchup_timeout" and str(overrides.get("node.catchup_timeout", "")) in ("0", "0s"):
            continue
        severity = WARN if identity in TOLD_ONLY else BLOCK
        yield Verdict(
            identity.replace("_", "-"),
            severity,
            name,
            "a sequencer that can be carried over",
            str(problem["found"]),
            str(problem["remedy"]),
        )
    if not problems:
        yield Verdict("sequencer", OK, name, "a sequencer that can be carried over", "it can")
    yield from _signer(evidence, name)
    yield from _settings(evidence, name)


def _signer(evidence: Evidence, name: str) -> Iterator[Verdict]:
    signer = evidence.sequencer.get("signer") or {}
    known = {str(problem["id"]) for problem in evidence.sequencer.get("problems") or []}
    proposer, address = evidence.sequencer.get("proposer_address"), signer.get("address")
    if signer.get("type") == "kms":
        yield from _kms(evidence, name)
    elif address and proposer and address != proposer and "signer_not_proposer" not in known:
        remedy = "name the key that signs the chain's blocks: signer_path in evnode_overrides"
        yield Verdict("signer-not-proposer", BLOCK, name, f"a signer of address {proposer}", str(address), remedy)
    elif address and address == proposer:
        yield Verdict("signer-is-proposer", OK, name, f"a signer of address {proposer}", "it is")
    host = evidence.answering.get(name, {})
    if host.get("signer_problem"):
        remedy = "correct passphrase_file or signer_path in evnode_overrides: without the signer no member can start"
        found = str(host["signer_problem"])
        yield Verdict("signer-locked", BLOCK, name, "a passphrase that opens the signer", found, remedy)
    elif host.get("signer_address"):
        yield Verdict("signer-opens", OK, name, "a passphrase that opens the signer", "it does")


def _kms(evidence: Evidence, origin: str) -> Iterator[Verdict]:
    # The node may have other credentials than the tool, from its unit for example. Then the tool fails beside it too.
    told = (evidence.answering.get(origin, {}).get("kms") or {}).get("readable") is True
    expected = "access to the chain's key in the KMS, to read its public half and to sign"
    for name, host in evidence.answering.items():
        tried = host.get("kms") or {}
        by_hand = f"as {tried.get('user')}: {tried.get('command')}"
        if tried.get("readable"):
            yield Verdict("kms-read", OK, name, expected, "the public key was read")
        elif tried.get("readable") is False:
            remedy = f"give this host access to the key before the migration; tried {by_hand}"
            yield Verdict("kms-refused", BLOCK if told else WARN, name, expected, str(tried.get("reason")), remedy)
        else:
            remedy = f"give this host access to the key and try it by hand, {by_hand}"
            found = f"not tried: {tried.get('reason') or tried.get('msg') or 'no answer'}"
            yield Verdict("signer-in-kms", WARN, name, expected, found, remedy)


def _settings(evidence: Evidence, name: str) -> Iterator[Verdict]:
    profile, ports = evidence.sequencer, evidence.sequencer.get("ports") or {}
    known = {str(problem["id"]) for problem in profile.get("problems") or []}
    raft_port = evidence.options.get("raft_port")
    for other in ("p2p", "rpc"):
        if raft_port is not None and ports.get(other) == raft_port:
            remedy = "set evnode_raft_port to a port that nothing else uses"
            yield Verdict(
                "raft-port-clash", BLOCK, "all", f"a Raft port that is not the {other} port", str(raft_port), remedy
            )
    spaces = profile.get("namespaces") or {}
    answers = (profile.get("node") or {}).get("height") is not None
    if answers and not spaces.get("header") and "namespace_missing" not in known and not evidence.migrated:
        remedy = "make sure that the node answers at its RPC address, then run preflight again"
        yield Verdict("namespace-unknown", WARN, name, "the DA namespaces in use", "the node did not tell", remedy)
    peers = str(value(profile, "p2p.peers") or "")
    if re.search(r"\s", peers):
        remedy = "remove the blanks: the node skips such a peer without a word"
        yield Verdict("blanks-in-peers", WARN, name, "p2p.peers without blanks", repr(peers), remedy)
    if is_lazy(profile):
        remedy = "a lazy chain makes the first cluster block with the next transaction: allow for it in the time limits"
        yield Verdict("lazy-mode", WARN, name, "a block every block time", "node.lazy_mode is on", remedy)
    limit = str(value(profile, "node.max_pending_headers_and_data") or "0")
    if limit not in ("0", ""):
        remedy = "a leader that finds more pending than this makes no block: raise it, or set it to 0 for the migration"
        yield Verdict("pending-limit", WARN, name, "no limit of pending headers", limit, remedy)
    rpc = str(value(profile, "rpc.address") or "").rpartition(":")[0].strip("[]")
    if rpc and not is_loopback(rpc):
        remedy = "the RPC has no authentication: let it listen on loopback, or close the port to others"
        yield Verdict("rpc-exposed", WARN, name, "an RPC on loopback", rpc, remedy)
