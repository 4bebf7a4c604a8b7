"""The schemas are valid, so are their examples, and the spec classes say the same."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping
from datetime import date
from enum import Enum
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from reconciler import construct, registry, resources
from reconciler.settings import Settings

KINDS = sorted(registry.kinds())
NAMES = sorted(resources.schema_names())
# What may hold more than its own schema says, and what the class need not have: path → why
OPEN = {"Provider.spec.targets[]": "the settings of the driver are checked against the driver's schema"}
UNREAD = {"Settings.apiVersion": "there is one version; its schema checks it"}
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in schema:
        return schema
    found: Any = root
    for step in schema["$ref"].partition("#/")[2].split("/"):
        found = found[step]
    return {**resolved(found, root), **{key: value for key, value in schema.items() if key != "$ref"}}


def objects(schema: Mapping[str, Any], root: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    """Every schema of an object with named fields, below and with this one."""
    schema = resolved(schema, root)
    if "properties" in schema:
        yield path, schema
    for name, entry in schema.get("properties", {}).items():
        yield from objects(entry, root, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from objects(schema[key], root, f"{path}[]")


def described() -> list[tuple[str, type[Any], Mapping[str, Any], Mapping[str, Any]]]:
    """(name, class, schema of it, whole document) of all that is built from a file."""
    found = []
    for name, kind in sorted(registry.kinds().items()):
        whole = resources.bundled(name)
        found.append((name, kind.spec, resolved(whole["properties"]["spec"], whole), whole))
    settings = resources.bundled("Settings")
    return [*found, ("Settings", Settings, settings, settings)]


DESCRIBED = [pytest.param(*entry[1:], id=entry[0]) for entry in described()]


def test_every_kind_has_a_schema_and_every_schema_a_kind() -> None:
    assert set(NAMES) == {*KINDS, "Settings"}


@pytest.mark.parametrize("name", NAMES)
def test_the_schema_is_valid(name: str) -> None:
    schema = resources.bundled(name)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == DIALECT
    assert schema["title"]
    assert schema["description"]
    assert schema["examples"]


@pytest.mark.parametrize("name", NAMES)
def test_its_examples_are_valid(name: str) -> None:
    schema = resources.bundled(name)
    for example in schema["examples"]:
        Draft202012Validator(schema).validate(example)


@pytest.mark.parametrize("name", NAMES)
def test_every_field_is_described_with_a_valid_example(name: str) -> None:
    root = resources.bundled(name)
    bare = []
    for path, schema in objects(root, root, name):
        for field, said in schema["properties"].items():
            entry = resolved(said, root)
            structural = "const" in entry or (path == name and field in ("metadata", "spec"))
            if not entry.get("description") or not (entry.get("examples") or structural):
                bare.append(f"{path}.{field}")
            for example in entry.get("examples", ()):
                Draft202012Validator({**entry, "$defs": root.get("$defs", {})}).validate(example)
    assert bare == []


@pytest.mark.parametrize("name", NAMES)
def test_unknown_fields_are_refused(name: str) -> None:
    root = resources.bundled(name)
    open_ones = [
        path for path, schema in objects(root, root, name) if schema.get("additionalProperties") is None
    ]
    assert [path for path in open_ones if path not in OPEN] == []


@pytest.mark.parametrize(("cls", "schema", "root"), DESCRIBED)
def test_the_class_has_the_fields_of_the_schema(
    cls: type[Any], schema: Mapping[str, Any], root: Mapping[str, Any]
) -> None:
    found = list(differences(cls, schema, root, cls.__name__))
    assert [text for text in found if text.partition(":")[0] not in UNREAD] == []


def differences(
    cls: type[Any], schema: Mapping[str, Any], root: Mapping[str, Any], path: str
) -> Iterator[str]:
    """All disagreements of a class and a schema: names, required, defaults, types; nested ones too."""
    hints = typing.get_type_hints(cls)
    members = {construct.key_of(cls, entry.name): entry for entry in dataclasses.fields(cls)}
    properties = schema.get("properties", {})
    for key in sorted(set(members) ^ set(properties)):
        yield f"{path}.{key}: only in the {'class' if key in members else 'schema'}"
    defaults = construct.defaults(cls)
    for key in sorted(set(members) & set(properties)):
        entry, hint, where = resolved(properties[key], root), hints[members[key].name], f"{path}.{key}"
        if needed(members[key]) != (key in schema.get("required", ())):
            yield f"{where}: required on one side only"
        if "default" in entry and meant(hint, entry["default"]) != meant(hint, defaults.get(key)):
            yield f"{where}: default {entry['default']!r} in the schema, {defaults.get(key)!r} in the class"
        if "default" not in entry and defaults.get(key) not in (None, "", [], {}, False, 0, 0.0):
            yield f"{where}: default {defaults[key]!r} in the class only"
        yield from type_differences(hint, entry, root, where)


def meant(hint: Any, value: Any) -> Any:
    """A default with the defaults of its own fields written out."""
    cls = without_none(hint)
    if dataclasses.is_dataclass(cls) and isinstance(cls, type) and isinstance(value, Mapping):
        return construct.filled(cls, value)
    return value


def needed(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def type_differences(
    hint: Any, schema: Mapping[str, Any], root: Mapping[str, Any], path: str
) -> Iterator[str]:
    """Does a value of the schema's type fit the annotation? `Any` takes everything."""
    schema = resolved(schema, root)
    hint = without_none(hint)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    wanted = json_types(hint)
    said = said_types(schema, root)
    if wanted and said and not said <= wanted:
        yield f"{path}: {sorted(said)} in the schema, {hint} in the class"
    elif dataclasses.is_dataclass(hint) and isinstance(hint, type):
        yield from differences(hint, schema, root, path)
    elif origin in (tuple, list, frozenset) and "items" in schema:
        yield from type_differences(arguments[0], schema["items"], root, f"{path}[]")
    elif origin is typing.Literal and set(arguments) != set(schema.get("enum", arguments)):
        yield f"{path}: {sorted(arguments)} in the class, {schema['enum']} in the schema"


