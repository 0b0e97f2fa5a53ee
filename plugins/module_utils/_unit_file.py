# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""systemd's own notation, read and written: unit files with drop-ins, command lines, environment files."""

from __future__ import annotations

import re
import typing as t

from ._errors import HaError

if t.TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ARGUMENTS_VARIABLE = "EVNODE_HA_ARGS"

_PREFIXES = "@-:+!|"
_ESCAPES = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    "\\": "\\", '"': '"', "'": "'", "s": " ",
}  # fmt: skip
_ESCAPE_DIGITS = {"x": (2, 16), "u": (4, 16), "U": (8, 16)}
_BRACED = re.compile(r"\$\$|\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_BARE = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)\Z")
_PLAIN_ARGUMENT = re.compile(r"[A-Za-z0-9_@%+=:,./~#^*\[\]{}()<>|&;!?-]+\Z")


class UnitFileError(HaError):
    """A unit file, a command line or an environment file could not be read or written."""


class Command(t.NamedTuple):
    """One ``ExecStart=`` line: its special prefixes (``@``, ``-``, ``:``, ``+``, ``!``) and its words."""

    prefixes: str
    argv: list[str]


class Settings:
    """What several fragments say together, in systemd's order: the unit file first, then its drop-ins."""

    def __init__(self, texts: Iterable[str]) -> None:
        """``texts`` are the fragments' contents, in the order in which systemd reads them."""
        self._values: dict[tuple[str, str], list[str]] = {}
        for text in texts:
            for section, key, value in assignments(text):
                found = self._values.setdefault((section, key), [])
                if value == "":
                    found.clear()
                else:
                    found.append(value)

    def all(self, section: str, key: str) -> list[str]:
        """Return every value since the last empty assignment."""
        return list(self._values.get((section, key), []))

    def last(self, section: str, key: str) -> str | None:
        """Return the value that counts for a setting of one value."""
        values = self.all(section, key)
        return values[-1] if values else None

    def words(self, section: str, key: str) -> list[str]:
        """Return the blank-separated words of all values, in order."""
        return [word for value in self.all(section, key) for word in value.split()]


def assignments(text: str) -> list[tuple[str, str, str]]:
    """Return ``(section, key, value)`` for every assignment; continuation lines are joined as systemd does."""
    found: list[tuple[str, str, str]] = []
    section = ""
    for line in _logical_lines(text):
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
            continue
        key, equals, value = line.partition("=")
        if equals:
            found.append((section, key.strip(), value.strip()))
    return found


def _logical_lines(text: str) -> list[str]:
    lines: list[str] = []
    pending: str | None = None
    for raw in text.split("\n"):
        line = raw.rstrip("\r")
        # A comment may stand between continued lines and does not end them.
        if line.lstrip().startswith(("#", ";")):
            continue
        joined = line if pending is None else f"{pending} {line}"
        if line.endswith("\\"):
            pending = joined[:-1]
            continue
        pending = None
        if joined.strip():
            lines.append(joined.strip())
    if pending is not None and pending.strip():
        lines.append(pending.strip())
    return lines


def split_words(text: str) -> list[str]:
    """Split as systemd splits ``ExecStart=`` and ``Environment=``: quotes anywhere, C-style escapes.

    Raises UnitFileError for a quote that is not closed.
    """
    return _split(text, unescape=True)


def split_variable(text: str) -> list[str]:
    """Split as systemd splits the value of an unbraced ``$VARIABLE``: quotes count, a backslash keeps one character."""
    return _split(text, unescape=False)


def _split(text: str, *, unescape: bool) -> list[str]:
    words: list[str] = []
    current: list[str] | None = None
    quote = ""
    at = 0
    while at < len(text):
        char = text[at]
        if char == "\\" and at + 1 < len(text):
            piece, at = _escape(text, at + 1) if unescape else (text[at + 1], at + 2)
            current = [*(current or []), piece]
            continue
        if quote:
            if char == quote:
                quote = ""
            else:
                current = [*(current or []), char]
        elif char in "\"'":
            quote = char
            current = current or []
        elif char in " \t\n\r":
            if current is not None:
                words.append("".join(current))
                current = None
        else:
            current = [*(current or []), char]
        at += 1
    if quote:
        raise UnitFileError(f"a quote is not closed in the unit's line {text[:60]!r}; correct the unit")
    if current is not None:
        words.append("".join(current))
    return words


def _escape(text: str, at: int) -> tuple[str, int]:
    char = text[at]
    if char in _ESCAPES:
        return _ESCAPES[char], at + 1
    if char in _ESCAPE_DIGITS:
        length, base = _ESCAPE_DIGITS[char]
        digits = text[at + 1 : at + 1 + length]
        if len(digits) == length and re.fullmatch(r"[0-9a-fA-F]+", digits):
            return chr(int(digits, base)), at + 1 + length
    if re.fullmatch(r"[0-7]{3}", text[at : at + 3]):
        return chr(int(text[at : at + 3], 8)), at + 3
    # systemd keeps the backslash of an escape that it does not know.
    return "\\" + char, at + 1


