"""A rule as Rucio lists it, in our words. Source of the fields: `ReplicationRule` in db/sqla/models.py."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from reconciler.drivers.rucio.client import Reader
from reconciler.drivers.rucio.rule_mark import RuleMark, comment_of
from reconciler.drivers.rucio.rule_row import UNREADABLE, Row
from reconciler.model import Json, Observed, Ref, State
from reconciler.printable import shown

RULE: Final = "rule"

# keys of a rule's spec that can be changed → Rucio's own field, and what it is where nobody says
CHANGEABLE: Final[Mapping[str, tuple[str, Json]]] = {
    "activity": ("activity", "User Subscriptions"),  # DEFAULT_ACTIVITY in rucio/common/constants.py
    "priority": ("priority", 3),
    "purge": ("purge_replicas", False),
    "sources": ("source_replica_expression", ""),
}
STUCK, SUSPENDED, WAITING = "STUCK", "SUSPENDED", "WAITING_APPROVAL"
BROKEN: Final = frozenset((STUCK, SUSPENDED))
_ASKED_FOR: Final = timedelta(hours=1)  # so long Rucio's judge-repairer may take to come by
_BOOST: Final = timedelta(hours=12)  # a boost sets updated_at back by a day (core/rule.py)
_SOON: Final = timedelta(hours=1, minutes=1)  # what is deleted stays for an hour


def dataset_of(rule: Row) -> str:
    """Its data set, scope:name."""
    return f"{rule['scope']}:{rule['name']}"


def natural_key(rule: Row, ours: str) -> str:
    """`<account>|<scope:name>|<copies>|<expression without spaces>`; no account where it is the target's."""
    account = "" if rule["account"] == ours else rule["account"]
    return f"{account}|{dataset_of(rule)}|{rule['copies']}|{''.join(rule['rse_expression'].split())}"


def plain_key(key: str, ours: str) -> str:
    """The same for all keys of rules that do the same: with the account, without parentheses around all."""
    account, dataset, copies, expression = (*key.split("|", 3), "", "", "")[:4]
    return f"{account or ours}|{dataset}|{copies}|{bare(expression)}"


def bare(expression: str) -> str:
    """An expression without the spaces and the parentheses around it."""
    text = "".join(expression.split())
    while text.startswith("(") and text.endswith(")") and _is_one(text[1:-1]):
        text = text[1:-1]
    return text


def _is_one(inside: str) -> bool:
    """Do the parentheses around this belong together?"""
    depth = 0
    for letter in inside:
        depth += (letter == "(") - (letter == ")")
        if depth < 0:
            return False
    return depth == 0


def spec_of(rule: Row, mark: RuleMark | None, account: str) -> dict[str, Json]:
    """What a rule is, in the words of a wish. `account` is the target's own.

    The account is said where the wish said it; of a rule that is not ours, where it is not the target's own.
    """
    said = mark.expression if mark else rule["rse_expression"]
    same = mark is not None and bare(said) == bare(rule["rse_expression"])
    spec: dict[str, Json] = {
        "dataset": dataset_of(rule),
        "copies": rule["copies"],
        "expression": said if same else rule["rse_expression"],
        "grouping": rule["grouping"],
        "lastCopy": mark.last if mark else "keep",
        "repairs": mark.repairs if mark else 3,
    }
    for key, (field, usual) in CHANGEABLE.items():
        spec[key] = usual if rule[field] is None else rule[field]
    if mark.named if mark else rule["account"] != account:
        spec["account"] = rule["account"]
    return spec


def observed(rule: Row, mark: RuleMark | str, client: Reader, owner: str, now: datetime) -> Observed:
    """One listed rule. `mark`: ours, or the natural key of what is not. `now`: naive UTC, like theirs."""
    known = mark if isinstance(mark, RuleMark) else None
    state, reason, message = _standing(rule, known, now)
    if known is None and state is not State.DELETING and rule["comments"] == comment_of(owner):
        state, reason, message = State.FAILED, "MarkUnreadable", _unreadable_mark(rule)
    return Observed(
        Ref(RULE, "", mark) if isinstance(mark, str) else mark.ref,
        RULE,
        client.target,
        spec_of(rule, known, client.server.account),
        rule["id"],
        known.mark(owner) if known else None,
        state,
        reason,
        message,
        attributes=_attributes(rule, known),
        since=iso(rule["created_at"]),
    )


def _unreadable_mark(rule: Row) -> str:
    what = f"rule {rule['id']} of account {rule['account']} carries our comment, and its `meta` can't be read"
    return f"{what}; `metadata.adopt: true` takes it over and marks it anew"


