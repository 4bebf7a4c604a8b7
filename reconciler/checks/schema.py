"""Does a value fit its JSON Schema, and if not: what is wrong, where, and what to write instead.

Stands under `validate`. The yes or no comes from a compiled validator (jsonschema-rs); only what does not fit
is gone through again by `jsonschema`, whose errors are turned into sentences for authors. Values of secret
fields (`writeOnly`, or named like one) never get into a message.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from reconciler.guess import closest
from reconciler.model import Json
from reconciler.printable import shown

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

Steps = tuple[str | int, ...]
_SECRET = re.compile(
    r"(password|passwd|secret|token|passphrase|credentials?|private_?key|api_?key)$", re.IGNORECASE
)
_TYPES: Final = {
    "integer": "a whole number",
    "number": "a number",
    "string": "a string",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "nothing",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong inside an object. `at_key`: it is the key at this path, not its value."""

    path: Steps
    code: str
    message: str
    hint: str = ""
    at_key: bool = False


@dataclass(frozen=True, slots=True)
class _Complaint:
    """What `jsonschema` says, in plain types: the rule with its limit, the value, the schema of the field."""

    rule: str
    limit: Any
    value: Any
    schema: Mapping[str, Any]
    path: Steps
    of_key: bool


def compiled(schema: dict[str, Json]) -> Callable[[Json], bool]:
    """A fast answer to: does a value fit?"""
    import jsonschema_rs  # noqa: PLC0415  a warm run validates nothing

    return jsonschema_rs.validator_for(schema).is_valid


def explained(schema: Mapping[str, Json], value: Json) -> tuple[Finding, ...]:
    """What is wrong with a value that does not fit; all of it, in the order of the paths."""
    from jsonschema import Draft202012Validator  # noqa: PLC0415  only bad files need it

    findings: dict[tuple[Steps, str], Finding] = {}
    for error in Draft202012Validator(schema).iter_errors(value):
        for finding in _findings(_complaint(error), schema):
            findings.setdefault((finding.path, finding.message), finding)
    return tuple(sorted(findings.values(), key=lambda finding: [str(step) for step in finding.path]))


def _complaint(error: ValidationError) -> _Complaint:
    while error.context and error.validator in ("anyOf", "oneOf"):  # the alternative that got furthest
        error = max(error.context, key=lambda inner: len(inner.absolute_path))
    schema = error.schema if isinstance(error.schema, Mapping) else {}
    of_key = "propertyNames" in error.absolute_schema_path
    path = tuple(error.absolute_path)
    return _Complaint(str(error.validator), error.validator_value, error.instance, schema, path, of_key)


def _findings(complaint: _Complaint, root: Mapping[str, Json]) -> Iterable[Finding]:
    path, value = complaint.path, complaint.value
    if complaint.rule in ("additionalProperties", "unevaluatedProperties") and isinstance(value, dict):
        return _unknown(complaint)
    if complaint.rule == "required":
        return _missing(complaint, root)
    if complaint.of_key:
        message = f"the key `{shown(str(value))}` is not allowed: {_expected(complaint)}"
        return [Finding((*path, str(value)), "BadKey", message, _guess(complaint), at_key=True)]
    secret = _is_secret(root, path)
    code, message = _sentence(complaint, "the value" if secret else _found(value))
    return [Finding(path, code, message, "" if secret else _guess(complaint))]


_SENTENCES: Final = {
    "enum": ("NotAllowed", "expected one of {limits}; found {found}"),
    "const": ("NotAllowed", "expected `{limit}`, found {found}"),
    "minimum": ("OutOfRange", "must be at least {limit}, found {found}"),
    "exclusiveMinimum": ("OutOfRange", "must be more than {limit}, found {found}"),
    "maximum": ("OutOfRange", "must be at most {limit}, found {found}"),
    "exclusiveMaximum": ("OutOfRange", "must be less than {limit}, found {found}"),
    "maxLength": ("TooLong", "has {count} characters; the limit is {limit}"),
    "minItems": ("TooFew", "must have at least {limit}, has {count}"),
    "minProperties": ("TooFew", "must have at least {limit}, has {count}"),
    "maxItems": ("TooMany", "may have at most {limit}, has {count}"),
    "maxProperties": ("TooMany", "may have at most {limit}, has {count}"),
    "uniqueItems": ("Duplicate", "holds the same entry twice"),
    "type": ("WrongType", "expected {types}, found {found}"),
}
_OTHERWISE: Final = ("BadForm", "{found} does not fit; expected: {expected}")


