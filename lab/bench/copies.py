# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The last copy of the product against `rsync -avz` of the guide, of the same data on the same hosts."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import Any

from lab import chain, machine
from lab.bench import migration
from lab.errors import LabError
from lab.settings import LOGIN_USER, Host, Settings

SPARSE_BYTES = 2 << 30
COPY = "/var/tmp/evnode-bench-copy"
KEY = "/root/.ssh/evnode-bench"
RSYNC_TIMEOUT_S = 300.0


@dataclass
class Copies:
    """Both ways of copying the store. Seconds and bytes."""

    apparent_bytes: int = 0
    """Sum of the sizes of all files, holes included."""
    allocated_bytes: int = 0
    """What they take on disk."""
    sparse_file: str = ""
    """The largest file with holes; `planted` where the node had left none of two GiB and the bench made one."""
    rsync_s: float | None = None
    """`rsync -avz` of the stopped store to one joiner, as in step 5 of the guide."""
    rsync_written_bytes: int | None = None
    rsync_again_s: float | None = None
    """The same once more, after the chain has made some blocks: what a last copy by rsync would cost."""
    rsync_again_written_bytes: int | None = None
    last_copy_s: dict[str, float] = field(default_factory=dict)
    """What each joiner's receipt says of its last copy in the window, all four at once."""
    run: dict[str, Any] | None = None
    """The migration with `evnode_seed: copy`."""
    failed: str = ""


def plant(lab: Settings, copies: Copies) -> None:
    """See to it that the store on the first host has a file of two GiB that is nearly all hole, and measure the store.

    The node has to be stopped.
    """
    host = lab.hosts[0]
    data = f"{lab.layout.home}/data"
    listing = machine.execute(host, ["find", data, "-type", "f", "-printf", "%s %b %p\\n"]).stdout
    files = parse_listing(listing)
    sparse = [(size, path) for size, used, path in files if size >= SPARSE_BYTES - 4096 and used < size // 2]
    if sparse:
        copies.sparse_file = max(sparse)[1].removeprefix(f"{data}/")
    else:
        path = f"{data}/sparse-leftover"
        machine.execute(host, ["truncate", f"--size={SPARSE_BYTES}", path])
        machine.execute(host, ["chown", f"{lab.layout.user}:{lab.layout.group}", path])
        copies.sparse_file = "sparse-leftover (planted)"
        files.append((SPARSE_BYTES, 0, path))
    copies.apparent_bytes = sum(size for size, _used, _path in files)
    copies.allocated_bytes = sum(used for _size, used, _path in files)


def parse_listing(text: str) -> list[tuple[int, int, str]]:
    """Size, bytes on disk and path of each line `SIZE BLOCKS PATH`, blocks of 512 bytes."""
    found = []
    for line in text.splitlines():
        size, blocks, path = line.split(" ", 2)
        found.append((int(size), int(blocks) * 512, path))
    return found


def compare(lab: Settings, copies: Copies) -> None:
    """Measure rsync on the chain that is up; it goes on afterwards."""
    first, joiner = lab.hosts[0], lab.hosts[1]
    unit = f"{lab.layout.unit}.service"
    _trust(first, joiner)
    machine.execute(first, ["systemctl", "stop", unit], timeout=100)
    plant(lab, copies)
    copies.rsync_s, copies.rsync_written_bytes = _rsync(lab, first, joiner)
    machine.execute(first, ["systemctl", "start", unit])
    height = chain.wait_for_blocks(lab, first, above=0)
    chain.wait_for_blocks(lab, first, above=height + 3)
    machine.execute(first, ["systemctl", "stop", unit], timeout=100)
    copies.rsync_again_s, copies.rsync_again_written_bytes = _rsync(lab, first, joiner)
    machine.execute(joiner, ["rm", "-rf", COPY])
    machine.execute(first, ["systemctl", "start", unit])
    chain.wait_for_blocks(lab, first, above=height + 4)


def take(copies: Copies, run: migration.Run, as_json: dict[str, Any]) -> None:
    """Keep what a migration with `evnode_seed: copy` says of its last copy."""
    copies.run = as_json
    copies.last_copy_s = {name: parts["copy_s"] for name, parts in run.members_s.items() if "copy_s" in parts}
    copies.failed = copies.failed or run.failed


def _trust(source: Host, target: Host) -> None:
    """Let root of one host log in on the other, as an operator has to before step 5."""
    machine.execute(source, ["mkdir", "--parents", "--mode=0700", "/root/.ssh"])
    machine.execute(source, ["rm", "-f", KEY, f"{KEY}.pub"])
    machine.execute(source, ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", KEY])
    public = machine.execute(source, ["cat", f"{KEY}.pub"]).stdout
    keys = machine.root(target) / "home" / LOGIN_USER / ".ssh" / "authorized_keys"
    with keys.open("a", encoding="ascii") as file:
        file.write(public)


def _rsync(lab: Settings, source: Host, target: Host) -> tuple[float, int]:
    """Seconds of one `rsync -avz`, and the bytes that it wrote on the target."""
    ssh = f"ssh -i {KEY} -o StrictHostKeyChecking=accept-new -o IdentitiesOnly=yes"
    argv = ["rsync", "-avz", "--stats", "--rsync-path=sudo rsync", "-e", ssh]
    argv += [f"{lab.layout.home}/data/", f"{LOGIN_USER}@{target.address}:{COPY}/"]
    begin = time.monotonic()
    done = machine.execute(source, argv, timeout=RSYNC_TIMEOUT_S)
    return round(time.monotonic() - begin, 3), written(done.stdout)


def written(stats: str) -> int:
    """Bytes that rsync wrote on the receiving side: it rewrites each file that differs as a whole, holes as zeros."""
    found = re.search(r"^Total transferred file size: ([\d,.]+) bytes$", stats, flags=re.MULTILINE)
    if not found:
        raise LabError("rsync told no statistics")
    return int(re.sub(r"[,.]", "", found.group(1)))
