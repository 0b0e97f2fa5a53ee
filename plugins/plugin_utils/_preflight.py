# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""Judge everything that was read before a migration: all findings, none hides another."""

from __future__ import annotations

import ipaddress
import re
import typing as t
from itertools import combinations

from ._timings import TimingError, timings
from ._verdicts import BLOCK, OK, WARN, Verdict, worst_first
from ._verify import second_nodes

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

Data = t.Mapping[str, t.Any]

_GIB = 1 << 30
_LEAST_SYSTEMD = 240
_LEAST_PYTHON = (3, 9)
_LEAST_FREE = 256 << 20
# A store, a Raft log and what is kept of a run are some dozens of files, and a store adds some every hour.
_LEAST_INODES = 1000
_SEEDS = ("follow", "copy", "copy_then_follow")
# From here on there is nothing left that a migration would change: hosts are judged, their being clean is not.
_MIGRATED = ("committed", "cluster")
_LOSS_BLOCKS = 0.2
_JITTER_WARN_MS = 25.0
_RTT_WARN_MS = 100.0
# Parts of a block time. A leader whose clock is behind the last block has to wait for it.
_CLOCK_BLOCKS, _CLOCK_WARNS = 0.5, 0.1
_NODE_ID = re.compile(r"[A-Za-z0-9._-]+")
_NO_SUDO = re.compile(r"sudo|become|privilege escalation|not in the sudoers|password is required", re.IGNORECASE)

# What discovery noticed and what the migration copes with by itself, or what only a person can weigh. The rest blocks.
_TOLD_ONLY = frozenset(
    {
        "duplicate_flag",
        "other_account",
        "relative_signer_path",
        "secret_on_command_line",
        "started_by_script",
        "unit_changed",
        "unit_not_loaded",
        "yaml_missing",
        "yaml_newer",
    }
)


class Evidence(t.NamedTuple):
    """What was read.

    ``sequencer``: the profile of ``sequencer_info``, empty where it could not be read. ``hosts``: what ``host_info``
    returned by member, or the failed/unreachable result. ``members``: name, node_id, address, peer_id of each member.
    ``sequencers``/``joiners``: names in the two groups. ``rtt``, ``ports``: what each member measured, by member; a
    port has ``opened`` where something was made to listen there for the probe.
    ``options``: ``state``, ``seed``, ``raft_port``, ``overrides``, ``timing_profile``, ``timing_overrides``,
    ``min_free_bytes``, ``max_clock_offset`` (seconds), ``forks``.
    """

    sequencer: Data
    hosts: Mapping[str, Data]
    members: Sequence[Data]
    sequencers: Sequence[str]
    joiners: Sequence[str]
    rtt: Mapping[str, Sequence[Data]]
    ports: Mapping[str, Sequence[Data]]
    options: Data

    @property
    def migrated(self) -> bool:
        """Whether the members are a cluster already, or on the way into one."""
        return self.options.get("state") in _MIGRATED

    @property
    def answering(self) -> dict[str, Data]:
        """The hosts that gave facts."""
        return {name: host for name, host in self.hosts.items() if not _failure(host)}


def judge(evidence: Evidence) -> list[Verdict]:
    """Return a verdict for everything that was looked at, worst first."""
    verdicts: list[Verdict] = []
    for check in _CHECKS:
        verdicts += check(evidence)
    return worst_first(verdicts)


