"""Whole answers, or errors: a list that is shorter than the real one would be taken for things that are gone.

Rucio sends lists as `application/x-json-stream`, one JSON value per line, while it reads its database. What
breaks then must not pass for the end. HTTP says where an answer ends in two ways that can't be mistaken, the
last chunk or a length (RFC 9112 §6.3). An answer that ends with its connection is not accepted.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

from reconciler.drivers.rucio.library import parse_response
from reconciler.errors import BackendError, Transient
from reconciler.printable import shown

_CHUNK: Final = 1 << 16
_STREAM: Final = "application/x-json-stream"
_JSON: Final = "application/json"


def values(response: Any, where: str, limit: float) -> list[Any]:
    """All JSON values of an answer (requests.Response), read to its end, which must come by `limit`.

    `limit` is a moment of time.monotonic(), `where` begins the messages. Raises ValueError for half a value,
    BackendError where it is no JSON or has no end that can be seen, Transient where it takes too long, and
    what `requests` raises.
    """
    sort = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if sort not in (_STREAM, _JSON):
        said = f"{where} answered {shown(sort) or 'something'} where JSON was expected"
        raise BackendError(said, hint="is `url` the address of a Rucio server?")
    if not _says_its_end(response):
        hint = "what stands before the server must speak HTTP/1.1 and keep lengths and chunks"
        raise BackendError(f"{where} does not say where its answer ends", hint=hint)
    if sort == _JSON:
        return [parse_response(b"".join(_chunks(response, where, limit)))]
    return [parse_response(line) for line in _lines(response, where, limit)]


def _says_its_end(response: Any) -> bool:
    headers = response.headers
    return "Content-Length" in headers or headers.get("Transfer-Encoding", "").lower().endswith("chunked")


def _lines(response: Any, where: str, limit: float) -> Iterator[bytes]:
    rest = b""
    for chunk in _chunks(response, where, limit):
        *whole, rest = (rest + chunk).split(b"\n")
        yield from filter(bytes.strip, whole)
    if rest.strip():
        yield rest


def _chunks(response: Any, where: str, limit: float) -> Iterator[bytes]:
    for chunk in response.iter_content(_CHUNK):
        if time.monotonic() > limit:
            raise Transient(f"{where} took too long to answer")
        yield chunk
