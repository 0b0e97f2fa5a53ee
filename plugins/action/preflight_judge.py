# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.evnode.sequencer_ha.plugins.plugin_utils._preflight import Evidence, judge
from ansible_collections.evnode.sequencer_ha.plugins.plugin_utils._verdicts import is_blocked, table


class ActionModule(ActionBase):
    """Controller side of preflight_judge: pure judgement over what was read."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Return the verdicts."""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        _unused, args = self.validate_argument_spec(
            argument_spec={
                "sequencer": {"type": "dict", "default": {}},
                "hosts": {"type": "dict", "required": True},
                "inventory": {
                    "type": "dict",
                    "required": True,
                    "options": {
                        "members": {"type": "list", "elements": "dict", "required": True},
                        "sequencer": {"type": "list", "elements": "str", "required": True},
                        "joiners": {"type": "list", "elements": "str", "required": True},
                    },
                },
                "rtt": {"type": "dict", "default": {}},
                "ports": {"type": "dict", "default": {}},
                "outside": {"type": "list", "elements": "dict", "default": []},
                "options": {"type": "dict", "default": {}},
            },
        )
        inventory = args["inventory"]
        verdicts = judge(
            Evidence(
                sequencer=args["sequencer"],
                hosts=args["hosts"],
                members=inventory["members"],
                sequencers=inventory["sequencer"],
                joiners=inventory["joiners"],
                rtt=args["rtt"],
                ports=args["ports"],
                outside=args["outside"],
                options=args["options"],
            )
        )
        result.update(
            changed=False,
            verdicts=[verdict.as_dict() for verdict in verdicts],
            blocked=is_blocked(verdicts),
            table=table(verdicts),
        )
        return result
