# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""Run a module from an action plugin without its traffic reaching a verbose log."""

from __future__ import annotations

import contextlib
import typing as t

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure

if t.TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ansible.plugins.action import ActionBase


@contextlib.contextmanager
def quiet(action: ActionBase) -> Iterator[None]:
    """Treat everything inside as ``no_log``: connection plugins print what modules answer from -vvv on."""
    contexts = [action._play_context, getattr(action._connection, "_play_context", None)]
    before = [(context, context.no_log) for context in contexts if context is not None]
    task_before = action._task.no_log
    try:
        for context, _value in before:
            context.no_log = True
        action._task.no_log = True
        yield
    finally:
        for context, value in before:
            context.no_log = value
        action._task.no_log = task_before


def call(
    action: ActionBase, module: str, arguments: Mapping[str, t.Any], task_vars: Mapping[str, t.Any]
) -> dict[str, t.Any]:
    """Run one of the collection's modules on the task's host; AnsibleActionFail with its message where it fails."""
    try:
        with quiet(action):
            answer = action._execute_module(
                module_name=f"evnode.sequencer_ha.{module}", module_args=dict(arguments), task_vars=dict(task_vars)
            )
    except AnsibleConnectionFailure:
        # Why a host cannot be reached is censored there. This says it again, aloud, with nothing to hide.
        action._low_level_execute_command("true", sudoable=False)
        raise
    if answer.get("failed"):
        # The module's own words; its invocation may hold secrets and is left out.
        raise AnsibleActionFail(str(answer.get("msg") or f"{module} failed without a message"))
    return dict(answer)
