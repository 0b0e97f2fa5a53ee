# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""What a member starts with in each mode: its command line and its evnode.yaml.

Everything that the operator had set stays; only what makes a member of this host is put over it.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
import posixpath
import re
import typing as t

try:
    import netaddr
except ImportError:
    HAS_NETADDR = False
else:
    HAS_NETADDR = True

from ansible_collections.evnode.sequencer_ha.plugins.module_utils import _node_flags, _unit_file
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._errors import HaError

from . import _effective, _node_yaml

if t.TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MODES = ("single", "follower", "raft")

# What members other than the first leader wait for before they stand for election, so that it wins.
PATIENT = "5s"
# What a program has to know to be a member: a setting that it does not know is dropped without a word.
RAFT_SETTINGS = frozenset(
    f"raft.{name}"
    for name in (
        "election_timeout", "enable", "heartbeat_timeout", "leader_lease_timeout", "node_id", "peers", "raft_addr",
        "raft_dir", "send_timeout", "snap_count", "snapshot_threshold", "trailing_logs",
    )
)  # fmt: skip
_LOWEST_SECONDS = 0.005
_NODE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*\Z")
_MASKED = re.compile(r"sha256:[0-9a-f]{12}(@|\Z)")
_LISTENERS = ("rpc.address", "instrumentation.prometheus_listen_addr", "instrumentation.pprof_listen_addr")


class MemberConfigError(HaError):
    """A member's configuration cannot be made from what was given."""


class Member(t.NamedTuple):
    """One member of the cluster."""

    name: str
    node_id: str
    address: str
    peer_id: str
    sequencer: bool
    p2p_port: int | None = None


@dataclasses.dataclass(frozen=True)
class Request:
    """Everything a member's files are made from; see the options of member_config."""

    profile: Mapping[str, t.Any]
    base: bytes
    arguments: Sequence[str]
    member: Mapping[str, t.Any]
    members: Sequence[Member]
    raft_port: int
    raft_dir: str
    timings: Mapping[str, str]
    snap_count: int
    snapshot_threshold: int
    trailing_logs: int
    first_leader: bool = False
    stage: str = "first"
    anchors: Sequence[str] = ()
    extra_peers: Sequence[str] = ()
    overrides: Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    application_flags: Sequence[str] | None = None


class ModeFiles(t.NamedTuple):
    """The two files of one mode."""

    arguments: list[str]
    yaml: bytes


class Files(t.NamedTuple):
    """All modes asked for, the command line that seals, and what of the old command line could not stay."""

    modes: dict[str, ModeFiles]
    seal_arguments: list[str]
    conflicts: list[dict[str, str]]


def read_arguments(encoded: str, profile: Mapping[str, t.Any]) -> list[str]:
    """Return every argument after the program, unmasked.

    ``encoded`` is base64 of a JSON list (sequencer_info's material), of a process's NUL-separated command line, or of
    an ``args.env``. Without it the profile's own list serves, as long as it holds no secret. Raises MemberConfigError.
    """
    if not encoded:
        argv = [str(word) for word in profile.get("argv") or []][1:]
        if any(_MASKED.search(word) for word in argv):
            raise MemberConfigError(
                "the sequencer's command line holds a secret, and the profile only its fingerprint; "
                "pass arguments from sequencer_info with material: true"
            )
        return argv
    try:
        data = base64.b64decode(encoded, validate=True)
        text = data.decode("utf-8", "surrogateescape")
        if text.lstrip().startswith("["):
            parsed = json.loads(text)
            return [str(word) for word in parsed]
    except (binascii.Error, ValueError, TypeError) as exc:
        raise MemberConfigError(
            "arguments is not what sequencer_info returned; pass material.arguments as it is"
        ) from exc
    if "\0" in text:
        return text.rstrip("\0").split("\0")[1:]
    return _unit_file.read_arguments_file(text)


