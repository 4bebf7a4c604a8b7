"""Subscriptions in Rucio's words and in ours, and the mark in their comments. Pure.

Source of the keys: `__get_rule_dict` in lib/rucio/daemons/transmogrifier/transmogrifier.py, which takes only
the text "True" of `locked` and `purge_replicas` for true.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from reconciler.model import Json, Mark, Ref

_OWN: Final[Mapping[str, str]] = {
    "rse_expression": "expression",
    "copies": "copies",
    "grouping": "grouping",
    "account": "account",
    "activity": "activity",
    "lifetime": "lifetime",
    "source_replica_expression": "sources",
    "locked": "locked",
    "purge_replicas": "purge",
    "comments": "comment",
}
_THEIRS: Final = {ours: theirs for theirs, ours in _OWN.items()}
_FLAGS: Final = ("locked", "purge")
_NUMBERS: Final = ("copies", "lifetime")
_MARK = re.compile(
    r"rc1\.(?P<owner>[a-z0-9-]{1,30})\.(?P<id>[a-z2-7]{20}) (?P<ref>\S+) at (?P<target>\S+?)"
    r"(?P<lock> locked)?(?P<keep> keep)?(?:; (?P<comment>.*))?",
    re.DOTALL,
)
# What a rule without an activity gets. Rucio's generic schema refuses one that says nothing
# (lib/rucio/gateway/subscription.py takes it for "default"; common/schema/generic.py has none such).
ACTIVITY: Final = "User Subscriptions"
FREE: Final = "no longer kept by a reconciler"  # comments can't be made empty


@dataclass(frozen=True, slots=True)
class Comments:
    """What the comments of a subscription say: whose it is (None: not ours), at which target; the rest."""

    mark: Mark | None
    target: str
    text: str


def read_comments(told: str | None) -> Comments:
    """Our mark, and what people wrote."""
    match = _MARK.fullmatch(told or "")
    if match is None:
        return Comments(None, "", "" if told == FREE else told or "")
    try:
        ref = Ref.parse(match["ref"])
    except ValueError:
        return Comments(None, "", told or "")
    mark = Mark(match["owner"], match["id"], ref, "", bool(match["lock"]), bool(match["keep"]))
    return Comments(mark, match["target"], match["comment"] or "")


def written_comments(mark: Mark, target: str, text: str) -> str:
    """What `read_comments` reads."""
    flags = " locked" * mark.lock + " keep" * mark.keep
    return f"{mark} {mark.ref} at {target}{flags}" + (f"; {text}" if text else "")


def loaded(told: Any) -> Any:
    """Filter and rules are sent as JSON in a text. Raises ValueError."""
    return json.loads(told) if isinstance(told, str) else told


def rule_in_our_words(told: Mapping[str, Any]) -> dict[str, Json]:
    """One rule as Kind Subscription wants it: what says nothing is left out, `lifetime` is in seconds.

    Raises ValueError for what can't be a rule.
    """
    rule: dict[str, Json] = {"grouping": "DATASET", "copies": 1}
    options: dict[str, Json] = {}
    for key, content in told.items():
        if content is None or content == "":
            continue
        if key in _OWN:
            rule[_OWN[key]] = _read(_OWN[key], content)
        else:
            options[key] = content
    if "expression" not in rule:
        raise ValueError("a rule without rse_expression")
    if rule.get("activity") == ACTIVITY:
        del rule["activity"]
    return {key: content for key, content in (rule | {"options": options}).items() if content}


def _read(key: str, content: Any) -> Json:
    if key in _FLAGS:
        return content == "True"
    if key in _NUMBERS and content != "*":
        return int(content)
    return str(content)


def rule_in_their_words(rule: Mapping[str, Json]) -> dict[str, Json]:
    """The same rule as Rucio wants it."""
    told = {_THEIRS[key]: _written(key, content) for key, content in rule.items() if key in _THEIRS}
    return {"activity": ACTIVITY} | told | dict(rule.get("options", {}))


def _written(key: str, content: Json) -> Json:
    return str(bool(content)) if key in _FLAGS else content
