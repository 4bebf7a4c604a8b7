"""The hand for storage elements (RSEs). Found by their name, never deleted by us."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from reconciler.drivers.rucio.client import Reader, Writer
from reconciler.drivers.rucio.element_marks import OWNER, asked, key_of, named, own, refuse_foreign, uid_of
from reconciler.drivers.rucio.element_reading import Element, read_element
from reconciler.drivers.rucio.element_writing import make_element, write_element
from reconciler.drivers.rucio.side_by_side import each
from reconciler.drivers.rucio.translating import Missing
from reconciler.errors import Rejected
from reconciler.kind import Ask
from reconciler.model import PARTIAL, Change, Mark, Observed, Ref, State

RSE: Final = "rse"


class ElementHand:
    """Serves the primitive kind `rse`."""

    def observe(self, client: Reader, ask: Ask) -> Iterable[Observed]:
        """Those that are asked for, and no others: Rucio may have thousands."""
        common = client.settings.get("elements", {}).get("distances", {})

        def read(reader: Reader, entry: tuple[str, tuple[str, ...]]) -> Element | None:
            name, destinations = entry
            return read_element(reader, name, {*destinations, *common} - {name})

        found = each(client, read, list(asked(client.target, ask).items()))
        return [_observed(element, client.target, ask.owner) for element in found if element is not None]

    def verify(self, client: Reader, thing: Observed) -> Observed:
        """There is no content to prove: what lies on it are replicas of rules."""
        return thing

    def apply(self, client: Writer, change: Change, mark: Mark) -> None:
        """Make it, or change what differs.

        Raises NotOurs, Rejected where files lie by a rule that is to be another, Conflict.
        """
        want, name, destinations = named(change)
        have = read_element(client, name, destinations)
        if have is None:
            have = make_element(client, name, want.spec)
        what = f"storage element {name}"
        refuse_foreign(have.mark, mark, want, what, bare=have.bare)
        deterministic = want.spec.get("deterministic", have.spec["deterministic"])
        if not have.bare and deterministic != have.spec["deterministic"]:
            raise Rejected(f"{what} can't change `deterministic`: its files would not be found any more")
        write_element(client, want.spec, have, mark)

    def release(self, client: Writer, change: Change) -> None:
        """Take our mark off."""
        name = uid_of(change).partition(":")[2]
        try:
            with client.rucio(f"storage element {name}") as rucio:
                rucio.delete_rse_attribute(name, OWNER)
        except Missing:
            return

    def delete(self, client: Writer, change: Change) -> None:
        """Never: Rucio lets elements be deleted that hold the only copies."""
        raise Rejected(f"{change.ref}: storage elements at Rucio are deleted by its operators only")


def _observed(element: Element, target: str, owner: str) -> Observed:
    partial = element.bare
    return Observed(
        Ref(RSE, "", key_of(target, element.name)),
        RSE,
        target,
        element.spec,
        uid=f"{RSE}:{element.name}",
        mark=own(element.mark, owner, bare=partial),
        state=State.FAILED if partial else State.READY,
        reason=PARTIAL if partial else "",
        message="it has nothing but its name yet" if partial else "",
        attributes={"files": element.files, "bytes": element.size},
    )


HAND: Final = ElementHand()
