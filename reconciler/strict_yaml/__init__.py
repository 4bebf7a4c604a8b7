"""Strict YAML for the files of authors: bytes in, plain JSON values out, or one error with its place.

Stands under `load`. The values are built straight from the event stream of the C parser, without
recursion and without a tree of nodes in between, so a limit stops the reading at the event that passes it:
1 MiB, depth 64, 50,000 nodes, 100 aliases (an alias counts as many nodes as what it stands for).

Scalars follow the core schema of YAML 1.2.2 §10.3: `null`, `~` and nothing are null; `true` and `false` are
booleans, while `no`, `on`, `yes` are strings; integers are decimal (`012` is 12), `0o17` or `0x1F`. Dates and
`12:30:45` are strings. Floats, `.inf` and `.nan` keep their text as strings, so 20.04 stays 20.04. Refused:
duplicate keys, `<<`, keys that are not strings, tags beyond the core ones, integers beyond ±(2^53-1) (JSON
can't carry them exactly), control characters, any encoding but UTF-8.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import yaml
from yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)

from reconciler.model import Json
from reconciler.printable import shown
from reconciler.strict_yaml.places import Places, locate, place_of, trees_of
from reconciler.strict_yaml.text import (
    CONTROL,
    SPLIT,
    Place,
    YamlError,
    decode,
    parser_of,
    syntax_error,
)

VERSION: Final = 1  # of what this module makes of a file; part of the key of every cache
MAX_DEPTH: Final = 64
MAX_NODES: Final = 50_000
MAX_ALIASES: Final = 100
MAX_INTEGER: Final = 2**53 - 1

_NOTHING: Final = object()
_WORDS: Final[dict[str, Json]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_CORE: Final = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class Parsed:
    """One document of a file: its place in it (from 0), the line where its content begins, the value."""

    index: int
    line: int
    value: Json


def read(data: bytes) -> tuple[Parsed, ...]:
    """All documents of a file; documents without content are left out. Raises YamlError."""
    text = decode(data)
    try:
        return tuple(_Reader(parser_of(text), careful="\\" in text).documents())
    except yaml.MarkedYAMLError as error:
        raise syntax_error(text, error) from error
    except yaml.reader.ReaderError as error:
        raise YamlError((1, 1), "Syntax", f"not YAML: {error.reason}") from error
    except _DuplicateError as error:
        raise _duplicate(text, error) from None


class _DuplicateError(Exception):
    """A key that its mapping already has; the place of the first is looked up afterwards."""

    def __init__(self, place: Place, key: str) -> None:
        super().__init__(key)
        self.place, self.key = place, key


def _duplicate(text: str, error: _DuplicateError) -> YamlError:
    line, column = error.place
    nodes = (node for tree in trees_of(text) for node in tree.all())
    first = next((node.key for node in nodes if node.twin == error.place), None)
    where = f": it is already in line {first[0]}" if first else ""
    message = f"the key `{shown(error.key)}` is given twice{where}"
    return YamlError((line, column), "DuplicateKey", message, "keep one of the two")


class _Reader:
    """The documents of one stream and what the file may still hold."""

    __slots__ = ("aliases", "anchors", "careful", "event_of", "nodes")

    def __init__(self, parser: Any, *, careful: bool) -> None:
        self.event_of: Callable[[], Any] = parser.get_event
        self.careful = careful  # there are escapes, which can bring in control characters
        self.nodes, self.aliases = MAX_NODES, MAX_ALIASES
        self.anchors: dict[str, Any] = {}

    def documents(self) -> Iterator[Parsed]:
        index = 0
        while (sort := type(event := self.event_of())) is not StreamEndEvent:
            if sort is DocumentStartEvent:
                first = self.event_of()
                value = self.value(first)
                if value is not None:
                    yield Parsed(index, first.start_mark.line + 1, value)
                index += 1
            elif sort is not StreamStartEvent:
                _refuse(event, "Syntax", "not YAML")

    def value(self, event: Any) -> Json:
        """The value of the document whose first event was read. `stack` holds the open parents."""
        root: list[Any] = []
        top: Any = root
        key: Any = _NOTHING
        stack: list[tuple[Any, Any]] = []
        self.anchors = {}
        while (sort := type(event)) is not DocumentEndEvent:
            if sort is MappingEndEvent or sort is SequenceEndEvent:
                top, key = stack.pop()
                event = self.event_of()
                continue
            self.nodes -= 1
            value: Any
            if sort is ScalarEvent:
                value = self.scalar(event)
            elif sort is AliasEvent:
                value = self.alias(event, top, stack)
            else:
                value = self.opened(event, len(stack))
            if self.nodes < 0:
                _refuse(event, "TooLarge", f"more than {MAX_NODES:,} values in one file", SPLIT)
            if type(top) is list:
                top.append(value)
            elif key is _NOTHING:
                key = _key(event, value, top)
                event = self.event_of()
                continue
            else:
                top[key] = value
                key = _NOTHING
            if sort is MappingStartEvent or sort is SequenceStartEvent:
                stack.append((top, key))
                top, key = value, _NOTHING
            event = self.event_of()
        return root[0]

    def scalar(self, event: Any) -> Json:
        value = event.value
        if self.careful and CONTROL.search(value):
            _refuse(event, "ControlCharacter", "a control character behind an escape", "delete it")
        if event.implicit[0]:
            value = _resolved(event, value)
        elif event.tag is not None:
            value = _tagged(event, value)
        if event.anchor is not None:
            self.anchors[event.anchor] = value
        return value

    def opened(self, event: Any, depth: int) -> Json:
        """A new, empty list or mapping."""
        if depth >= MAX_DEPTH:
            _refuse(event, "TooDeep", f"nested deeper than {MAX_DEPTH} levels")
        sequence = type(event) is SequenceStartEvent
        if event.tag not in (None, "!", _CORE + ("seq" if sequence else "map")):
            _refuse_tag(event)
        value: Json = [] if sequence else {}
        if event.anchor is not None:
            self.anchors[event.anchor] = value
        return value

    def alias(self, event: Any, top: Any, stack: list[tuple[Any, Any]]) -> Json:
        """What the anchor stands for, paid for by the number of values in it."""
        self.aliases -= 1
        if self.aliases < 0:
            _refuse(event, "TooManyAliases", f"more than {MAX_ALIASES} aliases in one file")
        if event.anchor not in self.anchors:
            _refuse(event, "Syntax", f"`*{event.anchor}` stands for nothing: no `&{event.anchor}` before it")
        value = self.anchors[event.anchor]
        if isinstance(value, (dict, list)) and any(
            value is parent for parent in (top, *(parent for parent, _ in stack))
        ):
            _refuse(event, "Syntax", f"`*{event.anchor}` is inside what it stands for")
        self.nodes -= _count(value, self.nodes)
        return value


def _count(value: Json, limit: int) -> int:
    """How many values are in this one, where long strings count more; stops beyond the limit."""
    count, waiting = 0, [value]
    while waiting and count <= limit:
        entry = waiting.pop()
        count += 1 + (len(entry) // 64 if isinstance(entry, str) else 0)
        if isinstance(entry, dict):
            waiting.extend(entry.values())
        elif isinstance(entry, list):
            waiting.extend(entry)
    return count


def _resolved(event: Any, text: str) -> Json:
    """A plain scalar in the core schema, floats as their text."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "0123456789+-" or not _INTEGER.fullmatch(text):
        return text
    number = int(text, 0 if text[:2] in ("0o", "0x") else 10) if len(text) < 64 else MAX_INTEGER + 1
    if abs(number) > MAX_INTEGER:
        hint = "quote it to make it a string"
        _refuse(event, "IntegerTooLarge", f"{shown(text)} is beyond what JSON carries exactly (2^53-1)", hint)
    return number


