"""The contract: one suite that every hand of every driver passes.

A new driver adds its hands in about 15 lines: a module beside this one with

    CASES = (
        Case(
            driver=DRIVER,                       # reconciler.drivers.<yours>
            primitive="Widget",                  # a primitive kind that it serves
            prepare=lambda folder: Target(...),  # a fresh, empty target below a folder
            resource=lambda target, number: made(Ref("Widget", "cms", f"w{number}"), "Widget", target, {...}),
            variants={"size": 2},                # another valid value for every key that may change
            immutable={"path": "/other"},        # and for every key that may not
            foreign=put_something_unmarked,      # by hand, where the resource would stand; its natural key
            damage=spoil_the_content,            # by hand, so that only a deep read sees it
        ),
    )

and its name in `cases.py`. Then this suite tells what is missing.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from reconciler.canonical import digest_of
from reconciler.errors import NotOurs, ReadOnly
from reconciler.model import Action, Ref, Resource, State, mark_for, mark_id
from reconciler.registry import primitives
from tests.contract.case import (
    OWNER,
    STRANGER,
    Arena,
    Case,
    adopting,
    arena_of,
    change,
    essence,
    flagged,
    renamed,
    wanting,
)
from tests.contract.cases import CASES
from tests.contract.killing import killed_at, points_of

_BETWEEN = int(os.environ.get("CONTRACT_POINTS", "1"))  # the points of a heavy act that are tried, but two


def test_every_hand_of_every_driver_has_a_case() -> None:
    served = {(case.driver.name, case.primitive) for case in CASES}
    hands = {(case.driver.name, kind) for case in CASES for kind in case.driver.hands}
    simulated = {("simulated", kind) for kind in primitives()}
    assert sorted((hands | simulated) - served) == []


def test_every_key_of_the_spec_is_mutable_or_immutable(arena: Arena) -> None:
    resource, case = arena.resource(), arena.case
    together = {key for keys in case.together for key in keys}
    assert set(resource.spec) == {*case.variants, *together, *case.immutable, *case.fixed}
    known = primitives().get(case.primitive)
    assert known is None or known.immutable & set(resource.spec) <= {*case.immutable, *case.fixed}


# ── being there and not being there ──────────────────────────────────────────────────────────────


def test_an_empty_world_holds_nothing(arena: Arena) -> None:
    assert arena.seen() == []


def test_what_was_applied_is_observed_as_wanted(arena: Arena) -> None:
    resource = arena.resource()
    arena.create(resource)
    thing = arena.only()
    assert thing.spec == resource.spec
    assert thing.ref == resource.ref
    assert (thing.kind, thing.target) == (resource.kind, arena.target.name)
    assert thing.mark == mark_for(OWNER, resource)
    assert (thing.state, thing.drift) == (State.READY, ())
    assert thing.uid
    assert thing.since


def test_computed_attributes_are_given_by_type(arena: Arena) -> None:
    known = primitives().get(arena.case.primitive)
    arena.create(arena.resource())
    attributes = arena.only().attributes
    types = {"integer": int, "string": str, "address": str, "url": str, "ports": dict}
    for name, sort in sorted((known.computed if known else {}).items()):
        assert isinstance(attributes[name], types[sort]), name


def test_creating_twice_makes_one_thing(arena: Arena) -> None:
    resource = arena.resource()
    arena.create(resource)
    before = arena.only()
    arena.create(resource)
    after = arena.only()
    assert not wanting(after, resource)
    assert after.uid == before.uid


def test_updating_to_what_is_changes_nothing(arena: Arena) -> None:
    resource = arena.resource()
    arena.create(resource)
    before = essence(arena.seen())
    arena.update(resource, arena.only())
    assert essence(arena.seen()) == before


def test_the_second_pass_is_quiet(arena: Arena) -> None:
    resource = arena.resource()
    assert arena.converge(resource) == 1
    before = arena.tree()
    assert arena.converge(resource) == 0
    assert arena.tree() == before


def test_each_mutable_field_alone_converges(arena: Arena) -> None:
    arena.create(arena.resource())
    for keys in arena.changes:
        resource = arena.resource(**keys)
        assert resource.spec != arena.resource().spec, keys
        assert arena.converge(resource) == 1, keys
        assert arena.only().spec == resource.spec, keys
        assert arena.converge(resource) == 0, keys
        assert not arena.verified(arena.only()).drift, keys
        assert arena.converge(arena.resource()) == 1, keys
        assert arena.converge(arena.resource()) == 0, keys


def test_a_successor_stands_beside_its_predecessor(arena: Arena) -> None:
    for key, value in sorted(arena.case.immutable.items()):
        arena.create(arena.resource())
        (predecessor,) = arena.seen()
        arena.create(arena.resource(**{key: value}))
        seen = arena.seen()
        assert {thing.ref for thing in seen} == {predecessor.ref}, key
        assert {thing.spec[key] for thing in seen} == {value, predecessor.spec[key]}, key
        arena.delete(predecessor)
        assert arena.only().spec == arena.resource(**{key: value}).spec, key
        assert not wanting(arena.only(), arena.resource(**{key: value})), key
        arena.delete(arena.only())


def test_deleted_is_gone_and_deleting_twice_is_fine(arena: Arena) -> None:
    arena.create(arena.resource())
    thing = arena.only()
    arena.delete(thing)
    assert arena.seen() == []
    arena.delete(thing)
    assert arena.seen() == []


def test_deleted_can_be_made_again(arena: Arena) -> None:
    resource = arena.resource()
    arena.create(resource)
    arena.delete(arena.only())
    assert arena.converge(resource) == 1
    assert arena.converge(resource) == 0


def test_deleting_one_leaves_the_others(arena: Arena) -> None:
    for number in range(3):
        arena.create(arena.resource(number))
    things = {thing.ref: thing for thing in arena.seen()}
    arena.delete(things[arena.resource(1).ref])
    assert {thing.ref for thing in arena.seen()} == {arena.resource(0).ref, arena.resource(2).ref}
    assert not any(wanting(thing, _of(thing.ref, arena)) for thing in arena.seen())


def _of(ref: Ref, arena: Arena) -> Resource:
    return next(arena.resource(number) for number in range(3) if arena.resource(number).ref == ref)


def test_many_things_are_listed_completely(arena: Arena) -> None:
    resources = [arena.resource(number) for number in range(arena.case.many)]
    with arena.writer() as client:
        for resource in resources:
            arena.hand.apply(client, change(resource, Action.CREATE), mark_for(OWNER, resource))
    seen = arena.seen()
    assert sorted(thing.ref for thing in seen) == sorted(resource.ref for resource in resources)
    assert len({thing.uid for thing in seen}) == len(resources)


def test_long_and_unusual_values_travel(arena: Arena) -> None:
    if not arena.case.spacious:
        pytest.skip("no field of this kind is free text")
    resource = arena.resource(**arena.case.spacious)
    assert arena.converge(resource) == 1
    assert arena.only().spec == resource.spec
    assert arena.converge(resource) == 0


# ── the mark ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("flags", [(True, False), (False, True), (True, True)])
def test_lock_and_keep_travel_in_the_mark(arena: Arena, flags: tuple[bool, bool]) -> None:
    resource = flagged(arena.resource(), locked=flags[0], keep=flags[1])
    arena.create(resource)
    mark = arena.only().mark
    assert mark == mark_for(OWNER, resource)
    assert mark is not None
    assert (mark.lock, mark.keep) == flags
    assert arena.converge(arena.resource()) == 1
    assert arena.only().mark == mark_for(OWNER, arena.resource())


def test_the_mark_says_which_incarnation(arena: Arena) -> None:
    resource = arena.resource()
    arena.create(resource)
    mark = arena.only().mark
    assert mark is not None
    assert mark.id == mark_id(resource.ref)
    assert mark.spec_hash in ("", digest_of(resource.spec))


def test_a_new_name_is_one_update_of_the_mark(arena: Arena) -> None:
    if not arena.case.renames:
        pytest.skip("the name is part of where this kind stands")
    resource = arena.resource()
    arena.create(resource)
    later = renamed(resource, "renamed")
    arena.update(later, arena.only())
    thing = arena.only()
    assert thing.mark == mark_for(OWNER, later)
    assert thing.spec == later.spec
    assert not wanting(thing, later)


def _shared(arena: Arena) -> None:
    if not arena.case.shared:
        pytest.skip("what this kind stands on belongs to one owner")


def test_things_of_another_owner_are_not_ours(arena: Arena) -> None:
    _shared(arena)
    theirs, ours = arena.resource(0), arena.resource(1)
    arena.create(theirs, owner=STRANGER)
    assert arena.seen() == []
    arena.create(ours)
    assert [thing.ref for thing in arena.seen()] == [ours.ref]
    assert [thing.ref for thing in arena.seen(owner=STRANGER)] == [theirs.ref]


def test_the_place_of_another_owner_is_refused(arena: Arena) -> None:
    _shared(arena)
    resource = arena.resource()
    arena.create(resource, owner=STRANGER)
    before = arena.seen(owner=STRANGER)
    with pytest.raises(NotOurs):
        arena.create(resource)
    assert arena.seen() == []
    assert arena.seen(owner=STRANGER) == before


def test_what_was_released_is_not_deleted_from_an_old_view(arena: Arena) -> None:
    resource = arena.resource()
    arena.create(resource)
    mine = arena.only()
    arena.release(mine)
    with suppress(NotOurs):
        arena.delete(mine)
    with pytest.raises(NotOurs):
        arena.create(resource)


def test_what_another_owner_has_at_a_natural_key_is_not_reported(arena: Arena) -> None:
    _shared(arena)
    key = _foreign(arena)
    (unmarked,) = arena.seen(key)
    theirs = adopting(arena.resource())
    update = change(theirs, Action.UPDATE, unmarked)
    arena.apply(update, mark_for(STRANGER, theirs))
    assert [thing.ref for thing in arena.seen(owner=STRANGER)] == [theirs.ref]
    assert arena.seen(key) == []


def test_released_is_left_alone_and_not_listed(arena: Arena) -> None:
    resource = arena.resource()
    arena.create(resource)
    thing = arena.only()
    arena.release(thing)
    assert arena.seen() == []
    arena.release(thing)
    with pytest.raises(NotOurs):
        arena.create(resource)


# ── what is not ours ─────────────────────────────────────────────────────────────────────────────


def test_foreign_things_are_seen_only_at_the_keys_asked_for(arena: Arena) -> None:
    key = _foreign(arena)
    assert arena.seen() == []
    assert arena.seen(f"{key}-not") == []
    (thing,) = arena.seen(key)
    assert thing.mark is None
    assert arena.seen(key) == [thing]


def test_an_occupied_place_is_refused_and_left_as_it_was(arena: Arena) -> None:
    key = _foreign(arena)
    (before,) = arena.seen(key)
    with pytest.raises(NotOurs):
        arena.create(arena.resource())
    assert arena.seen() == []
    assert arena.seen(key) == [before]


def test_adopting_marks_the_thing_and_makes_it_as_wanted(arena: Arena) -> None:
    resource, key = adopting(arena.resource()), _foreign(arena)
    (unmarked,) = arena.seen(key)
    arena.update(resource, unmarked)
    thing = arena.only()
    assert not wanting(thing, resource)
    assert arena.seen(key) == [thing]
    arena.update(resource, unmarked)
    assert not wanting(arena.only(), resource)


def test_foreign_things_survive_ours(arena: Arena) -> None:
    key = _foreign(arena)
    before = arena.seen(key)
    neighbour = arena.resource(1)
    arena.create(neighbour)
    arena.delete(arena.only())
    assert arena.seen(key) == before


def _foreign(arena: Arena) -> str:
    if arena.case.foreign is None:
        pytest.skip("nothing unmarked can stand where this kind stands")
    return arena.case.foreign(arena, arena.resource())


# ── reading is not writing ───────────────────────────────────────────────────────────────────────


def test_observing_and_verifying_write_nothing(arena: Arena) -> None:
    before = arena.tree()
    arena.seen()
    assert arena.tree() == before
    arena.create(arena.resource())
    before = arena.tree()
    thing = arena.only()
    arena.verified(thing)
    with arena.reader() as client:
        arena.case.driver.facts(client)
    assert arena.tree() == before


def test_a_reader_refuses_to_write(arena: Arena) -> None:
    resource = arena.resource()
    arena.create(resource)
    thing, before = arena.only(), arena.tree()
    creation = change(arena.resource(1), Action.CREATE)
    update = change(resource, Action.UPDATE, thing)
    removal = replace(update, action=Action.DELETE, want=None)
    mark = mark_for(OWNER, resource)
    with arena.reader() as client:
        attempts: list[Callable[[], None]] = [
            partial(arena.hand.apply, client, creation, mark_for(OWNER, arena.resource(1))),
            partial(arena.hand.apply, client, update, mark),
            partial(arena.hand.delete, client, removal),
            partial(arena.hand.release, client, replace(removal, release=True)),
        ]
        for attempt in attempts:
            with pytest.raises((ReadOnly, OSError)):
                attempt()
    assert arena.tree() == before
    assert arena.only() == thing


# ── content ──────────────────────────────────────────────────────────────────────────────────────


def test_a_deep_read_finds_nothing_wrong_with_what_is_whole(arena: Arena) -> None:
    arena.create(arena.resource())
    thing = arena.only()
    deep = arena.verified(thing)
    assert (deep.state, deep.drift) == (State.READY, ())
    assert replace(deep, verified=None) == replace(thing, verified=None)


def test_a_deep_read_finds_damage_and_applying_heals_it(arena: Arena) -> None:
    if arena.case.damage is None:
        pytest.skip("this kind has no content")
    resource = arena.resource()
    arena.create(resource)
    arena.case.damage(arena, arena.only())
    damaged = arena.verified(arena.only())
    assert damaged.drift
    assert damaged.state is State.FAILED
    arena.update(resource, damaged)
    assert not arena.verified(arena.only()).drift
    assert not wanting(arena.only(), resource)


# ── kill -9 ──────────────────────────────────────────────────────────────────────────────────────


def _points(case: Case, folder: Path, act: str) -> Iterator[Arena]:
    """A fresh arena per point at which the act was cut short, until it is not cut short any more."""
    for point in _some(case, folder, act) if case.heavy else range(1, 500):
        arena = arena_of(case, folder / f"{act}-{point}")
        if act != "create":
            arena.create(arena.resource())
        if not killed_at(point, partial(_act, arena, act)):
            assert point > 1, "nothing to kill"
            return
        yield arena
    assert case.heavy, "still not at the end after 500 points"


def _some(case: Case, folder: Path, act: str) -> list[int]:
    """The first point, the last one and some between them, always the same ones."""
    last = _count(case, folder, act)
    between = random.Random(f"{case} {act}").sample(range(2, last), min(_BETWEEN, max(0, last - 2)))
    return sorted({1, *between, last})


def _count(case: Case, folder: Path, act: str) -> int:
    arena = arena_of(case, folder / f"{act}-count")
    if act != "create":
        arena.create(arena.resource())
    return points_of(partial(_act, arena, act))


def test_heavy_work_that_was_killed_half_way_is_seen_and_not_ready(case: Case, tmp_path: Path) -> None:
    if not case.heavy:
        pytest.skip("every point of it is tried")
    arena = arena_of(case, tmp_path / "killed")
    assert killed_at(_count(case, tmp_path, "create") // 2, partial(_act, arena, "create"))
    assert arena.only().partial
    assert arena.converge(arena.resource()) == 1
    assert not wanting(arena.only(), arena.resource())


def _act(arena: Arena, act: str) -> None:
    if act == "create":
        arena.create(arena.resource())
    elif act == "update":
        arena.update(_varied(arena), arena.only())
    else:
        arena.delete(arena.only())


def _varied(arena: Arena) -> Resource:
    return arena.resource(**arena.changes[0])


@pytest.mark.parametrize("act", ["create", "update", "delete"])
def test_what_a_kill_left_is_completed(case: Case, tmp_path: Path, act: str) -> None:
    for arena in _points(case, tmp_path, act):
        resource = _varied(arena) if act == "update" else arena.resource()
        assert len(arena.seen()) <= 1
        assert arena.converge(resource) <= 1
        assert not wanting(arena.only(), resource)
        assert not arena.verified(arena.only()).drift
        assert arena.converge(resource) == 0


@pytest.mark.parametrize("act", ["create", "update", "delete"])
def test_what_a_kill_left_is_removed_without_a_trace(case: Case, tmp_path: Path, act: str) -> None:
    undisturbed = arena_of(case, tmp_path / "undisturbed")
    undisturbed.create(undisturbed.resource())
    if act == "update":
        _act(undisturbed, act)
    undisturbed.delete(undisturbed.only())
    for arena in _points(case, tmp_path, act):
        for thing in arena.seen():
            assert thing.mark is not None
            arena.delete(thing)
        assert arena.seen() == []
        arena.create(arena.resource())
        assert not wanting(arena.only(), arena.resource())
        arena.delete(arena.only())
        assert arena.paths() - undisturbed.paths() == set()
