# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's network: one switch in a namespace of its own, one port a host, one for the lab machine.

The switch is not in the lab machine's namespace so that no firewall of the lab machine stands between the hosts,
and so that cutting a link is a rule on the switch, which a host cannot see and cannot flush.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from lab.errors import LabError
from lab.settings import Host, Settings
from lab.shell import run

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def inside(netns: Path) -> Iterator[None]:
    """Run the calling thread in a network namespace; OSError when it is gone.

    Sockets made meanwhile stay there for good, and so do threads and processes started meanwhile.
    """
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(there)
        finally:
            os.close(there)
        try:
            yield
        finally:
            _setns(here)
    finally:
        os.close(here)


def _setns(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")


def _in(netns: str, *argv: str, stdin: str | None = None) -> None:
    run(["ip", "netns", "exec", netns, *argv], stdin=stdin)


def owner_of(uplink: str) -> str | None:
    """Name of the lab that has this uplink interface; None when there is no such interface."""
    path = Path("/sys/class/net") / uplink
    if not path.exists():
        return None
    with contextlib.suppress(OSError):
        return (path / "ifalias").read_text(encoding="ascii").strip().removeprefix("evnode-lab ")
    return ""


def has_ipv6() -> bool:
    """Whether new network namespaces of this machine can have IPv6 addresses."""
    switch = Path("/proc/sys/net/ipv6/conf/default/disable_ipv6")
    return switch.exists() and switch.read_text(encoding="ascii").strip() == "0"


def create(lab: Settings) -> None:
    """Make the switch, the hosts' namespaces and the cables. LabError when another lab has this index."""
    owner = owner_of(lab.uplink)
    if owner is not None and owner != lab.name:
        raise LabError(
            f"interface {lab.uplink} ({lab.subnet}) belongs to {f'lab {owner!r}' if owner else 'something else'}; "
            "set LAB_INDEX to another digit"
        )
    _refuse_taken_subnet(lab)
    destroy(lab)
    commands = [f"netns add {lab.switch_netns}", *(f"netns add {host.netns}" for host in lab.hosts)]
    commands += [
        f"-n {lab.switch_netns} link add switch type bridge forward_delay 0 stp_state 0",
        f"-n {lab.switch_netns} link set switch up",
        f"link add {lab.uplink} type veth peer name uplink netns {lab.switch_netns}",
        f"link set {lab.uplink} alias 'evnode-lab {lab.name}'",
        f"-n {lab.switch_netns} link set uplink master switch up",
        f"address add {lab.gateway}/24 dev {lab.uplink}",
        f"link set {lab.uplink} up",
    ]
    for host in lab.hosts:
        commands += [
            f"-n {lab.switch_netns} link add {host.port} type veth peer name eth0 netns {host.netns}",
            f"-n {lab.switch_netns} link set {host.port} master switch up",
            f"-n {host.netns} link set lo up",
            f"-n {host.netns} address add {host.address}/24 dev eth0",
            f"-n {host.netns} link set eth0 up",
        ]
        if has_ipv6():
            commands.append(f"-n {host.netns} address add {host.address6}/64 dev eth0 nodad")
    run(["sh", "-e", "-c", "\n".join(f"ip {command}" for command in commands)])
    _in(lab.switch_netns, "nft", "-f", "-", stdin=outside_rules(lab))


def _refuse_taken_subnet(lab: Settings) -> None:
    routes = run(["ip", "-json", "-4", "route", "show", lab.subnet]).stdout
    for route in json.loads(routes or "[]"):
        if route.get("dev") != lab.uplink:
            raise LabError(f"{lab.subnet} is already routed to {route.get('dev')}; set LAB_INDEX to another digit")


def destroy(lab: Settings) -> None:
    """Remove everything that `create` makes, whatever of it exists."""
    if owner_of(lab.uplink) == lab.name:
        run(["ip", "link", "del", lab.uplink], check=False)
    for netns in (*(host.netns for host in lab.possible), lab.switch_netns):
        if (Path("/run/netns") / netns).exists():
            run(["ip", "netns", "del", netns])


def leftovers(lab: Settings) -> list[str]:
    """What of the network exists, in words."""
    found = [netns for netns in [lab.switch_netns, *(host.netns for host in lab.possible)] if _netns_exists(netns)]
    return found + ([lab.uplink] if owner_of(lab.uplink) == lab.name else [])


def complete(lab: Settings) -> bool:
    """Whether all parts of the network exist."""
    return len(leftovers(lab)) == len(lab.hosts) + 2


def _netns_exists(netns: str) -> bool:
    return (Path("/run/netns") / netns).exists()


def outside_rules(lab: Settings) -> str:
    """The switch's nftables program that lets nobody but hosts reach a Raft port, as an operator's firewall does."""
    rule = f'iifname "uplink" tcp dport {lab.layout.ports["raft"]} drop'
    return f"table bridge outside {{\n  chain forward {{\n    type filter hook forward priority 1; {rule}\n  }}\n}}\n"


def cut_rules(cuts: Iterable[tuple[str, str]]) -> str:
    """The switch's nftables program for pairs of ports that must not reach each other; "*" is every port."""
    rules = []
    for one, other in sorted(cuts):
        for source, target in ((one, other), (other, one)):
            match = [f'{word} "{port}"' for word, port in (("iifname", source), ("oifname", target)) if port != "*"]
            rules.append(f"    {' '.join(match)} drop")
    body = "\n".join(["    type filter hook forward priority 0; policy accept;", *rules])
    return f"table bridge lab\ndelete table bridge lab\ntable bridge lab {{\n  chain forward {{\n{body}\n  }}\n}}\n"


def _cuts_file(lab: Settings) -> Path:
    return lab.run_dir / "cuts.json"


def cuts(lab: Settings) -> set[tuple[str, str]]:
    """The pairs of ports that are cut now."""
    try:
        return {(one, other) for one, other in json.loads(_cuts_file(lab).read_text(encoding="utf-8"))}
    except FileNotFoundError:
        return set()


def set_cuts(lab: Settings, wanted: set[tuple[str, str]]) -> None:
    """Cut exactly these pairs, at once."""
    _in(lab.switch_netns, "nft", "-f", "-", stdin=cut_rules(wanted))
    lab.run_dir.mkdir(parents=True, exist_ok=True)
    _cuts_file(lab).write_text(json.dumps(sorted(wanted)), encoding="utf-8")


def partition(lab: Settings, host: Host, peers: list[Host]) -> None:
    """Cut a host off from `peers`, or from everything (the lab machine too) when there are none named."""
    pairs = {(host.port, peer.port) for peer in peers} or {(host.port, "*")}
    set_cuts(lab, cuts(lab) | pairs)


def heal(lab: Settings, host: Host) -> None:
    """Take back every cut that the host is part of."""
    set_cuts(lab, {pair for pair in cuts(lab) if host.port not in pair})
