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
        files: list[dict[str, t.Any]] = []
        diffs: list[dict[str, str]] = []
        folder = f"{options['config_dir'].rstrip('/')}/{options['profile']['unit']}"
        for mode, content in made.modes.items():
            wanted = (
                ("args.env", arguments_file(content.arguments).encode("utf-8", "surrogateescape"), "0600", "root"),
                ("evnode.yaml", content.yaml, "0640", str(options["profile"]["group"])),
            )
            for name, data, file_mode, group in wanted:
                self._write(f"{folder}/{mode}/{name}", data, (file_mode, group), task_vars or {}, files, diffs)
        result.update(
            changed=any(item["changed"] for item in files),
            files=files,
            arguments={mode: _shown(content.arguments) for mode, content in made.modes.items()},
            seal_arguments=_shown(made.seal_arguments),
            conflicts=made.conflicts,
        )
        if diffs:
            result["diff"] = diffs
        return result

    def _write(
        self,
        path: str,
        data: bytes,
        ownership: tuple[str, str],
        task_vars: dict[str, t.Any],
        files: list[dict[str, t.Any]],
        diffs: list[dict[str, str]],
    ) -> None:
        file_mode, group = ownership
        before = b""
        if self._task.diff:
            answer = call(self, "secret_read", {"path": path, "max_bytes": 4194304}, task_vars)
            before = base64.b64decode(answer.get("content") or "")
        answer = call(
            self,
            "secret_write",
            {
                "path": path,
                "content": base64.b64encode(data).decode(),
                "mode": file_mode,
                "owner": "root",
                "group": group,
                "parents_mode": "0755",
            },
            task_vars,
        )
        changed = bool(answer.get("changed"))
        files.append({"path": path, "changed": changed})
        if changed and self._task.diff:
            diffs.append(
                {
                    "before": redacted(before.decode("utf-8", "replace")) if before else "",
                    "after": redacted(data.decode("utf-8", "replace")),
                    "before_header": path,
                    "after_header": path,
                }
            )


def _shown(arguments: list[str]) -> list[str]:
    return _member_files._node_flags.mask_arguments(arguments)
