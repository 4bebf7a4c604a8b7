"""YAML of TOSCA templates: the same limits and refusals as our own files, but words and numbers of YAML 1.1.

`yes`, `no`, `on`, `off` are booleans, `0644` is octal, `0b1` binary, `1_000` a thousand. Floats keep their
text (`reconciler.tosca.values.Float`). Differs from YAML 1.1 (http://yaml.org/type/) where that only
surprises: `22:30` and dates stay text, `.inf` and `.nan` too. One document a file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import yaml

from reconciler.model import Json
from reconciler.printable import shown
from reconciler.strict_yaml import MAX_INTEGER, YamlError, _DuplicateError, _Reader
from reconciler.strict_yaml import _duplicate as duplicate
from reconciler.strict_yaml.places import Places, place_of
from reconciler.strict_yaml.text import Place, decode, parser_of, syntax_error
from reconciler.tosca.values import Float

_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE: Final = frozenset(
    form for word in ("yes", "true", "on") for form in (word, word.title(), word.upper())
)
_FALSE: Final = frozenset(
    form for word in ("no", "false", "off") for form in (word, word.title(), word.upper())
)
_DECIMAL = re.compile(r"[-+]?(?:0|[1-9][0-9_]*)")
_OCTAL = re.compile(r"[-+]?0[0-7_]+")
_OTHER = re.compile(r"[-+]?0(?:b[01_]+|x[0-9a-fA-F_]+)")
_FLOAT = re.compile(r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+][0-9]+)?")


def read_tosca(data: bytes) -> tuple[Json, Callable[[Sequence[str | int]], Place]]:
    """The value of a file and a function that says where (from 1) a path in it is. Raises YamlError."""
    text = decode(data)
    try:
        documents = list(_ToscaReader(parser_of(text), careful="\\" in text).documents())
    except yaml.MarkedYAMLError as error:
        raise syntax_error(text, error) from error
    except yaml.reader.ReaderError as error:
        raise YamlError((1, 1), "Syntax", f"not YAML: {error.reason}") from error
    except _DuplicateError as error:
        raise duplicate(text, error) from None
    if len(documents) > 1:
        raise YamlError((documents[1].line, 1), "Documents", "more than one document in the file", "keep one")
    if not documents:
        return None, lambda _path: (1, 1)
    return documents[0].value, partial(_place, data, documents[0].index)


def _place(data: bytes, index: int, path: Sequence[str | int]) -> Place:
    return Places(data).key(index, path)


class _ToscaReader(_Reader):
    """Reads plain scalars as YAML 1.1 does."""

    __slots__ = ()

    def scalar(self, event: Any) -> Json:
        value = super().scalar(event)
        if not event.implicit[0]:
            return value
        value = _resolved(event, event.value)
        if event.anchor is not None:
            self.anchors[event.anchor] = value
        return value


def _resolved(event: Any, text: str) -> Json:
    if text in _NULLS:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if text[0] not in "0123456789+-.":
        return text
    if _FLOAT.fullmatch(text) and len(text) < 64:
        return Float(text)
    number = _integer(text) if len(text) < 64 else None
    if number is not None and abs(number) > MAX_INTEGER:
        message = f"{shown(text)} is beyond what JSON carries exactly (2^53-1)"
        raise YamlError(place_of(event), "IntegerTooLarge", message, "quote it to make it a string")
    return text if number is None else number


def _integer(text: str) -> int | None:
    digits = text.replace("_", "")
    if _DECIMAL.fullmatch(text):
        return int(digits)
    if _OCTAL.fullmatch(text):
        return int(digits, 8)
    return int(digits, 0) if _OTHER.fullmatch(text) else None
