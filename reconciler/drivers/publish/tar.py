"""From the blocks of a tar to its members, read strictly: what has two meanings is refused.

The format is that of POSIX.1-2017 `pax` (ustar and extended headers) with the long names of GNU tar
(gnu.org/software/tar/manual, "Basic Tar Format"). The standard library's reader is not used here: it takes a
damaged header for the end of the archive, and reads headers of any size into memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from reconciler.drivers.publish.stream import Blocks, Limits, refused

_BLOCK: Final = 512
_ZEROS: Final = bytes(_BLOCK)
_LATEST: Final = 1 << 33  # seconds; a later time of modification is nonsense
_PATH, _LINK, _SIZE = "path", "linkpath", "size"
_LONG: Final = {b"L": _PATH, b"K": _LINK}
_UTF8: Final = "ISO-IR 10646 2000 UTF-8"
_REFUSED: Final = {
    b"3": "is a character device",
    b"4": "is a block device",
    b"6": "is a fifo",
    b"S": "is a sparse file",
}


class Sort(StrEnum):
    """What a member is. Everything else is refused."""

    FILE = "file"
    FOLDER = "folder"
    SYMLINK = "symbolic link"
    HARDLINK = "hard link"


_SORTS: Final = {
    b"0": Sort.FILE,
    b"\0": Sort.FILE,
    b"7": Sort.FILE,
    b"1": Sort.HARDLINK,
    b"2": Sort.SYMLINK,
    b"5": Sort.FOLDER,
}


@dataclass(frozen=True, slots=True)
class Member:
    """One entry as it says of itself; nothing in it is trusted yet. `modified` in nanoseconds."""

    name: str
    sort: Sort
    size: int = 0
    executable: bool = False
    modified: int = 0
    link: str = ""


Content = Iterator[memoryview | bytes]


def members(blocks: Blocks, limits: Limits) -> Iterator[tuple[Member, Content]]:
    """Every member with the pieces of its content, up to the end of the archive, which must be there."""
    extended: dict[str, str] = {}
    while (header := blocks.take(_BLOCK)) != _ZEROS:
        _check_sum(header)
        sort = header[156:157]
        if sort in (b"x", b"g", b"L", b"K"):
            _extend(extended, sort, _body(blocks, header, limits))
            continue
        member = _member(header, extended)
        extended = {}
        content = blocks.content(member.size)
        yield member, content
        for _ in content:  # what nobody read
            pass
        blocks.take(-member.size % _BLOCK)
    if extended:
        raise refused("the archive", "ends after a header that speaks of a next member")
    blocks.end()


def _check_sum(header: bytes) -> None:
    computed = sum(header[:148]) + 8 * 0x20 + sum(header[156:])
    if _number(header[148:156]) != computed:
        raise refused("the archive", "has a damaged header")


def _member(header: bytes, extended: dict[str, str]) -> Member:
    name = extended.get(_PATH) or _header_name(header)
    code = header[156:157]
    if code not in _SORTS:
        raise refused(name, _REFUSED.get(code, f"is of the unknown type {code!r}"))
    sort = _SORTS[code]
    if sort is Sort.FILE and name.endswith("/"):  # how tar wrote folders before 1988
        sort = Sort.FOLDER
    size = _size(extended[_SIZE]) if _SIZE in extended else _number(header[124:136])
    if size and sort is not Sort.FILE:
        raise refused(name, f"is a {sort} and claims to have content")
    link = extended.get(_LINK) or _text(header[157:257].split(b"\0", 1)[0])
    modified = min(_number(header[136:148]), _LATEST) * 1_000_000_000
    return Member(name, sort, size, bool(_number(header[100:108]) & 0o100), modified, link)


def _header_name(header: bytes) -> str:
    name = header[:100].split(b"\0", 1)[0]
    prefix = header[345:500].split(b"\0", 1)[0] if header[257:263] == b"ustar\0" else b""
    return _text(prefix + b"/" + name if prefix else name)


def _number(field: bytes) -> int:
    """Octal digits, or base 256 where the first bit is set. Negative numbers have no meaning here."""
    if field[0] & 0xC0 == 0x80:
        return int.from_bytes(bytes([field[0] & 0x3F]) + field[1:], "big")
    digits = field.strip(b" \0")
    if digits.strip(b"01234567"):
        raise refused("the archive", "has a header with a number that is none")
    return int(digits or b"0", 8)


def _size(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise refused("the archive", "has an extended header with a size that is none")
    return int(text)


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise refused(raw.decode("utf-8", "backslashreplace"), "is a name that is not UTF-8") from error


def _body(blocks: Blocks, header: bytes, limits: Limits) -> bytes:
    size = _number(header[124:136])
    if size > limits.header:
        raise refused("the archive", f"has a header of {size} bytes")
    body = blocks.take(size)
    blocks.take(-size % _BLOCK)
    return body


def _extend(extended: dict[str, str], sort: bytes, body: bytes) -> None:
    """Note what an extended header says of the next member; nothing may be said twice."""
    if sort in _LONG:
        said = {_LONG[sort]: _text(body.removesuffix(b"\0"))}
    else:
        said = dict(_records(body))
    if sort == b"g" and said.keys() & {_PATH, _LINK, _SIZE}:
        raise refused("the archive", "has a header that renames or resizes all its members")
    for key in sorted(said):
        if key in extended:
            raise refused("the archive", f"says the {key} of one member twice")
        extended[key] = said[key]


def _records(body: bytes) -> Iterator[tuple[str, str]]:
    """The records, `<length> <key>=<value>` and a line feed, that matter to us."""
    seen: set[bytes] = set()
    while body:
        length, _, _ = body[:20].partition(b" ")
        if not length.isdigit() or not len(length) < int(length) <= len(body):
            raise refused("the archive", "has a damaged extended header")
        record, body = body[len(length) + 1 : int(length)], body[int(length) :]
        key, equals, value = record.partition(b"=")
        if not equals or not value.endswith(b"\n") or key in seen:
            raise refused("the archive", "has a damaged extended header")
        seen.add(key)
        _check_record(key, value[:-1])
        if key.decode("ascii", "replace") in (_PATH, _LINK, _SIZE):
            yield key.decode(), _text(value[:-1])


def _check_record(key: bytes, value: bytes) -> None:
    if key.startswith(b"GNU.sparse."):
        raise refused("the archive", "holds a sparse file")
    if key == b"hdrcharset" and value != _UTF8.encode():
        raise refused("the archive", "has names that are not UTF-8")
