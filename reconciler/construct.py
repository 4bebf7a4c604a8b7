"""From plain mappings to frozen dataclasses and back: the one generic constructor.

A YAML key is the field's name in camelCase (`keep_previous` is `keepPrevious`), or what the field says
in `field(metadata={"key": "from"})`. Values were checked against the JSON Schema before; here they only
change their form: lists become tuples, mappings the nested dataclass. A plan for each class is made
once and cached.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from datetime import date
from enum import Enum
from functools import lru_cache, partial
from typing import Any, TypeVar

from reconciler.model import Json

T = TypeVar("T")
Convert = Callable[[Any], Any]


def _once_per_class(make: Callable[[type[Any]], T]) -> Callable[[type[Any]], T]:
    return typing.cast(Callable[[type[Any]], T], lru_cache(maxsize=1024)(make))


@dataclasses.dataclass(frozen=True, slots=True)
class _Way:
    """How to go through a type: what to do with a class inside, with a scalar, with a sequence."""

    nested: Callable[[type[Any]], Convert]
    scalar: Callable[[Any], Convert | None]
    sequence: Callable[[type[Any]], type[Any]]


@dataclasses.dataclass(frozen=True, slots=True)
class _Field:
    name: str
    key: str
    required: bool
    read: Convert | None  # None: as it is
    fill: Convert | None  # None: nothing inside has defaults


def build(cls: type[T], mapping: Mapping[str, Json]) -> T:
    """The dataclass `cls` from a mapping keyed as in YAML. Raises ValueError naming the key at fault."""
    return typing.cast(T, _builder(cls)(mapping))


def defaults(cls: type[Any]) -> dict[str, Json]:
    """What is meant where the author wrote nothing: YAML key → JSON value, fields without None only."""
    return {key: _plain(make()) for key, make in _default_makers(cls).items()}


def filled(cls: type[Any], mapping: Mapping[str, Json]) -> dict[str, Json]:
    """The mapping with all defaults of `cls` written out, inside nested parts too.

    A new dict; lists and mappings that are defaults are shared between all answers and not to be changed.
    """
    return typing.cast(dict[str, Json], _filler(cls)(mapping))


def key_of(cls: type[Any], name: str) -> str:
    """The YAML key of one field."""
    return next(field.key for field in _fields(cls) if field.name == name)


@_once_per_class
def _fields(cls: type[Any]) -> tuple[_Field, ...]:
    hints = typing.get_type_hints(cls)
    return tuple(_field(entry, hints[entry.name]) for entry in dataclasses.fields(cls) if entry.init)


def _field(entry: dataclasses.Field[Any], hint: Any) -> _Field:
    key = entry.metadata.get("key") or _camel(entry.name)
    required = entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING
    reading = _Way(_builder, _scalar, lambda origin: origin)
    filling = _Way(_filler, lambda _hint: None, lambda _origin: list)
    return _Field(entry.name, key, required, _converter(hint, reading), _converter(hint, filling))


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


@_once_per_class
def _builder(cls: type[Any]) -> Convert:
    plan = tuple((field.key, field.name, field.read) for field in _fields(cls))

    def make(mapping: Mapping[str, Json]) -> Any:
        arguments = {}
        for key, name, read in plan:
            if key in mapping:
                value = mapping[key]
                arguments[name] = value if read is None else read(value)
        if len(arguments) != len(mapping):
            raise ValueError(_unknown(cls, mapping))
        try:
            return cls(**arguments)
        except TypeError as error:
            raise ValueError(_missing(cls, mapping) or str(error)) from error

    return make


@_once_per_class
def _filler(cls: type[Any]) -> Convert:
    inner = tuple((field.key, field.fill) for field in _fields(cls) if field.fill is not None)
    given = defaults(cls)

    def fill(mapping: Mapping[str, Json]) -> Any:
        whole = {**given, **mapping}
        for key, convert in inner:
            if key in mapping:
                whole[key] = convert(mapping[key])
        return whole

    return fill


def _default_makers(cls: type[Any]) -> dict[str, Callable[[], Any]]:
    """YAML key → a function that makes the default; a fresh one each time where it can be changed."""
    makers: dict[str, Callable[[], Any]] = {}
    for entry, field in zip((e for e in dataclasses.fields(cls) if e.init), _fields(cls), strict=True):
        if entry.default_factory is not dataclasses.MISSING:
            makers[field.key] = entry.default_factory
        elif entry.default is not dataclasses.MISSING and entry.default is not None:
            makers[field.key] = partial(_same, entry.default)
    return makers


def _same(value: T) -> T:
    return value


def _plain(value: Any) -> Json:
    """A default as the JSON value that an author would have written for it."""
    if dataclasses.is_dataclass(value):
        pairs = ((field.key, getattr(value, field.name)) for field in _fields(type(value)))
        return {key: _plain(entry) for key, entry in pairs if entry is not None}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(entry) for entry in value]
    if isinstance(value, (set, frozenset)):
        return sorted(_plain(entry) for entry in value)
    return value


def _converter(hint: Any, way: _Way) -> Convert | None:
    """How values of this type are gone through; None: as they are."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _later(way.nested, hint)
    if origin in (typing.Union, types.UnionType):
        return _optional([_converter(entry, way) for entry in arguments if entry is not type(None)])
    if origin in (tuple, frozenset, list):
        return _sequence(_converter(arguments[0], way), way.sequence(origin))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _values(_converter(arguments[1], way))
    return way.scalar(hint)


def _later(nested: Callable[[type[Any]], Convert], cls: type[Any]) -> Convert:
    """Look the nested class up when first used, so that classes may hold themselves."""
    return lambda value: nested(cls)(value)  # noqa: PLW0108  not before it is used


def _scalar(hint: Any) -> Convert | None:
    if hint is float:
        return float  # decimals arrive as text, so that they keep it
    if hint is date:
        return date.fromisoformat
    return hint if isinstance(hint, type) and issubclass(hint, Enum) else None


def _optional(choices: list[Convert | None]) -> Convert | None:
    convert = choices[0] if len(choices) == 1 else None
    return convert and (lambda value: None if value is None else convert(value))


def _sequence(convert: Convert | None, into: type[Any]) -> Convert | None:
    if convert is None:
        return None if into is list else into
    return lambda values: into(map(convert, values))


def _values(convert: Convert | None) -> Convert | None:
    return convert and (lambda mapping: {key: convert(value) for key, value in mapping.items()})


def _unknown(cls: type[Any], mapping: Mapping[str, Json]) -> str:
    known = {field.key for field in _fields(cls)}
    strange = ", ".join(sorted(f"`{key}`" for key in mapping if key not in known))
    return f"unknown field {strange}: {cls.__name__} has {', '.join(sorted(known))}"


def _missing(cls: type[Any], mapping: Mapping[str, Json]) -> str:
    absent = [f"`{field.key}`" for field in _fields(cls) if field.required and field.key not in mapping]
    return f"{cls.__name__} lacks {', '.join(absent)}" if absent else ""
