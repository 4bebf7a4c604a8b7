"""Whole answers, or errors: a list that is shorter than the real one would be taken for things that are gone.

Rucio sends lists as `application/x-json-stream`, one JSON value per line, while it reads its database. What
breaks then must not pass for the end. HTTP says where an answer ends in two ways that can't be mistaken, the
last chunk or a length (RFC 9112 §6.3). An answer that ends with its connection is not accepted.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any, Final

from reconciler.drivers.rucio.library import parse_response
from reconciler.errors import BackendError, Transient
from reconciler.printable import shown

_CHUNK: Final = 1 << 16
_STREAM: Final = "application/x-json-stream"
_JSON: Final = "application/json"
_LONGEST: Final = 256 << 20  # bytes of an answer, unpacked: a million files are not half of it
_LONGEST_LINE: Final = 16 << 20


def values(response: Any, where: str, limit: float) -> list[Any]:
    """All JSON values of an answer (requests.Response), read to its end, which must come by `limit`.

    `limit` is a moment of time.monotonic(), `where` begins the messages. Raises JSONDecodeError or
    UnicodeDecodeError for half a value, BackendError where it is no JSON, is too long or has no end that can
    be seen, Transient where it takes too long, and what `requests` raises.
    """
    sort = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if sort not in (_STREAM, _JSON):
        said = f"{where} answered {shown(sort) or 'something'} where JSON was expected"
        raise BackendError(said, hint="is `url` the address of a Rucio server?")
    if not _says_its_end(response):
        hint = "what stands before the server must speak HTTP/1.1 and keep lengths and chunks"
        raise BackendError(f"{where} does not say where its answer ends", hint=hint)
    if sort == _JSON:
        return [_parsed(b"".join(_chunks(response, where, limit)), where)]
    return [_parsed(line, where) for line in _lines(response, where, limit)]


def _parsed(text: bytes, where: str) -> Any:
    try:
        return parse_response(text)
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise
    except (ValueError, RecursionError, OverflowError) as error:  # thousands of digits, or of brackets
        raise BackendError(f"{where} answered what nobody can read ({type(error).__name__})") from error


def _says_its_end(response: Any) -> bool:
    headers = response.headers
    return "Content-Length" in headers or headers.get("Transfer-Encoding", "").lower().endswith("chunked")


def _lines(response: Any, where: str, limit: float) -> Iterator[bytes]:
    begun: list[bytes] = []  # pieces of a line that goes on; joined once
    length = 0
    for chunk in _chunks(response, where, limit):
        first, *whole = chunk.split(b"\n")
        begun.append(first)
        length += len(first)
        if length > _LONGEST_LINE:
            raise _too_long(where, f"a line of more than {_LONGEST_LINE >> 20} MiB")
        if whole:
            *whole, rest = b"".join(begun), *whole
            yield from filter(bytes.strip, whole)
            begun, length = [rest], len(rest)
    last = b"".join(begun)
    if last.strip():
        yield last


def _chunks(response: Any, where: str, limit: float) -> Iterator[bytes]:
    total = 0
    for chunk in response.iter_content(_CHUNK):
        if time.monotonic() > limit:
            raise Transient(f"{where} took too long to answer")
        total += len(chunk)
        if total > _LONGEST:
            raise _too_long(where, f"more than {_LONGEST >> 20} MiB")
        yield chunk


def _too_long(where: str, what: str) -> BackendError:
    return BackendError(f"{where} answered {what}", hint="is `url` the address of a Rucio server?")
