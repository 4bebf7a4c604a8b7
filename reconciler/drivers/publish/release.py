"""Letting go of a publication: its content stays where readers find it, and carries our mark no more."""

from __future__ import annotations

import os

from reconciler.drivers.publish.layout import RESERVED, make_folder
from reconciler.drivers.publish.publication import Publication
from reconciler.drivers.publish.tree import FOLDER_MODE, remove_tree


def release_content(publication: Publication) -> None:
    """Point the path to a copy of the content (hard links, no bytes are copied) that belongs to nobody.

    Only while the repository is locked. The path keeps being a link, so that readers see no gap.
    """
    shown = publication.current
    if shown is None or not shown.entry:
        return
    repository, name = publication.repository, shown.entry
    copy = repository.temporary(name)
    _copy(repository.inside("store", name, "tree"), copy)
    place = repository.inside("released", name)
    make_folder(repository.inside("released"), FOLDER_MODE)
    remove_tree(place)  # of a release that was killed before the link was switched
    os.rename(copy, place)
    text = "../" * publication.path.count("/") + f"{RESERVED}/released/{name}"
    temporary = repository.temporary("link")
    os.symlink(text, temporary)
    os.rename(temporary, repository.visible(publication.path))


def _copy(source: str, folder: str) -> None:
    os.mkdir(folder)
    os.chmod(folder, FOLDER_MODE)
    for entry in sorted(os.scandir(source), key=lambda entry: entry.name):
        target = f"{folder}/{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            _copy(entry.path, target)
        else:
            os.link(entry.path, target, follow_symlinks=False)
