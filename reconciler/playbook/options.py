"""Is a role's description of its variables one that Ansible understands?

The keys and types are those of Ansible's role argument specification (ansible-core 2.19, "Specification
format"); a nested `options` describes the keys of a mapping, or of the mappings in a list.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from reconciler.guess import did_you_mean
from reconciler.printable import shown

Flaw = tuple[tuple[str, ...], str, str]
TYPES: Final = frozenset(
    ("str", "int", "float", "bool", "list", "dict", "path", "raw", "json", "bytes", "bits", "jsonarg")
)
_KEYS: Final = frozenset(
    (
        "type",
        "elements",
        "required",
        "default",
        "choices",
        "description",
        "options",
        "no_log",
        "version_added",
    )
)
_FLAGS: Final = ("required", "no_log")


def option_flaws(options: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[Flaw]:
    """All that is wrong: path below the options, message, hint."""
    for name, option in options.items():
        if not isinstance(option, dict):
            yield (*path, name), f"{shown(name)} must be a mapping with its type and description", ""
        else:
            yield from _in_option(option, (*path, name))


def _in_option(option: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[Flaw]:
    for key in option.keys() - _KEYS:
        yield (*path, key), f"unknown key {shown(key)}", did_you_mean(key, _KEYS)
    for key in ("type", "elements"):
        sort = option.get(key, "str")
        if sort not in TYPES:
            yield (*path, key), f"unknown type {shown(str(sort))}", did_you_mean(str(sort), TYPES)
    for key in _FLAGS:
        if not isinstance(option.get(key, False), bool):
            yield (*path, key), f"{key} must be true or false", ""
    if not isinstance(option.get("choices", []), list):
        yield (*path, "choices"), "choices must be a list", ""
    if option.get("required") is True and "default" in option:
        yield (*path, "default"), "a variable that is required can't have a default", "keep one of the two"
    inner = option.get("options", {})
    if not isinstance(inner, dict):
        yield (*path, "options"), "options must be a mapping", ""
    else:
        yield from option_flaws(inner, (*path, "options"))
