"""What the hand does to publish one upload: prove or fetch its content, then one rename."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime

from reconciler.drivers.publish.archive import copy_folder, unpack_archive
from reconciler.drivers.publish.client import Writer, check_there
from reconciler.drivers.publish.layout import Label, Repository, locked, make_skeleton, remove_any
from reconciler.drivers.publish.observing import content_differences
from reconciler.drivers.publish.publication import (
    Publication,
    Receipt,
    Standing,
    Version,
    look_at,
)
from reconciler.drivers.publish.publishing import (
    begin,
    complete,
    drop,
    make_work,
    next_label,
    own_publications,
    place_content,
    show,
)
from reconciler.drivers.publish.source import is_folder, open_source
from reconciler.drivers.publish.stream import escaped
from reconciler.drivers.publish.tree import Manifest, differences, flush, read_manifest
from reconciler.errors import BackendError, Conflict, NotOurs, Rejected
from reconciler.model import Mark, Observed, Resource, Spec, State


@dataclass(frozen=True, slots=True)
class Wish:
    """What one apply is about."""

    want: Resource
    have: Observed | None
    mark: Mark

    @property
    def spec(self) -> Spec:
        return self.want.spec

    @property
    def path(self) -> str:
        return str(self.want.spec["path"])

    @property
    def sha256(self) -> str:
        return str(self.want.spec["sha256"])

    def is_former(self, label: Label) -> bool:
        """Is this a version of the name that the same object had before?"""
        former = self.have.mark if self.have else None
        return former is not None and former.owner == self.mark.owner and label.of(former)

    def trusts(self, version: Version) -> bool:
        """Was this content fine when last seen, so that sizes and times are proof enough?"""
        have = self.have
        return have is not None and have.state is State.READY and version.sha256 == have.spec.get("sha256")


def publish(writer: Writer, wish: Wish) -> None:
    """Make the path show what is wished. Done already is success, and then nothing is written.

    A failure undoes what was begun and leaves readers with what they had.
    """
    check_there(writer)
    name = str(wish.spec["repository"])
    repository = Repository(name, f"{writer.path}/{name}")
    make_skeleton(repository, writer.path)
    with locked(repository):
        publication = _own(repository, wish)
        _check_place(repository, wish, publication)
    if publication is None or not _satisfied(publication, wish):
        drop(repository, _labels(_unfinished(publication)))
        _make_version(writer, repository, wish)
    _tidy(repository, wish)


def _make_version(writer: Writer, repository: Repository, wish: Wish) -> None:
    with locked(repository):
        label = next_label(repository, wish.mark)
        begin(repository, label, Receipt(wish.mark, wish.spec, _now()))
    try:
        entry = _entry_at_hand(repository, wish) or _fetch(writer, repository, label, wish)
        _switch(repository, label, entry, wish)
    except (BackendError, OSError):
        _withdraw(repository, label, wish)
        raise


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _own(repository: Repository, wish: Wish) -> Publication | None:
    return next((each for each in own_publications(repository, wish.mark) if each.path == wish.path), None)


def _labels(versions: tuple[Version, ...]) -> list[Label]:
    return [version.label for version in versions]


def _unfinished(publication: Publication | None) -> tuple[Version, ...]:
    """What killed runs left; what readers see, or saw last, stays until the new version stands."""
    if publication is None:
        return ()
    return tuple(version for version in publication.leftovers if not version.complete)


# -- may we? ----------------------------------------------------------------------------------------------


def _check_place(repository: Repository, wish: Wish, publication: Publication | None) -> None:
    """May we put our link there? Raises NotOurs for what is another's, Conflict for what must go first."""
    standing = look_at(repository, wish.path)
    where = f"{escaped(wish.path)} in {repository.name}"
    if standing.blocked:
        raise NotOurs(f"{where} can't be made: {escaped(standing.blocked)} is {standing.word}")
    if standing.label is not None:
        _check_label(standing.label, wish, where)
    elif standing.word and not _replaceable(standing, publication) and not _adopting(wish, standing):
        raise NotOurs(f"{where} is {standing.word} that we did not publish")


def _check_label(label: Label, wish: Wish, where: str) -> None:
    if label.of(wish.mark) or wish.is_former(label):
        return
    home = label.home
    if home.owner != wish.mark.owner:
        hint = "choose another path; only its owner can give this one up"
        raise NotOurs(f"{where} is published by {home.ref} of another owner, {home.owner}", hint=hint)
    raise Conflict(f"{where} is published by {home.ref}, which must go first")


def _replaceable(standing: Standing, publication: Publication | None) -> bool:
    """Is it a link that somebody put over ours? A directory or a file may hold what nobody else has."""
    return standing.link and publication is not None and any(each.complete for each in publication.versions)


def _adopting(wish: Wish, standing: Standing) -> bool:
    return wish.want.metadata.adopt and standing.word != "a file"


# -- is there anything to do? -----------------------------------------------------------------------------