def members_from(items: Sequence[Mapping[str, t.Any]]) -> list[Member]:
    """Check the members against each other; MemberConfigError names the first thing that is wrong."""
    members = []
    for item in items:
        missing = [key for key in ("name", "node_id", "address", "peer_id") if not item.get(key)]
        if missing:
            raise MemberConfigError(
                f"members: {item.get('name') or item} has no {', '.join(missing)}; run the peer_ids stage first"
            )
        members.append(
            Member(
                str(item["name"]), str(item["node_id"]), raft_address_host(item["address"], str(item["name"])),
                str(item["peer_id"]), bool(item.get("sequencer")), int(item.get("p2p_port") or 0) or None,
            )
        )  # fmt: skip
    for what in ("node_id", "address", "peer_id"):
        seen: dict[str, str] = {}
        for member in members:
            value = str(getattr(member, what))
            if value in seen:
                raise MemberConfigError(
                    f"{member.name} and {seen[value]} have the same {what} {value}; each member needs its own"
                )
            seen[value] = member.name
    for member in members:
        if not _NODE_ID.match(member.node_id):
            raise MemberConfigError(
                f"{member.name}: node_id {member.node_id!r} may hold letters, digits, dots, dashes and underscores only"
            )
    if sum(member.sequencer for member in members) != 1:
        raise MemberConfigError("members: exactly one must be the sequencer; check the group evnode_sequencer")
    return members


def raft_address_host(address: t.Any, name: str) -> str:
    """Return an address that a member can bind and the others can dial; MemberConfigError for anything else."""
    if not HAS_NETADDR:
        raise MemberConfigError("The Python package netaddr is needed on the controller and was not found; install it")
    text = str(address).strip("[]")
    try:
        found = netaddr.IPAddress(text, flags=netaddr.INET_PTON)
    except (netaddr.AddrFormatError, ValueError) as exc:
        raise MemberConfigError(
            f"{name}: {text!r} is a host name; Raft binds and announces the same text, so give the private IP address"
        ) from exc
    if int(found) == 0:
        raise MemberConfigError(
            f"{name}: {text} is a wildcard, and a node with it never starts; give the private IP address"
        )
    if found.is_loopback() or found.is_link_local() or found.is_multicast():
        raise MemberConfigError(f"{name}: no other member reaches {text}; give the private IP address")
    return str(found)