def command(value: str) -> Command:
    """Read one ``ExecStart=`` value; with ``@`` the second word (the process's own name) is left out."""
    text = value.strip()
    prefixes = ""
    while text and text[0] in _PREFIXES:
        prefixes += text[0]
        text = text[1:]
    words = [";" if word == "\\;" else word for word in split_words(text)]
    if "@" in prefixes and len(words) > 1:
        del words[1]
    return Command(prefixes, words)


def expand(cmd: Command, environment: Mapping[str, str]) -> list[str]:
    """Replace variables as systemd does: ``${X}`` stays one word, a word that is ``$X`` is split on blanks."""
    if ":" in cmd.prefixes:
        return list(cmd.argv)
    words: list[str] = cmd.argv[:1]
    for word in cmd.argv[1:]:
        bare = _BARE.match(word)
        if bare:
            words.extend(split_variable(environment.get(bare.group(1), "")))
        else:
            words.append(
                _BRACED.sub(lambda found: "$" if found.group(0) == "$$" else environment.get(found.group(1), ""), word)
            )
    return words


def specifiers(text: str, known: Mapping[str, str]) -> str:
    """Replace ``%n``-like specifiers by the values in ``known`` (letter to text); an unknown one stays as it is."""
    return re.sub(
        r"%([A-Za-z%])", lambda found: "%" if found.group(1) == "%" else known.get(found.group(1), found.group(0)), text
    )


def environment_assignments(values: Sequence[str]) -> list[str]:
    """Return the ``NAME=value`` words of all ``Environment=`` values, in order."""
    return [word for value in values for word in split_words(value) if "=" in word]


def quote_assignment(assignment: str) -> str:
    """Write ``NAME=value`` so that ``Environment=`` reads it back unchanged."""
    if "\n" in assignment or "\r" in assignment or "\0" in assignment:
        raise UnitFileError(
            f"the environment variable {assignment.partition('=')[0]} holds a line break and cannot stand in a unit; "
            "put it in a file that EnvironmentFile= names"
        )
    escaped = assignment.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def parse_environment_file(text: str) -> dict[str, str]:
    """Read an ``EnvironmentFile=``: assignments with quotes, escapes and continued lines, comments left out."""
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        if text[at] in " \t\r\n":
            at += 1
            continue
        if text[at] in "#;":
            at = _end_of_line(text, at)
            continue
        equals = text.find("=", at)
        newline = _end_of_line(text, at)
        if equals == -1 or equals > newline:
            at = newline
            continue
        name = text[at:equals].strip()
        value, at = _environment_value(text, equals + 1)
        if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            found[name] = value
    return found


def _end_of_line(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end == -1 else end


def _environment_value(text: str, at: int) -> tuple[str, int]:
    out: list[str] = []
    # Blanks at the end count only inside quotes or behind a backslash.
    kept = 0
    quote = ""
    while at < len(text):
        char = text[at]
        if quote:
            if char == quote:
                quote = ""
            elif char == "\\" and quote == '"' and at + 1 < len(text):
                at += 1
                if text[at] != "\n":
                    out.append(text[at] if text[at] in '"\\`$' else "\\" + text[at])
            else:
                out.append(char)
            kept = len(out)
        elif char == "\n":
            break
        elif char in "\"'":
            quote = char
            kept = len(out)
        elif char == "\\" and at + 1 < len(text):
            at += 1
            if text[at] != "\n":
                out.append(text[at])
                kept = len(out)
        elif char in " \t\r":
            if out:
                out.append(char)
        else:
            out.append(char)
            kept = len(out)
        at += 1
    return "".join(out[:kept]), at


def quote_arguments(arguments: Sequence[str]) -> str:
    """Write arguments as one value that systemd splits back into exactly these words (see ``split_variable``).

    Raises UnitFileError for an argument with a line break or another control character.
    """
    return " ".join(_quote_argument(argument) for argument in arguments)


def _quote_argument(argument: str) -> str:
    if any(ord(char) < 0x20 or ord(char) == 0x7F for char in argument):
        name = argument.partition("=")[0]
        raise UnitFileError(f"the argument {name[:40]!r} holds a control character; correct the unit's command line")
    if _PLAIN_ARGUMENT.match(argument):
        return argument
    escaped = argument.replace("\\", "\\\\")
    if "'" not in escaped:
        return f"'{escaped}'"
    return '"' + escaped.replace('"', '\\"') + '"'


def arguments_file(arguments: Sequence[str]) -> str:
    """Return the text of an ``args.env``: one variable that holds every argument after the binary."""
    value = quote_arguments(arguments)
    escaped = re.sub(r'([\\"`$])', r"\\\1", value)
    return f'{ARGUMENTS_VARIABLE}="{escaped}"\n'


def read_arguments_file(text: str) -> list[str]:
    """Return the arguments that ``arguments_file`` wrote; UnitFileError where the variable is missing."""
    found = parse_environment_file(text)
    if ARGUMENTS_VARIABLE not in found:
        raise UnitFileError(f"the arguments file sets no {ARGUMENTS_VARIABLE}; run the config stage again")
    return split_variable(found[ARGUMENTS_VARIABLE])
