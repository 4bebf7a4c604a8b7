"""What only a change can break: two validated snapshots → problems of the step from one to the other. Pure.

Each of these commits may be fine by itself. The places are those of the newer snapshot; for what is gone,
those of the older.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from reconciler.checks.validated import Validated
from reconciler.errors import Problem
from reconciler.model import Declared, Ref
from reconciler.printable import printable
from reconciler.source.parse import SETTINGS


@dataclass(frozen=True, slots=True)
class Against:
    """What is wrong with a change, and what perhaps was not meant."""

    problems: tuple[Problem, ...]
    notices: tuple[str, ...]


def validate_against(base: Validated, head: Validated) -> Against:
    """The problems of the change from `base` to `head`, sorted by path, and likely renames."""
    found = [*_owner(base, head), *_false_names(base, head)]
    for ref in _gone(base, head):
        found.extend(_removal(base.declared[ref], base, head))
    return Against(tuple(sorted(found)), _likely_renames(base, head))


def _likely_renames(base: Validated, head: Validated) -> tuple[str, ...]:
    """Hints about objects that go while one with the same spec comes: was a rename meant?"""
    notices = []
    for ref in _gone(base, head):
        heir = _heir(base.declared[ref], base, head)
        if heir is not None:
            notices.append(
                f"{ref} goes and {heir.ref}, with the same spec, comes ({heir.source}): that deletes one and"
                f" creates the other; for a rename add `metadata.formerly: {ref}`"
            )
    return tuple(notices)


def _gone(base: Validated, head: Validated) -> list[Ref]:
    """What was declared and is not any more, neither under a new name nor in a file that can't be read."""
    if head.unreadable:
        return []
    renamed = {entry.metadata.formerly for entry in head.declared.values() if entry.metadata.formerly}
    still = head.declared.keys() | head.invalid.keys() | renamed
    return sorted(base.declared.keys() - still)


def _heir(gone: Declared, base: Validated, head: Validated) -> Declared | None:
    """A new object of the same kind and spec."""
    new = (entry for ref, entry in head.declared.items() if ref not in base.declared)
    came = (entry for entry in new if entry.ref.kind == gone.ref.kind)
    alike = [entry for entry in came if entry.spec == gone.spec and entry.metadata.formerly is None]
    return min(alike, key=lambda entry: entry.ref, default=None)


def _removal(gone: Declared, base: Validated, head: Validated) -> Iterator[Problem]:
    ref = gone.ref
    if gone.metadata.locked:
        hint = "take `locked` out in one change, and remove the file in the next"
        yield _problem(gone, "LockedRemoved", f"{ref} is locked; it can't be removed at once", hint)
    if ref.kind == "Provider" and gone.spec.get("status") != "removed":
        hint = "set `spec.status: removed` first, and remove the file when the provider is empty"
        yield _problem(gone, "ProviderNotDrained", f"{ref} goes before it was drained", hint)
    heir = _heir(gone, base, head)
    if heir is not None and heir.ref.name == ref.name and heir.ref.group != ref.group:
        message = f"{ref} moves to group {heir.ref.group}: that deletes it and creates another"
        hint = "nothing passes from group to group: remove it in one change and declare it anew in the next"
        yield _problem(gone, "GroupMoved", message, hint)


def _false_names(base: Validated, head: Validated) -> Iterator[Problem]:
    """A new object that says it was one that never was: a misspelt name would delete and create."""
    if base.unreadable:
        return
    for ref, entry in head.declared.items():
        before = entry.metadata.formerly
        known = before is None or before in base.declared or before in base.invalid
        if not known and ref not in base.declared and ref not in base.invalid:
            hint = "check the name; without an object of that name there is nothing to take over"
            yield _problem(entry, "Formerly", f"{ref} says it was {before}, which was not declared", hint)


def _owner(base: Validated, head: Validated) -> Iterator[Problem]:
    owners = [side.own.get("owner") if isinstance(side.own, dict) else None for side in (base, head)]
    if None not in owners and owners[0] != owners[1]:
        hint = f"put `owner: {printable(str(owners[0]))}` back"
        message = "the owner changes: nothing that exists would be ours any more, and all would be made again"
        yield Problem(SETTINGS, 1, 1, "OwnerChanged", message, hint)


def _problem(entry: Declared, code: str, message: str, hint: str) -> Problem:
    return Problem(printable(entry.source.path), entry.source.line, 1, code, message, hint)