def _sentence(complaint: _Complaint, found: str) -> tuple[str, str]:
    """Code and sentence for one value; `found` is how it may be called."""
    if complaint.value == "":
        return "BadForm", f"must not be empty; expected: {_expected(complaint)}"
    code, sentence = _SENTENCES.get(complaint.rule, _OTHERWISE)
    limit = complaint.limit
    limits = limit if isinstance(limit, list) else [limit]
    return code, sentence.format(
        found=found,
        limit=limit,
        limits=", ".join(f"`{entry}`" for entry in limits),
        types=" or ".join(_TYPES.get(str(name), str(name)) for name in limits),
        count=len(complaint.value) if isinstance(complaint.value, (str, list, dict)) else 0,
        expected=_expected(complaint),
    )


def _unknown(complaint: _Complaint) -> Iterator[Finding]:
    path, known = complaint.path, sorted(complaint.schema.get("properties", {}))
    where = "the object" if not path else path[-1] if isinstance(path[-1], str) else f"entry {path[-1] + 1}"
    absent = [name for name in known if name not in complaint.value]
    for key in sorted(str(key) for key in complaint.value if key not in known):
        guess = closest(key, absent)
        message = f"unknown field `{shown(key)}` in {where}" + (f"; did you mean `{guess}`?" if guess else "")
        hint = "" if guess or not known else f"the fields are {', '.join(known)}"
        yield Finding((*path, key), "UnknownField", message, hint, at_key=True)


def _missing(complaint: _Complaint, root: Mapping[str, Json]) -> Iterator[Finding]:
    path = complaint.path
    where = f" in {path[-1]}" if path and isinstance(path[-1], str) else ""
    for name in complaint.limit:
        if name in complaint.value:
            continue
        field = _resolve(root, complaint.schema.get("properties", {}).get(name, {}))
        example = _example(field)
        hint = _first_sentence(field) + (f"; for example `{name}: {example}`" if example else "")
        yield Finding(path, "MissingField", f"the field `{name}` is missing{where}", hint, at_key=True)


def _expected(complaint: _Complaint) -> str:
    """What the schema says about the field, in prose."""
    example = _example(complaint.schema)
    said = _first_sentence(complaint.schema) or f"what its schema says about `{complaint.rule}`"
    return said + (f", like `{example}`" if example else "")


def _first_sentence(field: Mapping[str, Any]) -> str:
    return str(field.get("description", "")).partition(". ")[0].rstrip(".")


def _example(field: Mapping[str, Any]) -> str:
    example = next(iter(field.get("examples", ())), None)
    shows = isinstance(example, (str, int)) and not field.get("writeOnly")
    return str(example) if shows else ""


def _guess(complaint: _Complaint) -> str:
    """What the author may have meant."""
    if complaint.rule == "type":
        return _other_type(complaint)
    if complaint.rule != "enum" or not isinstance(complaint.value, str):
        return ""
    near = closest(complaint.value, [str(choice) for choice in complaint.limit])
    return f"did you mean `{near}`?" if near else ""


_SAYS_YES_OR_NO: Final = {"yes": "true", "on": "true", "no": "false", "off": "false"}


def _other_type(complaint: _Complaint) -> str:
    """How a value gets the type that is wanted, where the usual slip is known."""
    value, wanted = complaint.value, complaint.limit
    if wanted == "string" and isinstance(value, (bool, int, float)):
        return f'quote it: "{json.dumps(value)}"'
    if wanted == "boolean" and isinstance(value, str) and value.lower() in _SAYS_YES_OR_NO:
        return f"write {_SAYS_YES_OR_NO[value.lower()]}, without quotes"
    if wanted == "boolean" and value in ("true", "false"):
        return "take the quotes off"
    if wanted == "object" and value is None:
        return "indent what belongs to it by two spaces"
    if wanted in ("integer", "number") and isinstance(value, str) and value.isdecimal():
        return "take the quotes off"
    return ""


def _found(value: Json) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {value}"
        case str():
            return f"the string '{shown(value)}'"
        case list():
            return "a list"
        case _:
            return "a mapping"


def _resolve(root: Mapping[str, Json], schema: Json) -> Mapping[str, Json]:
    """A schema with what its `$ref` (within the same document) says under what it says itself."""
    merged: dict[str, Json] = {}
    while isinstance(schema, Mapping):
        merged = {**schema, **merged}
        name = schema.get("$ref")
        schema = root.get("$defs", {}).get(str(name).rpartition("/")[2]) if name else None
    return merged


def _is_secret(root: Mapping[str, Json], path: Steps) -> bool:
    schema = _resolve(root, root)
    for step in path:
        inner = schema.get("items") if isinstance(step, int) else schema.get("properties", {}).get(step)
        schema = _resolve(root, inner)
        if schema.get("writeOnly") or (isinstance(step, str) and _SECRET.search(step)):
            return True
    return False
