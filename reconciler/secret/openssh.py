"""SSH keys as text. Sources: openssh-portable PROTOCOL.key ("openssh-key-v1"), RFC 8709 (ssh-ed25519).

`cryptography` writes the format too, but with random check bytes: the same key would have many texts.
"""

from __future__ import annotations

import base64
from contextlib import suppress
from typing import Final

from reconciler.secret.errors import NoSecret

_TYPE: Final = b"ssh-ed25519"
_MAGIC: Final = b"openssh-key-v1\0"
_WIDTH: Final = 70  # characters of a line, as ssh-keygen writes it
_BLOCK: Final = 8  # what the private part is padded to when it is not encrypted


def private_text(*, seed: bytes, check: bytes) -> str:
    """The OpenSSH private key of a 32-byte seed, unencrypted, no comment. `check`: any 4 bytes."""
    from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415  loads OpenSSL

    public = ed25519.Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    inner = check + check + _field(_TYPE) + _field(public) + _field(seed + public) + _field(b"")
    inner += bytes(range(1, -len(inner) % _BLOCK + 1))
    head = _MAGIC + _field(b"none") + _field(b"none") + _field(b"") + (1).to_bytes(4)
    body = head + _field(_field(_TYPE) + _field(public)) + _field(inner)
    written = base64.b64encode(body).decode()
    lines = [written[start : start + _WIDTH] for start in range(0, len(written), _WIDTH)]
    return "\n".join(["-----BEGIN OPENSSH PRIVATE KEY-----", *lines, "-----END OPENSSH PRIVATE KEY-----", ""])


def public_key(private: str) -> str:
    """`ssh-ed25519 AAAA…`, or of another type, for an OpenSSH private key. Raises NoSecret."""
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415  loads OpenSSL
    from cryptography.hazmat.primitives import serialization as form  # noqa: PLC0415  ditto

    with suppress(ValueError, TypeError, UnsupportedAlgorithm):
        key = form.load_ssh_private_key(private.encode(), password=None)
        return key.public_key().public_bytes(form.Encoding.OpenSSH, form.PublicFormat.OpenSSH).decode()
    raise NoSecret("this is no OpenSSH private key without a passphrase", hint="ssh-keygen -t ed25519")


def _field(data: bytes) -> bytes:
    """RFC 4251 §5, string: its length in four bytes, then itself."""
    return len(data).to_bytes(4) + data
