from __future__ import annotations

import os
import shutil
import signal
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from reconciler.drivers.simulated import DRIVER
from reconciler.drivers.simulated.client import Reader, Writer, count_calls, world_path
from reconciler.drivers.simulated.hand import GenericHand
from reconciler.drivers.simulated.invent import attributes_of, place_of
from reconciler.drivers.simulated.settings import ERRORS, OPERATIONS, SETTINGS
from reconciler.drivers.simulated.weather import Failure, Request, Weather, fate, seconds, weather_of
from reconciler.drivers.simulated.world import World, open_world, world_digest
from reconciler.errors import BackendError, Conflict, Denied, NotOurs, ReadOnly, Rejected, Transient
from reconciler.kind import Ask, Primitive
from reconciler.model import (
    Action,
    Change,
    Json,
    Observed,
    Ref,
    Resource,
    Source,
    State,
    Target,
    mark_for,
)

KIND = "widget"
HAND = GenericHand(KIND)


@dataclass(frozen=True)
class Lab:
    """One simulated target below a folder."""

    data: str
    target: Target

    @property
    def path(self) -> Path:
        return world_path(self.target, self)

    def world(self) -> World:
        return open_world(self.path)

    def write(self, act: Callable[[Writer], Any]) -> Any:
        with closing(Writer(self.target, self)) as client:
            return act(client)

    def read(self, act: Callable[[Reader], Any]) -> Any:
        with closing(Reader(self.target, self)) as client:
            return act(client)

    def seen(self, *natural: str) -> list[Observed]:
        return list(self.read(lambda client: HAND.observe(client, Ask("me", frozenset(natural)))))

    def create(self, resource: Resource) -> None:
        self.write(lambda client: HAND.apply(client, creation(resource), mark_for("me", resource)))

    def update(self, resource: Resource, have: Observed) -> None:
        wanted = replace(creation(resource), action=Action.UPDATE, have=have)
        self.write(lambda client: HAND.apply(client, wanted, mark_for("me", resource)))

    def delete(self, have: Observed) -> None:
        self.write(lambda client: HAND.delete(client, removal(have)))


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return lab_with(tmp_path)


def lab_with(folder: Path, **settings: Json) -> Lab:
    return Lab(str(folder), Target("lab", "simulated", "lab", settings, timeout=0.2))


def widget(number: int = 0, *, needs: frozenset[Ref] = frozenset(), **spec: Json) -> Resource:
    ref = Ref("Cabinet", "cms", "main", f"drawer.{number}.widget")
    return Resource(ref, KIND, "lab", {"size": number, **spec}, Source("x.yaml"), needs=needs)


def creation(resource: Resource) -> Change:
    return Change(resource.ref, KIND, "lab", Action.CREATE, "NotFound", want=resource)


def removal(have: Observed) -> Change:
    return Change(have.ref, KIND, "lab", Action.DELETE, "Removed", have=have)


# ── settings ─────────────────────────────────────────────────────────────────────────────────────


def test_the_settings_schema_is_sound_and_explained() -> None:
    Draft202012Validator.check_schema(SETTINGS)
    for name, field in SETTINGS["properties"].items():
        assert field["description"], name
        for value in (*field["examples"], *([field["default"]] if "default" in field else [])):
            Draft202012Validator({**SETTINGS}).validate({name: value})
            weather_of({name: value})


@pytest.mark.parametrize(
    "settings",
    [
        {"latency": "fast"},
        {"failureRate": 101},
        {"failures": [{"error": "Magic"}]},
        {"failures": [{}]},
        {"hang": "soft"},
        {"pageSize": 0},
        {"sunshine": True},
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Json]) -> None:
    assert not Draft202012Validator(SETTINGS).is_valid(settings)


@pytest.mark.parametrize(
    ("text", "expected"), [("50ms", 0.05), ("1.5s", 1.5), ("2m", 120), ("1h", 3600), ("3", 3), (4, 4)]
)
def test_seconds(text: str | int, expected: float) -> None:
    assert seconds(text) == expected


