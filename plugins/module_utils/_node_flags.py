# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""A node's command line, taken apart: subcommand, home, the node's own flags, the application's flags."""

from __future__ import annotations

import re
import typing as t

from ._errors import HaError
from ._files import fingerprint

if t.TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

PASSPHRASE_FLAG = "signer.passphrase_file"
JWT_FLAGS = ("evm.jwt-secret-file",)
SUBCOMMANDS = ("start", "node", "run")

# Flags that may stand without a value; for every other one the next word is the value.
BOOLEAN_FLAGS = frozenset(
    {
        "clear_cache",
        "instrumentation.pprof",
        "instrumentation.prometheus",
        "instrumentation.tracing",
        "log.trace",
        "node.aggregator",
        "node.based_sequencer",
        "node.lazy_mode",
        "node.light",
        "node.promotable",
        "p2p.disable_connection_gater",
        "raft.bootstrap",
        "raft.enable",
        "rpc.enable_da_visualization",
    }
)

_PREFIXES = ("evnode.", "rollkit.")
_SECRET_NAME = re.compile(r"token|secret|passwo?rd|passphrase|api[_-]?key|private[_-]?key|mnemonic|credential", re.I)
# A file's name is no secret, what is in the file is.
_FILE_NAME = re.compile(r"[_-](file|path|dir)$|^file$", re.I)
# What stands before the host of a URL: an account, a password, a token.
_USERINFO = re.compile(r"(?<=://)[^/?#\s]+(?=@)")


class FlagError(HaError):
    """A command line could not be understood."""


class CommandLine(t.NamedTuple):
    """``flags`` hold the node's own flags (dotted key without prefix, last one wins), in order of first sight.

    ``application`` keeps the words of all other flags byte for byte and in order; ``spellings`` says how a flag of
    the node was written; ``duplicates`` names those that stood twice with different values.
    """

    subcommand: str | None
    home: str | None
    flags: dict[str, str]
    application: list[str]
    spellings: dict[str, str]
    duplicates: list[str]
    positional: list[str]


def parse(arguments: Sequence[str]) -> CommandLine:
    """Take apart every argument after the binary."""
    subcommand: str | None = None
    home: str | None = None
    flags: dict[str, str] = {}
    spellings: dict[str, str] = {}
    application: list[str] = []
    duplicates: list[str] = []
    positional: list[str] = []
    at = 0
    while at < len(arguments):
        word = arguments[at]
        at += 1
        if word == "--":
            application.extend(arguments[at - 1 :])
            break
        if not word.startswith("--"):
            if word.startswith("-") and len(word) > 1:
                application.append(word)
            elif subcommand is None:
                subcommand = word
            else:
                positional.append(word)
            continue
        name, equals, value = word[2:].partition("=")
        key = own_key(name)
        if key is None and name != "home":
            application.append(word)
            # Unknown flags keep the value that follows them, whatever it is.
            if not equals and at < len(arguments) and not arguments[at].startswith("-") and subcommand is not None:
                application.append(arguments[at])
                at += 1
            continue
        if not equals:
            if key in BOOLEAN_FLAGS:
                value = "true"
            elif at < len(arguments):
                value = arguments[at]
                at += 1
            else:
                raise FlagError(f"the command line ends with --{name}, which needs a value; correct the unit")
        if key is None:
            home = value
            continue
        if key in flags and flags[key] != value:
            duplicates.append(key)
        flags[key] = value
        spellings[key] = f"--{name}"
    return CommandLine(subcommand, home, flags, application, spellings, sorted(set(duplicates)), positional)


def own_key(name: str) -> str | None:
    """Return the dotted key of a flag of the node itself, None for an application's flag."""
    for prefix in _PREFIXES:
        if name.startswith(prefix):
            return name[len(prefix) :]
    return None


def application_value(application: Sequence[str], names: Iterable[str]) -> str | None:
    """Return the value of an application flag, the last one where it stands twice."""
    found: str | None = None
    wanted = {f"--{name}" for name in names}
    for at, word in enumerate(application):
        name, equals, value = word.partition("=")
        if name in wanted:
            found = value if equals else application[at + 1] if at + 1 < len(application) else None
    return found


def is_secret(name: str) -> bool:
    """Tell whether a flag, key or variable of this name holds a secret itself (not the name of a file with one)."""
    last = name.rstrip("=").rpartition(".")[2]
    return bool(_SECRET_NAME.search(last)) and not _FILE_NAME.search(last)


def holds_secret(name: str, value: t.Any) -> bool:
    """Tell whether what is set under this name is a secret: by the name, or by a URL that lets somebody in."""
    return is_secret(name) or bool(_USERINFO.search(str(value)))


def masked(value: str) -> str:
    """Return what may be shown of a secret: equal secrets look equal."""
    return fingerprint(value.encode()) if value else ""


def shown(name: str, value: t.Any) -> t.Any:
    """Return what may be shown of a setting: a secret's fingerprint, of a URL all but who is let in."""
    if isinstance(value, dict):
        return {key: shown(str(key), inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shown(name, inner) for inner in value]
    if is_secret(name):
        return value if value in (None, "") else masked(str(value))
    return _USERINFO.sub(lambda found: masked(found[0]), value) if isinstance(value, str) else value


def mask_arguments(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with the values of secret flags replaced by their fingerprints."""
    found: list[str] = []
    hide_next = False
    for word in arguments:
        if hide_next:
            found.append(masked(word))
            hide_next = False
            continue
        name, equals, value = word.partition("=")
        if word.startswith("--") and is_secret(name[2:]):
            found.append(f"{name}={masked(value)}" if equals else word)
            hide_next = not equals
        else:
            found.append(shown("", word))
    return found


def secret_flags(arguments: Sequence[str]) -> list[str]:
    """Return the names of flags on this command line whose values are secrets."""
    found = set()
    for word, following in zip(arguments, [*arguments[1:], ""]):
        name, equals, value = word.partition("=")
        if word.startswith("--") and holds_secret(name[2:], value if equals else following):
            found.add(name)
    return sorted(found)


def secret_assignment(assignment: str) -> bool:
    """Tell whether ``NAME=value`` of an environment holds a secret."""
    name, _equals, value = assignment.partition("=")
    return holds_secret(name, value)


def mask_environment(assignments: Sequence[str]) -> list[str]:
    """Return ``NAME=value`` assignments with the values of secret variables replaced by their fingerprints."""
    pairs = [assignment.partition("=") for assignment in assignments]
    return [f"{name}{equals}{shown(name, value)}" for name, equals, value in pairs]


def mask_settings(settings: Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return settings, dotted or nested, with secret values replaced by their fingerprints."""
    return {key: shown(key, value) for key, value in settings.items()}
