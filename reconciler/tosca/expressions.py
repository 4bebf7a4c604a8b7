"""Values of a template with TOSCA's functions in them, read once per service; constants stay plain JSON.

What has no function in it is not touched again when a deployment is compiled, which is what makes that fast.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from reconciler.guess import did_you_mean
from reconciler.model import Json
from reconciler.printable import shown
from reconciler.tosca.flaw import FlawError, Path
from reconciler.tosca.values import plain

Expression = Any  # Call, Fields, Items, or a constant

KNOWN: Final = frozenset({"get_input", "get_property", "get_attribute", "concat", "token", "join"})
_TEXT: Final = frozenset({"concat", "token", "join"})
_UNSUPPORTED: Final = frozenset({"get_operation_output", "get_nodes_of_type", "get_artifact"})


@dataclass(frozen=True, slots=True)
class Call:
    """One function with its arguments; `path` is where it stands in the template."""

    name: str
    arguments: tuple[Expression, ...]
    path: Path


@dataclass(frozen=True, slots=True)
class Fields:
    """A mapping with a function somewhere in it."""

    entries: Mapping[str, Expression]


@dataclass(frozen=True, slots=True)
class Items:
    """A list with a function somewhere in it."""

    entries: tuple[Expression, ...]


def parse(value: Json, path: Path) -> Expression:
    """Find the functions in a value. Raises FlawError for functions that are not supported."""
    if isinstance(value, dict):
        return _mapping(value, path)
    if isinstance(value, list):
        entries = tuple(parse(entry, (*path, index)) for index, entry in enumerate(value))
        return Items(entries) if any(map(is_open, entries)) else plain(value)
    return value


def _mapping(value: dict[str, Json], path: Path) -> Expression:
    if len(value) == 1:
        name, argument = next(iter(value.items()))
        if name in KNOWN and (name not in _TEXT or isinstance(argument, list)):
            given = argument if isinstance(argument, list) else [argument]
            where = (*path, name)
            entries = tuple(parse(entry, (*where, index)) for index, entry in enumerate(given))
            return Call(name, entries, where)
        if name in _UNSUPPORTED:
            raise FlawError((*path, name), f"the function `{name}` is not supported")
        if name.startswith("get_"):
            raise FlawError((*path, name), f"there is no function `{shown(name)}`", did_you_mean(name, KNOWN))
    if marker := next((key for key in value if key.startswith("$")), ""):
        raise FlawError(
            (*path, marker), f"the key `{shown(marker)}`: keys that begin with $ are not for templates"
        )
    fields = {key: parse(entry, (*path, key)) for key, entry in value.items()}
    return Fields(fields) if any(map(is_open, fields.values())) else plain(value)


def is_open(expression: Expression) -> bool:
    """Is there a function in it?"""
    return isinstance(expression, (Call, Fields, Items))


def calls(expression: Expression) -> Iterator[Call]:
    """All functions in an expression, the inner ones too."""
    if isinstance(expression, Call):
        yield expression
        for argument in expression.arguments:
            yield from calls(argument)
    elif isinstance(expression, Fields):
        for entry in expression.entries.values():
            yield from calls(entry)
    elif isinstance(expression, Items):
        for entry in expression.entries:
            yield from calls(entry)
