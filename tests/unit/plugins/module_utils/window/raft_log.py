# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Raft log as a real node left it."""

from __future__ import annotations

import base64
import gzip

# A raft-log.db as it is after a node wrote its membership and nothing else.
SEALED_LOG = gzip.decompress(
    base64.b64decode(
        "H4sIAAAAAAACA+3asUrDUBSA4SS14lDQ3aWzqJimIjoIhTp0rqNLMTdFsElJolQ3EdxF8AGkWunSV/AhnPoOdVScakLvTbVQKgga"
        "5P9CcnKSkxBClnNvNG1kTsZBPzcw4p2lr8eVrIzzMhoyutby6nnj/UUDAAAAAACpo8/o/42J+sxE/6/yxYPb15W37V3eKAAAAAAA"
        "6WMk0UjGA/JyPCAv86LMc1Fy6LnOrHsde/Vgeo2e7MdDDAvR+jw+rV91S82mcG1hl8Ke/vnK4bBdroW1vnZ90akK/1T4wc1lp2Tb"
        "vgiCnlnYWt+IFnOnuGma5l2l/OB6tlgzH6snjuPX6kKbVlxIiguzi62k2BoXd/daoXCDI88Nnu4r0cO39Pa+8BvR9qwpsnxlAAAA"
        "AIC/lkl68VH3rv4DoGkFAAAAAOD/UP3+d+b/4/zn8/8AAAAAAOC3qXl+Nf+v+vMMrwYAAAAAAAAAAAAAAAAAAAAAgNT4ADo6jSYA"
        "gAAA"
    )
)
