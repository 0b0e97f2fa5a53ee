# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which lab: name, addresses and folders, all from the environment and the checkout."""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lab.errors import LabError
from lab.layout import Layout, load

CHECKOUT = Path(__file__).resolve().parent.parent
MOST_HOSTS = 5
LOGIN_USER = "operator"


@dataclass(frozen=True)
class Host:
    """One machine of a lab."""

    lab: str
    lab_index: int
    number: int
    state: Path
    run_dir: Path

    @property
    def name(self) -> str:
        return f"node-{self.number}"

    @property
    def address(self) -> str:
        return f"10.87.{self.lab_index}.{10 + self.number}"

    @property
    def address6(self) -> str:
        return f"fd87::{self.lab_index}:{10 + self.number}"

    @property
    def netns(self) -> str:
        return f"evnode-lab-{self.lab}-{self.name}"

    @property
    def netns_path(self) -> Path:
        return Path("/run/netns") / self.netns

    @property
    def port(self) -> str:
        """Name of the host's port on the switch."""
        return f"port-{self.number}"

    @property
    def machine(self) -> str:
        return f"evlab-{self.lab}-{self.name}"

    @property
    def folder(self) -> Path:
        return self.state / "hosts" / self.name

    @property
    def upper(self) -> Path:
        """Everything that this host has written: the upper folder of its overlay."""
        return self.folder / "upper"

    @property
    def console(self) -> Path:
        return self.folder / "console.log"

    @property
    def record(self) -> Path:
        """Where the pid of the running machine is kept; in /run, so that a reboot forgets it."""
        return self.run_dir / f"{self.name}.json"


@dataclass(frozen=True)
class Settings:
    """A lab as asked for by the environment."""

    name: str
    index: int
    layout: Layout
    checkout: Path
    cache: Path
    size: int = MOST_HOSTS

    @property
    def state(self) -> Path:
        return self.checkout / "build" / "lab" / self.name

    @property
    def run_dir(self) -> Path:
        return Path("/run/evnode-lab") / self.name

    @property
    def inventory(self) -> Path:
        return self.state / "inventory.yml"

    @property
    def ssh_key(self) -> Path:
        return self.state / "ssh" / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        return self.state / "ssh" / "known_hosts"

    @property
    def gateway(self) -> str:
        """The lab machine's own address on the lab's network."""
        return f"10.87.{self.index}.1"

    @property
    def subnet(self) -> str:
        return f"10.87.{self.index}.0/24"

    @property
    def switch_netns(self) -> str:
        return f"evnode-lab-{self.name}-switch"

    @property
    def uplink(self) -> str:
        """The lab machine's interface on the lab's network."""
        return f"evlab{self.index}"

    @property
    def hosts(self) -> list[Host]:
        return self.possible[: self.size]

    @property
    def possible(self) -> list[Host]:
        """Every host that an earlier lab of this name may have had."""
        return [Host(self.name, self.index, number, self.state, self.run_dir) for number in range(1, MOST_HOSTS + 1)]

    def host(self, name: str) -> Host:
        """The host of that name; LabError when there is none."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise LabError(f"no host {name!r} in the lab; there are: {', '.join(host.name for host in self.hosts)}")


def made_path(checkout: Path, name: str) -> Path:
    """Where a lab keeps what its hosts were made from."""
    return checkout / "build" / "lab" / name / "made.json"


def made(path: Path) -> dict[str, Any] | None:
    """What an existing lab was made from; None when there is none."""
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data


def index_for(name: str) -> int:
    """A stable number 0..9 for a lab's name: `lab` is 0, others are spread over 1..9."""
    return 0 if name == "lab" else 1 + zlib.crc32(name.encode()) % 9


def beside(first: Settings, count: int) -> list[Settings]:
    """Labs that can be up at the same time, named and numbered after the first, which is none of them."""
    indexes = [index for index in range(1, 10) if index != first.index]
    start = first.index % len(indexes)
    numbers = [*indexes[start:], *indexes[:start]]
    return [
        replace(first, name=f"{first.name}-{number}", index=index)
        for number, index in zip(range(1, count + 1), numbers, strict=False)
    ]


def from_environment(environ: Mapping[str, str] = os.environ, checkout: Path = CHECKOUT) -> Settings:
    """Read LAB_NAME, LAB_INDEX, LAB_HOSTS, LAB_LAYOUT and EVNODE_LAB_CACHE; LabError for what cannot be used.

    What is not set there is taken from the lab of that name, if one exists.
    """
    name = environ.get("LAB_NAME") or "lab"
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,19}", name):
        raise LabError(f"LAB_NAME={name!r}: expected a lower-case letter, then up to 19 letters, digits or hyphens")
    exists = made(made_path(checkout, name)) or {}
    index = environ.get("LAB_INDEX") or str(exists.get("index", index_for(name)))
    if not re.fullmatch(r"[0-9]", index):
        raise LabError(f"LAB_INDEX={index!r}: expected one digit, 0 to 9")
    size = environ.get("LAB_HOSTS") or str(exists.get("hosts", MOST_HOSTS))
    if size not in ("3", "5"):
        raise LabError(f"LAB_HOSTS={size!r}: expected 3 or 5")
    cache = environ.get("EVNODE_LAB_CACHE") or "~/.cache/evnode-lab"
    return Settings(
        name=name,
        index=int(index),
        layout=load(environ.get("LAB_LAYOUT") or str(exists.get("layout", "default"))),
        checkout=checkout,
        cache=Path(cache).expanduser().resolve(),
        size=int(size),
    )
