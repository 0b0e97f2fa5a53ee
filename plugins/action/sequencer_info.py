# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller half of sequencer_info: two questions to the host, and the YAML between them parsed here."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.evnode.sequencer_ha.plugins.module_utils._errors import HaError
from ansible_collections.evnode.sequencer_ha.plugins.plugin_utils._profile import Reading
from ansible_collections.evnode.sequencer_ha.plugins.plugin_utils._remote import call


class ActionModule(ActionBase):
    """Reads a sequencer."""

    _requires_connection = True
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Return the profile, and the material where it was asked for."""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        _known, options = self.validate_argument_spec(
            argument_spec={
                "unit": {"type": "str", "required": True},
                "config_dir": {"type": "path", "default": "/etc/evnode-ha"},
                "overrides": {"type": "dict", "default": {}},
                "material": {"type": "bool", "default": False},
            }
        )
        overrides = {name: str(value) for name, value in options["overrides"].items() if value not in (None, "")}
        question = {"unit": options["unit"], "config_dir": options["config_dir"], "overrides": overrides}
        raw = call(self, "sequencer_info", question, variables)["raw"]
        try:
            reading = Reading(raw, overrides)
            probed = {}
            if reading.is_somewhere:
                probed = call(self, "sequencer_info", {**question, "probe": reading.request()}, variables)["probed"]
            result.update(changed=False, sequencer=reading.profile(probed))
            if options["material"]:
                result["material"] = reading.material()
        except HaError as exc:
            raise AnsibleActionFail(exc.message) from exc
        return result
