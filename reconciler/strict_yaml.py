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
from collections.abc import Callable, Iterator, Sequence
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

VERSION: Final = 1  # of what this module makes of a file; part of the key of every cache
MAX_BYTES: Final = 2**20
MAX_DEPTH: Final = 64
MAX_NODES: Final = 50_000
MAX_ALIASES: Final = 100
MAX_INTEGER: Final = 2**53 - 1

Path = Sequence[str | int]
Place = tuple[int, int]  # line and column, from 1

_NOTHING: Final = object()
_WORDS: Final[dict[str, Json]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]")
_CORE: Final = "tag:yaml.org,2002:"
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class Parsed:
    """One document of a file: its place in it (from 0), the line where its content begins, the value."""

    index: int
    line: int
    value: Json


class YamlError(Exception):
    """What is wrong with a file, where (from 1), and what to do about it."""

    def __init__(self, place: Place, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.line, self.column = place
        self.code, self.message, self.hint = code, message, hint


def read(data: bytes) -> tuple[Parsed, ...]:
    """All documents of a file; documents without content are left out. Raises YamlError."""
    text = decode(data)
    try:
        return tuple(_Reader(_parser(text), careful="\\" in text).documents())
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(text, error) from error
    except yaml.reader.ReaderError as error:
        raise YamlError((1, 1), "Syntax", f"not YAML: {error.reason}") from error
    except _DuplicateError as error:
        raise _duplicate(text, error) from None


def decode(data: bytes) -> str:
    """The text of a file: UTF-8 without control characters, with or without a byte order mark."""
    if len(data) > MAX_BYTES:
        raise YamlError((1, 1), "TooLarge", f"the file has {len(data):,} bytes; the limit is 1 MiB", _SPLIT)
    if data[:2] in _UTF16 or b"\x00" in data[:4]:
        raise YamlError((1, 1), "Encoding", "the file is UTF-16 or UTF-32, not UTF-8", "save it as UTF-8")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        place = _place_of(data[: error.start].decode())
        raise YamlError(place, "Encoding", "the file is not valid UTF-8 here", "save it as UTF-8") from error
    text = text.removeprefix("\ufeff")
    if bad := _CONTROL.search(text):
        message = f"control character U+{ord(bad[0]):04X}"
        raise YamlError(_place_of(text[: bad.start()]), "ControlCharacter", message, "delete it")
    return text


_SPLIT: Final = "split it into several files"


def _place_of(before: str) -> Place:
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


def _parser(text: str) -> Any:
    """An event parser: the C one; where PyYAML was built without it the slower one in Python."""
    try:
        from yaml._yaml import CParser  # noqa: PLC0415  absent in builds without libyaml
    except ImportError:
        return _pure_parser(text)
    return CParser(text)


def _pure_parser(text: str) -> Any:
    return yaml.Loader(text)  # only its events are used; nothing is constructed


def _place(event: Any) -> Place:
    return event.start_mark.line + 1, event.start_mark.column + 1


class _DuplicateError(Exception):
    """A key that its mapping already has; the place of the first is looked up afterwards."""

    def __init__(self, place: Place, key: str) -> None:
        super().__init__(key)
        self.place, self.key = place, key


def _duplicate(text: str, error: _DuplicateError) -> YamlError:
    line, column = error.place
    nodes = (node for tree in _trees(text) for node in tree.all())
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
                _refuse(event, "TooLarge", f"more than {MAX_NODES:,} values in one file", _SPLIT)
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
        if self.careful and _CONTROL.search(value):
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
        raise _DuplicateError(_place(event), value)
    return value


def _refuse(event: Any, code: str, message: str, hint: str = "") -> NoReturn:
    raise YamlError(_place(event), code, message, hint)


_HINTS: Final = (
    (
        "mapping values are not allowed",
        "a `:` where no mapping can begin",
        "quote a value that holds `: `, or check the indentation",
    ),
    ("could not find expected ':'", "a key without its `:`", "write `key: value`, and check the indentation"),
    ("did not find expected key", "this line does not fit the block it is in", "check the indentation"),
    ("expected '-' indicator", "this line does not fit the list it is in", "check the indentation"),
    ("unexpected end of stream", "a quote or bracket that is never closed", "close it"),
    ("did not find expected ',' or", "a bracket that is never closed", "close it, or put a comma between"),
    ("cannot start any token", "a character that no plain value may begin with", "put the value in quotes"),
    ("scanning a directive", "a line beginning with `%`", "put the value in quotes"),
    ("did not find expected <document start>", "text after the end of the document", "check the indentation"),
)


def _syntax_error(text: str, error: yaml.MarkedYAMLError) -> YamlError:
    """Say what the parser said in the words of an author."""
    mark = error.problem_mark or error.context_mark
    place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    if mark and text[mark.index : mark.index + 1] == "\t":
        return YamlError(place, "Syntax", "not YAML: a tab; YAML does not allow them here", "use spaces")
    said = f"{error.context or ''} {error.problem or ''}".strip()
    for sign, message, hint in _HINTS:
        if sign in said:
            return YamlError(place, "Syntax", f"not YAML: {message}", hint)
    return YamlError(place, "Syntax", f"not YAML: {shown(said, 200)}", "check the lines before it")


@dataclass(slots=True)
class _Node:
    """Where one value is, and its key, if it is in a mapping. `twin`: a second key of the same name."""

    value: Place
    key: Place | None = None
    children: dict[str | int, _Node] | None = None
    twin: Place | None = None

    def all(self) -> Iterator[_Node]:
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend((node.children or {}).values())


class Places:
    """Where the values of one file are. Paths do not lead through aliases: their place is the alias's."""

    def __init__(self, data: bytes) -> None:
        self._trees = _trees(decode(data))

    def value(self, index: int, path: Path) -> Place:
        """Line and column, from 1, of the value at this path; of its nearest parent where there is none.

        `index` is that of the document in the file.
        """
        return self._find(index, path).value

    def key(self, index: int, path: Path) -> Place:
        """Where the key of the value at this path is written; the value's place for entries of lists."""
        node = self._find(index, path)
        return node.key or node.value

    def _find(self, index: int, path: Path) -> _Node:
        node = self._trees[index] if index < len(self._trees) else _Node((1, 1))
        for step in path:
            inner = (node.children or {}).get(step)
            if inner is None:
                break
            node = inner
        return node


def locate(data: bytes, index: int, path: Path) -> Place:
    """Where one value of a file begins."""
    return Places(data).value(index, path)


def _trees(text: str) -> list[_Node]:
    """The places of all values of all documents, as far as the file can be read."""
    event_of = _parser(text).get_event
    trees: list[_Node] = []
    try:
        while (sort := type(event_of())) is not StreamEndEvent:
            if sort is DocumentStartEvent:
                _tree(event_of, trees)
    except yaml.YAMLError:
        pass  # what came before the error is what was asked for
    return trees


def _tree(event_of: Callable[[], Any], trees: list[_Node]) -> None:
    """Add the places of one document."""
    stack: list[tuple[_Node, bool]] = []
    pending: tuple[str, Place] | None = None
    keys: list[tuple[str, Place] | None] = []
    while (sort := type(event := event_of())) is not DocumentEndEvent:
        if sort in (MappingEndEvent, SequenceEndEvent):
            stack.pop()
            pending = keys.pop()
            continue
        if stack and stack[-1][1] and pending is None:
            pending = (getattr(event, "value", ""), _place(event))
            continue
        node = _Node(_place(event), pending[1] if pending else None)
        if stack:
            _attach(stack[-1][0], node, pending[0] if pending else None)
        else:
            trees.append(node)
        pending = None
        if sort in (MappingStartEvent, SequenceStartEvent):
            keys.append(pending)
            node.children = {}
            stack.append((node, sort is MappingStartEvent))


def _attach(parent: _Node, node: _Node, key: str | None) -> None:
    children = parent.children if parent.children is not None else {}
    name: str | int = len(children) if key is None else key
    if name in children:
        children[name].twin = node.key
    else:
        children[name] = node
