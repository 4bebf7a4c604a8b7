"""What git wants at this moment: sorted into wanted, gone, untouchable and waiting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from reconciler import registry
from reconciler.clock import is_over
from reconciler.line.session import Session
from reconciler.model import (
    Condition,
    Declared,
    Json,
    Ref,
    Suspension,
    Target,
    Word,
)

_ASLEEP = Suspension("by its group, whose file is not valid")


@dataclass(frozen=True, slots=True)
class Wish:
    """What git wants at this moment, before the world is looked at.

    `former` are targets that git has no more, read as long as things of ours are there; `leaving` are the
    providers that went with them. `resting` are the suspended groups.
    """

    declared: Mapping[Ref, Declared]
    gone: Mapping[Ref, str]
    untouchable: frozenset[Ref]
    conditions: tuple[Condition, ...]
    waiting: Mapping[Ref, Condition]
    targets: Mapping[str, Target]
    former: frozenset[str]
    leaving: frozenset[str]
    renamed: Mapping[Ref, Ref]
    still: Mapping[str, str]  # targets that are not written to now, and why
    moved: Mapping[str, str]  # targets whose settings name another place than before, and which
    resting: Mapping[str, Condition]


def wish_of(session: Session) -> Wish:
    """Sort what is declared into wanted, gone, untouchable and waiting."""
    valid = session.valid
    gone = dict(_gone(session))
    suspended = {condition.ref: condition for condition in _suspended(session)}
    invalid = [_invalid(session, ref) for ref in sorted(valid.invalid)]
    declared = (
        {ref: entry for ref, entry in valid.declared.items() if ref not in gone} if gone else valid.declared
    )
    former = session.former_targets()
    leaving = {name: target for name, target in former.items() if name not in valid.targets}
    targets = {name: _as_it_is(target, suspended) for name, target in {**leaving, **valid.targets}.items()}
    return Wish(
        declared=declared,
        gone=gone,
        untouchable=frozenset(suspended) | frozenset(valid.invalid) | valid.claimed,
        conditions=(*suspended.values(), *invalid),
        waiting={ref: entry for ref, entry in _waiting(session) if ref not in suspended},
        targets=targets,
        former=frozenset(leaving),
        leaving=frozenset(target.provider for target in leaving.values())
        - {target.provider for target in valid.targets.values()}
        - {ref.name for ref in valid.invalid if ref.kind == "Provider"},
        renamed={
            entry.metadata.formerly: ref
            for ref, entry in valid.declared.items()
            if entry.metadata.formerly is not None
        },
        moved=dict(_moved(former, valid.targets)),
        still={target.name: target.suspended for target in targets.values() if target.suspended},
        resting=_resting(session, suspended),
    )


def _moved(former: Mapping[str, Target], targets: Mapping[str, Target]) -> Iterator[tuple[str, str]]:
    """The targets that are somewhere else than before: by their type, or by a setting that says where."""
    for name in sorted(former.keys() & targets.keys()):
        before, now = _place(former[name]), _place(targets[name])
        changed = [key for key in sorted(before.keys() | now.keys()) if before.get(key) != now.get(key)]
        if changed:
            yield (
                name,
                ", ".join(f"`{key}` was {_said(before, key)} and is {_said(now, key)}" for key in changed),
            )


def _place(target: Target) -> Mapping[str, Json]:
    names = registry.driver(target.driver).place
    settings = {name: target.settings[name] for name in names if name in target.settings}
    return {"type": target.driver, **settings}


def _said(place: Mapping[str, Json], key: str) -> str:
    return str(place.get(key, "not given"))


def _resting(session: Session, suspended: Mapping[Ref, Condition]) -> dict[str, Condition]:
    """The suspended groups, those included whose file is not valid."""
    resting = {ref.name: entry for ref, entry in suspended.items() if ref.kind == "UserGroup"}
    for name in session.valid.asleep:
        ref = Ref("UserGroup", "", name)
        resting[name] = Condition(ref, Word.SUSPENDED, "Suspended", f"suspended: {_ASLEEP.reason}", "author")
    return resting


def _as_it_is(target: Target, suspended: Mapping[Ref, Condition]) -> Target:
    """The target, with the reason why nothing is written there now (if any)."""
    provider = suspended.get(Ref("Provider", "", target.provider))
    if provider is not None:
        return replace(target, suspended=provider.message)
    maintenance = target.status == "maintenance"
    return replace(target, suspended="its provider is in maintenance") if maintenance else target


def _gone(session: Session) -> Iterator[tuple[Ref, str]]:
    removed = session.request.remove_group
    for ref, declared in session.valid.declared.items():
        expires = declared.metadata.expires
        if expires is not None and is_over(expires, session.now):
            yield ref, "Expired"
        elif removed and ref.group == removed:
            yield ref, "Removed"


def _suspended(session: Session) -> Iterator[Condition]:
    declared, now = session.valid.declared, session.now
    groups = {
        ref.name: entry.metadata.suspend
        for ref, entry in declared.items()
        if ref.kind == "UserGroup" and entry.metadata.suspend and entry.metadata.suspend.active(now)
    }
    groups.update(dict.fromkeys(session.valid.asleep, _ASLEEP))
    for ref, entry in declared.items():
        own = entry.metadata.suspend
        suspension = own if own and own.active(now) else groups.get(ref.group)
        if suspension is not None:
            until = f" until {suspension.until}" if suspension.until else ""
            message = f"suspended{until}: {suspension.reason}"
            yield Condition(ref, Word.SUSPENDED, "Suspended", message, "author", entry.source)


def _invalid(session: Session, ref: Ref) -> Condition:
    problem = session.valid.invalid[ref]
    source = replace(Condition(ref, Word.FAILED, "").source, path=problem.path, line=problem.line)
    return Condition(ref, Word.FAILED, "Invalid", problem.message, "author", source)


def _waiting(session: Session) -> Iterator[tuple[Ref, Condition]]:
    """What refers to a bad object, or to a target that is not trusted yet, waits for it."""
    for ref, why in session.valid.waiting.items():
        source = session.valid.declared[ref].source
        yield ref, Condition(ref, Word.WAITING, "InvalidReference", why, "author", source)
