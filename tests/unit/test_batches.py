"""Execution with a hand that makes many things in one call: what becomes of each, retries, time-outs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest

from reconciler.errors import BackendError, Rejected, Transient, Untried
from reconciler.kind import BatchHand, Driver, Primitive
from reconciler.late import after
from reconciler.model import Action, Change, Mark, Observed, Outcome, State, Target
from reconciler.stages.execute import execute
from reconciler.stages.observe import Observation
from reconciler.stages.orders import Orders
from tests.unit.test_execute import Hand, Site, _look, _world, change, thing, wish

Answers = Callable[[int, Sequence[str]], Sequence[BackendError | None]]  # (number of the call, nodes)


def fine(_call: int, nodes: Sequence[str]) -> Sequence[BackendError | None]:
    return [None] * len(nodes)


@dataclass
class Many(Hand):
    """Writes down every call. `answers` says what becomes of each thing of a call."""

    answers: Answers = fine
    calls: list[list[str]] = field(default_factory=list)
    at_work: int = 0
    most: int = 0
    lock: Any = field(default_factory=threading.Lock)

    def batch(self, change: Change) -> str:
        return str(change.want.spec.get("batch", "")) if change.want else ""

    def apply_together(
        self, client: Site, changes: Sequence[tuple[Change, Mark]]
    ) -> Sequence[BackendError | None]:
        nodes = [entry.ref.part.split(".")[0] for entry, _ in changes]
        with self.lock:
            self.calls.append(nodes)
            number, self.at_work = len(self.calls), self.at_work + 1
            self.most = max(self.most, self.at_work)
        try:
            told = self.answers(number, nodes)
        finally:
            with self.lock:
                self.at_work -= 1
        for (entry, mark), error in zip(changes, told, strict=False):
            if error is None:
                _put(client, entry, mark)
        return told


class Machines(Hand):
    """Machines that come up after as many looks as their names say."""

    def apply(self, client: Site, change: Change, mark: Mark) -> None:
        super().apply(client, change, mark)
        uid = next(uid for uid, entry in client.things.items() if entry.ref == change.ref)
        client.ticks[uid] = int(change.ref.part.removesuffix(".thing").split("-")[1])


def machine(looks: int) -> Change:
    """A machine that comes up after so many looks."""
    want = replace(wish(f"m-{looks}"), kind="machine")
    return replace(change(Action.CREATE, want), kind="machine")


def _put(client: Site, entry: Change, mark: Mark) -> None:
    assert entry.want is not None
    with client.lock:
        uid = entry.have.uid if entry.have else f"new-{len(client.things)}"
        client.writes.append(f"together {entry.ref.part}")
        client.ticks[uid] = client.build
        client.things[uid] = Observed(
            entry.ref, entry.kind, client.name, entry.want.spec, uid, mark, State.PROGRESSING
        )


def carry_out(
    changes: list[Change],
    hand: Hand,
    site: Site,
    *,
    concurrency: int = 4,
    timeout: float = 5.0,
    write_seconds: float = 0.0,
) -> dict[str, Outcome]:
    """Carry out these changes; what became of each node."""
    driver = Driver(
        "paper",
        {},
        lambda *_: site,
        lambda *_: site,
        {"thing": hand, "machine": Machines()},
        write_seconds=write_seconds,
    )
    orders = Orders(
        targets={"here": Target("here", "paper", "here", concurrency=concurrency, timeout=timeout)},
        driver=lambda _name: driver,
        kinds={},
        primitives={kind: Primitive(kind) for kind in ("thing", "machine")},
        owner="lab",
        places=None,  # type: ignore[arg-type]  # a driver in memory has no folder
        look=partial(_look, {"here": site}),
        world=_world,
        attempt=lambda _changes: None,
        check=lambda: None,
        stop=threading.Event(),
        progress=lambda _event, _facts: None,
    )
    seen = Observation({"here": tuple(site.things.values())}, {})
    done = execute(changes, seen, orders, 10.0)[0]
    return {outcome.change.ref.part.split(".")[0]: outcome for outcome in done}


def creates(count: int) -> list[Change]:
    return [change(Action.CREATE, wish(f"n{number}")) for number in range(count)]


def results(done: dict[str, Outcome]) -> dict[str, tuple[str, str]]:
    return {node: (str(outcome.result), outcome.reason) for node, outcome in sorted(done.items())}


def test_all_that_is_ready_goes_in_one_call() -> None:
    hand, site = Many(), Site()
    assert isinstance(hand, BatchHand)
    assert not isinstance(Hand(), BatchHand)
    done = carry_out(creates(5), hand, site)
    assert [sorted(nodes) for nodes in hand.calls] == [["n0", "n1", "n2", "n3", "n4"]]
    assert {outcome.result for outcome in done.values()} == {"Applied"}
    assert len(site.things) == 5


def test_one_alone_and_what_goes_need_no_batch() -> None:
    hand, site = Many(), Site()
    for number in range(3):
        site.put(thing(wish(f"old{number}"), f"old{number}"))
    deletes = [change(Action.DELETE, None, entry) for entry in site.things.values()]
    done = carry_out([*deletes, *creates(1)], hand, site)
    assert hand.calls == []
    assert {outcome.result for outcome in done.values()} == {"Applied"}
    assert min(site.writes) == "apply n0.thing"
    assert len(site.writes) == 4


def test_what_waits_for_others_comes_in_a_later_call_with_its_late_values_told() -> None:
    hand, site = Many(), Site()
    first = [wish(f"n{number}") for number in range(2)]
    then = [wish(f"u{number}", (first[0].ref,), peer=after(first[0].ref, "id")) for number in range(2)]
    carry_out([change(Action.CREATE, one) for one in (*then, *first)], hand, site)
    assert [sorted(nodes) for nodes in hand.calls] == [["n0", "n1"], ["u0", "u1"]]
    uid = next(uid for uid, entry in site.things.items() if entry.ref == first[0].ref)
    assert [entry.spec for entry in site.things.values() if entry.ref.part[0] == "u"] == [{"peer": uid}] * 2


def test_one_that_fails_fails_alone() -> None:
    def answers(_call: int, nodes: Sequence[str]) -> Sequence[BackendError | None]:
        return [Rejected("no", hint="ask") if node == "n2" else None for node in nodes]

    hand, site = Many(answers=answers), Site()
    done = carry_out(creates(5), hand, site)
    assert results(done).pop("n2") == ("Failed", "Rejected")
    assert done["n2"].message == "no (ask)"
    assert [node for node, outcome in sorted(done.items()) if outcome.result == "Applied"] == [
        "n0", "n1", "n3", "n4",
    ]  # fmt: skip
    assert len(hand.calls) == 1


def test_only_what_was_transient_is_tried_again() -> None:
    def answers(call: int, nodes: Sequence[str]) -> Sequence[BackendError | None]:
        return [Transient("busy") if node == "n1" and call == 1 else None for node in nodes]

    hand, site = Many(answers=answers), Site()
    done = carry_out(creates(5), hand, site)
    assert {outcome.result for outcome in done.values()} == {"Applied"}
    assert len(hand.calls) == 1
    assert [entry for entry in site.writes if entry.startswith("apply")] == ["apply n1.thing"]


@pytest.mark.parametrize("raised", [True, False])
def test_a_whole_call_that_was_transient_is_tried_again_whole(raised: bool) -> None:
    """However many things are in it, it is one call: no reason to give the target up."""

    def answers(call: int, nodes: Sequence[str]) -> Sequence[BackendError | None]:
        if call == 1 and raised:
            raise Transient("busy")
        return [Transient("busy") if call == 1 else None] * len(nodes)

    site = Site()
    done = carry_out(creates(8), Many(answers=answers), site)
    assert {outcome.result for outcome in done.values()} == {"Applied"}, results(done)
    assert len(site.things) == 8


def test_a_call_that_takes_too_long_is_given_up_for_all_that_are_in_it() -> None:
    ended = threading.Event()

    def answers(_call: int, nodes: Sequence[str]) -> Sequence[BackendError | None]:
        ended.wait(20)
        return [Transient("too late")] * len(nodes)

    hand, began = Many(answers=answers), time.monotonic()
    done = carry_out(creates(4), hand, Site(), timeout=0.3)
    assert time.monotonic() - began < 8
    ended.set()
    assert set(results(done).values()) == {("Failed", "TimedOut")}
    assert len(hand.calls) == 1


@pytest.mark.parametrize("concurrency", [1, 4])
def test_with_one_thread_calls_never_overlap(concurrency: int) -> None:
    def answers(_call: int, nodes: Sequence[str]) -> Sequence[BackendError | None]:
        time.sleep(0.1)
        return [None] * len(nodes)

    hand, site = Many(answers=answers), Site()
    first = [wish(f"n{number}") for number in range(3)]
    then = [wish(f"u{n}", (first[n].ref,), peer=after(first[n].ref, "id")) for n in range(3)]
    changes = [change(Action.CREATE, one) for one in (*first, *then)]
    done = carry_out(changes, hand, site, concurrency=concurrency)
    assert {outcome.result for outcome in done.values()} == {"Applied"}
    assert hand.most == 1
    assert len(hand.calls) == 2


def line() -> list[Change]:
    """a, then b after it, then c after both; and x."""
    first, other = wish("a"), wish("x")
    second = wish("b", (first.ref,))
    third = wish("c", (first.ref, second.ref))
    return [change(Action.CREATE, one) for one in (third, second, other, first)]


def test_what_needs_nothing_but_these_comes_along_after_them() -> None:
    hand, site = Many(), Site()
    done = carry_out(line(), hand, site)
    assert {outcome.result for outcome in done.values()} == {"Applied"}
    assert hand.calls == [["x", "a", "b", "c"]]


def test_who_came_along_in_vain_waits_until_its_needs_are_there() -> None:
    def answers(call: int, nodes: Sequence[str]) -> Sequence[BackendError | None]:
        failed = {"a": Transient("busy"), "b": Untried("a"), "c": Untried("b")} if call == 1 else {}
        return [failed.get(node) for node in nodes]

    hand, site = Many(answers=answers), Site()
    done = carry_out(line(), hand, site)
    assert {outcome.result for outcome in done.values()} == {"Applied"}, results(done)
    assert [entry.split()[1] for entry in site.writes] == ["x.thing", "a.thing", "b.thing", "c.thing"]


def test_a_whole_call_that_was_transient_goes_on_in_the_same_order() -> None:
    def answers(call: int, nodes: Sequence[str]) -> Sequence[BackendError | None]:
        if call == 1:
            raise Transient("busy")
        return [None] * len(nodes)

    site = Site()
    done = carry_out(line(), Many(answers=answers), site)
    assert {outcome.result for outcome in done.values()} == {"Applied"}, results(done)
    order = [entry.split()[1].partition(".")[0] for entry in site.writes]
    assert order.index("a") < order.index("b") < order.index("c")


def test_what_comes_after_a_failure_is_blocked_and_says_by_what() -> None:
    def answers(_call: int, nodes: Sequence[str]) -> Sequence[BackendError | None]:
        return [{"a": Rejected("no"), "b": Untried("a"), "c": Untried("b")}.get(node) for node in nodes]

    done = carry_out(line(), Many(answers=answers), Site())
    assert results(done) == {
        "a": ("Failed", "Rejected"),
        "b": ("Waiting", "Dependency"),
        "c": ("Waiting", "Dependency"),
        "x": ("Applied", "Test"),
    }
    assert done["b"].message == "waits for Deployment/cms/web/a.thing"


def test_a_value_that_this_call_may_change_is_waited_for() -> None:
    """What an old front said is not what the new one says."""
    hand, site = Many(), Site()
    old = thing(wish("a"), "old")
    site.put(old)
    front = wish("a", colour="red")
    user = wish("u", (front.ref,), peer=after(front.ref, "id"))
    carry_out([change(Action.UPDATE, front, old), *creates(1), change(Action.CREATE, user)], hand, site)
    assert [sorted(nodes) for nodes in hand.calls] == [["a", "n0"]]
    assert site.writes[-1] == "apply u.thing"


def test_batches_are_written_at_the_same_time() -> None:
    both = threading.Barrier(2, timeout=10)

    def answers(_call: int, nodes: Sequence[str]) -> Sequence[BackendError | None]:
        both.wait()
        return [None] * len(nodes)

    hand, site = Many(answers=answers), Site()
    wishes = [wish(f"{batch}{number}", batch=batch) for batch in ("p", "q") for number in range(2)]
    done = carry_out([change(Action.CREATE, one) for one in wishes], hand, site)
    assert {outcome.result for outcome in done.values()} == {"Applied"}
    assert sorted(sorted(nodes) for nodes in hand.calls) == [["p0", "p1"], ["q0", "q1"]]


class Long(Hand):
    """One write that goes on until another thing was written, too."""

    def __init__(self) -> None:
        self.other = threading.Event()
        self.in_time = False

    def apply(self, client: Site, change: Change, mark: Mark) -> None:
        if change.ref.part == "long.thing":
            self.in_time = self.other.wait(8)
        super().apply(client, change, mark)
        if change.ref.part == "then.thing":
            self.other.set()


def test_what_takes_long_holds_nothing_else_up_at_its_target() -> None:
    hand, site = Long(), Site()
    first = wish("first")
    wishes = (wish("long"), first, wish("then", (first.ref,)))
    done = carry_out([change(Action.CREATE, one) for one in wishes], hand, site, write_seconds=60)
    assert {outcome.result for outcome in done.values()} == {"Applied"}
    assert hand.in_time


@pytest.mark.parametrize("count", [0, 2, 6])
def test_a_hand_that_does_not_answer_for_each_is_a_defect_and_ends_no_run(count: int) -> None:
    hand = Many(answers=lambda _call, _nodes: [None] * count)
    done = carry_out(creates(4), hand, Site())
    assert set(results(done).values()) == {("Failed", "Defect")}


def roles_on(*machines: Change, batches: tuple[str, ...] = ("", "")) -> list[Change]:
    """The machines, and a role on each."""
    names = [entry.ref.part.split(".")[0] for entry in machines]
    roles = [
        wish(f"on-{name}", (entry.ref,), batch=batch)
        for name, entry, batch in zip(names, machines, batches, strict=True)
    ]
    return [*machines, *(change(Action.CREATE, role) for role in roles)]


def written(site: Site) -> list[str]:
    """The writes of roles, in order."""
    return [line.removesuffix(".thing") for line in site.writes if " on-" in line]


def test_roles_wait_a_moment_for_machines_that_come_up_together() -> None:
    site = Site()
    carry_out(roles_on(machine(1), machine(2)), Many(), site)
    assert written(site) == ["together on-m-1", "together on-m-2"]


def test_they_wait_a_moment_only_and_only_for_their_own_batch() -> None:
    for machines, batches in [((machine(1), machine(6)), ("", "")), ((machine(1), machine(2)), ("a", "b"))]:
        site = Site()
        done = carry_out(roles_on(*machines, batches=batches), Many(), site)
        assert {outcome.result for outcome in done.values()} == {"Applied"}
        assert [line.split()[0] for line in written(site)] == ["apply", "apply"]


def test_what_comes_up_is_seen_while_something_else_takes_long() -> None:
    hand, site = Long(), Site()
    machines = [machine(1), machine(3)]
    late = wish("then", (machines[1].ref,))
    changes = [change(Action.CREATE, one) for one in (wish("long", (machines[0].ref,)), late)]
    carry_out([*machines, *changes], hand, site, write_seconds=60)
    assert hand.in_time
