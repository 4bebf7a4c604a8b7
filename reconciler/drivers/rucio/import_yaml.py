"""YAML as people would write it, with comments: what the import writes. Pure.

Only what every reader of YAML takes for the same: words that mean something else somewhere, and all that is
no plain word, are in double quotes, with JSON's escapes.
"""

from __future__ import annotations

import json
import re
import textwrap
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from reconciler.printable import printable

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")
_WORDS: Final = frozenset(("null", "true", "false", "yes", "no", "on", "off", "y", "n"))
_WIDTH: Final = 108
_FLOW: Final = 90  # a list of scalars that is shorter stands on one line


def document(value: Mapping[str, Any], comments: Iterable[str] = ()) -> str:
    """One object with comments above it. `value`: mappings, lists, text, whole numbers, booleans."""
    return "".join(comment_lines(comments)) + "".join(f"{line}\n" for line in _mapping(value, ""))


def comment_lines(comments: Iterable[str]) -> Iterator[str]:
    """Each a comment of its own, wrapped; nothing in them can end the line."""
    for comment in comments:
        for line in textwrap.wrap(printable(comment), _WIDTH - 2) or [""]:
            yield f"# {line}".rstrip() + "\n"


def scalar(value: Any) -> str:
    """One value. Raises TypeError for what has no form here: null, fractions, control characters."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} has no form here")
    if any(_is_control(letter) for letter in value):
        raise TypeError("a control character has no form here")
    if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return "".join(map(_escaped, json.dumps(value, ensure_ascii=False)))


def _is_control(letter: str) -> bool:
    return letter in "\ufffe\uffff" or (unicodedata.category(letter) == "Cc" and letter not in "\t\n\r\x85")


def _escaped(letter: str) -> str:
    if letter.isprintable():
        return letter
    code = ord(letter)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _mapping(value: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, content in value.items():
        head = f"{indent}{scalar(key)}:"
        if isinstance(content, Mapping) and content:
            yield head
            yield from _mapping(content, f"{indent}  ")
        elif isinstance(content, (list, tuple)) and content:
            yield from _list(head, content, f"{indent}  ")
        else:
            yield f"{head} {_on_one_line(content)}"


def _on_one_line(content: Any) -> str:
    """A scalar, a list of scalars, or an empty mapping."""
    if isinstance(content, Mapping) and not content:
        return "{}"
    return f"[{', '.join(map(scalar, content))}]" if isinstance(content, (list, tuple)) else scalar(content)


def _list(head: str, entries: Iterable[Any], indent: str) -> Iterator[str]:
    kept = list(entries)
    if not any(isinstance(entry, (Mapping, list, tuple)) for entry in kept):
        flow = f"{head} {_on_one_line(kept)}"
        if len(flow) <= _FLOW:
            yield flow
            return
    yield head
    for entry in kept:
        yield from _entry(entry, indent)


def _entry(entry: Any, indent: str) -> Iterator[str]:
    if isinstance(entry, Mapping) and entry:
        first, *rest = _mapping(entry, f"{indent}  ")
        yield f"{indent}- {first.strip()}"
        yield from rest
    else:
        yield f"{indent}- {_on_one_line(entry)}"
