"""A rule on data at Rucio: one replication rule, and an upload where data come from a folder. Pure.

What can be known before anything is written is said as a Condition: too few elements, another rule that is
the same to Rucio. The text of an expression that stands is kept while it means the same: it can't be changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from reconciler.kind import World
from reconciler.model import Condition, Declared, Json, Observed, Resource, State, Word
from reconciler.placement.claims import claim_of, rivals_of
from reconciler.placement.copies import Element, barred_for
from reconciler.placement.expression import renamed
from reconciler.placement.ground import Allowed, Ground, allowed_on, reach_of, rses_for, rucio_of
from reconciler.placement.neighbours import not_yet_there, short_of_quota
from reconciler.placement.primitives import MAIN, RULE
from reconciler.placement.standing_rules import begun_of, is_as, is_past, same_meaning, standing
from reconciler.placement.tenancy import not_allowed, reached_by
from reconciler.placement.uploads import upload_for, upload_ref
from reconciler.placement.wishes import rules_on

SHOWN = 8


@dataclass(frozen=True, slots=True)
class Scenery:
    """What is looked at for one rule: where it is to be, what it may use, what stands, and since when."""

    ground: Ground
    allowed: Allowed
    standing: Sequence[Observed]
    begun: str

    def over(self, declared: Declared, world: World) -> bool:
        """Has the lifetime passed that the file gives?"""
        lifetime: str | None = declared.spec.get("lifetime")
        return lifetime is not None and is_past(self.begun, lifetime, world.now)


def scenery_of(declared: Declared, ground: Ground, world: World) -> Scenery:
    """Collect it. `declared` has an expression."""
    rules = standing(declared, ground.server, world)
    return Scenery(ground, allowed_on(ground, declared.ref.group, world), rules, begun_of(rules))


def rules_for(declared: Declared, ground: Ground, world: World) -> Iterator[Resource | Condition]:
    """The one rule that is wanted now, after its upload; Conditions where it can't be had."""
    refused = not_allowed(declared, reached_by(declared, ground, world), world)
    if refused is not None:
        yield refused
        return
    scenery = scenery_of(declared, ground, world)
    spec = spec_of(declared, scenery, world)
    target = _target_of(scenery, world)
    fitting = [rule for rule in scenery.standing if is_as(rule, spec)]
    problems = [*_same_rule(declared, ground, world), *_too_few(declared, spec, scenery, world)]
    over = scenery.over(declared, world)
    if over:
        yield _over(declared)
    elif problems:
        yield from problems
    if not target or (problems and not fitting):
        return
    uploads = () if over else tuple(upload_for(declared, target, scenery.allowed.elements, world))
    yield from uploads
    if not any(isinstance(entry, Condition) for entry in uploads):
        yield _resource(declared, spec, target, scenery, world)


def spec_of(declared: Declared, scenery: Scenery, world: World) -> dict[str, Json]:
    """The rule that is wanted now, in the words of its primitive kind."""
    said = declared.spec
    spec: dict[str, Json] = {
        "dataset": said["dataset"],
        "copies": _copies(declared, scenery, world),
        "expression": "",
        "grouping": said["grouping"],
        "activity": said["activity"],
        "priority": said["priority"],
        "purge": said["purge"],
        "sources": _for_rucio(said.get("sources") or "", scenery.ground, world),
        "lastCopy": said["lastCopy"],
        "repairs": said["repairs"],
    }
    account = _account(declared, scenery, world)
    if account:
        spec["account"] = account
    spec["expression"] = _expression(declared, spec, scenery, world)
    return spec


def _copies(declared: Declared, scenery: Scenery, world: World) -> int:
    """One while the lifetime is over, and one at first where the file says `staged`."""
    copies: int = declared.spec["copies"]
    if scenery.over(declared, world):
        return 1
    if not declared.spec["staged"] or copies == 1:
        return copies
    there = [rule for rule in scenery.standing if rule.mark is not None and rule.state is not State.DELETING]
    begun = any(rule.state is State.READY or rule.spec["copies"] > 1 for rule in there)
    return copies if begun or _has_other(declared, scenery.ground, world) else 1


