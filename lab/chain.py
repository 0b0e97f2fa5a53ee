# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A chain with a single sequencer on the lab's first host, set up the way the layout's operator would have."""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from lab import execution, fleet, machine, processes
from lab.errors import LabError
from lab.layout import merge_settings, render
from lab.rpc import Node, RpcError
from lab.settings import Host, Settings
from lab.shell import wait_for

DA_PORT = 7980
# The stand-in publishes nothing; something has to accept connections where a DA node would.
NO_DA = f"{shlex.quote(sys.executable)} -m http.server --bind {{address}} --directory da {{port}}"
BLOCKS_TIMEOUT_S = 60.0


def binary(lab: Settings, environ: Mapping[str, str] = os.environ) -> Path:
    """The node's binary on the lab machine: EVNODE_BINARY, else the stand-in. LabError when it is not there."""
    chosen = environ.get("EVNODE_BINARY")
    path = Path(chosen).resolve() if chosen else lab.checkout / "build" / "standin" / "evnode-standin"
    if not (path.is_file() and os.access(path, os.X_OK)):
        remedy = "set EVNODE_BINARY to an executable file" if chosen else "run `make standin`"
        raise LabError(f"no node binary at {path}; {remedy}")
    return path


def da_address(lab: Settings, environ: Mapping[str, str] = os.environ) -> str:
    """Where the chain finds its DA node, as the hosts see it."""
    return environ.get("DA_ADDRESS") or f"http://{lab.gateway}:{DA_PORT}"


def _da_record(lab: Settings) -> Path:
    return lab.run_dir / "da.pid.json"


def start_da(lab: Settings, environ: Mapping[str, str] = os.environ) -> None:
    """Run DA_COMMAND and wait until it listens; `down` ends it.

    `{address}` and `{port}` in the command stand for where the hosts will look for it.
    """
    command = environ.get("DA_COMMAND") or NO_DA
    if processes.recorded(_da_record(lab)) is not None:
        return
    (lab.state / "da").mkdir(exist_ok=True)
    argv = shlex.split(command.replace("{address}", lab.gateway).replace("{port}", str(DA_PORT)))
    log = lab.state / "da.log"
    try:
        da = processes.start(argv, record=_da_record(lab), log=log, cwd=lab.state)
    except OSError as error:
        raise LabError(f"DA_COMMAND: {argv[0]}: {error.strerror}") from error

    def missing() -> str | None:
        if not da.alive():
            tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-3:]
            raise LabError(f"DA_COMMAND ended at once: {' / '.join(tail)}")
        try:
            socket.create_connection((lab.gateway, DA_PORT), timeout=1).close()
        except OSError as error:
            return f"{lab.gateway}:{DA_PORT}: {error}"
        return None

    wait_for("DA node", missing, timeout=30)


def restore(lab: Settings, name: str) -> None:
    """Put all hosts back to what `fleet.save` kept, with an empty DA node: it would know blocks yet to be made."""
    processes.end(_da_record(lab), soft=5)
    start_da(lab)
    fleet.restore(lab, name)


def edit_yaml(text: str, settings: Mapping[str, Any]) -> str:
    """Change dotted `settings` in a two-level YAML text by hand, as an operator does: comments and order stay.

    LabError when the result would not mean exactly the old document with the settings in it.
    """
    wanted = merge_settings(yaml.safe_load(text) or {}, dict(settings))
    lines = text.splitlines()
    for dotted, value in settings.items():
        section, _dot, leaf = dotted.rpartition(".")
        shown = yaml.safe_dump(value, default_flow_style=True, width=10_000).splitlines()[0]
        _set_line(lines, section, leaf, shown)
    edited = "\n".join(lines) + "\n"
    try:
        same = yaml.safe_load(edited) == wanted
    except yaml.YAMLError:
        same = False
    if not same:
        raise LabError(f"evnode.yaml could not be edited to hold {', '.join(settings)}")
    return edited


def _set_line(lines: list[str], section: str, leaf: str, shown: str) -> None:
    first, last, indent = 0, len(lines), ""
    if section:
        heads = [number for number, line in enumerate(lines) if line.split("#")[0].rstrip() == f"{section}:"]
        if not heads:
            if any(line.startswith(f"{section}:") for line in lines):
                raise LabError(f"evnode.yaml: section {section} is not written in lines of its own: {section}.{leaf}")
            lines += [f"{section}:", f"  {leaf}: {shown}"]
            return
        first = heads[0] + 1
        ends = (number for number in range(first, len(lines)) if lines[number] and lines[number][0] not in " #")
        last = next(ends, len(lines))
        inner = (line for line in lines[first:last] if line.strip() and not line.lstrip().startswith("#"))
        child = next(inner, "  ")
        indent = child[: len(child) - len(child.lstrip(" "))] or "  "
    for number in range(first, last):
        if lines[number].startswith(f"{indent}{leaf}:"):
            lines[number] = f"{indent}{leaf}: {shown}"
            return
    lines.insert(last, f"{indent}{leaf}: {shown}")


