# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""Raw material about a sequencer on its own host: unit, process, files. Nothing is judged here, nothing is changed.

What the running process was really given (``/proc``) wins over what the unit says; the difference is kept.
"""

from __future__ import annotations

import base64
import grp
import hashlib
import json
import os
import pwd
import re
import time
import typing as t

from . import _node_flags, _unit_file
from ._as_user import AsUserError, passing_home, run_as
from ._errors import HaError
from ._files import read_bytes, read_link, sha256_file
from ._proc import stat_fields
from ._process import run as _run
from ._rpc import NodeClient, RpcError
from ._systemd import show
from ._units import written_by_us
from ._wait import SYSTEM_CLOCK, wait_until

if t.TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ._as_user import Outcome, UserRunner
    from ._process import Runner
    from ._wait import Clock

DROP_IN = "zz-evnode-ha.conf"
MODES = ("single", "follower", "raft")
# The kernel's own overflow id, which owns nothing.
_NOBODY = 65534
_NODE_FLAG = "--evnode."
_RAFT_FLAG = re.compile(r"--evnode\.(raft\.[a-z_]+)")
_FREE_TYPES = ("unconfined_service_t", "unconfined_t", "initrc_t")
# Their median tells whether a chain keeps its block time; a restart among them does not count.
_RECENT_BLOCKS = 8

_PROPERTIES = (
    "LoadState", "ActiveState", "SubState", "MainPID", "UnitFileState", "FragmentPath", "DropInPaths", "User", "Group",
    "WorkingDirectory", "LimitNOFILE", "TimeoutStopUSec", "NeedDaemonReload", "Type", "Restart",
)  # fmt: skip


class DiscoveryError(HaError):
    """The host could not be read at all."""


class Host(t.NamedTuple):
    """Where to look; tests give another root and other answers."""

    run: Runner = _run
    run_as: UserRunner = run_as
    proc: str = "/proc"
    etc_systemd: str = "/etc/systemd/system"


def read(unit: str, config_dir: str, overrides: Mapping[str, str], *, host: Host | None = None) -> dict[str, t.Any]:
    """Return everything that can be read before the node's file is understood (see ``probe`` for the rest)."""
    host = host or Host()
    service = f"{unit}.service"
    properties = show(service, _PROPERTIES, run=host.run)
    fragment = properties.get("FragmentPath", "")
    drop_ins = properties.get("DropInPaths", "").split()
    # systemd may not have been reloaded since the drop-in was written or removed.
    ours = os.path.join(host.etc_systemd, f"{service}.d", DROP_IN)
    managed_unit = os.path.exists(ours) or (fragment != "" and written_by_us(fragment))
    texts = [{"path": path, "text": _text(path)} for path in [fragment, *drop_ins] if path]
    theirs = [item["text"] for item in texts if os.path.basename(item["path"]) != DROP_IN]
    settings = _unit_file.Settings(theirs)
    account = _account(overrides, properties, settings)
    known = _specifier_values(unit, account)

    mode = read_mode(config_dir, unit, exists=properties.get("LoadState") not in (None, "", "not-found"))
    process = _process(int(properties.get("MainPID", "0") or 0), host)
    command = _command(settings, known, account)
    source = "process" if process else "unit"
    argv = list(process["argv"]) if process else list(command["argv"])
    executable = (process or {}).get("exe") or (argv[0] if argv else "")
    yaml_source: str | None = None
    if managed_unit and mode in MODES:
        folder = _original_folder(config_dir, unit, mode)
        saved = read_bytes(os.path.join(folder, "args.env"))
        if saved is not None:
            argv = [argv[0] if argv else "", *_unit_file.read_arguments_file(saved.decode("utf-8", "replace"))]
            yaml_source = os.path.join(folder, "evnode.yaml")
            source = "files"
            if command["argv"] and not process:
                executable = command["argv"][0]
    binary = overrides.get("binary") or executable
    if not process and not os.path.isabs(binary) and binary:
        binary = _which(binary)
    arguments = argv[1:]
    line = _node_flags.parse(arguments)
    home, home_origin = _home(line, overrides, binary, account, process)
    yaml_path = os.path.join(home, "config", "evnode.yaml") if home else ""
    return {
        "unit": unit,
        "properties": properties,
        "fragment_path": fragment or None,
        "drop_ins": drop_ins,
        "unit_settings": {
            "environment": _unit_file.environment_assignments(
                [_unit_file.specifiers(value, known) for value in settings.all("Service", "Environment")]
            ),
            "environment_files": [
                _unit_file.specifiers(listed, known) for listed in settings.all("Service", "EnvironmentFile")
            ],
            "after": settings.words("Unit", "After"),
            "prefixes": command["prefixes"],
            "exec_start": command["argv"],
            "commands": command["commands"],
        },
        "account": account,
        "process": process,
        "source": source,
        "mode": mode,
        "managed": managed_unit,
        "binary": binary,
        "arguments": arguments,
        "home": home,
        "home_origin": home_origin,
        "yaml": _yaml(yaml_source or yaml_path, yaml_path, account),
        "raft_yaml": _as_member(config_dir, unit) if mode == "raft" else None,
    }


