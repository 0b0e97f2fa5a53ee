# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""A member's systemd unit and the link in place of its evnode.yaml: put in place, and taken away without a trace.

Order when put in place: what was there is saved and on disk first, then the unit, then the link. Order when taken
away: the file first, then the unit. Killed anywhere, the same call goes on where it stopped.
"""

from __future__ import annotations

import base64
import json
import os
import typing as t

from . import _account, _mode, _unit_file
from ._discovery import DROP_IN
from ._errors import HaError
from ._files import fingerprint, fsync_dir, make_dirs, read_bytes, read_link, remove_files, switch_link, write_atomic
from ._half_copy import marker_path
from ._node_flags import secret_assignment
from ._units import MARK, fence_path

if t.TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ORIGINAL = "original.json"
MIN_STOP_SECONDS = 30

# Below these ProtectSystem=full and ProtectHome= would take a path away from the node.
_READ_ONLY = ("/usr", "/boot", "/efi", "/etc")
_HOMES = ("/home", "/root", "/run/user")


class MemberUnitError(HaError):
    """The unit cannot be put in place or taken away as asked."""


class Plan(t.NamedTuple):
    """Where everything is; ``profile`` as sequencer_info returns it."""

    profile: Mapping[str, t.Any]
    role: str
    config_dir: str
    state_dir: str
    raft_dir: str | None
    secret_environment: Sequence[str] = ()
    unit_dir: str = "/etc/systemd/system"

    @property
    def unit(self) -> str:
        """The unit's name without suffix."""
        return str(self.profile["unit"])

    @property
    def unit_path(self) -> str:
        """The file that the collection owns: a whole unit on joiners, a drop-in on the sequencer."""
        service = f"{self.unit}.service"
        if self.role == "sequencer":
            return os.path.join(self.unit_dir, f"{service}.d", DROP_IN)
        return os.path.join(self.unit_dir, service)

    @property
    def environment_path(self) -> str:
        """Where variables with secrets are kept, away from the unit that everybody can read."""
        return os.path.join(self.config_dir, self.unit, "environment.env")

    @property
    def yaml_path(self) -> str:
        """The node's own configuration file."""
        return str(self.profile["yaml_path"])

    @property
    def yaml_target(self) -> str:
        """What the node's file points at."""
        return os.path.join(self.config_dir, self.unit, "current", "evnode.yaml")

    @property
    def saved_dir(self) -> str:
        """Where that is kept which was there before."""
        return os.path.join(self.state_dir, self.unit, "original")


class Outcome(t.NamedTuple):
    """What changed, or would; ``reload`` tells whether systemd has to read its files again."""

    changed: bool
    reload: bool
    diffs: list[dict[str, str]]
    warnings: list[str]


# --- texts -----------------------------------------------------------------------------------------------------------


def unit_text(plan: Plan) -> str:
    """Return the text of the file at ``plan.unit_path``."""
    return _drop_in_text(plan) if plan.role == "sequencer" else _joiner_text(plan)


def _common_unit(plan: Plan) -> list[str]:
    return [
        # Set while node-1 is frozen; a reboot clears it, and then the switch alone decides.
        f"ConditionPathExists=!{fence_path(plan.unit)}",
        # A copy may die with its host, and what is then here may open, and lack blocks.
        f"ConditionPathExists=!{marker_path(os.path.join(plan.state_dir, plan.unit))}",
        # Losing leadership ends the process, so several restarts in a row are no reason to give up.
        "StartLimitIntervalSec=300",
        "StartLimitBurst=50",
    ]


def _common_service(plan: Plan) -> list[str]:
    stop = plan.profile.get("timeout_stop_s", MIN_STOP_SECONDS)
    return [
        f"EnvironmentFile={plan.config_dir}/{plan.unit}/current/args.env",
        f"ExecStart={_quote_path(str(plan.profile['binary']))} ${_unit_file.ARGUMENTS_VARIABLE}",
        "Restart=on-failure",
        "RestartSec=2",
        "KillSignal=SIGTERM",
        # A node that is killed loses what it had not yet written.
        f"TimeoutStopSec={'infinity' if stop is None else f'{max(MIN_STOP_SECONDS, stop):g}'}",
    ]


