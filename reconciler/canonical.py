"""Canonical JSON and digests: one spelling for one value, on every machine.

RFC 8785 (JSON Canonicalization Scheme): keys sorted by UTF-16 code units, no white space, numbers
as ECMAScript prints them. Specs of ours are mostly plain ASCII without floats; for those the
standard library writes the same bytes, many times faster, and is used.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

_encode = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, check_circular=False, default=dict
).encode


def canonical(value: Any) -> bytes:
    """The RFC 8785 bytes of a JSON value (mappings, sequences, strings, numbers, booleans, None)."""
    if _plain(value):
        return _encode(value).encode()
    import rfc8785  # noqa: PLC0415  only values with floats or beyond ASCII need it

    plain = json.loads(_encode(value))
    try:
        return rfc8785.dumps(plain)
    except (UnicodeEncodeError, rfc8785.CanonicalizationError):
        return json.dumps(plain, sort_keys=True).encode()  # what no JSON can say: a back-end's odd answer


def _plain(value: Any) -> bool:
    """Does the standard library write this value exactly as RFC 8785 wants it?"""
    if isinstance(value, str):
        return value.isascii() and "\x7f" not in value
    if isinstance(value, bool) or value is None:
        return True
    if isinstance(value, int):
        return -(2**53) < value < 2**53
    if isinstance(value, (list, tuple)):
        return all(_plain(entry) for entry in value)
    if isinstance(value, float):
        return False
    return all(_plain(key) and _plain(entry) for key, entry in value.items())


def digest_of(value: Any) -> str:
    """`sha256:` and 64 hex digits of the canonical JSON of a value."""
    return "sha256:" + hashlib.sha256(canonical(value)).hexdigest()
