"""What Rucio is told to have a rule: the arguments of its calls, from a wish of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from reconciler.drivers.rucio.rule_mark import RuleMark, fits, meta_of, utc_text
from reconciler.drivers.rucio.rule_words import CHANGEABLE
from reconciler.errors import Rejected
from reconciler.model import Change, Json, Mark, Ref, Resource

_ANY: Final = Ref("", "", "")


@dataclass(frozen=True, slots=True)
class Wish:
    """One rule to be had: data set (scope:name), how, and how it is marked. `expression` is Rucio's."""

    dataset: str
    expression: str
    mark: RuleMark
    owner: str
    spec: Mapping[str, Json]

    @property
    def did(self) -> dict[str, str]:
        scope, _, name = self.dataset.partition(":")
        return {"scope": scope, "name": name}

    @property
    def account(self) -> str:
        """The account that is to have it; empty: the target's."""
        return str(self.spec.get("account") or "")

    @property
    def likeness(self) -> str:
        """Wishes of the same likeness differ in data set and Ref only: one call makes them."""
        told = {key: value for key, value in self.spec.items() if key != "dataset"}
        mark = replace(self.mark, ref=_ANY)
        return repr((sorted(told.items()), self.expression, mark, self.owner))

    def field(self, key: str) -> Json:
        """What a key that can be changed is in Rucio's words."""
        value = self.spec.get(key, CHANGEABLE[key][1])
        return value or None if key == "sources" else value


def wish_of(change: Change, mark: Mark, target: str, now: str) -> Wish:
    """The rule that a change wants, marked as new. `now`: ISO 8601, for what has not begun before."""
    want = wanted(change)
    spec = want.spec
    own = RuleMark(
        want.ref,
        target,
        spec["expression"],
        mark.lock,
        mark.keep,
        spec.get("lastCopy", "keep"),
        utc_text(str(want.facts.get("begun"))) or now,
        spec.get("repairs", 3),
        named="account" in spec,
    )
    full = replace(own, asked=now, repaired=99)  # as it may become
    if not fits(meta_of({spec["dataset"]: full})):
        raise Rejected(f"{want.ref}: its expression is too long for Rucio to keep it with the rule")
    expression = "".join(spec["expression"].split())  # Rucio takes no spaces
    return Wish(str(spec["dataset"]), expression, own, mark.owner, spec)


def wanted(change: Change) -> Resource:
    """What a change is to make."""
    if change.want is None or ":" not in str(change.want.spec["dataset"]):
        raise Rejected(f"{change.ref}: `dataset` must be <scope>:<name>")
    return change.want


def arguments(wish: Wish) -> dict[str, Any]:
    """What `add_replication_rule` is told, beside data sets, comment and meta."""
    return {
        "copies": wish.spec["copies"],
        "rse_expression": wish.expression,
        "grouping": wish.spec["grouping"],
        "account": wish.spec.get("account"),
        "activity": wish.field("activity"),
        "priority": wish.field("priority"),
        "purge_replicas": wish.field("purge"),
        "source_replica_expression": wish.field("sources"),
    }
