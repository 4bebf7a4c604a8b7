"""From the bytes of an upload to the bytes of its tar: hashed, decompressed and limited on the way.

Formats are told by their first bytes, never by the name: gzip (RFC 1952), xz (its specification lies beside
the XZ Utils), Zstandard (RFC 8878), or no compression. Nothing is ever held whole in memory, and output is
taken in pieces of bounded size, so that a decompression bomb is stopped at the limit and not by the memory's
end.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Final, cast

from reconciler.errors import Rejected

PIECE: Final = 1 << 18  # bytes read, and at most written by a decompressor, in one go
GZIP: Final = b"\x1f\x8b"
XZ: Final = b"\xfd7zXZ\x00"
ZSTANDARD: Final = b"\x28\xb5\x2f\xfd"
_MEMORY: Final = 1 << 28  # what a decompressor may take: the largest window of `xz -9e` and `zstd --ultra`
_NOT_OURS: Final = {b"BZh": "bzip2", b"PK\x03\x04": "zip", b"7z\xbc\xaf": "7-Zip", b"Rar!": "RAR"}


@dataclass(frozen=True, slots=True)
class Limits:
    """What an upload may be at most. Sizes in bytes, `ratio` counted beyond the first `ratio_from` bytes."""

    bytes: int = 64 << 30
    members: int = 500_000
    ratio: int = 200
    ratio_from: int = 64 << 20
    header: int = 1 << 20
    path: int = 1024
    name: int = 255
    depth: int = 64


def refused(what: str, rule: str) -> Rejected:
    """The upload is refused whole: what in it (escaped, it may be hostile) breaks which rule."""
    return Rejected(
        f"the upload is refused, nothing was published: {escaped(what)} {rule}",
        hint="pack the upload again without it",
    )


def escaped(name: str) -> str:
    """A name from outside in printable ASCII, at most 120 characters of it."""
    return ascii(name if len(name) <= 120 else name[:117] + "...")


class Raw:
    """The upload as it lies on disk: every byte read is counted and hashed."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._hash = hashlib.sha256()
        self._first = b""
        self.count = 0

    def peek(self, count: int) -> bytes:
        """The first bytes, without taking them. Only before the first `read`."""
        while len(self._first) < count and (piece := self._fetch(count - len(self._first))):
            self._first += piece
        return self._first

    def read(self) -> bytes:
        """The next piece; empty at the end."""
        piece, self._first = self._first, b""
        return piece or self._fetch(PIECE)

    def digest(self) -> str:
        """The sha256 of the whole file, 64 hex digits; reads what is left."""
        while self._fetch(PIECE):
            pass
        return self._hash.hexdigest()

    def _fetch(self, count: int) -> bytes:
        piece = os.read(self._descriptor, count)
        self._hash.update(piece)
        self.count += len(piece)
        return piece


def pieces(raw: Raw) -> Iterator[bytes]:
    """The tar inside, decompressed, in bounded pieces. Raises Rejected for what is not one of our formats."""
    first = raw.peek(512)
    for magic, name in _NOT_OURS.items():
        if first.startswith(magic):
            raise _unknown(f"it is {name}")
    for magic, decompress in _DECOMPRESS.items():
        if first.startswith(magic):
            return decompress(raw)
    if first[257:262] == b"ustar" or (len(first) == 512 and not any(first)):
        return iter(raw.read, b"")
    raise _unknown("its first bytes are of none of these")


def _unknown(why: str) -> Rejected:
    return Rejected(
        f"the upload is not an archive that can be published: {why}",
        hint="upload .tar, .tar.gz, .tar.zst, .tar.xz or a directory",
    )


def _gunzip(raw: Raw) -> Iterator[bytes]:
    import zlib  # noqa: PLC0415  only what the upload needs

    data = raw.read()
    while data:
        engine = zlib.decompressobj(wbits=31)
        while not engine.eof:
            data = data or raw.read()
            try:
                piece = engine.decompress(data, PIECE)
            except zlib.error as error:
                raise refused("the archive", f"is not sound gzip ({error})") from error
            if not data and not piece and not engine.eof:
                raise refused("the archive", "is cut short")
            data = engine.unconsumed_tail
            if piece:
                yield piece
        data = _next_stream(raw, engine.unused_data, GZIP)


