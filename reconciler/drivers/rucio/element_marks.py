"""Our mark on what Rucio knows by name: storage elements and accounts.

    storage element: attribute `reconciler`    = rc1.<owner>.<id>[.lock][.keep]
    account:         attribute `reconciler`    = <owner>
                     attribute `reconciler.id` = <id>[.lock][.keep]

An account's attribute has 30 characters (common/schema/generic.py: ACCOUNT_ATTRIBUTE), an owner has up to 30,
an id has 20. The owner is written first: it says whose the account is, and is never changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from reconciler.errors import NotOurs
from reconciler.kind import Ask
from reconciler.model import Change, Json, Mark, Resource

OWNER: Final = "reconciler"
IDENTITY: Final = "reconciler.id"
_VERSION: Final = "rc1"


def element_mark(mark: Mark) -> str:
    """The value of a storage element's attribute."""
    return f"{_VERSION}.{mark.owner}.{identity(mark)}"


def identity(mark: Mark) -> str:
    """Which object of ours it is, and what its file says about its end."""
    return f"{mark.id}{'.lock' if mark.lock else ''}{'.keep' if mark.keep else ''}"


def read_element_mark(value: Json) -> Mark | None:
    """The mark of a storage element, whoever's it is; None: what is there is none."""
    version, _, rest = str(value or "").partition(".")
    owner, _, said = rest.partition(".")
    return _mark(owner, said) if version == _VERSION and owner and said else None


def read_account_mark(attributes: Mapping[str, Json]) -> Mark | None:
    """The mark of an account, whoever's it is. Its id is empty where the second attribute is missing."""
    owner = attributes.get(OWNER)
    return _mark(str(owner), str(attributes.get(IDENTITY, ""))) if owner else None


def _mark(owner: str, said: str) -> Mark:
    name, *flags = said.split(".")
    return Mark(owner, name, lock="lock" in flags, keep="keep" in flags)


def own(mark: Mark | None, owner: str, *, bare: bool) -> Mark | None:
    """The mark to report: ours; also of a thing that has nothing yet, as a kill after its making leaves it.

    Such a thing does not say which object it is for: the id of its mark is empty.
    """
    if mark is None:
        return Mark(owner, "") if bare else None
    return mark if mark.owner == owner else None


def key_of(target: str, name: str) -> str:
    """The natural key of a thing at its target, as its kind asks for it."""
    return f"{target}:{name}"


def asked(target: str, ask: Ask) -> dict[str, tuple[str, ...]]:
    """Of the natural keys those of this target: name → the details that are asked for.

    A key is <target>:<name>, or <target>:<name>><detail>: what costs a call is read where a file names it.
    """
    names: dict[str, set[str]] = {}
    for key in ask.natural:
        place, _, rest = key.partition(":")
        if place == target and rest:
            name, _, detail = rest.partition(">")
            names.setdefault(name, set()).update({detail} - {""})
    return {name: tuple(sorted(names[name])) for name in sorted(names)}


def named(change: Change) -> tuple[Resource, str, tuple[str, ...]]:
    """What a change wants, the name of its thing at Rucio, and the details of it that are to be read."""
    want = wanted(change)
    name = str(want.facts["natural"]).partition(":")[2]
    return want, name, tuple(want.facts.get("details", ()))


def wanted(change: Change) -> Resource:
    """The wish of a create or an update."""
    if change.want is None:
        raise ValueError(f"{change.ref}: there is nothing to apply")
    return change.want


def uid_of(change: Change) -> str:
    """The uid of what a change finds there."""
    if change.have is None:
        raise ValueError(f"{change.ref}: there is nothing to release")
    return change.have.uid


def refuse_foreign(mark: Mark | None, ours: Mark, want: Resource, what: str, *, bare: bool) -> None:
    """Raises NotOurs for what carries another owner's mark, or none and the author does not say `adopt`."""
    if mark is not None and mark.owner != ours.owner:
        hint = f"remove it from what {mark.owner} declares, with `onRemove: keep`, first"
        raise NotOurs(f"{what} is kept by the owner {mark.owner}", hint=hint)
    if mark is None and not bare and not want.metadata.adopt:
        raise NotOurs(f"{what} is there and does not carry our mark")


def differing(want: Mapping[str, Json], have: Mapping[str, Json]) -> list[tuple[str, Json]]:
    """The entries of a wish that are not there, or others."""
    return [(key, want[key]) for key in sorted(want) if key not in have or have[key] != want[key]]
