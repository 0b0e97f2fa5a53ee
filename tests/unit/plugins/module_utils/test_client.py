# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Execution clients as units: where their data are, and how they are stopped and started with their nodes."""

from __future__ import annotations

import getpass
import typing as t

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.module_utils import (
    _client_service,
    _client_unit,
    _discovery,
    _pause,
)
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._client_service import Client
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._execution import ExecutionError
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._process import Result
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._systemd import UnitError

if t.TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

USER = getpass.getuser()
CLIENT = Client("reth", "http://127.0.0.1:8545")


def unit(folder: Path, exec_start: str, **properties: str) -> _client_unit.ClientUnit:
    """Read a unit with this command line."""
    path = folder / "client.service"
    path.write_text(f"[Service]\nUser={USER}\nExecStart={exec_start}\n")
    told = {"LoadState": "loaded", "ActiveState": "inactive", "MainPID": "0", "User": USER, "FragmentPath": str(path)}
    told.update(properties)

    def run(argv: Sequence[str], *, timeout: float = 60, stdin: str | None = None) -> Result:
        return Result(0, "".join(f"{name}={value}\n" for name, value in told.items()), "")

    host = _discovery.Host(run=run, proc=str(folder / "proc"), etc_systemd=str(folder))
    return _client_unit.read("client", host=host)


@pytest.mark.parametrize(
    "flag", ["--datadir {}", "--datadir={}", "-datadir={}", "--datadir={} --datadir.minfreedisk=5000"]
)
def test_what_is_copied_of_geth(tmp_path: Path, flag: str) -> None:
    (tmp_path / "geth" / "chaindata").mkdir(parents=True)
    (tmp_path / "geth" / "chaindata" / "000001.sst").write_bytes(b"x" * 5000)
    (tmp_path / "keystore").mkdir()
    (tmp_path / "keystore" / "key").write_bytes(b"k" * 100_000)
    found = unit(tmp_path, f"/usr/local/bin/geth {flag.format(tmp_path)} --http")
    assert (found.kind, found.root) == ("geth", str(tmp_path / "geth"))
    assert {"nodekey", "nodes"} <= set(found.exclude)
    assert (found.user, found.active) == (USER, False)
    assert 5000 <= found.bytes < 20_000, "the operator's keys are no part of it"


@pytest.mark.parametrize("program", ["/opt/ev-reth", "/usr/bin/reth"])
def test_what_is_copied_of_reth(tmp_path: Path, program: str) -> None:
    found = unit(tmp_path, f"{program} node --datadir {tmp_path}/data", ActiveState="active")
    assert (found.kind, found.root, found.bytes, found.active) == ("reth", f"{tmp_path}/data", 0, True)


@pytest.mark.parametrize(
    ("exec_start", "properties", "words"),
    [
        ("/usr/bin/geth --http", {}, "found none; add it there"),
        ("/usr/bin/geth --datadir data", {}, "found data; add it there"),
        (
            "/usr/bin/geth --datadir /x/y --datadir.ancient=/z",
            {},
            "found --datadir.ancient: a copy would be half of it",
        ),
        ("/usr/bin/besu --datadir /x/y", {}, "found besu: what of its data may be copied is not known"),
        ("/usr/bin/geth --datadir /x/y", {"LoadState": "not-found"}, "found none; install the client"),
    ],
)
def test_what_cannot_be_copied(tmp_path: Path, exec_start: str, properties: dict[str, str], words: str) -> None:
    with pytest.raises(_client_unit.ClientUnitError, match=words):
        unit(tmp_path, exec_start, **properties)


class Units:
    """systemctl for units that start and stop at once, and a client that answers some time after its start."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *active: str, silent_for: float = 0.0) -> None:
        self.active = set(active)
        self.done: list[str] = []
        self.now = self.answers_at = 0.0
        self.silent_for = silent_for
        monkeypatch.setattr(_client_service, "ExecutionClient", self.client)

    def __call__(self, argv: Sequence[str], *, timeout: float = 60, stdin: str | None = None) -> Result:
        verb, name = argv[1], argv[-1]
        if argv[0] == "systemd-run":
            self.active.add("evnode-pause-chain.timer")
            self.done.append(" ".join(argv[argv.index("--collect") + 1 :]))
        elif verb == "show":
            return Result(0, f"ActiveState={'active' if name in self.active else 'inactive'}\n", "")
        else:
            self.done.append(f"{verb} {name}")
            (self.active.add if verb == "start" else self.active.discard)(name)
            self.answers_at = self.now + self.silent_for
        return Result(0, "", "")

    def client(self, url: str) -> Units:
        assert url == CLIENT.url
        return self

    def block(self, height: int | None) -> dict[str, t.Any]:
        if CLIENT.service not in self.active or self.now < self.answers_at:
            raise ExecutionError("refused")
        return {"height": 1, "hash": "h"}

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_a_client_is_stopped_after_its_node_and_answers_before_its_node_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    units = Units(monkeypatch, "chain.service", CLIENT.service, silent_for=3)
    assert _pause.pause("chain", 60, client=CLIENT, run=units)
    way_back, *stopped = units.done
    assert stopped == ["stop chain.service", "stop reth.service"]
    assert "systemctl start reth.service; " in way_back and "systemctl start chain.service" in way_back
    assert "$" not in way_back, "systemd would replace it"
    assert not _pause.pause("chain", 60, client=CLIENT, run=units), "it is paused already"
    units.done.clear()
    assert _pause.resume("chain", client=CLIENT, run=units, clock=units)
    assert units.done == ["start reth.service", "start chain.service", "stop evnode-pause-chain.timer"]
    assert units.now == pytest.approx(3, abs=0.2)


def test_without_a_client_the_pause_is_of_the_node_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    units = Units(monkeypatch, "chain.service")
    assert _pause.pause("chain", 60, run=units)
    assert units.done == ["systemctl start chain.service", "stop chain.service"]
    assert _pause.resume("chain", run=units)
    assert not _pause.resume("chain", run=units)


def test_a_client_that_never_answers_keeps_its_node_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    units = Units(monkeypatch, silent_for=10_000)
    with pytest.raises(UnitError, match=r"reth\.service runs and does not answer within 120 s: refused"):
        _client_service.start(CLIENT, run=units, clock=units)


def test_what_answers_like_no_client_does_not_count(
    monkeypatch: pytest.MonkeyPatch, recorded_node: t.Any, commands: t.Any
) -> None:
    node = recorded_node("single")
    node.find = lambda *_question: {"status": 200, "body": '{"result": {"number": 7}}'}
    commands.answer(["systemctl", "show"], "ActiveState=active\n")
    monkeypatch.setattr(_client_service, "_ANSWER_S", 0.1)
    with pytest.raises(UnitError, match=r"Expected number and hash of block latest .* found 7 and None"):
        _client_service.start(Client("reth", node.address), run=commands)


def test_a_client_is_stopped_and_started_once(monkeypatch: pytest.MonkeyPatch) -> None:
    units = Units(monkeypatch, CLIENT.service)
    assert not _client_service.start(CLIENT, run=units, clock=units)
    assert _client_service.stop(CLIENT, run=units)
    assert not _client_service.stop(CLIENT, run=units)
    assert _client_service.start(CLIENT, run=units, clock=units)


def test_a_paused_chain_whose_unit_does_not_run_is_no_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnitError, match="found it stopped; start the chain first"):
        _pause.pause("chain", 60, run=Units(monkeypatch))
