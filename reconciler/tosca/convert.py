"""Values that people gave → values of the type that an input declares, with everything that does not fit."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from reconciler.guess import did_you_mean
from reconciler.model import Json
from reconciler.printable import shown
from reconciler.tosca.schema import Schema, broken
from reconciler.tosca.values import Float, size, text_of

_VERSION = re.compile(r"[0-9]+(?:[.-][0-9A-Za-z_]+)*")
_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_UNIT = re.compile(r"[0-9]+(?:\.[0-9]+)?\s*(?:d|h|m|s|ms|us|ns|Hz|kHz|MHz|GHz)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class InputProblem:
    """What is wrong with one given value: its dotted path below `spec`, and what to do."""

    path: str
    message: str
    hint: str = ""


class _MisfitError(Exception):
    """One value is not what its type asks for."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def convert(value: Json, schema: Schema, path: str, problems: list[InputProblem]) -> Json:
    """The value in its type; what does not fit is added to `problems`."""
    try:
        converted = _converted(value, schema, path, problems)
    except _MisfitError as error:
        problems.append(InputProblem(path, f"{_name(path)} {error}", error.hint))
        return None
    for constraint in schema.constraints:
        said = broken(constraint, converted, schema.type)
        if said:
            problems.append(InputProblem(path, f"{_name(path)} is {_written(converted)}; it {said}"))
    return converted


def soften(value: Json, schema: Schema) -> Json:
    """A default as templates write it, e.g. 20.04 where a string is declared, as the type wants it."""
    if schema.type in ("string", "version") and isinstance(value, (int, float)):
        return text_of(value)
    if isinstance(value, list):
        return [soften(entry, schema.entry or _ANY) for entry in value]
    if isinstance(value, dict):
        inner = schema.fields or {}
        return {name: soften(entry, inner.get(name, schema.entry or _ANY)) for name, entry in value.items()}
    if schema.type == "integer" and isinstance(value, str) and value.isdecimal():
        return int(value)
    return value


_ANY: Final = Schema("json")


def _name(path: str) -> str:
    return f"`{path.removeprefix('inputs.')}`"


def _written(value: Json) -> str:
    if isinstance(value, (list, dict)):
        return f"of the length {len(value)}"
    return shown(text_of(value)) if value != "" else "empty"


def _converted(value: Json, schema: Schema, path: str, problems: list[InputProblem]) -> Json:
    if schema.fields is not None:
        return _record(value, schema.fields, path, problems)
    if schema.type == "list":
        return _list(value, schema, path, problems)
    if schema.type == "map":
        return _map(value, schema, path, problems)
    check = _SCALARS.get(schema.type)
    return value if check is None else check(value)


def _list(value: Json, schema: Schema, path: str, problems: list[InputProblem]) -> Json:
    if not isinstance(value, (list, tuple)):
        raise _MisfitError(f"must be a list, not {_kind(value)}")
    if schema.entry is None:
        return value
    return [convert(entry, schema.entry, f"{path}.{index}", problems) for index, entry in enumerate(value)]


def _map(value: Json, schema: Schema, path: str, problems: list[InputProblem]) -> Json:
    if not isinstance(value, Mapping):
        raise _MisfitError(f"must be a mapping, not {_kind(value)}")
    if schema.entry is None:
        return value
    return {name: convert(entry, schema.entry, f"{path}.{name}", problems) for name, entry in value.items()}


def _record(value: Json, fields: Mapping[str, Schema], path: str, problems: list[InputProblem]) -> Json:
    if not isinstance(value, Mapping):
        raise _MisfitError(f"must be a mapping with {', '.join(sorted(fields))}, not {_kind(value)}")
    problems.extend(
        InputProblem(
            f"{path}.{name}", f"{_name(path)} has no field `{shown(name)}`", did_you_mean(name, fields)
        )
        for name in sorted(value.keys() - fields.keys())
    )
    found: dict[str, Json] = {}
    for name, schema in fields.items():
        given = value.get(name)
        given = schema.default if given is None else given
        if given is not None:
            found[name] = convert(given, schema, f"{path}.{name}", problems)
        elif schema.required:
            problems.append(InputProblem(path, f"{_name(path)} needs the field `{name}`"))
    return found


def _kind(value: Json) -> str:
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    return f"{shown(text_of(value))}" if value != "" else "an empty text"


def _string(value: Any) -> Json:
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)):
        raise _MisfitError("must be text", f'put it in quotes: "{text_of(value)}"')
    raise _MisfitError(f"must be text, not {_kind(value)}")


def _version(value: Any) -> Json:
    text = text_of(value) if isinstance(value, (str, int, float)) else ""
    if isinstance(value, bool) or not _VERSION.fullmatch(text):
        raise _MisfitError(f"must be a version like 22.04 or 1.2.3, not {_kind(value)}")
    return text


def _integer(value: Any) -> Json:
    if isinstance(value, bool) or not isinstance(value, int):
        hint = "take the quotes off" if isinstance(value, str) and value.isdecimal() else ""
        raise _MisfitError(f"must be an integer, not {_kind(value)}", hint)
    return value


def _float(value: Any) -> Json:
    if isinstance(value, str) and _NUMBER.fullmatch(value) and len(value) < 64:
        return float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _MisfitError(f"must be a number, not {_kind(value)}")
    return float(value) if isinstance(value, Float) else value


def _boolean(value: Any) -> Json:
    if not isinstance(value, bool):
        raise _MisfitError(f"must be true or false, not {_kind(value)}")
    return value


def _size(value: Any) -> Json:
    try:
        size(value if isinstance(value, str) else "")
    except ValueError as error:
        raise _MisfitError(f"is {_kind(value)}: {error}") from error
    return " ".join(value.split())


def _unit(value: Any) -> Json:
    if not isinstance(value, str) or not _UNIT.fullmatch(value):
        raise _MisfitError(f"must be a number with a unit, not {_kind(value)}")
    return value


_SCALARS: Final[Mapping[str, Callable[[Any], Json]]] = {
    "string": _string,
    "timestamp": _string,
    "version": _version,
    "integer": _integer,
    "float": _float,
    "boolean": _boolean,
    "scalar-unit.size": _size,
    "scalar-unit.time": _unit,
    "scalar-unit.frequency": _unit,
}
