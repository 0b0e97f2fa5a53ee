# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.
"""The source's side of a copy: a one-time sshd that does one thing, for named keys and addresses, for a while."""

from __future__ import annotations

import contextlib
import inspect
import io
import ipaddress
import json
import os
import pwd
import re
import shlex
import shutil
import socket
import sys
import time
import typing as t
import zipfile

from .. import _errors, _systemd
from .._files import fingerprint, make_dirs, read_bytes, write_atomic
from .._process import run as _run
from .._wait import SYSTEM_CLOCK, wait_until
from . import server, tree, wire
from .client import known_hosts_of
from .tree import Rules, StoreError

if t.TYPE_CHECKING:
    from collections.abc import Sequence

    from .._process import Runner
    from .._wait import Clock, WaitResult

_KEY = re.compile(r"(ssh-ed25519|ecdsa-sha2-nistp(?:256|384|521)|ssh-rsa) [A-Za-z0-9+/]{40,}={0,3}\Z")
_CAPABILITIES = "CAP_DAC_READ_SEARCH CAP_SETUID CAP_SETGID CAP_SYS_CHROOT CAP_KILL CAP_NET_BIND_SERVICE CAP_AUDIT_WRITE"
# Named one by one, because a module that Ansible sends carries what is imported and nothing else.
_PROGRAM_PARTS = {"_errors": _errors, "_store/tree": tree, "_store/wire": wire, "_store/server": server}


class Joiner(t.NamedTuple):
    """Who may read: a name for messages, a public key, and the address that it has to come from."""

    name: str
    key: str
    address: str


class Share(t.NamedTuple):
    """What is shared, with whom, where and for how long (``lifetime`` seconds); ``port`` 0 takes a free one."""

    unit: str
    roots: dict[str, str]
    joiners: list[Joiner]
    address: str
    port: int
    lifetime: int
    exclude: list[str]
    folder: str
    state_dir: str

    @property
    def service(self) -> str:
        """The transient unit's name."""
        return f"evnode-share-{self.unit}.service"


class Offer(t.NamedTuple):
    """What a joiner needs to know."""

    port: int
    host_key: str
    expires_at: int


def check(share: Share) -> Share:
    """Return the share with its paths resolved; StoreError for anything that must not reach a configuration."""
    try:
        address = str(ipaddress.ip_address(share.address))
    except ValueError as exc:
        raise StoreError(f"Expected the member's own IP address to listen on, found {share.address!r}") from exc
    if ipaddress.ip_address(address).is_unspecified:
        raise StoreError(f"Expected one address of this host to listen on, found {address}, which means all of them")
    roots = {}
    for name, path in share.roots.items():
        real = os.path.realpath(path)
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name):
            raise StoreError(f"Expected a plain name for a root, found {name!r}")
        if not os.path.isabs(path) or real.count("/") < 2 or not (os.path.isdir(real) or os.path.isfile(real)):
            raise StoreError(f"Expected the directory of a store, or a file, two levels deep at least, found {path!r}")
        roots[name] = real
    if not roots:
        raise StoreError("Expected at least one root to share, found none")
    joiners = []
    for joiner in share.joiners:
        key = " ".join(joiner.key.split()[:2])
        if not _KEY.match(key) or "\n" in joiner.key.strip():
            raise StoreError(f"Expected a public key in one line for {joiner.name}, found something else")
        try:
            origin = str(ipaddress.ip_address(joiner.address))
        except ValueError as exc:
            raise StoreError(f"Expected the IP address of {joiner.name}, found {joiner.address!r}") from exc
        joiners.append(Joiner(joiner.name, key, origin))
    if not joiners:
        raise StoreError("Expected the key of at least one joiner, found none")
    exclude = list(Rules(share.exclude).patterns)
    return share._replace(address=address, roots=roots, joiners=joiners, exclude=exclude)


