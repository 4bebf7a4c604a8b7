"""Part of `load`: which files could be ours, and what one of them holds."""

from __future__ import annotations

import re
from typing import Final

from reconciler.errors import Problem
from reconciler.model import Json
from reconciler.printable import printable
from reconciler.resources import schema_names
from reconciler.source.blob_cache import Entry

LIMIT: Final = 2**20  # bytes of one file
SETTINGS: Final = "reconciler.yaml"
_LIBRARY: Final = ("catalogue", "roles")
_OUR_VERSION = re.compile(r"reconciler(?![a-z])", re.IGNORECASE)


def is_candidate(path: str) -> bool:
    """Could this file hold objects of ours? Hidden files and the catalogue's and roles' own files can't."""
    if not path.lower().endswith((".yaml", ".yml")):
        return False
    if path[0] == "." or "/." in path:
        return False
    return not is_of_library(path)


def is_of_library(path: str) -> bool:
    """Does this file belong to the catalogue of services or to a role?"""
    top, _, inside = path.partition("/")
    return top in _LIBRARY and inside != "" and "/." not in path


def key_of(path: str, blob: str) -> str:
    """Under which name the cache knows a file: reconciler.yaml is read in another way than the others."""
    return f"settings:{blob}" if path == SETTINGS else blob


def parse(data: bytes, key: str = "", used: int = 0) -> Entry:
    """The objects of ours in a file (all documents of reconciler.yaml), or why it can't be read."""
    from reconciler.strict_yaml import YamlError, read  # noqa: PLC0415  a warm run parses nothing

    try:
        documents = [(found.index, found.line, found.value) for found in read(data)]
    except YamlError as error:
        problem = (error.line, error.column, error.code, error.message, error.hint)
        return Entry(used, [], [problem])
    if key.startswith("settings:"):
        return Entry(used, documents, [])
    return Entry(used, [entry for entry in documents if is_ours(entry[2])], [])


def is_ours(value: Json) -> bool:
    """Is this an object of ours, or meant to be one (a wrong or missing apiVersion)?"""
    if not isinstance(value, dict):
        return False
    version = value.get("apiVersion")
    if isinstance(version, str):
        return _OUR_VERSION.match(version) is not None
    kind = value.get("kind")
    return isinstance(kind, str) and kind in _kinds() and ("metadata" in value or "spec" in value)


def _kinds() -> frozenset[str]:
    return frozenset(schema_names()) - {"Settings"}


_MOVE: Final = "a file that is none of ours may be in a folder whose name begins with a dot"


def problem_in(path: str, line: int, column: int, code: str, message: str, hint: str) -> Problem:
    """A problem at a place, its path printable."""
    return Problem(printable(path), line, column, code, message, hint)


def symlink_problem(path: str) -> Problem:
    """What is said about a name that is no plain file."""
    message = "a symbolic link, or no plain file; it is not followed"
    return problem_in(path, 1, 1, "Symlink", message, f"put the file itself here; {_MOVE}")