def _drop_in_text(plan: Plan) -> str:
    lines = [
        f"{MARK}: which command line the node gets is decided by {plan.config_dir}/{plan.unit}/current.",
        "# Changes here are overwritten. Rollback removes this file; the unit itself was not changed.",
        "[Unit]",
        *_common_unit(plan),
        "",
        "[Service]",
        "ExecStart=",
        *_common_service(plan),
    ]
    return _lines_text(plan, lines)


def _joiner_text(plan: Plan) -> str:
    profile = plan.profile
    after = ["network-online.target", *[name for name in profile.get("after") or [] if name != "network-online.target"]]
    lines = [
        f"{MARK}: made from the unit of the sequencer. Changes here are overwritten; use a drop-in.",
        "[Unit]",
        f"Description=ev-node sequencer cluster member ({plan.unit})",
        "Wants=network-online.target",
        f"After={' '.join(dict.fromkeys(after))}",
        # No switch, no start: until a mode is chosen this member cannot run by hand, at boot or by accident.
        f"AssertPathExists={plan.config_dir}/{plan.unit}/current",
        *_common_unit(plan),
        "",
        "[Service]",
        "Type=exec",
        f"User={profile['user']}",
        f"Group={profile['group']}",
    ]
    if profile.get("working_directory"):
        # The sequencer's may not exist here, and no path of a member depends on it.
        lines.append(f"WorkingDirectory=-{profile['working_directory']}")
    public, secret = _environment(plan)
    lines += [f"Environment={_escape_percent(_unit_file.quote_assignment(item))}" for item in public]
    lines += [f"EnvironmentFile={path}" for path in profile.get("environment_files") or []]
    if secret:
        lines.append(f"EnvironmentFile={plan.environment_path}")
    lines += _common_service(plan)
    if profile.get("limit_nofile"):
        lines.append(f"LimitNOFILE={profile['limit_nofile']}")
    lines += ["", *_hardening(plan), "", "[Install]", "WantedBy=multi-user.target"]
    return _lines_text(plan, lines)


def _lines_text(plan: Plan, lines: Sequence[str]) -> str:
    # The account of a running node chooses the names of its program and of its directory: a line break in one of them
    # would let it write settings of its own into a unit that root loads.
    for line in lines:
        if any(char in line for char in "\n\r\0"):
            raise MemberUnitError(
                f"Expected no line break in {line.partition('=')[0]}= of {plan.unit}.service, found {line!r}; "
                "rename that path, and find out who gave it its name"
            )
    return "\n".join(lines) + "\n"


def _environment(plan: Plan) -> tuple[list[str], list[str]]:
    """Return the variables for the unit, and those for the file that only root reads."""
    # Of two with one name the last counts, and a file would win over it.
    declared = {item.partition("=")[0]: item for item in plan.profile.get("environment") or []}
    wanted = {name for name, item in declared.items() if secret_assignment(item)}
    secret = [item for item in plan.secret_environment if item.partition("=")[0] in wanted]
    given = {item.partition("=")[0] for item in secret}
    if plan.role == "joiner" and wanted - given:
        raise MemberUnitError(
            f"the sequencer's unit sets {', '.join(sorted(wanted - given))}, and the profile holds fingerprints only; "
            "pass secret_environment from sequencer_info with material=true"
        )
    return [item for name, item in declared.items() if name not in wanted], secret


def _hardening(plan: Plan) -> list[str]:
    profile = plan.profile
    lines = [
        "NoNewPrivileges=yes",
        "ProtectSystem=full",
        "ProtectKernelTunables=yes",
        "ProtectKernelModules=yes",
        "ProtectControlGroups=yes",
        "RestrictSUIDSGID=yes",
        "RestrictRealtime=yes",
        "LockPersonality=yes",
    ]
    written = [str(path) for path in (profile["home"], profile.get("db_path"), plan.raft_dir) if path]
    writable = [path for path in written if _below(path, _READ_ONLY)]
    if writable:
        # "-": the directory may be created later than the unit.
        lines.append("ReadWritePaths=" + " ".join(_quote_path(f"-{path}") for path in dict.fromkeys(writable)))
    signer = (profile.get("signer") or {}).get("path")
    used = [*written, profile["binary"], profile.get("passphrase_file"), profile.get("jwt_file"), signer]
    named = [word.rpartition("=")[2] for word in profile.get("application_flags") or []]
    if not any(_below(str(path), _HOMES) for path in [*used, *named, profile.get("working_directory")] if path):
        lines.append("ProtectHome=yes")
    return lines


