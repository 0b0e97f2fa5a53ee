# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Execution clients: a geth on every host of the lab, each for its own node, prepared as an operator would."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab import fleet, machine
from lab.errors import LabError
from lab.rpc import Node, RpcError
from lab.settings import Host, Settings
from lab.shell import wait_for

GENESIS = Path(__file__).with_name("genesis.json")
UNIT = "geth"
USER = "geth"
HOME = "/var/lib/geth"
ETH_PORT, ENGINE_PORT = 8545, 8551
PROXY_PORTS = (8645, 8651)
FEE_RECIPIENT = "0x00000000000000000000000000000000000fee01"
_NO_HASH = f"0x{0:064x}"
_PROGRAM = "/usr/local/bin/geth"
_SECRET = "/etc/ethereum/jwt.hex"
_UNIT_FILE = f"""\
[Unit]
Description=Execution client
After=network-online.target

[Service]
User={USER}
ExecStart={_PROGRAM} --datadir {HOME} --networkid 7331 --nodiscover --maxpeers 0 --port 0 --ipcdisable \\
    --syncmode full --gcmode archive --verbosity 3 \\
    --http --http.addr 127.0.0.1 --http.port {ETH_PORT} --http.api eth,net,web3,txpool,debug,testing \\
    --authrpc.addr 127.0.0.1 --authrpc.port {ENGINE_PORT} --authrpc.jwtsecret {HOME}/jwt.hex
Restart=on-failure
TimeoutStopSec=60

[Install]
WantedBy=multi-user.target
"""
# A node that starts while its client does not answer yet ends.
DROP_IN = f"""\
[Unit]
After={UNIT}.service
[Service]
Restart=on-failure
RestartSec=1
"""
_PROXY = "/usr/local/lib/evm-proxy.py"
_PROXY_FILE = f"""\
[Unit]
Description=Translates between the real evm node and geth
After={UNIT}.service

[Service]
User={USER}
ExecStart=/usr/bin/python3 {_PROXY} {ETH_PORT} {ENGINE_PORT} {PROXY_PORTS[0]} {PROXY_PORTS[1]}
Restart=on-failure

[Install]
WantedBy=multi-user.target
"""


def program(checkout: Path) -> Path | None:
    """The client that `make geth` has built in a checkout; None before that."""
    path = checkout / "build" / "geth" / "geth"
    return path if os.access(path, os.X_OK) else None


