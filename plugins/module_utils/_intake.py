# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""Ports that clients send transactions to, closed for the moment in which nobody could keep what they send."""

from __future__ import annotations

import contextlib
import re
import typing as t

from ._errors import HaError
from ._files import read_bytes
from ._process import run as _run

if t.TYPE_CHECKING:
    from collections.abc import Sequence

    from ._process import Runner


# What closes ports on a host without nft, and the addresses that stay open: one program for each family.
_WITHOUT_NFT = {"iptables": "127.0.0.0/8", "ip6tables": "::1/128"}


class IntakeError(HaError):
    """The intake could not be closed."""


def intake_table(unit: str) -> str:
    """Return the name of the nftables table (and of the iptables chain) that closes a unit's intake."""
    return "evnode_ha_" + re.sub(r"[^A-Za-z0-9]", "_", unit)[:14]


def close_intake(ports: Sequence[int], table: str, *, run: Runner = _run, proc: str = "/proc") -> None:
    """Answer clients of these TCP ports with a reset, those with an open connection too; loopback stays open."""
    open_intake(table, run=run)
    listed = ", ".join(str(int(port)) for port in ports)
    rules = (
        f"add table inet {table}\n"
        f"add chain inet {table} input {{ type filter hook input priority -150; policy accept; }}\n"
        f"add rule inet {table} input ip daddr 127.0.0.0/8 accept\n"
        f"add rule inet {table} input ip6 daddr ::1 accept\n"
        f"add rule inet {table} input tcp dport {{ {listed} }} reject with tcp reset\n"
    )
    try:
        done = run(["nft", "-f", "-"], stdin=rules)
        if done.rc == 0:
            return
        reason = done.stderr.strip()
    except HaError as exc:
        reason = exc.message
    for tool, loopback in _WITHOUT_NFT.items():
        if tool == "ip6tables" and not _reached_by_ipv6(proc):
            continue
        steps = [["-N", table], ["-I", "INPUT", "-j", table], ["-A", table, "-d", loopback, "-j", "RETURN"]]
        refuse = ["-j", "REJECT", "--reject-with", "tcp-reset"]
        steps += [["-A", table, "-p", "tcp", "--dport", str(int(port)), *refuse] for port in ports]
        for step in steps:
            try:
                done = run([tool, "-w", *step])
                failed = done.stderr.strip() if done.rc != 0 else ""
            except HaError as exc:
                failed = exc.message
            if failed:
                raise IntakeError(f"neither nft ({reason}) nor {tool} ({failed}) could close the ports {listed}")


def _reached_by_ipv6(proc: str) -> bool:
    """Tell whether the host has an IPv6 address that is not loopback's."""
    lines = (read_bytes(f"{proc}/net/if_inet6") or b"").decode().splitlines()
    return any(line.split()[-1] != "lo" for line in lines if line.strip())


def opening(table: str) -> list[list[str]]:
    """Return the commands that take ``close_intake`` back; those with nothing to take back fail."""
    steps = [["nft", "delete", "table", "inet", table]]
    for tool in _WITHOUT_NFT:
        steps += [[tool, "-w", *rest] for rest in (["-D", "INPUT", "-j", table], ["-F", table], ["-X", table])]
    return steps


def open_intake(table: str, *, run: Runner = _run) -> None:
    """Take ``close_intake`` back; nothing to take back is fine."""
    for step in opening(table):
        with contextlib.suppress(HaError):
            run(step)