def probe(request: Mapping[str, t.Any], *, host: Host | None = None) -> dict[str, t.Any]:
    """Return what needs the node's settings: keys, genesis, binary, and what the running node answers.

    ``request`` has ``binary``, ``exe_pid``, ``home``, ``signer_file``, ``paths`` {name: path}, ``rpc_address``,
    ``patience_s``, ``stale_s``, ``is_node``, ``raft_flags``, ``user``, ``uid``, ``gid``, ``groups``; missing things are
    null in the answer.
    """
    host = host or Host()
    home = str(request.get("home") or "")
    genesis_path = os.path.join(home, "config", "genesis.json")
    binary = str(request.get("binary") or "")
    running = f"{host.proc}/{request['exe_pid']}/exe" if request.get("exe_pid") else None
    return {
        "binary_sha256": _sha256(binary),
        "running_sha256": _sha256(running) if running else None,
        # A program that is none of ev-node's is not run to see what it says.
        "binary_version": _version(request, host.run_as) if request.get("is_node", True) else None,
        "binary_executable": _as_account(request, lambda: os.access(binary, os.X_OK)) if binary else None,
        "binary_raft_flags": _raft_flags(request, host.run_as) if request.get("raft_flags") else None,
        "genesis": _genesis(genesis_path),
        "node_key_present": os.path.exists(os.path.join(home, "config", "node_key.json")),
        "signer": _signer(request.get("signer_file")),
        "paths": {
            name: {
                "present": os.path.exists(path),
                "readable": readable_as(path, request),
                "open": _for_everybody(path),
            }
            for name, path in (request.get("paths") or {}).items()
            if path
        },
        "node": _ask(request),
    }


def read_mode(config_dir: str, unit: str, *, exists: bool) -> str:
    """Return single, follower or raft where the switch is set, else unmanaged, or absent where there is no unit."""
    target = read_link(os.path.join(config_dir, unit, "current"))
    name = os.path.basename(target) if target else ""
    if name in MODES:
        return name
    return "unmanaged" if exists else "absent"


def readable_as(path: str, account: Mapping[str, t.Any]) -> bool:
    """Tell whether an account (``uid``, ``gid``, ``groups``) can open this path, by trying as that account."""
    if os.geteuid() != 0:
        return os.access(path, os.R_OK)

    def opens() -> bool:
        os.close(os.open(path, os.O_RDONLY))
        return True

    return _as_account(account, opens)


def _as_account(account: Mapping[str, t.Any], question: Callable[[], bool]) -> bool:
    """Return the answer that an account gets; no where it cannot even ask."""
    if os.geteuid() != 0 or account.get("uid") in (None, 0):
        try:
            return question()
        except OSError:
            return False
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgroups([int(group) for group in account.get("groups") or []])
            os.setgid(int(account["gid"]))
            os.setuid(int(account["uid"]))
            code = 0 if question() else 1
        finally:
            os._exit(code)
    _pid, status = os.waitpid(child, 0)
    return os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0


def _for_everybody(path: str) -> bool:
    """Tell whether an account that has nothing to do with the node can read a file; only root can try that."""
    return os.geteuid() == 0 and readable_as(path, {"uid": _NOBODY, "gid": _NOBODY})


