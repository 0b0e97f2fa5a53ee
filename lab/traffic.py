# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Send transactions to a chain, remember what it accepted, and count later what became of each.

`python3 -m lab traffic start HOST`, `stop`, `check HOST`. The log has one JSON object a line:
`{"tx": "key=value", "at": <seconds since 1970>, "host": "node-1", "outcome": "accepted"}`; an outcome is
`accepted` (202), `refused` (an answer other than 202, or no connection: certainly not in the chain's memory)
or `unknown` (sent, but no answer came).
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

from lab import chain, processes
from lab.errors import LabError
from lab.settings import CHECKOUT, Settings, from_environment
from lab.shell import wait_for


@dataclass(frozen=True)
class Attempt:
    """One transaction that was offered. `at` is seconds since 1970, taken when the answer was there."""

    tx: str
    at: float
    host: str
    outcome: str
    detail: str = ""


@dataclass(frozen=True)
class Verdict:
    """What became of the accepted transactions; lists are in the order of sending."""

    accepted: int
    once: int
    missing: list[Attempt]
    duplicate: list[Attempt]
    refused: int
    unknown: int
    unknown_included: int
    first_height: int
    last_height: int


def log_path(lab: Settings) -> Path:
    return lab.state / "traffic.jsonl"


def _record(lab: Settings) -> Path:
    return lab.run_dir / "traffic.pid.json"


class Sender:
    """Offers transactions to the application port of a host over one connection, which is made anew after an error."""

    def __init__(self, address: str, port: int, host: str, timeout: float = 2.0) -> None:
        self._address, self._port, self._host, self._timeout = address, port, host, timeout
        self._connection: http.client.HTTPConnection | None = None

    def offer(self, tx: str) -> Attempt:
        """Offer one transaction and say what came of it."""
        sent = False
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection(self._address, self._port, timeout=self._timeout)
                self._connection.connect()
            sent = True
            self._connection.request("POST", "/tx", tx)
            answer = self._connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            if self._connection is not None:
                self._connection.close()
            self._connection = None
            outcome = "unknown" if sent else "refused"
            return Attempt(tx, time.time(), self._host, outcome, f"{type(error).__name__}: {error}")
        outcome = "accepted" if answer.status == 202 else "refused"
        return Attempt(tx, time.time(), self._host, outcome, "" if answer.status == 202 else f"status {answer.status}")


def transactions(run: str) -> Iterator[str]:
    """Transactions with keys that occur once in the world."""
    number = 0
    while True:
        number += 1
        yield f"{run}-{number}=v{number}"


def send(lab: Settings, host_name: str, rate: float) -> None:
    """Offer `rate` transactions a second to a host until SIGTERM, appending every attempt to the log."""
    host = lab.host(host_name)
    stopped = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    sender = Sender(host.address, lab.layout.ports["app"], host.name)
    due = time.monotonic()
    with log_path(lab).open("a", encoding="utf-8", buffering=1) as log:
        for tx in transactions(f"t{uuid.uuid4().hex[:8]}"):
            if stopped:
                return
            log.write(json.dumps(asdict(sender.offer(tx))) + "\n")
            # A node that was slow to answer is not flooded afterwards.
            due = max(due + 1 / rate, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))


def start(lab: Settings, host_name: str, rate: float) -> None:
    """Start a sender in the background; it is ended by `stop` or by the lab's `down`. LabError when one runs."""
    lab.host(host_name)
    if processes.recorded(_record(lab)) is not None:
        raise LabError("a traffic sender runs already; end it with `python3 -m lab traffic stop`")
    if not lab.state.is_dir():
        raise LabError(f"there is no lab {lab.name!r}; run `python3 -m lab chain-up`")
    argv = [sys.executable, "-m", "lab.traffic", host_name, str(rate)]
    sender = processes.start(
        argv, record=_record(lab), log=lab.state / "traffic.log", env=dict(os.environ), cwd=CHECKOUT
    )
    before = len(read(log_path(lab)))

    def missing() -> str | None:
        if not sender.alive():
            raise LabError(f"the traffic sender ended at once; see {lab.state / 'traffic.log'}")
        return None if len(read(log_path(lab))) > before else "nothing sent yet"

    wait_for("first transaction", missing, timeout=15)


def stop(lab: Settings) -> bool:
    """End the sender; True when one was running."""
    return processes.end(_record(lab), soft=5)


def read(log: Path) -> list[Attempt]:
    """All attempts of a log; a line that is being written is left out."""
    try:
        text = log.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return [Attempt(**json.loads(line)) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def judge(attempts: Iterable[Attempt], blocks: Iterable[tuple[int, Iterable[bytes]]]) -> Verdict:
    """Compare attempts with the transactions of blocks, given as (height, transactions)."""
    seen: Counter[str] = Counter()
    heights = []
    for height, included in blocks:
        heights.append(height)
        seen.update(tx.decode("utf-8", errors="replace") for tx in included)
    by_outcome: dict[str, list[Attempt]] = {"accepted": [], "refused": [], "unknown": []}
    for attempt in attempts:
        by_outcome[attempt.outcome].append(attempt)
    accepted = by_outcome["accepted"]
    return Verdict(
        accepted=len(accepted),
        once=sum(1 for attempt in accepted if seen[attempt.tx] == 1),
        missing=[attempt for attempt in accepted if seen[attempt.tx] == 0],
        duplicate=[attempt for attempt in accepted if seen[attempt.tx] > 1],
        refused=len(by_outcome["refused"]),
        unknown=len(by_outcome["unknown"]),
        unknown_included=sum(1 for attempt in by_outcome["unknown"] if seen[attempt.tx] > 0),
        first_height=min(heights, default=0),
        last_height=max(heights, default=0),
    )


def check(lab: Settings, host_name: str, settle: float = 10.0) -> Verdict:
    """Read the whole chain from a host's node and judge every attempt.

    Waits up to `settle` seconds for transactions that were accepted and are in no block yet.
    """
    host = lab.host(host_name)
    # A node that has just been started does not answer yet.
    chain.wait_for_blocks(lab, host, above=0)
    rpc = chain.node(lab, host)
    blocks: dict[int, tuple[bytes, ...]] = {}
    deadline: float | None = None
    try:
        while True:
            for height in range(len(blocks) + 1, rpc.height() + 1):
                blocks[height] = rpc.block(height).transactions
            verdict = judge(read(log_path(lab)), blocks.items())
            # Counted from the first complete look, because reading a long chain takes its time.
            deadline = deadline if deadline is not None else time.monotonic() + settle
            if not verdict.missing or time.monotonic() >= deadline:
                return verdict
            time.sleep(0.5)
    finally:
        rpc.close()


if __name__ == "__main__":
    send(from_environment(), sys.argv[1], float(sys.argv[2]))