# ── what goes wrong ──────────────────────────────────────────────────────────────────────────────


def test_chance_is_repeatable_and_about_as_often_as_told() -> None:
    weather = Weather(failure_rate=30, seed="x")
    requests = [Request("create", KIND, f"w{number}") for number in range(1000)]
    first = [fate(weather, request, 0) for request in requests]
    assert first == [fate(weather, request, 0) for request in requests]
    assert 250 < first.count("Transient") < 350
    assert first != [fate(weather, request, 1) for request in requests]
    assert first != [fate(replace(weather, seed="y"), request, 0) for request in requests]


def test_a_share_is_always_the_same_things() -> None:
    failure = Failure("Rejected", "create", share=30)
    hit = {number for number in range(1000) if failure.hits(Request("create", KIND, f"w{number}"), 0, "")}
    assert 250 < len(hit) < 350
    assert all(failure.hits(Request("create", KIND, f"w{number}"), 7, "") for number in hit)
    assert not any(failure.hits(Request("delete", KIND, f"w{number}"), 0, "") for number in hit)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("Transient", Transient),
        ("Denied", Denied),
        ("Rejected", Rejected),
        ("Conflict", Conflict),
        ("LostAnswer", Transient),
        ("Partial", Transient),
        ("hang", Transient),
    ],
)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_failure_of_every_operation_is_the_right_error(
    lab: Lab, operation: str, error: str, expected: type[BackendError]
) -> None:
    lab.create(widget(1))
    (thing,) = lab.seen()
    with lab.world() as world:
        world.set_weather(failures=[{"operation": operation, "error": error}])
    release = replace(removal(thing), action=Action.UPDATE, release=True)
    acts: dict[str, Callable[[], Any]] = {
        "list": lab.seen,
        "verify": lambda: lab.read(lambda client: HAND.verify(client, thing)),
        "facts": lambda: lab.read(DRIVER.facts),
        "create": lambda: lab.create(widget(2)),
        "update": lambda: lab.update(widget(1, size=5), thing),
        "release": lambda: lab.write(lambda client: HAND.release(client, release)),
        "delete": lambda: lab.delete(thing),
    }
    reads = operation in ("list", "verify", "facts")
    if reads and error in ("LostAnswer", "Partial"):
        acts[operation]()  # nothing to lose
    else:
        with pytest.raises(expected) as caught:
            acts[operation]()
        assert type(caught.value) is expected
    with lab.world() as world:
        world.clear_weather()
        whole = error not in ("LostAnswer", "Partial")
        assert not whole or [thing.spec for thing in world.things()] == [{"size": 1}]
    assert set(acts) == set(OPERATIONS)
    assert error in ERRORS


def test_unauthorized_is_denied_everywhere(tmp_path: Path) -> None:
    lab = lab_with(tmp_path, unauthorized=True)
    with pytest.raises(Denied):
        lab.seen()
    with pytest.raises(Denied):
        lab.create(widget())


def test_times_counts_per_thing_and_from_when_the_weather_began(lab: Lab) -> None:
    lab.create(widget(9))
    (thing,) = lab.seen()
    lab.update(widget(9), thing)
    with lab.world() as world:
        world.set_weather(failures=[{"operation": "update", "error": "Transient", "times": 2}])
    for _ in range(2):
        with pytest.raises(Transient):
            lab.update(widget(9, size=1), thing)
    lab.update(widget(9, size=1), thing)
    assert lab.seen()[0].spec == {"size": 1}


def test_a_lost_answer_and_a_second_try_make_one_thing(lab: Lab) -> None:
    with lab.world() as world:
        world.set_weather(lostAnswers=100)
    for _ in range(3):
        with pytest.raises(Transient):
            lab.create(widget())
    assert len(lab.seen()) == 1


