"""How an input names a secret: where it is kept, or what is generated; never the secret itself.

`{secret: "env:NAME"}`, `{secret: "file:/path#key"}`, `{secret: "age:/path#key"}`, or `{generate:
password|uuid|ssh-key, generation: 1}`, which stands for `generated:<type>:<Ref>#<input>:<generation>`.
"""

from __future__ import annotations

import re
from typing import Final

from reconciler.guess import did_you_mean
from reconciler.model import Json
from reconciler.printable import shown
from reconciler.tosca.functions import SECRET

GENERATORS: Final = ("password", "uuid", "ssh-key")
_NAMED: Final = '{secret: "env:NAME"}, {secret: "file:/path#key"}, {secret: "age:/path#key"}'
HOW: Final = f"write {_NAMED} or {{generate: password}}"
_REFERENCE = re.compile(
    r"env:[A-Za-z_][A-Za-z0-9_]*|file:/[^#\x00]+(?:#[^#\x00]+)?|age:[^#\x00]+(?:#[^#\x00]+)?"
)


class SecretError(Exception):
    """What was written does not name a secret; `hint` says how to."""

    def __init__(self, message: str, hint: str = HOW) -> None:
        super().__init__(message)
        self.hint = hint


def names_secret(value: Json) -> bool:
    """Was this meant to name a secret?"""
    return isinstance(value, dict) and not value.keys().isdisjoint(("secret", "generate"))


def named(value: Json, ref: str, name: str) -> dict[str, str]:
    """`{"$secret": reference}` for what was written for the input `name` of `ref`. Raises SecretError."""
    if not names_secret(value):
        raise SecretError("is a secret and can't be written here")
    if "secret" in value:
        return {SECRET: _reference(value)}
    return generated(_generator(value), ref, name, _generation(value))


def generated(generator: str, ref: str, name: str, generation: int = 1) -> dict[str, str]:
    """A secret that is derived when it is needed; a higher generation is another secret."""
    return {SECRET: f"generated:{generator}:{ref}#{name}:{generation}"}


def _reference(value: dict[str, Json]) -> str:
    reference = value["secret"]
    if value.keys() != {"secret"} or not isinstance(reference, str) or not _REFERENCE.fullmatch(reference):
        raise SecretError("does not say where the secret is kept")
    return reference


def _generator(value: dict[str, Json]) -> str:
    extra = sorted(value.keys() - {"generate", "generation"})
    if extra:
        raise SecretError(f"has the unknown field `{shown(extra[0])}`", "there are generate and generation")
    generator = value["generate"]
    if generator not in GENERATORS:
        hint = did_you_mean(str(generator), GENERATORS) or f"there are {', '.join(GENERATORS)}"
        raise SecretError(f"can't be generated as `{shown(str(generator))}`", hint)
    return str(generator)


def _generation(value: dict[str, Json]) -> int:
    generation = value.get("generation", 1)
    if isinstance(generation, bool) or not isinstance(generation, int) or generation < 1:
        raise SecretError("has a generation that is no number from 1", "write generation: 2")
    return generation