def _inventory(evidence: Evidence) -> Iterator[Verdict]:
    found = list(evidence.sequencers)
    names = [str(member["name"]) for member in evidence.members]
    if len(found) == 1:
        yield Verdict("one-sequencer", OK, found[0], "one host in evnode_sequencer", "one")
    else:
        identity = "several-sequencers" if found else "no-sequencer"
        remedy = "leave exactly the machine that produces blocks today in the group evnode_sequencer"
        text = ", ".join(found) or "none"
        yield Verdict(identity, BLOCK, text if found else "all", "exactly one host in evnode_sequencer", text, remedy)
    both = sorted(set(found) & set(evidence.joiners))
    for name in both:
        remedy = "leave the host in one of the two groups"
        yield Verdict("host-in-both-groups", BLOCK, name, "a sequencer or a joiner", "both", remedy)
    stray = [name for name in names if name not in found and name not in evidence.joiners]
    for name in stray:
        remedy = "put the host into evnode_joiners, or take it out of evnode_members"
        yield Verdict("host-in-no-group", BLOCK, name, "a sequencer or a joiner", "neither", remedy)
    count = len(names)
    if count < 3:
        remedy = "add joiners: with fewer than three members no failure is survived"
        yield Verdict("too-few-members", BLOCK, "all", "at least 3 members", str(count), remedy)
    elif count % 2 == 0:
        remedy = "add or remove one joiner: an even member makes failures likelier and survives no more of them"
        yield Verdict("even-members", BLOCK, "all", "an odd number of members", str(count), remedy)
    else:
        yield Verdict("member-count", OK, "all", "an odd number of members from 3", str(count))
    if evidence.options.get("seed", "follow") not in _SEEDS:
        remedy = "correct evnode_seed"
        text = str(evidence.options.get("seed"))
        yield Verdict("unknown-seed", BLOCK, "all", f"one of {', '.join(_SEEDS)}", text, remedy)


def _identities(evidence: Evidence) -> Iterator[Verdict]:
    for key, identity, remedy in (
        ("address", "duplicate-address", "give each member its own private address (evnode_address)"),
        ("node_id", "duplicate-node-id", "give each member its own evnode_node_id"),
        ("peer_id", "duplicate-peer-id", "a node key was copied: remove config/node_key.json on the joiner"),
    ):
        groups: dict[str, list[str]] = {}
        for member in evidence.members:
            if member.get(key):
                groups.setdefault(str(member[key]), []).append(str(member["name"]))
        shared = {value: names for value, names in groups.items() if len(names) > 1}
        for value, names in shared.items():
            yield Verdict(identity, BLOCK, ", ".join(names), f"a {key} for each member", f"both {value}", remedy)
        if groups and not shared:
            yield Verdict(identity.replace("duplicate", "distinct"), OK, "all", f"a {key} for each member", "so it is")
    for member in evidence.members:
        name = str(member["name"])
        if not _NODE_ID.fullmatch(str(member.get("node_id") or "")):
            remedy = "set evnode_node_id to letters, digits, '.', '_' and '-'"
            yield Verdict("bad-node-id", BLOCK, name, "a plain node id", repr(member.get("node_id")), remedy)
        wrong = address_problem(str(member.get("address") or ""))
        if wrong:
            remedy = "set evnode_address to the private IP address under which the other members reach this host"
            yield Verdict("bad-address", BLOCK, name, "a private IP address", wrong, remedy)
        elif not _is_private(str(member["address"])):
            remedy = (
                "the Raft port has no authentication: close it to everybody but the members, or use private addresses"
            )
            yield Verdict("public-address", WARN, name, "a private IP address", str(member["address"]), remedy)


