"""Making, taking over, letting go of and removing marked directories: what both hands share. WRITES."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import UTC, datetime

from reconciler.drivers.storage import folders
from reconciler.drivers.storage.layout import MANIFEST, OURS, RECEIPT, HalfMade, Names, Receipt
from reconciler.drivers.storage.scan import is_ours, receipt_in
from reconciler.drivers.storage.writing import Writing
from reconciler.errors import Conflict, NotOurs
from reconciler.model import Change, Mark, Observed, Resource


def _nothing(_receipt: Receipt) -> None:
    """Nothing else is to be tidied up."""


def now() -> str:
    """The time, as receipts tell it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def new_receipt(resource: Resource, mark: Mark, target: str) -> Receipt:
    """The receipt of a thing that is being made."""
    return Receipt(mark, dict(resource.spec), target, now())


def wanted(change: Change) -> Resource:
    """What is to be made; there always is something."""
    if change.want is None:
        raise TypeError(f"{change.ref}: nothing is wanted, so nothing can be applied")
    return change.want


def seen(change: Change) -> Observed:
    """What is to go; there always is something."""
    if change.have is None:
        raise TypeError(f"{change.ref}: nothing was seen, so nothing can go")
    return change.have


def existing_receipt(folder: int, change: Change, mark: Mark, target: str) -> Receipt | None:
    """The receipt of what stands at a wanted place; None when it is unmarked and may be taken over.

    Raises NotOurs for everything that is not what the change is about.
    """
    try:
        receipt = receipt_in(folder)
    except ValueError as error:
        raise NotOurs(
            f"what stands there for {change.ref} has a receipt that can't be read: {error}"
        ) from error
    if receipt is None:
        if change.have is not None and change.have.mark is None and wanted(change).metadata.adopt:
            return None
        raise NotOurs(f"a directory that does not carry our mark stands where {change.ref} is to be")
    if not is_ours(receipt, mark.owner, target):
        whose = f"{receipt.mark.owner} at target {receipt.target}"
        raise NotOurs(f"a directory of {whose} stands where {change.ref} is to be")
    former = change.have.mark.ref if change.have and change.have.mark else None
    if receipt.ref not in (change.ref, former):
        raise NotOurs(f"{receipt.ref} stands where {change.ref} is to be", hint="remove or rename it first")
    return receipt


def put_receipt(writing: Writing, folder: int, receipt: Receipt) -> None:
    """Write the receipt of an open marked directory, unless it says so already."""
    with suppress(ValueError):
        if receipt_in(folder) == receipt:
            return
    with folders.below(folder, (OURS,)) as ours:
        writing.put(ours, RECEIPT, receipt.dump())


def begin(writing: Writing, ours: int, half: HalfMade, receipt: Receipt) -> None:
    """A half-made directory, marked by its name, with a receipt inside. One that is there is gone on with."""
    with writing.folder(ours, (str(half), OURS)):
        pass
    with folders.below(ours, (str(half),)) as folder:
        put_receipt(writing, folder, receipt)


def finish(writing: Writing, ours: int, half: HalfMade, parent: int, name: str) -> None:
    """The half-made directory appears at its place, whole, by one rename."""
    if folders.is_there(parent, name):
        raise NotOurs(f"something appeared where {half.ref} is to be")
    writing.move(ours, str(half), parent, name)


def take_over(
    writing: Writing, ours: int, half: HalfMade, receipt: Receipt, folder: int, more: bytes
) -> None:
    """Mark a directory that stands already: all of our part of it appears by one rename."""
    writing.remove(ours, str(half))
    begin(writing, ours, half, receipt)
    with folders.below(ours, (str(half),)) as made:
        if more:
            with folders.below(made, (OURS,)) as inner:
                writing.put(inner, MANIFEST, more)
        writing.move(made, OURS, folder, OURS)
    writing.remove(ours, str(half))


def same_or_gone(folder: int, name: str, thing: Observed) -> bool:
    """Is the directory still there and what was seen? Raises Conflict when it is something else now."""
    try:
        with folders.below(folder, (name,)) as inner:
            receipt = receipt_in(inner)
    except FileNotFoundError:
        return False
    except ValueError as error:
        raise Conflict(f"the receipt of {thing.ref} can't be read any more: {error}") from error
    if receipt is None or thing.mark is None:
        return False
    if (receipt.mark.owner, receipt.mark.id) != (thing.mark.owner, thing.mark.id):
        raise Conflict(f"{receipt.ref} stands now where {thing.ref} was seen")
    return True


def to_trash(writing: Writing, parent: int, name: str, ours: int, half: HalfMade) -> None:
    """Gone from its place by one rename; what is to be emptied now stays marked until it is."""
    writing.remove(ours, str(half))
    writing.move(parent, name, ours, str(half))


def throw_away(writing: Writing, parent: int, name: str, ours: int, half: HalfMade) -> None:
    """To the trash, and emptied at once."""
    to_trash(writing, parent, name, ours, half)
    writing.remove(ours, str(half))
    os.fsync(ours)


def unmark(writing: Writing, folder: int, ours: int, half: HalfMade) -> None:
    """Take our part out of a directory by one rename, and leave the rest."""
    throw_away(writing, folder, OURS, ours, half)


def remove_half_made(
    writing: Writing, folder: int, names: Names, tidy: Callable[[Receipt], None] = _nothing
) -> None:
    """Remove what a killed run left at this place; `tidy` comes first, while its receipt is still there.

    Raises Transient while somebody is at work on it.
    """
    *way, name = names
    with ExitStack() as stack:
        stack.enter_context(suppress(FileNotFoundError))
        ours = stack.enter_context(folders.below(folder, way))
        inner = stack.enter_context(folders.below(ours, (name,)))
        stack.enter_context(writing.lock(inner))
        with suppress(ValueError):
            receipt = receipt_in(inner)
            if receipt is not None:
                tidy(receipt)
        writing.remove(ours, name)


def half_made(stage: str, thing: Mark) -> HalfMade:
    """The name under which a thing is being made or removed."""
    if thing.ref is None:
        raise TypeError("a mark in a lake names its Ref")
    return HalfMade(stage, thing.owner, thing.ref)
