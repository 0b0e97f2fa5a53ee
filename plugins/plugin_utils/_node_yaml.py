# Copyright (c) 2026, the evnode.sequencer_ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: no stability promise, do not import from outside.

"""``evnode.yaml`` read as the node reads it, and written so that the node reads back the same values.

The node's YAML is version 1.2 (``no`` is a text, ``1e3`` a number), its keys ignore case, a dotted key is a path, and a
file that it cannot parse, such as one with a key twice, counts as empty without a word. PyYAML differs in all of it.
"""

from __future__ import annotations

import re
import typing as t

import yaml

from ansible_collections.evnode.sequencer_ha.plugins.module_utils._errors import HaError

if t.TYPE_CHECKING:
    from collections.abc import Mapping


class NodeYamlError(HaError):
    """A node would not understand this file, and would take its defaults without saying so."""


class _Loader(yaml.SafeLoader):
    """The core schema of YAML 1.2, and no key twice."""


class _Dumper(yaml.SafeDumper):
    """Quotes every text that any YAML version could take for something else."""

    def ignore_aliases(self, data: t.Any) -> bool:
        return True


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?[0-9][0-9_]*|0o[0-7_]+|0x[0-9a-fA-F_]+|0b[01_]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), list(_first))

_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*\Z")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


def _construct_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[str, t.Any]:
    seen: set[str] = set()
    for key, _value in node.value:
        name = str(key.value)
        if name in seen and name != "<<":
            raise NodeYamlError(f"the key {name} stands twice (line {key.start_mark.line + 1})")
        seen.add(name)
    loader.flatten_mapping(node)
    return {str(loader.construct_object(key)): loader.construct_object(value, deep=True) for key, value in node.value}


def _construct_int(loader: _Loader, node: yaml.ScalarNode) -> int | float:
    text = str(loader.construct_scalar(node)).replace("_", "")
    if re.fullmatch(r"[-+]?0[0-7]+", text):
        return int(text, 8)
    try:
        return int(text, 0)
    except ValueError:
        # 08 is no octal number; the node then takes it for a decimal fraction.
        return float(text)


def _construct_float(loader: _Loader, node: yaml.ScalarNode) -> float:
    return float(str(loader.construct_scalar(node)).replace("_", "").replace(".inf", "inf").replace(".nan", "nan"))


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    plain = bool(_PLAIN.match(text)) and text.lower() not in _WORDS
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


_Loader.add_constructor("tag:yaml.org,2002:map", _construct_mapping)
_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _construct_float)
_Dumper.add_representer(str, _represent_text)


def load(text: str) -> dict[str, t.Any]:
    """Return the file's mapping; an empty file is an empty mapping.

    Raises NodeYamlError where the node would ignore the file.
    """
    loader = _Loader(text)
    try:
        # The node reads the first document only.
        document = loader.get_data() if loader.check_data() else None
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise NodeYamlError(
            f"it is not valid YAML{where}: {getattr(exc, 'problem', None) or 'cannot be parsed'}"
        ) from exc
    except ValueError as exc:
        raise NodeYamlError(f"a number in it cannot be read: {exc}") from exc
    finally:
        loader.dispose()
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise NodeYamlError("it holds no settings, only a single value or a list")
    return document


def dump(document: Mapping[str, t.Any]) -> str:
    """Return the text of a mapping, keys in their own order."""
    return str(yaml.dump(_copy(document), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=4096))


def flatten(document: Mapping[str, t.Any], prefix: str = "") -> dict[str, t.Any]:
    """Return every setting by its dotted key in lower case, as the node looks it up."""
    found: dict[str, t.Any] = {}
    for key, value in document.items():
        dotted = f"{prefix}{key}".lower()
        if isinstance(value, dict):
            found.update(flatten(value, f"{dotted}."))
        else:
            found[dotted] = value
    return found


def with_settings(document: Mapping[str, t.Any], settings: Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return a copy of the mapping with dotted settings put in place, whatever way the same key was written before."""
    merged: dict[str, t.Any] = _copy(document)
    for dotted, value in settings.items():
        _put(merged, dotted.split("."), _copy(value))
    return merged


def _copy(value: t.Any) -> t.Any:
    if isinstance(value, dict):
        return {str.__str__(str(key)): _copy(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_copy(inner) for inner in value]
    # Ansible hands over subclasses that remember where a value was written; YAML knows only the plain types.
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return int.__int__(value) if isinstance(value, int) else float.__float__(value)
    return value


def _put(place: dict[str, t.Any], path: list[str], value: t.Any) -> None:
    head, rest = path[0].lower(), path[1:]
    whole = ".".join(path).lower()
    if rest:
        # Spelled as one dotted key, at any level: it would otherwise win or lose by chance.
        for key in [key for key in place if key.lower() == whole]:
            del place[key]
    same = [key for key in place if key.lower() == head]
    if not rest:
        for key in same[1:]:
            del place[key]
        place[same[0] if same else path[0]] = value
        return
    sections = [key for key in same if isinstance(place[key], dict)]
    for key in sections[1:]:
        for name, inner in place[key].items():
            place[sections[0]].setdefault(name, inner)
        del place[key]
    name = sections[0] if sections else same[0] if same else path[0]
    if not sections:
        place[name] = {}
    _put(place[name], rest, value)
