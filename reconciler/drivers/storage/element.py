"""The hand for storage elements: a directory in the lake with our receipt in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from reconciler.drivers.storage import folders, scan
from reconciler.drivers.storage.client import Reader, Writer
from reconciler.drivers.storage.layout import NEW, OLD, OURS, element_names, names_of, read_half_made
from reconciler.drivers.storage.marking import (
    begin,
    existing_receipt,
    finish,
    half_made,
    new_receipt,
    put_receipt,
    remove_half_made,
    same_or_gone,
    seen,
    take_over,
    throw_away,
    unmark,
    wanted,
)
from reconciler.drivers.storage.writing import Writing
from reconciler.errors import Conflict
from reconciler.kind import Ask
from reconciler.model import Change, Mark, Observed


class ElementHand:
    """Stateless."""

    def observe(self, client: Reader, ask: Ask) -> Iterable[Observed]:
        """One look at the top of the lake."""
        with client.lake() as lake:
            return [] if lake is None else list(scan.elements(lake, client.target, str(client.path), ask))

    def verify(self, client: Reader, thing: Observed) -> Observed:
        """An element has no content of its own: what was listed is all there is."""
        return thing

    def apply(self, client: Writer, change: Change, mark: Mark) -> None:
        """Make the directory, take over an unmarked one, or write the receipt anew."""
        (name,) = element_names(wanted(change))
        writing = client.writing
        with client.own_lake() as lake:
            former = _former_name(change)
            if former and former != name and not folders.is_there(lake, name):
                writing.move(lake, former, lake, name)
            if folders.is_there(lake, name):
                _write(writing, lake, name, change, mark, client.target)
            else:
                _create(writing, lake, name, change, mark, client.target)

    def release(self, client: Writer, change: Change) -> None:
        """Take our receipt out; refused while replicas of ours lie on it, which nobody would find again."""
        self._go(client, change, keep=True)

    def delete(self, client: Writer, change: Change) -> None:
        """Remove the empty directory. Raises Conflict while anything lies in it, whoever's it is."""
        self._go(client, change, keep=False)

    def _go(self, client: Writer, change: Change, *, keep: bool) -> None:
        thing, writing = seen(change), client.writing
        names = names_of(thing.uid)
        with client.lake() as lake:
            if lake is None:
                return
            if len(names) > 1:
                remove_half_made(writing, lake, names)
            elif same_or_gone(lake, names[0], thing) and thing.mark is not None:
                with folders.below(lake, names) as folder, writing.folder(lake, (OURS,)) as ours:
                    _refuse_in_use(writing, folder, thing, keep=keep)
                    half = half_made(OLD, thing.mark)
                    if keep:
                        unmark(writing, folder, ours, half)
                    else:
                        throw_away(writing, lake, names[0], ours, half)


def _former_name(change: Change) -> str:
    """Where the element stands that was seen under another name; empty when there is none."""
    if change.have is None or change.have.mark is None or change.have.reason == "Partial":
        return ""
    return names_of(change.have.uid)[0]


def _write(writing: Writing, lake: int, name: str, change: Change, mark: Mark, target: str) -> None:
    """What stands there is ours, or may be taken over: only its receipt changes."""
    with folders.below(lake, (name,)) as folder:
        receipt = existing_receipt(folder, change, mark, target)
        if receipt is not None:
            put_receipt(writing, folder, replace(receipt, mark=mark, spec=dict(wanted(change).spec)))
            return
        with writing.folder(lake, (OURS,)) as ours:
            receipt = new_receipt(wanted(change), mark, target)
            take_over(writing, ours, half_made(NEW, mark), receipt, folder, b"")


def _create(writing: Writing, lake: int, name: str, change: Change, mark: Mark, target: str) -> None:
    with writing.folder(lake, (OURS,)) as ours:
        writing.remove(ours, str(half_made(OLD, mark)))
        half = half_made(NEW, mark)
        begin(writing, ours, half, new_receipt(wanted(change), mark, target))
        finish(writing, ours, half, lake, name)


def _refuse_in_use(writing: Writing, folder: int, thing: Observed, *, keep: bool) -> None:
    """Raises Conflict while there is anything besides our receipt and empty directories."""
    for scope in folders.folders_in(folder):
        with folders.below(folder, (scope,)) as inner:
            for data in folders.folders_in(inner):
                writing.remove_empty(inner, data)
        writing.remove_empty(folder, scope)
    others = [name for name in folders.names_in(folder) if name != OURS]
    if keep and thing.mark is not None:
        target, _, name = thing.uid.partition(":")
        mine = scan.on_element(folder, name, target, "", Ask(thing.mark.owner))
        others = [str(replica.ref) for replica in mine]
    with folders.below(folder, (OURS,)) as ours:
        halves = [name for name in folders.names_in(ours) if read_half_made(name) is not None]
    if halves or others:
        what = ", ".join((halves or others)[:3])
        hint = "remove the rules that put copies there, and what others keep there, first"
        raise Conflict(f"{thing.ref} is not empty: {what}", hint=hint)
