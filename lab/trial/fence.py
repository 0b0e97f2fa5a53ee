# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ways in which an old sequencer comes back after a migration, by habit, by accident or by a tool that means well."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import yaml

from lab import chain, fleet, machine
from lab.errors import LabError
from lab.layout import render
from lab.rpc import RpcError
from lab.settings import Host, Settings
from lab.shell import wait_for

LIMIT_S = 40.0
_ENOUGH_RESTARTS = 2

# What every script may use. OLD is the command line of before the migration, OWN the collection's drop-in.
_PRELUDE = """
set -eu
UNIT=@unit@ USER_=@user@ GROUP_=@group@ BINARY=@binary@ HOME_=@home@
FILE=/etc/systemd/system/$UNIT.service YAML=$HOME_/config/evnode.yaml
KEPT=/var/lib/evnode-ha/$UNIT/original/evnode.yaml SWITCH=/etc/evnode-ha/$UNIT/current
LINKED=$SWITCH/evnode.yaml OWN=$FILE.d/zz-evnode-ha.conf
OLD="$BINARY start --home $HOME_ --evnode.node.aggregator=true --evnode.signer.passphrase_file=@passphrase_file@"
OLD="$OLD --kv-endpoint 0.0.0.0:@app_port@"
by_hand() {
    systemd-run --quiet --collect --unit=by-hand --property=User="$1" --property=WorkingDirectory=/tmp -- $OLD
}
"""
# A copy of the home, with the old configuration and other ports.
_SECOND = r"""
systemctl stop $UNIT
rm -rf /run/copy; cp --archive $HOME_ /run/copy; rm -rf /run/copy/raft
[ ! -e $KEPT ] || cp --remove-destination $KEPT /run/copy/config/evnode.yaml
systemd-run --quiet --collect --unit=by-hand --property=WorkingDirectory=/tmp -- \
    $(echo "$OLD" | sed "s#$HOME_#/run/copy#g; s#:@app_port@#:$((@app_port@ + 2000))#g") \
    --evnode.rpc.address=127.0.0.1:$((@rpc_port@ + 2000)) --evnode.p2p.peers= \
    --evnode.p2p.listen_address=/ip4/127.0.0.1/tcp/$((@p2p_port@ + 2000)) --evnode.da.address=http://127.0.0.1:9
systemctl start $UNIT
"""


class Way(NamedTuple):
    """`script` is what somebody does on the host, `undo` takes back what it left; `boots`: and then comes a boot."""

    name: str
    script: str
    undo: str
    boots: bool


WAYS = [
    Way(entry["way"], entry["does"], entry.get("undo", ""), entry.get("boots", False))
    for entry in yaml.safe_load(Path(__file__).with_suffix(".yml").read_text(encoding="utf-8"))
]


def attempt(lab: Settings, host: Host, way: Way) -> str:
    """Go that way and say what runs on the host once nothing moves any more: `a member` or `nothing`.

    LabError when a single sequencer runs, or nothing settles. Afterwards the member runs again.
    """
    _sh(lab, host, way.script)
    try:
        if way.boots:
            machine.shutdown(host)
            fleet.power_on(lab, [host])
        return _settled(lab, host, way.name)
    finally:
        machine.execute(host, ["systemctl", "stop", "by-hand.service"], check=False)
        _sh(lab, host, way.undo)
        machine.execute(host, ["systemctl", "reset-failed"], check=False)
        machine.execute(host, ["systemctl", "start", f"{lab.layout.unit}.service"])
        wait_for(f"node-1 after {way.name!r}", lambda: _what_runs(lab, host, "a member"), timeout=LIMIT_S)


@contextmanager
def second_writer(lab: Settings, host: Host) -> Iterator[None]:
    """A copy of the home with the old configuration and other ports, which makes blocks that nobody else sees."""
    _sh(lab, host, _SECOND)
    try:
        yield
    finally:
        machine.execute(host, ["systemctl", "stop", "by-hand.service"], check=False)
        machine.execute(host, ["rm", "-rf", "/run/copy"])


def _sh(lab: Settings, host: Host, script: str) -> None:
    names = lab.layout.names(address=host.address, da_address=chain.da_address(lab))
    machine.execute(host, ["sh", "-c", render(f"{_PRELUDE}\n{script}", names)])


def _settled(lab: Settings, host: Host, name: str) -> str:
    found = "?"

    def missing() -> str | None:
        nonlocal found
        for found in ("a member", "nothing"):
            words = _what_runs(lab, host, found)
            if words is None:
                return None
        return words

    wait_for(f"an end of {name!r}", missing, timeout=LIMIT_S, interval=0.2)
    return found


def _what_runs(lab: Settings, host: Host, wanted: str) -> str | None:
    """None when that is what runs, else what does, in words; LabError for a single sequencer."""
    rpc = chain.node(lab, host)
    member = rpc.is_leader() is not None
    try:
        height: int | None = rpc.height()
    except RpcError:
        height = None
    finally:
        rpc.close()
    if height is not None and not member and rpc.is_leader() is None:
        raise LabError(f"{host.name} runs a node that is no member, at height {height}")
    units = machine.execute(
        host, ["systemctl", "is-active", f"{lab.layout.unit}.service", "by-hand.service", "second.service"], check=False
    ).stdout.split()
    if wanted == "a member":
        return None if member else f"units {units}, height {height}"
    facts = machine.execute(
        host, ["systemctl", "show", "--property=NRestarts", "--value", f"{lab.layout.unit}.service"]
    )
    # One that fails again and again is not coming up.
    failing = units[:1] == ["activating"] and int(facts.stdout) >= _ENOUGH_RESTARTS
    alive = machine.execute(host, ["pgrep", "--full", f"^{lab.layout.binary} start"], check=False).returncode == 0
    moving = alive or {"activating", "deactivating", "active", "reloading"} & set(units[1:] if failing else units)
    return f"units {units}, process {'alive' if alive else 'gone'}" if moving or member else None
