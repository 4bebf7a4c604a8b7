"""Rules that are there: what of them can be changed is changed by one call, after a fresh look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from reconciler.drivers.rucio.client import Reader, Writer
from reconciler.drivers.rucio.rule_mark import Marks, RuleMark, comment_of, meta_of
from reconciler.drivers.rucio.rule_row import Row, whole
from reconciler.drivers.rucio.rule_successor import require_successor
from reconciler.drivers.rucio.rule_trust import trusted
from reconciler.drivers.rucio.rule_wish import Wish
from reconciler.drivers.rucio.rule_words import (
    BROKEN,
    CHANGEABLE,
    SUSPENDED,
    dataset_of,
    is_asked,
    iso,
    moment,
    utcnow,
)
from reconciler.drivers.rucio.translating import Missing
from reconciler.errors import BackendError, Conflict, Denied, NotOurs, Rejected
from reconciler.model import Change, Observed
from reconciler.printable import shown

_LONGEST: Final = 500  # letters of what hinders a rule
_WHILE: Final = timedelta(days=7)  # repairs are counted so long


def rule_at(client: Reader, uid: str) -> Row | None:
    """A rule as it is now; None: it is gone. Raises BackendError where what Rucio says makes no sense."""
    try:
        with client.rucio(f"rule {uid}") as rucio:
            found = rucio.get_replication_rule(uid)
    except Missing:
        return None
    return whole(found, f"rule {uid}")


def change_rule(client: Writer, have: Observed, wish: Wish) -> None:
    """Make of the rule that was seen what is wanted: adopt, change, take back, heal.

    Raises Conflict where it is another one by now, Rejected where healing has been tried often enough.
    """
    rule = rule_at(client, have.uid)
    if rule is None or dataset_of(rule) != have.spec["dataset"]:
        raise Conflict(f"rule {have.uid} was seen, and is gone")
    mark = Marks(trusted(client, (wish.account, _account(have)))).of(rule, wish.owner)
    if have.mark is None and mark is None and _is_of_others(rule, wish):
        raise NotOurs(f"rule {have.uid} carries the mark {shown(rule['comments'])}")
    known = wish.mark.ref if have.mark is None else have.mark.ref or have.ref
    if (have.mark is not None and mark is None) or (mark is not None and mark.ref != known):
        raise Conflict(f"rule {have.uid} is not any more that of {have.ref}")
    settle(client, rule, wish, mark, have.message)


def _account(have: Observed) -> str:
    """Whose rule it was when we looked, if it was ours then."""
    return str(have.attributes.get("account", "")) if have.mark is not None else ""


def _is_of_others(rule: Row, wish: Wish) -> bool:
    """Does it carry the mark of another owner? Ours that can't be read is taken over like any other rule."""
    comment = rule["comments"] or ""
    return comment.startswith("rc1.") and comment != comment_of(wish.owner)


def settle(client: Writer, rule: Row, wish: Wish, old: RuleMark | None, known: str = "") -> None:
    """One call for all that differs, none where nothing does.

    `old` is the mark that goes on, if any; `known` is what is known of the rule's transfers.
    """
    new = _carried(wish.mark, old)
    now = utcnow()
    heals = rule["state"] in BROKEN and not (old and is_asked(rule, old, now))
    spent = heals and _lately(new, now) >= new.repairs
    if heals and not spent:
        new = replace(new, repaired=_lately(new, now) + 1, asked=iso(now))
    options = _differing(rule, wish) | _marking(rule, wish, old, new)
    if heals and not spent:
        options |= _healing(rule)
    if options:
        with client.rucio(f"rule {rule['id']} of {wish.dataset}") as rucio:
            rucio.update_replication_rule(rule["id"], options)
    if spent:
        raise _exhausted(rule, wish, new, known)


def _carried(new: RuleMark, old: RuleMark | None) -> RuleMark:
    """What the rule remembers goes on being so."""
    if old is None:
        return new
    return replace(new, begun=old.begun or new.begun, repaired=old.repaired, asked=old.asked)


def _lately(mark: RuleMark, now: datetime) -> int:
    """How often Rucio was asked to try again in these days."""
    return mark.repaired if mark.asked and moment(mark.asked) > now - _WHILE else 0


def _differing(rule: Row, wish: Wish) -> dict[str, Any]:
    wished = {CHANGEABLE[key][0]: wish.field(key) for key in CHANGEABLE}
    options = {field: value for field, value in wished.items() if (rule[field] or None) != (value or None)}
    if rule["expires_at"] is not None:
        options["lifetime"] = None
    return options


def _marking(rule: Row, wish: Wish, old: RuleMark | None, new: RuleMark) -> dict[str, Any]:
    if old == new:
        return {}
    comment = comment_of(wish.owner)
    return {"meta": meta_of({wish.dataset: new})} | (
        {"comment": comment} if rule["comments"] != comment else {}
    )


def _healing(rule: Row) -> dict[str, Any]:
    """A boost makes the judge-repairer look at a stuck rule; what is suspended must be stuck first."""
    boost = {"boost_rule": True}
    return {"state": "STUCK", **boost} if rule["state"] == SUSPENDED else boost


def _exhausted(rule: Row, wish: Wish, mark: RuleMark, known: str) -> BackendError:
    said = f"Rucio was asked {mark.repaired}× in {_WHILE.days} days to try rule {rule['id']} again"
    why = shown(known or rule["error"] or "no reason given", _LONGEST)
    hint = f"mend what hinders {wish.dataset}; then boost the rule, or raise `repairs`"
    return Rejected(f"{said}, and it is {rule['state']}: {why}", hint=hint)


def release_rule(client: Writer, change: Change) -> None:
    """Take the mark off; the rule stays."""
    rule = _ours(client, change)
    if rule is not None:
        with client.rucio(f"rule {rule['id']}") as rucio:
            rucio.update_replication_rule(rule["id"], {"comment": None, "meta": None})


def delete_rule(client: Writer, change: Change) -> None:
    """Let it expire now, unlocked, by one call. The judge-cleaner takes it away, the reaper its copies."""
    rule = _ours(client, change)
    if rule is None or change.have is None:
        return
    require_successor(client, change, change.have)
    try:
        _expire(client, rule["id"])
    except (Missing, Denied):
        raise
    except BackendError:  # a lifetime can't be set where the expression means nothing any more
        _delete(client, rule)


def _expire(client: Writer, uid: str) -> None:
    with client.rucio(f"rule {uid}") as rucio:
        rucio.update_replication_rule(uid, {"locked": False, "lifetime": 0})


def _delete(client: Writer, rule: Row) -> None:
    with client.rucio(f"rule {rule['id']}") as rucio:
        if rule["locked"]:
            rucio.update_replication_rule(rule["id"], {"locked": False})
        rucio.delete_replication_rule(rule["id"])


def _ours(client: Writer, change: Change) -> Mapping[str, Any] | None:
    """The rule that was seen, if it is still that of this target and object. Nothing else is touched."""
    have = change.have
    rule = rule_at(client, have.uid) if have is not None else None
    if have is None or rule is None or have.mark is None:
        return None
    mark = Marks(trusted(client, (_account(have),))).of(rule, have.mark.owner)
    if mark is None or mark.target != client.target:
        return None
    if mark.ref != (have.mark.ref or have.ref):
        raise Conflict(f"rule {have.uid} is not any more that of {have.ref}, but of {mark.ref}")
    return rule
