"""One account as Rucio has it, in the words of a wish. Three calls for whoever may see its use, else four.

One more where the list of active accounts was not asked, and one where global quotas are.

Formats: rucio/client/accountclient.py, core/account.py, core/account_limit.py. Any account may read all of it
but the use, which only the account itself and administrators see (core/permission/generic.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from reconciler.drivers.rucio.client import Reader
from reconciler.drivers.rucio.element_marks import IDENTITY, OWNER, read_account_mark
from reconciler.drivers.rucio.translating import Missing
from reconciler.errors import Denied
from reconciler.model import NOTHING, Json, Mark

UNLIMITED: Final = "unlimited"
ACTIVE: Final = "ACTIVE"
_EMPTY: Final = "InvalidRSEExpression"


@dataclass(frozen=True, slots=True)
class Account:
    """One account. `status` is ACTIVE, SUSPENDED or DELETED: Rucio shows the rest of active ones only.

    `marks` are the attributes that say whose it is. `use` is {storage element: {bytes, files}}.
    """

    name: str
    status: str
    spec: Mapping[str, Json]
    marks: Mapping[str, str] = NOTHING
    use: Mapping[str, Mapping[str, int]] | None = None

    @property
    def mark(self) -> Mark | None:
        """Whoever's it is."""
        return read_account_mark(self.marks)

    @property
    def bare(self) -> bool:
        """Nothing but what it was made with."""
        if self.status != ACTIVE:
            return False
        quotas = self.spec["quotas"]
        return not (
            self.marks
            or self.spec["attributes"]
            or self.spec["identities"]
            or quotas["local"]
            or quotas["global"]
        )

    @property
    def partial(self) -> bool:
        """Did its making end before our mark was whole?"""
        return self.bare or (OWNER in self.marks and IDENTITY not in self.marks)


def active_accounts(client: Reader) -> dict[str, Mapping[str, str]]:
    """Type and email of all that are active, by name: one call."""
    with client.rucio("the list of accounts") as rucio:
        return {str(told["account"]): _said(told["type"], told["email"]) for told in rucio.list_accounts()}


def read_account(
    client: Reader, name: str, expressions: Collection[str], active: Mapping[str, str] | None = None
) -> Account | None:
    """What Rucio says of it now; None: there is no such account.

    `expressions` are those of global quotas that are asked for: one by one, where Rucio can't list them.
    `active` is what the list of active accounts says of it, where it was asked.
    """
    try:
        with client.rucio(f"account {name}") as rucio:
            if active is None:
                about = rucio.get_account(name)
                active = _said(about["account_type"], about["email"])
                if about["status"] != ACTIVE:
                    return Account(name, str(about["status"]), active)
            attributes = _attributes(rucio.list_account_attributes(name))
            identities = {f"{one['type']} {one['identity']}": True for one in rucio.list_identities(name)}
        use = _use(client, name)
        with client.rucio(f"quotas of account {name}") as rucio:
            local = _limits(rucio.get_local_account_limits(name)) if _hides_limits(use) else _limits_in(use)
            # what nobody asks for tells only whether the account is bare
            needed = expressions or not (attributes or identities or local)
            quotas = {"local": local, "global": _global(rucio, name, expressions) if needed else {}}
    except Missing:
        return None
    names: tuple[str, ...] = (OWNER, IDENTITY)
    marks = {key: str(attributes.pop(key)) for key in names if key in attributes}
    spec = {**active, "attributes": attributes, "identities": identities, "quotas": quotas}
    return Account(name, ACTIVE, spec, marks, _counted(use))


def _said(sort: str, email: str | None) -> Mapping[str, str]:
    return {"type": sort, "email": email or ""}


def _attributes(answer: Iterable[Any]) -> dict[str, Json]:
    """They come as one list in a list."""
    found = [entry for one in answer for entry in (one if isinstance(one, list) else [one])]
    return {entry["key"]: entry["value"] for entry in found}


def _limits(found: Mapping[str, float]) -> dict[str, Json]:
    return {name: limit_of(value) for name, value in found.items()}


def limit_of(value: float) -> int | str:
    """Bytes; what Rucio keeps as -1 comes as infinite."""
    return UNLIMITED if value in (float("inf"), -1) else int(value)


def _global(rucio: Any, name: str, expressions: Iterable[str]) -> dict[str, Json]:
    """By expression. Rucio can't list them while one of them selects nothing."""
    try:
        found = rucio.get_global_account_limits(name)
        return {expression: limit_of(entry["limit"]) for expression, entry in found.items()}
    except rucio.errors as error:
        if type(error).__name__ != _EMPTY:
            raise
    limits = {}
    for expression in expressions:
        answer = rucio.get_global_account_limit(name, expression)
        if answer.get(expression) is not None:
            limits[expression] = limit_of(answer[expression])
    return limits


def _use(client: Reader, name: str) -> list[Mapping[str, Any]] | None:
    """Where it has data or a quota; None: we may not see it."""
    try:
        with client.rucio(f"use of account {name}") as rucio:
            return list(rucio.get_local_account_usage(name))
    except Denied:
        return None


def _hides_limits(use: Iterable[Mapping[str, Any]] | None) -> bool:
    """Does its use not tell all quotas? Where it says 0 there may be none, or one of 0."""
    return use is None or not all(entry["bytes_limit"] for entry in use)


def _limits_in(use: Iterable[Mapping[str, Any]] | None) -> dict[str, Json]:
    return _limits({entry["rse"]: entry["bytes_limit"] for entry in use or ()})


def _counted(use: Iterable[Mapping[str, Any]] | None) -> dict[str, dict[str, int]] | None:
    if use is None:
        return None
    return {entry["rse"]: {"bytes": entry["bytes"], "files": entry["files"]} for entry in use}
