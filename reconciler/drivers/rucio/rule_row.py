"""Rules as Rucio lists them, made safe to read: nothing that one of them says can hurt the others.

Source of the fields: `ReplicationRule` in Rucio's db/sqla/models.py; its client makes moments of dates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from reconciler.errors import BackendError
from reconciler.printable import shown

Row = Mapping[str, Any]
UNREADABLE: Final = "unreadable"  # the key under which a row names its fields that make no sense


def _is_text(value: Any) -> bool:
    """Text that can be written down: no halves of letters."""
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False


def _is_name(value: Any) -> bool:
    return bool(value) and _is_text(value)


def _is_text_or_nothing(value: Any) -> bool:
    return value is None or _is_text(value)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


def _is_count_or_nothing(value: Any) -> bool:
    return value is None or _is_count(value)


def _is_truth_or_nothing(value: Any) -> bool:
    return value is None or type(value) is bool


def _is_moment(value: Any) -> bool:
    return isinstance(value, datetime) and value.tzinfo is None


def _is_moment_or_nothing(value: Any) -> bool:
    return value is None or _is_moment(value)


Check = Callable[[Any], bool]
_ITSELF: Final[Mapping[str, Check]] = {  # without these it is no rule that could be named or compared
    **dict.fromkeys(("id", "scope", "name", "account", "rse_expression", "grouping"), _is_name),
    "copies": _is_count,
}
_REST: Final[Mapping[str, tuple[Check, Any]]] = {  # and what is taken where it makes no sense
    "state": (_is_name, "UNKNOWN"),
    **dict.fromkeys(("error", "activity", "source_replica_expression"), (_is_text_or_nothing, None)),
    "priority": (_is_count_or_nothing, None),
    **dict.fromkeys(("purge_replicas", "locked"), (_is_truth_or_nothing, None)),
    **dict.fromkeys(("locks_ok_cnt", "locks_replicating_cnt", "locks_stuck_cnt"), (_is_count, 0)),
    **dict.fromkeys(("created_at", "updated_at"), (_is_moment, datetime(1970, 1, 1))),  # noqa: DTZ001
    "expires_at": (_is_moment_or_nothing, None),
}


def sound(rule: Any) -> Row | None:
    """A rule as listed, with sense in every field, and the names of those where there was none.

    None: what says not even which rule it is.
    """
    if not isinstance(rule, Mapping) or not all(check(rule.get(key)) for key, check in _ITSELF.items()):
        return None
    wrong = {key: usual for key, (check, usual) in _REST.items() if not check(rule.get(key))}
    comments = rule.get("comments") if _is_text(rule.get("comments")) else None
    plain = {key: rule.get(key) for key in (*_ITSELF, *_REST, "meta")}
    return plain | wrong | {"comments": comments, UNREADABLE: sorted(wrong)}


def sound_rows(rules: Iterable[Any]) -> list[Row]:
    """All of them that are rules, each once."""
    found = (sound(rule) for rule in rules)
    return list({str(rule["id"]): rule for rule in found if rule is not None}.values())


def whole(rule: Any, what: str) -> Row:
    """A rule that is about to be changed. Raises BackendError where anything of it makes no sense."""
    row = sound(rule)
    if row is not None and not row[UNREADABLE]:
        return row
    fields = ", ".join(row[UNREADABLE]) if row else "which rule it is"
    hint = "the operator of Rucio can look at it in its database"
    raise BackendError(f"what Rucio says of {shown(what)} makes no sense ({fields})", hint=hint)
