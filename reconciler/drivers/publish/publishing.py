"""The steps that write a repository, each of them safe to be killed in and to be done again.

Until the one rename of the link, a new version is a receipt that says so, and nothing that readers see. What
goes away loses its link first and its receipt last, so that nothing is ever without a mark.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from reconciler.drivers.publish.index import show_published, show_removed
from reconciler.drivers.publish.layout import Label, Repository, locked, write_file
from reconciler.drivers.publish.publication import (
    Publication,
    Receipt,
    Version,
    entry_of,
    group_versions,
    labels_of,
    look_at,
    published_names,
    read_version,
)
from reconciler.drivers.publish.tree import remove_tree
from reconciler.errors import Transient
from reconciler.model import Mark


def own_publications(repository: Repository, mark: Mark) -> list[Publication]:
    """All that carries this mark, by path."""
    mine = [read_version(repository, label) for label in labels_of(repository, mark)]
    return group_versions(repository, mine)


def next_label(repository: Repository, mark: Mark, sha256: str) -> Label:
    """The label of the version that comes next. Raises ValueError for a mark without a Ref."""
    if mark.ref is None:
        raise ValueError(f"the mark {mark} does not say its Ref")
    numbers = [label.number for label in labels_of(repository, mark)]
    return Label(mark.owner, mark.id, max(numbers, default=0) + 1, sha256[:12], mark.ref)


def begin(repository: Repository, label: Label, receipt: Receipt) -> None:
    """Write down, marked, that a version is being made. Only while the repository is locked."""
    folder = repository.temporary(str(label))
    os.mkdir(folder)
    os.chmod(folder, 0o755)
    write_file(f"{folder}/receipt.json", receipt.encoded(), f"{folder}/receipt")
    os.rename(folder, repository.published(label))


def make_work(repository: Repository, label: Label) -> str:
    """An empty private folder to unpack in; its `tree` becomes the content."""
    folder = repository.work(label)
    os.mkdir(folder, 0o700)
    os.mkdir(f"{folder}/tree", 0o700)
    return folder


def place_content(repository: Repository, label: Label, entry: str) -> None:
    """Give a version its content: from the store, or from where it was unpacked. Only while locked.

    The version refers to the content before it is in the store, so content without a user can't be.
    """
    target = f"../../store/{entry}/tree"
    os.symlink(target, repository.published(label, "tree"))
    work = repository.work(label)
    if os.path.isdir(work):
        os.chmod(f"{work}/tree", 0o755)
        os.chmod(work, 0o755)
        os.rename(work, repository.inside("store", entry))
    if not os.path.isdir(repository.published(label, "tree")):
        raise Transient("the content was removed while it was taken into use")


def complete(repository: Repository, label: Label, receipt: Receipt) -> None:
    """Write the receipt of a version that has its content. Only while the repository is locked."""
    path = repository.published(label, "receipt.json")
    write_file(path, receipt.encoded(), repository.temporary("receipt"))


def show(repository: Repository, label: Label, receipt: Receipt, previous: list[str]) -> None:
    """Make a version what readers see, in one rename. Only while the repository is locked."""
    path = str(receipt.spec["path"])
    show_published(repository, receipt, previous)
    _make_folders(repository, path)
    temporary = repository.temporary("link")
    os.symlink(repository.link_text(path, label), temporary)
    os.rename(temporary, repository.visible(path))


def hide(repository: Repository, label: Label, path: str) -> None:
    """Take a publication out of the readers' sight. Only while the repository is locked."""
    show_removed(repository, label, path)
    shown = look_at(repository, path).label
    if shown is not None and (shown.owner, shown.id) == (label.owner, label.id):
        os.unlink(repository.visible(path))
    _remove_folders(repository, path)


def _make_folders(repository: Repository, path: str) -> None:
    """Make the folders above a path, noting first which of them are ours to remove again."""
    pieces = path.split("/")[:-1]
    for depth in range(1, len(pieces) + 1):
        above = "/".join(pieces[:depth])
        if not os.path.isdir(repository.visible(above)):
            os.makedirs(repository.inside("folders", above), exist_ok=True)
            os.mkdir(repository.visible(above))
            os.chmod(repository.visible(above), 0o755)


def _remove_folders(repository: Repository, path: str) -> None:
    """Remove the folders above a path that we made and that are empty now."""
    pieces = path.split("/")[:-1]
    for depth in range(len(pieces), 0, -1):
        above = "/".join(pieces[:depth])
        noted = repository.inside("folders", above)
        if not os.path.isdir(noted):
            continue
        if not _remove_empty(repository.visible(above)):
            return
        _remove_empty(noted)


def _remove_empty(path: str) -> bool:
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return True
    except OSError:  # something is in it, ours or not
        return False
    return True


def drop(repository: Repository, versions: Iterable[Version]) -> None:
    """Remove versions that nobody sees, with content that nobody else uses. Not while locked by us.

    What takes long, removing files, is done without the lock, on content that left the store.
    """
    labels = sorted(version.label for version in versions)
    if not labels:
        return
    for label in labels:  # what was being unpacked, or removed, when we were killed
        remove_tree(repository.work(label))
    with locked(repository):
        for label in labels:
            _detach(repository, label)
    for label in labels:
        remove_tree(repository.work(label))
    with locked(repository):
        for label in labels:
            _forget(repository, label)


def _detach(repository: Repository, label: Label) -> None:
    entry = entry_of(repository, label)
    stored = repository.inside("store", entry)
    if not entry or not os.path.isdir(stored) or _used(repository, label, entry):
        return
    os.rename(stored, repository.work(label))


def _used(repository: Repository, label: Label, entry: str) -> bool:
    """Does another version, of whatever owner, show this content?"""
    alike = f".{label.content}~"
    others = (other for name in published_names(repository) if alike in name and (other := Label.parse(name)))
    return any(entry_of(repository, other) == entry for other in others if other != label)


def _forget(repository: Repository, label: Label) -> None:
    """Remove the version's own folder; the receipt, which is the mark in full, goes last."""
    for name in ("tree", "receipt.json"):
        path = repository.published(label, name)
        if os.path.lexists(path):
            os.unlink(path)
    remove_tree(repository.published(label))
