"""The cases of the simulated driver: every primitive kind there is, and one that there is not.

A simulated world takes any spec, so a kind served by another driver is tried with that driver's
resources.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from reconciler.drivers.simulated import DRIVER
from reconciler.drivers.simulated.client import world_path
from reconciler.drivers.simulated.invent import place_of
from reconciler.drivers.simulated.world import World, open_world
from reconciler.model import Observed, Ref, Resource, Target
from tests.contract.case import Arena, Case, made

SETTINGS = {"pageSize": 100, "buildSeconds": "30s"}


def prepare(_folder: Path) -> Target:
    return Target("lab", "simulated", "lab", SETTINGS, timeout=5.0)


def widget(target: Target, number: int) -> Resource:
    spec = {"size": number, "name": f"widget {number}", "ports": [22, 443], "options": {"colour": "red"}}
    return made(Ref("Cabinet", "cms", "main", f"drawer.{number}.widget"), "widget", target, spec)


def world(arena: Arena) -> World:
    return open_world(world_path(arena.target, arena))


def put_foreign(arena: Arena, resource: Resource) -> str:
    with world(arena) as here:
        here.insert(resource.kind, place_of(resource), {"by": "hand"})
    return place_of(resource)


def spoil(arena: Arena, thing: Observed) -> None:
    with world(arena) as here:
        here.damage(thing.uid)


def wait_until_built(arena: Arena) -> None:
    with world(arena) as here:
        here.pass_time(60)


WIDGET = Case(
    driver=DRIVER,
    primitive="widget",
    prepare=prepare,
    resource=widget,
    immutable={"size": -1},
    variants={"name": "other", "ports": [], "options": {"colour": "blue", "lid": None}},
    spacious={"name": "ünï ☃ 𝄞 \\ \" ' \n\t\u202e" + "long " * 20000, "options": {"ключ": "値"}},
    foreign=put_foreign,
    damage=spoil,
    settle=wait_until_built,
    many=350,
)


def simulated(others: Sequence[Case]) -> tuple[Case, ...]:
    """The same kinds in a simulated world, and the widget."""
    cases = {case.primitive: case for case in others}
    return (WIDGET, *(_simulated(cases[kind]) for kind in sorted(cases)))


def _simulated(case: Case) -> Case:
    return replace(
        WIDGET,
        primitive=case.primitive,
        resource=case.resource,
        variants=case.variants,
        together=case.together,
        immutable=case.immutable,
        fixed=case.fixed,
        spacious=case.spacious,
    )