def _has_other(declared: Declared, ground: Ground, world: World) -> bool:
    """Has another rule of ours brought a whole copy of the data set to this server?"""
    others = (rule for rule in rules_on(declared.spec["dataset"], world) if rule.ref != declared.ref)
    return any(
        rule.state is State.READY for other in others for rule in standing(other, ground.server, world)
    )


def _account(declared: Declared, scenery: Scenery, world: World) -> str:
    """Whose rule it is; empty: the target's own account, which is said only where another one was before."""
    place = world.targets.get(_target_of(scenery, world))
    own = str(place.settings.get("account", "")) if place else ""
    said: str = declared.spec.get("account") or own
    ours = [rule for rule in scenery.standing if rule.mark is not None and "account" in rule.spec]
    return said if said != own or ours else ""


def _for_rucio(expression: str, ground: Ground, world: World) -> str:
    """An expression in Rucio's names for the declared elements of that server."""
    return renamed(expression, rucio_of(ground.server, world).names) if expression else ""


def expression_of(declared: Declared, ground: Ground, world: World) -> str:
    """What the file asks for, in Rucio's names, and without the elements where nothing may lie."""
    reach = allowed_on(reach_of(declared, ground, world), declared.ref.group, world)
    return _without(reach.barred, _for_rucio(declared.spec["expression"], ground, world))


def _without(elements: Sequence[Element], text: str) -> str:
    return f"({text})" + "".join(f"\\{element.rse}" for element in elements) if elements else text


def _for_new(declared: Declared, ground: Ground, world: World) -> str:
    """The same for a rule that does not stand: nothing new comes to providers in status limited either."""
    reach = allowed_on(reach_of(declared, ground, world), declared.ref.group, world)
    limited = [one for one in reach.elements if one.place is not None and one.place.status == "limited"]
    return _without((*reach.barred, *limited), _for_rucio(declared.spec["expression"], ground, world))


def _expression(declared: Declared, spec: Mapping[str, Json], scenery: Scenery, world: World) -> str:
    """As it stands while that means the same: another text alone would be another rule."""
    text, new = (make(declared, scenery.ground, world) for make in (expression_of, _for_new))
    exact = [
        rule
        for meant in dict.fromkeys((text, new))
        for rule in scenery.standing
        if is_as(rule, {**spec, "expression": meant})
    ]
    alike = [rule for rule in scenery.standing if same_meaning(rule.spec["expression"], new)]
    return next((str(rule.spec["expression"]) for rule in (*exact, *alike)), new)


def _target_of(scenery: Scenery, world: World) -> str:
    """By which of the targets of one server: where it stands, else the first that takes new things."""
    if scenery.ground.named:
        return scenery.ground.named
    targets = {element.target for element in scenery.allowed.elements}
    for rule in scenery.standing:
        if rule.target in targets and rule.mark is not None:
            return rule.target
    taking = {element.target for element in scenery.allowed.elements if not _against_new(element, world)}
    return min(taking or targets, key=lambda name: (name in world.blind, name), default="")


def _against_new(element: Element, world: World) -> str:
    """Why no new copies may come here; empty: they may. What was not read is for the comparison to judge."""
    if element.target in world.blind:
        return ""
    availability = world.declared[element.ref].spec.get("availability") or {}
    return element.closed or ("not writable" if availability.get("write") is False else "")


def _same_rule(declared: Declared, ground: Ground, world: World) -> Iterator[Condition]:
    """Rucio has one rule for an account, a data set, an expression and a number of copies."""
    rivals = tuple(rivals_of(declared, ground.server, world))
    key = _key(declared, ground, world) if rivals else ()
    for other, its_ground in rivals:
        if key != _key(other, its_ground, world):
            continue
        if claim_of(other, its_ground, world) < claim_of(declared, ground, world):
            message = (
                f"{other.ref} ({other.source}) asks for the same copies of {declared.spec['dataset']}; to "
                "Rucio the two would be one rule; change copies, expression or account, or remove one"
            )
            yield Condition(declared.ref, Word.FAILED, "SameRule", message, "author")
            return