def _original_folder(config_dir: str, unit: str, mode: str) -> str:
    single = os.path.join(config_dir, unit, "single")
    return single if os.path.exists(os.path.join(single, "args.env")) else os.path.join(config_dir, unit, mode)


def _as_member(config_dir: str, unit: str) -> str | None:
    """Return the evnode.yaml with which this host runs as a member of its cluster, in base64."""
    content = read_bytes(os.path.join(config_dir, unit, "raft", "evnode.yaml"))
    return None if content is None else base64.b64encode(content).decode()


def _text(path: str) -> str:
    return (read_bytes(path) or b"").decode("utf-8", "replace") if path else ""


def _account(
    overrides: Mapping[str, str], properties: Mapping[str, str], settings: _unit_file.Settings
) -> dict[str, t.Any]:
    user = overrides.get("user") or properties.get("User") or settings.last("Service", "User") or "root"
    group = overrides.get("group") or properties.get("Group") or settings.last("Service", "Group") or ""
    found: dict[str, t.Any] = {
        "user": user,
        "group": group or None,
        "uid": None,
        "gid": None,
        "groups": [],
        "home": None,
    }
    try:
        entry = pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
    except KeyError:
        return found
    found.update(user=entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid, home=entry.pw_dir)
    try:
        if group:
            chosen = grp.getgrgid(int(group)) if group.isdigit() else grp.getgrnam(group)
            found.update(group=chosen.gr_name, gid=chosen.gr_gid)
        else:
            found["group"] = grp.getgrgid(entry.pw_gid).gr_name
    except KeyError:
        found["group"] = group or str(entry.pw_gid)
    found["groups"] = os.getgrouplist(entry.pw_name, found["gid"])
    return found


def _specifier_values(unit: str, account: Mapping[str, t.Any]) -> dict[str, str]:
    prefix, at, instance = unit.partition("@")
    # In units of the system manager these are root's, whatever User= says.
    return {
        "n": f"{unit}.service", "N": unit, "p": prefix if at else unit, "P": prefix if at else unit, "i": instance,
        "I": instance, "j": unit.rpartition("-")[2], "h": "/root", "u": "root", "U": "0", "g": "root", "G": "0",
        "t": "/run", "S": "/var/lib", "C": "/var/cache", "L": "/var/log", "E": "/etc", "T": "/tmp", "V": "/var/tmp",
        "H": os.uname().nodename, "v": os.uname().release,
    }  # fmt: skip


def _command(settings: _unit_file.Settings, known: Mapping[str, str], account: Mapping[str, t.Any]) -> dict[str, t.Any]:
    lines = settings.all("Service", "ExecStart")
    if not lines:
        return {"argv": [], "prefixes": "", "commands": 0}
    cmd = _unit_file.command(lines[0])
    environment = {"HOME": str(account.get("home") or ""), "USER": str(account["user"])}
    declared = [_unit_file.specifiers(value, known) for value in settings.all("Service", "Environment")]
    for assignment in _unit_file.environment_assignments(declared):
        name, _equals, value = assignment.partition("=")
        environment[name] = value
    for listed in settings.all("Service", "EnvironmentFile"):
        environment.update(_unit_file.parse_environment_file(_text(_unit_file.specifiers(listed.lstrip("-"), known))))
    argv = [_unit_file.specifiers(word, known) for word in cmd.argv]
    return {
        "argv": _unit_file.expand(_unit_file.Command(cmd.prefixes, argv), environment),
        "prefixes": cmd.prefixes,
        "commands": len(lines),
    }


def _process(pid: int, host: Host) -> dict[str, t.Any] | None:
    if pid <= 0:
        return None
    base = f"{host.proc}/{pid}"
    raw = read_bytes(f"{base}/cmdline")
    if not raw:
        return None
    exe = read_link(f"{base}/exe") or ""
    environment = _environment(read_bytes(f"{base}/environ") or b"")
    status = _text(f"{base}/status")
    uid = _status_id(status, "Uid:")
    return {
        "pid": pid,
        "argv": [word.decode("utf-8", "surrogateescape") for word in raw[:-1].split(b"\0")],
        "exe": exe.replace(" (deleted)", ""),
        "exe_deleted": exe.endswith(" (deleted)"),
        "cwd": read_link(f"{base}/cwd"),
        "uid": uid,
        "user": _user_of(uid),
        "gid": _status_id(status, "Gid:"),
        "home": environment.get("HOME"),
        "db_path": environment.get("DB_PATH"),
        "confined": _confined(f"{base}/attr/current"),
        # Names only: a value may be a secret.
        "environment_names": sorted(environment),
        "started": _started(base),
    }


