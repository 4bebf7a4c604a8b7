"""Late values: what a spec takes from another thing once that exists.

In a spec a late value is `{"$after": "<Ref>#<attribute>"}`. It keeps this form in plan and digest
until the attribute is known, so a value that resolves as planned is the same change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from reconciler.model import Json, Ref

AFTER = "$after"
Lookup = Callable[[Ref, str], Json]


def after(ref: Ref, attribute: str) -> dict[str, str]:
    """The late value for one attribute of one thing."""
    return {AFTER: f"{ref}#{attribute}"}


def is_late(value: Any) -> bool:
    """Is this value one that is known only after something else exists?"""
    return isinstance(value, Mapping) and len(value) == 1 and AFTER in value


def parse(value: Mapping[str, str]) -> tuple[Ref, str]:
    """The Ref and the attribute that a late value names."""
    ref, _, attribute = value[AFTER].partition("#")
    return Ref.parse(ref), attribute


def late_values(value: Json) -> Iterator[tuple[Ref, str]]:
    """The Ref and the attribute of all late values in a spec: what has to be known to make it."""
    if is_late(value):
        yield parse(value)
    elif isinstance(value, Mapping):
        for entry in value.values():
            yield from late_values(entry)
    elif isinstance(value, (list, tuple)):
        for entry in value:
            yield from late_values(entry)


def fits(wish: Json, real: Json) -> bool:
    """Is the real value what is wished? A late value that is not known now fits whatever is there.

    Not knowing is no reason to change a thing: once the value is known, it fits or it does not.
    """
    if wish == real or is_late(wish):
        return True
    if isinstance(wish, Mapping) and isinstance(real, Mapping):
        return wish.keys() == real.keys() and all(fits(wish[key], real[key]) for key in wish)
    if isinstance(wish, (list, tuple)) and isinstance(real, (list, tuple)):
        return len(wish) == len(real) and all(map(fits, wish, real))
    return False


def resolve(value: Json, lookup: Lookup) -> Json:
    """The same spec with every late value that `lookup` knows (not None) filled in."""
    if is_late(value):
        known = lookup(*parse(value))
        return value if known is None else known
    if isinstance(value, Mapping):
        return {key: resolve(entry, lookup) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [resolve(entry, lookup) for entry in value]
    return value