def program() -> bytes:
    """Return the server as one file that ``python -I`` runs, made of this collection's own sources."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:

        def add(name: str, text: str) -> None:
            archive.writestr(zipfile.ZipInfo(name), text)

        add("evnode_ha/__init__.py", "")
        add("evnode_ha/_store/__init__.py", "")
        for name, part in _PROGRAM_PARTS.items():
            add(f"evnode_ha/{name}.py", inspect.getsource(part))
        add("__main__.py", "import sys\nfrom evnode_ha._store.server import main\nsys.exit(main(sys.argv[1:]))\n")
    return packed.getvalue()


def sshd_config(share: Share, port: int, command: str) -> str:
    """Return the configuration: one user, public keys only, one command, nothing forwarded."""
    listen = f"[{share.address}]" if ":" in share.address else share.address
    return "\n".join(
        [
            f"ListenAddress {listen}:{port}",
            f"HostKey {share.folder}/host_key",
            f"AuthorizedKeysFile {share.folder}/authorized_keys",
            "PidFile none",
            "AllowUsers root",
            "PermitRootLogin forced-commands-only",
            f"ForceCommand {command}",
            "AuthenticationMethods publickey",
            "PubkeyAuthentication yes",
            "PasswordAuthentication no",
            "ChallengeResponseAuthentication no",
            "HostbasedAuthentication no",
            "UsePAM no",
            "StrictModes yes",
            "DisableForwarding yes",
            "PermitTTY no",
            "PermitUserRC no",
            "PermitUserEnvironment no",
            "PrintMotd no",
            "PrintLastLog no",
            "Compression no",
            "UseDNS no",
            "MaxSessions 1",
            "MaxAuthTries 2",
            "MaxStartups 32",
            "LoginGraceTime 10",
            "ClientAliveInterval 5",
            "ClientAliveCountMax 3",
            "LogLevel VERBOSE",
            "",
        ]
    )


def authorized_keys(share: Share, command: str) -> str:
    """Return one line a joiner: its key, from its address, for the one command."""
    quoted = command.replace('"', '\\"')
    return "".join(f'restrict,from="{joiner.address}",command="{quoted}" {joiner.key}\n' for joiner in share.joiners)


def prepare(share: Share, port: int, *, python: str = sys.executable, run: Runner = _run) -> list[str]:
    """Write everything the instance needs below ``share.folder`` and return the sshd command line."""
    sshd = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/local/sbin")
    if not sshd:
        raise StoreError("sshd was not found on this host; install the OpenSSH server")
    make_dirs(os.path.dirname(share.folder), mode=0o700)
    make_dirs(share.folder, mode=0o700)
    scratch = f"{share.folder}/scans"
    make_dirs(scratch, mode=0o700)
    make_dirs(share.state_dir, mode=0o700)
    told = {
        "roots": share.roots,
        "exclude": share.exclude,
        "hashes": f"{share.state_dir}/store-hashes.json",
        "scratch": scratch,
        "silence": share.lifetime,
    }
    settings, program_file = f"{share.folder}/server.json", f"{share.folder}/server.pyz"
    command = " ".join(shlex.quote(part) for part in (python, "-I", program_file, settings))
    files = {
        settings: json.dumps(told, sort_keys=True),
        f"{share.folder}/authorized_keys": authorized_keys(share, command),
        f"{share.folder}/sshd_config": sshd_config(share, port, command),
        f"{share.folder}/passwd": f"root:x:0:0:root:{share.folder}:/bin/sh\n{_privilege_separation_user()}",
        f"{share.folder}/shadow": "root:*:19000:0:99999:7:::\n",
    }
    for path, text in files.items():
        write_atomic(path, text.encode(), mode=0o644 if path.endswith("/passwd") else 0o600)
    write_atomic(program_file, program(), mode=0o600)
    if read_bytes(f"{share.folder}/host_key") is None:
        make_key(f"{share.folder}/host_key", "evnode-share", run=run)
    argv = [sshd, "-D", "-e", "-f", f"{share.folder}/sshd_config"]
    _check_config(sshd, share.folder, run)
    return argv


def sandbox(share: Share, argv: Sequence[str]) -> list[str]:
    """Return the systemd-run command line: a root that may read everything and write only its own two directories.

    The instance sees a password file of its own, in which root is not locked and has a plain shell, so neither the
    host's account rules nor root's shell start-up files have a say.
    """
    properties = [
        f"RuntimeMaxSec={share.lifetime}",
        # Also when nobody comes back to end it, keys and configuration go with it.
        f"ExecStopPost=+/usr/bin/find {share.folder} -mindepth 1 -delete",
        "KillMode=control-group",
        "ProtectSystem=strict",
        # Strict leaves the home directories out.
        "ProtectHome=read-only",
        "PrivateDevices=yes",
        "ProtectKernelTunables=yes",
        "ProtectControlGroups=yes",
        "RestrictNamespaces=yes",
        "RestrictSUIDSGID=yes",
        "LockPersonality=yes",
        # Said once more: with devices of its own the unit of some versions of systemd may write to /run again.
        "ReadOnlyPaths=/run",
        f"ReadWritePaths={share.folder} {share.state_dir}",
        f"BindReadOnlyPaths={share.folder}/passwd:/etc/passwd {share.folder}/shadow:/etc/shadow",
        "InaccessiblePaths=-/run/nscd",
        "NoNewPrivileges=yes",
        f"CapabilityBoundingSet={_CAPABILITIES}",
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
        "Nice=5",
    ]
    return [
        "systemd-run",
        "--quiet",
        "--collect",
        f"--unit={share.service}",
        f"--description=One-time read-only share of the store of {share.unit}",
        *(f"--property={item}" for item in properties),
        "--",
        *argv,
    ]


def present(share: Share, *, run: Runner = _run, clock: Clock = SYSTEM_CLOCK) -> tuple[bool, Offer]:
    """Make the share answer; (False, offer) when the very same one is running with half of its lifetime left."""
    share = check(share)
    offer = running(share, run=run)
    if offer is not None:
        return False, offer
    absent(share, run=run)
    for attempt in range(3):
        port = share.port or free_port(share.address)
        argv = prepare(share, port, run=run)
        started = run(sandbox(share, argv))
        if started.rc != 0:
            absent(share, run=run)
            said = started.stderr.strip() or started.stdout.strip()
            raise StoreError(f"{share.service} could not be started: {said}")
        answer = _await_answer(share, port, run, clock)
        if answer.last[0].startswith("SSH-2.0-"):
            offer = Offer(port, host_key(share.folder), int(time.time()) + share.lifetime)
            record = {"share": _identity(share), "offer": offer._asdict()}
            write_atomic(f"{share.folder}/share.json", json.dumps(record).encode(), mode=0o600)
            return True, offer
        said = " / ".join(_systemd.unit_log(share.service, lines=5, run=run))
        absent(share, run=run)
        # A port that was free may have been taken meanwhile; one that was asked for will not get free by trying.
        if share.port or attempt == 2:
            raise StoreError(
                f"Expected sshd to answer on {share.address} port {port} within 10 s, found "
                f"{answer.last[0] or 'nothing'}, the unit {answer.last[1]}, its last lines: {said or 'none'}"
            )
    raise StoreError(f"{share.service} could not be started")


def _await_answer(share: Share, port: int, run: Runner, clock: Clock) -> WaitResult:
    def probe() -> tuple[str, str]:
        return banner(share.address, port), _systemd.active_state(share.service, run=run)

    def over(seen: tuple[str, str]) -> bool:
        return seen[0].startswith("SSH-2.0-") or seen[1] in ("failed", "inactive")

    return wait_until(probe, over, timeout=10, interval=0.05, clock=clock)


def running(share: Share, *, run: Runner = _run) -> Offer | None:
    """Return the offer of the same share if it runs and lasts for at least half of the wished lifetime."""
    data = read_bytes(f"{share.folder}/share.json")
    if data is None or _systemd.active_state(share.service, run=run) != "active":
        return None
    try:
        record = json.loads(data)
        offer = Offer(**record["offer"])
    except (ValueError, KeyError, TypeError):
        return None
    if record["share"] != _identity(share) or offer.expires_at - time.time() < share.lifetime / 2:
        return None
    return offer


def exists(share: Share, *, run: Runner = _run) -> bool:
    """Tell whether anything of an instance is there."""
    left = os.path.isdir(share.folder) and bool(os.listdir(share.folder))
    return left or _systemd.active_state(share.service, run=run) not in ("inactive", "failed")


def absent(share: Share, *, run: Runner = _run) -> bool:
    """Stop the instance and remove all that it was; True if there was anything."""
    found = exists(share, run=run)
    if _systemd.active_state(share.service, run=run) not in ("inactive", "failed"):
        _systemd.stop(share.service, run=run)
    _systemd.reset_failed(share.service, run=run)
    shutil.rmtree(share.folder, ignore_errors=True)
    if os.path.exists(share.folder):
        raise StoreError(f"{share.folder} could not be removed; remove it by hand, it holds the share's host key")
    return found


def make_key(path: str, comment: str, *, run: Runner = _run) -> str:
    """Make an Ed25519 key pair without a passphrase at ``path`` unless there is one, and return the public key."""
    make_dirs(os.path.dirname(path), mode=0o700)
    public = read_bytes(f"{path}.pub")
    if public is None or read_bytes(path) is None:
        remove_key(path)
        made = run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path])
        if made.rc != 0:
            raise StoreError(f"ssh-keygen could not make {path}: {made.stderr.strip() or made.stdout.strip()}")
        public = read_bytes(f"{path}.pub") or b""
    return " ".join(public.decode().split()[:2])


def remove_key(path: str) -> bool:
    """Remove a key pair and the host key that it was used with; True if there was one."""
    found = False
    for name in (known_hosts_of(path), path, f"{path}.pub"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
            found = True
    return found


def host_key(folder: str) -> str:
    """Return the instance's public host key as ``type base64``."""
    return " ".join((read_bytes(f"{folder}/host_key.pub") or b"").decode().split()[:2])


