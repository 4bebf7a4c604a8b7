"""Kind Subscription: what arrives in a Rucio and fits a filter gets these rules, by itself.

One object is one primitive thing of the same name. Rucio has no way to delete a subscription: one that is not
wanted any more is made inactive, and counts as gone. The rules that it made stay.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final

from reconciler.kind import Kind, Primitive, World
from reconciler.model import Condition, Declared, Json, Ref, Resource, Word
from reconciler.placement.expression import parse
from reconciler.units import duration

ACTIVITY: Final = "User Subscriptions"  # of rules that do not say which
EVERY: Final = "*"  # as many copies as the expression selects elements


@dataclass(frozen=True, slots=True)
class SubscriptionRule:
    """One rule that each new data set gets. `copies`: a number, or `*` for one on every selected element.

    `sources` selects where the copies are made from. `options` are keys of Rucio's own that have no other
    word here, as it wants them.
    """

    expression: str
    copies: int | str = 1
    grouping: str = "DATASET"
    account: str | None = None
    activity: str | None = None
    lifetime: str | None = None
    sources: str | None = None
    locked: bool = False
    purge: bool = False
    comment: str | None = None
    options: Mapping[str, str | int | bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SubscriptionSpec:
    """`filter` is Rucio's: `pattern`, `scope`, `account`, or any metadata of a data set.

    `name` is what Rucio calls it; absent: as the object. `account` owns it there; absent: the target's.
    """

    target: str
    filter: Mapping[str, Json]
    rules: tuple[SubscriptionRule, ...]
    name: str | None = None
    account: str | None = None
    priority: int = 3
    comment: str | None = None


class Subscription(Kind[SubscriptionSpec]):
    """Declared by data managers; global."""

    name: ClassVar[str] = "Subscription"
    grouped: ClassVar[bool] = False
    spec = SubscriptionSpec
    parts: ClassVar[tuple[Primitive, ...]] = (
        Primitive(
            "Subscription",
            immutable=frozenset({"account", "name"}),
            replace_order="create-first",
            computed={"id": "string"},
            marked="atomic",
            keyed=True,
            listed="full",
        ),
    )

    def targets(self, declared: Declared) -> Iterable[tuple[str, str]]:
        """The one target it names."""
        return (("spec.target", declared.spec["target"]),)

    def check(self, declared: Declared) -> Iterable[tuple[str, str, str]]:
        """Expressions, numbers of copies and lifetimes, which a schema can't judge."""
        for index, rule in enumerate(declared.spec["rules"]):
            where = f"spec.rules.{index}"
            for key in ("expression", "sources"):
                yield from _check_expression(f"{where}.{key}", rule.get(key))
            if isinstance(rule["copies"], str) and rule["copies"] != EVERY:
                yield f"{where}.copies", f"'{rule['copies']}' is no number of copies", "a number, or '*'"
            yield from _check_lifetime(f"{where}.lifetime", rule.get("lifetime"))

    def check_together(self, declared: Collection[Declared]) -> Iterable[tuple[Declared, str, str, str]]:
        """No two with one name of one account."""
        places: dict[tuple[str, str], list[Declared]] = defaultdict(list)
        for one in declared:
            places[one.spec["target"], natural_key(one)].append(one)
        for same in places.values():
            first, *others = sorted(same, key=lambda one: one.ref)
            for other in others:
                message = f"{first.ref} ({first.source}) is called the same in Rucio"
                yield other, "spec.name", message, "give one of the two another `name`"

    def natural_keys(self, declared: Declared, primitive: str) -> Iterable[str]:
        """`<account>|<name>`; no account: the target's."""
        return (natural_key(declared),)

    def expand(self, declared: Declared, world: World) -> Iterable[Resource | Condition]:
        """The subscription at its target."""
        name = declared.spec["target"]
        target = world.targets.get(name)
        if target is None:
            message = f"target {name} is not declared by any Provider"
            yield Condition(declared.ref, Word.WAITING, "NoTarget", message, "author")
            return
        if not world.serves(name, self.name):
            message = f"targets of type {target.driver} have no subscriptions; choose one of type rucio"
            yield Condition(declared.ref, Word.FAILED, "TargetUnfit", message, "author")
            return
        spec = wanted_spec(declared, str(target.settings.get("account", "")))
        yield Resource(
            declared.ref,
            self.name,
            name,
            spec,
            declared.source,
            declared.metadata,
            _accounts(declared, spec, world),
            _same_server(name, world),
            {"natural": natural_key(declared)},
        )


def natural_key(declared: Declared) -> str:
    """What Rucio knows it by."""
    return f"{declared.spec.get('account') or ''}|{called(declared)}"


def called(declared: Declared) -> str:
    """Its name in Rucio."""
    return str(declared.spec.get("name") or declared.ref.name)


def wanted_spec(declared: Declared, account: str) -> dict[str, Json]:
    """What is wanted, as the back-end tells it: lifetimes are seconds, and what is not said is left out."""
    spec = declared.spec
    told = {
        "account": spec.get("account") or account,
        "name": called(declared),
        "filter": spec["filter"],
        "rules": [_rule(rule) for rule in spec["rules"]],
        "priority": spec["priority"],
    }
    return told | ({"comment": spec["comment"]} if spec.get("comment") else {})


def _rule(rule: Mapping[str, Json]) -> dict[str, Json]:
    told = {key: content for key, content in rule.items() if content}
    if told.get("activity") == ACTIVITY:
        del told["activity"]
    if "lifetime" in told:
        told["lifetime"] = int(duration(told["lifetime"]).total_seconds())
    return told


def _accounts(declared: Declared, spec: Mapping[str, Json], world: World) -> frozenset[Ref]:
    """The declared accounts of its Rucio that must be there first."""
    named = {spec["account"], *(rule.get("account") for rule in spec["rules"])}
    there = world.of_kind("DataAccount")
    at = declared.spec["target"]
    return frozenset(
        one.ref
        for one in there
        if one.spec.get("target") == at and (one.spec.get("account") or one.ref.name) in named
    )


def _same_server(name: str, world: World) -> frozenset[str]:
    """The other targets that are the same Rucio: it could have been made there."""
    url = world.targets[name].settings.get("url")
    return frozenset(
        other
        for other, target in world.targets.items()
        if url and other != name and target.settings.get("url") == url
    )


def _check_expression(path: str, text: str | None) -> Iterator[tuple[str, str, str]]:
    if not text:
        return
    try:
        parse(text)
    except ValueError as error:
        what, _, hint = str(error).partition("; ")
        yield path, what, hint


def _check_lifetime(path: str, text: str | None) -> Iterator[tuple[str, str, str]]:
    if not text:
        return
    try:
        if not duration(text):
            yield path, f"'{text}' is no time at all", "leave it out for rules without an end"
    except ValueError as error:
        yield path, str(error), "write like 6h, 7d or 2w"


KIND = Subscription()
