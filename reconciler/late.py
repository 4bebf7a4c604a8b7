"""Late values: what a spec takes from another thing once that exists.

In a spec a late value is `{"$after": "<Ref>#<attribute>"}`, or `<attribute>.<key or index>…` for what lies
inside of one. Text that is made of such, or of secrets, is `{"$join": [piece, …]}`. They keep this form in
plan and digest until the attributes are known, so a value that resolves as planned is the same change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from reconciler.model import Json, Ref

AFTER = "$after"
JOIN = "$join"
Lookup = Callable[[Ref, str], Json]


def after(ref: Ref, attribute: str) -> dict[str, str]:
    """The late value for one attribute of one thing; dots in `attribute` lead into it."""
    return {AFTER: f"{ref}#{attribute}"}


def is_late(value: Any) -> bool:
    """Is this value one that is known only after something else exists?"""
    if not isinstance(value, Mapping) or len(value) != 1:
        return False
    return AFTER in value or (JOIN in value and any(map(is_late, value[JOIN])))


def parse(value: Mapping[str, str]) -> tuple[Ref, str]:
    """The Ref and the attribute that a late value names."""
    ref, _, attribute = value[AFTER].partition("#")
    return Ref.parse(ref), attribute


def late_values(value: Json) -> Iterator[tuple[Ref, str]]:
    """The Ref and the attribute of all late values in a spec: what has to be known to make it."""
    if isinstance(value, Mapping):
        if len(value) == 1 and AFTER in value:
            yield parse(value)
            return
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


def attribute_of(attributes: Mapping[str, Json], name: str) -> Json:
    """The attribute of that name, or what lies inside of one: `ports.http`, `addresses.0`. None: unknown.

    Attributes are what machines say: data. One that holds a key of ours (`$secret`, `$after`) stays unknown,
    else a machine could have the secrets of others put into what it is sent next.
    """
    found: Json = attributes
    for step in name.split("."):
        if isinstance(found, Mapping):
            found = found.get(step)
        elif isinstance(found, (list, tuple)) and step.isdigit() and int(step) < len(found):
            found = found[int(step)]
        else:
            return None
    return None if holds_marker(found) else found


def holds_marker(value: Json) -> bool:
    """Is there a key in it that begins with `$`, which only ours do?"""
    if isinstance(value, Mapping):
        return any(str(key).startswith("$") or holds_marker(entry) for key, entry in value.items())
    return isinstance(value, (list, tuple)) and any(map(holds_marker, value))


def resolve(value: Json, lookup: Lookup) -> Json:
    """The same spec with every late value that `lookup` knows (not None) filled in."""
    if isinstance(value, Mapping):
        if len(value) == 1 and (AFTER in value or JOIN in value):
            return _resolved(value, lookup)
        return {key: resolve(entry, lookup) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [resolve(entry, lookup) for entry in value]
    return value


def _resolved(value: Mapping[str, Json], lookup: Lookup) -> Json:
    if AFTER in value:
        known = lookup(*parse(value))
        return value if known is None else known
    pieces = [resolve(piece, lookup) for piece in value[JOIN]]
    if any(isinstance(piece, Mapping) for piece in pieces):  # late still, or a secret, which is put in last
        return {JOIN: pieces}
    return "".join(map(str, pieces))
