# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""The P2P identity of a node, from its key file alone."""

from __future__ import annotations

import base64
import binascii
import json
import typing as t

from ._errors import HaError
from ._files import read_bytes

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
# Identity multihash of 36 bytes: a libp2p public key, type Ed25519, 32 bytes.
_PREFIX = bytes.fromhex("002408011220")
_KEY_BYTES = 32


class NodeKeyError(HaError):
    """A node key file is missing, broken, or not the running node's."""


def peer_id(public_key: bytes) -> str:
    """Return the peer id (``12D3KooW…``) of a raw Ed25519 public key of 32 bytes."""
    if len(public_key) != _KEY_BYTES:
        raise NodeKeyError(f"Expected an Ed25519 public key of {_KEY_BYTES} bytes, found {len(public_key)}")
    return base58(_PREFIX + public_key)


def base58(data: bytes) -> str:
    """Encode with the Bitcoin alphabet; each leading zero byte is a ``1``."""
    number = int.from_bytes(data, "big")
    digits: list[str] = []
    while number:
        number, rest = divmod(number, 58)
        digits.append(_ALPHABET[rest])
    zeros = len(data) - len(data.lstrip(b"\0"))
    return "1" * zeros + "".join(reversed(digits))


def peer_id_in(path: str) -> str | None:
    """Return the peer id of the key file at ``path``, None where there is no such file."""
    content = read_bytes(path)
    return None if content is None else peer_id_of_key(content, path)


def peer_id_of_key(content: bytes, path: str) -> str:
    """Return the peer id of a key file's content; ``path`` is for the message of a failure."""
    remedy = "restore the file, or remove it and create a new one"
    try:
        key: dict[str, t.Any] = json.loads(content)
        public = base64.b64decode(key["pub_key"], validate=True)
        private = base64.b64decode(key["priv_key"], validate=True)
    except (ValueError, KeyError, TypeError, binascii.Error) as exc:
        raise NodeKeyError(f"Expected a node key in {path}, found something else; {remedy}") from exc
    # The private half is seed and public key in one; halves of two keys would give an id that no peer accepts.
    if len(private) != 2 * _KEY_BYTES or private[_KEY_BYTES:] != public:
        raise NodeKeyError(f"The private and public halves in {path} do not belong together; {remedy}")
    return peer_id(public)
