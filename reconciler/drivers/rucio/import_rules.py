"""Rules of a Rucio as objects of kind DataRule, for the import. Pure.

A rule that stays unmarked at Rucio and is as its file says is left alone; so the file says what the rule is,
and its comments what else there is to it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from reconciler.drivers.rucio.import_entries import Draft, Entry, tagged
from reconciler.drivers.rucio.rule_words import dataset_of

KIND: Final = "DataRule"
_OURS = re.compile(r"rc1\.(?P<owner>[a-z0-9-]+)")
_SOON: Final = timedelta(days=2)
_STANDING: Final = {
    "STUCK": "stuck when it was read",
    "SUSPENDED": "suspended when it was read",
    "WAITING_APPROVAL": "waiting for approval when it was read",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where rules go: the target, its account, an account's group, and now (naive UTC, as Rucio's times)."""

    target: str
    account: str
    group_of: Callable[[str], str]
    now: datetime


def add_rule(draft: Draft, rule: Mapping[str, Any], place: Place) -> None:
    """One rule: a file, or why there is none."""
    why = _no_file(rule, place.now)
    if why:
        draft.leave_out(origin(rule), why)
    else:
        draft.add(_entry(rule, place))


def origin(rule: Mapping[str, Any]) -> str:
    """Which rule it is."""
    ends = f", which ends at {rule['expires_at'].isoformat()}Z" if rule["expires_at"] else ""
    return f"rule {rule['id']} of account {rule['account']} for {dataset_of(rule)}{ends}"


def _no_file(rule: Mapping[str, Any], now: datetime) -> str:
    """Why no file can say this; empty: one can."""
    ours = _OURS.fullmatch(rule["comments"] or "")
    if ours:
        return f"the repository of owner {ours['owner']} keeps it"
    if rule["subscription_id"]:
        return "a subscription made it, and makes others like it"
    if rule["did_type"] == "FILE":
        return "it is for a single file; rules in git are for data sets and containers"
    if rule["child_rule_id"]:
        return "it is being moved: another rule takes its place"
    if rule["expires_at"] is not None and rule["expires_at"] < now + _SOON:
        return f"it ends by itself within {_SOON.days} days"
    return ""


def _entry(rule: Mapping[str, Any], place: Place) -> Entry:
    group = place.group_of(rule["account"])
    key = "|".join(str(rule[name]) for name in ("account", "scope", "name", "copies", "rse_expression"))
    name = tagged(dataset_of(rule), key)
    metadata: dict[str, Any] = {"name": name, "group": group}
    if rule["expires_at"] is not None:
        metadata["expires"] = (rule["expires_at"].date() - timedelta(days=1)).isoformat()
    return Entry(
        f"data/{group}/{name}.yaml", KIND, metadata, _spec(rule, place), origin(rule), _comments(rule)
    )


def _spec(rule: Mapping[str, Any], place: Place) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "target": place.target,
        "dataset": dataset_of(rule),
        "copies": rule["copies"],
        "expression": rule["rse_expression"],
        "grouping": rule["grouping"],
    }
    if rule["account"] != place.account:
        spec["account"] = rule["account"]
    for key, (field, usual) in _USUAL.items():
        if rule[field] not in (None, "", usual):
            spec[key] = rule[field]
    return spec


def _comments(rule: Mapping[str, Any]) -> tuple[str, ...]:
    said = [_made(rule)]
    if rule["comments"]:
        said.append(f"its comment there: {' '.join(str(rule['comments']).split())}")
    if rule["did_type"] == "CONTAINER":
        said.append("it is for a container, and all that is in it")
    if rule["expires_at"] is not None:
        said.append("`expires` is the day before Rucio ends it, so that nobody makes it again")
    if rule["locked"]:
        said.append("locked in Rucio: nobody can delete it there before it is unlocked")
    if rule["state"] in _STANDING:
        said.append(
            f"{_STANDING[rule['state']]}: {' '.join(str(rule['error'] or 'no reason given').split())}"
        )
    return (*said, *_unsaid(rule))


def _made(rule: Mapping[str, Any]) -> str:
    when = rule["created_at"].date().isoformat()
    return f"made {when}; left alone as long as it is like this. `adopt: true` in metadata lets us keep it"


# key of a file → Rucio's field, and what it is where nobody says
_USUAL: Final[Mapping[str, tuple[str, Any]]] = {
    "activity": ("activity", "User Subscriptions"),
    "priority": ("priority", 3),
    "purge": ("purge_replicas", False),
    "sources": ("source_replica_expression", None),
}
_UNSAID: Final[Mapping[str, tuple[Any, ...]]] = {
    "weight": (None,),
    "notification": (None, "NO"),
    "ignore_account_limit": (None, False),
    "ignore_availability": (None, False),
    "split_container": (None, False),
    "eol_at": (None,),
}


def _unsaid(rule: Mapping[str, Any]) -> list[str]:
    """What the rule has and its file can't say; nobody changes it as long as the rule stays."""
    told = [f"{key} = {rule[key]}" for key, usual in _UNSAID.items() if rule.get(key) not in usual]
    return [f"not in this file, and left as it is: {', '.join(told)}"] if told else []