def _below(path: str, folders: Sequence[str]) -> bool:
    return any(path == folder or path.startswith(folder + "/") for folder in folders)


def _quote_path(path: str) -> str:
    escaped = _escape_percent(path.replace("\\", "\\\\").replace('"', '\\"'))
    return f'"{escaped}"' if any(char in escaped for char in " \t'\"\\") else escaped


def _escape_percent(text: str) -> str:
    return text.replace("%", "%%")


# --- putting in place ------------------------------------------------------------------------------------------------


def put(plan: Plan, *, check: bool = False) -> Outcome:
    """Put unit and link in place. Raises MemberUnitError where that would change what the node runs with."""
    uid, gid = _owner(plan, check=check)
    diffs: list[dict[str, str]] = []
    warnings = _foreign_drop_ins(plan)
    if plan.role == "sequencer":
        _require_same_meaning(plan, check=check)
    text = unit_text(plan)
    found_unit = read_bytes(plan.unit_path)
    before_unit = (found_unit or b"").decode("utf-8", "replace")
    unit_changes = before_unit != text or _mode_of(plan.unit_path) != 0o644
    link_before = _describe(plan.yaml_path)
    link_changes = read_link(plan.yaml_path) != plan.yaml_target
    secret = _environment(plan)[1] if plan.role == "joiner" else []
    if unit_changes:
        diffs.append(_diff(plan.unit_path, _shown(found_unit or b""), text))
    if link_changes:
        diffs.append(_diff(plan.yaml_path, link_before, f"link to {plan.yaml_target}\n"))
    secret_data = "".join(f"{_environment_line(item)}\n" for item in secret).encode()
    environment_changes = bool(secret) and (
        read_bytes(plan.environment_path) != secret_data or _mode_of(plan.environment_path) != 0o600
    )
    if environment_changes:
        names = "".join(f"{item.partition('=')[0]}=...\n" for item in secret)
        diffs.append(_diff(plan.environment_path, "", names))
    changed = unit_changes or link_changes or environment_changes
    if check or not changed:
        return Outcome(changed, unit_changes, diffs, warnings)
    _save_original(plan)
    if environment_changes:
        make_dirs(os.path.dirname(plan.environment_path), mode=0o755)
        write_atomic(plan.environment_path, secret_data, mode=0o600)
    if unit_changes:
        make_dirs(os.path.dirname(plan.unit_path), mode=0o755)
        write_atomic(plan.unit_path, text.encode(), mode=0o644)
    if link_changes:
        folder = os.path.dirname(plan.yaml_path)
        if not os.path.isdir(folder):
            make_dirs(folder, mode=0o750, uid=uid, gid=gid)
        switch_link(plan.yaml_path, plan.yaml_target)
    return Outcome(True, unit_changes, diffs, warnings)


def _environment_line(assignment: str) -> str:
    name, _equals, value = assignment.partition("=")
    escaped = "".join(f"\\{char}" if char in '\\"`$' else char for char in value)
    return f'{name}="{escaped}"'


def _require_same_meaning(plan: Plan, *, check: bool) -> None:
    """Refuse to arm unless a restart right now would start the node exactly as it runs today."""
    mode = _mode.current(plan.config_dir, plan.unit)
    if mode == _mode.ABSENT:
        # A dry run comes before the switch is made.
        if check:
            return
        raise MemberUnitError(
            f"{_mode.link_path(plan.config_dir, plan.unit)} does not exist, so the sequencer could not start again; "
            "set mode single first"
        )
    if mode != "single":
        return
    missing = _mode.missing_files(plan.config_dir, plan.unit, mode)
    if missing:
        raise MemberUnitError(f"{', '.join(missing)} does not exist; run the config stage first")
    live = b"" if read_link(plan.yaml_path) == plan.yaml_target else read_bytes(plan.yaml_path)
    staged_path = os.path.join(plan.config_dir, plan.unit, "single", "evnode.yaml")
    if read_link(plan.yaml_path) != plan.yaml_target and (live or b"") != (read_bytes(staged_path) or b""):
        raise MemberUnitError(
            f"{plan.yaml_path} is no longer what {staged_path} was made from; run the config stage again"
        )


