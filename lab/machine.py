# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One host: an overlay over the image, booted by systemd-nspawn.

The overlay is mounted in a mount namespace that only the machine has, so a machine that dies leaves no mount behind.
The machine lives in cgroups of its own; what is in them belongs to it, whatever became of its record.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path

from lab import processes
from lab.errors import LabError
from lab.settings import LOGIN_USER, Host
from lab.shell import run, wait_for

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# As lab/image/setup.sh makes them.
_OPERATOR_UID, _USERS_GID = 1000, 100

# Expects: image, upper, work, root, then the command of the machine.
_MOUNT_AND_BOOT = 'mount -t overlay overlay -o "lowerdir=$1,upperdir=$2,workdir=$3" "$4" || exit 1; shift 4; exec "$@"'


def cgroups(host: Host, create: bool = False) -> list[Path]:
    """The machine's cgroups, one in each hierarchy that systemd uses for processes."""
    base = Path("/sys/fs/cgroup")
    roots = [root for root in (base / "systemd", base / "unified") if (root / "cgroup.procs").exists()]
    if not roots and (base / "cgroup.controllers").exists():
        roots = [base]
    if not roots:
        raise LabError(f"no cgroup hierarchy below {base} on the lab machine; systemd hosts cannot boot without one")
    found = [root / f"evnode-lab-{host.lab}" / host.name for root in roots]
    if create:
        for group in found:
            try:
                group.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise LabError(
                    f"cannot make the cgroup {group}: {error.strerror}; the lab needs it writable"
                ) from error
    return found


def _below(group: Path) -> list[Path]:
    """A cgroup and all in it, as far as they do not vanish meanwhile."""
    return [Path(folder) for folder, _folders, _files in os.walk(group)]


def _pids(host: Host) -> set[int]:
    found: set[int] = set()
    for group in cgroups(host):
        for path in _below(group):
            with contextlib.suppress(OSError):
                found |= {int(pid) for pid in (path / "cgroup.procs").read_text(encoding="ascii").split()}
    return {pid for pid in found if processes.start_time(pid) is not None}


def write_identity(host: Host, *, public_key: str, host_key: Path) -> None:
    """Write what makes this host itself, before its first boot: name, machine id, ssh keys."""
    shutil.rmtree(host.folder, ignore_errors=True)
    for folder in (host.upper, host.folder / "work", host.folder / "root"):
        folder.mkdir(parents=True)
    # The upper folder's own mode and owner become those of the host's root folder.
    host.upper.chmod(0o755)
    etc = host.upper / "etc"
    (etc / "ssh").mkdir(parents=True)
    (etc / "hostname").write_text(f"{host.name}\n", encoding="ascii")
    # Debian's own way: the name resolves to loopback, not to the address that others know.
    (etc / "hosts").write_text(f"127.0.0.1\tlocalhost\n127.0.1.1\t{host.name}\n", encoding="ascii")
    (etc / "machine-id").write_text(f"{uuid.uuid4().hex}\n", encoding="ascii")
    shutil.copy(host_key, etc / "ssh" / "ssh_host_ed25519_key")
    (etc / "ssh" / "ssh_host_ed25519_key").chmod(0o600)
    shutil.copy(host_key.with_suffix(".pub"), etc / "ssh" / "ssh_host_ed25519_key.pub")
    ssh = host.upper / "home" / LOGIN_USER / ".ssh"
    ssh.mkdir(parents=True)
    keys = ssh / "authorized_keys"
    keys.write_text(public_key, encoding="ascii")
    keys.chmod(0o600)
    ssh.chmod(0o700)
    for path in (ssh.parent, ssh, keys):
        os.chown(path, _OPERATOR_UID, _USERS_GID)


def is_on(host: Host) -> bool:
    """Whether the machine runs."""
    return processes.recorded(host.record) is not None


def power_on(host: Host, image: Path) -> None:
    """Start the machine; returns at once. Does nothing when it is on."""
    if is_on(host):
        return
    clear(host)
    if not host.upper.is_dir():
        raise LabError(f"{host.name} does not exist: {host.upper} is missing; run `python3 -m lab up`")
    shutil.rmtree(host.folder / "work", ignore_errors=True)
    (host.folder / "work").mkdir()
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _MOUNT_AND_BOOT, "machine"]
    argv += [str(image), str(host.upper), str(host.folder / "work"), str(host.folder / "root")]
    argv += ["systemd-nspawn", "--boot", f"--directory={host.folder / 'root'}", f"--machine={host.machine}"]
    argv += [f"--hostname={host.name}", "--keep-unit", "--register=no", f"--network-namespace-path={host.netns_path}"]
    # A host closes ports with its own firewall; the network namespace is the machine's alone.
    argv += ["--capability=CAP_NET_ADMIN"]
    argv += ["--resolv-conf=off", "--timezone=off", "--link-journal=no"]
    env = {"PATH": PATH, "LC_ALL": "C", "SYSTEMD_NSPAWN_LOCK": "0"}
    processes.start(argv, record=host.record, log=host.console, env=env, cgroups=cgroups(host, create=True))


