"""UserGroup: the tenant that grouped objects belong to, and what providers promised it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Final

from reconciler.kind import Kind
from reconciler.model import Declared, Ref
from reconciler.secret.recipients import check_recipient


@dataclass(frozen=True, slots=True)
class Identity:
    """How the identity provider calls the group: `claim` of a member's token holds `group`."""

    issuer: str
    group: str
    claim: str = "groups"


@dataclass(frozen=True, slots=True)
class Agreement:
    """One service level agreement, from the first to the last day."""

    id: str
    start: date
    end: date
    providers: tuple[str, ...] = ()
    description: str = ""


@dataclass(frozen=True, slots=True)
class UserGroupSpec:
    """Who the group is. `recipients` are public keys that its outputs are encrypted to."""

    description: str = ""
    contacts: tuple[str, ...] = ()
    identity: Identity | None = None
    slas: tuple[Agreement, ...] = ()
    recipients: tuple[str, ...] = ()


class UserGroupKind(Kind[UserGroupSpec]):
    """Configuration: it expands into nothing."""

    name = "UserGroup"
    grouped = False
    spec = UserGroupSpec

    def references(self, declared: Declared) -> Iterable[tuple[str, Ref]]:
        for index, agreement in enumerate(declared.spec["slas"]):
            for place, provider in enumerate(agreement["providers"]):
                yield f"spec.slas.{index}.providers.{place}", Ref("Provider", "", provider)

    def check(self, declared: Declared) -> Iterable[tuple[str, str, str]]:
        seen: set[str] = set()
        for index, agreement in enumerate(declared.spec["slas"]):
            where = f"spec.slas.{index}"
            if agreement["id"] in seen:
                yield f"{where}.id", f"two agreements have the id `{agreement['id']}`", "keep one"
            seen.add(agreement["id"])
            wrong = [name for name in ("start", "end") if not _is_date(agreement[name])]
            for name in wrong:
                yield f"{where}.{name}", f"there is no day {agreement[name]}", "write it as YYYY-MM-DD"
            if not wrong and agreement["end"] < agreement["start"]:
                yield f"{where}.end", "the agreement ends before it starts", "exchange the two dates"

        for index, said in enumerate(declared.spec["recipients"]):
            if unfit := check_recipient(said):
                yield f"spec.recipients.{index}", unfit, "one public key an entry"


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


KIND: Final = UserGroupKind()