def _key(declared: Declared, ground: Ground, world: World) -> tuple[Json, ...]:
    spec = declared.spec
    text = expression_of(declared, ground, world) if ground.server else ""
    return ground.server, spec.get("account"), spec["copies"], text


def _too_few(
    declared: Declared, spec: Mapping[str, Json], scenery: Scenery, world: World
) -> Iterator[Condition]:
    if scenery.ground.named:
        yield from _too_late(declared, spec, scenery, world)
        return  # what Rucio has there, it knows best
    stands = any(is_as(rule, spec) for rule in scenery.standing)
    refused = {} if stands else _refusals(declared, scenery, world)
    places = len(scenery.allowed.elements) - len(refused)
    if places >= spec["copies"]:
        return
    refused.update({one.name: barred_for(one, declared.ref.group) for one in scenery.allowed.barred})
    why = "; ".join(f"{name}: {refused[name]}" for name in sorted(refused)[:SHOWN])
    message = f"{places} of {spec['copies']} copies have a place" + (f" ({why})" if why else "")
    reason = "NotEnoughElements" if places else "NoPlace"
    hint = f"'{declared.spec['expression']}' selects {len(scenery.ground.selected)} declared elements"
    yield Condition(declared.ref, Word.WAITING, reason, f"{message}; {hint}", "author")


def _too_late(
    declared: Declared, spec: Mapping[str, Json], scenery: Scenery, world: World
) -> Iterator[Condition]:
    """A target of a provider in status limited takes no new rules."""
    named = scenery.ground.named
    if world.targets[named].status == "limited" and not any(is_as(rule, spec) for rule in scenery.standing):
        message = f"target {named} takes nothing new (provider in status limited): name another one, or wait"
        yield Condition(declared.ref, Word.WAITING, "NoPlace", message, "author")


def _refusals(declared: Declared, scenery: Scenery, world: World) -> dict[str, str]:
    """Element → why no new copy can come there."""
    short = short_of_quota(declared, scenery.allowed.elements, scenery.ground.server, world)
    refused = {
        one.name: _against_new(one, world) or short.get(one.name, "") for one in scenery.allowed.elements
    }
    return {name: why for name, why in refused.items() if why}


def _over(declared: Declared) -> Condition:
    message = f"its lifetime of {declared.spec['lifetime']} is over; one copy stays until this file goes"
    return Condition(declared.ref, Word.WAITING, "LifetimeOver", message, "author")


def _resource(
    declared: Declared, spec: dict[str, Json], target: str, scenery: Scenery, world: World
) -> Resource:
    needs = set(not_yet_there(declared, scenery.ground.server, world))
    upload = upload_ref(declared, scenery.ground.server, world)
    if upload is not None and not scenery.over(declared, world):
        needs.add(upload)
    key = natural_key({**spec, "account": declared.spec.get("account") or ""})
    facts: dict[str, Json] = {"natural": key, **({"begun": scenery.begun} if scenery.begun else {})}
    if not scenery.ground.named:
        facts["declared"] = rses_for(scenery.ground.server, declared.ref.group, world)
    return Resource(
        declared.ref.with_part(MAIN, RULE),
        RULE,
        target,
        spec,
        declared.source,
        declared.metadata,
        scenery.allowed.rses | needs if needs else scenery.allowed.rses,
        rucio_of(scenery.ground.server, world).targets - {target},
        facts,
    )


def natural_key(spec: Mapping[str, Json]) -> str:
    """By what Rucio tells rules apart; no account where it is the target's own."""
    text = "".join(str(spec["expression"]).split())
    return f"{spec.get('account', '')}|{spec['dataset']}|{spec['copies']}|{text}"
