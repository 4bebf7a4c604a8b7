"""Whose data and accounts a group may use at a Rucio. Pure; between the ground of a rule and its expansion.

A target of type rucio may say it in its setting `groups`: group → {scopes, accounts}, patterns as of fnmatch.
Without that setting every group that the provider serves may use all that the target's own account can.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase

from reconciler.kind import World
from reconciler.model import NOTHING, Condition, Declared, Json, Target, Word
from reconciler.placement.ground import Ground, allowed_on


def reached_by(rule: Declared, ground: Ground, world: World) -> frozenset[str]:
    """The targets that a rule has to do with: the one it names, and those of the elements it selects."""
    elements = allowed_on(ground, rule.ref.group, world).elements
    named = [ground.named] if ground.named else []
    return frozenset([*named, *(element.target for element in elements)])


def not_allowed(declared: Declared, targets: Iterable[str], world: World) -> Condition | None:
    """Why a DataRule, Lifecycle or Dataset may not be at these targets; None: it may.

    ScopeNotAllowed for a data set that it uses, AccountNotAllowed for the account that it names.
    """
    for name in sorted(targets):
        place = world.targets.get(name)
        if place is not None and place.settings.get("groups") is not None:
            found = _against(declared, place)
            if found is not None:
                return found
    return None


def owns(group: str, dataset: str, targets: Iterable[str], world: World) -> bool:
    """Is the scope of a data set a group's: by its name, or because one of these targets gives it to it?"""
    scope = dataset.partition(":")[0]
    places = (world.targets[name] for name in targets if name in world.targets)
    return scope == group or any(_fits(scope, _given(group, place, "scopes")) for place in places)


def _against(declared: Declared, place: Target) -> Condition | None:
    group, spec = declared.ref.group, declared.spec
    scopes, accounts = _given(group, place, "scopes"), _given(group, place, "accounts")
    for path, dataset in _used(spec):
        scope = dataset.partition(":")[0]
        if not _fits(scope, scopes):
            message = f"{path}: group {group} may not use scope {scope} at target {place.name}"
            return _refused(declared, "ScopeNotAllowed", message, scopes, place)
    account = spec.get("account")
    if account and account != place.settings.get("account") and not _fits(account, accounts):
        message = f"spec.account: group {group} may not name account {account} at target {place.name}"
        return _refused(declared, "AccountNotAllowed", message, accounts, place)
    return None


def _used(spec: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
    """(field of the file, scope:name). What a Dataset lists without a scope is of its own."""
    yield "spec.dataset", spec["dataset"]
    for number, name in enumerate((spec.get("contents") or NOTHING).get("list") or ()):
        if ":" in name:
            yield f"spec.contents.list.{number}", name


def _given(group: str, place: Target, what: str) -> tuple[str, ...]:
    """The patterns of a group. One that is not listed where others are has none."""
    groups = place.settings.get("groups") or NOTHING
    return tuple((groups.get(group) or NOTHING).get(what) or ())


def _fits(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _refused(
    declared: Declared, reason: str, message: str, allowed: Iterable[str], place: Target
) -> Condition:
    hint = (
        f"allowed are: {', '.join(allowed) or 'none'}; the operator may change that (`groups` of this "
        f"target, in the file of Provider/{place.provider})"
    )
    return Condition(declared.ref, Word.FAILED, reason, f"{message}; {hint}", "author")
