"""JSON Schema of a kind → what an author wants to know: its fields, their types and defaults, an example."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, Final

from reconciler.model import Json
from reconciler.report.style import PLAIN, Style

_DEEP: Final = 6
_ENVELOPE: Final = ("apiVersion", "kind")


def kind_text(schema: Mapping[str, Json], *, style: Style = PLAIN) -> str:
    """One kind in at most `style.width` columns, its own fields first. All `$ref`s must be local."""
    name = str(schema.get("title", ""))
    lines = [style.bold(name), *_wrapped(str(schema.get("description", "")), "", style.width), ""]
    properties = {**schema.get("properties", {})}
    required = frozenset(schema.get("required", ()))
    for key in sorted((key for key in properties if key not in _ENVELOPE), key="metadata".__eq__):
        lines += _field(schema, key, properties[key], "", style, needed=key in required, seen=0)
    return "\n".join([*lines, "", *_example_lines(schema, style)]).rstrip("\n") + "\n"


def example(schema: Mapping[str, Json]) -> Json:
    """A whole object of the kind: the schema's own example, or one put together from its fields."""
    return _example_of(schema, schema, 0)


def _field(
    root: Mapping[str, Json],
    key: str,
    schema: Json,
    indent: str,
    style: Style,
    *,
    needed: bool,
    seen: int,
) -> Iterator[str]:
    """One field: name, type, whether it is required, default; its description; then what is inside."""
    node = _resolved(root, schema)
    facts = [_type(root, node)]
    facts += ["required"] if needed else []
    facts += [f"default {_literal(node['default'])}"] if _tells(node.get("default")) else []
    facts += ["secret: a reference"] if node.get("writeOnly") else []
    yield f"{indent}{style.bold(key)}  {style.dim(', '.join(facts))}"
    yield from _wrapped(_said(node), indent + "    ", style.width)
    if seen < _DEEP:
        yield from _inside(root, node, indent + "  ", style, seen=seen + 1)


def _said(node: Mapping[str, Json]) -> str:
    description = str(node.get("description", ""))
    examples = [entry for entry in node.get("examples", ()) if _tells(entry)]
    if not examples or examples[0] == node.get("default") or isinstance(examples[0], bool):
        return description
    return f"{description} (for example {_literal(examples[0])})".strip()


def _tells(value: Json) -> bool:
    """Is this value worth a word? Nothing, and what the fields below say better, is not."""
    return value not in (None, "") and not isinstance(value, (dict, list))


def _inside(
    root: Mapping[str, Json], node: Mapping[str, Json], indent: str, style: Style, *, seen: int
) -> Iterator[str]:
    """The fields of an object, of the members of a list, of the values of a map."""
    inner = _resolved(root, node["items"]) if isinstance(node.get("items"), Mapping) else node
    for branch in (inner, *(_resolved(root, entry) for entry in inner.get("oneOf", ()))):
        required = frozenset(branch.get("required", ()))
        for key, schema in branch.get("properties", {}).items():
            yield from _field(root, key, schema, indent, style, needed=key in required, seen=seen)


def _resolved(root: Mapping[str, Json], schema: Json) -> Mapping[str, Any]:
    """The schema with its local `$ref`, if any, merged in; what stands beside the reference wins."""
    if not isinstance(schema, Mapping):
        return {}
    node: Mapping[str, Any] = schema
    for _step in range(_DEEP):
        reference = node.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#/"):
            break
        rest = {key: value for key, value in node.items() if key != "$ref"}
        node = {**_pointed(root, reference), **rest}
    return _joined(root, node)


def _joined(root: Mapping[str, Json], node: Mapping[str, Any]) -> Mapping[str, Any]:
    """`allOf` read as one schema."""
    for entry in node.get("allOf", ()):
        inner = _resolved(root, entry)
        properties = {**inner.get("properties", {}), **node.get("properties", {})}
        node = {**inner, **node, **({"properties": properties} if properties else {})}
    return node


def _pointed(root: Mapping[str, Json], reference: str) -> Mapping[str, Any]:
    node: Any = root
    for step in reference[2:].split("/"):
        node = node.get(step, {}) if isinstance(node, Mapping) else {}
    return node if isinstance(node, Mapping) else {}


def _type(root: Mapping[str, Json], node: Mapping[str, Any]) -> str:
    """`string`, `list of object`, `checksum | size`, `integer or string`."""
    if "const" in node:
        return _literal(node["const"])
    if "enum" in node:
        return " | ".join(_literal(entry) for entry in node["enum"])
    kinds = node.get("type")
    if kinds == "array":
        return f"list of {_type(root, _resolved(root, node.get('items', {})))}"
    if isinstance(kinds, list):
        return " or ".join(map(str, kinds))
    branches = node.get("oneOf") or node.get("anyOf")
    if not kinds and branches:
        return " or ".join(dict.fromkeys(_type(root, _resolved(root, entry)) for entry in branches))
    return _kind_of(node, str(kinds or "any"))


def _kind_of(node: Mapping[str, Any], kind: str) -> str:
    if kind == "object" and isinstance(node.get("additionalProperties"), Mapping):
        return "map"
    if kind == "string" and "format" in node:
        return str(node["format"])
    return kind


def _literal(value: Json) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def _wrapped(text: str, indent: str, width: int) -> list[str]:
    room = max(width, 40)
    return textwrap.wrap(" ".join(text.split()), room, initial_indent=indent, subsequent_indent=indent)


def _example_lines(schema: Mapping[str, Json], style: Style) -> Iterator[str]:
    import yaml  # noqa: PLC0415  only this page shows YAML

    whole = example(schema)
    if isinstance(whole, Mapping) and whole:
        yield style.bold("Example")
        text = yaml.safe_dump(whole, sort_keys=False, allow_unicode=True, width=max(style.width - 4, 60))
        yield from (f"  {line}" for line in text.splitlines())


def _example_of(root: Mapping[str, Json], schema: Json, deep: int) -> Json:
    node = _resolved(root, schema)
    if node.get("examples"):
        return node["examples"][0]
    if "const" in node:
        return node["const"]
    if deep > _DEEP:
        return None
    if node.get("type") == "array":
        return [_example_of(root, node.get("items", {}), deep + 1)]
    properties = node.get("properties", {})
    required = [key for key in properties if key in node.get("required", ())]
    if properties:
        return {key: _example_of(root, properties[key], deep + 1) for key in required}
    return node.get("default", next(iter(node.get("enum", ())), ""))
