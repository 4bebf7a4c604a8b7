"""What Rucio's kinds look like, for simulated worlds. The hands themselves are tried on a real Rucio."""

from __future__ import annotations

from dataclasses import replace

from reconciler.drivers.rucio import DRIVER
from reconciler.model import Json, Ref, Resource, Target
from tests.contract.case import Case, made

_RULE: dict[str, Json] = {
    "dataset": "cms:set-0",
    "copies": 2,
    "expression": "country=IT",
    "grouping": "DATASET",
    "activity": "User Subscriptions",
    "priority": 3,
    "purge": False,
    "sources": "",
    "lastCopy": "keep",
    "repairs": 3,
}


_CHANGED: dict[str, Json] = {"activity": "Express", "priority": 5, "purge": True, "sources": "a"}


def rule(target: Target, number: int) -> Resource:
    ref = Ref("DataRule", "cms", f"set-{number}", "main.rule")
    return made(ref, "rule", target, {**_RULE, "dataset": f"cms:set-{number}"})


def upload(target: Target, number: int) -> Resource:
    spec = {"dataset": f"cms:set-{number}", "source": f"set-{number}"}
    return made(Ref("DataRule", "cms", f"set-{number}", "main.upload"), "upload", target, spec)


def rse(target: Target, number: int) -> Resource:
    ref = Ref("StorageElement", "", f"disk-{number}", "main.rse")
    return made(ref, "rse", target, {"attributes": {"country": "IT"}, "deterministic": True})


def account(target: Target, number: int) -> Resource:
    spec = {"type": "GROUP", "email": "", "attributes": {}}
    return made(Ref("DataAccount", "", f"account-{number}"), "DataAccount", target, spec)


def scope(target: Target, number: int) -> Resource:
    return made(Ref("Scope", "", f"scope-{number}"), "Scope", target, {"account": "cms"})


def dataset(target: Target, number: int) -> Resource:
    spec = {"dataset": f"cms:set-{number}", "closed": False}
    return made(Ref("Dataset", "cms", f"set-{number}"), "Dataset", target, spec)


def subscription(target: Target, number: int) -> Resource:
    spec = {"name": f"new-{number}", "account": "cms", "filter": {"scope": ["cms"]}, "priority": 3}
    return made(Ref("Subscription", "", f"new-{number}"), "Subscription", target, spec)


def _never(_folder: object) -> Target:
    raise AssertionError("these are prepared in simulated worlds only")


def _case(make: object, primitive: str, variants: dict[str, Json], **immutable: Json) -> Case:
    return Case(DRIVER, primitive, _never, make, variants, immutable=immutable)  # type: ignore[arg-type]


ON_PAPER = (
    _case(
        rule,
        "rule",
        {
            "activity": "Express",
            "priority": 5,
            "purge": True,
            "sources": "a",
            "lastCopy": "delete",
            "repairs": 0,
        },
        dataset="cms:other",
        copies=3,
        expression="country=FR",
        grouping="ALL",
    ),
    replace(_case(upload, "upload", {"source": "other"}), fixed=frozenset({"dataset"})),
    _case(rse, "rse", {"attributes": {"country": "FR"}}, deterministic=False),
    _case(account, "DataAccount", {"type": "USER", "email": "a@example.org", "attributes": {"a": "1"}}),
    _case(scope, "Scope", {"account": "other"}),
    replace(_case(dataset, "Dataset", {"closed": True}), fixed=frozenset({"dataset"})),
    _case(subscription, "Subscription", {"filter": {}, "priority": 1}, name="other", account="other"),
)