def _foreign_drop_ins(plan: Plan) -> list[str]:
    """Name drop-ins that change what the collection's unit says."""
    folder = os.path.join(plan.unit_dir, f"{plan.unit}.service.d")
    found = []
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        later = plan.role == "joiner" or name > DROP_IN
        if name.endswith(".conf") and name != DROP_IN and later:
            text = (read_bytes(os.path.join(folder, name)) or b"").decode("utf-8", "replace")
            if any(
                section == "Service" and key.startswith("Exec") for section, key, _value in _unit_file.assignments(text)
            ):
                found.append(
                    f"{os.path.join(folder, name)} changes how {plan.unit} is started and wins over the collection"
                )
    return found


# --- what was there before -------------------------------------------------------------------------------------------


def _save_original(plan: Plan) -> None:
    """Keep what is about to be replaced, once: a second call must not save the collection's own files."""
    record_path = os.path.join(plan.saved_dir, ORIGINAL)
    if os.path.exists(record_path):
        return
    make_dirs(os.path.join(plan.state_dir, plan.unit), mode=0o700)
    make_dirs(plan.saved_dir, mode=0o700)
    record = {"yaml": _snapshot(plan.yaml_path, plan.yaml_target), "unit": None}
    if plan.role == "joiner":
        unit = read_bytes(plan.unit_path)
        if unit is not None and not unit.decode("utf-8", "replace").startswith(MARK):
            record["unit"] = _snapshot(plan.unit_path, "")
    else:
        # For people: rollback needs none of these, the collection changes only its own drop-in.
        for path in [plan.profile.get("fragment_path"), *(plan.profile.get("drop_ins") or [])]:
            data = read_bytes(path) if path else None
            if data is not None and os.path.basename(path) != DROP_IN:
                write_atomic(os.path.join(plan.saved_dir, os.path.basename(path)), data, mode=0o600)
    content = base64.b64decode((record["yaml"] or {}).get("content") or "")
    if content:
        write_atomic(os.path.join(plan.saved_dir, "evnode.yaml"), content, mode=0o600)
    # Last: its presence says that everything above is complete.
    write_atomic(record_path, (json.dumps(record, indent=1) + "\n").encode(), mode=0o600)


def _snapshot(path: str, ours: str) -> dict[str, t.Any] | None:
    link = read_link(path)
    if link is not None:
        return None if link == ours else {"link": link}
    data = read_bytes(path)
    if data is None:
        return None
    info = os.lstat(path)
    return {
        "content": base64.b64encode(data).decode(),
        "mode": info.st_mode & 0o7777,
        "uid": info.st_uid,
        "gid": info.st_gid,
    }


def _restore(path: str, saved: Mapping[str, t.Any] | None) -> None:
    if saved is None:
        if remove_files([path]):
            fsync_dir(os.path.dirname(path))
    elif "link" in saved:
        switch_link(path, str(saved["link"]))
    else:
        write_atomic(
            path,
            base64.b64decode(saved["content"]),
            mode=int(saved["mode"]),
            uid=int(saved["uid"]),
            gid=int(saved["gid"]),
        )


# --- taking away -----------------------------------------------------------------------------------------------------


