"""Generated secrets: derived from the instance key and from what they are for, never stored.

HKDF (RFC 5869) with SHA-256, no salt, and as info the canonical JSON of [type, ref, input, generation].
What is made from the same key stays the same for good: `tests/unit/test_secret.py` fixes it.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Final, NamedTuple

from reconciler.canonical import canonical
from reconciler.secret.openssh import private_text

ALPHABET: Final = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"  # no 0 O, no 1 l I
LENGTH: Final = 24  # characters of a password: 139 bits
_FAIR: Final = 256 - 256 % len(ALPHABET)  # bytes from here on would make some characters more likely
_BLOCK: Final = 32  # bytes of SHA-256


class Generated(NamedTuple):
    """What a generated secret is for. Raise `generation` to get another one. (A tuple: it loads quicker.)"""

    type: str
    ref: str
    input: str
    generation: int

    def __str__(self) -> str:
        return f"generated:{self.type}:{self.ref}#{self.input}:{self.generation}"


def generate(key: bytes, wanted: Generated) -> str:
    """The secret of this instance key. `wanted.type` is one of TYPES."""
    info = canonical([wanted.type, wanted.ref, wanted.input, wanted.generation])
    return TYPES[wanted.type](_stream(extract(bytes(_BLOCK), key), info))


def extract(salt: bytes, key: bytes) -> bytes:
    """HKDF-Extract of RFC 5869 §2.2, with SHA-256."""
    return hmac.digest(salt, key, "sha256")


def expand(pseudo_random_key: bytes, info: bytes) -> Iterator[bytes]:
    """The blocks of HKDF-Expand of RFC 5869 §2.3, with SHA-256: 255 of 32 bytes, no more."""
    block = b""
    for counter in range(1, 256):
        block = hmac.digest(pseudo_random_key, block + info + bytes([counter]), "sha256")
        yield block


def _stream(pseudo_random_key: bytes, info: bytes) -> Iterator[int]:
    return (byte for block in expand(pseudo_random_key, info) for byte in block)


def _password(stream: Iterator[int]) -> str:
    """The first with a capital, a small letter and a digit, which many services ask for: 97 of 100 are."""
    letters = (ALPHABET[byte % len(ALPHABET)] for byte in stream if byte < _FAIR)
    while True:
        word = "".join(islice(letters, LENGTH))
        if len(word) < LENGTH:  # 8160 bytes hold some 300 words
            raise AssertionError("no word in the whole stream")
        if any(map(str.isupper, word)) and any(map(str.islower, word)) and any(map(str.isdigit, word)):
            return word


def _uuid(stream: Iterator[int]) -> str:
    """RFC 9562 §5.4: version 4, all else random."""
    from uuid import UUID  # noqa: PLC0415  only this type needs it

    return str(UUID(bytes=bytes(islice(stream, 16)), version=4))


def _ssh_key(stream: Iterator[int]) -> str:
    return private_text(seed=bytes(islice(stream, 32)), check=bytes(islice(stream, 4)))


def _hex(stream: Iterator[int]) -> str:
    return bytes(islice(stream, 32)).hex()


def _munge(stream: Iterator[int]) -> str:
    """A whole munge.key as text: munged takes 32 to 1024 bytes of any sort (mungekey(8)); these are 256."""
    return bytes(islice(stream, 128)).hex()


TYPES: Final[Mapping[str, Callable[[Iterator[int]], str]]] = {
    "password": _password,
    "uuid": _uuid,
    "ssh-key": _ssh_key,
    "hex": _hex,
    "munge": _munge,
}
"""password (24 letters and digits), uuid, ssh-key (OpenSSH text, ed25519), hex (64 digits), munge (256)."""
