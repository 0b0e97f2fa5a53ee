# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""Programs that stay on a host: some of this collection's own sources in one file that Python runs."""

from __future__ import annotations

import importlib
import inspect
import io
import typing as t
import zipfile

if t.TYPE_CHECKING:
    from collections.abc import Iterable


SWITCHING = (
    "_errors",
    "_files",
    "_half_copy",
    "_journal",
    "_mode",
    "_packed",
    "_process",
    "_raft_probe",
    "_raft_store",
    "_systemd",
    "_wait",
)
"""What a program needs that asks for proof, turns the switch and starts the node."""


def pack(parts: Iterable[str], entry: str) -> bytes:
    """Return the program that calls ``main`` of the module ``entry`` with its arguments.

    ``parts`` are the modules of this package that it needs, ``entry`` among them, as names below this package.
    """
    package = __name__.rpartition(".")[0]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("evnode_ha/__init__.py"), "")
        for part in parts:
            found = importlib.import_module(f"{package}.{part}")
            path = part.replace(".", "/") + ("/__init__" if hasattr(found, "__path__") else "")
            archive.writestr(zipfile.ZipInfo(f"evnode_ha/{path}.py"), inspect.getsource(found))
        start = f"import sys\nfrom evnode_ha.{entry} import main\nsys.exit(main(sys.argv[1:]))\n"
        archive.writestr(zipfile.ZipInfo("__main__.py"), start)
    return packed.getvalue()
