"""References to secrets, and what those stand for that are kept somewhere: in the environment, in files.

Text that is no reference is in no message: people write the secret itself where its name should stand.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from typing import Final, NamedTuple

from reconciler.model import Ref
from reconciler.secret.age import IDENTITY, decrypted
from reconciler.secret.errors import BadReference, NoSecret
from reconciler.secret.generate import TYPES, Generated
from reconciler.secret.key import KEY
from reconciler.secret.reading import content, text

_LONGEST: Final = 1000  # characters of a reference
_FORMS: Final = "expected a reference: env:NAME, file:/path, file:/path#key, age:/path or age:/path#key"


class Variable(NamedTuple):
    """A variable of the environment."""

    name: str

    def __str__(self) -> str:
        return f"env:{self.name}"


class File(NamedTuple):
    """A file (`key` empty), or one entry of it. `age`: encrypted. The path is absolute, without `..`."""

    path: str
    key: str
    age: bool

    def __str__(self) -> str:
        return f"{'age' if self.age else 'file'}:{self.path}{'#' if self.key else ''}{self.key}"


Reference = Variable | File | Generated


def is_reference(said: str) -> bool:
    """Does this text begin like the reference to a secret that is kept somewhere?"""
    return said.startswith(("env:", "file:", "age:"))


def parse(said: str) -> Reference:
    """What a reference names; `str` of it is the same text again. Raises BadReference."""
    scheme, _, rest = said.partition(":")
    if len(said) > _LONGEST or not said.isprintable():
        raise BadReference("a reference is one line of at most 1000 characters", hint=_FORMS)
    if scheme == "env":
        return _variable(rest)
    if scheme in ("file", "age"):
        return _file(rest, scheme)
    if scheme == "generated":
        return _generated(rest)
    raise BadReference(f"{_FORMS}; what is there is not shown, it may be a secret")


def permitted(reference: Reference, patterns: Iterable[str]) -> bool:
    """Is it one of these references, or does it begin like a pattern that ends with `*`?

    For references that authors write: whoever may name any file or variable of the machine that makes the
    passes can have its credentials sent to a machine of their own.
    """
    said = str(reference)
    return any(
        said.startswith(pattern[:-1]) if pattern.endswith("*") else said == pattern for pattern in patterns
    )


def read(reference: Variable | File) -> str:
    """What a reference stands for, never empty. Raises NoSecret.

    A whole file is taken without its last line break. With `#key`, the file holds a JSON object of texts
    (it begins with `{`), or lines of `KEY=value` or `KEY: value`: `export ` before and one pair of quotes
    around are taken off, lines that begin with `#` are comments, and nothing is expanded.
    """
    said = str(reference)
    value = os.environ.get(reference.name) if isinstance(reference, Variable) else _held(reference, said)
    if not value:
        hint = "set it for the process that makes the passes" if isinstance(reference, Variable) else ""
        raise NoSecret(f"{said}: it is not set, or empty, where this runs", hint=hint)
    with suppress(UnicodeEncodeError):
        value.encode()
        if "\0" not in value:
            return value
    raise NoSecret(f"{said}: what it holds is no UTF-8 text", hint="write binary secrets in base64")


def _variable(name: str) -> Variable:
    if not (name.isascii() and name.isidentifier()):
        raise BadReference("`env:` needs the name of a variable: letters, digits and _", hint=_FORMS)
    if name in (KEY, IDENTITY):
        raise BadReference(f"env:{name} is for us alone: all other secrets come from it")
    return Variable(name)


def _file(rest: str, scheme: str) -> File:
    path, mark, key = rest.partition("#")
    if not path.startswith("/") or path.startswith("//") or os.path.normpath(path) != path:
        raise BadReference(f"`{scheme}:` needs an absolute path without `.`, `..` and `//`", hint=_FORMS)
    if mark and (not key or "#" in key or key != key.strip()):
        raise BadReference(f"`{scheme}:` has one `#`, and a key after it, or none", hint=_FORMS)
    return File(path, key, scheme == "age")


def _generated(rest: str) -> Generated:
    sort, _, place = rest.partition(":")
    ref, _, tail = place.partition("#")
    name, _, generation = tail.rpartition(":")
    if sort not in TYPES:
        raise BadReference(f"`generated:` needs a type: {', '.join(TYPES)}")
    if not name or {*":#"} & {*name} or not _is_count(generation) or not _is_ref(ref):
        raise BadReference(f"expected generated:{sort}:<Ref>#<input>:<generation>")
    return Generated(sort, ref, name, int(generation))


def _is_count(said: str) -> bool:
    """Is it the one spelling of a whole number of at most nine digits?"""
    return said.isascii() and said.isdecimal() and len(said) < 10 and str(int(said)) == said


def _is_ref(said: str) -> bool:
    with suppress(ValueError):
        return ":" not in said and str(Ref.parse(said)) == said
    return False


def _held(file: File, said: str) -> str:
    data = content(file.path, said)
    whole = text(decrypted(data, said) if file.age else data, said)
    if not file.key:
        return whole.removesuffix("\n").removesuffix("\r")
    in_json = whole.lstrip().startswith("{")
    entry = _from_json(whole, file.key, said) if in_json else _from_lines(whole, file.key)
    if entry is None:
        raise NoSecret(f"{said}: the file has no entry of that name")
    return entry


def _from_json(whole: str, key: str, said: str) -> str | None:
    entries = None
    with suppress(ValueError, RecursionError):
        entries = json.loads(whole)
    if not isinstance(entries, dict):
        raise NoSecret(f"{said}: the file begins with {{ but is no JSON object")
    entry = entries.get(key)
    if entry is None or isinstance(entry, str):
        return entry
    raise NoSecret(f"{said}: the entry is no text", hint="write the value in quotes")


def _from_lines(whole: str, key: str) -> str | None:
    """The last entry of that name; what comes first in its line, `=` or `: `, ends the name."""
    found = None
    for line in whole.split("\n"):
        ends = [place for place in (line.find("="), line.find(": ")) if place > 0]
        if ends and line[: min(ends)].strip().removeprefix("export ").strip() == key:
            found = _unquoted(line[min(ends) + 1 :].strip())
    return found


def _unquoted(value: str) -> str:
    quoted = len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'"
    return value[1:-1] if quoted else value
