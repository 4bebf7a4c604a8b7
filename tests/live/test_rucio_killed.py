"""SIGKILL of `apply` at a real Rucio, a server that fails in mid-word, and a password that is wrong.

Killed at the first write, the last one and ten in between (seeded: KILL_SEED) of each sort: requests to Rucio
when all is new and when much changes, and what is written on this machine (uploads, records). Half of the
requests are answered, and nobody hears it. Then again: the same rules and files as of a run that nobody
killed, nothing twice, and silence. With a sick server: delay, never damage; what is not read is not deleted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

from reconciler.model import Plan
from tests.live.rucio_bed.bed import Bed, opened
from tests.live.rucio_bed.database import POSTGRESQL
from tests.live.rucio_ground import DAEMONS
from tests.live.rucio_lab import AT_RUCIO, HERE, Death
from tests.live.rucio_proxy import FAULTS, LOST, Proxy, proxy
from tests.live.rucio_worlds import World

pytestmark = [pytest.mark.live, pytest.mark.machines, pytest.mark.network]

SEED = int(os.environ.get("KILL_SEED", "20"))
POINTS = 10
ACCOUNT = "root"  # only root may make accounts
REFERENCE = 0


@dataclass
class Universe:
    """One Rucio with many worlds, and how one of them is that nobody disturbed: as new, and changed."""

    bed: Bed
    root: Path
    worlds: list[World] = field(default_factory=list)
    new: dict[str, Any] = field(default_factory=dict)
    changed: dict[str, Any] = field(default_factory=dict)
    writes_new: dict[str, int] = field(default_factory=dict)
    writes_changed: dict[str, int] = field(default_factory=dict)

    def world(self, url: str = "") -> World:
        number = len(self.worlds)
        self.worlds.append(World(self.bed, self.root / str(number), ACCOUNT, number, url))
        return self.worlds[-1]

    def look_at_one(self) -> None:
        """What comes of a world when all goes well."""
        world = self.world()
        ran = world.applied()
        assert (ran.code, ran.left) == (0, ()), ran
        self.writes_new = dict(ran.writes)
        self.settle([world])
        self.new = world.picture()
        world.change()
        ran = world.applied()
        self.writes_changed = dict(ran.writes)
        self.settle([world])
        self.changed = world.picture()

    def settle(self, worlds: Sequence[World]) -> None:
        """Rucio works, we look, and Rucio works, until all of these have nothing to do."""
        busy = list(worlds)
        for _ in range(5):
            self.bed.pump(1, DAEMONS)
            busy = [world for world in busy if world.applied().writes[AT_RUCIO]]
            if not busy:
                self.bed.pump(1, DAEMONS)
                return
        raise AssertionError(f"they find no rest: {[world.applied() for world in busy]}")


@pytest.fixture(scope="module")
def universe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Universe]:
    pytest.importorskip("rucio.client", reason="no Rucio here: install `rucio-clients`")
    with opened(POSTGRESQL, elements=False) as bed:
        bed.client().add_account_attribute(ACCOUNT, "admin", "True")
        universe = Universe(bed, tmp_path_factory.mktemp("worlds"))
        universe.look_at_one()
        yield universe


def points(last: int) -> list[int]:
    """The first, the last, and some in between."""
    inside = range(2, last)
    return sorted({1, *Random(SEED).sample(inside, min(POINTS, len(inside))), last})


def silent(world: World) -> None:
    """Another run finds nothing to do, and changes nothing."""
    before = world.picture()
    ran = world.applied()
    assert (ran.code, ran.left, ran.writes[AT_RUCIO], dict(ran.held)) == (0, (), 0, {}), ran
    assert world.picture() == before


# --- killed ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sort", [AT_RUCIO, HERE])
def test_killed_while_all_is_new(universe: Universe, sort: str) -> None:
    killed = {}
    for place, point in enumerate(points(universe.writes_new[sort])):
        after = sort == AT_RUCIO and place % 2 == 1
        killed[point] = world = universe.world()
        ran = world.applied(death=Death(sort, point, after=after))
        assert sort == HERE or ran.code is None, point
        if place % 3 == 2:
            world.forget()
        again = world.applied()
        assert (again.code, again.left) == (0, ()), (point, again)
    universe.settle(list(killed.values()))
    for point, world in killed.items():
        assert world.picture() == universe.new, point
    silent(killed[1])


def test_killed_while_much_changes(universe: Universe) -> None:
    worlds = {}
    for point in points(universe.writes_changed[AT_RUCIO]):
        worlds[point] = world = universe.world()
        assert world.applied().code == 0
    universe.settle(list(worlds.values()))
    for place, (point, world) in enumerate(worlds.items()):
        world.change()
        ran = world.applied(death=Death(AT_RUCIO, point, after=place % 2 == 1))
        assert ran.code is None, point
        if place % 3 == 2:
            world.forget()
        world.applied()
    universe.settle(list(worlds.values()))
    for point, world in worlds.items():
        assert world.picture() == universe.changed, point
    silent(worlds[1])


# --- a sick server -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sick(universe: Universe) -> Iterator[tuple[World, Proxy]]:
    """A world that has all it wants, behind a proxy, of which one rule is to go; a person has agreed."""
    with proxy(universe.bed.url) as between:
        world = universe.world(between.url)
        assert world.applied().code == 0
        universe.settle([world])
        world.rule("two", copies=1, expression=f"world={world.tag}&half=a", lastCopy="delete")
        world.commit()
        universe.settle([world])
        (world.clone / "data/cms/two.yaml").unlink()
        world.commit()
        yield world, between


def everything(plan: Plan) -> tuple[str, ...]:
    return (plan.digest,) if plan.changes else ()


def test_what_is_not_read_whole_is_not_touched(sick: tuple[World, Proxy]) -> None:
    world, between = sick
    before = world.rows(), world.picture()
    for fault in FAULTS:
        between.fault = lambda method, path, fault=fault: fault if path.startswith("/rules") else ""  # type: ignore[misc]
        ran = world.applied(approve=everything)
        assert (world.rows(), world.picture()) == before, fault
        assert ran.blind == ("lake",), (fault, ran)
        assert ran.code != 0, fault
        assert between.done.pop() == fault
    between.clear()


def test_a_wrong_password_is_blind(sick: tuple[World, Proxy]) -> None:
    world, _ = sick
    before = world.rows(), world.picture()
    for token in world.home.rglob("*.token"):
        token.unlink()
    right, world.password = world.password, "wrong"
    try:
        ran = world.applied(approve=everything)
    finally:
        world.password = right
    assert (world.rows(), world.picture()) == before
    assert (ran.blind, ran.code != 0, ran.writes[AT_RUCIO]) == (("lake",), True, 0), ran


def test_when_it_is_well_again_what_was_agreed_to_goes(sick: tuple[World, Proxy]) -> None:
    world, _ = sick
    names = {rule["name"] for rule in world.standing()}
    world.applied(approve=everything)
    world.bed.pump(2, DAEMONS)
    assert (names, {rule["name"] for rule in world.standing()}) == ({"one", "two"}, {"one"})
    assert not [path for path in world.picture()["files"] if "/two/" in path]


@pytest.mark.parametrize("seed", range(2))
def test_any_answer_may_fail(universe: Universe, seed: int) -> None:
    """A quarter of all requests fail somehow; then the server is well, and all is as it always is."""
    random = Random(SEED + seed)
    with proxy(universe.bed.url) as between:
        world = universe.world(between.url)
        world.applied()
        between.fault = lambda _method, _path: random.choice(FAULTS) if random.random() < 0.25 else ""
        for _ in range(3):
            world.applied()
        between.clear()
        universe.settle([world])
        assert world.picture() == universe.new
        world.change()
        between.fault = lambda method, _path: (
            random.choice((LOST, *FAULTS)) if random.random() < (0.1 if method == "GET" else 0.5) else ""
        )
        for _ in range(3):
            world.applied()
            universe.bed.pump(1, DAEMONS)
        assert len(between.done) > 3
        between.clear()
        universe.settle([world])
        assert world.picture() == universe.changed
        silent(world)
