# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""Read the head of a stopped node, by letting its own binary open the store where nobody can reach it."""

from __future__ import annotations

import contextlib
import socket
import typing as t

from ._errors import HaError
from ._process import run as _run
from ._rpc import NodeClient, RpcError
from ._status import hash_of, header_at
from ._systemd import active_state
from ._transient import Transient, end, last_words, launch, main_pid, may_configure_networks, network_of
from ._wait import SYSTEM_CLOCK, Clock, wait_until

if t.TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from ._process import Runner

# Not needed to read a store; a token has no business on a command line.
_DROPPED = ("--evnode.da.auth_token", "--evnode.da.address", "--evnode.p2p.peers", "--evnode.log.format")
_STOPPED = ("inactive", "failed")


class HeadError(HaError):
    """The head of a store cannot be read."""


class RunningError(HeadError):
    """The node is not stopped."""


class Store(t.NamedTuple):
    """A stopped node: its unit, how it would run as a follower, and how long reading may take (seconds).

    ``arguments`` may be the application's flags alone. ``private``: in a network of its own, where the host allows it.
    """

    unit: str
    binary: str
    home: str
    user: str
    group: str
    arguments: Sequence[str]
    heights: Sequence[int] = ()
    timeout: float = 30
    private: bool = True


def arguments_of(store: Store, rpc_port: int, p2p_port: int) -> list[str]:
    """Return the command line of the reader: a follower with no peers and no data availability layer.

    With a DA address the node would fetch blocks, and the head read would no longer be the head found. The last of two
    equal flags wins, and a flag wins over the file.
    """
    kept = list(store.arguments)
    if not kept or kept[0].startswith("-"):
        kept = ["start", "--home", store.home, *kept]
    for name in _DROPPED:
        kept = without_flag(kept, name)
    return [
        store.binary,
        *kept,
        "--evnode.node.aggregator=false",
        "--evnode.raft.enable=false",
        "--evnode.da.address=",
        "--evnode.p2p.peers=",
        f"--evnode.p2p.listen_address=/ip4/127.0.0.1/tcp/{p2p_port}",
        f"--evnode.rpc.address=127.0.0.1:{rpc_port}",
        "--evnode.log.format=json",
    ]


def without_flag(arguments: Sequence[str], name: str) -> list[str]:
    """Return the arguments without a flag, in both spellings (``--flag=value`` and ``--flag value``)."""
    kept: list[str] = []
    skip = False
    for item in arguments:
        if skip:
            skip = False
        elif item == name:
            skip = True
        elif not item.startswith(f"{name}="):
            kept.append(item)
    return kept


def read_head(
    store: Store,
    *,
    run: Runner = _run,
    clock: Clock = SYSTEM_CLOCK,
    network: Callable[[int], AbstractContextManager[bool]] = network_of,
    client: Callable[[str], NodeClient] = NodeClient,
) -> dict[str, t.Any]:
    """Return ``height``, ``hash``, ``app_hash``, ``chain_id``, ``time`` and the ``headers`` at the heights asked for.

    That the store opens is at the same time the proof that no other process has it.
    """
    service = store.unit if store.unit.endswith(".service") else f"{store.unit}.service"
    state = active_state(service, run=run)
    if state not in _STOPPED:
        raise RunningError(
            f"Expected {service} to be stopped, found it {state}; ask it with node_status_info, or stop it"
        )
    reader = f"evnode-head-{service}"
    rpc_port, p2p_port = free_ports(2)
    properties = {
        "User": store.user,
        "Group": store.group,
        "WorkingDirectory": store.home,
        "TimeoutStopSec": "30",
        **({"PrivateNetwork": "yes"} if store.private and may_configure_networks() else {}),
    }
    try:
        launch(Transient(reader, arguments_of(store, rpc_port, p2p_port), store.timeout + 60, properties), run=run)
        pid = main_pid(reader, run=run)
        node = client(f"127.0.0.1:{rpc_port}")
        with network(pid) if pid else contextlib.nullcontext(False):
            waited = wait_until(
                lambda: _answer(node, reader, run), _told, timeout=store.timeout, interval=0.05, clock=clock
            )
            if not waited.ok or isinstance(waited.last, str):
                raise HeadError(
                    f"Expected the store of {service} to open within {store.timeout:g} s, found: {waited.last}. "
                    f"Its last lines: {last_words(reader, run=run)}"
                )
            head = _head(node, store, waited.last)
    finally:
        end(reader, run=run)
    return head


def free_ports(count: int) -> list[int]:
    """Return TCP ports of loopback that nothing listens on at this moment."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _each in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def _answer(node: NodeClient, reader: str, run: Runner) -> dict[str, t.Any] | RpcError | str:
    try:
        return node.state()
    except RpcError as exc:
        state = active_state(reader, run=run)
        # Ended on its own: the words are final, there is nothing to wait for.
        return f"the node ended ({state})" if state in _STOPPED else exc


def _told(answer: dict[str, t.Any] | RpcError | str) -> bool:
    return not isinstance(answer, RpcError)


def _head(node: NodeClient, store: Store, state: dict[str, t.Any]) -> dict[str, t.Any]:
    height = state["height"]
    head = {name: state[name] for name in ("height", "app_hash", "chain_id", "time")}
    head["hash"] = hash_of(node, height) if height else None
    if height and head["hash"] is None:
        raise HeadError(
            f"The store in {store.home} is at {height} and its header store at {node.p2p_head()['height']}; "
            "start the node as a follower once so that both are equal, or copy the store again"
        )
    head["da_included"] = _da_included(node)
    known = {"height": height, "head_hash": head["hash"]}
    head["headers"] = {str(asked): header_at(node, asked, known) for asked in store.heights if 0 < asked <= height}
    return head


def _da_included(node: NodeClient) -> int | None:
    """Return the height up to which blocks are on the data availability layer; None where the store knows of none."""
    try:
        return node.metadata("d")
    except RpcError:
        return None