def address_problem(address: str) -> str | None:
    """Say why a Raft member cannot use this as its address, None where it can."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return f"'{address}', which is no IP address: a name may resolve to loopback on its own host"
    if parsed.is_unspecified:
        return f"{address}, on which a Raft member refuses to start"
    if parsed.is_loopback:
        return f"{address}, which no other member can reach"
    if parsed.is_multicast or (parsed.version == 6 and parsed.is_link_local):
        return f"{address}, which is no address of one host on every network"
    return None


def _reachable(evidence: Evidence) -> Iterator[Verdict]:
    for member in evidence.members:
        name = str(member["name"])
        host = evidence.hosts.get(name)
        reason = _failure(host)
        if reason is None:
            yield Verdict("reachable", OK, name, "facts of the host", "read")
        elif host and host.get("unreachable"):
            remedy = "check ansible_host, ssh and the network, then run preflight again"
            yield Verdict("unreachable", BLOCK, name, "an answer over ssh", reason, remedy)
        elif _NO_SUDO.search(reason):
            remedy = "allow the login user sudo without a password, or give --ask-become-pass"
            yield Verdict("no-sudo", BLOCK, name, "root by become", reason, remedy)
        else:
            remedy = "correct what the message says, then run preflight again"
            yield Verdict("host-unread", BLOCK, name, "facts of the host", reason, remedy)


def _forks(evidence: Evidence) -> Iterator[Verdict]:
    count = len(evidence.members)
    forks = int(evidence.options.get("forks") or count)
    if forks < count:
        remedy = "set forks in ansible.cfg, or --forks: now each step takes several rounds, also while no block is made"
        yield Verdict("few-forks", WARN, "all", f"at least {count} forks of Ansible", str(forks), remedy)


def _platform(evidence: Evidence) -> Iterator[Verdict]:
    origin = evidence.answering.get(evidence.sequencers[0], {}) if evidence.sequencers else {}
    for name, host in evidence.answering.items():
        if host.get("root") is False:
            remedy = "allow the login user sudo, and run the play with become"
            yield Verdict("no-sudo", BLOCK, name, "root by become", "an ordinary user", remedy)
        version = host.get("systemd_version")
        if version is None:
            remedy = "members need systemd: their nodes are supervised from the first start"
            yield Verdict("no-systemd", BLOCK, name, f"systemd {_LEAST_SYSTEMD} or newer", "none", remedy)
        else:
            yield _least("systemd-too-old", name, int(version), _LEAST_SYSTEMD, "systemd", "upgrade the host")
        python = tuple(int(part) for part in re.findall(r"\d+", str(host.get("python") or ""))[:2])
        if python and python < _LEAST_PYTHON:
            remedy = "install a newer Python, and set ansible_python_interpreter to it"
            yield Verdict("python-too-old", BLOCK, name, "Python 3.9 or newer", str(host["python"]), remedy)
        elif python:
            yield Verdict("python", OK, name, "Python 3.9 or newer", str(host["python"]))
        if origin.get("architecture") and host.get("architecture") != origin["architecture"]:
            remedy = "members run the sequencer's binary: use a machine of the same architecture"
            found = str(host.get("architecture"))
            yield Verdict("other-architecture", BLOCK, name, str(origin["architecture"]), found, remedy)
        yield from _tools(evidence, name, host)
        yield from _memory(name, host, origin)
        kind = str(host.get("fstype") or "")
        if kind.startswith(("nfs", "cifs", "smb", "fuse.sshfs")):
            remedy = "move the home to a local disk: the store's lock and Raft's log rely on one"
            yield Verdict("network-file-system", BLOCK, name, "the home on a local file system", kind, remedy)
        yield from _mounts(evidence, name, host)
        if host.get("reboot_pending"):
            remedy = "reboot it before the migration, and keep automatic reboots away from that night"
            yield Verdict("reboot-pending", WARN, name, "no reboot due", "an upgrade waits for one", remedy)


def _mounts(evidence: Evidence, name: str, host: Data) -> Iterator[Verdict]:
    locked = host.get("read_only") or []
    if locked:
        remedy = "mount it read-write; if the kernel made it read-only, look for errors of the disk first"
        yield Verdict("read-only", BLOCK, name, "a file system to write to", ", ".join(locked), remedy)
    if host.get("no_exec"):
        where = str(evidence.sequencer.get("binary") or "the binary")
        remedy = "mount it without noexec, or let the sequencer's unit run the program from elsewhere"
        yield Verdict("no-exec", BLOCK, name, f"{where} on a file system of programs", "mounted noexec", remedy)
    for path, free in (host.get("free_inodes") or {}).items():
        if free is not None and free < _LEAST_INODES:
            remedy = "remove files, or use a file system with more inodes"
            yield Verdict("few-inodes", BLOCK, name, f"{_LEAST_INODES} files more at {path}", f"{free} more", remedy)


def _tools(evidence: Evidence, name: str, host: Data) -> Iterator[Verdict]:
    tools = host.get("tools") or {}
    copies = evidence.options.get("seed", "follow") != "follow"
    for tool in sorted(tools):
        if tools[tool] is not None:
            continue
        needed = tool not in ("ssh", "sshd") or (copies and (tool == "sshd") == (name in evidence.sequencers))
        where = "a copy from host to host uses it" if tool in ("ssh", "sshd") else "the members are run by it"
        severity = BLOCK if needed else WARN
        if needed or (tool == "sshd") == (name in evidence.sequencers):
            yield Verdict("tool-missing", severity, name, f"the program {tool}", "none", f"install it: {where}")


def _memory(name: str, host: Data, origin: Data) -> Iterator[Verdict]:
    own, wanted = (host.get("memory") or {}).get("total"), (origin.get("memory") or {}).get("total")
    if own and wanted and own < wanted / 2:
        remedy = "any member may have to lead: give it about as much memory as the sequencer has"
        yield Verdict("little-memory", WARN, name, f"about {_size(wanted)} like the sequencer", _size(own), remedy)


def _addresses(evidence: Evidence) -> Iterator[Verdict]:
    for member in evidence.members:
        name, address = str(member["name"]), str(member.get("address") or "")
        host = evidence.answering.get(name)
        if host is None or address_problem(address):
            continue
        known = [str(item) for item in host.get("addresses") or []]
        if host.get("has_address") is False or (host.get("has_address") is None and known and address not in known):
            others = [item for item in known if not address_problem(item)]
            remedy = f"set evnode_address to one of the host's own addresses: {', '.join(others) or 'none found'}"
            yield Verdict("address-not-on-host", BLOCK, name, f"{address} on the host", "it is not", remedy)
        else:
            yield Verdict("address-on-host", OK, name, f"{address} on the host", "it is")


def _sequencer(evidence: Evidence) -> Iterator[Verdict]:
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
        if identity in ("raft_already_on", "unit_inactive") and evidence.migrated:
            continue
        if identity == "catchup_timeout" and str(overrides.get("node.catchup_timeout", "")) in ("0", "0s"):
            continue
        severity = WARN if identity in _TOLD_ONLY else BLOCK
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
        remedy = "give every joiner its own access to the key (read the public key, sign) before the migration"
        yield Verdict("signer-in-kms", WARN, name, "a signer that every member can use", "a key in a KMS", remedy)
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
    if not spaces.get("header") and "namespace_missing" not in known and not evidence.migrated:
        remedy = "make sure that the node answers at its RPC address, then run preflight again"
        yield Verdict("namespace-unknown", WARN, name, "the DA namespaces in use", "the node did not tell", remedy)
    peers = str(_value(profile, "p2p.peers") or "")
    if re.search(r"\s", peers):
        remedy = "remove the blanks: the node skips such a peer without a word"
        yield Verdict("blanks-in-peers", WARN, name, "p2p.peers without blanks", repr(peers), remedy)
    if str(_value(profile, "node.lazy_mode")).lower() == "true":
        remedy = "a lazy chain makes the first cluster block with the next transaction: allow for it in the time limits"
        yield Verdict("lazy-mode", WARN, name, "a block every block time", "node.lazy_mode is on", remedy)
    limit = str(_value(profile, "node.max_pending_headers_and_data") or "0")
    if limit not in ("0", ""):
        remedy = "a leader that finds more pending than this makes no block: raise it, or set it to 0 for the migration"
        yield Verdict("pending-limit", WARN, name, "no limit of pending headers", limit, remedy)
    rpc = str(_value(profile, "rpc.address") or "").rpartition(":")[0].strip("[]")
    if rpc and rpc != "localhost" and not _is_loopback(rpc):
        remedy = "the RPC has no authentication: let it listen on loopback, or close the port to others"
        yield Verdict("rpc-exposed", WARN, name, "an RPC on loopback", rpc, remedy)


def _joiners(evidence: Evidence) -> Iterator[Verdict]:
    """A joiner is empty, or what an earlier run of this collection left there."""
    if evidence.migrated:
        return
    profile = evidence.sequencer
    for name in evidence.joiners:
        host = evidence.answering.get(name)
        if host is None:
            continue
        mode = host.get("mode")
        foreign = mode in (None, "unmanaged")
        if mode == "raft":
            remedy = "run with --tags status; if this host belongs to another cluster, take it out of the inventory"
            yield Verdict("already-raft", BLOCK, name, "a host that is no Raft member", "switched to Raft", remedy)
        if foreign and host.get("unit_exists"):
            state = "which runs" if host.get("unit_active") else "which is stopped"
            remedy = "remove that unit, or use a machine of its own: the joiner's unit would take its name"
            yield Verdict("unit-name-taken", BLOCK, name, "no unit of the sequencer's name", f"one, {state}", remedy)
        yield from _home(name, host, profile, foreign=foreign)
        yield _binary(name, host, profile)


def _beside(evidence: Evidence) -> Iterator[Verdict]:
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


def _raft_dirs(evidence: Evidence) -> Iterator[Verdict]:
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


def _own_ports(evidence: Evidence) -> Iterator[Verdict]:
    """The ports that a member will listen on are free, or its own node has them."""
    ports = evidence.sequencer.get("ports") or {}
    wanted = {"Raft": evidence.options.get("raft_port"), "P2P": ports.get("p2p")}
    for name, host in evidence.answering.items():
        listening, listeners = host.get("listening") or {}, host.get("listeners") or {}
        for what, port in wanted.items():
            if port is None or str(port) not in listening:
                continue
            owner = str(listeners.get(str(port), "somebody"))
            own = bool(host.get("unit_pid")) and owner.endswith(f"[{host['unit_pid']}]")
            expected_here = what == "P2P" or evidence.migrated
            if not listening[str(port)] or (own and expected_here):
                yield Verdict("port-free", OK, name, f"{what} port {port} for the member", "it is")
            else:
                remedy = (
                    f"stop what listens there, or choose another port{' (evnode_raft_port)' if what == 'Raft' else ''}"
                )
                yield Verdict("port-taken", BLOCK, name, f"{what} port {port} free", f"{owner} listens on it", remedy)


def _space(evidence: Evidence) -> Iterator[Verdict]:
    origin = evidence.answering.get(evidence.sequencers[0], {}) if evidence.sequencers else {}
    store = int(origin.get("store_bytes") or 0)
    least = int(evidence.options.get("min_free_bytes") or _LEAST_FREE)
    for name, host in evidence.answering.items():
        joins = name not in evidence.sequencers and not host.get("home_has_blocks") and not evidence.migrated
        # What the store has now is written in any case; the chain goes on growing while that happens.
        needed = least + (store if joins else 0)
        for path, free in (host.get("free_bytes") or {}).items():
            if free is None:
                continue
            expected = f"{_size(needed)} free at {path}"
            if free < needed:
                yield Verdict("disk-full", BLOCK, name, expected, _size(free), "free some space, or use a larger disk")
            elif free < needed + max(store, _GIB):
                remedy = "there is room for the migration and little more: plan for a larger disk"
                yield Verdict(
                    "disk-small", WARN, name, f"{_size(needed + max(store, _GIB))} free at {path}", _size(free), remedy
                )
            else:
                yield Verdict("disk", OK, name, expected, _size(free))


def _clocks(evidence: Evidence) -> Iterator[Verdict]:
    block_time = float(evidence.sequencer.get("block_time_s") or 1.0)
    most = float(evidence.options.get("max_clock_offset") or block_time * _CLOCK_BLOCKS)
    for name, host in evidence.answering.items():
        clock = host.get("clock") or {}
        if clock.get("synchronized") is False:
            remedy = "run chrony, systemd-timesyncd or another NTP client: a block's time is its leader's clock"
            yield Verdict(
                "clock-unsynchronized", WARN, name, "a synchronized clock", "the kernel says it is not", remedy
            )
    bounds = {name: found for name, host in evidence.answering.items() if (found := clock_bounds(host)) is not None}
    worst = OK
    for (one, first), (other, second) in combinations(bounds.items(), 2):
        offset = apart(first, second)
        if offset <= min(most, block_time * _CLOCK_WARNS):
            continue
        worst = BLOCK if offset > most else WARN
        remedy = "synchronize both clocks: a leader whose clock is behind the last block cannot go on"
        expected = f"clocks less than {most:g} s apart"
        yield Verdict("clock-offset", worst, f"{one}, {other}", expected, f"at least {offset:.2f} s apart", remedy)
    if bounds and worst == OK:
        yield Verdict("clocks", OK, "all", f"clocks less than {most:g} s apart", "as far as can be told")


def clock_bounds(host: Data) -> tuple[float, float] | None:
    """Return between which seconds the host's clock is ahead of the controller's; None where it was not bounded."""
    clock = host.get("clock") or {}
    values = [clock.get(key) for key in ("epoch", "controller_before", "controller_after")]
    if None in values:
        return None
    epoch, before, after = (float(value) for value in values if value is not None)
    return epoch - after, epoch - before


def apart(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Return how far two clocks are apart at least, given the bounds of both."""
    return max(0.0, one[0] - other[1], other[0] - one[1])


