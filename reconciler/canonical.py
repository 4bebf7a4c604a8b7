"""Canonical JSON and digests: one spelling for one value, on every machine.

RFC 8785 (JSON Canonicalization Scheme): keys sorted by UTF-16 code units, no white space, numbers
as ECMAScript prints them. Specs of ours are mostly plain ASCII without floats; for those the
standard library writes the same bytes, many times faster, and is used.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

_encode = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, check_circular=False, default=dict
).encode


# A number that the two might spell differently: a float, or an integer that may be beyond 2^53. A string
# may look like one to this; it is then written the long way, to the same bytes.
_ODD_NUMBER = re.compile(r"[:\[,]-?(?:\d+[.eE]|\d{16}|NaN|Infinity)")


def canonical(value: Any) -> bytes:
    """The RFC 8785 bytes of a JSON value (mappings, sequences, strings, numbers, booleans, None)."""
    text = _encode(value)
    if text.isascii() and "\x7f" not in text and not _ODD_NUMBER.search(f":{text}"):
        return text.encode()
    import rfc8785  # noqa: PLC0415  only values with floats or beyond ASCII need it

    plain = json.loads(text)
    try:
        return rfc8785.dumps(plain)
    except (UnicodeEncodeError, rfc8785.CanonicalizationError):
        return json.dumps(plain, sort_keys=True).encode()  # what no JSON can say: a back-end's odd answer


def digest_of(value: Any) -> str:
    """`sha256:` and 64 hex digits of the canonical JSON of a value."""
    return "sha256:" + hashlib.sha256(canonical(value)).hexdigest()
