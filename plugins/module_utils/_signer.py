# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""Prove that a passphrase opens a signer, without the key ever being in this process."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import typing as t

from ._as_user import UserRunner, passing_home, run_as
from ._errors import HaError
from ._files import read_bytes

if t.TYPE_CHECKING:
    from contextlib import AbstractContextManager


class SignerError(HaError):
    """A signer file is missing, broken, not the chain's, or its passphrase does not open it."""


class Signer(t.NamedTuple):
    """A signer file and what has to be true of it; ``expected_address`` is Base64, None accepts any."""

    binary: str
    path: str
    passphrase_file: str
    user: str
    expected_address: str | None = None


def file_of(path: str) -> str:
    """Return the signer file where ``path`` names it or the directory it is in."""
    return os.path.join(path, "signer.json") if os.path.isdir(path) else path


def address_of(path: str) -> str:
    """Return the signer's address (Base64 of the SHA-256 of its public key), which needs no passphrase."""
    content = read_bytes(path)
    if content is None:
        raise SignerError(f"Expected a signer at {path}, found none; place the chain's signer.json there")
    try:
        public = base64.b64decode(json.loads(content)["pub_key"], validate=True)
    except (ValueError, KeyError, TypeError, binascii.Error) as exc:
        raise SignerError(
            f"Expected a signer in {path}, found something else; place the chain's signer.json there"
        ) from exc
    if len(public) != 32:
        raise SignerError(f"Expected an Ed25519 public key of 32 bytes in {path}, found {len(public)}")
    return base64.b64encode(hashlib.sha256(public).digest()).decode()


def prove(
    signer: Signer,
    *,
    run: UserRunner = run_as,
    home_for: t.Callable[[str], AbstractContextManager[str]] = passing_home,
) -> str:
    """Return the address of a signer that its passphrase opens, and that is the expected one.

    ``keys export`` of the node's own binary decrypts the key. It prints it, so both its streams go to /dev/null and
    only the exit code is read. It runs as the service user, which proves the permissions too.
    """
    path = file_of(signer.path)
    address = address_of(path)
    if signer.expected_address is not None and address != signer.expected_address:
        raise SignerError(
            f"Expected the signer of address {signer.expected_address} in {path}, found {address}; "
            "place the signer of the chain's sequencer there"
        )
    passphrase = read_bytes(signer.passphrase_file)
    if passphrase is None:
        raise SignerError(f"Expected a passphrase file at {signer.passphrase_file}, found none; place it there")
    if not passphrase.strip():
        raise SignerError(f"{signer.passphrase_file} is empty; place the signer's passphrase there")
    with home_for(signer.user) as scratch:
        config = os.path.join(scratch, "config")
        os.mkdir(config, 0o755)
        # A link: the key file is not copied, and the service user has to be able to read the real one.
        os.symlink(path, os.path.join(config, "signer.json"))
        flag = f"--evnode.signer.passphrase_file={signer.passphrase_file}"
        done = run(
            [signer.binary, "keys", "export", "--home", scratch, flag], signer.user, home=scratch, keep_output=False
        )
    if done.rc != 0:
        raise SignerError(
            f"The passphrase in {signer.passphrase_file} does not open {path} as user {signer.user} "
            f"(exit code {done.rc}); "
            "check that both files are the sequencer's and that this user can read them"
        )
    return address