def _unxz(raw: Raw) -> Iterator[bytes]:
    import lzma  # noqa: PLC0415  only what the upload needs

    data = raw.read()
    while data:
        engine = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_MEMORY)
        while not engine.eof:
            if engine.needs_input and not (data := data or raw.read()):
                raise refused("the archive", "is cut short")
            try:
                piece = engine.decompress(data, PIECE)
            except lzma.LZMAError as error:
                raise refused("the archive", f"is not sound xz ({error})") from error
            data = b""
            if piece:
                yield piece
        data = _next_stream(raw, engine.unused_data, XZ)


def _next_stream(raw: Raw, rest: bytes, magic: bytes) -> bytes:
    """What follows one compressed stream: another one (as parallel packers write), zeros, or an error."""
    while not any(rest):
        rest = raw.read()
        if not rest:
            return b""
    while len(rest) < len(magic) and (more := raw.read()):
        rest += more
    if not rest.startswith(magic):
        raise refused("the archive", "is followed by garbage")
    return rest


def _unzstandard(raw: Raw) -> Iterator[bytes]:
    import zstandard  # noqa: PLC0415  only what the upload needs

    engine = zstandard.ZstdDecompressor(max_window_size=_MEMORY)
    source = cast(IO[bytes], _Readable(raw))  # all that the reader asks for is `read`
    with engine.stream_reader(source, read_across_frames=True) as reader:
        while True:
            try:
                piece = reader.read(PIECE)
            except zstandard.ZstdError as error:
                raise refused("the archive", f"is not sound Zstandard ({error})") from error
            if not piece:
                return
            yield piece


class _Readable:
    """`Raw` as the Zstandard reader wants it."""

    def __init__(self, raw: Raw) -> None:
        self._raw = raw

    def read(self, _size: int = -1) -> bytes:
        return self._raw.read()


_DECOMPRESS: Final[dict[bytes, Callable[[Raw], Iterator[bytes]]]] = {
    GZIP: _gunzip,
    XZ: _unxz,
    ZSTANDARD: _unzstandard,
}


class Blocks:
    """The decompressed bytes, to be taken in the sizes that the tar format asks for, within the limits."""

    def __init__(self, raw: Raw, limits: Limits) -> None:
        self._raw = raw
        self._limits = limits
        self._pieces = pieces(raw)
        self._buffer = memoryview(b"")
        self._total = 0

    def take(self, count: int) -> bytes:
        """Exactly `count` bytes, few. Raises Rejected where the archive ends before."""
        if len(self._buffer) >= count:
            taken, self._buffer = self._buffer[:count], self._buffer[count:]
            return bytes(taken)
        return b"".join(self.content(count))

    def content(self, size: int) -> Iterator[memoryview]:
        """The next `size` bytes in pieces, never copied. Raises Rejected where the archive ends before."""
        left = size
        while left:
            if not self._buffer and not self._fill():
                raise refused("the archive", "is cut short")
            taken, self._buffer = self._buffer[:left], self._buffer[left:]
            left -= len(taken)
            yield taken

    def end(self) -> None:
        """Nothing but zeros may follow the end of a tar."""
        while True:
            if any(self._buffer):
                raise refused("the archive", "is followed by garbage")
            if not self._fill():
                return

    def _fill(self) -> bool:
        piece = next(self._pieces, b"")
        self._buffer = memoryview(piece)
        self._total += len(piece)
        if self._total > self._limits.bytes:
            raise refused("the archive", f"unpacks to more than {self._limits.bytes} bytes")
        if self._total > max(self._limits.ratio_from, self._limits.ratio * self._raw.count):
            raise refused("the archive", f"unpacks to more than {self._limits.ratio} times its size")
        return bool(piece)