def _environment(raw: bytes) -> dict[str, str]:
    found = {}
    for item in raw.split(b"\0"):
        name, equals, value = item.decode("utf-8", "replace").partition("=")
        if equals:
            found[name] = value
    return found


def _status_id(status: str, label: str) -> int | None:
    for line in status.splitlines():
        if line.startswith(label):
            return int(line.split()[1])
    return None


def _user_of(uid: int | None) -> str | None:
    try:
        return None if uid is None else pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def _confined(path: str) -> str | None:
    """Return the AppArmor profile or SELinux context that a process is held by; None for one that is not."""
    try:
        told = (read_bytes(path) or b"").decode("utf-8", "replace").strip("\0\n ")
    except HaError:
        # The kernel has the file also where nothing is behind it, and then refuses to read it.
        return None
    free = not told or told == "unconfined" or told.endswith("(complain)")
    # The types that systemd gives to services without a policy of their own.
    return None if free or any(f":{name}:" in told for name in _FREE_TYPES) else told


def _started(base: str) -> float | None:
    """Return when a process started, in seconds since the epoch (proc(5): ticks since boot, after the name)."""
    try:
        ticks = int(stat_fields(f"{base}/stat")[19])
        boot = next(
            line for line in _text(os.path.join(os.path.dirname(base), "stat")).splitlines() if line[:6] == "btime "
        )
        return int(boot.split()[1]) + ticks / os.sysconf("SC_CLK_TCK")
    except (IndexError, ValueError, StopIteration):
        return None


def _home(
    line: _node_flags.CommandLine,
    overrides: Mapping[str, str],
    binary: str,
    account: Mapping[str, t.Any],
    process: Mapping[str, t.Any] | None,
) -> tuple[str, str]:
    if overrides.get("home"):
        return overrides["home"], "override"
    if line.home:
        start = (process or {}).get("cwd") or "/"
        return os.path.normpath(os.path.join(start, line.home)), "flag"
    user_home = (process or {}).get("home") or account.get("home")
    if not user_home or not binary:
        return "", "unknown"
    return os.path.join(user_home, f".{os.path.basename(binary)}"), "default"


def _yaml(content_path: str, live_path: str, account: Mapping[str, t.Any]) -> dict[str, t.Any]:
    found: dict[str, t.Any] = {"path": live_path, "content_path": content_path, "present": False}
    data = read_bytes(content_path) if content_path else None
    if data is None:
        return found
    info = os.stat(content_path)
    return {
        **found,
        "present": True,
        "content": base64.b64encode(data).decode(),
        "mode": f"{info.st_mode & 0o7777:04o}",
        "uid": info.st_uid,
        "changed": info.st_mtime,
        "link": read_link(live_path),
        "readable": readable_as(content_path, account),
    }


def _which(name: str) -> str:
    for folder in ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"):
        path = os.path.join(folder, name)
        if os.access(path, os.X_OK):
            return path
    return name


def _sha256(path: str | None) -> str | None:
    if not path or not os.path.isfile(path):
        return None
    return sha256_file(path)


def _told(request: Mapping[str, t.Any], arguments: list[str], run: UserRunner) -> Outcome | None:
    """Return what the program answers to the node's account; None where that is not known or cannot run it.

    To root only where the node is root's: an account may have chosen or replaced the program that it runs.
    """
    binary, user = str(request.get("binary") or ""), request.get("user")
    if not user or not binary or not os.access(binary, os.X_OK):
        return None
    try:
        with passing_home(user) as home:
            return run([binary, *arguments], user, home=home, timeout=10)
    except (AsUserError, OSError):
        return None


