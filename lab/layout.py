# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Layouts: how an operator has set up the sequencer that the lab's first host runs."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lab.errors import LabError

LAYOUTS = Path(__file__).resolve().parent / "layouts"

_PLACEHOLDER = re.compile(r"@([a-z0-9_]+)@")
_KEYS = {
    "unit", "user", "group", "user_home", "home", "binary", "passphrase_file", "chain_id", "ports", "settings",
    "application", "unit_file", "drop_ins", "files", "inventory_vars", "ipv6",
}  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """One operator's way of running a sequencer; paths are absolute paths on the host.

    `settings` are dotted evnode.yaml keys. `unit_file`, `drop_ins`, `files` and `settings` may hold `@name@`
    placeholders, filled by `render`.
    """

    name: str
    unit: str
    user: str
    group: str
    user_home: str
    home: str
    binary: str
    passphrase_file: str
    chain_id: str
    ports: dict[str, int]
    settings: dict[str, Any]
    application: str
    """The application's own flags, for a chain without an execution client."""
    unit_file: str
    drop_ins: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    inventory_vars: dict[str, Any] = field(default_factory=dict)
    ipv6: bool = False
    """Whether members reach each other over IPv6, where the lab machine can."""

    def names(self, *, address: str, da_address: str, application: str = "") -> dict[str, str]:
        """The values of the placeholders for a host with this address; `application` in place of the layout's own."""
        ports = {f"{kind}_port": str(port) for kind, port in self.ports.items()}
        return {
            "address": address,
            "any": "/ip6/::" if ":" in address else "/ip4/0.0.0.0",
            "da_address": da_address,
            "unit": self.unit,
            "user": self.user,
            "group": self.group,
            "user_home": self.user_home,
            "home": self.home,
            "binary": self.binary,
            "passphrase_file": self.passphrase_file,
            "chain_id": self.chain_id,
            "application": application or render(self.application, ports),
            **ports,
        }


def render(text: str, names: dict[str, str]) -> str:
    """Fill the `@name@` placeholders of `text`; LabError for a name that is not there."""

    def value(match: re.Match[str]) -> str:
        try:
            return names[match.group(1)]
        except KeyError:
            known = ", ".join(sorted(names))
            raise LabError(f"layout placeholder {match.group(0)} is unknown; known are: {known}") from None

    return _PLACEHOLDER.sub(value, text)


def available(folder: Path = LAYOUTS) -> list[str]:
    """Names of the layouts that exist."""
    return sorted(path.stem for path in folder.glob("*.yml"))


def load(name: str, folder: Path = LAYOUTS) -> Layout:
    """Read the layout `name`; LabError when it is missing, incomplete or has keys that mean nothing."""
    path = folder / f"{name}.yml"
    if name not in available(folder):
        raise LabError(f"LAB_LAYOUT={name}: no such layout; there are: {', '.join(available(folder))}")
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    unknown = sorted(set(data) - _KEYS)
    missing = sorted(_KEYS - {"drop_ins", "files", "inventory_vars", "ipv6"} - set(data))
    if unknown or missing:
        raise LabError(f"{path}: unknown keys {unknown}, missing keys {missing}")
    return Layout(name=name, **data)


def merge_settings(document: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """A copy of a parsed evnode.yaml with dotted `settings` put in their sections."""
    merged: dict[str, Any] = {key: dict(value) if isinstance(value, dict) else value for key, value in document.items()}
    for dotted, value in settings.items():
        *sections, leaf = dotted.split(".")
        place = merged
        for section in sections:
            inner = place.get(section)
            place[section] = dict(inner) if isinstance(inner, dict) else {}
            place = place[section]
        place[leaf] = value
    return merged
