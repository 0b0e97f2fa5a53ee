# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""Whether a host gets at the chain's key in a KMS, asked with the provider's own command line tool.

Reading the public key is the first thing that a node does with such a signer. That it may sign is not proven: a
signature by the chain's key is nothing to be made for a test.
"""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import typing as t

from ._as_user import AsUserError, UserRunner, passing_home, run_as

# Where the tools' own installers and packages put them.
_PLACES = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/snap/bin"
_LIMIT = 15.0
_TOOLS = {"aws": "aws", "gcp": "gcloud"}


class Key(t.NamedTuple):
    """A key as the node names it: ``provider`` aws or gcp, ``name`` its id, ARN or resource name."""

    provider: str
    name: str
    region: str = ""
    profile: str = ""
    credentials_file: str = ""


def argv(key: Key) -> list[str]:
    """Return the command that reads the public key, empty for a provider without a known tool."""
    if key.provider == "aws":
        named = {"--key-id": key.name, "--region": key.region, "--profile": key.profile}
        limits = ["--cli-connect-timeout", "3", "--cli-read-timeout", "5"]
        options = [word for option, value in named.items() if value for word in (option, value)]
        return ["aws", "kms", "get-public-key", *options, *limits]
    if key.provider == "gcp":
        given = [f"CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE={key.credentials_file}"] if key.credentials_file else []
        command = ["gcloud", "kms", "keys", "versions", "get-public-key", key.name, "--quiet"]
        return ["env", *given, *command] if given else command
    return []


def access(key: Key, user: str, *, run: UserRunner = run_as, places: str = _PLACES) -> dict[str, t.Any]:
    """Return ``command`` (to be repeated by a person), ``user`` who ran it, ``readable`` and ``reason``.

    ``readable`` is None where it could not be tried. A joiner's account may not exist yet; root asks then.
    """
    words = argv(key)
    found: dict[str, t.Any] = {"command": shlex.join(words), "user": user, "readable": None, "reason": None}
    tool = _TOOLS.get(key.provider, "")
    where = shutil.which(tool, path=places) if tool else None
    if where is None:
        return {**found, "reason": f"{tool} is not installed" if tool else f"no tool is known for {key.provider!r}"}
    words[words.index(tool)] = where
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        account = pwd.getpwuid(0)
    found["user"] = account.pw_name
    try:
        if key.provider == "gcp":  # it keeps logs below its home
            with passing_home(account.pw_name) as home:
                done = run(words, account.pw_name, home=home, timeout=_LIMIT)
        else:
            home = account.pw_dir if os.path.isdir(account.pw_dir) else "/"
            done = run(words, account.pw_name, home=home, timeout=_LIMIT)
    except AsUserError as exc:
        return {**found, "readable": False, "reason": exc.message}
    if done.rc == 0:
        return {**found, "readable": True}
    said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return {**found, "readable": False, "reason": said[-1][:300] if said else f"exit code {done.rc}"}
