# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Peer id, node key, signer, and the secrets they are made of."""

from __future__ import annotations

import base64
import contextlib
import grp
import hashlib
import json
import os
import pwd
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ansible_collections.evnode.sequencer_ha.plugins.module_utils import (
    _account,
    _node_key,
    _peer_id,
    _secrets,
    _signer,
)
from ansible_collections.evnode.sequencer_ha.plugins.module_utils._as_user import Outcome

# The seed 00..1f: a worked example that two independent implementations agree on.
EXAMPLE_PUB = "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="
EXAMPLE_PRIV = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8DoQe/884Qvh1w3RjnS8CZZ+TWMJulDV8d3IZkElUxuA=="
EXAMPLE_ID = "12D3KooWA4Xop1JaT3MHxwYMkCepYsv4iPVopMXwCz5iHYdBfeSB"
EXAMPLE_ADDRESS = "Vkdap1RjR0wChd9dvyvKtz2mUTWIOem3dIGy6rEHcIw="
ME = pwd.getpwuid(os.geteuid()).pw_name
MY_GROUP = grp.getgrgid(os.getegid()).gr_name


def key_file(**changed: str) -> bytes:
    return json.dumps({"priv_key": EXAMPLE_PRIV, "pub_key": EXAMPLE_PUB, **changed}).encode()


def test_peer_id_of_the_worked_example():
    assert _peer_id.peer_id_of_key(key_file(), "k") == EXAMPLE_ID


def test_base58_keeps_leading_zeros():
    assert _peer_id.base58(b"\0\0\1") == "112"
    assert _peer_id.base58(b"Hello World!") == "2NEpo7TZRRrLZSi2U"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"not json", "found something else", id="not-json"),
        pytest.param(b'{"pub_key": "AAAA"}', "found something else", id="half-a-key"),
        pytest.param(key_file(pub_key="!!"), "found something else", id="not-base64"),
        pytest.param(
            key_file(pub_key=base64.b64encode(bytes(32)).decode()), "do not belong together", id="halves-of-two-keys"
        ),
    ],
)
def test_broken_node_keys_are_refused(content, reason):
    with pytest.raises(_peer_id.NodeKeyError, match=reason):
        _peer_id.peer_id_of_key(content, "/home/config/node_key.json")


def test_no_key_file_is_no_peer_id(tmp_path):
    assert _peer_id.peer_id_in(str(tmp_path / "none")) is None


class Binary:
    """Stands for the node's binary: leaves what it is told to leave in the home it is given."""

    def __init__(self, outcome: Outcome, leaves: bytes | None = None) -> None:
        self.outcome, self.leaves = outcome, leaves
        self.calls: list[tuple[list[str], str, bool]] = []

    def __call__(
        self, argv: Sequence[str], user: str, *, home: str, keep_output: bool = True, timeout: float = 60
    ) -> Outcome:
        self.calls.append((list(argv), user, keep_output))
        assert Path(home).is_dir()
        if self.leaves is not None:
            config = Path(home, "config")
            config.mkdir()
            (config / "node_key.json").write_bytes(self.leaves)
            (config / "genesis.json").write_text("{}")
        return self.outcome


@contextlib.contextmanager
def scratch_in(folder: Path) -> Iterator[str]:
    path = folder / "scratch"
    path.mkdir()
    yield str(path)


def new_key(home: Path) -> _node_key.NewKey:
    return _node_key.NewKey(str(home), "/usr/bin/node", ME, MY_GROUP)


def test_a_new_key_is_the_only_thing_that_is_kept(tmp_path):
    home = tmp_path / "home"
    binary = Binary(Outcome(0, ""), key_file())
    found = _node_key.create(new_key(home), run=binary, home_for=lambda _user: scratch_in(tmp_path))
    assert found == EXAMPLE_ID
    assert [path.name for path in home.rglob("*")] == ["config", "node_key.json"]
    assert os.stat(home / "config" / "node_key.json").st_mode & 0o777 == 0o600
    ((argv, user, _kept),) = binary.calls
    assert (argv[:2], user) == (["/usr/bin/node", "init"], ME)
    assert str(home) not in argv


def test_a_key_that_is_there_stays(tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "node_key.json").write_bytes(key_file())
    binary = Binary(Outcome(0, ""), b"another")
    assert _node_key.create(new_key(tmp_path), run=binary) == EXAMPLE_ID
    assert binary.calls == []


def test_a_binary_that_makes_no_key_is_quoted(tmp_path):
    binary = Binary(Outcome(1, "Usage:\nError: unknown command init\nmore"))
    with pytest.raises(_peer_id.NodeKeyError, match="Error: unknown command init"):
        _node_key.create(new_key(tmp_path / "h"), run=binary, home_for=lambda _user: scratch_in(tmp_path))
    assert not (tmp_path / "h").exists()


