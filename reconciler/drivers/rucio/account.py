"""The hand for accounts. Found by their name, never deleted by us."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from reconciler.drivers.rucio.account_reading import ACTIVE, Account, active_accounts, read_account
from reconciler.drivers.rucio.account_writing import make_account, wake_account, write_account
from reconciler.drivers.rucio.client import Reader, Writer
from reconciler.drivers.rucio.element_marks import (
    IDENTITY,
    OWNER,
    asked,
    key_of,
    named,
    own,
    refuse_foreign,
    uid_of,
)
from reconciler.drivers.rucio.side_by_side import each
from reconciler.drivers.rucio.translating import Missing
from reconciler.errors import Rejected
from reconciler.kind import Ask
from reconciler.model import PARTIAL, Change, Mark, Observed, Ref, State

ACCOUNT: Final = "DataAccount"
_MANY: Final = 8  # accounts for which the list of all is asked


class AccountHand:
    """Serves the primitive kind `DataAccount`."""

    def observe(self, client: Reader, ask: Ask) -> Iterable[Observed]:
        """Those that are asked for, and no others."""
        entries = list(asked(client.target, ask).items())
        active = active_accounts(client) if len(entries) >= _MANY else {}

        def read(reader: Reader, entry: tuple[str, tuple[str, ...]]) -> Account | None:
            name, expressions = entry
            return read_account(reader, name, expressions, active.get(name))

        found = each(client, read, entries)
        return [_observed(account, client.target, ask.owner) for account in found if account is not None]

    def verify(self, client: Reader, thing: Observed) -> Observed:
        """There is no content to prove."""
        return thing

    def apply(self, client: Writer, change: Change, mark: Mark) -> None:
        """Make it, or change what differs.

        Raises NotOurs; Rejected where an operator of Rucio has suspended it. A deleted one is made active
        again where the author says `adopt`.
        """
        want, name, expressions = named(change)
        have = read_account(client, name, expressions)
        if have is None:
            have = make_account(client, name, want.spec)
        if have.status != ACTIVE:
            refuse_foreign(None, mark, want, f"the account {name} ({have.status})", bare=False)
            if have.status != "DELETED":
                hint = "an operator of Rucio who knows why can make it active again"
                raise Rejected(f"account {name} is {have.status} at Rucio", hint=hint)
            have = wake_account(client, name, expressions)
        refuse_foreign(have.mark, mark, want, f"account {name}", bare=have.bare)
        references = want.facts.get("secrets", {})

        def password(identity: str) -> str | None:
            return client.places.secret(references[identity]) if identity in references else None

        write_account(client, want.spec, have, mark, want.facts, password)

    def release(self, client: Writer, change: Change) -> None:
        """Take our mark off: which object first, whose it is last."""
        name = uid_of(change).partition(":")[2]
        for key in (IDENTITY, OWNER):
            try:
                with client.rucio(f"account {name}") as rucio:
                    rucio.delete_account_attribute(name, key)
            except Missing:
                continue

    def delete(self, client: Writer, change: Change) -> None:
        """Never: rules and data belong to accounts."""
        raise Rejected(f"{change.ref}: accounts at Rucio are deleted by its operators only")


def _observed(account: Account, target: str, owner: str) -> Observed:
    state, reason, message = _state(account)
    return Observed(
        Ref(ACCOUNT, "", key_of(target, account.name)),
        ACCOUNT,
        target,
        account.spec,
        uid=f"{ACCOUNT}:{account.name}",
        mark=own(account.mark, owner, bare=account.bare),
        state=state,
        reason=reason,
        message=message,
        attributes=_used(account),
    )


def _state(account: Account) -> tuple[State, str, str]:
    if account.status != ACTIVE:
        said = f"account {account.name} is {account.status} at Rucio; only its operators can say why"
        return State.FAILED, account.status.capitalize(), said
    if account.partial:
        return State.FAILED, PARTIAL, "its making was interrupted, or it has nothing but its name"
    return State.READY, "", ""


def _used(account: Account) -> dict[str, Any]:
    if account.use is None:
        return {}
    sums = {key: sum(entry[key] for entry in account.use.values()) for key in ("bytes", "files")}
    return {**sums, "use": dict(account.use)}


HAND: Final = AccountHand()