def _mesh(evidence: Evidence) -> Iterator[Verdict]:
    worst = 0.0
    measured = 0
    for name, peers in evidence.rtt.items():
        for peer in peers or []:
            target = str(peer.get("peer"))
            if target not in evidence.answering or name not in evidence.answering:
                continue  # told as unreachable; its silence says nothing about the network
            pair = f"{name} -> {target}"
            measured += 1
            if not peer.get("received"):
                remedy = "allow ICMP or the P2P and Raft ports between the members, in both directions"
                found = str(peer.get("reason") or "no answer")
                yield Verdict("no-route", BLOCK, pair, "an answer to echo or TCP", found, remedy)
                continue
            worst = max(worst, float(peer.get("max_ms") or 0))
            loss, jitter = float(peer.get("loss") or 0), float(peer.get("jitter_ms") or 0)
            if loss > 0:
                severity = BLOCK if loss >= _LOSS_BLOCKS else WARN
                remedy = "repair the network between these two: each lost heartbeat brings an election nearer"
                yield Verdict("packet-loss", severity, pair, "no packet lost", f"{loss:.0%} lost", remedy)
            if jitter > _JITTER_WARN_MS:
                remedy = "find out what delays packets between these two, or use longer Raft timings"
                found = f"{jitter:g} ms"
                yield Verdict("jitter", WARN, pair, f"jitter below {_JITTER_WARN_MS:g} ms", found, remedy)
            if float(peer.get("max_ms") or 0) > _RTT_WARN_MS:
                remedy = "members this far apart make slow blocks: each one waits for a quorum"
                found = f"{peer['max_ms']:g} ms"
                yield Verdict("long-way", WARN, pair, f"a round trip below {_RTT_WARN_MS:g} ms", found, remedy)
    if measured:
        yield _timing(evidence, worst)