def console_tail(host: Host, lines: int = 3) -> str:
    """The last lines of the machine's console, joined."""
    try:
        text = host.console.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "no console output"
    return " / ".join(line.strip() for line in text.splitlines()[-lines:] if line.strip())


def leader(host: Host) -> int | None:
    """Pid, on the lab machine, of the machine's own process 1; None while it has none."""
    supervisor = processes.recorded(host.record)
    if supervisor is None:
        return None
    for pid in processes.children(supervisor.pid):
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
            for line in status.splitlines():
                if line.startswith("NSpid:") and line.split()[2:] == ["1"]:
                    return pid
    return None


def root(host: Host) -> Path:
    """The root folder of the running machine, as the lab machine sees it; LabError when the machine is off."""
    return Path(f"/proc/{_leader(host)}/root")


def _leader(host: Host) -> int:
    pid = leader(host)
    if pid is None:
        raise LabError(f"{host.name} is off; turn it on with `python3 -m lab power-on {host.name}`")
    return pid


def enter_argv(host: Host, command: Sequence[str]) -> list[str]:
    """The command that runs `command` as root inside the machine; LabError when the machine is off."""
    where = ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wdns=/"]
    env = ["env", "-i", f"PATH={PATH}", "HOME=/root", "LANG=C.UTF-8", f"TERM={os.environ.get('TERM', 'dumb')}"]
    return ["nsenter", f"--target={_leader(host)}", *where, "--", *env, *command]


def execute(
    host: Host, command: Sequence[str], *, check: bool = True, stdin: str | None = None, timeout: float = 60.0
) -> subprocess.CompletedProcess[str]:
    """Run a command as root inside the machine."""
    return run(enter_argv(host, command), check=check, stdin=stdin, timeout=timeout)


def booted(host: Host) -> str | None:
    """None when the machine has finished booting, else what is missing, in words. LabError when it died."""
    if not is_on(host):
        raise LabError(f"{host.name} ended while booting; {host.console} ends with: {console_tail(host)}")
    if leader(host) is None:
        return f"{host.name} has no process 1"
    state = execute(host, ["systemctl", "is-system-running"], check=False).stdout.strip()
    if state == "degraded":
        failed = execute(host, ["systemctl", "list-units", "--failed", "--plain", "--no-legend"], check=False).stdout
        own = [line.split()[0] for line in failed.splitlines() if line.strip()]
        # A chain that failed is the scenario's business, not the boot's.
        return None if own else f"{host.name} is degraded"
    return None if state == "running" else f"{host.name} is {state or 'not answering'}"


def shutdown(host: Host, timeout: float = 90.0) -> None:
    """Power the machine off cleanly; LabError when it has not ended in time."""
    machine = processes.recorded(host.record)
    if machine is not None:
        processes.signal_process(machine, signal.SIGTERM)
        wait_for(f"power-off of {host.name}", lambda: _still(host, machine), timeout=timeout)
    clear(host)


def _still(host: Host, machine: processes.Recorded) -> str | None:
    processes.reap()
    return f"still on; console: {console_tail(host)}" if machine.alive() else None


def power_cut(host: Host) -> None:
    """Kill the machine's process 1, and with it every process of the machine, at once and without notice."""
    pid = leader(host)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    clear(host)


def clear(host: Host) -> None:
    """Kill whatever is left of the machine and remove its traces outside its folder."""

    def survivors() -> str | None:
        processes.reap()
        pids = _pids(host)
        machine = processes.recorded(host.record)
        if machine is not None:
            pids.add(machine.pid)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return f"processes {sorted(pids)}" if pids else None

    wait_for(f"end of all processes of {host.name}", survivors, timeout=15, interval=0.02)
    host.record.unlink(missing_ok=True)
    for group in cgroups(host):
        # Children first; the lab's own folder goes with its last host.
        for path in [*sorted(_below(group), reverse=True), group.parent]:
            with contextlib.suppress(OSError):
                path.rmdir()
    for kind in ("propagate", "unix-export"):
        with contextlib.suppress(OSError):
            (Path("/run/systemd/nspawn") / kind / host.machine).rmdir()


def describe(host: Host) -> dict[str, object]:
    """The machine's state for `status`."""
    pid = leader(host)
    data: dict[str, object] = {"host": host.name, "address": host.address, "on": pid is not None, "pid": pid}
    if pid is not None:
        data["system"] = execute(host, ["systemctl", "is-system-running"], check=False).stdout.strip()
    return data
