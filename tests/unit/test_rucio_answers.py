"""Answers of Rucio have an end: bytes, lines, digits and brackets. What `requests` gives is made here."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from reconciler.drivers.rucio.answers import values
from reconciler.errors import BackendError

CHUNK = 1 << 16
FOREVER = 1 << 40


class Response:
    """What is read of a requests.Response. `given` counts the chunks that were taken."""

    def __init__(self, chunks: Iterable[bytes], sort: str = "application/x-json-stream") -> None:
        self.headers = {"Content-Type": sort, "Transfer-Encoding": "chunked"}
        self.chunks, self.given = chunks, 0

    def iter_content(self, size: int) -> Iterator[bytes]:
        for chunk in self.chunks:
            self.given += 1
            yield chunk


def read(response: Response) -> list[Any]:
    return values(response, "lake", time.monotonic() + 60)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_lines_are_the_same_wherever_chunks_end(size: int) -> None:
    text = b'{"a": 1}\n\n \n[2, 3]\n"four"\n5'
    chunks = [text[start : start + size] for start in range(0, len(text), size)]
    assert read(Response(chunks)) == [{"a": 1}, [2, 3], "four", 5]


def endless(chunk: bytes) -> Iterator[bytes]:
    for _ in range(FOREVER):
        yield chunk


@pytest.mark.parametrize(
    ("chunk", "sort", "most"),
    [
        (b"x" * CHUNK, "application/x-json-stream", 16 << 20),
        (b" " * (CHUNK - 1) + b"\n", "application/x-json-stream", 256 << 20),
        (b" " * CHUNK, "application/json", 256 << 20),
    ],
    ids=["a line", "a list", "one value"],
)
def test_an_answer_without_an_end_is_given_up(chunk: bytes, sort: str, most: int) -> None:
    response = Response(endless(chunk), sort)
    with pytest.raises(BackendError, match=f"more than {most >> 20} MiB") as error:
        read(response)
    assert response.given == most // CHUNK + 1
    assert error.value.hint


def test_a_long_line_is_joined_once() -> None:
    """Sixteen million letters in small pieces: joined anew with each they would be read for minutes."""
    pieces = [b'"', *[b"x" * 256] * 60_000, b'"\n']
    began = time.process_time()
    assert [len(value) for value in read(Response(pieces))] == [256 * 60_000]
    assert time.process_time() - began < 5


@pytest.mark.parametrize("text", [b"9" * 5000, b"[" * 100_000, b'{"a": ' * 100_000])
def test_what_no_reader_can_take_is_an_error_of_the_target(text: bytes) -> None:
    with pytest.raises(BackendError, match="nobody can read"):
        read(Response([text]))
