# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python3 -m lab`."""

from __future__ import annotations

import sys


def _main() -> int:
    try:
        from lab.cli import main
    except ModuleNotFoundError as error:
        if error.name != "yaml":
            raise
        print("lab: PyYAML is missing; run `make venv`, then `.venv/bin/python -m lab`", file=sys.stderr)
        return 2
    return main()


if __name__ == "__main__":
    sys.exit(_main())