@pytest.fixture
def signer(tmp_path: Path) -> _signer.Signer:
    folder = tmp_path / "signer"
    folder.mkdir()
    (folder / "signer.json").write_text(json.dumps({"pub_key": EXAMPLE_PUB, "priv_key_encrypted": "AAAA"}))
    (tmp_path / "passphrase").write_text("canary-passphrase\n")
    return _signer.Signer("/usr/bin/node", str(folder), str(tmp_path / "passphrase"), ME, EXAMPLE_ADDRESS)


def prove(signer: _signer.Signer, binary: Binary, folder: Path) -> str:
    return _signer.prove(signer, run=binary, home_for=lambda _user: scratch_in(folder))


def test_signer_that_opens(signer, tmp_path):
    binary = Binary(Outcome(0, ""))
    assert prove(signer, binary, tmp_path) == EXAMPLE_ADDRESS
    ((argv, user, kept),) = binary.calls
    assert user == ME
    assert kept is False, "the binary prints the key"
    assert argv[1:3] == ["keys", "export"]
    assert "canary-passphrase" not in " ".join(argv)
    assert os.readlink(tmp_path / "scratch" / "config" / "signer.json") == os.path.join(signer.path, "signer.json")


def test_signer_that_does_not_open(signer, tmp_path):
    with pytest.raises(_signer.SignerError, match="does not open") as caught:
        prove(signer, Binary(Outcome(1, "")), tmp_path)
    assert "canary-passphrase" not in caught.value.message


def test_signer_of_another_chain_is_not_even_opened(signer, tmp_path):
    other = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
    binary = Binary(Outcome(0, ""))
    with pytest.raises(_signer.SignerError, match="place the signer of the chain's sequencer"):
        prove(signer._replace(expected_address=other), binary, tmp_path)
    assert binary.calls == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "found none"), ("{}", "found something else"), ('{"pub_key": "AAAA"}', "found 3")],
    ids=["missing", "no-key-in-it", "too-short"],
)
def test_signer_files_that_are_none(signer, tmp_path, content, reason):
    path = Path(signer.path, "signer.json")
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(_signer.SignerError, match=reason):
        prove(signer._replace(path=str(path)), Binary(Outcome(0, "")), tmp_path)


@pytest.mark.parametrize(("content", "reason"), [(None, "found none"), (" \n", "is empty")])
def test_passphrase_files_that_are_none(signer, tmp_path, content, reason):
    path = Path(signer.passphrase_file)
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(_signer.SignerError, match=reason):
        prove(signer, Binary(Outcome(0, "")), tmp_path)


def test_reading_a_secret(tmp_path):
    path = tmp_path / "secret"
    path.write_bytes(b"\0binary")
    link = tmp_path / "link"
    link.symlink_to(path)
    found = _secrets.read_secret(str(link), 100)
    assert found is not None
    assert found.content == b"\0binary"
    assert found.fingerprint.startswith("sha256:")
    assert _secrets.read_secret(str(tmp_path / "none"), 100) is None
    with pytest.raises(_secrets.SecretError, match="at most 3 bytes"):
        _secrets.read_secret(str(path), 3)
    with pytest.raises(_secrets.SecretError, match="plain file"):
        _secrets.read_secret(str(tmp_path), 100)


def test_decoding_never_repeats_the_text():
    assert _secrets.decode("aGVs\nbG8=\n") == b"hello"
    with pytest.raises(_secrets.SecretError) as caught:
        _secrets.decode("canary!")
    assert "canary" not in caught.value.message


@pytest.mark.parametrize("text", ["rw", "9", "-1", "77777"])
def test_modes_that_are_none(text):
    with pytest.raises(_secrets.SecretError, match="octal mode"):
        _secrets.octal(text)


def test_accounts():
    assert _account.ids(None, None) == (os.geteuid(), os.getegid())
    assert _account.ids("no-such-user", "no-such-group", may_be_missing=True) == (-1, -1)
    with pytest.raises(_account.AccountError, match="the user no-such-user"):
        _account.ids("no-such-user", None)
    with pytest.raises(_account.AccountError, match="the group no-such-group"):
        _account.ids(None, "no-such-group")


def test_putting_a_secret(tmp_path):
    place = _secrets.Placement(str(tmp_path / "d" / "s"), 0o600, os.geteuid(), os.getegid())
    with pytest.raises(_secrets.SecretError, match="set parents_mode"):
        _secrets.put(place, b"x")
    assert _secrets.put(place._replace(parents_mode=0o750), b"x") is True
    assert _secrets.put(place, b"x") is False
    assert os.stat(tmp_path / "d").st_mode & 0o777 == 0o750
    with pytest.raises(_secrets.SecretError, match="found a directory"):
        _secrets.differs(place._replace(path=str(tmp_path)), b"x")
