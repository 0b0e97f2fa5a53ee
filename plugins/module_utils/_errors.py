# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""The base of every error that a module turns into its one-sentence failure."""

from __future__ import annotations


class HaError(Exception):
    """Something an operator has to know: what was expected, what was found, what to do.

    Each area subclasses it; only a module's ``main`` turns it into ``fail_json``.
    """

    @property
    def message(self) -> str:
        """The sentence for the operator."""
        return str(self)
