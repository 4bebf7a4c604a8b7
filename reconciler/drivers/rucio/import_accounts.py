"""Accounts and scopes of a Rucio as objects of kinds DataAccount and Scope, for the import. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from reconciler.drivers.rucio.import_elements import MARK, size_text
from reconciler.drivers.rucio.import_entries import Draft, Entry, label
from reconciler.drivers.rucio.importing import Account
from reconciler.printable import shown

_VALUE: Final = re.compile(r"[a-zA-Z0-9_/.-]{1,30}")
_MAIL: Final = re.compile(r"[^@\s]+@[^@\s]+")
_TYPES: Final = ("user", "group", "service")
_LOGINS: Final = ("x509", "oidc", "gss", "ssh", "saml")
_SMALL: Final = re.compile(r"[a-z0-9-]+")


def add_account(draft: Draft, account: Account, target: str) -> None:
    """One account and its scopes."""
    for scope in account.scopes:
        _add_scope(draft, scope, account.name, target)
    origin = f"account {account.name}"
    owner = account.attributes.get(MARK)
    if owner:
        return draft.leave_out(origin, f"the repository of owner {shown(str(owner))} keeps it")
    if not (account.attributes or account.identities or account.local or account.global_):
        why = "it has nothing but its name: whoever declares it takes it for unfinished work"
        return draft.leave_out(origin, why)
    name = label(account.name)
    spec: dict[str, Any] = {"target": target} | ({"account": account.name} if name != account.name else {})
    sort = str(account.told.get("type", "")).lower()
    spec |= {"type": sort} if sort in _TYPES else {}
    mail = account.told.get("email")
    spec |= {"email": mail} if mail and _MAIL.fullmatch(mail) else {}
    attributes = {key: value for key, value in sorted(account.attributes.items()) if _fits(key, value)}
    identities = [_identity(told) for told in account.identities if _login(told) in _LOGINS]
    more = {"identities": identities, "attributes": attributes, "quotas": _quotas(account)}
    spec |= {key: value for key, value in more.items() if value}
    comments = _comments(account, attributes)
    draft.add(Entry(f"data/accounts/{name}.yaml", "DataAccount", {"name": name}, spec, origin, comments))
    return None


def _add_scope(draft: Draft, scope: str, account: str, target: str) -> None:
    name = label(scope)
    spec = {"target": target, "account": account} | ({"scope": scope} if name != scope else {})
    draft.add(Entry(f"data/scopes/{name}.yaml", "Scope", {"name": name}, spec, f"scope {scope}"))


def _fits(key: str, value: Any) -> bool:
    return bool(_VALUE.fullmatch(key) and _VALUE.fullmatch(str(value)))


def _login(told: Mapping[str, Any]) -> str:
    return str(told["type"]).lower()


def _identity(told: Mapping[str, Any]) -> dict[str, Any]:
    said = {"type": _login(told), "identity": told["identity"]}
    mail = told.get("email")
    return said | ({"email": mail} if mail and _MAIL.fullmatch(mail) else {})


def _quotas(account: Account) -> dict[str, Any]:
    local = {rse: _size(limit) for rse, limit in sorted(account.local.items()) if not _SMALL.fullmatch(rse)}
    everywhere = {expression: _size(told["limit"]) for expression, told in sorted(account.global_.items())}
    return {key: value for key, value in (("local", local), ("global", everywhere)) if value}


def _size(limit: float | str | None) -> str:
    """Rucio says infinity, or nothing, where there is no limit."""
    if limit is None or isinstance(limit, str) or limit == float("inf") or limit < 0:
        return "unlimited"
    return size_text(int(limit))


def _comments(account: Account, attributes: Mapping[str, Any]) -> list[str]:
    said = []
    users = [str(told["identity"]) for told in account.identities if _login(told) not in _LOGINS]
    if users:
        said.append(
            f"not in this file: the users {', '.join(users)}, who log in by a password. They stay. To add one"
            " by git, name it under `identities` with type userpass and `secret`, a reference to the password"
        )
    if account.unread:
        said.append(f"its global quotas are not in this file: {account.unread}")
    unsaid = sorted(account.attributes.keys() - attributes.keys())
    if unsaid:
        said.append(f"not in this file, and left as it is: attributes {', '.join(unsaid)}")
    return said
