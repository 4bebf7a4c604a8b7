"""What is encrypted with age (https://age-encryption.org/v1), and the identity that opens it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

from reconciler.secret.errors import NoSecret
from reconciler.secret.reading import content, text

IDENTITY: Final = "RECONCILER_AGE_IDENTITY"
"""Names the file of the identity: lines of `AGE-SECRET-KEY-1…`, or one OpenSSH key without a passphrase."""

_BEGIN: Final = "AGE-SECRET-KEY-1"


def decrypted(data: bytes, said: str) -> bytes:
    """What an age file (binary or armored) holds. `said` is what messages call it. Raises NoSecret."""
    import pyrage  # type: ignore[import-untyped]  # noqa: PLC0415  only age files need it

    identities = list(_identities(said))
    with suppress(pyrage.DecryptError):
        return bytes(pyrage.decrypt(data, identities))
    hint = "encrypt it again, to the public key of that identity"
    raise NoSecret(f"{said}: the identity that {IDENTITY} names can't decrypt it", hint=hint)


def _identities(said: str) -> Iterator[Any]:
    import pyrage  # noqa: PLC0415  only age files need it

    found = 0
    held = _identity_file(said)
    lines = [line.strip() for line in held.splitlines() if line.startswith(_BEGIN)]
    with suppress(pyrage.IdentityError):
        for line in lines:
            yield pyrage.x25519.Identity.from_str(line)
            found += 1
        if held.lstrip().startswith("-----BEGIN "):
            yield pyrage.ssh.Identity.from_buffer(held.encode())
            found += 1
    if not found or found < len(lines):
        hint = f"expected lines of {_BEGIN}… (age-keygen), or an OpenSSH key without a passphrase"
        raise NoSecret(f"{said}: the file that {IDENTITY} names holds no identity to decrypt with", hint=hint)


def _identity_file(said: str) -> str:
    path = os.environ.get(IDENTITY, "")
    if not path:
        hint = f"set {IDENTITY} to the path of the file with the age identity"
        raise NoSecret(f"{said}: there is no identity to decrypt it with", hint=hint)
    return text(content(path, IDENTITY, private=True), IDENTITY)
