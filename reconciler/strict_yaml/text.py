"""From the bytes of a file to its text and the events of a YAML parser; every error with its place."""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

from reconciler.printable import shown

MAX_BYTES: Final = 2**20
SPLIT: Final = "split it into several files"
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]")
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")

Place = tuple[int, int]  # line and column, from 1


class YamlError(Exception):
    """What is wrong with a file, where (from 1), and what to do about it."""

    def __init__(self, place: Place, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.line, self.column = place
        self.code, self.message, self.hint = code, message, hint


def decode(data: bytes) -> str:
    """The text of a file: UTF-8 without control characters, with or without a byte order mark."""
    if len(data) > MAX_BYTES:
        raise YamlError((1, 1), "TooLarge", f"the file has {len(data):,} bytes; the limit is 1 MiB", SPLIT)
    if data[:2] in _UTF16 or b"\x00" in data[:4]:
        raise YamlError((1, 1), "Encoding", "the file is UTF-16 or UTF-32, not UTF-8", "save it as UTF-8")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        place = _place_of(data[: error.start].decode())
        raise YamlError(place, "Encoding", "the file is not valid UTF-8 here", "save it as UTF-8") from error
    text = text.removeprefix("\ufeff")
    if bad := CONTROL.search(text):
        message = f"control character U+{ord(bad[0]):04X}"
        raise YamlError(_place_of(text[: bad.start()]), "ControlCharacter", message, "delete it")
    return text


def _place_of(before: str) -> Place:
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


def parser_of(text: str) -> Any:
    """An event parser: the C one; where PyYAML was built without it the slower one in Python."""
    try:
        from yaml._yaml import CParser  # noqa: PLC0415  absent in builds without libyaml
    except ImportError:
        return pure_parser_of(text)
    return CParser(text)


def pure_parser_of(text: str) -> Any:
    """The same events from Python code."""
    return yaml.Loader(text)  # only its events are used; nothing is constructed


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
    ("scanning an anchor", "a plain value can't begin with `&`", "put the value in quotes"),
    ("scanning an alias", "a plain value can't begin with `*`", "put the value in quotes"),
    ("did not find expected node content", "a bracket with something unexpected in it", "close it, or quote"),
    ("scanning a directive", "a line beginning with `%`", "put the value in quotes"),
    ("did not find expected <document start>", "text after the end of the document", "check the indentation"),
)


def syntax_error(text: str, error: yaml.MarkedYAMLError) -> YamlError:
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
