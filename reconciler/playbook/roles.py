"""What a role says of itself, read from its files: its variables, and where it can run.

A role is a folder as Ansible knows it (ansible-core 2.19, "Roles" and "Role argument validation"), with one
file more, `meta/reconciler.yml`: `description`, `rootless` (it runs without root in a private directory) and
`removable` (it has `tasks/remove.yml`). Nothing here runs or renders a role, or loads Ansible.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from reconciler.errors import Problem, ReconcilerError
from reconciler.guess import did_you_mean
from reconciler.model import Json
from reconciler.playbook.options import option_flaws
from reconciler.playbook.tasks_files import Wrong, in_folders, not_yaml
from reconciler.printable import printable, shown
from reconciler.resources import roles_folder
from reconciler.strict_yaml import Places, YamlError, read

ABOUT: Final = "meta/reconciler.yml"
ARGUMENTS: Final = "meta/argument_specs.yml"
REMOVE: Final = "tasks/remove.yml"
_MAIN: Final = "tasks/main.yml"
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*\Z")
_ABOUT_KEYS: Final[Mapping[str, type]] = {"description": str, "rootless": bool, "removable": bool}
_OPTIONS: Final = ("argument_specs", "main", "options")


@dataclass(frozen=True, slots=True)
class RoleFacts:
    """A role as the reconciler knows it. `content` are 12 hex digits over all its files.

    `options` are those of `argument_specs.main.options`: name → type, required, default, choices, …
    `described`: the role has such a file, even if it names no options.
    """

    name: str
    content: str
    rootless: bool
    removable: bool
    description: str
    options: Mapping[str, Mapping[str, Json]]
    described: bool = True


def read_role(
    name: str, files: Mapping[str, bytes], *, folder: str = "roles"
) -> tuple[RoleFacts | None, list[Problem]]:
    """The role in these files (path inside the role → content), and all that is wrong with it.

    With any problem the role is None. Problems name the file as `<folder>/<name>/<path>`.
    """
    documents: dict[str, Any] = {}
    wrong = [found for file in (ABOUT, ARGUMENTS) for found in _read(files, file, documents)]
    about, arguments = documents.get(ABOUT, {}), documents.get(ARGUMENTS, {})
    wrong += [*_in_files(name, files), *_in_about(about, files), *_in_arguments(name, arguments)]
    wrong += in_folders(name, files, rootless=about.get("rootless") is True)
    if wrong:
        return None, _located(wrong, files, f"{folder}/{name}")
    said = {"description": "", "rootless": False, "removable": False, **about}
    return RoleFacts(
        name,
        content_of(files),
        said["rootless"],
        said["removable"],
        said["description"],
        _inside(arguments, _OPTIONS) or {},
        described=ARGUMENTS in files,
    ), []


@lru_cache(maxsize=1)
def builtin_roles() -> Mapping[str, RoleFacts]:
    """The roles that ship with us, by name. Raises ReconcilerError where one is wrong: a defect of ours."""
    roles = {}
    folder = str(roles_folder())
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        if not os.path.isdir(os.path.join(folder, name)) or name.startswith((".", "_")):
            continue
        role, problems = read_role(name, files_of(os.path.join(folder, name)), folder=folder)
        if role is None:
            raise ReconcilerError(f"a role that ships with us is wrong: {problems[0]}")
        roles[name] = role
    return roles


def files_of(folder: str) -> Mapping[str, bytes]:
    """All files of a role on this machine; hidden ones and what Python leaves behind are no part of it."""
    files = {}
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(
            entry for entry in folders if not entry.startswith(".") and entry != "__pycache__"
        )
        for name in sorted(names):
            if not name.startswith("."):
                path = os.path.join(place, name)
                with open(path, "rb") as file:
                    files[os.path.relpath(path, folder)] = file.read()
    return files


def content_of(files: Mapping[str, bytes]) -> str:
    """12 hex digits that change with any name and any byte."""
    whole = hashlib.sha256()
    for name in sorted(files):
        whole.update(f"{len(name)} {name} {len(files[name])}\0".encode())
        whole.update(files[name])
    return whole.hexdigest()[:12]


def _read(files: Mapping[str, bytes], file: str, documents: dict[str, Any]) -> Iterator[Wrong]:
    """Read one file into `documents`, as a mapping; a file that is not there says nothing."""
    try:
        found = read(files[file]) if file in files else ()
    except YamlError as error:
        yield not_yaml(file, error)
        return
    if found and (len(found) > 1 or not isinstance(found[0].value, dict)):
        yield Wrong(file, (), "one mapping is expected here")
    elif found:
        documents[file] = found[0].value


def _in_files(name: str, files: Mapping[str, bytes]) -> Iterator[Wrong]:
    if not _NAME.match(name):
        yield Wrong(_MAIN, (), f"{shown(name)} is no name of a role", "small letters, digits and _")
    if _MAIN not in files:
        yield Wrong(_MAIN, (), f"role {shown(name)} has no {_MAIN}", "tasks begin there")


def _in_about(about: Mapping[str, Any], files: Mapping[str, bytes]) -> Iterator[Wrong]:
    for key, value in about.items():
        expected = _ABOUT_KEYS.get(key)
        if expected is None:
            yield Wrong(ABOUT, (key,), f"unknown key {shown(key)}", did_you_mean(key, _ABOUT_KEYS))
        elif not isinstance(value, expected):
            words = "text" if expected is str else "true or false"
            yield Wrong(ABOUT, (key,), f"{key} must be {words}")
    if about.get("removable") is True and REMOVE not in files:
        yield Wrong(ABOUT, ("removable",), f"the role is removable but has no {REMOVE}", f"add {REMOVE}")


def _in_arguments(name: str, arguments: Mapping[str, Any]) -> Iterator[Wrong]:
    if not arguments:
        return
    for depth, _ in enumerate(_OPTIONS[:2]):
        if not isinstance(_inside(arguments, _OPTIONS[: depth + 1]), dict):
            yield Wrong(ARGUMENTS, _OPTIONS[:depth], f"a mapping {_OPTIONS[depth]} is expected here")
            return
    options = _inside(arguments, _OPTIONS)
    if options is None:
        return
    if not isinstance(options, dict):
        yield Wrong(ARGUMENTS, _OPTIONS, "options must be a mapping from variable to its description")
        return
    for variable in options:
        if not variable.startswith(f"{name}_"):
            hint = f"call it {name}_{shown(variable)}"
            yield Wrong(ARGUMENTS, (*_OPTIONS, variable), f"{shown(variable)} must begin with {name}_", hint)
    for path, message, hint in option_flaws(options):
        yield Wrong(ARGUMENTS, (*_OPTIONS, *path), message, hint)


def _inside(value: Any, path: Sequence[str]) -> Any:
    """What is at this path of keys; None where there is nothing."""
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _located(wrong: Sequence[Wrong], files: Mapping[str, bytes], folder: str) -> list[Problem]:
    """The problems with their lines; a file is looked into once, however much is wrong with it."""
    unplaced = {entry.file for entry in wrong if entry.place is None and entry.file in files}
    places = {file: Places(files[file]) for file in unplaced}
    return [_problem(entry, places.get(entry.file), folder) for entry in wrong]


def _problem(entry: Wrong, places: Places | None, folder: str) -> Problem:
    line, column = entry.place or (places.key(0, entry.path) if places else (1, 1))
    path = printable(f"{folder}/{entry.file}")
    return Problem(path, line, column, entry.code, printable(entry.message), printable(entry.hint))