def _version(request: Mapping[str, t.Any], run: UserRunner) -> str | None:
    """Return the version a binary prints; a build without one exits 1, and then its checksum has to do."""
    done = _told(request, ["version"], run)
    if done is None or done.rc != 0:
        return None
    for line in done.stdout.splitlines():
        label, colon, value = line.partition("version:")
        if colon and label.strip() and value.strip():
            return value.strip()
    return None


def _raft_flags(request: Mapping[str, t.Any], run: UserRunner) -> list[str] | None:
    """Return the names of the program's Raft settings, as its help lists them; None where it lists none of the node."""
    done = _told(request, ["start", "--help"], run)
    if done is None or done.rc != 0:
        return None
    told = done.stdout + done.stderr
    return sorted(set(_RAFT_FLAG.findall(told))) if _NODE_FLAG in told else None


def _genesis(path: str) -> dict[str, t.Any] | None:
    data = read_bytes(path)
    if data is None:
        return None
    found = {"sha256": hashlib.sha256(data).hexdigest(), "chain_id": None, "proposer_address": None}
    parsed = _json_object(data)
    found["chain_id"] = parsed.get("chain_id")
    found["proposer_address"] = parsed.get("proposer_address")
    return found


def _signer(path: str | None) -> dict[str, t.Any] | None:
    """Return the address of a signer file; the public key in it is clear text, so no passphrase is needed."""
    if not path:
        return None
    data = read_bytes(path)
    if data is None:
        return {"present": False, "address": None}
    try:
        public = base64.b64decode(str(_json_object(data).get("pub_key") or ""), validate=True)
    except ValueError:
        public = b""
    address = base64.b64encode(hashlib.sha256(public).digest()).decode() if len(public) == 32 else None
    return {"present": True, "address": address}


def _json_object(data: bytes) -> dict[str, t.Any]:
    try:
        parsed = json.loads(data)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _ask(request: Mapping[str, t.Any], clock: Clock = SYSTEM_CLOCK) -> dict[str, t.Any]:
    """Return what the running node says about itself; null with a reason where it does not answer.

    ``patience_s``: how long to wait for an answer, and for a block newer than ``stale_s`` seconds: a node that was
    started a moment ago needs some time for both.
    """
    found: dict[str, t.Any] = {
        "namespaces": None,
        "next_proposer": None,
        "chain_id": None,
        "height": None,
        "age_s": None,
        "interval_s": None,
        "reason": None,
    }
    address = str(request.get("rpc_address") or "")
    if not address:
        found["reason"] = "no RPC address is known"
        return found
    client = NodeClient(address, timeout=3)
    stale = float(request.get("stale_s") or "inf")

    def state() -> dict[str, t.Any] | RpcError:
        try:
            told = client.state()
            return {**told, "newest": client.block(0)["time_ns"] / 1e9 if told["height"] else None}
        except RpcError as exc:
            return exc

    def is_alive(told: dict[str, t.Any] | RpcError) -> bool:
        return isinstance(told, dict) and told["newest"] is not None and time.time() - told["newest"] < stale

    patience = float(request.get("patience_s") or 0)
    told = wait_until(state, is_alive, timeout=patience, interval=0.2, clock=clock).last
    if isinstance(told, RpcError):
        found["reason"] = told.message
        return found
    found.update(next_proposer=told["next_proposer"], chain_id=told["chain_id"], height=told["height"])
    if told["newest"] is not None:
        found["age_s"] = round(time.time() - told["newest"], 3)
    try:
        found["namespaces"] = client.namespaces()
        # Nobody asks for it of a member, and members are read in every stage.
        found["interval_s"] = _interval(client, told["height"]) if patience else None
    except RpcError as exc:
        found["reason"] = exc.message
    return found


def _interval(client: NodeClient, height: int) -> float | None:
    """Return the median time between the newest blocks, in seconds; None where there are too few to tell."""
    if height <= _RECENT_BLOCKS:
        return None
    times: list[int] = [client.block(number)["time_ns"] for number in range(height - _RECENT_BLOCKS, height + 1)]
    steps = sorted(later - earlier for earlier, later in zip(times, times[1:]))
    return round(steps[len(steps) // 2] / 1e9, 3)
