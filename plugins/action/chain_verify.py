# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.evnode.sequencer_ha.plugins.plugin_utils._verdicts import is_blocked, table
from ansible_collections.evnode.sequencer_ha.plugins.plugin_utils._verify import Chain, producing, verify


class ActionModule(ActionBase):
    """Controller side of chain_verify: pure judgement over statuses."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Return the verdicts."""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        _unused, args = self.validate_argument_spec(
            argument_spec={
                "statuses": {"type": "dict", "required": True},
                "earlier": {"type": "dict", "default": {}},
                "seam": {"type": "dict", "default": {}},
                "window": {"type": "list", "elements": "int", "default": []},
                "expect": {"type": "str", "choices": ["raft", "single"], "default": "raft"},
                "quorum": {"type": "int"},
                "max_lag": {"type": "int", "default": 5},
                "require_all": {"type": "bool", "default": True},
            },
        )
        seam = args["seam"] or {}
        if seam and not (str(seam.get("n", "")).isdigit() and seam.get("hash")):
            raise AnsibleActionFail(
                f"Expected n and hash of block N in seam, found n={seam.get('n')} and hash={seam.get('hash')}"
            )
        chain = Chain(
            statuses=args["statuses"],
            seam_height=int(seam["n"]) if seam else None,
            seam_hash=str(seam["hash"]) if seam else None,
            window=args["window"],
            expect=args["expect"],
            quorum=args["quorum"] or len(args["statuses"]) // 2 + 1,
            max_lag=args["max_lag"],
            require_all=args["require_all"],
        )
        verdicts = verify(chain)
        result.update(
            changed=False,
            verdicts=[verdict.as_dict() for verdict in verdicts],
            passed=not is_blocked(verdicts),
            table=table(verdicts),
            producing=producing(chain, args["earlier"]),
        )
        return result
