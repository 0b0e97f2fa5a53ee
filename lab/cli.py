# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verbs of `python3 -m lab`."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import Sequence

from lab import chain, fleet, image, machine, network, traffic
from lab.errors import LabError
from lab.rpc import RpcError
from lab.settings import Settings, from_environment


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m lab", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs.add_parser("up", help="build the image if needed, make and boot five hosts, write the inventory")
    verbs.add_parser("down", help="take everything away, also what a crashed lab left")
    verbs.add_parser("status", help="what exists, as JSON; exit code 1 unless all five hosts are on")
    verbs.add_parser("image", help="build the host image if needed and print where it is")
    verbs.add_parser("chain-up", help="the lab, and a chain with one sequencer on node-1 (EVNODE_BINARY, DA_COMMAND)")
    for verb, words in {
        "power-cut": "kill the machine at once",
        "shutdown": "power the machine off cleanly",
        "power-on": "turn the machine on and wait until it has booted",
        "heal": "take back all cuts of this host",
    }.items():
        verbs.add_parser(verb, help=words).add_argument("host", nargs="+")
    partition = verbs.add_parser("partition", help="cut the host off from everything, or from some hosts only")
    partition.add_argument("host")
    partition.add_argument("--only-from", nargs="+", default=[], metavar="HOST")
    shell = verbs.add_parser("shell", help="a root shell in the host, or a command (after --)")
    shell.add_argument("host")
    shell.add_argument("command", nargs="*")
    ssh = verbs.add_parser("ssh", help="log in as the operator, or run a command (after --)")
    ssh.add_argument("host")
    ssh.add_argument("command", nargs="*")
    traffic_verbs = verbs.add_parser("traffic", help="transactions to the chain, and what became of them")
    traffic_verb = traffic_verbs.add_subparsers(dest="traffic", required=True, metavar="start|stop|check")
    start = traffic_verb.add_parser("start", help="send to a host's application port in the background")
    start.add_argument("host")
    start.add_argument("--rate", type=float, default=20.0, help="transactions a second")
    traffic_verb.add_parser("stop", help="end the sender")
    check = traffic_verb.add_parser("check", help="as JSON; exit code 1 unless each accepted one is there once")
    check.add_argument("host")
    for verb, words in {"save": "keep what all hosts have on disk", "restore": "put the hosts back to it"}.items():
        verbs.add_parser(verb, help=words).add_argument("name")
    return parser


# These change the lab as a whole: one at a time.
_EXCLUSIVE = {"up", "down", "chain-up", "save", "restore"}


def _act(lab: Settings, options: argparse.Namespace) -> int:
    verb = options.verb
    if verb == "up":
        times = fleet.up(lab)
        print(f"lab {lab.name!r} is up (image {times['image']:.1f} s, boot {times['boot']:.1f} s)")
        print(f"inventory: {lab.inventory}")
    elif verb == "chain-up":
        height = chain.up(lab)
        print(f"chain {lab.layout.chain_id!r} is up on node-1 at height {height} (unit {lab.layout.unit})")
    elif verb == "down":
        fleet.down(lab)
        print(f"lab {lab.name!r} is gone")
    elif verb == "status":
        found = fleet.status(lab)
        print(json.dumps(found, indent=2))
        return 0 if all(host["on"] for host in found["hosts"]) else 1
    elif verb == "image":
        fleet.check_machine()
        print(image.ensure(lab.cache))
    elif verb in ("power-cut", "shutdown"):
        fleet.each([lab.host(name) for name in options.host], getattr(machine, verb.replace("-", "_")))
    elif verb == "power-on":
        fleet.power_on(lab, [lab.host(name) for name in options.host])
    elif verb == "partition":
        network.partition(lab, lab.host(options.host), [lab.host(name) for name in options.only_from])
    elif verb == "heal":
        for name in options.host:
            network.heal(lab, lab.host(name))
    elif verb == "shell":
        argv = machine.enter_argv(lab.host(options.host), options.command or ["bash", "--login"])
        os.execvp(argv[0], argv)
    elif verb == "ssh":
        argv = fleet.ssh_argv(lab, lab.host(options.host), options.command)
        os.execvp(argv[0], argv)
    elif verb == "traffic":
        return _traffic(lab, options)
    elif verb == "save":
        fleet.save(lab, options.name)
    elif verb == "restore":
        chain.restore(lab, options.name)
    return 0


def _traffic(lab: Settings, options: argparse.Namespace) -> int:
    if options.traffic == "start":
        traffic.start(lab, options.host, options.rate)
    elif options.traffic == "stop":
        traffic.stop(lab)
    else:
        verdict = traffic.check(lab, options.host)
        print(json.dumps(dataclasses.asdict(verdict), indent=2))
        return 1 if verdict.missing or verdict.duplicate else 0
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; 0 is success, 1 a negative answer, 2 an error that is told in one sentence."""
    options = _parser().parse_args(argv)
    try:
        lab = from_environment()
        with fleet.exclusive(lab) if options.verb in _EXCLUSIVE else contextlib.nullcontext():
            return _act(lab, options)
    except (LabError, RpcError) as error:
        print(f"lab: {error}", file=sys.stderr)
        return 2
