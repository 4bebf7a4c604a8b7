"""Kind DataRule: so many copies of one data set, on storage elements that an expression or a quality selects.

In the lake it expands into one `replica` per chosen element (part `<element>.replica`); at Rucio into one
`rule` (part `main.rule`), and into an `upload` (part `main.upload`) where the data come from a folder.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from reconciler.kind import Kind, Primitive, World
from reconciler.library import Library
from reconciler.model import Change, Condition, Declared, Json, Observed, Resource
from reconciler.placement.checks import check_common, check_where
from reconciler.placement.expanding import expand_rule, hold_removal_of, natural_keys_of, outputs_of
from reconciler.placement.expression import ExpressionError, parse
from reconciler.placement.primitives import PARTS
from reconciler.placement.spoken import Quality, Verify


@dataclass(frozen=True, slots=True)
class DataRuleSpec:
    """`dataset` is `scope:name`. `source` is the folder below `uploads` that the first copy is made from.

    Either `expression` and `copies` are said, or `quality`. From `target` on it is for Rucio alone.
    """

    dataset: str
    source: str | None = None
    expression: str | None = None
    copies: int = 1
    quality: Quality | None = None
    lifetime: str | None = None
    last_copy: str = "keep"
    verify: Verify = field(default_factory=Verify)
    target: str | None = None
    account: str | None = None
    grouping: str = "DATASET"
    activity: str = "User Subscriptions"
    priority: int = 3
    sources: str | None = None
    purge: bool = False
    staged: bool = False
    repairs: int = 3


class DataRule(Kind[DataRuleSpec]):
    """Declared by data managers; grouped."""

    name: ClassVar[str] = "DataRule"
    grouped: ClassVar[bool] = True
    spec = DataRuleSpec
    parts: ClassVar[tuple[Primitive, ...]] = PARTS

    def targets(self, declared: Declared) -> Iterable[tuple[str, str]]:
        """The Rucio that the file names, if it does."""
        target = declared.spec.get("target")
        return (("spec.target", target),) if target else ()

    def check(self, declared: Declared) -> Iterable[tuple[str, str, str]]:
        """Data set, expression, quality, source and durations that a schema can't judge."""
        yield from check_common(declared.spec)
        yield from check_where("spec", declared.spec)

    def check_together(self, declared: Collection[Declared]) -> Iterable[tuple[Declared, str, str, str]]:
        """No two rules of one group that want the same copies of the same data set on the same elements."""
        alike: dict[Any, list[Declared]] = defaultdict(list)
        for rule in declared:
            spec = rule.spec
            if spec.get("expression"):
                place = (spec["dataset"], spec["copies"], spec.get("account"), spec.get("target"))
                alike[rule.ref.group, place].append(rule)
        for rules in alike.values():
            yield from _twins(sorted(rules, key=lambda rule: rule.ref)) if len(rules) > 1 else ()

    def natural_keys(self, declared: Declared, primitive: str) -> Iterable[str]:
        """Where a replica lies, what Rucio tells a rule by, and the data set of an upload."""
        return natural_keys_of(declared, primitive)

    def expand(self, declared: Declared, world: World) -> Iterable[Resource | Condition]:
        """One replica per chosen element, or one rule; and a Condition where there are too few."""
        return expand_rule(declared, world)

    def hold_removal(self, change: Change, world: World) -> Condition | None:
        """A copy or rule goes only while enough good ones stay, or when that was said on purpose."""
        return hold_removal_of(change, world)

    def outputs(
        self,
        declared: Declared,
        parts: Collection[Observed],
        library: Library,
    ) -> Mapping[str, Json]:
        """Where the copies lie: element → path; at Rucio the rule that sees to them."""
        return outputs_of(parts)


def _twins(rules: list[Declared]) -> Iterator[tuple[Declared, str, str, str]]:
    first: dict[Any, Declared] = {}
    for rule in rules:
        try:
            other = first.setdefault(parse(rule.spec["expression"]).meaning, rule)
        except ExpressionError:
            continue  # `check` says so
        if other is not rule:
            message = f"{other.ref} ({other.source}) wants the same copies of {rule.spec['dataset']} already"
            yield rule, "spec.expression", message, "remove one of the two, or change copies or expression"


KIND = DataRule()