def without_none(hint: Any) -> Any:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        rest = [entry for entry in typing.get_args(hint) if entry is not type(None)]
        return rest[0] if len(rest) == 1 else Any
    return hint


def json_types(hint: Any) -> set[str]:
    """The JSON types that a value of this annotation is read from; empty: any."""
    origin = typing.get_origin(hint)
    if hint is Any or hint is object:
        return set()
    if origin is typing.Literal or hint is date or (isinstance(hint, type) and issubclass(hint, Enum)):
        return {"string"}
    if dataclasses.is_dataclass(hint) or origin in (dict, Mapping) or hint in (dict, Mapping):
        return {"object"}
    if origin in (tuple, list, frozenset):
        return {"array"}
    simple = {str: {"string"}, bool: {"boolean"}, int: {"integer"}, float: {"number", "integer", "string"}}
    if getattr(origin, "__name__", "") == "Mapping":
        return {"object"}
    return simple.get(hint, set())


def said_types(schema: Mapping[str, Any], root: Mapping[str, Any]) -> set[str]:
    """The JSON types that a schema allows; empty: it does not say."""
    choices = [*schema.get("oneOf", ()), *schema.get("anyOf", ())]
    if "type" in schema:
        types_ = schema["type"]
        return {types_} if isinstance(types_, str) else set(types_)
    if "const" in schema or "enum" in schema:
        return {"string"}
    return {name for choice in choices for name in said_types(resolved(choice, root), root)}


@dataclasses.dataclass(frozen=True, slots=True)
class _Sample:
    name: str
    keep_previous: int = 0


def test_a_disagreement_would_be_found() -> None:
    schema = {
        "required": ["keepPrevious"],
        "properties": {
            "name": {"type": "integer"},
            "keepPrevious": {"type": "integer", "default": 1},
            "x": {},
        },
    }
    found = "\n".join(differences(_Sample, schema, {}, "Sample"))
    assert "Sample.x: only in the schema" in found
    assert "Sample.name: required on one side only" in found
    assert "Sample.keepPrevious: default 1 in the schema, 0 in the class" in found
    assert "Sample.name: ['integer'] in the schema" in found
