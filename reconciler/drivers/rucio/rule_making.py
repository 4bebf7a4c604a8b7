"""New rules: many by one call, which is all or nothing; and what to do where one is there already.

Rucio has one rule for an account, a data set, an expression and a number of copies, whatever else differs.
A rule is marked by the call that makes it, so a run that ends in between leaves nothing that is nobody's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from reconciler.drivers.rucio.client import Writer
from reconciler.drivers.rucio.rule_changing import settle
from reconciler.drivers.rucio.rule_mark import Marks, RuleMark, comment_of, meta_of, parted, text_of
from reconciler.drivers.rucio.rule_row import Row, sound_rows, whole
from reconciler.drivers.rucio.rule_trust import trusted
from reconciler.drivers.rucio.rule_wish import Wish, arguments
from reconciler.drivers.rucio.rule_words import dataset_of
from reconciler.drivers.rucio.translating import Exists
from reconciler.errors import BackendError, Conflict, Denied, NotOurs, Rejected, Transient
from reconciler.printable import shown

MOST: Final = 100  # rules in one call: measured, more are no faster, and a call has to end in time
_WRAPS: Final = 4
_COMMON: Final = ("AccessDenied", "CannotAuthenticate", "CannotAuthorize")  # what no data set is the cause of


def make(client: Writer, wishes: Sequence[Wish]) -> list[BackendError | None]:
    """Make these rules, in as few calls as it takes. What became of each, in order; None: it went well."""
    became: list[BackendError | None] = [None] * len(wishes)
    for places in _calls(wishes):
        errors = _make_some(client, [wishes[place] for place in places])
        for place, error in zip(places, errors, strict=True):
            became[place] = error
    return became


def _calls(wishes: Sequence[Wish]) -> list[list[int]]:
    """The places of wishes, call by call."""
    alike: dict[str, list[int]] = {}
    for place, wish in enumerate(wishes):
        alike.setdefault(wish.likeness, []).append(place)
    calls = []
    for places in alike.values():
        marks = [(wishes[place].dataset, wishes[place].mark) for place in places]
        calls += [[places[index] for index in chunk] for chunk in parted(marks, MOST)]
    return calls


def _make_some(client: Writer, wishes: Sequence[Wish]) -> list[BackendError | None]:
    """One call. If Rucio says no to the whole of it, halves tell who was meant."""
    try:
        _add(client, wishes)
    except Transient as error:  # some of it may have happened; the next look tells
        return [error] * len(wishes)
    except BackendError as error:
        if len(wishes) == 1:
            return [_settled(client, wishes[0], error)]
        if isinstance(error, Denied) and any(name in str(error) for name in _COMMON):
            return [error] * len(wishes)
        middle = len(wishes) // 2
        return _make_some(client, wishes[:middle]) + _make_some(client, wishes[middle:])
    return [None] * len(wishes)


def _add(client: Writer, wishes: Sequence[Wish]) -> None:
    first = wishes[0]
    meta = text_of(meta_of({wish.dataset: wish.mark for wish in wishes}))
    what = f"rule for {first.dataset}" if len(wishes) == 1 else f"{len(wishes)} rules"
    dids = [wish.did for wish in wishes]
    with client.rucio(what) as rucio:
        rucio.add_replication_rule(dids, comment=comment_of(first.owner), meta=meta, **arguments(first))


def _settled(client: Writer, wish: Wish, error: BackendError) -> BackendError | None:
    """What became of one rule that could not be made: one that is there already may be ours."""
    if not isinstance(error, Exists):
        return error
    try:
        _meet(client, wish, error)
    except BackendError as why:
        return why
    return None


def _meet(client: Writer, wish: Wish, error: Exists) -> None:
    """Take up what an interrupted run or another target made; step aside for what differs in grouping."""
    for _ in range(_WRAPS):
        rule = _standing(client, wish)
        if rule is None:
            raise Conflict(f"{error}; and it is gone again") from error
        mark = _checked(rule, wish, trusted(client, (wish.account,)))
        if rule["grouping"] == wish.spec["grouping"]:
            settle(client, rule, wish, mark)
            return
        wish = replace(wish, expression=f"({wish.expression})")
        try:
            _add(client, [wish])
        except Exists:
            continue
        return
    raise error


def _standing(client: Writer, wish: Wish) -> Row | None:
    """The rule that has the place of this one."""
    account = wish.account or client.server.account
    asked = {**wish.did, "account": account, "rse_expression": wish.expression}
    with client.rucio(f"rules of {wish.dataset}") as rucio:
        found = sound_rows(rucio.list_replication_rules(asked))
    there = next((rule for rule in found if _is_same(rule, wish, account)), None)
    return whole(there, f"rule {there['id']}") if there else None


def _is_same(rule: Row, wish: Wish, account: str) -> bool:
    """Databases compare texts in ways of their own."""
    key = (dataset_of(rule), rule["account"], rule["rse_expression"], rule["copies"])
    return key == (wish.dataset, account, wish.expression, wish.spec["copies"])


def _checked(rule: Row, wish: Wish, accounts: frozenset[str]) -> RuleMark | None:
    """The mark of a rule that is ours to take, where its account is one of these.

    None: it is that of another object, which lets it go. Raises NotOurs, Rejected or Conflict.
    """
    there = f"rule {rule['id']} of {wish.dataset} (account {rule['account']}, {shown(wish.expression)})"
    mark = Marks(accounts).of(rule, wish.owner)
    going = rule["expires_at"] is not None
    if mark is None and going:
        raise Conflict(f"{there} is not ours, and goes after {rule['expires_at']} UTC; then ours can be made")
    if mark is None:
        raise NotOurs(f"{there} is there, and not ours")
    if mark.ref != wish.mark.ref and not going:
        raise Rejected(f"{there} is that of {mark.ref} already", hint="declare it once")
    return mark if mark.ref == wish.mark.ref else None
