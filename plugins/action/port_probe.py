# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import concurrent.futures
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.evnode.sequencer_ha.plugins.module_utils._errors import HaError
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._port import connect, targets

# The controller's way to a port is short, and one that is filtered, as it should be, must not hold up everything.
_TIMEOUT = 1.0


class ActionModule(ActionBase):
    """Runs port_probe on the host and tries targets from the controller meanwhile."""

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Return what the host found, and in ``outside`` what the controller did."""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        given = dict(self._task.args)
        try:
            tried = targets(given.pop("from_controller", []))
        except HaError as exc:
            raise AnsibleActionFail(exc.message) from exc
        with concurrent.futures.ThreadPoolExecutor(1) as own:
            outside = own.submit(connect, tried, timeout=_TIMEOUT) if tried else None
            result.update(self._execute_module(module_args=given, task_vars=task_vars))
            if outside is not None:
                result["outside"] = outside.result()
        return result
