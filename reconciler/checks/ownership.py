"""Who may write what: paths are policed here, and matter nowhere else.

Stands under `validate`. The rules always come from the trusted ref, so that no change loosens the rules that
it is judged by. A rule's path is matched against the whole path of a file: `*` stays within one folder, `**`
crosses folders, `{group}` must be the object's own group.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from reconciler.checks.schema import Finding
from reconciler.model import Json, Ref
from reconciler.settings import OwnershipRule

_PIECE = re.compile(r"\*\*/|\*\*|\*|\?|\{group\}|[^*?{]+|\{")


@dataclass(frozen=True, slots=True)
class Ownership:
    """The rules of one repository, by kind."""

    rules: Mapping[str, Sequence[OwnershipRule]]

    def findings(self, path: str, ref: Ref, metadata: Mapping[str, Json]) -> Iterator[Finding]:
        """Why this object may not be written in this file."""
        rules = self.rules.get(ref.kind)
        if rules is None:
            return
        fitting = [rule for rule in rules if _fits(rule.path, path, ref.group)]
        if not fitting:
            yield _misplaced(rules, ref)
        for name in sorted({name for rule in fitting for name in rule.fields if name in metadata}):
            message = f"`{name}` is not allowed here: the ownership rule of this path denies it"
            yield Finding(("metadata", name), "Ownership", message, "ask the operators", at_key=True)


def ownership_of(rules: Sequence[OwnershipRule]) -> Ownership:
    """Order the rules by kind. Kinds without a rule may be written anywhere."""
    kinds = sorted({kind for rule in rules for kind in rule.kinds})
    return Ownership({kind: tuple(rule for rule in rules if kind in rule.kinds) for kind in kinds})


def _misplaced(rules: Sequence[OwnershipRule], ref: Ref) -> Finding:
    places = " or ".join(sorted({rule.path.replace("{group}", ref.group or "{group}") for rule in rules}))
    group = f" of group {ref.group}" if ref.group else ""
    message = f"a {ref.kind}{group} may not be written in this file"
    return Finding((), "Ownership", message, f"it belongs into {places}")


def _fits(pattern: str, path: str, group: str) -> bool:
    match = _compiled(pattern).fullmatch(path)
    return match is not None and (match.re.groups == 0 or match["group"] == group)


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    """The rule's path as a regular expression; a second `{group}` must be the same as the first."""
    pieces = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    text, seen = "", False
    for piece in _PIECE.findall(pattern):
        if piece == "{group}":
            text += "(?P=group)" if seen else "(?P<group>[^/]+)"
            seen = True
        else:
            text += pieces.get(piece) or re.escape(piece)
    return re.compile(text, re.DOTALL)
