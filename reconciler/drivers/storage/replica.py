"""The hand for replicas: a directory of files with our receipt and their manifest in it.

Files in a replica's directory that its manifest does not know are drift, and are removed when it is repaired:
the directory is ours. A size check looks at size and time of change only, a checksum at every byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from errno import EDQUOT, ENOSPC

from reconciler.drivers.storage import folders, scan
from reconciler.drivers.storage.client import Reader, Writer
from reconciler.drivers.storage.copying import fill, no_room, repair
from reconciler.drivers.storage.layout import (
    MANIFEST,
    NEW,
    OLD,
    OURS,
    HalfMade,
    Names,
    Receipt,
    element_of,
    names_of,
    replica_names,
)
from reconciler.drivers.storage.manifest import (
    Entry,
    Manifest,
    check_path,
    checksum,
    differences,
    free_bytes,
    shown,
)
from reconciler.drivers.storage.marking import (
    begin,
    existing_receipt,
    finish,
    half_made,
    new_receipt,
    now,
    put_receipt,
    remove_half_made,
    same_or_gone,
    seen,
    take_over,
    throw_away,
    unmark,
    wanted,
)
from reconciler.drivers.storage.sources import Sources, manifest_in, open_sources
from reconciler.drivers.storage.writing import Writing
from reconciler.errors import Conflict, NotOurs, Rejected
from reconciler.kind import Ask
from reconciler.model import Change, FieldChange, Mark, Observed, Resource, State
from reconciler.units import size


class ReplicaHand:
    """Stateless."""

    def observe(self, client: Reader, ask: Ask) -> Iterable[Observed]:
        """One walk over the receipts; no file of any data set is looked at."""
        with client.lake() as lake:
            return [] if lake is None else list(scan.replicas(lake, client.target, str(client.path), ask))

    def verify(self, client: Reader, thing: Observed) -> Observed:
        """Compare all files with the manifest. Raises Conflict when the replica is gone since it was listed."""
        if thing.mark is None or thing.reason in ("Partial", "Copying"):
            return thing
        with client.lake() as lake:
            with suppress(FileNotFoundError), folders.below(_open(lake), names_of(thing.uid)) as folder:
                return _verified(folder, thing)
        raise Conflict(f"{thing.ref} is gone since it was listed")

    def apply(self, client: Writer, change: Change, mark: Mark) -> None:
        """Ingest, copy, repair, rename, take over, or write the receipt anew: whatever is still missing."""
        resource = wanted(change)
        with client.own_lake() as lake, _element(lake, client, resource, mark) as (element, receipt):
            try:
                names = replica_names(resource.ref, resource.spec["dataset"])
            except ValueError as error:
                raise Rejected(str(error)) from error
            _Replica(client, change, mark, element, receipt, names).converge()

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
                remove_half_made(writing, _open(lake), names)
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
                    throw_away(writing, parent, names[-1], ours, half)
            remove_empty_ways(writing, _open(lake), names)


def remove_empty_ways(writing: Writing, lake: int, names: Names) -> None:
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


@contextmanager
def _element(lake: int, client: Reader, resource: Resource, mark: Mark) -> Iterator[tuple[int, Receipt]]:
    """The element that a replica belongs to. Raises Conflict when it is not there, NotOurs when not ours."""
    try:
        name = element_of(resource)
        with folders.below(lake, (name,)) as element:
            receipt = scan.receipt_in(element)
            if receipt is None or not scan.is_ours(receipt, mark.owner, client.target):
                raise NotOurs(f"the directory {name} on target {client.target} is not an element of ours")
            yield element, receipt
    except FileNotFoundError as error:
        raise Conflict(f"element {resource.spec['element']} is not on target {client.target}") from error
    except ValueError as error:
        raise Rejected(str(error)) from error


class _Replica:
    """One replica while it is being converged: all that the steps share."""

    def __init__(
        self, client: Writer, change: Change, mark: Mark, element: int, at: Receipt, names: Names
    ) -> None:
        self.client = client
        self.writing = client.writing
        self.change = change
        self.resource = wanted(change)
        self.mark = mark
        self.element = element
        self.at = at
        self.names = names
        self.half = half_made(NEW, mark)

    def converge(self) -> None:
        """Look at what stands at the place, and do what is missing."""
        self._move_renamed()
        *way, name = self.names
        try:
            with folders.below(self.element, way) as parent, folders.below(parent, (name,)) as folder:
                self._existing(folder)
        except FileNotFoundError:
            with ExitStack() as stack, folders.below(self.element, (OURS,)) as ours:
                self._create(ours, open_sources(stack, self.client, self.resource, self.mark))

    # -- what stands already -----------------------------------------------------------------

    def _move_renamed(self) -> None:
        """A rule's new name is a new place: the directory moves first, then its receipt is written."""
        have = self.change.have
        if have is None or have.mark is None or have.reason in ("Partial", "Copying"):
            return
        _, *old = names_of(have.uid)
        if tuple(old) == self.names or names_of(have.uid)[0] != self.resource.spec["element"]:
            return
        with suppress(FileNotFoundError), folders.below(self.element, old[:-1]) as parent:
            if same_or_gone(parent, old[-1], have):
                with self.writing.folder(self.element, self.names[:-1]) as into:
                    if folders.is_there(into, self.names[-1]):
                        raise NotOurs(f"something stands where {self.resource.ref} is to be")
                    self.writing.move(parent, old[-1], into, self.names[-1])

    def _existing(self, folder: int) -> None:
        receipt = existing_receipt(folder, self.change, self.mark, self.client.target)
        if receipt is None:
            self._adopt(folder)
            return
        have = self.change.have
        broken = receipt.repairing or (have is not None and (have.drift or have.state is State.FAILED))
        if broken and (have is None or have.reason != "Partial"):
            with self.writing.lock(folder):
                receipt = self._repaired(folder, receipt)
        new = replace(receipt, mark=self.mark, spec=dict(self.resource.spec))
        put_receipt(self.writing, folder, new)

    def _repaired(self, folder: int, receipt: Receipt) -> Receipt:
        with ExitStack() as stack:
            sources = open_sources(stack, self.client, self.resource, self.mark)
            manifest = manifest_in(folder, receipt.content) or self._manifest_of(sources, receipt)
            put_receipt(self.writing, folder, replace(receipt, repairing=True))
            with folders.below(folder, (OURS,)) as ours:
                self.writing.put(ours, MANIFEST, manifest.dump())
            repair(self.writing, folder, manifest, self.resource.spec["verify"]["how"], sources)
        return replace(receipt, repairing=False, verified=now())

    def _manifest_of(self, sources: Sources, receipt: Receipt) -> Manifest:
        """The manifest of another copy of the same content, when our own is lost."""
        for copy in sources.copies:
            if copy.manifest is not None and copy.manifest.digest == receipt.content:
                return copy.manifest
        hint = "remove the copy by hand, if another one is good"
        raise Rejected(f"its manifest is lost and no copy has it; tried: {sources.tried()}", hint=hint)

    def _adopt(self, folder: int) -> None:
        """Take an unmarked directory over as it is: its files become the manifest, compared with nothing."""
        entries = []
        for found in folders.walk(folder):
            if not found.is_file:
                raise Rejected(f"{found.path} is a link or special file: a data set holds plain files only")
            check_path(found.path)
            status = found.status
            sha256 = checksum(folder, found.path)
            entries.append(Entry(found.path, status.st_size, sha256, status.st_mtime_ns))
        if not entries:
            raise Rejected("the directory that is to be taken over holds no files")
        manifest = Manifest(tuple(sorted(entries)))
        with folders.below(self.element, (OURS,)) as ours:
            receipt = self._receipt(manifest)
            take_over(self.writing, ours, self.half, receipt, folder, manifest.dump())

    def _receipt(self, manifest: Manifest) -> Receipt:
        receipt = new_receipt(self.resource, self.mark, self.client.target)
        told = {"bytes": manifest.size, "files": len(manifest.entries), "content": manifest.digest}
        return replace(receipt, verified=receipt.created, **told)

    # -- a new one ---------------------------------------------------------------------------

    def _create(self, ours: int, sources: Sources) -> None:
        self.writing.remove(ours, str(HalfMade(OLD, self.half.owner, self.half.ref)))
        self._begin(ours)
        with folders.below(ours, (str(self.half),)) as folder, self.writing.lock(folder):
            try:
                manifest = fill(self.writing, folder, sources)
                self._refuse_over_capacity(manifest.size)
            except (OSError, Rejected) as error:
                self._give_up(ours, folder, sources, error)
                raise
            with folders.below(folder, (OURS,)) as inner:
                self.writing.put(inner, MANIFEST, manifest.dump())
            put_receipt(self.writing, folder, self._receipt(manifest))
            *way, name = self.names
            with self.writing.folder(self.element, way) as parent:
                finish(self.writing, ours, self.half, parent, name)

    def _begin(self, ours: int) -> None:
        """Go on with what an interrupted attempt left, if it was for the same data set."""
        with suppress(FileNotFoundError, ValueError), folders.below(ours, (str(self.half),)) as folder:
            left = scan.receipt_in(folder)
            if left is not None and left.spec.get("dataset") == self.resource.spec["dataset"]:
                return
        with suppress(FileNotFoundError):
            remove_half_made(self.writing, ours, (str(self.half),))
        begin(self.writing, ours, self.half, new_receipt(self.resource, self.mark, self.client.target))

    def _give_up(self, ours: int, folder: int, sources: Sources, error: Exception) -> None:
        """Nothing stays of a copy that can't be made; only a kill leaves something to go on with."""
        free = free_bytes(folder)
        self.writing.remove(ours, str(self.half))
        if isinstance(error, OSError) and error.errno in (ENOSPC, EDQUOT):
            manifest = sources.manifest()
            raise no_room(manifest.size if manifest else free + 1, free) from error

    def _refuse_over_capacity(self, needed: int) -> None:
        capacity = self.at.spec.get("capacity")
        if not capacity:
            return
        ask = Ask(self.mark.owner)
        there = scan.on_element(self.element, self.names[0], self.client.target, "", ask)
        used = sum(thing.attributes["bytes"] for thing in there)
        if used + needed > size(capacity):
            left = max(size(capacity) - used, 0)
            raise Rejected(f"no room: {needed} bytes are needed, {left} of the capacity {capacity} are left")
