"""Where the values of a file are: found by parsing the one bad file again, so that good ones pay nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from yaml.events import (
    DocumentEndEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from reconciler.strict_yaml.text import Place, decode, parser_of

Path = Sequence[str | int]


@dataclass(slots=True)
class Node:
    """Where one value is, and its key, if it is in a mapping. `twin`: a second key of the same name."""

    value: Place
    key: Place | None = None
    children: dict[str | int, Node] | None = None
    twin: Place | None = None

    def all(self) -> Iterator[Node]:
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend((node.children or {}).values())


class Places:
    """Where the values of one file are. Paths do not lead through aliases: their place is the alias's."""

    def __init__(self, data: bytes) -> None:
        self._trees = trees_of(decode(data))

    def value(self, index: int, path: Path) -> Place:
        """Line and column, from 1, of the value at this path; of its nearest parent where there is none.

        `index` is that of the document in the file.
        """
        return self._find(index, path).value

    def key(self, index: int, path: Path) -> Place:
        """Where the key of the value at this path is written; the value's place for entries of lists."""
        node = self._find(index, path)
        return node.key or node.value

    def _find(self, index: int, path: Path) -> Node:
        node = self._trees[index] if index < len(self._trees) else Node((1, 1))
        for step in path:
            inner = (node.children or {}).get(step)
            if inner is None:
                break
            node = inner
        return node


def locate(data: bytes, index: int, path: Path) -> Place:
    """Where one value of a file begins."""
    return Places(data).value(index, path)


def trees_of(text: str) -> list[Node]:
    """The places of all values of all documents, as far as the file can be read."""
    event_of = parser_of(text).get_event
    trees: list[Node] = []
    try:
        while (sort := type(event_of())) is not StreamEndEvent:
            if sort is DocumentStartEvent:
                _tree(event_of, trees)
    except yaml.YAMLError:
        pass  # what came before the error is what was asked for
    return trees


def _tree(event_of: Callable[[], Any], trees: list[Node]) -> None:
    """Add the places of one document."""
    stack: list[tuple[Node, bool]] = []
    pending: tuple[str, Place] | None = None
    keys: list[tuple[str, Place] | None] = []
    while (sort := type(event := event_of())) is not DocumentEndEvent:
        if sort in (MappingEndEvent, SequenceEndEvent):
            stack.pop()
            pending = keys.pop()
            continue
        if stack and stack[-1][1] and pending is None:
            pending = (getattr(event, "value", ""), place_of(event))
            continue
        node = Node(place_of(event), pending[1] if pending else None)
        if stack:
            _attach(stack[-1][0], node, pending[0] if pending else None)
        else:
            trees.append(node)
        pending = None
        if sort in (MappingStartEvent, SequenceStartEvent):
            keys.append(pending)
            node.children = {}
            stack.append((node, sort is MappingStartEvent))


def _attach(parent: Node, node: Node, key: str | None) -> None:
    children = parent.children if parent.children is not None else {}
    name: str | int = len(children) if key is None else key
    if name in children:
        children[name].twin = node.key
    else:
        children[name] = node


def place_of(event: Any) -> Place:
    """Where an event of the parser begins."""
    return event.start_mark.line + 1, event.start_mark.column + 1