def _satisfied(publication: Publication, wish: Wish) -> bool:
    """Is all as wished already, content included?"""
    shown = publication.current
    if shown is None or shown.receipt is None or not shown.complete or shown.receipt.mark != wish.mark:
        return False
    return _intact(publication.repository, shown.entry, "size" if wish.trusts(shown) else "checksum")


def _intact(repository: Repository, entry: str, how: str) -> bool:
    return next(content_differences(repository, entry, how), None) is None


# -- the content ------------------------------------------------------------------------------------------


def _entry_at_hand(repository: Repository, wish: Wish) -> str:
    """Whole content of that sha256 in the store, ours or another's; empty where there is none."""
    own = _own(repository, wish)
    trusted = {each.entry for each in own.versions if wish.trusts(each)} if own else set()
    for entry in sorted(os.listdir(repository.inside("store"))):
        how = "size" if entry in trusted else "checksum"
        if entry.startswith(f"{wish.sha256}.") and _intact(repository, entry, how):
            return entry
    return ""


def _fetch(writer: Writer, repository: Repository, label: Label, wish: Wish) -> str:
    """Unpack the source into the private work folder of this version. Returns the name it shall have."""
    folder = make_work(repository, label)
    source = str(wish.spec["source"])
    with open_source(writer.uploads, source, writer.target) as descriptor:
        unpack = copy_folder if is_folder(descriptor, source) else unpack_archive
        manifest = unpack(descriptor, f"{folder}/tree", wish.sha256, writer.limits)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with os.fdopen(os.open(f"{folder}/manifest.json", flags, 0o644), "wb") as stream:
        os.fchmod(stream.fileno(), 0o644)
        stream.write(manifest.encoded())
    flush(folder)
    return f"{wish.sha256}.{label.home.id}.{label.number}"


def _manifest_of(repository: Repository, label: Label, entry: str) -> Manifest:
    fresh = f"{repository.work(label)}/manifest.json"
    manifest = read_manifest(fresh) or read_manifest(repository.inside("store", entry, "manifest.json"))
    if manifest is None:
        raise Conflict("the content was removed while it was taken into use")
    return manifest


# -- the switch -------------------------------------------------------------------------------------------


def _switch(repository: Repository, label: Label, entry: str, wish: Wish) -> None:
    manifest, now = _manifest_of(repository, label, entry), _now()
    receipt = Receipt(wish.mark, wish.spec, now, True, manifest.size, len(manifest.files), now)
    with locked(repository):
        own = _own(repository, wish)
        _check_place(repository, wish, own)
        place_content(repository, label, entry)
        complete(repository, label, receipt)
        taken_over = _take_over(repository, wish, own, manifest)
        show(repository, label, receipt, _previous(own, wish))
        if taken_over:
            remove_any(taken_over)


def _previous(own: Publication | None, wish: Wish) -> list[str]:
    """The earlier versions that the index shows once this one stands."""
    older = [each.sha256 for each in reversed(own.versions) if each.complete] if own else []
    distinct = [sha256 for sha256 in dict.fromkeys(older) if sha256 != wish.sha256]
    return distinct[: int(wish.spec.get("keepPrevious", 0))]


def _take_over(repository: Repository, wish: Wish, own: Publication | None, manifest: Manifest) -> str:
    """Take over what stands there unmarked, only if it holds the same. Returns what can go afterwards.

    A directory is moved aside, so readers may find nothing for a moment: the one time this happens.
    """
    standing, place = look_at(repository, wish.path), repository.visible(wish.path)
    if not standing.word or _replaceable(standing, own):
        return ""
    real = os.path.realpath(place)
    wrong = [path for path, word in differences(manifest, real, "checksum") if word != "mode"]
    if wrong:
        raise Rejected(
            f"{escaped(wish.path)} can't be taken over: {len(wrong)} files differ, first {escaped(wrong[0])}",
            hint="move away what stands there, or upload what it holds",
        )
    if standing.link:
        released = os.path.realpath(repository.inside("released"))
        return real if os.path.dirname(real) == released else ""
    aside = repository.temporary("taken-over")
    os.rename(place, aside)
    return aside


# -- afterwards -------------------------------------------------------------------------------------------


def _withdraw(repository: Repository, label: Label, wish: Wish) -> None:
    """Undo a version that failed, unless readers see it already."""
    own = _own(repository, wish)
    if own is None or own.current is None or own.current.label != label:
        drop(repository, [label])


def _tidy(repository: Repository, wish: Wish) -> None:
    """Remove the versions that the new one supersedes, also under the name it had before."""
    own = _own(repository, wish)
    drop(repository, _labels(own.leftovers) if own else ())
    former = wish.have.mark if wish.have else None
    if former is None or former.owner != wish.mark.owner or former.id == wish.mark.id:
        return
    for publication in own_publications(repository, former):
        if publication.path == wish.path:
            drop(repository, _labels(publication.versions))
