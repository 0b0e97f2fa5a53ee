# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import getpass
import os
import socket
import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.evnode.sequencer_ha.plugins.plugin_utils import _controller


class ActionModule(ActionBase):
    """Controller side of run_lock: says who asks, and knows whether a run of this controller is gone."""

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Take or free the lock."""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        own = {"id": _controller.identity(os.getppid()), "user": getpass.getuser(), "host": socket.gethostname()}
        asked = {**self._task.args, "controller": own}
        answer = self._execute_module(module_args=asked, task_vars=task_vars)
        holder = answer.get("holder") or {}
        if answer.get("failed") and _controller.gone(str(holder.get("controller") or "")):
            answer = self._execute_module(module_args={**asked, "take_over": True}, task_vars=task_vars)
        result.update(answer)
        return result
