"""The hand for SoftwareUpload: every publication of one target, seen, proved, switched and removed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from reconciler.drivers.publish.applying import Wish, publish
from reconciler.drivers.publish.client import Reader, Writer, check_there, translated, writing
from reconciler.drivers.publish.index import log_removal
from reconciler.drivers.publish.layout import locked
from reconciler.drivers.publish.observing import find_publication, observe_all, verify_content
from reconciler.drivers.publish.publication import Publication
from reconciler.drivers.publish.publishing import drop, hide
from reconciler.drivers.publish.release import release_content
from reconciler.errors import NotOurs
from reconciler.kind import Ask
from reconciler.model import Change, Mark, Observed


class SoftwareUploadHand:
    """Publishes uploads in repositories below one directory. See the driver for what that means."""

    def observe(self, client: Reader, ask: Ask) -> Iterable[Observed]:
        """One scan of the receipts, and a look at each link; and what stands at the natural keys."""
        with translated(client):
            return observe_all(client, ask) if check_there(client) else []

    def verify(self, client: Reader, thing: Observed) -> Observed:
        """Compare every published file with the manifest; what differs is drift that names the files."""
        with translated(client):
            return verify_content(client, thing)

    def apply(self, client: Reader, change: Change, mark: Mark) -> None:
        """Publish `change.want`: prove or fetch the content, then switch what readers see in one step."""
        writer = writing(client)
        if change.want is None:
            raise ValueError(f"nothing is wanted of {change.ref}")
        with translated(writer):
            publish(writer, Wish(change.want, change.have, mark))

    def release(self, client: Reader, change: Change) -> None:
        """Leave the content at its path as plain files without our mark. Released already is success."""
        writer = writing(client)
        with translated(writer):
            _take_away(writer, change, "released")

    def delete(self, client: Reader, change: Change) -> None:
        """Remove a publication with all its versions. Gone already is success."""
        writer = writing(client)
        with translated(writer):
            _take_away(writer, change, "removed")


def _take_away(writer: Writer, change: Change, action: str) -> None:
    if change.have is None or change.have.mark is None:
        raise NotOurs(f"{change.ref} at {writer.target} does not carry our mark")
    publication = find_publication(writer, change.have)
    if publication is None:
        return
    repository, label = publication.repository, publication.latest.label
    with locked(repository):
        if publication.path:
            log_removal(repository, label, _line(publication, action))
            if action == "released":
                release_content(publication)
            hide(repository, label, publication.path)
    drop(repository, [version.label for version in publication.versions])


def _line(publication: Publication, action: str) -> dict[str, str]:
    latest = publication.latest
    return {
        "action": action,
        "path": publication.path,
        "sha256": latest.sha256,
        "since": latest.receipt.created if latest.receipt else "",
        "at": datetime.now(UTC).isoformat(),
    }