def up(lab: Settings) -> int:
    """Install and start the chain on the first host and return the height it has reached.

    A chain that already produces stays as it is. LabError, with the unit's last words, when no blocks appear.
    """
    program = binary(lab)
    fleet.up(lab)
    start_da(lab)
    host = lab.hosts[0]
    if not (machine.root(host) / "etc/systemd/system" / f"{lab.layout.unit}.service").exists():
        # Before the node's own unit, whose presence says that all of this is done.
        application = execution.flags(execution.up(lab)) if execution.wanted() else ""
        address = fleet.member_address(lab, host)
        names = lab.layout.names(address=address, da_address=da_address(lab), application=application)
        _install(lab, host, program, names)
        machine.execute(host, ["systemctl", "daemon-reload"])
        machine.execute(host, ["systemctl", "enable", "--quiet", f"{lab.layout.unit}.service"])
    machine.execute(host, ["systemctl", "start", f"{lab.layout.unit}.service"])
    return wait_for_blocks(lab, host, above=1)


def _install(lab: Settings, host: Host, program: Path, names: dict[str, str]) -> None:
    layout, root = lab.layout, machine.root(host)

    def put(path: str, text: str, mode: int, user: str = "root", group: str = "root") -> None:
        target = root / path.lstrip("/")
        machine.execute(host, ["mkdir", "--parents", os.path.dirname(path)])
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        machine.execute(host, ["chown", f"{user}:{group}", path])
        target.chmod(mode)

    if machine.execute(host, ["getent", "group", layout.group], check=False).returncode != 0:
        machine.execute(host, ["groupadd", "--system", layout.group])
    if machine.execute(host, ["getent", "passwd", layout.user], check=False).returncode != 0:
        account = ["--system", "--gid", layout.group, "--home-dir", layout.user_home, "--create-home"]
        machine.execute(host, ["useradd", *account, "--shell", "/usr/sbin/nologin", layout.user])
    machine.execute(host, ["mkdir", "--parents", os.path.dirname(layout.binary)])
    installed = root / layout.binary.lstrip("/")
    shutil.copyfile(program, installed)
    installed.chmod(0o755)
    machine.execute(host, ["install", "-d", "-m", "0750", "-o", layout.user, "-g", layout.group, layout.home])
    own = layout.passphrase_file.startswith(f"{layout.home}/")
    owner, mode = (layout.user, 0o600) if own else ("root", 0o640)
    put(layout.passphrase_file, secrets.token_urlsafe(24) + "\n", mode, owner, layout.group)
    init = [layout.binary, "init", "--home", layout.home, "--chain_id", layout.chain_id]
    init += ["--evnode.node.aggregator", f"--evnode.signer.passphrase_file={layout.passphrase_file}"]
    plain = ["env", "-i", f"PATH={machine.PATH}", f"HOME={layout.user_home}"]
    machine.execute(host, ["runuser", "--user", layout.user, "--", *plain, *init])
    settings = {
        key: render(value, names) if isinstance(value, str) else value for key, value in layout.settings.items()
    }
    config = root / layout.home.lstrip("/") / "config" / "evnode.yaml"
    config.write_text(edit_yaml(config.read_text(encoding="utf-8"), settings), encoding="utf-8")
    unit = f"/etc/systemd/system/{layout.unit}.service"
    if execution.wanted():
        execution.give_secret(host, lab)
        put(f"{unit}.d/client.conf", execution.DROP_IN, 0o644)
    for path, text in layout.files.items():
        put(path, render(text, names), 0o644)
    for name, text in layout.drop_ins.items():
        put(f"{unit}.d/{name}", render(text, names), 0o644)
    # Last, because its presence says that all of this is done.
    put(unit, render(layout.unit_file, names), 0o644)


def node(lab: Settings, host: Host) -> Node:
    """The RPC of the node on a host, at the layout's port."""
    return Node(host, lab.layout.ports["rpc"])


def wait_for_blocks(lab: Settings, host: Host, *, above: int, timeout: float = BLOCKS_TIMEOUT_S) -> int:
    """Wait until a host's node has a block above a height and return its height."""
    rpc = node(lab, host)
    unit = f"{lab.layout.unit}.service"
    height = 0

    def missing() -> str | None:
        nonlocal height
        try:
            height = rpc.height()
        except RpcError as error:
            state = machine.execute(host, ["systemctl", "is-active", unit], check=False).stdout.strip()
            if state == "failed":
                raise LabError(f"{unit} on {host.name} has failed") from error
            return f"unit {state}, {error}"
        return None if height > above else f"height {height}"

    try:
        wait_for(f"blocks above {above} on {host.name}", missing, timeout=timeout, interval=0.2)
    except LabError as error:
        said = machine.execute(host, ["journalctl", "--unit", unit, "--lines=5", "--output=cat"], check=False).stdout
        raise LabError(f"{error}; {unit} said: {' / '.join(said.splitlines())}") from error
    finally:
        rpc.close()
    return height
