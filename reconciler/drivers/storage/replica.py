"""The hand for replicas: a directory of files with our receipt and their manifest in it.

Files in a replica's directory that its manifest does not know are drift, and are removed when it is repaired:
the directory is ours. A size check looks at size and time of change only, a checksum at every byte.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from reconciler.drivers.storage import folders, scan
from reconciler.drivers.storage.client import Reader, Writer
from reconciler.drivers.storage.converging import Replica, open_element
from reconciler.drivers.storage.layout import OLD, OURS, Names, Receipt, names_of, replica_names
from reconciler.drivers.storage.manifest import differences, manifest_in, shown
from reconciler.drivers.storage.marking import (
    half_made,
    remove_half_made,
    same_or_gone,
    seen,
    to_trash,
    unmark,
)
from reconciler.drivers.storage.writing import Writing
from reconciler.errors import Conflict
from reconciler.kind import Ask
from reconciler.model import Change, FieldChange, Mark, Observed, State


class ReplicaHand:
    """Stateless."""

    def observe(self, client: Reader, ask: Ask) -> Iterable[Observed]:
        """One walk over the receipts; no file of any data set is looked at."""
        with client.lake() as lake:
            return [] if lake is None else list(scan.replicas(lake, client.target, str(client.path), ask))

    def verify(self, client: Reader, thing: Observed) -> Observed:
        """Compare all files with the manifest. Raises Conflict when it is gone since it was listed."""
        if thing.mark is None or thing.reason in ("Partial", "Copying"):
            return thing
        with client.lake() as lake:
            try:
                with folders.below(_open(lake), names_of(thing.uid)) as folder:
                    return _verified(folder, thing)
            except FileNotFoundError as error:
                raise Conflict(f"{thing.ref} changed or went while it was read") from error

    def apply(self, client: Writer, change: Change, mark: Mark) -> None:
        """Ingest, copy, repair, rename, take over, or write the receipt anew: whatever is still missing."""
        with client.own_lake() as lake, ExitStack() as stack:
            Replica(client, change, mark, open_element(stack, lake, client, change, mark)).converge()

    def release(self, client: Writer, change: Change) -> None:
        """Take our receipt and manifest out, and leave the files."""
        self._go(client, change, keep=True)

    def delete(self, client: Writer, change: Change) -> None:
        """Remove the directory and all that is in it."""
        self._go(client, change, keep=False)

    def _go(self, client: Writer, change: Change, *, keep: bool) -> None:
        thing, writing = seen(change), client.writing
        names = names_of(thing.uid)
        with client.lake() as lake, suppress(FileNotFoundError):
            if OURS in names:
                tidy = partial(_tidy, writing, _open(lake), names[0])
                remove_half_made(writing, _open(lake), names, tidy)
                return
            with folders.below(_open(lake), names[:-1]) as parent:
                if not same_or_gone(parent, names[-1], thing) or thing.mark is None:
                    return
                with folders.below(_open(lake), (names[0], OURS)) as ours:
                    half = half_made(OLD, thing.mark)
                    if keep:
                        with folders.below(parent, names[-1:]) as folder:
                            unmark(writing, folder, ours, half)
                        return
                    to_trash(writing, parent, names[-1], ours, half)
                    _remove_empty_ways(writing, _open(lake), names)
                    writing.remove(ours, str(half))


def _tidy(writing: Writing, lake: int, element: str, receipt: Receipt) -> None:
    """The directories above the place that a half-made replica had or was to have."""
    names = replica_names(receipt.ref, receipt.spec.get("dataset", ""))
    _remove_empty_ways(writing, lake, (element, *names))


def _remove_empty_ways(writing: Writing, lake: int, names: Names) -> None:
    """The directories of a data set and a scope go when nothing is left in them."""
    with suppress(FileNotFoundError), folders.below(lake, names[:1]) as element:
        with folders.below(element, names[1:2]) as scope:
            emptied = writing.remove_empty(scope, names[2])
        if emptied:
            writing.remove_empty(element, names[1])


def _open(lake: int | None) -> int:
    if lake is None:
        raise FileNotFoundError("the lake is not there")
    return lake


def _verified(folder: int, thing: Observed) -> Observed:
    receipt = scan.receipt_in(folder)
    if receipt is None:
        raise Conflict(f"{thing.ref} lost its receipt since it was listed")
    manifest = manifest_in(folder, receipt.content)
    if manifest is None:
        fields = [FieldChange("manifest", "missing or damaged", receipt.content)]
    else:
        fields = list(differences(folder, manifest, thing.spec["verify"]["how"]))
    if not fields:
        return replace(thing, verified=datetime.now(UTC))
    message = f"{len(fields)} files are not what the manifest says, {fields[0].path} first"
    drift = shown(fields)
    return replace(thing, state=State.FAILED, reason="Corrupt", message=message, drift=drift)
