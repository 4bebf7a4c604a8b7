"""Converging one replica: ingest, copy, repair, rename, take over, or write its receipt anew. WRITES.

Every step looks first and does only what is missing, so it can be killed anywhere and run again.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from errno import EDQUOT, ENOSPC

from reconciler.drivers.storage import folders, scan
from reconciler.drivers.storage.client import Writer
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
    free_bytes,
    manifest_in,
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
    take_over,
    wanted,
)
from reconciler.drivers.storage.sources import Sources, open_sources
from reconciler.errors import BackendError, Conflict, NotOurs, Rejected
from reconciler.kind import Ask
from reconciler.model import Change, Mark, Resource, State
from reconciler.units import size


@dataclass(frozen=True, slots=True)
class Element:
    """The open directory of an element of ours, and its receipt."""

    folder: int
    receipt: Receipt


def open_element(stack: ExitStack, lake: int, client: Writer, change: Change, mark: Mark) -> Element:
    """The element that a replica belongs to. Raises Conflict when it is not there, NotOurs when not ours."""
    resource = wanted(change)
    try:
        name = element_of(resource)
        folder = stack.enter_context(folders.below(lake, (name,)))
        receipt = scan.receipt_in(folder)
    except FileNotFoundError as error:
        raise Conflict(f"element {resource.spec['element']} is not on target {client.target}") from error
    except ValueError as error:
        raise Rejected(f"element {resource.spec['element']}: {error}") from error
    if receipt is None or not scan.is_ours(receipt, mark.owner, client.target):
        raise NotOurs(f"the directory {name} on target {client.target} is not an element of ours")
    return Element(folder, receipt)


def _names(resource: Resource) -> Names:
    try:
        return replica_names(resource.ref, resource.spec["dataset"])
    except ValueError as error:
        raise Rejected(str(error)) from error


class Replica:
    """One replica while it is being converged: all that the steps share."""

    def __init__(self, client: Writer, change: Change, mark: Mark, at: Element) -> None:
        self.client = client
        self.writing = client.writing
        self.change = change
        self.resource = wanted(change)
        self.mark = mark
        self.at = at
        self.names = _names(self.resource)
        self.half = half_made(NEW, mark)

    def converge(self) -> None:
        """Look at what stands at the place, and do what is missing."""
        self._move_renamed()
        if self._stands():
            try:
                with folders.below(self.at.folder, self.names) as folder:
                    self._existing(folder)
            except NotADirectoryError as error:
                raise NotOurs(f"what stands where {self.resource.ref} is to be is no directory") from error
            return
        with ExitStack() as stack, folders.below(self.at.folder, (OURS,)) as ours:
            self._create(ours, open_sources(stack, self.client, self.resource, self.mark))

    def _stands(self) -> bool:
        *way, name = self.names
        with suppress(FileNotFoundError), folders.below(self.at.folder, way) as parent:
            return folders.is_there(parent, name)
        return False

    # -- what stands already -----------------------------------------------------------------

    def _move_renamed(self) -> None:
        """A rule's new name is a new place: the directory moves first, then its receipt is written."""
        have = self.change.have
        if have is None or have.mark is None or have.reason in ("Partial", "Copying"):
            return
        _, *old = names_of(have.uid)
        if tuple(old) == self.names or names_of(have.uid)[0] != self.resource.spec["element"]:
            return
        with suppress(FileNotFoundError), folders.below(self.at.folder, old[:-1]) as parent:
            if same_or_gone(parent, old[-1], have):
                with self.writing.folder(self.at.folder, self.names[:-1]) as into:
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
            put_receipt(self.writing, folder, replace(receipt, repairing=True))
            manifest = manifest_in(folder, receipt.content)
            if manifest is None:
                manifest = self._manifest_of(sources, receipt)
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
        with folders.below(self.at.folder, (OURS,)) as ours:
            receipt = self._receipt(manifest)
            take_over(self.writing, ours, self.half, receipt, folder, manifest.dump())

    def _receipt(self, manifest: Manifest) -> Receipt:
        receipt = new_receipt(self.resource, self.mark, self.client.target)
        return replace(
            receipt,
            verified=receipt.created,
            content=manifest.digest,
            size=manifest.size,
            files=len(manifest.entries),
        )

    # -- a new one ---------------------------------------------------------------------------

    def _create(self, ours: int, sources: Sources) -> None:
        self.writing.remove(ours, str(HalfMade(OLD, self.mark.owner, self.resource.ref)))
        self._begin(ours)
        with folders.below(ours, (str(self.half),)) as folder, self.writing.lock(folder):
            try:
                manifest = fill(self.writing, folder, sources)
                self._refuse_over_capacity(manifest.size)
            except (OSError, BackendError) as error:
                self._give_up(ours, folder, sources, error)
                raise
            with folders.below(folder, (OURS,)) as inner:
                self.writing.put(inner, MANIFEST, manifest.dump())
            put_receipt(self.writing, folder, self._receipt(manifest))
            *way, name = self.names
            with self.writing.folder(self.at.folder, way) as parent:
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
        capacity = self.at.receipt.spec.get("capacity")
        if not capacity:
            return
        ask = Ask(self.mark.owner)
        there = scan.on_element(self.at.folder, self.names[0], self.client.target, "", ask)
        used = sum(thing.attributes["bytes"] for thing in there)
        if used + needed > size(capacity):
            left = max(size(capacity) - used, 0)
            raise Rejected(f"no room: {needed} bytes are needed, {left} of the capacity {capacity} are left")
