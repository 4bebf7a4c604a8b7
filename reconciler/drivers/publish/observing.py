"""What the hand sees: publications from one scan of the receipts, and, deeply, their content."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from reconciler.drivers.publish.client import Reader
from reconciler.drivers.publish.layout import Label, Repository
from reconciler.drivers.publish.publication import (
    Publication,
    Version,
    describe,
    find_repositories,
    homes_in,
    look_at,
    publications_at,
)
from reconciler.drivers.publish.publishing import own_publications
from reconciler.drivers.publish.stream import escaped
from reconciler.drivers.publish.tree import differences, read_manifest
from reconciler.kind import Ask
from reconciler.model import ABSENT, NOTHING, FieldChange, Mark, Observed, Ref, State

KIND: Final = "SoftwareUpload"
_NAMED: Final = 20  # how many damaged files are named; the rest is counted
_UNPACKED: Final = "as unpacked"


def observe_all(client: Reader, ask: Ask) -> list[Observed]:
    """All that carries the owner's mark, half-made things included, and strangers at the natural keys."""
    found: list[Observed] = []
    for repository in find_repositories(client.path):
        for home in homes_in(repository):
            if home.owner == ask.owner:
                found += [_seen(client, thing) for thing in publications_at(repository, home)]
    known = {thing.uid for thing in found}
    keys = (key for key in sorted(ask.natural) if key not in known)
    return found + [thing for key in keys if (thing := _stranger(client, key))]


def _uid(repository: Repository, path: str, label: Label) -> str:
    return f"{repository.name}:{path}" if path else f"{repository.name}:{label}"


def _seen(client: Reader, publication: Publication) -> Observed:
    shown = publication.current or publication.latest
    receipt, label = shown.receipt, shown.label
    home = label.home
    reason, message, drift = _trouble(publication, shown)
    return Observed(
        ref=home.ref,
        kind=KIND,
        target=client.target,
        spec=receipt.spec if receipt else NOTHING,
        uid=_uid(publication.repository, publication.path, label),
        mark=receipt.mark if receipt else Mark(home.owner, home.id, home.ref),
        state=State.FAILED if reason else State.READY,
        reason=reason,
        message=message,
        attributes=describe(publication),
        drift=drift,
        since=receipt.created if receipt else "",
        verified=datetime.fromisoformat(receipt.verified) if receipt and receipt.verified else None,
    )


def _trouble(publication: Publication, shown: Version) -> tuple[str, str, tuple[FieldChange, ...]]:
    """Reason, message and drift of what a list already shows; all empty where nothing is wrong."""
    if not shown.label.number:
        return "Partial", "removing did not come to its end", ()
    if shown.receipt is None:
        return "ReceiptDamaged", "our receipt can't be read any more", ()
    if publication.current is None:
        return _hidden(publication)
    if not shown.complete or not os.path.isdir(publication.repository.published(shown.label, "tree")):
        return "Damaged", "the published content is gone", (FieldChange("content", ABSENT, _UNPACKED),)
    if publication.leftovers:
        left = [version.label.number for version in publication.leftovers]
        message = "readers see a whole version; another one was left half-made or half-removed"
        return "Partial", message, (FieldChange("leftVersions", left, ABSENT),)
    return "", "", ()


def _hidden(publication: Publication) -> tuple[str, str, tuple[FieldChange, ...]]:
    """Why readers don't see it: killed before the link was made, or something else was put there."""
    standing, wanted = publication.standing, f"version {publication.latest.label.number}"
    have = standing.word or (f"a version of {standing.label.home.ref}" if standing.label else "")
    if have:
        return "Drifted", f"readers find {have} there instead", (FieldChange("published", have, wanted),)
    message = "not visible to readers: publishing, or removing, did not come to its end"
    return "Partial", message, (FieldChange("published", ABSENT, wanted),)


def _stranger(client: Reader, key: str) -> Observed | None:
    """What stands at a natural key without anybody's mark."""
    name, _, path = key.partition(":")
    standing = look_at(Repository(name, f"{client.path}/{name}"), path)
    if not standing.word or standing.blocked:
        return None
    spec = {"repository": name, "path": path}
    return Observed(Ref(KIND, "", key), KIND, client.target, spec, key, message=standing.word)


def find_publication(client: Reader, thing: Observed) -> Publication | None:
    """What was observed, as it is now; None where it is gone."""
    name = thing.uid.partition(":")[0]
    if thing.mark is None:
        return None
    repository = Repository(name, f"{client.path}/{name}")
    things = own_publications(repository, thing.mark)
    return next(
        (each for each in things if _uid(repository, each.path, each.latest.label) == thing.uid), None
    )


def verify_content(client: Reader, thing: Observed) -> Observed:
    """Compare every published file with the manifest, by `spec.verify.how`."""
    publication = find_publication(client, thing)
    shown = publication.current if publication else None
    if publication is None or shown is None:
        return thing
    how = str((thing.spec.get("verify") or NOTHING).get("how", "checksum"))
    wrong = list(content_differences(publication.repository, shown.entry, how))
    return _damaged(thing, wrong) if wrong else replace(thing, verified=datetime.now(UTC))


def content_differences(repository: Repository, entry: str, how: str) -> Iterator[tuple[str, str]]:
    """Where content in the store is not what its manifest says: (path, what is wrong)."""
    manifest = read_manifest(repository.inside("store", entry, "manifest.json")) if entry else None
    if manifest is None:
        yield "manifest.json", "missing"
        return
    yield from differences(manifest, repository.inside("store", entry, "tree"), how)


def _damaged(thing: Observed, wrong: list[tuple[str, str]]) -> Observed:
    drift = [FieldChange(f"files.{escaped(path)}", word, _UNPACKED) for path, word in wrong[:_NAMED]]
    if len(wrong) > _NAMED:
        drift.append(FieldChange("files", f"{len(wrong) - _NAMED} more", _UNPACKED))
    first = f"{escaped(wrong[0][0])} ({wrong[0][1]})"
    message = f"{len(wrong)} published files are not as unpacked, first {first}"
    return replace(thing, state=State.FAILED, reason="Damaged", message=message, drift=(*thing.drift, *drift))
