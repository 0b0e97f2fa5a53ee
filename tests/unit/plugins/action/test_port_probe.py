# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ports tried from two places in one step, with a real port on this machine."""

from __future__ import annotations

import socket
import types
import typing as t
from unittest.mock import MagicMock

from ansible_collections.evnode.sequencer_ha.plugins.action.port_probe import ActionModule


def run(arguments: dict[str, t.Any]) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
    asked: dict[str, t.Any] = {}

    def execute(module_args: dict[str, t.Any], task_vars: object) -> dict[str, t.Any]:
        asked.update(module_args)
        return {"changed": False, "ports": []}

    task = types.SimpleNamespace(args=arguments, check_mode=False, async_val=0, action="x")
    action = ActionModule(task, MagicMock(), types.SimpleNamespace(), MagicMock(), MagicMock(), MagicMock())
    action._execute_module = execute
    return action.run(task_vars={}), asked


def test_the_controller_tries_a_port_while_the_host_tries_others() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        target = {"peer": "node-2", "address": "127.0.0.1", "port": server.getsockname()[1]}
        result, asked = run({"state": "connect", "targets": [], "from_controller": [target]})
    assert asked == {"state": "connect", "targets": []}
    (found,) = result["outside"]
    assert (found["peer"], found["state"], found["source"]) == ("node-2", "open", "127.0.0.1")


def test_without_a_target_of_its_own_it_is_the_module_alone() -> None:
    result, asked = run({"state": "absent"})
    assert asked == {"state": "absent"} and "outside" not in result
