"""What three back-ends on paper taught diff: late values, slow deletes, lists that hide the spec."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from reconciler.kind import Primitive, World
from reconciler.late import after, fits, late_values
from reconciler.model import (
    FieldChange,
    Metadata,
    Observed,
    Ref,
    Resource,
    Source,
    State,
    Target,
    mark_for,
)
from reconciler.stages.diff import diff
from reconciler.stages.expand import Expansion
from reconciler.stages.scene import Difference, Scene

OBJECT = Ref("Deployment", "cms", "web")
FRONT, BACK = OBJECT.with_part("front", "thing"), OBJECT.with_part("back", "thing")
HERE = Target("here", "paper", "here")
LATE = after(FRONT, "address")


def wish(
    ref: Ref = FRONT, needs: tuple[Ref, ...] = (), metadata: Metadata = Metadata(), **spec: Any
) -> Resource:
    return Resource(ref, "thing", "here", spec, Source("web.yaml", 1), metadata, frozenset(needs))


def thing(resource: Resource, uid: str = "1", state: State = State.READY, **attributes: Any) -> Observed:
    mark = mark_for("lab", resource)
    return Observed(resource.ref, "thing", "here", resource.spec, uid, mark, state, attributes=attributes)


def compared(primitive: Primitive, wanted: tuple[Resource, ...], seen: tuple[Observed, ...]) -> Difference:
    things: Mapping[Ref, tuple[Observed, ...]] = {OBJECT: seen}
    now = datetime(2026, 11, 21, tzinfo=UTC)
    world = World(now, {"here": HERE}, {}, things, {}, lambda _ref, _target: False)
    expansion = Expansion({entry.ref: entry for entry in wanted}, {})
    return diff(Scene(expansion, world, {"thing": primitive}, {}, frozenset(), {}))


def planned(primitive: Primitive, wanted: tuple[Resource, ...], *seen: Observed) -> list[str]:
    changes = compared(primitive, wanted, seen).changes
    return sorted(f"{change.action} {change.ref.part} {change.reason}" for change in changes)


PLAIN = Primitive("thing", immutable=frozenset({"image"}))


# -- late values -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spec", [{"peer": LATE}, {"rules": [{"from": LATE}]}, {"image": {"id": LATE}}, {"image": [LATE]}]
)
def test_not_knowing_a_late_value_changes_nothing(spec: dict[str, Any]) -> None:
    known = {key: _filled(value) for key, value in spec.items()}
    front, back = wish(), wish(BACK, (FRONT,), **spec)
    there = thing(replace(back, spec=known), "2")
    assert planned(PLAIN, (front, back), thing(front, address="10.0.0.1"), there) == []
    assert planned(PLAIN, (front, back), thing(front, state=State.PROGRESSING), there) == []


def _filled(value: Any) -> Any:
    if value == LATE:
        return "10.0.0.1"
    if isinstance(value, dict):
        return {key: _filled(entry) for key, entry in value.items()}
    return [_filled(entry) for entry in value]


def test_a_late_value_that_is_another_now_is_a_change_in_the_words_of_the_wish() -> None:
    front, back = wish(), wish(BACK, (FRONT,), peer=LATE)
    there = thing(replace(back, spec={"peer": "10.0.0.1"}), "2")
    (change,) = compared(PLAIN, (front, back), (thing(front, address="10.0.0.9"), there)).changes
    assert change.fields == (FieldChange("peer", "10.0.0.1", LATE),)


def test_an_unmanaged_key_is_left_alone_while_a_late_value_is_unknown() -> None:
    front, back = wish(), wish(BACK, (FRONT,), peer=LATE)
    there = thing(replace(back, spec={"peer": "10.0.0.1"}), "2")
    there = replace(there, spec={**there.spec, "default": "theirs"})
    assert planned(PLAIN, (front, back), thing(front, state=State.PROGRESSING), there) == []


def test_of_two_incarnations_the_one_that_stays_gives_the_value() -> None:
    front, back = wish(image="new"), wish(BACK, (FRONT,), peer=LATE)
    old = thing(wish(image="old"), "1", address="10.0.0.1")
    new = thing(front, "2", address="10.0.0.2")
    there = thing(replace(back, spec={"peer": "10.0.0.1"}), "3")
    wanted = ["delete front.thing Superseded", "update back.thing SpecChanged"]
    assert planned(PLAIN, (front, back), old, new, there) == wanted


def test_fits_is_exact_but_for_what_is_unknown() -> None:
    assert fits([LATE, 2], [1, 2])
    assert not fits([LATE, 2], [1, 3])
    assert not fits([LATE], [1, 2])
    assert not fits({"a": LATE}, {"a": 1, "b": 2})
    assert list(late_values({"a": [{"b": LATE}]})) == [(FRONT, "address")]


# -- deletes that take time ------------------------------------------------------------------


def test_a_delete_under_way_is_not_asked_for_again() -> None:
    going = thing(wish(), state=State.DELETING)
    assert planned(PLAIN, (), going) == []
    assert planned(PLAIN, (wish(),), going, thing(wish(), "2")) == []
    assert planned(PLAIN, (wish(),), replace(going, target="there"), thing(wish(), "2")) == []


def test_what_is_wanted_again_waits_until_it_is_gone() -> None:
    found = compared(PLAIN, (wish(),), (thing(wish(), state=State.DELETING),))
    assert found.changes == ()
    assert [(entry.word, entry.reason) for entry in found.conditions.values()] == [
        ("Progressing", "Deleting")
    ]


def test_a_soft_delete_is_taken_back() -> None:
    soft = replace(PLAIN, undeletes=True)
    going = thing(wish(image="a"), state=State.DELETING)
    assert planned(soft, (wish(image="a"),), going) == ["update front.thing Undeleted"]
    assert planned(soft, (wish(image="b"),), going) == ["create front.thing NotFound"]
    both = (going, thing(wish(image="b"), "2"))
    assert planned(soft, (wish(image="b"),), *both) == []
    assert planned(soft, (wish(image="a"),), *both) == [
        "delete front.thing Superseded",
        "update front.thing Undeleted",
    ]


# -- what can't be mended in place -----------------------------------------------------------


def test_a_failed_thing_is_replaced_where_an_update_does_not_heal() -> None:
    broken = replace(thing(wish(image="a"), state=State.FAILED), reason="Error")
    assert planned(PLAIN, (wish(image="a"),), broken) == ["update front.thing Error"]
    server = replace(PLAIN, heals="replace")
    assert planned(server, (wish(image="a"),), broken) == ["replace front.thing Error"]
    assert planned(server, (wish(image="a"),), replace(broken, reason="Partial")) == [
        "update front.thing Partial"
    ]
    building = thing(wish(image="a"), "2", State.PROGRESSING)
    assert planned(server, (wish(image="a"),), broken, building) == ["delete front.thing Duplicate"]


# -- lists that hide the spec ----------------------------------------------------------------


def test_by_digest_the_hash_says_whether_anything_differs() -> None:
    listed = replace(PLAIN, listed="digest")
    hidden = replace(thing(wish(image="a", size=1)), spec={"name": "x"})
    assert planned(listed, (wish(image="a", size=1),), hidden) == []
    assert planned(listed, (wish(image="a", size=2),), hidden) == ["update front.thing SpecChanged"]
    shown = replace(hidden, spec={"image": "a"})
    assert planned(listed, (wish(image="b", size=1),), shown) == ["replace front.thing ImmutableField"]
    drifted = replace(hidden, drift=(FieldChange("size", 2, 1),))
    assert planned(listed, (wish(image="a", size=1),), drifted) == ["update front.thing Drifted"]


def test_by_each_only_what_is_shown_is_compared() -> None:
    listed = replace(PLAIN, listed="each")
    bare = thing(wish(image="a", size=1))
    assert bare.mark is not None
    bare = replace(bare, spec={}, mark=replace(bare.mark, spec_hash=""))
    assert planned(listed, (wish(image="b", size=2),), bare) == []
    assert planned(listed, (wish(image="a", size=2),), replace(bare, spec={"image": "a", "size": 1})) != []


# -- what can't be marked --------------------------------------------------------------------


def test_a_natural_thing_is_neither_deleted_nor_changed_without_consent() -> None:
    natural = replace(PLAIN, marked="natural")
    unmarked = replace(thing(wish(image="a", size=1)), mark=None)
    assert planned(natural, (wish(image="a", size=1),), unmarked) == []
    assert planned(natural, (), unmarked) == []
    assert planned(natural, (wish(image="a", size=1),), unmarked, replace(unmarked, target="there")) == []
    assert _told(natural, wish(image="a", size=2), unmarked) == ["NotOurs"]
    assert _told(natural, wish(metadata=Metadata(adopt=True), image="b", size=1), unmarked) == [
        "ImmutableField"
    ]
    adopting = wish(metadata=Metadata(adopt=True), image="a", size=2)
    assert planned(natural, (adopting,), unmarked) == ["update front.thing Adopted"]


def test_a_natural_thing_that_says_it_is_ours_is_changed_and_never_deleted() -> None:
    natural = replace(PLAIN, marked="natural")
    marked = thing(wish(image="a", size=1))
    assert planned(natural, (wish(image="a", size=2),), marked) == ["update front.thing SpecChanged"]
    assert planned(natural, (), marked) == []
    assert _told(natural, wish(image="b", size=1), marked) == ["ImmutableField"]
    half = replace(marked, spec={}, state=State.FAILED, reason="Partial")
    assert planned(natural, (wish(image="a", size=1),), half) == ["update front.thing Partial"]


def test_what_stands_at_the_key_is_what_was_wanted_and_stays_somebody_elses() -> None:
    keyed = replace(PLAIN, keyed=True)
    unmarked = replace(thing(wish(image="a", size=1)), mark=None)
    assert planned(keyed, (wish(image="a", size=1),), unmarked) == []
    assert planned(keyed, (), unmarked) == []
    assert _told(keyed, wish(image="a", size=2), unmarked) == ["NotOurs"]
    adopting = wish(metadata=Metadata(adopt=True), image="a", size=1)
    assert planned(keyed, (adopting,), unmarked) == ["update front.thing Adopted"]
    ours = thing(wish(image="a", size=1), "2")
    assert planned(keyed, (wish(image="a", size=1),), unmarked, ours) == []


def _told(primitive: Primitive, wanted: Resource, seen: Observed) -> list[str]:
    found = compared(primitive, (wanted,), (seen,))
    assert found.changes == ()
    return [entry.reason for entry in found.conditions.values()]
