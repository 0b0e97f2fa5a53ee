# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Debian image that all hosts share, made by debootstrap and cached until its inputs change."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError
from lab.shell import run

# Later systemd releases refuse the hybrid cgroup v1 hierarchy that some lab machines still have.
SUITE = "bookworm"
FORMAT = "1"

_HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Mirror:
    """An apt source of the lab machine."""

    site: str
    release: str
    origin: str


def packages() -> list[str]:
    """Names of the packages that the image holds beyond Debian's minimum."""
    return (_HERE / "packages.txt").read_text(encoding="utf-8").split()


def image_id() -> str:
    """Twelve hex digits that change whenever the image has to be built again."""
    digest = hashlib.sha256()
    for part in (FORMAT, SUITE, *packages(), (_HERE / "setup.sh").read_text(encoding="utf-8")):
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()[:12]


def parse_targets(text: str) -> list[Mirror]:
    """Sources out of lines `site<TAB>release<TAB>component<TAB>origin`, main component only."""
    mirrors = []
    for line in text.splitlines():
        fields = line.split("\t")
        if len(fields) == 4 and fields[2] == "main" and fields[0].startswith(("http://", "https://", "file:")):
            mirrors.append(Mirror(fields[0].rstrip("/"), fields[1], fields[3]))
    return mirrors


def choose_mirror(mirrors: list[Mirror]) -> Mirror | None:
    """The source to build the image from: one that serves the suite, else any plain Debian release."""
    for mirror in mirrors:
        if mirror.release == SUITE:
            return mirror
    for mirror in mirrors:
        if mirror.origin == "Debian" and not mirror.release.endswith(("-security", "-updates", "-backports")):
            return mirror
    return None


def _mirror() -> str:
    chosen = os.environ.get("EVNODE_LAB_MIRROR")
    if chosen:
        return chosen
    form = "$(SITE)\t$(RELEASE)\t$(COMPONENT)\t$(ORIGIN)"
    listed = run(["apt-get", "indextargets", "--format", form, "Created-By: Packages"])
    mirror = choose_mirror(parse_targets(listed.stdout))
    if mirror is None:
        raise LabError(
            f"no Debian {SUITE} source in the apt configuration of the lab machine; "
            "set EVNODE_LAB_MIRROR to the address of a Debian mirror"
        )
    return mirror.site


def _environment() -> dict[str, str]:
    """A plain environment that keeps what the lab machine uses to reach its mirror."""
    kept = {key: value for key, value in os.environ.items() if key.lower().endswith(("_proxy", "ssl_cert_file"))}
    proxy = run(["apt-config", "shell", "PROXY", "Acquire::http::Proxy"]).stdout.strip()
    if proxy.startswith("PROXY='") and "http_proxy" not in kept:
        kept["http_proxy"] = proxy[len("PROXY='") : -1]
    return {**kept, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}


@contextlib.contextmanager
def _locked(cache: Path) -> Iterator[None]:
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def path(cache: Path) -> Path:
    """Where the image of today's inputs is, or will be."""
    return cache / f"image-{image_id()}"


def ensure(cache: Path) -> Path:
    """The image's root folder; built first when it is not in the cache. Takes one to two minutes then."""
    target = path(cache)
    if target.is_dir():
        return target
    with _locked(cache):
        if not target.is_dir():
            _build(cache, target)
    return target


def _build(cache: Path, target: Path) -> None:
    for left in cache.glob("building-*"):
        shutil.rmtree(left)
    mirror = _mirror()
    print(f"building the host image once with debootstrap ({SUITE} from {mirror}), about a minute", flush=True)
    work = Path(tempfile.mkdtemp(prefix="building-", dir=cache))
    root = work / "root"
    try:
        run(
            [
                "debootstrap", "--variant=minbase", "--components=main", f"--include={','.join(packages())}",
                SUITE, str(root), mirror,
            ],
            timeout=1200,
            env=_environment(),
        )  # fmt: skip
        shutil.copy(_HERE / "setup.sh", root / "setup.sh")
        run(["chroot", str(root), "/bin/sh", "/setup.sh"], timeout=120, env=_environment())
        (root / "setup.sh").unlink()
        root.chmod(0o755)
        run(["sync", "-f", str(root)])
        root.rename(target)
    except LabError as error:
        log = root / "debootstrap" / "debootstrap.log"
        tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:] if log.exists() else []
        raise LabError(" / ".join([f"the host image could not be built: {error}", *tail])) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
