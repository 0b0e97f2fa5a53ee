# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signed transactions of one account, nonce by nonce, and what became of each."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import NamedTuple

from eth_account import Account

from lab import execution
from lab.errors import LabError
from lab.rpc import RpcError
from lab.settings import Host

CHAIN_ID = 7331
_GAS, _FEE_WEI = 21_000, 10_000_000_000
_RECEIVER = "0x000000000000000000000000000000000000bEEF"


class Sent(NamedTuple):
    """One transaction: its nonce and hash, and when the client took it, in seconds since 1970."""

    nonce: int
    hash: str
    at: float


class Became(NamedTuple):
    """What became of all: those that are in the chain, those that are not, and the longest time to inclusion."""

    included: int
    missing: list[Sent]
    nonce: int
    slowest_s: float


class Sender:
    """Sends from the funded account to the client of a host, `rate` a second, in a thread, until the block is left."""

    def __init__(self, host: Host, rate: float = 4.0) -> None:
        self.host, self.rate = host, rate
        self.sent: list[Sent] = []
        self.refused: list[str] = []
        ((self.address, self._key),) = execution.accounts().items()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Sender:
        self._thread.start()
        return self

    def __exit__(self, *_error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._ended.set()
        self._thread.join(timeout=30)
        if self._thread.is_alive():
            raise LabError("the sender of transactions did not end")

    def _run(self) -> None:
        nonce = int(execution.ask(self.host, "eth_getTransactionCount", self.address, "pending"), 16)
        while not self._ended.wait(1 / self.rate):
            signed = Account.sign_transaction(
                {
                    "to": _RECEIVER,
                    "value": 1,
                    "gas": _GAS,
                    "maxFeePerGas": _FEE_WEI,
                    "maxPriorityFeePerGas": 1,
                    "nonce": nonce,
                    "chainId": CHAIN_ID,
                    "type": 2,
                },
                self._key,
            )
            raw = signed.raw_transaction.to_0x_hex()
            try:
                found = execution.ask(self.host, "eth_sendRawTransaction", raw)
            except RpcError as error:
                # The same nonce again: a gap would hold up all that follow.
                self.refused.append(str(error))
                continue
            self.sent.append(Sent(nonce, found, time.time()))
            nonce += 1

    def became(self, host: Host) -> Became:
        """Look the transactions up on a host, all of them on its own client."""
        missing: list[Sent] = []
        slowest, times = 0.0, {}
        for sent in self.sent:
            receipt = execution.ask(host, "eth_getTransactionReceipt", sent.hash)
            if receipt is None or receipt["status"] != "0x1":
                missing.append(sent)
                continue
            number = receipt["blockNumber"]
            if number not in times:
                times[number] = int(execution.ask(host, "eth_getBlockByNumber", number, False)["timestamp"], 16)
            slowest = max(slowest, times[number] - sent.at)
        nonce = int(execution.ask(host, "eth_getTransactionCount", self.address, "latest"), 16)
        return Became(len(self.sent) - len(missing), missing, nonce, slowest)
