#!/usr/bin/python

# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: follow_progress
short_description: Wait until a follower is at the tip of the chain, and tell how far it is
version_added: 0.1.0
author: The evnode.sequencer_ha authors (@evnode)
description:
  - Asks the follower for its height with M(evnode.sequencer_ha.node_status_info) again and again, and prints height,
    target, blocks per second and the time left.
  - The target moves with the newest header that the follower knows of, because the chain goes on meanwhile.
extends_documentation_fragment:
  - evnode.sequencer_ha._attributes
  - evnode.sequencer_ha._attributes.actiongroup
attributes:
  check_mode:
    support: full
    details:
      - In check mode it asks once and does not wait.
  diff_mode:
    support: N/A
    details:
      - Changes nothing.
  idempotent:
    support: full
options:
  rpc_address:
    description: Where the follower answers on its own host, as C(host:port).
    type: str
    required: true
  target_height:
    description: Height to reach at least.
    type: int
    required: true
  lag:
    description: Blocks behind the target that count as being there.
    type: int
    default: 2
  timeout:
    description: Seconds to wait at most.
    type: int
    default: 3600
  stall:
    description: Seconds without a new block after which the follower counts as stuck, V(0) for never.
    type: int
    default: 300
  interval:
    description: Seconds between two questions.
    type: float
    default: 2.0
"""

EXAMPLES = r"""
- name: Wait until the follower is at the tip
  evnode.sequencer_ha.follow_progress:
    rpc_address: 127.0.0.1:7331
    target_height: "{{ hostvars['node-1'].chain.status.height }}"
    timeout: 3600
"""

RETURN = r"""
height:
  description: The follower's height at the end; V(null) in check mode where it does not answer.
  returned: success
  type: int
target:
  description: The target at the end.
  returned: success
  type: int
seconds:
  description: How long it took.
  returned: success
  type: float
"""
