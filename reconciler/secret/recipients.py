"""Secrets for people: encrypted with age to the public keys of a group (`recipients` of a UserGroup)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

from reconciler.canonical import canonical
from reconciler.model import Json
from reconciler.secret.errors import BadReference, NoSecret

_LONGEST: Final = 2000  # characters: an RSA key of 8192 bits has 1400
_EXPECTED: Final = "expected age1…, ssh-ed25519 … or ssh-rsa … (at least 2048 bits)"


def check_recipient(said: str) -> str:
    """What is wrong with a recipient, without showing it; empty: nothing is."""
    if "PRIVATE KEY" in said or said.upper().startswith("AGE-SECRET-KEY-"):
        return "this is a private key: give the public one, and make a new pair, this one is known now"
    return "" if _recipient(said) else f"this is no public key: {_EXPECTED}"


def encrypted(outputs: Mapping[str, Json], recipients: Iterable[str]) -> str:
    """The canonical JSON of `outputs` as armored age text, which any one of the recipients can decrypt.

    It is another text each time: write it where the outputs or the recipients changed, and only there.
    Raises BadReference where a recipient is no public key, and where there is none at all.
    """
    import pyrage  # type: ignore[import-untyped]  # noqa: PLC0415  only who has secrets to hand out needs it

    keys = [_checked(said, number) for number, said in enumerate(sorted({*recipients}), 1)]
    if not keys:
        raise BadReference("there is nobody to encrypt to", hint=f"give the group `recipients`: {_EXPECTED}")
    with suppress(pyrage.EncryptError):
        return bytes(pyrage.encrypt(canonical(outputs), keys, armored=True)).decode()
    raise NoSecret("the outputs can't be encrypted to these recipients")


def _checked(said: str, number: int) -> Any:
    wrong = check_recipient(said)
    if wrong:
        raise BadReference(f"recipient {number} (in the order of their texts): {wrong}")
    return _recipient(said)


def _recipient(said: str) -> Any:
    """The recipient, or None."""
    import pyrage  # noqa: PLC0415  only who has secrets to hand out needs it

    if len(said) > _LONGEST or not said.isprintable():
        return None
    with suppress(pyrage.RecipientError):
        if said.startswith("age1"):
            return pyrage.x25519.Recipient.from_str(said)
        if said.startswith(("ssh-ed25519 ", "ssh-rsa ")):
            return pyrage.ssh.Recipient.from_str(said)
    return None
