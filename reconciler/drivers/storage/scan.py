"""What lies in a lake, from its receipts alone: the list that every pass makes. Reads only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

from reconciler.drivers.storage import folders
from reconciler.drivers.storage.layout import (
    ELEMENT,
    NEW,
    OLD,
    OURS,
    RECEIPT,
    REPLICA,
    HalfMade,
    Names,
    Receipt,
    natural_key,
    read_half_made,
    read_receipt,
    uid_of,
)
from reconciler.kind import Ask
from reconciler.model import NOTHING, Mark, Observed, Ref, State, mark_id

_DAMAGED: Final = "its receipt can't be read"
_LEFT: Final = {NEW: "its making was interrupted", OLD: "its removal was interrupted"}


def receipt_in(folder: int, name: str = ".") -> Receipt | None:
    """The receipt in a directory of an open one; None without one. Raises ValueError for a broken one."""
    try:
        content = folders.read(folder, f"{name}/{OURS}/{RECEIPT}")
    except FileNotFoundError:
        return None
    return read_receipt(content)


def is_ours(receipt: Receipt, owner: str, target: str) -> bool:
    """Made by this owner by way of this target?"""
    return receipt.mark.owner == owner and receipt.target == target


def elements(lake: int, target: str, path: str, ask: Ask) -> Iterator[Observed]:
    """All storage elements of ours, half-made ones, and unmarked directories at natural keys."""
    for name in folders.folders_in(lake):
        yield from _look(lake, (name,), name, (ELEMENT, target, path), ask)
    yield from _half_made(lake, (), ELEMENT, target, ask.owner)


def replicas(lake: int, target: str, path: str, ask: Ask) -> Iterator[Observed]:
    """All replicas on our elements, half-made ones, and unmarked directories at natural keys."""
    for name in folders.folders_in(lake):
        with folders.below(lake, (name,)) as element:
            if _is_element_of(element, ask.owner, target):
                yield from on_element(element, name, target, path, ask)
                yield from _half_made(element, (name,), REPLICA, target, ask.owner)


def _is_element_of(element: int, owner: str, target: str) -> bool:
    with suppress(ValueError):
        receipt = receipt_in(element)
        return receipt is not None and is_ours(receipt, owner, target)
    return False


def on_element(element: int, name: str, target: str, path: str, ask: Ask) -> Iterator[Observed]:
    """The finished replicas on one open element."""
    for scope in folders.folders_in(element):
        with folders.below(element, (scope,)) as scope_folder:
            for data in folders.folders_in(scope_folder):
                with folders.below(scope_folder, (data,)) as data_folder:
                    for leaf in folders.folders_in(data_folder):
                        key = natural_key((scope, data, leaf))
                        names = (name, scope, data, leaf)
                        yield from _look(data_folder, names, key, (REPLICA, target, path), ask)


def _look(parent: int, names: Names, key: str, where: tuple[str, str, str], ask: Ask) -> Iterator[Observed]:
    kind, target, path = where
    try:
        receipt = receipt_in(parent, names[-1])
    except ValueError:
        receipt, message = None, _DAMAGED
    else:
        message = ""
    if receipt is not None and is_ours(receipt, ask.owner, target):
        yield thing_of(kind, target, path, names, receipt)
    elif receipt is None and key in ask.natural:
        yield Observed(Ref(kind, "", key), kind, target, NOTHING, uid_of(target, names), message=message)


def thing_of(kind: str, target: str, path: str, names: Names, receipt: Receipt) -> Observed:
    """A finished thing in the words of its receipt."""
    state, reason, message = State.READY, "", ""
    if receipt.repairing:
        state, reason, message = State.FAILED, "Repairing", "some of its files are missing or wrong"
    uses = frozenset((uid_of(target, names[:1]),)) if kind == REPLICA else frozenset[str]()
    return Observed(
        receipt.ref,
        kind,
        target,
        receipt.spec,
        uid_of(target, names),
        receipt.mark,
        state,
        reason,
        message,
        uses,
        attributes_of(kind, f"{path}/{'/'.join(names)}", receipt),
        (),
        receipt.created,
        _time(receipt.verified),
    )


def attributes_of(kind: str, path: str, receipt: Receipt) -> Mapping[str, Any]:
    """What the back-end knows besides the spec."""
    if kind == ELEMENT:
        return {"path": path}
    told = {"path": path, "bytes": receipt.size, "files": receipt.files}
    return {**told, "manifest": receipt.content}


def _time(text: str) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _half_made(folder: int, names: Names, kind: str, target: str, owner: str) -> Iterator[Observed]:
    """Things that a killed run left, with the mark that their name carries."""
    with suppress(FileNotFoundError), folders.below(folder, (OURS,)) as ours:
        for name in folders.names_in(ours):
            half = read_half_made(name)
            if half is None or half.owner != owner:
                continue
            with suppress(FileNotFoundError), folders.below(ours, (name,)) as inner:
                yield _partial(inner, half, (*names, OURS, name), kind, target)


def _partial(folder: int, half: HalfMade, names: Names, kind: str, target: str) -> Observed:
    try:
        receipt = receipt_in(folder)
    except ValueError:
        receipt = None
    mark = receipt.mark if receipt else Mark(half.owner, mark_id(half.ref), half.ref)
    spec = receipt.spec if receipt else NOTHING
    state, reason, message = State.FAILED, "Partial", _LEFT[half.stage]
    if folders.is_locked(folder):
        state, reason, message = State.PROGRESSING, "Copying", "it is being copied"
    uses = frozenset((uid_of(target, names[:1]),)) if kind == REPLICA else frozenset[str]()
    since = receipt.created if receipt else ""
    uid = uid_of(target, names)
    return Observed(half.ref, kind, target, spec, uid, mark, state, reason, message, uses, since=since)
