"""Who sees to the copies of a rule: we, in the lake, or one Rucio. Pure; between selection and expansion.

Files that were written for the lake run on Rucio with other providers: where the selected elements lie
decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from reconciler.kind import World
from reconciler.model import Condition, Declared, Ref, Word
from reconciler.placement.copies import Element, barred_for, lake, server_of
from reconciler.placement.expression import parse

LAKE = ""


@dataclass(frozen=True, slots=True)
class Ground:
    """Where one rule is to be. `servers` are those of its elements, sorted; LAKE is the lake.

    `named` is the target that the file itself names: then its expression goes to Rucio as it is.
    """

    selected: frozenset[str]
    servers: tuple[str, ...]
    named: str = ""

    @property
    def server(self) -> str:
        """The one Rucio; LAKE where it is none or not one."""
        return self.servers[0] if len(self.servers) == 1 else LAKE


@dataclass(frozen=True, slots=True)
class Rucio:
    """One server, as what is declared has it: element → RSE, and the targets that lead there."""

    names: Mapping[str, str]
    targets: frozenset[str]


def rucio_of(server: str, world: World) -> Rucio:
    """What is declared of one server."""
    return world.once("placement.ground.rucio", _servers).get(server) or Rucio({}, frozenset())


def rses_for(server: str, group: str, world: World) -> list[str]:
    """The RSEs of one server, sorted, on which declared elements let the copies of a group lie."""
    known = world.once("placement.ground.rses", lambda _world: dict[tuple[str, str], list[str]]())
    if (server, group) not in known:
        here = (one for one in lake(world).elements.values() if one.server == server)
        known[server, group] = sorted({one.rse for one in here if not barred_for(one, group)})
    return known[server, group]


def _servers(world: World) -> dict[str, Rucio]:
    found: dict[str, list[Element]] = {}
    for element in lake(world).elements.values():
        if element.server:
            found.setdefault(element.server, []).append(element)
    return {
        server: Rucio({one.name: one.rse for one in elements}, frozenset(one.target for one in elements))
        for server, elements in found.items()
    }


def ground_of(rule: Declared, world: World) -> Ground:
    """Where a rule with an expression is to be. Raises ExpressionError when the expression can't be read."""
    elements = lake(world).elements
    selected, named = lake(world).select(rule.spec["expression"]), rule.spec.get("target") or ""
    if named:
        server = server_of(named, world)
        here = frozenset(name for name in selected if elements[name].server == server)
        return Ground(here, (server,), named)
    servers = {elements[name].server for name in selected if elements[name].place is not None}
    return Ground(selected, tuple(sorted(servers)))


@dataclass(frozen=True, slots=True)
class Allowed:
    """The selected elements on which copies of a group may lie, sorted by name, and those on which none may.

    Barred are those whose provider goes or does not serve the group. `rses` are what the allowed ones are at
    Rucio.
    """

    elements: tuple[Element, ...]
    barred: tuple[Element, ...]
    rses: frozenset[Ref]


def allowed_on(ground: Ground, group: str, world: World) -> Allowed:
    """Which they are. Worked out once for all rules that select the same."""
    known = world.once("placement.ground.allowed", lambda _world: dict[object, Allowed]())
    key = (ground.selected, group)
    if key not in known:
        known[key] = _allowed(ground.selected, group, world)
    return known[key]


def _allowed(selected: frozenset[str], group: str, world: World) -> Allowed:
    found = [lake(world).elements[name] for name in sorted(selected)]
    allowed = tuple(one for one in found if not barred_for(one, group))
    barred = tuple(one for one in found if one.place is not None and barred_for(one, group))
    return Allowed(allowed, barred, frozenset(rse_ref(one.name) for one in allowed))


def reach_of(rule: Declared, ground: Ground, world: World) -> Ground:
    """What an expression may select at its server, as far as we can know.

    That is what it selects by our files, but where the file names a target, anything declared there: elements
    may have attributes at Rucio that no file has. Names of elements alone select what they say.
    """
    if not ground.named:
        return ground
    here = [one for one in lake(world).elements.values() if one.server == ground.server]
    names = {name for one in here for name in (one.name, one.rse)}
    if all(not test.sign and test.name in names for test in parse(rule.spec["expression"]).tests):
        return ground
    return replace(ground, selected=frozenset(one.name for one in here))


def against_target(rule: Declared, world: World) -> Iterator[Condition]:
    """Why a rule can't be at the target that its file names."""
    named = rule.spec["target"]
    place = world.targets.get(named)
    if place is None:
        message = f"target {named} is not declared by any Provider"
        yield Condition(rule.ref, Word.WAITING, "NoTarget", message, "author")
    elif not world.serves(named, "rule"):
        message = (
            f"target {named} is of type {place.driver}, which takes no rules: name a target of type rucio or "
            "take `target` out: then the elements that `expression` selects say where copies lie"
        )
        yield Condition(rule.ref, Word.FAILED, "NotRucio", message, "author")
    elif not place.serves(rule.ref.group):
        message = f"target {named} does not serve group {rule.ref.group}"
        hint = f"name one that does, or ask for it (`groups` in the file of Provider/{place.provider})"
        yield Condition(rule.ref, Word.WAITING, "NoPlace", f"{message}; {hint}", "author")
    elif place.status == "removed":
        message = f"target {named} is to be removed: name another one, or take `target` out"
        yield Condition(rule.ref, Word.WAITING, "NoPlace", message, "author")


def divided(rule: Declared, ground: Ground, world: World) -> Condition:
    """One rule is one thing: its elements can't be of two servers, nor of a server and the lake."""
    elements = lake(world).elements
    places = []
    for server in ground.servers:
        names = [name for name in sorted(ground.selected) if elements[name].server == server]
        shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        places.append(f"{server or 'the lake'}: {shown}")
    message = (
        f"'{rule.spec['expression']}' selects elements that nobody sees to together ({'; '.join(places)})"
    )
    hint = "select those of one place, and write another rule for the other"
    return Condition(rule.ref, Word.FAILED, "ElementsDivided", f"{message}; {hint}", "author")


def rse_ref(element: str) -> Ref:
    """The RSE that a declared element is at Rucio."""
    return Ref("StorageElement", "", element, "main.rse")