def _timing(evidence: Evidence, rtt_max_ms: float) -> Verdict:
    try:
        found = timings(
            rtt_max_ms,
            profile=str(evidence.options.get("timing_profile") or "relaxed"),
            overrides=evidence.options.get("timing_overrides") or {},
        )
    except TimingError as exc:
        remedy = "correct evnode_raft_timings"
        return Verdict("raft-timings", BLOCK, "all", "timings that a Raft member accepts", str(exc), remedy)
    text = ", ".join(f"{name} {value}" for name, value in found.items())
    return Verdict("raft-timings", OK, "all", f"timings for a round trip of {rtt_max_ms:g} ms", text)


def _probed_ports(evidence: Evidence) -> Iterator[Verdict]:
    for name, answers in evidence.ports.items():
        for answer in answers or []:
            target = str(answer.get("peer"))
            if target not in evidence.answering:
                continue
            pair, port = f"{name} -> {target}", answer.get("port")
            # Where the probe had nothing to open, because a node has the port or in check mode, a refusal is an answer.
            if answer.get("state") == "open" or (answer.get("state") == "refused" and not answer.get("opened")):
                yield Verdict("port-reached", OK, pair, f"a way to port {port}", str(answer["state"]))
            else:
                remedy = f"open TCP port {port} from {name} to {target} in the firewalls between them"
                found = f"{answer.get('state')}: {answer.get('reason')}"
                yield Verdict("port-filtered", BLOCK, pair, f"a way to port {port}", found, remedy)


_CHECKS: tuple[Callable[[Evidence], Iterator[Verdict]], ...] = (
    _inventory,
    _reachable,
    _identities,
    _addresses,
    _sequencer,
    _forks,
    _platform,
    _joiners,
    _beside,
    _raft_dirs,
    _own_ports,
    _space,
    _clocks,
    _mesh,
    _probed_ports,
)


def _failure(host: Data | None) -> str | None:
    """Say why there are no facts of a host, None where there are."""
    if not host:
        return "no answer"
    if host.get("failed") or host.get("unreachable"):
        return str(host.get("msg") or "no message")
    return None


def _value(profile: Data, key: str) -> t.Any:
    return ((profile.get("effective") or {}).get(key) or {}).get("value")


def _least(identity: str, name: str, found: int, least: int, what: str, remedy: str) -> Verdict:
    expected = f"{what} {least} or newer"
    if found < least:
        return Verdict(identity, BLOCK, name, expected, f"{what} {found}", remedy)
    return Verdict(what, OK, name, expected, f"{what} {found}")


def _is_private(address: str) -> bool:
    return ipaddress.ip_address(address).is_private


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