def _tagged(event: Any, text: str) -> Json:
    """A scalar with a tag: `!!str` and `!` make it a string, the other core tags must fit."""
    name = event.tag.removeprefix(_CORE)
    if name in ("str", "!"):
        return text
    if name not in ("null", "bool", "int", "float"):
        _refuse_tag(event)
    value = _resolved(event, text)
    if name != "float" and type(value).__name__ != {"null": "NoneType"}.get(name, name):
        _refuse(event, "Tag", f"`{shown(text)}` is not what its tag `!!{name}` says")
    return value


def _refuse_tag(event: Any) -> NoReturn:
    tag = shown(event.tag.replace(_CORE, "!!"))
    _refuse(event, "Tag", f"the tag `{tag}` is not allowed: only plain data is read", "take the tag out")


def _key(event: Any, value: Json, mapping: dict[str, Json]) -> str:
    """Check a key of a mapping."""
    if type(value) is not str:
        written = shown(getattr(event, "value", "")) or "a list or mapping"
        _refuse(event, "Key", f"keys must be strings, this one is {written}", 'put it in quotes: "…"')
    if value == "<<" and getattr(event, "implicit", (False,))[0]:
        _refuse(event, "MergeKey", "merge keys `<<` are not allowed", "write the fields out")
    if value in mapping:
        raise _DuplicateError(place_of(event), value)
    return value


def _refuse(event: Any, code: str, message: str, hint: str = "") -> NoReturn:
    raise YamlError(place_of(event), code, message, hint)


__all__ = ["Parsed", "Places", "YamlError", "locate", "read"]