def free_port(address: str) -> int:
    """Return a TCP port that is free on ``address`` right now."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
            return int(probe.getsockname()[1])
    except OSError as exc:
        raise StoreError(f"Expected {address} to be an address of this host, found: {exc.strerror}") from exc


def banner(address: str, port: int) -> str:
    """Return what a server says first, or an empty string."""
    try:
        with socket.create_connection((address, port), timeout=1) as probe:
            return probe.recv(64).decode(errors="replace").strip()
    except OSError:
        return ""


def _identity(share: Share) -> str:
    # The server's own text is part of it: a share of an older one speaks an older protocol.
    return json.dumps({**share._asdict(), "program": fingerprint(program())}, sort_keys=True)


def _check_config(sshd: str, folder: str, run: Runner) -> None:
    argv = [sshd, "-t", "-f", f"{folder}/sshd_config"]
    tested = run(argv)
    missing = re.search(r"Missing privilege separation directory: (/run/\S+)", tested.stderr)
    if missing:
        # Where the host's own sshd is started by a socket, this directory comes and goes with it.
        make_dirs(missing.group(1), mode=0o755)
        tested = run(argv)
    if tested.rc != 0:
        raise StoreError(f"sshd refuses its configuration: {tested.stderr.strip()}")


def _privilege_separation_user() -> str:
    try:
        user = pwd.getpwnam("sshd")
    except KeyError:
        return ""
    return f"sshd:x:{user.pw_uid}:{user.pw_gid}::{user.pw_dir}:/usr/sbin/nologin\n"
