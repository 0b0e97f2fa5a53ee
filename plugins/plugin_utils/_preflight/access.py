# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""Whether the controller gets at the hosts."""

from __future__ import annotations

import re
import typing as t

from .._verdicts import BLOCK, OK, WARN, Verdict
from .evidence import failure

if t.TYPE_CHECKING:
    from collections.abc import Iterator

    from .evidence import Evidence

# Reading a host takes about a second, on a small machine and with four others at the same time.
_TASK_S = 8.0
_NO_SUDO = re.compile(r"sudo|become|privilege escalation|not in the sudoers|password is required", re.IGNORECASE)


def reachable(evidence: Evidence) -> Iterator[Verdict]:
    """Every host could be read."""
    for member in evidence.members:
        name = str(member["name"])
        host = evidence.hosts.get(name)
        reason = failure(host)
        if reason is None:
            yield Verdict("reachable", OK, name, "facts of the host", "read")
        elif host and host.get("unreachable"):
            remedy = "check ansible_host, ssh and the network, then run preflight again"
            yield Verdict("unreachable", BLOCK, name, "an answer over ssh", reason, remedy)
        elif _NO_SUDO.search(reason):
            remedy = "allow the login user sudo without a password, or give --ask-become-pass"
            yield Verdict("no-sudo", BLOCK, name, "root by become", reason, remedy)
        else:
            remedy = "correct what the message says, then run preflight again"
            yield Verdict("host-unread", BLOCK, name, "facts of the host", reason, remedy)


def tasks(evidence: Evidence) -> Iterator[Verdict]:
    """A stage is a dozen tasks and more, and each waits for the slowest member."""
    for name, host in evidence.answering.items():
        clock = host.get("clock") or {}
        before, after = clock.get("controller_before"), clock.get("controller_after")
        if before is not None and after is not None and after - before > _TASK_S:
            remedy = "find out what is slow (name resolution of sshd, sudo, the disk, the way): a run has fifty tasks"
            expected = f"a task on the host within {_TASK_S:g} s"
            yield Verdict("slow-tasks", WARN, name, expected, f"{after - before:.1f} s", remedy)


def forks(evidence: Evidence) -> Iterator[Verdict]:
    """The window is one task, and it lasts until every member has taken part."""
    count = len(evidence.members)
    forks = int(evidence.options.get("forks") or count)
    if forks < count:
        remedy = "set forks in ansible.cfg, or --forks: the cutover needs all members at the same time"
        severity = WARN if evidence.migrated else BLOCK
        yield Verdict("few-forks", severity, "all", f"at least {count} forks of Ansible", str(forks), remedy)
