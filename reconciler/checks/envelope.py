"""apiVersion, kind, metadata: what every object has around its spec.

Stands under `validate`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any, Final

from reconciler.checks.schema import Finding
from reconciler.guess import did_you_mean
from reconciler.kind import Kind
from reconciler.model import NOTHING, PLAIN, Json, Metadata, Ref, Suspension
from reconciler.printable import shown

VERSION: Final = "reconciler/v1"
_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_KIND = re.compile(r"[A-Z][A-Za-z0-9]{0,62}")
_IDENTITY: Final = frozenset({"name", "group"})


def ref_of(value: Mapping[str, Json], kinds: Mapping[str, Kind[Any]]) -> Ref | None:
    """Which object this is, as far as its envelope can be read; of valid ones always."""
    metadata = value.get("metadata")
    kind = value.get("kind")
    if not isinstance(metadata, dict) or not isinstance(kind, str) or not _KIND.fullmatch(kind):
        return None
    name, group = metadata.get("name"), metadata.get("group", "")
    if not isinstance(name, str) or not _LABEL.fullmatch(name):
        return None
    known = kinds.get(kind)
    if known is not None and not known.grouped:
        return Ref(kind, "", name)  # a group here is a mistake that the schema reports
    if group == "":
        return None if known else Ref(kind, "", name)
    return Ref(kind, group, name) if isinstance(group, str) and _LABEL.fullmatch(group) else None


def unknown_kind(value: Mapping[str, Json], kinds: Mapping[str, Kind[Any]]) -> Finding | None:
    """Why no schema can be found for this object."""
    kind = value.get("kind")
    there = f"there are {', '.join(sorted(kinds))}"
    if "kind" not in value:
        return Finding((), "MissingField", "the field `kind` is missing", there, at_key=True)
    if not isinstance(kind, str):
        return Finding(("kind",), "WrongType", "a kind is a string", there)
    if kind in kinds:
        return None
    hint = did_you_mean(kind, kinds) or there
    return Finding(("kind",), "UnknownKind", f"there is no kind '{shown(kind)}'", hint)


def metadata_of(metadata: Mapping[str, Json]) -> Metadata:
    """The metadata of a valid object."""
    if metadata.keys() <= _IDENTITY:
        return PLAIN
    suspend, formerly, expires = (metadata.get(key) for key in ("suspend", "formerly", "expires"))
    return Metadata(
        labels=metadata.get("labels") or NOTHING,
        annotations=metadata.get("annotations") or NOTHING,
        suspend=Suspension(suspend["reason"], _date(suspend.get("until"))) if suspend else None,
        locked=metadata.get("locked", False),
        keep=metadata.get("onRemove") == "keep",
        formerly=Ref.parse(formerly) if formerly else None,
        adopt=metadata.get("adopt", False),
        expires=_date(expires),
    )


def _date(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None


def check_metadata(ref: Ref, metadata: Mapping[str, Json]) -> Iterator[Finding]:
    """What the schema of metadata can't say: days that exist, a rename that can be one."""
    yield from _check_date(metadata, ("metadata", "expires"))
    yield from _check_date(metadata.get("suspend") or NOTHING, ("metadata", "suspend", "until"))
    formerly = metadata.get("formerly")
    if not formerly:
        return
    before = Ref.parse(formerly)
    path = ("metadata", "formerly")
    if before.kind != ref.kind:
        message = f"formerly names a {before.kind}; an object keeps its kind, {ref.kind}"
        yield Finding(path, "Formerly", message, "a thing of another kind is deleted and created")
    elif bool(before.group) != bool(ref.group):
        form = "Kind/group/name" if ref.group else "Kind/name"
        yield Finding(path, "Formerly", f"'{formerly}' is no Ref of a {ref.kind}", f"write it as {form}")
    elif before.group != ref.group:
        message = f"{ref} can't take over {before}: that is of group {before.group}"
        hint = "a name stays in its group; release it there (`onRemove: keep`), then `adopt` it here"
        yield Finding(path, "Formerly", message, hint)
    elif before == ref:
        yield Finding(path, "Formerly", "formerly names the object itself", "take it out")


def _check_date(mapping: Mapping[str, Json], path: tuple[str, ...]) -> Iterator[Finding]:
    text = mapping.get(path[-1])
    if text is not None and not is_date(text):
        yield Finding(path, "BadDate", f"there is no day {text}", "write a day that exists as YYYY-MM-DD")


def is_date(text: str) -> bool:
    """Is there such a day?"""
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