def test_a_partial_creation_is_seen_marked_and_completed(lab: Lab) -> None:
    failures = [{"operation": "create", "error": "Partial", "times": 1}]
    with lab.world() as world:
        world.set_weather(failures=failures)
    with pytest.raises(Transient):
        lab.create(widget())
    (half,) = lab.seen()
    assert (half.state, half.reason) == (State.FAILED, "Partial")
    assert half.mark == mark_for("me", widget())
    lab.create(widget())
    assert [thing.state for thing in lab.seen()] == [State.READY]
    with lab.world() as world:
        world.halve(widget().ref)
    lab.update(widget(), half)
    assert [thing.state for thing in lab.seen()] == [State.READY]


def test_a_hang_ends_at_the_time_out_and_blocks_that_long(lab: Lab) -> None:
    with lab.world() as world:
        world.set_weather(hang=True)
    started = time.monotonic()
    with pytest.raises(Transient, match="no answer"):
        lab.seen()
    assert 0.2 <= time.monotonic() - started < 1.5


def test_a_hard_hang_ignores_the_time_out(lab: Lab) -> None:
    with lab.world() as world:
        world.set_weather(hang="hard", hangSeconds="600ms")
    started = time.monotonic()
    with pytest.raises(Transient):
        lab.seen()
    assert time.monotonic() - started >= 0.6


def test_latency_is_taken_by_every_request_and_may_be_too_long(tmp_path: Path) -> None:
    lab = lab_with(tmp_path, latency="60ms", pageSize=1)
    lab.create(widget(0))
    lab.create(widget(1))
    started = time.monotonic()
    assert len(lab.seen()) == 2
    assert time.monotonic() - started >= 0.12
    with lab.world() as world:
        world.set_weather(latency="2s")
    with pytest.raises(Transient, match="no answer"):
        lab.seen()


def test_above_the_rate_the_answer_is_transient(lab: Lab) -> None:
    with lab.world() as world:
        world.set_weather(rateLimit=5)
    for _ in range(5):
        lab.seen()
    for _ in range(3):
        with pytest.raises(Transient, match="429"):
            lab.seen()
    time.sleep(1.1)
    lab.seen()


# ── lists ────────────────────────────────────────────────────────────────────────────────────────


def test_pages_are_complete_and_no_more_than_needed(tmp_path: Path) -> None:
    lab = lab_with(tmp_path, pageSize=5)
    for number in range(10):
        lab.create(widget(number))
    with lab.world() as world:
        world.forget_calls()
    assert [thing.spec["size"] for thing in lab.seen()] == list(range(10))
    assert count_calls(lab.path) == {"list widget": 2}


def test_less_than_there_is_is_an_error(tmp_path: Path) -> None:
    lab = lab_with(tmp_path, pageSize=5)
    for number in range(7):
        lab.create(widget(number))
    with lab.world() as world:
        world.set_weather(truncatedPages=True)
    with pytest.raises(Transient, match="says it has 7"):
        lab.seen()
    with lab.world() as world:
        world.clear_weather()
        world.set_weather(failures=[{"operation": "list", "ref": "page-2", "error": "Transient"}])
    with pytest.raises(Transient):
        lab.seen()


def test_things_that_come_and_go_while_listing_are_no_error(tmp_path: Path) -> None:
    lab = lab_with(tmp_path, pageSize=1)
    for number in range(3):
        lab.create(widget(number))
    first = lab.seen()[0]

    class Meddling(Reader):
        def ask(self, request: Request, work: Any) -> Any:
            if request.ref == "page-2":
                lab.delete(first)
                lab.create(widget(7))
            return super().ask(request, work)

    with closing(Meddling(lab.target, lab)) as client:
        sizes = [thing.spec["size"] for thing in HAND.observe(client, Ask("me"))]
    assert sizes == [0, 1, 2, 7]


