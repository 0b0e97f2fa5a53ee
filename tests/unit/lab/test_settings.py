# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest

from lab import fleet, network
from lab.errors import LabError
from lab.settings import beside, from_environment, index_for


def test_defaults_and_addresses(tmp_path: Path) -> None:
    lab = from_environment({}, tmp_path)
    assert (lab.name, lab.index, lab.layout.name) == ("lab", 0, "default")
    assert lab.gateway == "10.87.0.1"
    assert [(host.name, host.address) for host in lab.hosts] == [
        (f"node-{number}", f"10.87.0.{10 + number}") for number in range(1, 6)
    ]
    assert lab.inventory == tmp_path / "build" / "lab" / "lab" / "inventory.yml"


def test_index_is_stable_and_never_that_of_the_default_lab() -> None:
    names = ["ci", "alt", "bench", "x", "lab-2"]
    assert [index_for(name) for name in names] == [index_for(name) for name in names]
    assert all(1 <= index_for(name) <= 9 for name in names)
    assert index_for("lab") == 0


def test_an_existing_lab_keeps_its_layout_and_index_unless_told_otherwise(tmp_path: Path) -> None:
    record = tmp_path / "build" / "lab" / "x" / "made.json"
    record.parent.mkdir(parents=True)
    record.write_text('{"layout": "alternative", "index": 4}', encoding="utf-8")
    lab = from_environment({"LAB_NAME": "x"}, tmp_path)
    assert (lab.layout.name, lab.index) == ("alternative", 4)
    lab = from_environment({"LAB_NAME": "x", "LAB_LAYOUT": "default", "LAB_INDEX": "5"}, tmp_path)
    assert (lab.layout.name, lab.index) == ("default", 5)


@pytest.mark.parametrize(
    "environ",
    [
        {"LAB_NAME": "Lab"},
        {"LAB_NAME": "../x"},
        {"LAB_NAME": "a" * 21},
        {"LAB_INDEX": "10"},
        {"LAB_INDEX": "-1"},
        {"LAB_LAYOUT": "nosuch"},
        {"LAB_LAYOUT": "../settings"},
    ],
)
def test_bad_values_are_refused_by_name(environ: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(LabError, match=next(iter(environ))):
        from_environment(environ, tmp_path)


def test_names_of_interfaces_fit_the_kernel(tmp_path: Path) -> None:
    lab = from_environment({"LAB_NAME": "a" * 20}, tmp_path)
    assert len(lab.uplink) <= 15
    assert all(len(host.port) <= 15 and len(host.machine) <= 64 for host in lab.hosts)


def test_unknown_host(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="node-1, node-2"):
        from_environment({}, tmp_path).host("node-9")


@pytest.mark.parametrize(("layout", "service"), [("default", "ev-node"), ("alternative", "rollup-sequencer")])
@pytest.mark.parametrize("ipv6", [False, True])
def test_inventory_has_the_shape_of_an_operators(
    layout: str, service: str, ipv6: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "has_ipv6", lambda: ipv6)
    own = {"evnode_address": "fd87::0:11"} if ipv6 and layout == "alternative" else {}
    lab = from_environment({"LAB_LAYOUT": layout}, tmp_path)
    inventory = fleet.inventory(lab)["all"]
    members = inventory["children"]["evnode_members"]
    assert members["children"]["evnode_sequencer"]["hosts"] == {"node-1": {"ansible_host": "10.87.0.11", **own}}
    assert sorted(members["children"]["evnode_joiners"]["hosts"]) == ["node-2", "node-3", "node-4", "node-5"]
    assert members["vars"]["evnode_service"] == service
    assert "vars" not in inventory, "the example sets nothing for all hosts: localhost would see it"
    assert members["vars"]["ansible_user"] == "operator"
    assert "StrictHostKeyChecking=yes" in members["vars"]["ansible_ssh_common_args"]


def test_control_path_leaves_room_for_a_socket_name(tmp_path: Path) -> None:
    lab = from_environment({"LAB_NAME": "a" * 20}, tmp_path)
    folder = fleet.inventory(lab)["all"]["children"]["evnode_members"]["vars"]["ansible_control_path_dir"]
    # sun_path is 108 bytes; ansible appends ten, ssh another seventeen while it binds.
    assert len(folder) + 1 + 10 + 17 < 108


def test_labs_beside_each_other_share_nothing(tmp_path: Path) -> None:
    for index in range(10):
        first = from_environment({"LAB_NAME": "x", "LAB_INDEX": str(index)}, tmp_path)
        labs = [first, *beside(first, 3)]
        assert len(labs) == 4
        for what in ("name", "index", "state", "run_dir", "subnet", "uplink", "switch_netns"):
            assert len({getattr(lab, what) for lab in labs}) == 4, what
        assert 0 not in [lab.index for lab in labs[1:]], "that one is for people"


def test_a_lab_has_as_many_hosts_as_asked_for_and_knows_those_of_an_earlier_one(tmp_path: Path) -> None:
    lab = from_environment({"LAB_HOSTS": "3"}, tmp_path)
    assert [host.name for host in lab.hosts] == ["node-1", "node-2", "node-3"]
    assert len(lab.possible) == len(from_environment({}, tmp_path).hosts) == 5
    with pytest.raises(LabError, match="expected 3 or 5"):
        from_environment({"LAB_HOSTS": "4"}, tmp_path)
