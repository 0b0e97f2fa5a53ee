# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""follow_progress: asks over the task's connection, counts and prints on the controller."""

from __future__ import annotations

import time
import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.evnode.sequencer_ha.plugins.plugin_utils._follow import Follow, sight_of


class ActionModule(ActionBase):
    """Waits until the follower on the task's host is at the tip."""

    _clock: t.Any = time

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Return height, target and seconds, and on failure the last state seen in words."""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        _unused, args = self.validate_argument_spec(
            argument_spec={
                "rpc_address": {"type": "str", "required": True},
                "target_height": {"type": "int", "required": True},
                "lag": {"type": "int", "default": 2},
                "timeout": {"type": "int", "default": 3600},
                "stall": {"type": "int", "default": 300},
                "interval": {"type": "float", "default": 2.0},
            },
        )
        started = self._clock.monotonic()
        name = str(variables.get("inventory_hostname", "the follower"))
        follow = Follow(name, args["target_height"], lag=args["lag"], stall=args["stall"], now=started)
        printed = ""
        while True:
            line = follow.look(self._ask(args["rpc_address"], variables), self._clock.monotonic())
            if line != printed:
                self._display.display(line)
                printed = line
            now = self._clock.monotonic()
            if follow.reached or self._task.check_mode:
                break
            stuck = follow.stuck(now)
            if stuck:
                result.update(failed=True, msg=f"{stuck}; look at the node's log, and run again once it follows")
                break
            if now - started >= args["timeout"]:
                result.update(
                    failed=True,
                    msg=f"Expected {name} within {args['lag']} blocks of the tip after {args['timeout']} s, found "
                    f"{follow.state()}; give it more time or look at the node's log",
                )
                break
            self._clock.sleep(min(args["interval"], max(0.0, started + args["timeout"] - now)))
        result.update(changed=False, height=follow.height, target=follow.target, seconds=round(now - started, 3))
        return result

    def _ask(self, rpc_address: str, task_vars: dict[str, t.Any]) -> t.Any:
        answer = self._execute_module(
            module_name="evnode.sequencer_ha.node_status_info",
            module_args={"rpc_address": rpc_address},
            task_vars=task_vars,
        )
        return sight_of(answer)
