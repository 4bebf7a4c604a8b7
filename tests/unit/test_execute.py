"""Execution against a back-end that takes its time: deletes linger, targets ask for a pause."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from reconciler.errors import Transient
from reconciler.kind import Ask, Driver, Kind, Primitive, World
from reconciler.late import after
from reconciler.model import (
    NOTHING,
    Action,
    Change,
    Condition,
    FieldChange,
    Mark,
    Observed,
    Outcome,
    Ref,
    Resource,
    Source,
    State,
    Target,
    Word,
    mark_for,
)
from reconciler.stages.execute import execute
from reconciler.stages.observe import Observation
from reconciler.stages.orders import Orders

OBJECT = Ref("Deployment", "cms", "web")


@dataclass
class Site:
    """What is there, how often it was looked at, what was written, and how many looks a thing takes."""

    name: str = "here"
    things: dict[str, Observed] = field(default_factory=dict)
    writes: list[str] = field(default_factory=list)
    build: int = 1
    linger: int = 2
    target: str = ""
    refuse: Callable[[], None] = lambda: None
    ticks: dict[str, int] = field(default_factory=dict)
    at_deletes: list[dict[str, State]] = field(default_factory=list)
    lock: Any = field(default_factory=threading.Lock)

    def close(self) -> None: ...

    def look(self) -> tuple[Observed, ...]:
        with self.lock:
            for uid, thing in list(self.things.items()):
                self.ticks[uid] = self.ticks.get(uid, 0) - 1
                if self.ticks[uid] <= 0 and thing.state is State.DELETING:
                    del self.things[uid]
                elif self.ticks[uid] <= 0 and thing.state is State.PROGRESSING:
                    self.things[uid] = replace(thing, state=State.READY, attributes={"id": uid})
            return tuple(self.things.values())

    def put(self, thing: Observed) -> None:
        self.things[thing.uid] = replace(thing, target=self.name)


class Hand:
    """The hand over a Site."""

    def observe(self, client: Site, ask: Ask) -> Iterable[Observed]:
        return client.look()

    def verify(self, client: Site, thing: Observed) -> Observed:
        return thing

    def apply(self, client: Site, change: Change, mark: Mark) -> None:
        client.refuse()
        assert change.want is not None
        with client.lock:
            uid = change.have.uid if change.have else f"new-{len(client.writes)}"
            client.writes.append(f"apply {change.ref.part}")
            client.ticks[uid] = client.build
            spec, state = change.want.spec, State.PROGRESSING
            client.things[uid] = Observed(change.ref, change.kind, client.name, spec, uid, mark, state)

    def release(self, client: Site, change: Change) -> None:
        raise NotImplementedError

    def delete(self, client: Site, change: Change) -> None:
        assert change.have is not None
        with client.lock:
            client.writes.append(f"delete {change.ref.part} {change.have.uid}")
            client.at_deletes.append({uid: entry.state for uid, entry in client.things.items()})
            client.ticks[change.have.uid] = client.linger
            client.things[change.have.uid] = replace(change.have, state=State.DELETING)


def wish(node: str = "front", needs: tuple[Ref, ...] = (), target: str = "here", **spec: Any) -> Resource:
    ref = OBJECT.with_part(node, "thing")
    return Resource(ref, "thing", target, spec, Source("web.yaml", 1), needs=frozenset(needs))


def thing(resource: Resource, uid: str, **more: Any) -> Observed:
    mark = mark_for("lab", resource)
    fields: dict[str, Any] = {"attributes": {"id": uid}, **more}
    return Observed(resource.ref, "thing", resource.target, resource.spec, uid, mark, **fields)


def change(action: Action, want: Resource | None, have: Observed | None = None, **more: Any) -> Change:
    ref = want.ref if want else have.ref if have else OBJECT
    target = want.target if want else have.target if have else ""
    needs = want.needs if want else frozenset()
    fields: dict[str, Any] = {"needs": needs, **more}
    return Change(ref, "thing", target, action, fields.pop("reason", "Test"), want=want, have=have, **fields)


def carry_out(
    changes: list[Change],
    *sites: Site,
    seconds: float = 5.0,
    slow: bool = False,
    kinds: Mapping[str, Any] = NOTHING,
) -> tuple[Outcome, ...]:
    """Carry out the changes at these sites; what became of each."""
    by_name = {site.name: site for site in sites}
    driver = Driver(
        "paper",
        {},
        lambda target, _: by_name[target.name],
        lambda target, _: by_name[target.name],
        {"thing": Hand()},
    )
    orders = Orders(
        targets={name: Target(name, "paper", name, concurrency=8, timeout=5) for name in by_name},
        driver=lambda _name: driver,
        kinds=kinds,
        primitives={"thing": Primitive("thing", slow=slow)},
        owner="lab",
        places=None,  # type: ignore[arg-type]  # a driver in memory has no folder
        look=partial(_look, by_name),
        world=_world,
        attempt=lambda _changes: None,
        check=lambda: None,
        stop=threading.Event(),
        progress=lambda _event, _facts: None,
    )
    seen = Observation({name: tuple(site.things.values()) for name, site in by_name.items()}, {})
    return execute(changes, seen, orders, seconds)[0]


def _look(sites: Mapping[str, Site], names: frozenset[str]) -> Observation:
    return Observation({name: sites[name].look() for name in names}, {})


def _world(seen: Observation) -> World:
    now = datetime(2026, 11, 21, tzinfo=UTC)
    return World(now, {}, {}, seen.by_object({}), {}, lambda _ref, _target: False)


def test_no_incarnation_goes_before_its_successor_is_ready() -> None:
    site = Site(build=3)
    first, second, third = wish(image="a"), wish(image="b"), wish(image="c")
    for entry in (thing(first, "1"), thing(second, "2")):
        site.put(entry)
    old, older = site.things["1"], site.things["2"]
    replaced = change(
        Action.REPLACE, third, old, order="create-first", fields=(FieldChange("image", "a", "c"),)
    )
    spare = change(Action.DELETE, None, older, reason="Superseded", needs=frozenset((third.ref,)))
    done = carry_out([replaced, spare], site)
    assert {entry.result for entry in done} == {"Applied"}
    assert site.writes[0] == "apply front.thing"
    assert sorted(site.writes[1:]) == ["delete front.thing 1", "delete front.thing 2"]
    assert [states["new-0"] for states in site.at_deletes] == [State.READY, State.READY]


def test_a_dependent_follows_the_successor_not_what_goes() -> None:
    site, old, new = Site(), wish(image="a"), wish(image="b")
    user = wish("back", (old.ref,), peer=after(old.ref, "id"))
    site.put(thing(old, "1"))
    replaced = change(Action.REPLACE, new, site.things["1"], order="create-first")
    carry_out([change(Action.CREATE, user), replaced], site)
    peers = [entry.spec["peer"] for entry in site.things.values() if entry.ref == user.ref]
    assert peers == [next(uid for uid, entry in site.things.items() if entry.ref == new.ref and uid != "1")]


def test_a_delete_waits_for_a_user_that_is_still_going() -> None:
    site, used, user = Site(linger=3), wish("net"), wish("vm")
    site.put(thing(used, "net"))
    site.put(thing(user, "vm", uses=frozenset({"net"})))
    changes = [change(Action.DELETE, None, site.things[uid]) for uid in ("net", "vm")]
    assert {entry.result for entry in carry_out(changes, site)} == {"Applied"}
    assert site.writes == ["delete vm.thing vm", "delete net.thing net"]


def test_delete_first_waits_until_the_old_one_is_gone_at_its_own_target() -> None:
    here, there = Site(linger=3), Site("there")
    here.put(thing(wish(image="a"), "same"))
    there.put(thing(wish("other", target="there"), "same"))
    replaced = change(Action.REPLACE, wish(image="b"), here.things["same"], order="delete-first")
    assert {entry.result for entry in carry_out([replaced], here, there)} == {"Applied"}
    assert [entry.spec for entry in here.things.values()] == [{"image": "b"}]


def test_what_is_slow_is_not_waited_for() -> None:
    site, old = Site(build=1000), wish(copies=2)
    site.put(thing(old, "1"))
    replaced = change(Action.REPLACE, wish(copies=3), site.things["1"], order="create-first")
    began = time.monotonic()
    done = carry_out([replaced], site, seconds=20, slow=True)
    assert [entry.result for entry in done] == ["Waiting"]
    assert time.monotonic() - began < 5
    assert site.writes == ["apply front.thing"]


def test_a_late_value_that_nothing_tells_is_never_written() -> None:
    site, front = Site(), wish()
    site.put(thing(front, "1"))
    back = wish("back", (front.ref,), peers=[after(front.ref, "floating")])
    (done,) = carry_out([change(Action.CREATE, back)], site)
    assert (done.result, done.reason, done.message) == (
        "Waiting",
        "AttributeUnknown",
        f"waits for {front.ref}#floating",
    )
    assert site.writes == []


def test_a_target_that_asks_for_a_pause_gets_it_and_is_not_given_up() -> None:
    begun: list[float] = []

    def refuse() -> None:
        begun.append(time.monotonic())
        if time.monotonic() < begun[0] + 0.5:
            raise Transient("too many requests", wait=0.5)

    site = Site(refuse=refuse)
    done = carry_out([change(Action.CREATE, wish(f"n{number}")) for number in range(24)], site)
    assert {entry.result for entry in done} == {"Applied"}
    assert len(begun) <= 24 + 8, "only what was under way is refused"


def test_who_asks_for_a_long_pause_gets_the_next_run() -> None:
    def refuse() -> None:
        raise Transient("too many requests", wait=16.0)

    began = time.monotonic()
    (done,) = carry_out([change(Action.CREATE, wish())], Site(refuse=refuse))
    assert (done.result, done.reason) == ("Failed", "Transient")
    assert time.monotonic() - began < 3


class Careful(Kind[Any]):
    """Lets nothing go."""

    name, grouped, spec = "Deployment", True, dict

    def hold_removal(self, change: Change, world: World) -> Condition | None:
        return Condition(change.ref, Word.HELD, "LastCopy", "the last one")


def test_what_its_kind_holds_goes_only_if_that_very_hold_was_approved() -> None:
    for released, left in [("", ["1"]), ("Budget", ["1"]), ("LastCopy", [])]:
        site, standing = Site(), thing(wish(), "1")
        site.put(standing)
        gone = change(Action.DELETE, None, standing, released=released)
        carry_out([gone], site, kinds={"Deployment": Careful()})
        site.look(), site.look()
        assert list(site.things) == left
