"""The hand for scopes: namespaces of data, each with an account that owns it. Never deleted by us.

A scope can't carry a mark, and is made by one call: there is nothing half-made. It has one property, its
owner, which is changed only where the author says `adopt`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from reconciler.drivers.rucio.client import Reader, Writer
from reconciler.drivers.rucio.element_marks import asked, key_of, named, refuse_foreign
from reconciler.errors import Rejected
from reconciler.kind import Ask
from reconciler.model import Change, Mark, Observed, Ref

SCOPE: Final = "Scope"


class ScopeHand:
    """Serves the primitive kind `Scope`."""

    def observe(self, client: Reader, ask: Ask) -> Iterable[Observed]:
        """One list of all of them, if any is asked for."""
        names = asked(client.target, ask)
        owners = _owners(client) if names else {}
        for name in names:
            if name in owners:
                ref, spec = Ref(SCOPE, "", key_of(client.target, name)), {"account": owners[name]}
                yield Observed(ref, SCOPE, client.target, spec, uid=f"{SCOPE}:{name}")

    def verify(self, client: Reader, thing: Observed) -> Observed:
        """There is no content to prove."""
        return thing

    def apply(self, client: Writer, change: Change, mark: Mark) -> None:
        """Make it, or give it to the account that is to own it. Raises NotOurs."""
        want, name, _ = named(change)
        account, owners = want.spec["account"], _owners(client)
        with client.rucio(f"scope {name}") as rucio:
            if name not in owners:
                rucio.add_scope(account, name)
        if owners.get(name, account) == account:
            return
        refuse_foreign(None, mark, want, f"scope {name} of account {owners[name]}", bare=False)
        with client.rucio(f"scope {name}") as rucio:
            rucio.update_scope(account, name)

    def release(self, client: Writer, change: Change) -> None:
        """There is no mark to take off."""

    def delete(self, client: Writer, change: Change) -> None:
        """Never: names of data live in it for ever."""
        raise Rejected(f"{change.ref}: Rucio does not delete scopes")


def _owners(client: Reader) -> dict[str, str]:
    """Scope → account, of all. Not the library's list_scope_owners: its address needs a redirection."""
    from rucio.common.constants import HTTPMethod  # type: ignore[import-untyped]  # noqa: PLC0415  the library

    with client.rucio("scopes") as rucio:
        answer: Any = rucio._send_request(f"{rucio.host}/scopes/owner/", method=HTTPMethod.GET)  # noqa: SLF001
        if not answer.ok:
            sort, said = rucio._get_exception(  # noqa: SLF001
                headers=answer.headers, status_code=answer.status_code, data=answer.content
            )
            raise sort(said)
        found = [entry for one in rucio._load_json_data(answer) for entry in one]  # noqa: SLF001
        return {str(entry["scope"]): str(entry["account"]) for entry in found}


HAND: Final = ScopeHand()
