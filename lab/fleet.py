# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The five hosts together: up, down, inventory, save and restore."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from lab import image, machine, network, processes, settings
from lab.errors import LabError
from lab.settings import LOGIN_USER, MOST_HOSTS, Host, Settings
from lab.shell import run, wait_for

BOOT_TIMEOUT_S = 60.0

_T = TypeVar("_T")


def each(hosts: Iterable[Host], do: Callable[[Host], _T]) -> list[_T]:
    """Do something on several hosts at once; the first error is raised when all have ended."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=MOST_HOSTS) as pool:
        return list(pool.map(do, hosts))


@contextlib.contextmanager
def exclusive(lab: Settings, timeout: float = 300.0) -> Iterator[None]:
    """Keep other commands from changing this lab meanwhile; LabError when they have not ended within `timeout`.

    An abstract socket is the lock: it ends with the process and leaves no file.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as lock:

        def missing() -> str | None:
            try:
                lock.bind(f"\0evnode-lab-{lab.name}")
            except OSError:
                return "another command is at work on it"
            return None

        wait_for(f"lab {lab.name!r}", missing, timeout=timeout)
        yield


def check_machine() -> None:
    """LabError when this cannot be a lab machine."""
    if not sys.platform.startswith("linux"):
        raise LabError(f"the lab needs Linux, this is {sys.platform}")
    if os.geteuid() != 0:
        raise LabError("the lab makes network namespaces and boots machines: run it as root on the lab machine")
    needed = ("systemd-nspawn", "debootstrap", "nft", "ip", "ssh-keygen", "nsenter", "unshare")
    missing = [tool for tool in needed if shutil.which(tool) is None]
    if missing:
        raise LabError(f"not installed on the lab machine: {', '.join(missing)}; run `make tools`")


def made(lab: Settings) -> dict[str, Any] | None:
    """What the existing lab of this name was made from; None when there is none."""
    return settings.made(settings.made_path(lab.checkout, lab.name))


def _wanted(lab: Settings, root: Path) -> dict[str, Any]:
    return {
        "image": str(root),
        "layout": lab.layout.name,
        "index": lab.index,
        "hosts": lab.size,
        "state": str(lab.state),
    }


def up(lab: Settings) -> dict[str, float]:
    """Bring the lab up and return how long the parts took, in seconds.

    A lab that is up as asked for stays as it is, hosts that are off are turned on, and anything else
    that an earlier lab of this name has left is cleared first.
    """
    check_machine()
    begin = time.monotonic()
    root = image.ensure(lab.cache)
    times = {"image": time.monotonic() - begin}
    begin = time.monotonic()
    wanted = _wanted(lab, root)
    if made(lab) != wanted or not network.complete(lab):
        down(lab)
        create(lab, root)
        settings.made_path(lab.checkout, lab.name).write_text(json.dumps(wanted), encoding="utf-8")
    power_on(lab, lab.hosts)
    times["boot"] = time.monotonic() - begin
    write_inventory(lab)
    return times


def create(lab: Settings, root: Path) -> None:
    """Make network, keys and hosts, everything but the boot."""
    lab.state.mkdir(parents=True)
    lab.run_dir.mkdir(parents=True, exist_ok=True)
    for path in (lab.state, lab.run_dir):
        path.chmod(0o755)
    if not (root / "usr" / "bin" / "python3").exists():
        raise LabError(f"the cached image {root} is damaged; remove it and run `python3 -m lab up` again")
    network.create(lab)
    ssh = lab.ssh_key.parent
    ssh.mkdir(mode=0o700)
    lines = []
    for path, comment in [(lab.ssh_key, LOGIN_USER), *((ssh / f"host-{host.name}", host.name) for host in lab.hosts)]:
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)])
    for host in lab.hosts:
        key = _identify(lab, host)
        kind, body, *_comment = key.with_suffix(".pub").read_text(encoding="ascii").split()
        lines.append(f"{host.address} {kind} {body}\n")
    lab.known_hosts.write_text("".join(lines), encoding="ascii")


def _identify(lab: Settings, host: Host) -> Path:
    """Give a host an empty disk with its name and keys; the path of its ssh host key."""
    key = lab.ssh_key.parent / f"host-{host.name}"
    public = lab.ssh_key.with_suffix(".pub").read_text(encoding="ascii")
    machine.write_identity(host, public_key=public, host_key=key)
    return key


def replace(lab: Settings, host: Host) -> None:
    """Lose a host, and put a new one with an empty disk in its place: same name, address and ssh host key."""
    machine.power_cut(host)
    _close_ssh(lab)
    _identify(lab, host)
    power_on(lab, [host])


def power_on(lab: Settings, hosts: list[Host]) -> None:
    """Turn hosts on and wait until they have booted and answer on the ssh port."""
    record = made(lab)
    if record is None:
        raise LabError(f"there is no lab {lab.name!r}; run `python3 -m lab up`")
    root = Path(record["image"])
    if not root.is_dir():
        raise LabError(f"the image {root} that this lab was made from is gone; run `python3 -m lab down`, then `up`")
    for host in hosts:
        machine.power_on(host, root)
    each(hosts, _wait_booted)


def _wait_booted(host: Host) -> None:
    wait_for(f"boot of {host.name}", lambda: machine.booted(host) or _no_ssh(host), timeout=BOOT_TIMEOUT_S)