def wanted(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the chain is an EVM chain. LabError for a client that the lab does not have."""
    chosen = environ.get("LAB_EXECUTION", "")
    if chosen not in ("", "geth"):
        raise LabError(f"LAB_EXECUTION={chosen}: expected geth, or nothing for a chain without an execution client")
    return bool(chosen)


def translated(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the node is the real one, which does not speak to geth as the stand-in does."""
    return bool(environ.get("EVNODE_BINARY"))


def flags(genesis_hash: str) -> str:
    """What a node needs on its command line to drive the client of its own host."""
    eth, engine = PROXY_PORTS if translated() else (ETH_PORT, ENGINE_PORT)
    return (
        f"--evm.eth-url http://127.0.0.1:{eth} --evm.engine-url http://127.0.0.1:{engine} "
        f"--evm.jwt-secret-file {_SECRET} --evm.genesis-hash {genesis_hash} --evm.fee-recipient {FEE_RECIPIENT}"
    )


def ask(host: Host, method: str, *params: Any) -> Any:
    """Ask the client of a host over its JSON-RPC. RpcError without an answer."""
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
    client = Node(host, ETH_PORT)
    try:
        answer = client.call("/", body)
    finally:
        client.close()
    if "error" in answer:
        raise RpcError(f"{host.name}: {method}: {answer['error'].get('message')}")
    return answer["result"]


def head(host: Host) -> tuple[int, str]:
    """Number and hash of the newest block of a host's client."""
    block = ask(host, "eth_getBlockByNumber", "latest", False)
    return int(block["number"], 16), block["hash"]


def up(lab: Settings) -> str:
    """Install and start a client on every host, and return the hash of their genesis."""
    client = program(lab.checkout)
    if client is None:
        raise LabError(f"no execution client in {lab.checkout}/build/geth; run `make geth`")
    secret = lab.state / "jwt.hex"
    if not secret.exists():
        secret.write_text(secrets.token_hex(32) + "\n", encoding="utf-8")
    fleet.each(lab.hosts, lambda host: _install(host, client, secret.read_text(encoding="utf-8")))
    found = {host.name: wait(host) for host in lab.hosts}
    if len(set(found.values())) != 1:
        raise LabError(f"execution clients of one genesis have several: {found}")
    return found[lab.hosts[0].name]


def _install(host: Host, client: Path, secret: str) -> None:
    root = machine.root(host)
    if (root / f"etc/systemd/system/{UNIT}.service").exists():
        machine.execute(host, ["systemctl", "start", f"{UNIT}.service"])
        return
    machine.execute(host, ["useradd", "--system", "--user-group", "--home-dir", HOME, "--create-home", USER])
    shutil.copyfile(client, root / _PROGRAM.lstrip("/"))
    (root / _PROGRAM.lstrip("/")).chmod(0o755)
    (root / HOME.lstrip("/") / "genesis.json").write_text(GENESIS.read_text(encoding="utf-8"), encoding="utf-8")
    machine.execute(host, ["install", "-m", "0600", "-o", USER, "/dev/stdin", f"{HOME}/jwt.hex"], stdin=secret)
    machine.execute(host, ["install", "-d", "-m", "0755", os.path.dirname(_SECRET)])
    as_user = ["runuser", "--user", USER, "--", _PROGRAM, "--datadir", HOME]
    machine.execute(host, [*as_user, "init", f"{HOME}/genesis.json"])
    machine.execute(host, ["tee", f"/etc/systemd/system/{UNIT}.service"], stdin=_UNIT_FILE)
    machine.execute(host, ["systemctl", "daemon-reload"])
    machine.execute(host, ["systemctl", "enable", "--now", "--quiet", f"{UNIT}.service"])
    if translated():
        machine.execute(host, ["tee", _PROXY], stdin=Path(__file__).with_name("proxy.py").read_text(encoding="utf-8"))
        machine.execute(host, ["tee", "/etc/systemd/system/evm-proxy.service"], stdin=_PROXY_FILE)
        machine.execute(host, ["systemctl", "daemon-reload"])
        machine.execute(host, ["systemctl", "enable", "--now", "--quiet", "evm-proxy.service"])


def give_secret(host: Host, lab: Settings) -> None:
    """Let the node of a host read the secret, as its operator would."""
    secret = (lab.state / "jwt.hex").read_text(encoding="utf-8")
    give = ["install", "-m", "0640", "-o", "root", "-g", lab.layout.group, "/dev/stdin", _SECRET]
    machine.execute(host, give, stdin=secret)


def put_block(host: Host) -> None:
    """Let a client make an empty block that its node knows nothing of."""
    time = int(ask(host, "eth_getBlockByNumber", "latest", False)["timestamp"], 16) + 1
    attributes = {
        "timestamp": hex(time),
        "prevRandao": _NO_HASH,
        "suggestedFeeRecipient": FEE_RECIPIENT,
        "withdrawals": [],
        "parentBeaconBlockRoot": _NO_HASH,
    }
    ask(host, "testing_commitBlockV1", attributes, [], None)


def wait(host: Host) -> str:
    """Wait until the client of a host answers, and return the hash of its genesis."""
    found = ""

    def missing() -> str | None:
        nonlocal found
        try:
            found = ask(host, "eth_getBlockByNumber", "0x0", False)["hash"]
        except RpcError as error:
            return str(error)
        return None

    wait_for(f"an answer of the execution client on {host.name}", missing, timeout=60, interval=0.2)
    return found


def accounts() -> dict[str, str]:
    """The funded account of the genesis: its address and private key, the first of a mnemonic that everybody knows."""
    address = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
    assert address in json.loads(GENESIS.read_text(encoding="utf-8"))["alloc"]
    return {address: "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"}
