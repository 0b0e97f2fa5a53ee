# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The upstream guide on the five hosts of the lab, step by step, and what became of the chain.

Kept: everything that decides the outcome. node-1 is stopped for the copy and goes on producing while the others are
prepared (step 5), `evnode.yaml` and the flags are the guide's own (7, 9), five starts as from five panes, within a
second, and nobody starts again what ends (9b).

Changed, because it cannot start otherwise: the member's own address where the guide has 0.0.0.0, the passphrase by
file, the ports, signer path, DA address and namespaces that the chain has. The copy keeps holes (its result is what
rsync leaves, `copies.py` measures what rsync costs), and peer IDs come from the key files, since `net-info` needs a
node that runs. As `lab/conformance/guide.py`, which does the same on loopback, without hosts.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

import yaml

from lab import chain, fleet, machine
from lab.bench import chains
from lab.conformance.cluster import Head
from lab.conformance.guide import GUIDE_RAFT, SPREAD, Outcome, judge, watch
from lab.conformance.node import Json, copy_sparse, peer_id_of
from lab.errors import LabError
from lab.layout import merge_settings
from lab.rpc import RpcError
from lab.settings import Host, Settings
from lab.shell import wait_for

PANE = "evnode-guide-pane"
RAFT_DIR = "/var/lib/ev-node/raft"
LOG = "/var/tmp/evnode-guide-pane.log"
BLOCK = "/evnode.v1.StoreService/GetBlock"
# Blocks that node-1 makes between the copy and the cutover.
STALE = 5


def follow(lab: Settings, chance: random.Random) -> Outcome:
    """One run of steps 2 to 10 on the chain that is up. LabError where it cannot be prepared."""
    first, *joiners = lab.hosts
    argv = _command_line(lab, first)
    for host in joiners:
        _provision(lab, host)
    copied_at = _copy(lab)
    chain.wait_for_blocks(lab, first, above=copied_at + STALE)
    peers = {host: _peer_id(lab, host) for host in lab.hosts}
    for host in lab.hosts:
        _configure(lab, host, peers)
    machine.execute(first, ["systemctl", "stop", f"{lab.layout.unit}.service"], timeout=100)
    original, head = _chain(lab, first)
    offsets = {host: chance.uniform(0.0, SPREAD) for host in lab.hosts}
    begin = time.monotonic()

    def fire(host: Host) -> None:
        time.sleep(max(0.0, begin + offsets[host] - time.monotonic()))
        flags = _flags(lab, host, peers)
        chains.transient(
            host, lab, PANE, [*argv, *flags], f"StandardOutput=append:{LOG}", f"StandardError=append:{LOG}"
        )

    fleet.each(lab.hosts, fire)
    stalled = watch(
        lambda: sum(_log(host).count("produced block") for host in lab.hosts),
        lambda: sum(_alive(host) for host in lab.hosts),
    )
    return _judge(lab, original, head, copied_at, stalled)


def _command_line(lab: Settings, host: Host) -> list[str]:
    """How the single sequencer was started: the original flags, to which the guide adds its own."""
    shown = machine.execute(host, ["systemctl", "show", "--property=MainPID", "--value", f"{lab.layout.unit}.service"])
    raw = (machine.root(host) / "proc" / shown.stdout.strip() / "cmdline").read_bytes()
    argv = [part.decode() for part in raw.split(b"\0") if part]
    if len(argv) < 2:
        raise LabError(f"{lab.layout.unit} on {host.name} has no command line to start from")
    return argv


def _provision(lab: Settings, host: Host) -> None:
    """Steps 2 to 4: the same binary, a home of its own, signer and genesis of node-1."""
    layout = lab.layout
    source, target = machine.root(lab.hosts[0]), machine.root(host)
    if machine.execute(host, ["getent", "group", layout.group], check=False).returncode != 0:
        machine.execute(host, ["groupadd", "--system", layout.group])
        account = ["--system", "--gid", layout.group, "--home-dir", layout.user_home, "--create-home"]
        machine.execute(host, ["useradd", *account, "--shell", "/usr/sbin/nologin", layout.user])
    folders = [str(Path(path).parent) for path in (layout.binary, layout.passphrase_file)]
    machine.execute(host, ["mkdir", "--parents", *folders])
    machine.execute(host, ["install", "-d", "-m", "0750", "-o", layout.user, "-g", layout.group, layout.home])
    _put(source, target, layout.binary)
    plain = ["env", "-i", f"PATH={machine.PATH}", f"HOME={layout.user_home}"]
    init = [layout.binary, "init", "--home", layout.home, "--chain_id", layout.chain_id]
    machine.execute(host, ["runuser", "--user", layout.user, "--", *plain, *init])
    for path in ("signer.json", "genesis.json", "evnode.yaml"):
        _put(source, target, f"{layout.home}/config/{path}")
    _put(source, target, layout.passphrase_file)
    own = [f"{layout.home}/config/{path}" for path in ("signer.json", "genesis.json", "evnode.yaml")]
    machine.execute(host, ["chown", f"{layout.user}:{layout.group}", layout.passphrase_file, *own])


def _put(source: Path, target: Path, path: str) -> None:
    there = target / path.lstrip("/")
    there.write_bytes((source / path.lstrip("/")).read_bytes())
    there.chmod((source / path.lstrip("/")).stat().st_mode & 0o777)