def _no_ssh(host: Host) -> str | None:
    # From inside the host's own namespace: a host that a test has cut off has booted all the same.
    try:
        with network.inside(host.netns_path):
            connection = socket.create_connection((host.address, 22), timeout=5)
        with connection:
            banner = connection.recv(64)
    except OSError as error:
        return f"{host.name}: port 22: {error}"
    return None if banner.startswith(b"SSH-") else f"{host.name}: port 22 answers {banner!r}"


def down(lab: Settings) -> None:
    """Take everything of this lab away, also what a crashed one has left.

    The folders that all labs are in stay: another lab may be making its own in one at this moment.
    """
    _close_ssh(lab)
    for record in lab.run_dir.glob("*.pid.json"):
        processes.end(record, soft=5)
    each(lab.possible, machine.power_cut)
    network.destroy(lab)
    for path in (lab.state, lab.run_dir):
        shutil.rmtree(path, ignore_errors=True)
        if path.exists():
            raise LabError(f"{path} could not be removed")


def _close_ssh(lab: Settings) -> None:
    """End the ssh masters that Ansible keeps: a later lab has the same addresses and would be asked through them."""
    folder = lab.run_dir / "cp"
    for path in folder.glob("*") if folder.is_dir() else ():
        run(["ssh", "-o", f"ControlPath={path}", "-O", "exit", "lab"], check=False, timeout=10)


def member_address(lab: Settings, host: Host) -> str:
    """Where the other members reach this one."""
    return host.address6 if lab.layout.ipv6 and network.has_ipv6() else host.address


def inventory(lab: Settings, only: Sequence[Host] | None = None) -> dict[str, Any]:
    """The inventory of this lab, or of some hosts of it, as an operator would write it, plus how to log in."""
    first, *others = only or lab.hosts
    hosts = {host.name: {"ansible_host": host.address} for host in (first, *others)}
    for host in (first, *others):
        if member_address(lab, host) != host.address:
            hosts[host.name]["evnode_address"] = member_address(lab, host)
    options = [
        f"-o UserKnownHostsFile={lab.known_hosts}",
        "-o GlobalKnownHostsFile=/dev/null",
        "-o StrictHostKeyChecking=yes",
        "-o IdentitiesOnly=yes",
    ]
    members = {
        "children": {
            "evnode_sequencer": {"hosts": {first.name: hosts[first.name]}},
            "evnode_joiners": {"hosts": {host.name: hosts[host.name] for host in others}},
        },
        "vars": {
            "ansible_user": LOGIN_USER,
            "ansible_ssh_private_key_file": str(lab.ssh_key),
            "ansible_ssh_common_args": " ".join(options),
            "ansible_control_path_dir": str(lab.run_dir / "cp"),
            "evnode_service": lab.layout.unit,
            **lab.layout.inventory_vars,
        },
    }
    return {"all": {"children": {"evnode_members": members}}}


def write_inventory(lab: Settings) -> None:
    """Write the inventory file."""
    text = "---\n" + yaml.safe_dump(inventory(lab), sort_keys=False, width=1000)
    lab.inventory.write_text(text, encoding="utf-8")


def ssh_argv(lab: Settings, host: Host, command: list[str]) -> list[str]:
    """The ssh command that logs in as the operator does."""
    options = ["-o", f"UserKnownHostsFile={lab.known_hosts}", "-o", "StrictHostKeyChecking=yes"]
    options += ["-o", "IdentitiesOnly=yes", "-i", str(lab.ssh_key)]
    return ["ssh", *options, f"{LOGIN_USER}@{host.address}", *command]


def _saves(lab: Settings) -> Path:
    return lab.state / "saves"


def save(lab: Settings, name: str) -> None:
    """Keep what all hosts have on disk under a name; the hosts are shut down for it and turned on again."""
    target = _saves(lab) / name
    running = [host for host in lab.hosts if machine.is_on(host)]
    each(running, machine.shutdown)
    shutil.rmtree(target, ignore_errors=True)
    work = _saves(lab) / f".{name}.new"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    each(lab.hosts, lambda host: _copy(host.upper, work / host.name))
    work.rename(target)
    power_on(lab, running)


def restore(lab: Settings, name: str) -> None:
    """Put all hosts back to what `save` kept, and turn them all on. Cuts in the network are healed."""
    source = _saves(lab) / name
    if not source.is_dir():
        have = sorted(path.name for path in _saves(lab).glob("[!.]*"))
        raise LabError(f"nothing was saved as {name!r}; there is: {', '.join(have) or 'nothing'}")
    _close_ssh(lab)
    each(lab.hosts, machine.power_cut)
    network.set_cuts(lab, set())

    def put_back(host: Host) -> None:
        shutil.rmtree(host.upper, ignore_errors=True)
        _copy(source / host.name, host.upper)

    each(lab.hosts, put_back)
    power_on(lab, lab.hosts)


def _copy(source: Path, target: Path) -> None:
    # cp keeps holes and the overlay's own extended attributes.
    run(["cp", "--archive", "--sparse=auto", "--reflink=auto", str(source), str(target)], timeout=300)


def status(lab: Settings) -> dict[str, Any]:
    """What exists of the lab."""
    cut = sorted(" - ".join(pair) for pair in network.cuts(lab)) if network.complete(lab) else []
    return {
        "name": lab.name,
        "made": made(lab),
        "network": network.leftovers(lab),
        "cut": cut,
        "hosts": [machine.describe(host) for host in lab.hosts],
        "processes": sorted(
            path.name.removesuffix(".pid.json")
            for path in lab.run_dir.glob("*.pid.json")
            if processes.recorded(path) is not None
        ),
    }
