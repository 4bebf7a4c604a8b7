"""The type of an input, read once: what a value must be, and which constraints it must meet.

TOSCA Simple Profile 1.2 §3.3 (types), §3.6.3 (constraints). Constraints are a list of mappings with one key;
a plain mapping is read as well, because templates in use have it.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from reconciler.model import Json
from reconciler.tosca.flaw import FlawError, Path
from reconciler.tosca.patterns import matches
from reconciler.tosca.types import Types, chain, is_scalar, merged
from reconciler.tosca.values import Float, size, text_of


@dataclass(frozen=True, slots=True)
class Constraint:
    """One rule: `name` as in TOSCA, `argument` in the type of the value, `pattern` where it is one."""

    name: str
    argument: Any
    pattern: re.Pattern[str] | None = None


@dataclass(frozen=True, slots=True)
class Schema:
    """A type with what is inside: `entry` of lists and maps, `fields` of data types (name → schema)."""

    type: str
    entry: Schema | None = None
    fields: Mapping[str, Schema] | None = None
    constraints: tuple[Constraint, ...] = ()
    required: bool = True
    default: Json = None
    description: str = ""


def schema_of(definition: Mapping[str, Json], types: Types, path: Path, depth: int = 0) -> Schema:
    """Read a definition: `type`, `entry_schema`, `constraints`, `required`. Raises FlawError."""
    kind = definition.get("type", "string")
    if depth > 16:
        raise FlawError(path, f"the type `{kind}` holds itself")
    fields = None if is_scalar(kind) else _fields(kind, types, path, depth)
    entry = _entry(definition.get("entry_schema"), types, path, depth)
    bare = Schema(kind, entry, fields)
    return Schema(
        kind,
        entry,
        fields,
        _constraints(definition.get("constraints"), bare, path),
        definition.get("required", True) not in (False, "no", "false"),
        definition.get("default"),
        str(definition.get("description") or "").strip(),
    )


def _entry(given: Json, types: Types, path: Path, depth: int) -> Schema | None:
    if given is None:
        return None
    definition = given if isinstance(given, dict) else {"type": given}
    return schema_of(definition, types, (*path, "entry_schema"), depth + 1)


def _fields(kind: Json, types: Types, path: Path, depth: int) -> dict[str, Schema]:
    definitions = chain(types, "data_types", kind)
    if not definitions:
        raise FlawError((*path, "type"), f"the type `{kind}` is not known here")
    return {
        name: schema_of(definition, types, path, depth + 1)
        for name, definition in merged(definitions, "properties").items()
    }


def _constraints(given: Json, schema: Schema, path: Path) -> tuple[Constraint, ...]:
    entries = [given] if isinstance(given, dict) else given or []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise FlawError((*path, "constraints"), "`constraints` must be a list of mappings with one key")
    pairs = [(name, argument) for entry in entries for name, argument in entry.items()]
    return tuple(_constraint(name, argument, schema, (*path, "constraints")) for name, argument in pairs)


def _constraint(name: str, argument: Json, schema: Schema, path: Path) -> Constraint:
    if name == "pattern":
        return Constraint(name, argument, _pattern(argument, path))
    if name not in _HOLDS:
        raise FlawError(
            path, f"the constraint `{name}` is not known", f"there are {', '.join(sorted(_HOLDS))}"
        )
    if name in ("in_range", "valid_values") and not isinstance(argument, list):
        raise FlawError(path, f"`{name}` must be a list")
    if name == "in_range" and len(argument) != 2:
        raise FlawError(path, "`in_range` must be [lowest, highest]")
    return Constraint(name, argument if "length" in name else _arguments(argument, schema, path))


def _arguments(argument: Json, schema: Schema, path: Path) -> Any:
    """The argument in the type of the value: versions and strings as text, sizes as their text."""
    if isinstance(argument, list):
        return [_arguments(entry, schema, path) for entry in argument]
    if schema.type in ("string", "version"):
        return text_of(argument)
    if schema.type == "scalar-unit.size" and argument != "UNBOUNDED":
        try:
            size(str(argument))
        except ValueError as error:
            raise FlawError(path, f"`{argument}`: {error}") from error
    return argument


def _pattern(argument: Json, path: Path) -> re.Pattern[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Python warns of patterns that it will read in another way
            return re.compile(str(argument))
    except (re.error, Warning) as error:
        raise FlawError(path, f"`{argument}` is not a pattern: {error}") from error


def broken(constraint: Constraint, value: Json, kind: str) -> str:
    """What the constraint asks for, if this value does not have it; empty when all is well."""
    if constraint.pattern is not None:
        return (
            ""
            if matches(constraint.pattern, text_of(value))
            else f"must match the pattern {constraint.argument}"
        )
    holds, said = _HOLDS[constraint.name]
    try:
        fine = holds(value, constraint.argument, lambda entry: _comparable(entry, kind))
    except (TypeError, ValueError):
        fine = False
    return "" if fine else said.format(_listed(constraint))


def said(constraint: Constraint) -> str:
    """A constraint in words: `one of 2, 4, 8`."""
    words = (
        "match {}" if constraint.pattern is not None else _HOLDS[constraint.name][1].removeprefix("must be ")
    )
    return words.removeprefix("must ").format(_listed(constraint))


def _listed(constraint: Constraint) -> str:
    if not isinstance(constraint.argument, list):
        return text_of(constraint.argument)
    return (" to " if constraint.name == "in_range" else ", ").join(map(text_of, constraint.argument))


def _comparable(value: Any, kind: str) -> Any:
    """What is compared: bytes of sizes, numbers of versions."""
    if kind == "scalar-unit.size":
        return size(str(value))
    if kind == "version":
        return tuple(
            (int(piece), "") if piece.isdecimal() else (-1, piece) for piece in re.split(r"[.-]", value)
        )
    return float(value) if isinstance(value, Float) else value


_Comparable = Callable[[Any], Any]


def _in_range(value: Any, argument: Any, of: _Comparable) -> bool:
    low, high = argument
    return bool(
        (low == "UNBOUNDED" or of(value) >= of(low)) and (high == "UNBOUNDED" or of(value) <= of(high))
    )


def _valid(value: Any, argument: Any, of: _Comparable) -> bool:
    return any(
        of(value) == of(entry) and isinstance(value, bool) == isinstance(entry, bool) for entry in argument
    )


_HOLDS: Final[Mapping[str, tuple[Callable[[Any, Any, _Comparable], bool], str]]] = {
    "equal": (lambda value, argument, of: of(value) == of(argument), "must be {}"),
    "greater_than": (lambda value, argument, of: of(value) > of(argument), "must be greater than {}"),
    "greater_or_equal": (lambda value, argument, of: of(value) >= of(argument), "must be at least {}"),
    "less_than": (lambda value, argument, of: of(value) < of(argument), "must be less than {}"),
    "less_or_equal": (lambda value, argument, of: of(value) <= of(argument), "must be at most {}"),
    "in_range": (_in_range, "must be from {}"),
    "valid_values": (_valid, "must be one of {}"),
    "length": (lambda value, argument, _: len(value) == argument, "must be of length {}"),
    "min_length": (lambda value, argument, _: len(value) >= argument, "must be of length {} or more"),
    "max_length": (lambda value, argument, _: len(value) <= argument, "must be of length {} or less"),
    "pattern": (lambda _value, _argument, _of: True, "must match the pattern {}"),
}