def test_a_world_that_nobody_wrote_to_is_empty_and_stays_unmade(lab: Lab) -> None:
    assert lab.seen() == []
    assert list(Path(lab.data).iterdir()) == []
    with closing(Reader(lab.target, lab)) as client:
        assert list(HAND.observe(client, Ask("me"))) == []
        lab.create(widget())
        assert len(list(HAND.observe(client, Ask("me")))) == 1


@pytest.mark.parametrize("content", [b"", b"not a database at all" * 100])
def test_a_spoilt_file_is_an_error_and_not_an_empty_world(lab: Lab, content: bytes) -> None:
    lab.path.write_bytes(content)
    with pytest.raises(Transient):
        lab.seen()
    with pytest.raises(Transient):
        lab.create(widget())
    assert lab.path.read_bytes() == content


# ── reading and writing ──────────────────────────────────────────────────────────────────────────


def test_a_reader_can_not_write_even_when_it_tries(lab: Lab) -> None:
    lab.create(widget())
    with closing(Reader(lab.target, lab)) as client:
        with pytest.raises(ReadOnly):
            HAND.apply(client, creation(widget(1)), mark_for("me", widget(1)))
        with pytest.raises(Denied, match="readonly"):
            client.ask(Request("list"), lambda connection: connection.execute("DELETE FROM things"))
    assert len(lab.seen()) == 1


def test_a_folder_without_a_log_is_read_all_the_same(lab: Lab) -> None:
    lab.create(widget())
    Path(f"{lab.path}.calls").unlink()
    assert len(lab.seen()) == 1
    assert count_calls(lab.path) == {}


