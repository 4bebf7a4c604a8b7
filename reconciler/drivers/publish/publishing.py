"""The steps that write a repository, each of them safe to be killed in and to be done again.

Until the one rename of the link, a new version is a receipt that says so, and nothing that readers see. What
goes away loses its link first and its receipt last, so that nothing is ever without a mark.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from reconciler.drivers.publish.index import show_published, show_removed
from reconciler.drivers.publish.layout import Home, Label, Repository, fill_file, locked, write_file
from reconciler.drivers.publish.publication import (
    Publication,
    Receipt,
    entry_of,
    look_at,
    publications_at,
)
from reconciler.drivers.publish.tree import remove_tree
from reconciler.errors import Transient
from reconciler.model import Mark


def own_publications(repository: Repository, mark: Mark) -> list[Publication]:
    """All that carries this mark, by path."""
    return publications_at(repository, Home.of(mark))


def next_label(repository: Repository, mark: Mark) -> Label:
    """The label of the version that comes next."""
    versions = [each for found in own_publications(repository, mark) for each in found.versions]
    return Label(Home.of(mark), max((each.label.number for each in versions), default=0) + 1)


def begin(repository: Repository, label: Label, receipt: Receipt) -> None:
    """Write down, marked, that a version is being made. Only while the repository is locked."""
    home, made = repository.inside("published", str(label.home)), repository.temporary("home")
    version = f"{made}/{label.number}"
    for folder in (made, version):
        os.mkdir(folder)
        os.chmod(folder, 0o755)
    fill_file(f"{version}/receipt.json", receipt.encoded())
    if not os.path.isdir(home):
        os.rename(made, home)
        return
    os.rename(version, repository.published(label))
    os.rmdir(made)


def make_work(repository: Repository, label: Label) -> str:
    """An empty private folder to unpack in; its `tree` becomes the content, and this version uses it."""
    folder = repository.work(label)
    os.mkdir(folder, 0o700)
    os.mkdir(f"{folder}/tree", 0o700)
    os.mkdir(f"{folder}/users", 0o755)
    _note_user(folder, label)
    return folder


def _note_user(folder: str, label: Label) -> None:
    """A note may outlive its version; then it says nothing. The link of a version says what it uses."""
    descriptor = os.open(f"{folder}/users/{_user(label)}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    os.close(descriptor)


def _user(label: Label) -> str:
    return str(label).replace("/", "!")  # no home and no number holds one


def place_content(repository: Repository, label: Label, entry: str) -> None:
    """Give a version its content: from the store, or from where it was unpacked. Only while locked.

    The version refers to the content before it is in the store, so content without a user can't be.
    """
    work, stored = repository.work(label), repository.inside("store", entry)
    if not os.path.isdir(work):
        if not os.path.isdir(stored):
            raise Transient("the content was removed while it was taken into use")
        _note_user(stored, label)
    os.symlink(f"../../../store/{entry}/tree", repository.published(label, "tree"))
    if os.path.isdir(work):
        for folder in (f"{work}/tree", f"{work}/users", work):
            os.chmod(folder, 0o755)
        os.rename(work, stored)


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
    shown = look_at(repository, path).label
    if shown is None or shown.home == label.home:
        show_removed(repository, path)
    if shown is not None and shown.home == label.home:
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


def drop(repository: Repository, versions: Iterable[Label]) -> None:
    """Remove versions that nobody sees, with content that nobody else uses. Not while locked by us.

    What takes long, removing files, is done without the lock, on content that left the store.
    """
    labels = sorted(versions)
    if not labels:
        return
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
    if entry and os.path.isdir(stored) and not _used(repository, label, entry):
        os.rename(stored, repository.work(label))


def _used(repository: Repository, label: Label, entry: str) -> bool:
    """Does another version, of whatever owner, show this content?"""
    names = os.listdir(repository.inside("store", entry, "users"))
    users = (user for name in names if (user := Label.parse(name.replace("!", "/"))))
    return any(entry_of(repository, user) == entry for user in users if user != label)


def _forget(repository: Repository, label: Label) -> None:
    """Remove the version's own folder: the receipt, which is the mark in full, goes late; its home last."""
    entry = entry_of(repository, label)
    for path in (
        repository.published(label, "tree"),
        repository.inside("store", entry, "users", _user(label)),
        repository.published(label, "receipt.json"),
    ):
        if os.path.lexists(path):
            os.unlink(path)
    remove_tree(repository.published(label))
    home = repository.inside("published", str(label.home))
    if os.path.isdir(home) and not os.listdir(home):
        os.rmdir(home)
