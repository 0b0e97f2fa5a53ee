#!/usr/bin/python

# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rtt_info
short_description: Measure the round-trip times from a host to its peers
version_added: 0.1.0
author: The evnode.sequencer_ha authors (@evnode)
description:
  - Sends ICMP echo requests to all peers in parallel, and tries TCP connects for a peer that answers none.
  - Run on all members it gives the full mesh in the time of one measurement. The filter
    P(evnode.sequencer_ha.raft_timings#filter) makes Raft timings of the largest value.
  - Tries whether packets of the route's full size arrive, too.
  - A peer that does not answer is a result and not a failure.
extends_documentation_fragment:
  - evnode.sequencer_ha._attributes
  - evnode.sequencer_ha._attributes.actiongroup
  - evnode.sequencer_ha._attributes.info
options:
  peers:
    description:
      - The peers, each with C(name), to be found again in the result, and C(address), its IP address. Other keys are
        ignored, so that a list of members can be given as it is.
    type: list
    elements: dict
    required: true
  count:
    description: How many requests each peer is sent.
    type: int
    default: 20
  interval:
    description: Seconds from one request to the next.
    type: float
    default: 0.05
  timeout:
    description: Seconds to wait for the last answers, and for each TCP connect.
    type: float
    default: 1.0
  port:
    description: TCP port to connect to where ICMP gets no answer. A refused connection counts as an answer.
    type: int
"""

EXAMPLES = r"""
- name: Measure the mesh
  evnode.sequencer_ha.rtt_info:
    peers:
      - name: node-2
        address: 10.0.0.2
      - name: node-3
        address: 10.0.0.3
    port: 22
  register: member_rtt
"""

RETURN = r"""
rtt:
  description: One entry for each peer, in the order given.
  returned: success
  type: list
  elements: dict
  contains:
    peer:
      description: Name of the peer.
      type: str
    address:
      description: Its address.
      type: str
    method:
      description: What answered, V(icmp) or V(tcp).
      type: str
    sent:
      description: Requests sent.
      type: int
    received:
      description: Answers received.
      type: int
    loss:
      description: Part of the requests that were not answered, 0 to 1.
      type: float
    min_ms:
      description: Shortest time in milliseconds, V(null) without any answer. So are the next three.
      type: float
    avg_ms:
      description: Mean time.
      type: float
    max_ms:
      description: Longest time.
      type: float
    jitter_ms:
      description: Mean difference from one answer to the next.
      type: float
    mtu:
      description: Largest packet of the route in bytes; V(null) where echo requests get no answer.
      type: int
    full_size:
      description: Whether packets of that size are answered; V(null) where it could not be tried.
      type: bool
    reason:
      description: Why there is no time; only where no answer came.
      type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evnode.sequencer_ha.plugins.module_utils._errors import HaError
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._rtt import Peer, Plan, measure


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "peers": {"type": "list", "elements": "dict", "required": True},
            "count": {"type": "int", "default": 20},
            "interval": {"type": "float", "default": 0.05},
            "timeout": {"type": "float", "default": 1.0},
            "port": {"type": "int"},
        },
        supports_check_mode=True,
    )
    params = module.params
    if params["count"] < 1 or params["interval"] <= 0 or params["timeout"] <= 0:
        module.fail_json(msg="Expected count, interval and timeout above zero, found one that is not; correct it")
    try:
        peers = [Peer(str(peer["name"]), str(peer["address"])) for peer in params["peers"]]
    except KeyError as exc:
        module.fail_json(msg=f"Expected a name and an address for each peer, found one without {exc}; add it")
    try:
        rtt = measure(peers, Plan(params["count"], params["interval"], params["timeout"], params["port"]))
    except HaError as exc:
        module.fail_json(msg=exc.message)
    module.exit_json(changed=False, rtt=rtt)


if __name__ == "__main__":
    main()