def _attributes(rule: Row, mark: RuleMark | None) -> dict[str, Json]:
    attributes: dict[str, Json] = {
        "id": rule["id"],
        "state": rule["state"],
        "ok": rule["locks_ok_cnt"],
        "replicating": rule["locks_replicating_cnt"],
        "stuck": rule["locks_stuck_cnt"],
        "account": rule["account"],
    }
    if rule["error"]:
        attributes["error"] = shown(" ".join(rule["error"].split()), 255)
    if mark and mark.begun:
        attributes["begun"] = mark.begun
    if rule["expires_at"] is not None:
        attributes["expires"] = iso(rule["expires_at"])
    return attributes


def _standing(rule: Row, mark: RuleMark | None, now: datetime) -> tuple[State, str, str]:
    """State, reason and message. What is stuck is examined elsewhere."""
    expires, state = rule["expires_at"], rule["state"]
    if rule[UNREADABLE]:
        what = ", ".join(rule[UNREADABLE])
        return State.FAILED, "Unreadable", f"what Rucio says of rule {rule['id']} makes no sense ({what})"
    # nobody but us gives our rules an end; those of others may have one that is far away
    if expires is not None and (mark is not None or expires < now + _SOON):
        return State.DELETING, "Expires", f"Rucio removes it after {iso(expires)}"
    if expires is not None:
        what = f"rule {rule['id']} of account {rule['account']}, not made by us, ends on {iso(expires)}"
        return State.FAILED, "Expires", f"{what}; `metadata.adopt: true` takes it over and takes the end off"
    if state == "OK":
        return State.READY, "", ""
    if state == WAITING:
        return State.PROGRESSING, "WaitingApproval", "it waits for a Rucio administrator who approves it"
    if state == "INJECT":
        return State.PROGRESSING, "Injecting", "Rucio works out where the copies go"
    if state in BROKEN:
        return _broken(rule, mark, now)
    return State.PROGRESSING, "Replicating", _counted(rule)


def _broken(rule: Row, mark: RuleMark | None, now: datetime) -> tuple[State, str, str]:
    if mark is not None and is_asked(rule, mark, now):
        message = f"{_counted(rule)}; Rucio was asked to try again at {mark.asked}"
        return State.PROGRESSING, "Repairing", message
    error = plain_error(rule["error"] or "")
    message = f"{_counted(rule)}: {error}" if error else _counted(rule)
    return State.FAILED, rule["state"].capitalize(), message


def plain_error(said: str) -> str:
    """What Rucio says of a transfer, in words, on one line. Source: `get_transfer_error`, core/request.py."""
    text = shown(" ".join(said.split()), 255)
    sort, _, rest = text.partition(":")
    if not sort.startswith("RequestErrMsg."):
        text = "" if text == "None" else text
        return _WORDS.get(text.rpartition("RequestState.")[2], text)
    state = rest.strip().removeprefix("RequestState.")
    if state in _WORDS or rest.strip() in ("", "None"):
        return _WORDS.get(state) or _WORDS.get(sort.partition(".")[2], "the transfer failed")
    return f"{_WORDS.get(sort.partition('.')[2], 'the transfer failed')}: {rest.strip()}"


_WORDS: Final[Mapping[str, str]] = {
    "NO_SOURCES": "no element has a copy that can be read",
    "ONLY_TAPE_SOURCES": "the only copies are on tape",
    "SUBMISSION_FAILED": "the transfer service did not take the transfer",
    "TRANSFER_FAILED": "the transfer failed",
    "MISMATCH_SCHEME": "the elements have no protocol in common",
    "LOST": "the transfer service lost the transfer",
    "FAILED": "failed",
    "OTHER": "the transfer failed",
}


def is_asked(rule: Row, mark: RuleMark, now: datetime) -> bool:
    """Has Rucio been asked to try again, and not come by since? It does so within the hour, or not at all."""
    if not mark.asked or rule["state"] != STUCK:
        return False
    asked = moment(mark.asked)
    return now - _ASKED_FOR < asked <= now + _ASKED_FOR and rule["updated_at"] < asked - _BOOST


def _counted(rule: Row) -> str:
    good, moving, stuck = (rule[f"locks_{name}_cnt"] for name in ("ok", "replicating", "stuck"))
    text = f"{good} of {good + moving + stuck} files' copies are there"
    return f"{text}; {stuck} can't be made" if stuck else text


def iso(when: datetime) -> str:
    """ISO 8601 UTC of one of Rucio's times, which have no zone."""
    return when.replace(tzinfo=UTC).isoformat(timespec="seconds")


def moment(said: str) -> datetime:
    """Naive UTC of what we wrote; long ago where it can't be read."""
    try:
        when = datetime.fromisoformat(said)
        return when.astimezone(UTC).replace(tzinfo=None) if when.tzinfo else when
    except (ValueError, OverflowError):
        return datetime(1970, 1, 1)  # noqa: DTZ001  as Rucio's times


def utcnow() -> datetime:
    """Now, as Rucio's times are."""
    return datetime.now(UTC).replace(tzinfo=None)