def test_many_writers_and_readers_at_once_lose_nothing(tmp_path: Path) -> None:
    lab = Lab(str(tmp_path), Target("lab", "simulated", "lab", {"pageSize": 7}, timeout=30.0))
    errors: list[BaseException] = []

    def work(start: int) -> None:
        try:
            with closing(Writer(lab.target, lab)) as client:
                for number in range(start, start + 25):
                    HAND.apply(client, creation(widget(number)), mark_for("me", widget(number)))
                    lab.seen()
        except BaseException as error:  # noqa: BLE001  told to the main thread
            errors.append(error)

    threads = [threading.Thread(target=work, args=(start,)) for start in range(0, 100, 25)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sorted(thing.spec["size"] for thing in lab.seen()) == list(range(100))
    assert count_calls(lab.path)["create widget"] == 100


@pytest.mark.parametrize("steps", [1, 3, 10, 30, 60, 100, 200, 400])
def test_a_kill_inside_a_transaction_leaves_the_world_before_it(lab: Lab, steps: int) -> None:
    lab.create(widget(0))
    before = world_digest(lab.path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside the threads of pytest-xdist
        child = os.fork()
    if child == 0:
        _die_while_writing(lab, steps)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert [thing.spec["size"] for thing in lab.seen()] == [0]
    assert world_digest(lab.path) == before
    lab.create(widget(1))
    assert len(lab.seen()) == 2


def _die_while_writing(lab: Lab, steps: int) -> None:
    """Spill the cache so that the file is half-written, then die at a step of SQLite's machine."""
    try:
        with closing(Writer(lab.target, lab)) as client:

            def work(connection: Any) -> int:
                connection.execute("PRAGMA cache_size = 1")
                connection.execute("PRAGMA cache_spill = 1")
                kill = partial(os.kill, os.getpid(), signal.SIGKILL)
                connection.execute("UPDATE things SET spec = ?", ('{"size": "' + "x" * 9000000 + '"}',))
                connection.set_progress_handler(kill, steps)
                while True:
                    connection.execute("UPDATE things SET damaged = 1")

            client.tell(Request("create"), work)
    finally:
        os._exit(3)


def test_a_reader_rolls_back_what_a_killed_writer_left(lab: Lab) -> None:
    lab.create(widget(0))
    journal = Path(f"{lab.path}-journal")
    with closing(Writer(lab.target, lab)) as client:

        def freeze(connection: Any) -> int:
            connection.execute("PRAGMA cache_size = 1")
            connection.execute("PRAGMA cache_spill = 1")
            connection.execute("UPDATE things SET spec = ?", ('{"size": "' + "x" * 9000000 + '"}',))
            for file in (lab.path, journal):
                shutil.copy(file, Path(lab.data) / f"frozen-{file.name}")
            raise KeyError("enough")

        with pytest.raises(KeyError):
            client.tell(Request("create"), freeze)
    for file in (lab.path, journal):
        (Path(lab.data) / f"frozen-{file.name}").rename(file)
    assert lab.path.stat().st_size > 1000000
    assert [thing.spec for thing in lab.seen()] == [{"size": 0}]
    assert not journal.exists()


# ── things ───────────────────────────────────────────────────────────────────────────────────────


def test_a_created_thing_builds_for_a_while(tmp_path: Path) -> None:
    lab = lab_with(tmp_path, buildSeconds="1h")
    lab.create(widget())
    assert [(thing.state, thing.reason) for thing in lab.seen()] == [(State.PROGRESSING, "Building")]
    with lab.world() as world:
        world.pass_time(3601)
    assert [thing.state for thing in lab.seen()] == [State.READY]


def test_uses_are_the_uids_of_needs_and_a_used_thing_stays(lab: Lab) -> None:
    lab.create(widget(1))
    lab.create(widget(2, needs=frozenset({widget(1).ref, Ref("Other", "", "elsewhere")})))
    used, user = lab.seen()
    assert user.uses == frozenset({used.uid})
    with pytest.raises(Conflict, match="is used by"):
        lab.delete(used)
    lab.delete(user)
    lab.delete(used)
    assert lab.seen() == []


def test_what_lies_inside_of_a_thing_goes_with_it(lab: Lab) -> None:
    inside = GenericHand("configuration")
    lab.create(widget(1))
    made = replace(widget(2, needs=frozenset({widget(1).ref})), kind="configuration")
    change = replace(creation(made), kind="configuration")
    lab.write(lambda client: inside.apply(client, change, mark_for("me", made)))
    assert lab.read(lambda client: len(list(inside.observe(client, Ask("me"))))) == 1
    (used,) = lab.seen()
    lab.delete(used)
    assert lab.seen() == []
    assert lab.read(lambda client: list(inside.observe(client, Ask("me")))) == []


def test_attributes_are_invented_by_type_from_the_ref() -> None:
    primitive = Primitive(
        KIND, computed={"id": "string", "port": "integer", "address": "address", "url": "url"}
    )
    ref, other = widget(1).ref, widget(2).ref
    made = attributes_of(primitive, ref)
    assert made == attributes_of(primitive, ref)
    assert made != attributes_of(primitive, other)
    assert {name: type(value).__name__ for name, value in made.items()} == {
        "address": "str",
        "id": "str",
        "port": "int",
        "url": "str",
    }
    assert made["address"].startswith("198.1")
    assert made["url"].startswith("https://")
    assert attributes_of(None, ref) == {}


def test_the_place_is_the_natural_key_else_the_ref() -> None:
    assert place_of(widget(1)) == str(widget(1).ref)
    assert place_of(replace(widget(1), facts={"natural": "shelf"})) == "shelf"


def test_two_refs_of_ours_can_not_stand_at_one_place(lab: Lab) -> None:
    lab.create(replace(widget(1), facts={"natural": "shelf"}))
    with pytest.raises(NotOurs, match=r"drawer\.1"):
        lab.create(replace(widget(2), facts={"natural": "shelf"}))


def test_gone_since_it_was_seen_is_a_conflict(lab: Lab) -> None:
    lab.create(widget())
    (thing,) = lab.seen()
    with lab.world() as world:
        world.remove(thing.uid)
    with pytest.raises(Conflict):
        lab.update(widget(), thing)
    with pytest.raises(Conflict):
        lab.read(lambda client: HAND.verify(client, thing))
    assert lab.seen() == []


def test_a_thing_marked_by_another_owner_meanwhile_is_left_alone(lab: Lab) -> None:
    with lab.world() as world:
        uid = world.insert(KIND, str(widget().ref), {"size": 5}, owner="them")
    mine = Observed(widget().ref, KIND, "lab", {"size": 5}, uid, mark_for("me", widget()))
    unmarked = replace(mine, mark=None)
    acts: list[Callable[[], None]] = [
        lambda: lab.update(widget(), mine),
        lambda: lab.update(widget(), unmarked),
        lambda: lab.delete(mine),
        lambda: lab.delete(unmarked),
        lambda: lab.create(widget()),
    ]
    for act in acts:
        with pytest.raises(NotOurs):
            act()
    with lab.world() as world:
        assert [(thing.owner, thing.spec) for thing in world.things()] == [("them", {"size": 5})]


# ── the operator ─────────────────────────────────────────────────────────────────────────────────


def test_the_operator_can_change_remove_and_duplicate(lab: Lab) -> None:
    lab.create(widget(1, colour="red"))
    with lab.world() as world:
        world.change(widget(1).ref, colour="blue")
        twin = world.duplicate(widget(1).ref)
    first, second = lab.seen()
    assert first.spec == second.spec == {"size": 1, "colour": "blue"}
    assert first.mark == second.mark == mark_for("me", widget(1, colour="red"))
    assert (second.uid, first.since < second.since) == (twin, True)
    with lab.world() as world:
        world.remove(twin)
        with pytest.raises(LookupError):
            world.damage(twin)
    assert [thing.uid for thing in lab.seen()] == [first.uid]


def test_the_weather_of_the_file_wins_over_the_settings(tmp_path: Path) -> None:
    lab = lab_with(tmp_path, unauthorized=True)
    with lab.world() as world:
        world.set_weather(unauthorized=False, facts={"cores": 4})
    assert lab.read(DRIVER.facts) == {"cores": 4}
    with lab.world() as world:
        world.clear_weather()
        with pytest.raises(TypeError, match="sunshine"):
            world.set_weather(sunshine=True)
    with pytest.raises(Denied):
        lab.read(DRIVER.facts)


def test_equal_worlds_have_equal_digests_whatever_their_uids_and_times(tmp_path: Path) -> None:
    one, two = lab_with(tmp_path / "one"), lab_with(tmp_path / "two")
    assert world_digest(one.path) == world_digest(two.path)
    needy = widget(2, needs=frozenset({widget(1).ref}))
    one.create(widget(1))
    one.create(needy)
    two.create(widget(3))
    two.create(widget(1))
    two.create(needy)
    assert world_digest(one.path) != world_digest(two.path)
    two.delete(next(thing for thing in two.seen() if thing.spec["size"] == 3))
    assert world_digest(one.path) == world_digest(two.path)
    with two.world() as world:
        world.damage(widget(1).ref)
    assert world_digest(one.path) != world_digest(two.path)


def test_uids_are_never_given_twice(lab: Lab) -> None:
    lab.create(widget(1))
    (first,) = lab.seen()
    lab.delete(first)
    lab.create(widget(1))
    assert lab.seen()[0].uid != first.uid


def test_the_driver_serves_every_kind() -> None:
    hand = DRIVER.hand("anything")
    assert isinstance(hand, GenericHand)
    assert hand.kind == "anything"


def test_a_page_of_500_is_cheap(tmp_path: Path) -> None:
    lab = Lab(str(tmp_path), Target("lab", "simulated", "lab", timeout=30.0))
    with closing(Writer(lab.target, lab)) as client:
        for number in range(500):
            HAND.apply(client, creation(widget(number)), mark_for("me", widget(number)))
    spent = []
    for _ in range(5):
        started = time.process_time()
        assert len(lab.seen()) == 500
        spent.append(time.process_time() - started)
    assert min(spent) < 0.03, "aim: 3 ms beyond opening; ten times that is a defect"
