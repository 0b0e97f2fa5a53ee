# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""member_config: made on the controller, which has PyYAML and netaddr, and written on the member."""

from __future__ import annotations

import base64
import binascii
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.evnode.sequencer_ha.plugins.module_utils._errors import HaError
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._unit_file import arguments_file
from ansible_collections.evnode.sequencer_ha.plugins.plugin_utils import _member_files
from ansible_collections.evnode.sequencer_ha.plugins.plugin_utils._member_files import Request, build, redacted
from ansible_collections.evnode.sequencer_ha.plugins.plugin_utils._remote import call

_SPEC: dict[str, dict[str, t.Any]] = {
    "profile": {"type": "dict", "required": True},
    "base": {"type": "str", "required": True, "no_log": True},
    "arguments": {"type": "str", "default": "", "no_log": True},
    "member": {
        "type": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "node_id": {"type": "str", "required": True},
            "address": {"type": "str", "required": True},
        },
    },
    "members": {"type": "list", "elements": "dict", "required": True},
    "raft_port": {"type": "int", "required": True},
    "raft_dir": {"type": "path", "required": True},
    "timings": {"type": "dict", "required": True},
    "trailing_logs": {"type": "int", "default": 200},
    "snapshot_threshold": {"type": "int", "default": 500},
    "snap_count": {"type": "int", "default": 3},
    "first_leader": {"type": "bool", "default": False},
    "anchors": {"type": "list", "elements": "str", "default": []},
    "extra_peers": {"type": "list", "elements": "str", "default": []},
    "stage": {"type": "str", "default": "first", "choices": ["first", "final"]},
    "mode_dirs": {
        "type": "list",
        "elements": "str",
        "default": ["follower", "raft"],
        "choices": list(_member_files.MODES),
    },
    "application_flags": {"type": "list", "elements": "str"},
    "config_dir": {"type": "path", "default": "/etc/evnode-ha"},
    "overrides": {"type": "dict", "default": {}},
}


class ActionModule(ActionBase):
    """Writes a member's command lines and files."""

    _requires_connection = True
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Return which files changed, with a redacted diff where one was asked for."""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        _known, options = self.validate_argument_spec(argument_spec=_SPEC)
        if options["snap_count"] < 1:
            raise AnsibleActionFail("snap_count must be 1 or more; a node that keeps no snapshot does not start")
        try:
            base = base64.b64decode("".join(options["base"].split()), validate=True)
        except (binascii.Error, ValueError) as exc:
            raise AnsibleActionFail("base is not Base64; pass what sequencer_info or secret_read returned") from exc
        try:
            request = Request(
                profile=options["profile"],
                base=base,
                arguments=_member_files.read_arguments(options["arguments"], options["profile"]),
                member=options["member"],
                members=_member_files.members_from(options["members"]),
                raft_port=options["raft_port"],
                raft_dir=options["raft_dir"],
                timings={name: str(value) for name, value in options["timings"].items()},
                snap_count=options["snap_count"],
                snapshot_threshold=options["snapshot_threshold"],
                trailing_logs=options["trailing_logs"],
                first_leader=options["first_leader"],
                stage=options["stage"],
                anchors=options["anchors"],
                extra_peers=options["extra_peers"],
                overrides=options["overrides"],
                application_flags=options["application_flags"],
            )
            made = build(request, options["mode_dirs"])
        except HaError as exc:
            raise AnsibleActionFail(exc.message) from exc
        wanted = _wanted(options, made)
        before = self._before([file["path"] for file in wanted], task_vars or {}) if self._task.diff else {}
        files = call(self, "secret_write", {"files": wanted}, task_vars or {})["files"]
        changed = {file["path"] for file in files if file["changed"]}
        result.update(
            changed=bool(changed),
            files=[{"path": file["path"], "changed": file["changed"]} for file in files],
            arguments={mode: _shown(content.arguments) for mode, content in made.modes.items()},
            seal_arguments=_shown(made.seal_arguments),
            conflicts=made.conflicts,
        )
        if before and changed:
            result["diff"] = [_diff(file, before[file["path"]]) for file in wanted if file["path"] in changed]
        return result

    def _before(self, paths: list[str], task_vars: dict[str, t.Any]) -> dict[str, str]:
        """What the files hold now, in Base64."""
        answer = call(self, "secret_read", {"paths": paths, "max_bytes": 4194304}, task_vars)
        return {file["path"]: file["content"] for file in answer["files"]}


def _wanted(options: dict[str, t.Any], made: _member_files.Files) -> list[dict[str, str]]:
    """The files of each mode, as secret_write takes them."""
    folder = f"{options['config_dir'].rstrip('/')}/{options['profile']['unit']}"
    files = []
    for mode, content in made.modes.items():
        arguments = arguments_file(content.arguments).encode("utf-8", "surrogateescape")
        group = str(options["profile"]["group"])
        for name, data, file_mode, readers in (
            ("args.env", arguments, "0600", "root"),
            ("evnode.yaml", content.yaml, "0640", group),
        ):
            text = base64.b64encode(data).decode()
            owner = {"owner": "root", "group": readers, "mode": file_mode, "parents_mode": "0755"}
            files.append({"path": f"{folder}/{mode}/{name}", "content": text, **owner})
    return files


def _diff(file: dict[str, str], before: str) -> dict[str, str]:
    was, becomes = (base64.b64decode(text).decode("utf-8", "replace") for text in (before, file["content"]))
    return {
        "before": redacted(was) if was else "",
        "after": redacted(becomes),
        "before_header": file["path"],
        "after_header": file["path"],
    }


def _shown(arguments: list[str]) -> list[str]:
    return _member_files._node_flags.mask_arguments(arguments)
