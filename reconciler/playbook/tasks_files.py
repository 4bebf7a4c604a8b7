"""What can be seen to be wrong in the files of a role that Ansible reads: tasks, handlers, defaults, vars.

Which folder holds what: ansible-core 2.19, "Roles", "Role directory structure".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from reconciler.playbook.tasks import Setting, task_flaws
from reconciler.playbook.tasks_modules import installed, own_modules
from reconciler.printable import shown
from reconciler.strict_yaml import YamlError
from reconciler.strict_yaml.ansible import Text, merged, read_ansible

_META: Final = ("meta/main.yml", "meta/main.yaml")
_TASKS: Final = ("tasks", "handlers")
_VARIABLES: Final = ("defaults", "vars")
_ENDINGS: Final = (".yml", ".yaml")
_FACTS: Final = "reconciler_"  # of the machine; a role may say what they are where we do not run it
_MOST: Final = 100  # of one file; whoever has more begins with these


@dataclass(frozen=True, slots=True)
class Wrong:
    """What is wrong in which file of the role: at a path of keys, or at a `place` (line, column, from 1)."""

    file: str
    path: Sequence[str | int]
    message: str
    hint: str = ""
    place: tuple[int, int] | None = None
    code: str = "Invalid"


def in_folders(name: str, files: Mapping[str, bytes], *, rootless: bool) -> Iterator[Wrong]:
    """All that is wrong there, file by file; what is not readable as YAML is only that."""
    documents: dict[str, Text] = {}
    for file in sorted(files):
        if _is_read(file):
            try:
                documents[file] = read_ansible(files[file])
            except YamlError as error:
                yield not_yaml(file, error)
    setting = Setting(installed(), own_modules(files), _borrows(documents), rootless=rootless)
    for file, document in documents.items():
        if document != "":
            yield from islice(_in_file(name, file, document, setting), _MOST)


def not_yaml(file: str, error: YamlError) -> Wrong:
    """What the reader of YAML says of a file."""
    return Wrong(file, (), error.message, error.hint, (error.line, error.column), error.code)


def _is_read(file: str) -> bool:
    if file in _META:
        return True
    hidden = file.rpartition("/")[2].startswith(".")
    return file.startswith(tuple(f"{one}/" for one in (*_TASKS, *_VARIABLES))) and (
        file.endswith(_ENDINGS) and not hidden
    )


def _borrows(documents: Mapping[str, Text]) -> bool:
    """Does the role name other roles or collections, whose modules then have short names in it?"""
    found = [documents[file] for file in _META if isinstance(documents.get(file), dict)]
    return any(entry.get("dependencies") or entry.get("collections") for entry in found)


def _in_file(name: str, file: str, document: Text, setting: Setting) -> Iterator[Wrong]:
    folder = file.partition("/")[0]
    if folder in _TASKS:
        flaws = task_flaws(document, replace(setting, handlers=folder == "handlers"))
        yield from (Wrong(file, *flaw) for flaw in flaws)
    elif not isinstance(document, dict):
        yield Wrong(file, (), "one mapping is expected here", "`variable: value`, without a `-` before it")
    elif folder == "defaults":
        yield from _in_defaults(name, file, merged(document))


def _in_defaults(name: str, file: str, defaults: Mapping[str, Text]) -> Iterator[Wrong]:
    """The names of variables are those of all roles of a machine: so each role has its own."""
    for variable in defaults:
        if not variable.startswith(_FACTS) and not variable.lstrip("_").startswith(f"{name}_"):
            hint = f"call it {name}_{shown(variable)}"
            yield Wrong(file, (variable,), f"{shown(variable)} must begin with {name}_", hint)