def remove(plan: Plan, *, active: bool, check: bool = False) -> Outcome:
    """Take unit and link away and put back what was there; nothing happens where nothing of ours is there.

    ``active`` is whether the unit runs; MemberUnitError where that makes it unsafe.
    """
    record_path = os.path.join(plan.saved_dir, ORIGINAL)
    record = _record(record_path)
    unit_before = (read_bytes(plan.unit_path) or b"").decode("utf-8", "replace")
    unit_ours = unit_before.startswith(MARK)
    yaml_ours = read_link(plan.yaml_path) == plan.yaml_target
    leftovers = [path for path in (record_path, plan.environment_path) if os.path.exists(path)]
    if not (unit_ours or yaml_ours or leftovers):
        return Outcome(False, False, [], [])
    mode = _mode.current(plan.config_dir, plan.unit)
    if active and plan.role == "joiner":
        raise MemberUnitError(f"{plan.unit}.service runs (mode {mode}); stop it before its unit is taken away")
    if plan.role == "sequencer" and mode == "raft":
        # Stopped or not: what it starts as afterwards would be a second writer.
        raise MemberUnitError(
            f"{plan.unit}.service is switched to raft, so a cutover was committed; only a rollback, which turns the "
            "switch first, may give it its old command line back"
        )
    warnings: list[str] = []
    yaml_saved = (record or {}).get("yaml")
    if record is None and plan.role == "sequencer" and yaml_ours:
        yaml_saved = _from_single(plan)
        warnings.append(f"{record_path} is missing; {plan.yaml_path} is restored from the saved single configuration")
    unit_saved = (record or {}).get("unit")
    diffs = []
    if yaml_ours:
        diffs.append(_diff(plan.yaml_path, f"link to {plan.yaml_target}\n", _describe_saved(yaml_saved)))
    if unit_ours:
        after = _shown(base64.b64decode((unit_saved or {}).get("content") or ""))
        diffs.append(_diff(plan.unit_path, unit_before, after))
    if check:
        return Outcome(True, unit_ours, diffs, warnings)
    if yaml_ours:
        _restore(plan.yaml_path, yaml_saved)
    if unit_ours:
        _restore(plan.unit_path, unit_saved)
        if plan.role == "sequencer":
            _remove_empty(os.path.dirname(plan.unit_path))
    remove_files([plan.environment_path])
    # Last: until here the call can be repeated.
    if remove_files([record_path]):
        fsync_dir(plan.saved_dir)
    return Outcome(True, unit_ours, diffs, warnings)


def _record(path: str) -> dict[str, t.Any] | None:
    data = read_bytes(path)
    if data is None:
        return None
    try:
        parsed = json.loads(data)
    except ValueError as exc:
        raise MemberUnitError(f"{path} is not JSON; it holds what to put back, so repair it before going on") from exc
    return t.cast("dict[str, t.Any]", parsed)


def _from_single(plan: Plan) -> dict[str, t.Any]:
    path = os.path.join(plan.config_dir, plan.unit, "single", "evnode.yaml")
    data = read_bytes(path)
    if data is None:
        raise MemberUnitError(
            f"neither {plan.saved_dir} nor {path} holds the original evnode.yaml; put it back by hand"
        )
    content = base64.b64encode(data).decode()
    uid, gid = _owner(plan)
    return {"content": content, "mode": 0o600, "uid": uid, "gid": gid}


def _remove_empty(folder: str) -> None:
    try:
        os.rmdir(folder)
    except OSError:
        # Not empty: drop-ins of the operator live there.
        return


def _owner(plan: Plan, *, check: bool = False) -> tuple[int, int]:
    return _account.ids(str(plan.profile["user"]), str(plan.profile["group"]), may_be_missing=check)


def _mode_of(path: str) -> int | None:
    try:
        return os.lstat(path).st_mode & 0o7777
    except FileNotFoundError:
        return None


def _describe(path: str) -> str:
    link = read_link(path)
    if link is not None:
        return f"link to {link}\n"
    return "regular file\n" if os.path.exists(path) else ""


def _describe_saved(saved: Mapping[str, t.Any] | None) -> str:
    if saved is None:
        return ""
    return f"link to {saved['link']}\n" if "link" in saved else "regular file\n"


def _shown(data: bytes) -> str:
    """The text of a unit as a diff may show it: one that somebody else wrote may hold secrets."""
    text = data.decode("utf-8", "replace")
    return text if not text or text.startswith(MARK) else f"{fingerprint(data)}\n"


def _diff(path: str, before: str, after: str) -> dict[str, str]:
    return {"before": before, "after": after, "before_header": path, "after_header": path}
