"""Where the files of a replica can be had: other copies, good ones first, and the upload. Reads only."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reconciler.drivers.storage import folders
from reconciler.drivers.storage.client import Reader
from reconciler.drivers.storage.layout import replica_names
from reconciler.drivers.storage.manifest import Manifest, manifest_in
from reconciler.drivers.storage.scan import receipt_in
from reconciler.errors import Rejected
from reconciler.model import Mark, Ref, Resource


@dataclass(frozen=True, slots=True)
class Source:
    """One open directory that may have the files. `manifest` is None for uploads and damaged copies."""

    label: str
    folder: int
    manifest: Manifest | None = None


@dataclass(slots=True)
class Sources:
    """All places for one replica, in the order in which they are tried, and what was not even open."""

    copies: list[Source] = field(default_factory=list)
    uploads: list[Source] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)

    @property
    def all(self) -> list[Source]:
        """Copies before uploads: an upload may be something else by now, which its checksum shows."""
        return [*self.copies, *self.uploads]

    def manifest(self) -> Manifest | None:
        """What the files are to be; None when there is no copy. Raises Rejected when no copy can tell."""
        told = next((copy.manifest for copy in self.copies if copy.manifest is not None), None)
        if told is None and self.copies:
            where = ", ".join(copy.label for copy in self.copies)
            raise Rejected(
                f"no copy has a sound manifest ({where})", hint="remove the damaged copies by hand"
            )
        return told

    def tried(self) -> str:
        """All places, for a message."""
        return "; ".join([*(source.label for source in self.all), *self.absent]) or "nothing"


def open_sources(stack: ExitStack, client: Reader, resource: Resource, mark: Mark) -> Sources:
    """Open all that the facts of a resource name. They are closed with the stack."""
    sources = Sources()
    for entry in resource.facts.get("copies", ()):
        if entry["driver"] == "storage" and entry["path"]:
            _open_copy(stack, client, resource, mark, entry, sources)
    for uploads in dict.fromkeys((client.uploads, *resource.facts.get("uploads", ()))):
        if uploads:
            _open_upload(stack, client.data / uploads, uploads, resource.spec["source"], sources)
    return sources


def _open_copy(
    stack: ExitStack,
    client: Reader,
    resource: Resource,
    mark: Mark,
    entry: Mapping[str, Any],
    sources: Sources,
) -> None:
    label = f"copy on {entry['element']}"
    here = (client.target, resource.spec["element"], str(resource.ref))
    if (entry["target"], entry["element"], entry["ref"]) == here:
        return  # the thing itself
    try:
        lake = stack.enter_context(folders.opened(client.data / entry["path"]))
        names = (entry["element"], *replica_names(Ref.parse(entry["ref"]), resource.spec["dataset"]))
        folder = stack.enter_context(folders.below(lake, names))
        receipt = receipt_in(folder)
    except (OSError, ValueError) as error:
        sources.absent.append(f"{label}: {_short(error)}")
        return
    if receipt is None or receipt.mark.owner != mark.owner or receipt.ref.group != resource.ref.group:
        sources.absent.append(f"{label}: not ours any more")
        return
    sources.copies.append(Source(label, folder, manifest_in(folder, receipt.content)))


def _open_upload(stack: ExitStack, base: Path, shown: str, source: str, sources: Sources) -> None:
    label = f"upload {source} in {shown}"
    try:
        root = stack.enter_context(folders.opened(base))
        way = tuple(_way(base, source))
        sources.uploads.append(Source(label, stack.enter_context(folders.below(root, way))))
    except (OSError, ValueError) as error:
        sources.absent.append(f"{label}: {_short(error)}")


def _way(base: Path, source: str) -> Iterator[str]:
    """The steps to a source, links resolved. Raises ValueError when they lead out of `uploads`."""
    if "\0" in source or source.startswith("/") or ".." in source.split("/"):
        raise ValueError("the path leads out of the uploads")
    real = os.path.realpath(base / source)
    root = os.path.realpath(base)
    if os.path.commonpath((root, real)) != root or real == root:
        raise ValueError("the path leads out of the uploads")
    yield from Path(real).relative_to(root).parts


def _short(error: Exception) -> str:
    return error.strerror or "unreadable" if isinstance(error, OSError) else str(error)
