"""The hand for subscriptions. `comments` carry the mark, written with the subscription in one call.

What Rucio does with them (lib/rucio/core/subscription.py, lib/rucio/daemons/transmogrifier): `ACTIVE` and
`UPDATED` ones make rules; every update leads to UPDATED; an update leaves what it is given empty as it was;
nothing deletes one: an inactive one of ours is gone for us, and made active again when it is wanted again.
One whose expressions select nothing is passed over in silence, so we look at them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from reconciler.drivers.rucio.client import Reader, Writer
from reconciler.drivers.rucio.subscription_words import (
    FREE,
    Comments,
    loaded,
    read_comments,
    rule_in_our_words,
    rule_in_their_words,
    written_comments,
)
from reconciler.errors import NotOurs, Rejected
from reconciler.kind import Ask
from reconciler.model import Change, Mark, Observed, Ref, Resource, State
from reconciler.printable import shown

KIND: Final = "Subscription"
_WHAT: Final = "subscriptions"
_WORKING: Final = ("ACTIVE", "UPDATED")
_FOREVER: Final = 36500  # days: a subscription can lose its end only by getting another one


class SubscriptionHand:
    """Serves Subscription."""

    def observe(self, client: Reader, ask: Ask) -> Iterable[Observed]:
        """Ours at this target, and what stands at the asked keys; all by one list."""
        with client.rucio(_WHAT) as rucio:
            listed = list(rucio.list_subscriptions())
        seen = [thing for told in listed if (thing := _seen(told, client, ask)) is not None]
        return tuple(_with_elements(seen, client))

    def verify(self, client: Reader, thing: Observed) -> Observed:
        """The list shows everything."""
        return thing

    def apply(self, client: Writer, change: Change, mark: Mark) -> None:
        """Add it, or change what is there to it."""
        want = change.want
        if want is None:
            raise TypeError(f"{change.ref}: nothing is wanted, so nothing can be applied")
        _require_elements(want, client)
        told = _told(want, mark, client.target)
        with client.rucio(f"subscription {want.spec['name']}") as rucio:
            there = _there(rucio, want.spec["account"], want.spec["name"])
            if there is None:
                rucio.add_subscription(
                    want.spec["name"],
                    want.spec["account"],
                    **told,
                    lifetime=False,
                    retroactive=False,
                    dry_run=False,
                )
                return
            _require_ours(there, change, mark)
            ends = {"lifetime": _FOREVER} if there["state"] == "INACTIVE" and there.get("lifetime") else {}
            rucio.update_subscription(want.spec["name"], want.spec["account"], **told, **ends)

    def release(self, client: Writer, change: Change) -> None:
        """Only the comments change; a subscription at work goes on working."""
        with client.rucio(f"subscription {_name(change)}") as rucio:
            there = _ours_now(rucio, change, client)
            if there is not None:
                text = read_comments(there["comments"]).text or FREE
                rucio.update_subscription(there["name"], there["account"], comments=text)

    def delete(self, client: Writer, change: Change) -> None:
        """Make it inactive. The rules that it made stay."""
        with client.rucio(f"subscription {_name(change)}") as rucio:
            there = _ours_now(rucio, change, client)
            if there is not None:
                rucio.deactivate_subscription(there["name"], there["account"])


# -- reading ------------------------------------------------------------------------------------------


def _seen(told: Mapping[str, Any], client: Reader, ask: Ask) -> Observed | None:
    if told["state"] == "INACTIVE":
        return None
    said = read_comments(told.get("comments"))
    if said.mark is not None and said.mark.owner == ask.owner:
        ours = said.target == client.target and said.mark.ref is not None
        return _observed(told, said, said.mark.ref, client) if ours and said.mark.ref else None
    key = _asked_key(told, client, ask)
    return None if key is None else _observed(told, Comments(None, "", said.text), Ref(KIND, "", key), client)


def _asked_key(told: Mapping[str, Any], client: Reader, ask: Ask) -> str | None:
    accounts = (told["account"], *([""] if told["account"] == client.server.account else []))
    keys = (f"{account}|{told['name']}" for account in accounts)
    return next((key for key in keys if key in ask.natural), None)


def _observed(told: Mapping[str, Any], said: Comments, ref: Ref, client: Reader) -> Observed:
    spec: dict[str, Any] = {"account": told["account"], "name": told["name"], "priority": told["policyid"]}
    state, reason, message = State.READY, "", ""
    try:
        rules = [rule_in_our_words(rule) for rule in loaded(told["replication_rules"])]
        spec |= {"filter": loaded(told["filter"]), "rules": rules}
    except (ValueError, TypeError, AttributeError) as error:
        state, reason, message = State.FAILED, "Unreadable", f"its rules can't be read: {shown(str(error))}"
    if told["state"] not in _WORKING:
        state, reason = State.FAILED, "NotWorking"
        message = f"Rucio has it as {shown(str(told['state']))} and makes no rules for it"
    if said.text:
        spec["comment"] = said.text
    return Observed(
        ref,
        KIND,
        client.target,
        spec,
        str(told["id"]),
        said.mark,
        state,
        reason,
        message,
        attributes={"id": str(told["id"])},
    )


def _with_elements(things: list[Observed], client: Reader) -> Iterator[Observed]:
    """Ours that select nothing make no rules: they are Failed. One question for each expression."""
    empty: dict[str, str] = {}
    for thing in things:
        expressions = _expressions(thing.spec) if thing.mark and thing.state is State.READY else []
        for expression in expressions:
            if expression not in empty:
                empty[expression] = _why_nothing(expression, client)
        found = next((empty[one] for one in expressions if empty[one]), "")
        if found:
            thing = replace(thing, state=State.FAILED, reason="SelectsNothing", message=found)  # noqa: PLW2901
        yield thing


def _expressions(spec: Mapping[str, Any]) -> list[str]:
    return [rule["expression"] for rule in spec.get("rules", ())]


def _why_nothing(expression: str, client: Reader) -> str:
    """Empty: it selects something."""
    try:
        with client.rucio(f"expression {expression}") as rucio:
            found = any(True for _ in rucio.list_rses(expression))
    except Rejected as error:
        return f"Rucio makes no rules for it: {error}"
    return "" if found else f"Rucio makes no rules for it: '{shown(expression)}' selects no storage element"


# -- writing ------------------------------------------------------------------------------------------


def _require_elements(want: Resource, client: Reader) -> None:
    for expression in dict.fromkeys(_expressions(want.spec)):
        why = _why_nothing(expression, client)
        if why:
            raise Rejected(why, hint="`expression` must select at least one storage element")


def _told(want: Resource, mark: Mark, target: str) -> dict[str, Any]:
    spec = want.spec
    return {
        "filter_": dict(spec["filter"]),
        "replication_rules": [rule_in_their_words(rule) for rule in spec["rules"]],
        "comments": written_comments(mark, target, spec.get("comment", "")),
        "priority": spec["priority"],
    }


def _there(rucio: Any, account: str, name: str) -> dict[str, Any] | None:
    found: list[dict[str, Any]] = list(rucio.list_subscriptions(name, account))
    return found[0] if found else None


def _require_ours(there: Mapping[str, Any], change: Change, mark: Mark) -> None:
    """Raises NotOurs where something else stands. What nobody marked may be taken over, also inactive."""
    said = read_comments(there.get("comments"))
    if said.mark is None:
        if change.want is not None and change.want.metadata.adopt:
            return
        raise NotOurs(f"{change.ref}: account {there['account']} has a subscription '{there['name']}'")
    former = change.have.mark.ref if change.have and change.have.mark else None
    if said.mark.owner != mark.owner or (said.mark.ref not in (change.ref, former) and _is_active(there)):
        whose = f"{said.mark.ref} of {said.mark.owner}"
        raise NotOurs(f"{change.ref}: '{there['name']}' is {whose}", hint="choose another `name`")


def _is_active(there: Mapping[str, Any]) -> bool:
    return bool(there["state"] != "INACTIVE")


def _ours_now(rucio: Any, change: Change, client: Writer) -> dict[str, Any] | None:
    """What is there, read again; None where it is gone, inactive, or not ours any more."""
    have = change.have
    if have is None or have.mark is None:
        return None
    there = _there(rucio, have.spec["account"], have.spec["name"])
    if there is None or there["id"] != have.uid or not _is_active(there):
        return None
    said = read_comments(there.get("comments"))
    same = said.mark is not None and (said.mark.owner, said.mark.id) == (have.mark.owner, have.mark.id)
    return there if same and said.target == client.target else None


def _name(change: Change) -> str:
    return str(change.have.spec["name"]) if change.have else str(change.ref)
