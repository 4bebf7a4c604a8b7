"""Why a rule does not get on: what Rucio knows of its transfers, and who may approve it.

Source: `examine_rule` in Rucio's core/rule.py. Each rule costs a call or two, so the number is bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from reconciler.drivers.rucio.client import Reader
from reconciler.drivers.rucio.rule_words import plain_error
from reconciler.errors import BackendError, Transient
from reconciler.model import Observed, State
from reconciler.printable import shown

MOST: Final = 20  # stuck rules that are examined in one pass
_APPROVALS: Final = 5  # rules whose approvers are looked up
_FILES: Final = 3  # that a message names
_ELEMENTS: Final = 5  # of a rule whose approvers are looked up
_LONGEST: Final = 255
Look = Callable[[Reader, Observed], Observed]


def explained(client: Reader, things: Sequence[Observed]) -> list[Observed]:
    """The same rules; of the first that are stuck or wait for somebody the message says more."""
    stuck = [thing.uid for thing in things if thing.state is State.FAILED and thing.mark is not None]
    waiting = [thing.uid for thing in things if thing.reason == "WaitingApproval" and thing.mark is not None]
    told = dict.fromkeys(sorted(stuck)[:MOST], _why_stuck)
    told |= dict.fromkeys(sorted(waiting)[:_APPROVALS], _who_approves)
    better = _looked_at(client, [thing for thing in things if thing.uid in told], told)
    return [better.get(thing.uid, thing) for thing in things]


def _looked_at(client: Reader, things: Iterable[Observed], told: Mapping[str, Look]) -> dict[str, Observed]:
    """Those of which more is known. A reading does not fail for want of words."""
    better = {}
    for thing in things:
        try:
            better[thing.uid] = told[thing.uid](client, thing)
        except Transient:
            break  # the rest would wait as long
        except (BackendError, KeyError, TypeError, ValueError, AttributeError):
            continue  # it may be gone by now, or what is said of it makes no sense
    return better


def _why_stuck(client: Reader, thing: Observed) -> Observed:
    """Files, links, attempts and the last error."""
    with client.rucio(f"why rule {thing.uid} is stuck") as rucio:
        transfers = rucio.examine_replication_rule(thing.uid).get("transfers")
    return replace(thing, message=_message(thing, transfers)) if transfers else thing


def _message(thing: Observed, transfers: Sequence[Mapping[str, Any]]) -> str:
    worst = sorted(transfers, key=lambda one: (-one["attempts"], one["name"]))
    said = plain_error(str(thing.attributes.get("error", "")))
    parts = [_transfer(one, said) for one in worst[:_FILES]]
    more = [f"{len(transfers) - _FILES} files more"] if len(transfers) > _FILES else []
    return "; ".join([thing.message.partition(":")[0], *parts, *more, *([said] if said else [])])


def _transfer(one: Mapping[str, Any], said: str) -> str:
    """One file; why it failed only where that is not said of all."""
    source = one["last_source"] or _possible(one.get("sources") or ())
    link = f"{source} → {one['rse']}"
    tried = f"{one['attempts']} attempts" if one["attempts"] != 1 else "1 attempt"
    last = plain_error(str(one["last_error"] or ""))
    return shown(f"{one['name']}: {link}, {tried}" + (f", {last}" if last not in said else ""), _LONGEST)


def _possible(sources: Iterable[Sequence[Any]]) -> str:
    """The elements that a copy could come from; what can't be read is said."""
    names = [f"{name}" if readable else f"{name} (can't be read)" for name, readable in sources]
    return " or ".join(names) or "no source"


def _who_approves(client: Reader, thing: Observed) -> Observed:
    """The accounts that the attribute `rule_approvers` of the rule's elements names."""
    expression = "".join(thing.spec["expression"].split())
    with client.rucio(f"who approves rule {thing.uid}") as rucio:
        elements = [one["rse"] for one in rucio.list_rses(expression)][:_ELEMENTS]
        names = [rucio.list_rse_attributes(element).get("rule_approvers") for element in elements]
    accounts = sorted({name.strip() for text in names if text for name in str(text).split(",")})
    if not accounts:
        return thing
    return replace(thing, message=f"it waits until {shown(' or '.join(accounts), _LONGEST)} approves it")
