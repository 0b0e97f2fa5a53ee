# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside a host, alone, with the standard library only: turn the node into a cluster member at the next block.

No checks and no coordination: at an agreed moment it begins to look at its own node, stops it as soon as a new block is
there, renames the switch and starts it. `rehearse` in `floor.py` sends this file to all hosts at once.

Arguments: one JSON object with `at` (seconds since 1970), `rpc_port`, `unit`, `current` (path of the switch), `leads`
(whether this is the sequencer) and `limit` (seconds to wait for the block). Prints one JSON object with moments in
seconds since 1970 and `height`.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import subprocess
import sys
import time
from typing import Any

POLL = 0.01
# What the node has for its peers, and what it has in its own store.
SHOWN, HELD = "GetP2PStoreInfo", "GetState"


class Watch:
    """The node's heights, over a connection that is kept."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3)

    def height(self, method: str) -> int:
        """Height of the last block that the node shows its peers (SHOWN) or holds itself (HELD)."""
        path = f"/evnode.v1.StoreService/{method}"
        self._connection.request("POST", path, "{}", {"Content-Type": "application/json"})
        found: dict[str, Any] = json.loads(self._connection.getresponse().read())
        if method == HELD:
            return int(found.get("state", {}).get("lastBlockHeight", 0))
        heads = [store.get("head", {}) for store in found.get("stores", []) if store.get("label") == "Header Store"]
        return int(heads[0].get("height", 0)) if heads else 0


def main(plan: dict[str, Any]) -> dict[str, Any]:
    """Do it, and say when."""
    method = SHOWN if plan["leads"] else HELD
    watch = Watch(plan["rpc_port"])
    time.sleep(max(0.0, plan["at"] - time.time()))
    before = watch.height(method)
    end = time.time() + plan["limit"]
    while True:
        height = watch.height(method)
        # What the sequencer has shown twice has left it; a follower has to have it in its own store.
        if height > before and (not plan["leads"] or watch.height(method) == height):
            break
        if time.time() > end:
            raise SystemExit(f"no block above {before} within {plan['limit']} s")
        time.sleep(POLL)
    moments: dict[str, Any] = {"height": height, "seen": time.time()}
    unit = plan["unit"]
    subprocess.run(["systemctl", "stop", unit], check=True)
    moments["stopped"] = time.time()
    fresh = plan["current"] + ".next"
    os.symlink("raft", fresh)
    os.rename(fresh, plan["current"])
    subprocess.run(["systemctl", "start", "--no-block", unit], check=True)
    moments["asked"] = time.time()
    return moments


if __name__ == "__main__":
    print(json.dumps(main(json.loads(base64.b64decode(sys.argv[1])))))
