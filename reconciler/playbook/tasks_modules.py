"""Which modules Ansible would find here: looked up in folders, without loading Ansible.

Where Ansible looks: ansible-core 2.19, "Adding modules and plugins locally", "Using collections". Short names
are in the role's `library/`, in ansible-core, in the system's folder, or ansible-core says which collection
they went to. Collections are where Python or the system has them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import Final

from reconciler.guess import did_you_mean
from reconciler.playbook.tasks_words import TASK
from reconciler.printable import shown

_SYSTEM_MODULES: Final = "/usr/share/ansible/plugins"
_SYSTEM_COLLECTIONS: Final = "/usr/share/ansible/collections/ansible_collections"
_CORE: Final = ("ansible.builtin", "ansible.legacy")
_ROUTES: Final = "config/ansible_builtin_runtime.yml"
_ENDINGS: Final = frozenset((".py", ".ps1", ""))


@dataclass(frozen=True, slots=True)
class Installed:
    """What is here: the names of ansible-core's modules, others with a short name, folders of collections.

    `routes` is the file in which ansible-core says which collection a module went to.
    """

    core: frozenset[str]
    local: frozenset[str]
    collections: tuple[str, ...]
    routes: str = ""


@lru_cache(maxsize=1)
def installed() -> Installed | None:
    """What this machine has; None where Ansible is not installed, so that nothing can be said."""
    core = _folders("ansible")
    if not core:
        return None
    collections = (*_folders("ansible_collections"), _SYSTEM_COLLECTIONS)
    return Installed(
        frozenset(_names(core)),
        frozenset(_names([f"{_SYSTEM_MODULES}/modules", f"{_SYSTEM_MODULES}/action"], ("",))),
        collections,
        os.path.join(core[0], _ROUTES),
    )


def own_modules(files: Iterable[str]) -> frozenset[str]:
    """The modules that a role brings along, from the paths of its files."""
    places = (path.split("/") for path in files if path.startswith(("library/", "action_plugins/")))
    return frozenset(_plain(pieces[-1]) for pieces in places)


def module_flaw(name: str, own: frozenset[str], here: Installed | None) -> tuple[str, str] | None:
    """Message and hint where there is no such module; None where there is, or where nobody knows."""
    if here is None or "{{" in name:
        return None
    collection, _, short = name.rpartition(".")
    if collection in _CORE or not collection:
        known = here.core if collection == _CORE[0] else here.core | here.local | own
        return None if short in known else _missing(name, short, known, here)
    if "." not in collection:
        return f"there is no module `{shown(name)}`", "the name of a module is short, or has three parts"
    return None if _is_there(collection, here) else _not_installed(collection)


def _missing(name: str, short: str, known: Iterable[str], here: Installed) -> tuple[str, str] | None:
    """It may have gone elsewhere, to a collection or to another name."""
    moved = _route(short, here)
    collection, _, new = moved.rpartition(".")
    if collection and (new in here.core if collection in _CORE else _is_there(collection, here)):
        return None
    if collection:
        return _not_installed(collection)
    prefix = name[: len(name) - len(short)]
    words = [f"{prefix}{entry}" for entry in known]
    hint = did_you_mean(name, words if prefix else [*words, *TASK])
    return f"there is no module `{shown(name)}`", hint


def _not_installed(collection: str) -> tuple[str, str]:
    hint = "use modules of ansible.builtin, or have it installed where roles are run"
    return f"the collection {shown(_whole(collection))} is not installed here", hint


def _is_there(collection: str, here: Installed) -> bool:
    steps = _whole(collection).split(".")
    return any(os.path.isdir(os.path.join(place, *steps)) for place in here.collections)


def _whole(collection: str) -> str:
    """Namespace and name: modules may lie in folders of a collection."""
    return ".".join(collection.split(".")[:2])


def _route(short: str, here: Installed) -> str:
    """The full name that a module of older Ansibles has now; empty for what was never one."""
    entry = rf"\n    {re.escape(short)}:(?:\n      .*)*?\n      redirect: ([\w.]+)"
    found = re.search(entry, _routes(here.routes))
    return found[1] if found else ""


@lru_cache(maxsize=1)
def _routes(path: str) -> str:
    """The parts on modules and actions. They are long and in plain blocks, so their indentation is enough."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except OSError:
        return ""
    parts = re.split(r"\n(?=  \w)", text)
    return "".join(part for part in parts if part.startswith(("  modules:", "  action:")))


def _folders(package: str) -> tuple[str, ...]:
    """Where a package is installed; it is not loaded."""
    spec = find_spec(package)
    return tuple(spec.submodule_search_locations or ()) if spec else ()


def _names(folders: Iterable[str], inside: Iterable[str] = ("modules", "plugins/action")) -> Iterator[str]:
    for folder in folders:
        for part in inside:
            place = os.path.join(folder, part)
            entries = os.listdir(place) if os.path.isdir(place) else ()
            yield from (_plain(entry) for entry in entries if _is_module(entry))


def _is_module(entry: str) -> bool:
    return os.path.splitext(entry)[1] in _ENDINGS and not entry.startswith((".", "__"))


def _plain(file: str) -> str:
    """The name of the module in a file; a deprecated one begins with `_`."""
    return os.path.splitext(file)[0].removeprefix("_")