def _copy(lab: Settings) -> int:
    """Step 5: node-1 stopped for a consistent copy of its data, and started again; the height of the copies."""
    first, *joiners = lab.hosts
    unit = f"{lab.layout.unit}.service"
    machine.execute(first, ["systemctl", "stop", unit], timeout=100)
    data = f"{lab.layout.home}/data"
    for host in joiners:
        machine.execute(host, ["rm", "-rf", data])
        copy_sparse(machine.root(first) / data.lstrip("/"), machine.root(host) / data.lstrip("/"))
        machine.execute(host, ["chown", "--recursive", f"{lab.layout.user}:{lab.layout.group}", data])
    with chains.probing(lab, first) as node:
        height = node.height()
    machine.execute(first, ["systemctl", "start", unit])
    return height


def _peer_id(lab: Settings, host: Host) -> str:
    """Step 6."""
    return peer_id_of(machine.root(host) / lab.layout.home.lstrip("/") / "config" / "node_key.json")


def _raft(lab: Settings, host: Host) -> dict[str, object]:
    port = lab.layout.ports["raft"]
    others = [other for other in lab.hosts if other != host]
    return {
        "enable": True,
        "node_id": host.name,
        "raft_addr": f"{host.address}:{port}",
        "raft_dir": RAFT_DIR,
        "peers": ",".join(f"{other.name}@{other.address}:{port}" for other in others),
        **GUIDE_RAFT,
    }


def _p2p(lab: Settings, host: Host, peers: dict[Host, str]) -> str:
    port = lab.layout.ports["p2p"]
    others = [other for other in lab.hosts if other != host]
    return ",".join(f"/ip4/{other.address}/tcp/{port}/p2p/{peers[other]}" for other in others)


def _configure(lab: Settings, host: Host, peers: dict[Host, str]) -> None:
    """Steps 7 and 8."""
    path = machine.root(host) / lab.layout.home.lstrip("/") / "config" / "evnode.yaml"
    settings = {"node.aggregator": True, "p2p.peers": _p2p(lab, host, peers)}
    settings.update({f"raft.{key}": value for key, value in _raft(lab, host).items()})
    merged = merge_settings(yaml.safe_load(path.read_text(encoding="utf-8")) or {}, settings)
    path.write_text(yaml.safe_dump(merged, sort_keys=False), encoding="utf-8")
    owner = ["-o", lab.layout.user, "-g", lab.layout.group]
    machine.execute(host, ["install", "-d", "-m", "0755", *owner, RAFT_DIR])


def _flags(lab: Settings, host: Host, peers: dict[Host, str]) -> list[str]:
    """The flags of step 9b; a later flag wins over an earlier one of the same name."""
    raft = _raft(lab, host)
    names = [name for name in raft if name not in ("enable", "snap_count")]
    flags = ["--evnode.node.aggregator=true", "--evnode.raft.enable=true"]
    flags += [f"--evnode.raft.{name}={raft[name]}" for name in names]
    return [*flags, f"--evnode.p2p.peers={_p2p(lab, host, peers)}"]


def _log(host: Host) -> str:
    try:
        return (machine.root(host) / LOG.lstrip("/")).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _show(host: Host, name: str) -> str:
    return machine.execute(
        host, ["systemctl", "show", f"--property={name}", "--value", f"{PANE}.service"]
    ).stdout.strip()


def _alive(host: Host) -> bool:
    return _show(host, "ActiveState") in ("active", "activating")


def _chain(lab: Settings, host: Host) -> tuple[list[Json], Head]:
    """All signed headers of a stopped node's store, from height 1, and the last one's height and hash."""
    with chains.probing(lab, host) as node:
        headers = [
            node.call(BLOCK, {"height": str(height)})["block"]["header"] for height in range(1, node.height() + 1)
        ]
        return headers, Head(*chains.shown_head(node))


def _judge(lab: Settings, original: list[Json], head: Head, copied_at: int, stalled: bool) -> Outcome:
    answering: dict[str, int] = {}
    ended: dict[str, int] = {}
    reasons: dict[str, str] = {}
    for host in lab.hosts:
        node = chain.node(lab, host)
        try:
            if height := node.height():
                answering[host.name] = height
        except RpcError:
            pass
        finally:
            node.close()
        if not _alive(host):
            ended[host.name] = int(_show(host, "ExecMainStatus") or 0)
            lines = [line for line in _log(host).splitlines() if line.startswith("Error: ")]
            reasons[host.name] = lines[-1].removeprefix("Error: ")[:120] if lines else ""
    fleet.each(
        lab.hosts,
        lambda host: machine.execute(host, ["systemctl", "stop", f"{PANE}.service"], check=False, timeout=100),
    )
    fleet.each(lab.hosts, lambda host: wait_for(f"end of the pane on {host.name}", lambda: _running(host), timeout=60))
    names = [host.name for host in lab.hosts]
    stores = dict(zip(names, fleet.each(lab.hosts, lambda host: _chain(lab, host)[0]), strict=True))
    return judge(stores, original, head, answering, copied_at, stalled, ended, reasons)


def _running(host: Host) -> str | None:
    return "still running" if _alive(host) else None
