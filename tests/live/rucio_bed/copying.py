"""One copy, as the transfer service makes it: to a temporary name, checked, renamed."""

from __future__ import annotations

import os
import uuid
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Order:
    """From where to where, by URLs. `checksum` is `ADLER32:<hex>`, or empty.

    `verify` is both, source, target or none: where it is compared. `spoil_before`, `spoil_after`: other bytes
    arrive, before or after the checksum is taken.
    """

    source: str
    destination: str
    checksum: str
    verify: str
    overwrite: bool
    spoil_before: bool = False
    spoil_after: bool = False


def copy(order: Order) -> str:
    """Copy one file. Why it was not done, in the manner of FTS3; empty: done. Raises OSError."""
    source, destination = path_of(order.source), path_of(order.destination)
    if not source.is_file():
        return f"SOURCE [2] No such file or directory: {source}"
    if destination.exists() and not order.overwrite:
        return "DESTINATION [17] Destination file exists and overwrite is not enabled"
    destination.parent.mkdir(parents=True, exist_ok=True)
    half = destination.with_name(f".{destination.name}.{uuid.uuid4()}.part")
    try:
        read = _copy_bytes(source, half)
        reason = _checked(order, read, half)
        if not reason:
            os.replace(half, destination)
    finally:
        with suppress(FileNotFoundError):
            half.unlink()
    return reason


def _checked(order: Order, read: str, half: Path) -> str:
    if order.spoil_before:
        _spoil(half)
    reason = _difference(order, read, _adler32(half))
    if order.spoil_after:
        _spoil(half)
    return reason


def path_of(url: str) -> Path:
    """The file that a URL of scheme `file` names. Raises OSError for other schemes."""
    parts = urlsplit(url)
    if parts.scheme != "file":
        raise OSError(93, "Protocol not supported", url)
    return Path(os.path.normpath(unquote(parts.path)))


def _copy_bytes(source: Path, half: Path) -> str:
    """The ADLER32 of what was read, 8 hex digits."""
    checksum = 1
    with source.open("rb") as here, half.open("wb") as there:
        while chunk := here.read(_CHUNK):
            checksum = zlib.adler32(chunk, checksum)
            there.write(chunk)
    return f"{checksum:08x}"


def _adler32(path: Path) -> str:
    checksum = 1
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            checksum = zlib.adler32(chunk, checksum)
    return f"{checksum:08x}"


def _spoil(path: Path) -> None:
    """Another byte at the end, the size stays; an empty file gets one byte."""
    data = path.read_bytes() or b"\0"
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 0xFF]))


def _difference(order: Order, read: str, written: str) -> str:
    """Is what was read, and what was written, what Rucio knows? Where it knows nothing: are they equal?"""
    method, _, checksum = order.checksum.partition(":")
    expected = checksum.lower().zfill(8) if method == "ADLER32" and checksum else read
    for side, found, verified in (("SOURCE", read, "source"), ("DESTINATION", written, "target")):
        if order.verify in ("both", verified) and found != expected:
            return f"{side} CHECKSUM MISMATCH expected {expected}, found {found}"
    return ""
