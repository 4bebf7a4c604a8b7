"""What else of ours is at a Rucio that a rule has to do with: scope, account, data set, quotas. Pure.

Only what is declared is known here. What somebody else made at Rucio, Rucio itself tells when a rule is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from reconciler.kind import World
from reconciler.model import NOTHING, Declared, Json, Ref
from reconciler.placement.copies import Element, lake, server_of
from reconciler.placement.expression import ExpressionError
from reconciler.placement.naming import rse_named
from reconciler.placement.primitives import UPLOAD
from reconciler.placement.wishes import rules_on
from reconciler.units import size

SCOPE: Final = "Scope"
ACCOUNT: Final = "DataAccount"
DATASET: Final = "Dataset"
_NAMED_BY: Final = {SCOPE: "scope", ACCOUNT: "account", DATASET: "dataset"}
_UNLIMITED: Final = "unlimited"


def not_yet_there(rule: Declared, server: str, world: World) -> Iterator[Ref]:
    """The declared things that a rule can't be made without, and that nobody has seen yet."""
    dataset, spec = rule.spec["dataset"], rule.spec
    wanted = [(SCOPE, dataset.partition(":")[0]), (ACCOUNT, spec.get("account"))]
    if not spec.get("source"):
        wanted.append((DATASET, dataset))
    for kind, name in wanted:
        declared = _declared(kind, server, name, world) if name else None
        if declared is not None and not world.seen.get(declared.ref):
            yield declared.ref


def _declared(kind: str, server: str, name: str, world: World) -> Declared | None:
    return world.once("placement.neighbours", _all).get((kind, server, name))


def _all(world: World) -> dict[tuple[str, str, str], Declared]:
    found = {}
    for kind, key in _NAMED_BY.items():
        for declared in world.of_kind(kind):
            server = server_of(declared.spec["target"], world)
            found[kind, server, str(declared.spec.get(key) or declared.ref.name)] = declared
    return found


def short_of_quota(
    rule: Declared, elements: Iterable[Element], server: str, world: World
) -> Mapping[str, str]:
    """Element → why the account that the file names has no room there. Only declared quotas count.

    The target's own account is an administrator's, which Rucio does not limit.
    """
    account = _declared(ACCOUNT, server, rule.spec.get("account") or "", world)
    if account is None:
        return NOTHING
    needed = _bytes(rule.spec["dataset"], world)
    found = {}
    for element in elements:
        rooms = [room for room in _rooms(account, element, world) if room < max(needed, 1)]
        if rooms:
            free = max(min(rooms), 0)
            found[element.name] = (
                f"{account.ref} has {free} bytes left of its quota, {needed or 'more'} needed"
            )
    return found


def _bytes(dataset: str, world: World) -> int:
    """How large a data set is; 0 where nobody tells."""
    things = (thing for rule in rules_on(dataset, world) for thing in world.seen.get(rule.ref, ()))
    told = [
        thing.attributes["bytes"] for thing in things if thing.kind == UPLOAD and "bytes" in thing.attributes
    ]
    return max((one for one in told if isinstance(one, int)), default=0)


def _rooms(account: Declared, element: Element, world: World) -> Iterator[int]:
    """What is left of each declared quota that counts on this element."""
    quotas = account.spec.get("quotas") or NOTHING
    used = _used(account.ref, world)
    for word, text in quotas.get("local", NOTHING).items():
        if rse_named(word) == element.rse and text != _UNLIMITED:
            yield size(text) - used.get(element.rse, 0)
    for expression, text in quotas.get("global", NOTHING).items():
        names = _selected(expression, element.server, world)
        if element.name in names and text != _UNLIMITED:
            yield size(text) - sum(used.get(rse, 0) for rse in names.values())


def _selected(expression: str, server: str, world: World) -> dict[str, str]:
    """Element → RSE of what an expression of a quota selects at a server."""
    elements = lake(world).elements
    try:
        selected = lake(world).select(expression)
    except ExpressionError:
        return {}
    return {name: elements[name].rse for name in selected if elements[name].server == server}


def _used(account: Ref, world: World) -> Mapping[str, int]:
    """RSE → bytes that the account uses there, as it was seen."""
    found: dict[str, int] = {}
    for thing in world.seen.get(account, ()):
        told: Mapping[str, Json] = thing.attributes.get("use") or NOTHING
        found.update({rse: int(entry.get("bytes", 0)) for rse, entry in told.items()})
    return found
