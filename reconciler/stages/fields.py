"""Where a wish and a thing differ, field by field. Pure; under `diff`.

A wish is looked at twice: as git says it (a late value names its source) and with the late values filled
in that are known now. The second is compared, the first is shown: what a late value turns out to be does
not change the digest of a change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from reconciler.canonical import digest_of
from reconciler.kind import Primitive
from reconciler.late import fits, is_late, late_values
from reconciler.model import ABSENT, FieldChange, Json, Observed, Resource, Spec, State, mark_id

_NAMED: Final = 4


def differing(resource: Resource, spec: Spec, thing: Observed, primitive: Primitive) -> Iterator[FieldChange]:
    """All fields in which the thing is not what is wanted. `spec` is the wish with late values filled in."""
    yield from _of_mark(resource, thing)
    if is_told(spec, thing, primitive):
        yield from of_specs(resource.spec, _shown(spec, thing, primitive), thing.spec)
        yield from _extra(spec, thing)
    yield from thing.drift
    if thing.state is State.DELETING:
        yield FieldChange("state", str(State.DELETING), str(State.READY))


def named(fields: Sequence[FieldChange]) -> str:
    """The names of some fields, for a message: the first four, and how many more."""
    more = f" and {len(fields) - _NAMED} more" if len(fields) > _NAMED else ""
    return ", ".join(entry.path for entry in fields[:_NAMED]) + more


def is_told(spec: Spec, thing: Observed, primitive: Primitive) -> bool:
    """Do the listed keys say anything? Not where the mark has the hash of the wish, or can't have it yet."""
    if primitive.listed == "full" or thing.mark is None or not thing.mark.spec_hash:
        return True
    return not is_open(spec) and thing.mark.spec_hash != digest_of(spec)


def _shown(spec: Spec, thing: Observed, primitive: Primitive) -> Spec:
    """What can be compared: all of the wish, unless nothing but a deep read shows the other keys."""
    if primitive.listed != "each":
        return spec
    return {key: value for key, value in spec.items() if key in thing.spec}


def is_open(spec: Json) -> bool:
    """Is there a late value in it that nobody knows yet?"""
    return next(late_values(spec), None) is not None


def of_specs(wish: Spec, spec: Spec, have: Spec, prefix: str = "") -> Iterator[FieldChange]:
    """Where wish and thing differ. A key that the wish does not have is not managed."""
    for key in sorted(spec):
        path, want, real = f"{prefix}{key}", spec[key], have.get(key, ABSENT)
        if real is not ABSENT and fits(want, real):
            continue
        if isinstance(want, Mapping) and isinstance(real, Mapping) and not _is_whole(wish[key]):
            yield from of_specs(wish[key], want, real, f"{path}.")
        elif real is ABSENT:
            yield from leaves(path, wish[key], want=True)
        else:
            yield FieldChange(path, real, wish[key])


def _is_whole(value: Json) -> bool:
    """Does this mapping stand for one value: a late one, or a secret?"""
    return is_late(value) or (isinstance(value, Mapping) and ("$secret" in value or "$join" in value))


def leaves(prefix: str, value: Json, *, want: bool) -> Iterator[FieldChange]:
    """One field per leaf of a value that has no other side."""
    if isinstance(value, Mapping) and value and not _is_whole(value):
        for key in sorted(value):
            yield from leaves(f"{prefix}.{key}" if prefix else key, value[key], want=want)
    elif prefix:
        yield FieldChange(prefix, ABSENT, value) if want else FieldChange(prefix, value, ABSENT)


def _extra(spec: Spec, thing: Observed) -> Iterator[FieldChange]:
    """Keys that we wrote once and that the author has taken out since."""
    extra = list(_surplus("", spec, thing.spec))
    if extra and not is_open(spec) and thing.mark and thing.mark.spec_hash not in ("", digest_of(spec)):
        yield from extra


def _surplus(prefix: str, spec: Spec, have: Spec) -> Iterator[FieldChange]:
    """The keys, at any depth, that the thing has and the wish has not."""
    for key in sorted(have):
        if key not in spec:
            yield FieldChange(f"{prefix}{key}", have[key], ABSENT)
        elif isinstance(have[key], Mapping) and isinstance(spec[key], Mapping) and not _is_whole(spec[key]):
            yield from _surplus(f"{prefix}{key}.", spec[key], have[key])


def _of_mark(resource: Resource, thing: Observed) -> Iterator[FieldChange]:
    """The mark itself may have to change: another name in git, lock, keep."""
    mark, metadata = thing.mark, resource.metadata
    if mark is None or not mark.id:  # it is ours, and can't say more
        return
    if mark.id != mark_id(resource.ref):
        yield FieldChange("metadata.name", str(mark.ref or mark.id), str(resource.ref))
    if mark.lock != metadata.locked:
        yield FieldChange("metadata.locked", mark.lock, metadata.locked)
    if mark.keep != metadata.keep:
        yield FieldChange("metadata.onRemove", _on_remove(mark.keep), _on_remove(metadata.keep))


def _on_remove(keep: bool) -> str:  # noqa: FBT001  a value, not a switch
    return "keep" if keep else "delete"
