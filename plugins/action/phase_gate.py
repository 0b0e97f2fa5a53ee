# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.evnode.sequencer_ha.plugins.plugin_utils._receipts import judge


class ActionModule(ActionBase):
    """Controller side of phase_gate: reads what members registered, contacts no host."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Return whether the receipts allow to go on."""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        _unused, args = self.validate_argument_spec(
            argument_spec={
                "receipt": {"type": "str", "required": True},
                "members": {"type": "list", "elements": "str", "required": True},
                "equal": {"type": "list", "elements": "str", "default": []},
                "quorum": {"type": "int"},
            },
        )
        hostvars = (task_vars or {})["hostvars"]
        receipts = {member: self._registered(hostvars, member, args["receipt"]) for member in args["members"]}
        verdict = judge(receipts, equal=args["equal"], quorum=args["quorum"])
        result.update(changed=False, passed=verdict.passed, problems=verdict.problems, good=verdict.good)
        return result

    @staticmethod
    def _registered(hostvars: t.Any, member: str, name: str) -> dict[str, t.Any] | None:
        if member not in hostvars:
            return {"failed": True, "msg": "is not in the inventory"}
        found = hostvars[member].get(name)
        return found if isinstance(found, dict) else None
