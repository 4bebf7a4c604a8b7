"""What opens references. A run has one; drivers ask it through `places.secret`."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, Final, NoReturn

from reconciler.late import JOIN
from reconciler.model import Json
from reconciler.secret.errors import BadReference
from reconciler.secret.generate import Generated, generate
from reconciler.secret.key import instance_key
from reconciler.secret.references import parse, read

SECRET: Final = "$secret"  # noqa: S105  the word that marks a reference in a spec
TAG: Final = "tag"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Secrets:
    """The secrets of one run, each read once. `key` gives the instance key; it is asked when one needs it.

    What was opened stays in memory: it is not shown, not compared, not copied, not pickled.
    """

    key: Callable[[], bytes]
    _known: dict[str, str] = field(default_factory=dict, init=False)

    def value(self, reference: str) -> str:
        """What a reference stands for, never empty. Raises NoSecret, NoKey or BadReference (all Denied)."""
        if reference not in self._known:
            return self._known.setdefault(reference, self._opened(reference))  # threads agree on one value
        return self._known[reference]

    def tag(self, reference: str) -> str:
        """8 hex digits that change with the value and say nothing about it to who has not the key."""
        message = f"{reference}\0{self.value(reference)}".encode()
        return hmac.digest(self.key(), message, "sha256").hex()[:8]

    def opened(self, spec: Json) -> Json:
        """The spec with the value of every `{"$secret": reference, "tag": …}` in its place.

        A `$join` whose pieces are then all plain becomes text: it could not before.
        """
        if isinstance(spec, (list, tuple)):
            return [self.opened(entry) for entry in spec]
        if not isinstance(spec, Mapping):
            return spec
        if SECRET in spec:
            return self.value(_reference(spec))
        found = {name: self.opened(entry) for name, entry in spec.items()}
        return _joined(found) if spec.keys() == {JOIN} else found

    def tagged(self, spec: Json) -> Json:
        """The spec with a fresh tag beside every reference, so that a new value is a change."""
        if isinstance(spec, (list, tuple)):
            return [self.tagged(entry) for entry in spec]
        if not isinstance(spec, Mapping):
            return spec
        if SECRET in spec:
            reference = _reference(spec)
            return {SECRET: reference, TAG: self.tag(reference)}
        return {name: self.tagged(entry) for name, entry in spec.items()}

    def _opened(self, reference: str) -> str:
        named = parse(reference)
        return generate(self.key(), named) if isinstance(named, Generated) else read(named)

    def __repr__(self) -> str:
        return "Secrets(…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("secrets are not copied and not written anywhere")


def secrets_of(owner: str) -> Secrets:
    """The secrets of an owner, whose instance key is read when a secret first needs it."""
    return Secrets(cache(partial(instance_key, owner)))


def _reference(spec: Mapping[str, Any]) -> str:
    reference = spec[SECRET]
    if isinstance(reference, str) and spec.keys() <= {SECRET, TAG}:
        return reference
    raise BadReference(f'expected {{"{SECRET}": "<reference>"}} and nothing beside it but its tag')


def _joined(spec: dict[str, Json]) -> Json:
    pieces = spec[JOIN]
    known = isinstance(pieces, list) and not any(isinstance(piece, (dict, list)) for piece in pieces)
    return "".join(map(str, pieces)) if known else spec
