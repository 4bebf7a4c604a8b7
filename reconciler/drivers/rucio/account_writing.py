"""How an account becomes what is wanted, step by step; every step may be done again.

First the account, then whose it is, so that what a kill leaves is known as ours; identities come last: nobody
can log in before quotas and attributes stand. What the wish does not name is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from reconciler.drivers.rucio.account_reading import UNLIMITED, Account, read_account
from reconciler.drivers.rucio.client import Writer
from reconciler.drivers.rucio.element_marks import IDENTITY, OWNER, differing, identity
from reconciler.drivers.rucio.translating import Exists, Missing
from reconciler.errors import Conflict, Rejected
from reconciler.model import Json, Mark, Spec

Password = Callable[[str], str | None]


def make_account(client: Writer, name: str, spec: Spec) -> Account:
    """A new account without anything."""
    with client.rucio(f"making account {name}") as rucio:
        rucio.add_account(name, spec["type"], spec.get("email"))
    made = read_account(client, name, ())
    if made is None:
        raise Conflict(f"account {name} was deleted while it was being made")
    return made


def wake_account(client: Writer, name: str, expressions: tuple[str, ...]) -> Account:
    """Make a deleted account active again: its name can't be used for a new one."""
    with client.rucio(f"account {name}") as rucio:
        rucio.update_account(name, "status", "ACTIVE")
    found = read_account(client, name, expressions)
    if found is None:
        raise Conflict(f"account {name} is gone")
    return found


def write_account(
    client: Writer, spec: Spec, have: Account, mark: Mark, facts: Mapping[str, Any], password: Password
) -> None:
    """Bring an account to what is wanted. `facts` has `emails`; `password` gives that of an identity."""
    _write_mark(client, have, mark)
    _write_account(client, spec, have)
    _write_attributes(client, have.name, spec.get("attributes", {}), have.spec["attributes"])
    for sort, wish in spec.get("quotas", {}).items():
        _write_quotas(client, have.name, sort, wish, have.spec["quotas"][sort])
    for named in spec.get("identities", {}):
        if named not in have.spec["identities"]:
            _add_identity(client, have.name, named, facts.get("emails", {}).get(named, ""), password)


def _write_mark(client: Writer, have: Account, mark: Mark) -> None:
    """Whose it is, then which object of ours; the second may change when the object is renamed."""
    with client.rucio(f"mark of account {have.name}") as rucio:
        if OWNER not in have.marks:
            rucio.add_account_attribute(have.name, OWNER, mark.owner)
    _write_attributes(client, have.name, {IDENTITY: identity(mark)}, have.marks)


def _write_account(client: Writer, spec: Spec, have: Account) -> None:
    names = {"type": "account_type", "email": "email"}
    with client.rucio(f"account {have.name}") as rucio:
        for key, column in names.items():
            if key in spec and spec[key] != have.spec[key]:
                rucio.update_account(have.name, column, spec[key])


def _write_attributes(client: Writer, name: str, wish: Mapping[str, Json], have: Mapping[str, Json]) -> None:
    """Rucio can't change the value of one: it goes, and comes back with the other."""
    for key, value in differing(wish, have):
        try:
            with client.rucio(f"attribute {key} of account {name}") as rucio:
                if key in have:
                    rucio.delete_account_attribute(name, key)
        except Missing:
            pass  # somebody else was faster
        with client.rucio(f"attribute {key} of account {name}") as rucio:
            rucio.add_account_attribute(name, key, str(value))


def _write_quotas(
    client: Writer, name: str, sort: str, wish: Mapping[str, Json], have: Mapping[str, Json]
) -> None:
    for place, value in differing(wish, have):
        with client.rucio(f"quota of account {name} on {place}") as rucio:
            rucio.set_account_limit(name, place, -1 if value == UNLIMITED else value, sort)


def _add_identity(client: Writer, name: str, named: str, email: str, password: Password) -> None:
    sort, _, key = named.partition(" ")
    secret = password(named)
    if sort == "USERPASS" and secret is None:
        raise Rejected(f"identity {key} of account {name} needs a password: name its `secret`")
    try:
        with client.rucio(f"identity {key} of account {name}") as rucio:
            rucio.add_identity(name, key, sort, email, password=secret)
    except Exists:
        return  # somebody else was faster