def host_port(address: str, port: int) -> str:
    """Return ``host:port``, with brackets around an IPv6 address."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def multiaddr(member: Member, listen_address: str) -> str:
    """Return where other nodes dial a member whose node listens like ``listen_address`` (same transport and port)."""
    return f"{at_member(member, listen_address)}/p2p/{member.peer_id}"


def at_member(member: Member, listen_address: str) -> str:
    """Return the address of a member itself in the form of ``listen_address``, with its own port where it has one."""
    parts = listen_address.rstrip("/").split("/")
    parts[1:3] = ["ip6" if ":" in member.address else "ip4", member.address]
    if member.p2p_port and len(parts) > 4:
        parts[4] = str(member.p2p_port)
    return "/".join(parts)


def build(request: Request, modes: Sequence[str] = MODES) -> Files:
    """Return the files of the modes asked for. Raises MemberConfigError, naming the setting that cannot be."""
    builder = _Builder(request)
    made = {}
    for mode in modes:
        if mode == "single":
            made[mode] = ModeFiles(list(request.arguments), request.base)
        elif mode == "follower":
            made[mode] = ModeFiles(builder.follower_arguments(), builder.yaml(builder.follower_settings(), mode))
        else:
            made[mode] = ModeFiles(builder.raft_arguments(), builder.yaml(builder.raft_settings(), mode))
    return Files(made, builder.seal_arguments(), builder.conflicts())


class _Builder:
    def __init__(self, request: Request) -> None:
        self.request = request
        self.line = _node_flags.parse(request.arguments)
        try:
            document = _node_yaml.load(request.base.decode("utf-8"))
        except (UnicodeDecodeError, _node_yaml.NodeYamlError) as exc:
            reason = exc.message if isinstance(exc, HaError) else "it is not UTF-8 text"
            raise MemberConfigError(
                f"{request.profile.get('yaml_path')} on the sequencer cannot be understood: {reason}; the node runs "
                "without it today, so correct it first"
            ) from exc
        self.members = list(request.members)
        self.me = self._member(str(request.member.get("node_id")))
        self.sequencer = next(member for member in self.members if member.sequencer)
        overrides = {str(key).lower(): value for key, value in request.overrides.items()}
        self.document = _node_yaml.with_settings(document, {**_effective.file_settings(self.line.flags), **overrides})
        self.settings = _effective.effective({}, _node_yaml.flatten(self.document))
        self.listen = str(self._value("p2p.listen_address"))
        _effective.port_of(self.listen, "p2p.listen_address")
        if not re.match(r"/(ip4|ip6)/[^/]+/(tcp|udp)/[0-9]+", self.listen):
            raise MemberConfigError(
                f"p2p.listen_address {self.listen!r} must be an address such as /ip4/0.0.0.0/tcp/7676"
            )
        self._refuse()
        self._check_timings()

    def _member(self, node_id: str) -> Member:
        for member in self.members:
            if member.node_id == node_id:
                if str(self.request.member.get("address", member.address)).strip("[]") != member.address:
                    raise MemberConfigError(
                        f"{member.name} has two addresses in the inventory; members must name the same one"
                    )
                return member
        raise MemberConfigError(f"{node_id} is not among the members; check the inventory")

    def _value(self, key: str) -> t.Any:
        return self.settings[key].value

    # --- what cannot be ----------------------------------------------------------------------------------------------

    def _refuse(self) -> None:
        on = [
            key
            for key in ("node.promotable", "node.based_sequencer", "node.light")
            if _effective.is_on(self.settings, key)
        ]
        if on:
            raise MemberConfigError(
                f"{', '.join(on)} is on, and excludes Raft; set it to false in evnode_config_overrides"
            )
        if _effective.seconds(self._value("node.catchup_timeout"), "node.catchup_timeout") > 0:
            raise MemberConfigError(
                f"node.catchup_timeout is {self._value('node.catchup_timeout')}, and with Raft the node refuses to "
                "start; set it to 0s in evnode_config_overrides"
            )
        if not _effective.text_of(self._value("da.namespace")):
            raise MemberConfigError(
                "da.namespace is not set, neither in evnode.yaml nor as a flag, so every member would make up its own; "
                "the running node does not tell the name, so give it as da.namespace in evnode_config_overrides"
            )
        self._refuse_other_namespace()
        if not str(self._value("da.address") or "").strip():
            raise MemberConfigError(
                "da.address is not set, and a member refuses to start without; set it in evnode_config_overrides"
            )
        if _effective.is_on(self.settings, "node.lazy_mode") and _effective.seconds(
            self._value("node.lazy_block_interval"), "node.lazy_block_interval"
        ) <= _effective.seconds(self._value("node.block_time"), "node.block_time"):
            raise MemberConfigError(
                "node.lazy_block_interval must be above node.block_time; raise it in evnode_config_overrides"
            )

    def _refuse_other_namespace(self) -> None:
        answered = (self.request.profile.get("namespaces") or {}).get("header")
        if not answered:
            return
        name = _effective.text_of(self._value("da.namespace"))
        plain = str(answered).lower().removeprefix("0x")
        if plain not in (_effective.namespace_hex(name), name.lower().removeprefix("0x")):
            raise MemberConfigError(
                f"da.namespace {name!r} stands for {_effective.namespace_hex(name)}, the sequencer uses {answered}; "
                "give the name that the chain's blobs are under"
            )

    def _check_timings(self) -> None:
        names = ("heartbeat_timeout", "election_timeout", "leader_lease_timeout", "send_timeout")
        missing = [name for name in names if not self.request.timings.get(name)]
        if missing:
            raise MemberConfigError(f"timings has no {', '.join(missing)}")
        heartbeat, election, lease, send = (
            _effective.seconds(self.request.timings[name], f"raft.{name}") for name in names
        )
        if min(heartbeat, election, lease) < _LOWEST_SECONDS or send <= 0:
            raise MemberConfigError("Raft refuses timings below 5 ms; raise timings")
        if lease > heartbeat:
            raise MemberConfigError("Raft refuses a leader_lease_timeout above heartbeat_timeout; lower it")
        if election < heartbeat:
            raise MemberConfigError("Raft refuses an election_timeout below heartbeat_timeout; raise it")

    # --- command lines -----------------------------------------------------------------------------------------------

    def _start(self) -> list[str]:
        return [self.line.subcommand or "start", "--home", str(self.request.profile["home"])]

    def _application(self) -> list[str]:
        given = self.request.application_flags
        return list(self.line.application if given is None else given)

    def _signer_flags(self) -> list[str]:
        path = self.request.profile.get("passphrase_file") or self.line.flags.get(_node_flags.PASSPHRASE_FLAG)
        return [f"--evnode.{_node_flags.PASSPHRASE_FLAG}={path}"] if path else []

    def follower_arguments(self) -> list[str]:
        return [*self._start(), "--evnode.node.aggregator=false", "--evnode.raft.enable=false", *self._application()]

    def raft_arguments(self) -> list[str]:
        # Both switches stand on the command line too: with a file that cannot be read the node then stops at a missing
        # node id, where it would otherwise start as a second single sequencer.
        return [
            *self._start(),
            "--evnode.raft.enable=true",
            "--evnode.node.aggregator=true",
            *self._signer_flags(),
            *self._application(),
        ]

    def seal_arguments(self) -> list[str]:
        """Return the command line that runs over the follower's file and needs nothing of the Raft mode's."""
        settings = {key: value for key, value in self.raft_settings().items() if key.startswith("raft.")}
        flags = [f"--evnode.{key}={_flag_text(value)}" for key, value in settings.items() if key != "raft.enable"]
        return [
            *self._start(),
            "--evnode.raft.enable=true",
            "--evnode.node.aggregator=true",
            *flags,
            *self._signer_flags(),
            "--evnode.log.format=json",
            *self._application(),
        ]

    # --- files -------------------------------------------------------------------------------------------------------

    def yaml(self, settings: Mapping[str, t.Any], mode: str) -> bytes:
        unit = self.request.profile.get("unit")
        head = (
            f"# Written by evnode.sequencer_ha for {self.me.name}, mode {mode}, from the sequencer's evnode.yaml.\n"
            "# Changes here are overwritten. "
            f"The original is kept on {self.sequencer.name} as {unit}/single/evnode.yaml.\n"
        )
        return (head + _node_yaml.dump(_node_yaml.with_settings(self.document, settings))).encode("utf-8")

    def follower_settings(self) -> dict[str, t.Any]:
        return {
            **self._of_this_host(),
            "node.aggregator": False,
            # The node refuses a catch-up time-out on anything but a sequencer.
            "node.catchup_timeout": "0s",
            "raft.enable": False,
            "p2p.peers": self._peers([] if self.me.sequencer else [multiaddr(self.sequencer, self.listen)]),
        }

    def raft_settings(self) -> dict[str, t.Any]:
        request = self.request
        first = request.stage == "first"
        timings = dict(request.timings)
        if first and not request.first_leader:
            timings.update(heartbeat_timeout=PATIENT, election_timeout=PATIENT)
        others = [member for member in self.members if member is not self.me]
        if first and request.first_leader and request.anchors:
            # One peer that is up and serves block N: asked first, it spares the first block a second of waiting.
            peers = ",".join(self._clean(request.anchors))
        else:
            peers = self._peers([multiaddr(member, self.listen) for member in others])
        return {
            **self._of_this_host(),
            "node.aggregator": True,
            "raft.enable": True,
            "raft.node_id": self.me.node_id,
            "raft.raft_addr": host_port(self.me.address, request.raft_port),
            "raft.raft_dir": request.raft_dir,
            "raft.peers": ",".join(
                f"{member.node_id}@{host_port(member.address, request.raft_port)}" for member in others
            ),
            "raft.snap_count": request.snap_count,
            "raft.send_timeout": timings["send_timeout"],
            "raft.heartbeat_timeout": timings["heartbeat_timeout"],
            "raft.leader_lease_timeout": timings["leader_lease_timeout"],
            "raft.election_timeout": timings["election_timeout"],
            "raft.snapshot_threshold": request.snapshot_threshold,
            "raft.trailing_logs": request.trailing_logs,
            "p2p.peers": peers,
        }

    def _of_this_host(self) -> dict[str, t.Any]:
        """Return what names the sequencer's own host in the live file, as it is on this member."""
        found: dict[str, t.Any] = {"p2p.listen_address": self._listen_address()}
        for key in _LISTENERS:
            setting = self.settings.get(key)
            if setting is not None and setting.origin != "default":
                host, _colon, port = str(setting.value).rpartition(":")
                if host.strip("[]") == self.sequencer.address:
                    found[key] = host_port(self.me.address, int(port))
        if str(self._value("signer.signer_type")) == "file":
            path = (self.request.profile.get("signer") or {}).get("path")
            if path:
                # Absolute, because the file's own path starts at whatever directory the node is started in.
                found["signer.signer_path"] = posixpath.dirname(str(path))
        return found

    def _listen_address(self) -> str:
        parts = self.listen.split("/")
        overridden = "p2p.listen_address" in {str(key).lower() for key in self.request.overrides}
        if parts[2] not in ("0.0.0.0", "::") and not overridden:
            # The sequencer's own address, or loopback, where no other member could dial this one.
            return at_member(self.me, self.listen)
        if self.me.p2p_port:
            parts[4] = str(self.me.p2p_port)
        return "/".join(parts)

    def _peers(self, own: Sequence[str]) -> str:
        """Return the members' addresses, the operator's full nodes and what was configured before, each peer once."""
        known = {member.peer_id for member in self.members}
        configured = [
            peer for peer in self._clean(str(self._value("p2p.peers") or "").split(",")) if _peer_id(peer) not in known
        ]
        # The node does not trim this list: a blank makes it skip a peer.
        return ",".join(dict.fromkeys([*own, *self._clean(self.request.extra_peers), *configured]))

    @staticmethod
    def _clean(peers: Sequence[str]) -> list[str]:
        return [cleaned for cleaned in ("".join(str(peer).split()) for peer in peers) if cleaned]

    # --- what could not stay -----------------------------------------------------------------------------------------

    def conflicts(self) -> list[dict[str, str]]:
        wanted = self.raft_settings()
        found = []
        for key, text in self.line.flags.items():
            flag = self.line.spellings[key]
            shown = _node_flags.shown(key, text)
            if key == "clear_cache":
                found.append(_conflict(flag, shown, "dropped: members keep their cache"))
            elif key in wanted and _flag_text(_effective.typed(key, text)) != _flag_text(wanted[key]):
                found.append(
                    _conflict(flag, shown, f"not carried over: members use {_flag_text(wanted[key]) or 'nothing'}")
                )
            elif _node_flags.holds_secret(key, text):
                found.append(_conflict(flag, shown, "moved from the command line into evnode.yaml"))
        if self.line.positional:
            found.append(
                _conflict(" ".join(self.line.positional), "", "not carried over: the node takes no such argument")
            )
        if not self.me.sequencer:
            words = self._application()
            for word, told in zip(words, _node_flags.mask_arguments(words), strict=True):
                if re.search(rf"(?<![0-9A-Fa-f.:]){re.escape(self.sequencer.address)}(?![0-9A-Fa-f.])", word):
                    name, _equals, value = told.partition("=")
                    found.append(
                        _conflict(
                            name,
                            value or told,
                            f"names the sequencer's own address; set evnode_application_flags on {self.me.name}",
                        )
                    )
        return found


def _conflict(flag: str, value: str, remedy: str) -> dict[str, str]:
    return {"flag": flag, "value": value, "remedy": remedy}


def _flag_text(value: t.Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return _effective.text_of(value)


def _peer_id(peer: str) -> str:
    return peer.rstrip("/").rpartition("/")[2]


def redacted(text: str) -> str:
    """Return the text of an evnode.yaml or args.env as a diff may show it: secrets as fingerprints."""
    if text.startswith(f"{_unit_file.ARGUMENTS_VARIABLE}="):
        try:
            shown = _node_flags.mask_arguments(_unit_file.read_arguments_file(text))
        except HaError:
            return "(an arguments file that cannot be read)\n"
        return "\n".join(shown) + "\n"
    try:
        document = _node_yaml.load(text)
    except HaError:
        return "(a file that is not valid YAML)\n"
    header = "".join(
        line + "\n" for line in text.splitlines() if line.startswith("#") and "evnode.sequencer_ha" in line
    )
    return header + _node_yaml.dump(_node_flags.mask_settings(document))
