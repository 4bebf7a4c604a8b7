"""Part of `validate`: what only all objects together show. Adds to the findings of each candidate."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from reconciler.checks.ownership import Ownership
from reconciler.checks.schema import Finding
from reconciler.checks.trusted import Trusted
from reconciler.checks.verdicts import Candidate, Kinds, steps_to, twins_of
from reconciler.guess import closest
from reconciler.kinds.provider import provider_of, targets_of
from reconciler.model import Ref, Target
from reconciler.printable import printable


def known_refs(objects: Iterable[Candidate]) -> frozenset[Ref]:
    """The names of all objects, valid or not."""
    return frozenset(entry.ref for entry in objects if entry.ref is not None)


def check_twins(objects: list[Candidate]) -> None:
    """One object, one place."""
    for ref, entries in twins_of(objects).items():
        for entry in entries:
            others = [f"{printable(o.document.path)}:{o.document.line}" for o in entries if o is not entry]
            message = f"{ref} is declared more than once: also in {' and '.join(others[:3])}"
            hint = "keep one; an object is known by kind, group and name, not by its file"
            entry.findings.append(Finding(("metadata", "name"), "DuplicateObject", message, hint))


def check_ownership(objects: list[Candidate], ownership: Ownership) -> None:
    """The rules of paths, from the trusted ref."""
    for entry in objects:
        if entry.ref is not None and entry.ref.kind in ownership.rules:
            metadata = entry.document.value["metadata"]
            entry.findings.extend(ownership.findings(entry.document.path, entry.ref, metadata))


def disown(objects: list[Candidate]) -> None:
    """Where a name stands in its own place, one in a strange place is not it: nobody blocks others so."""
    for entries in twins_of(objects).values():
        strange = [entry for entry in entries if is_misplaced(entry)]
        for entry in strange if len(strange) < len(entries) else ():
            entry.ref = None


def is_misplaced(entry: Candidate) -> bool:
    """Do the rules of paths refuse this object where it is?"""
    return any(finding.code == "Ownership" and not finding.path for finding in entry.findings)


def check_formerly(objects: list[Candidate], known: frozenset[Ref]) -> None:
    """An old name belongs to one object, and to nobody any more."""
    heirs: dict[Ref, Candidate] = {}
    for entry in objects:
        before = entry.declared.metadata.formerly if entry.declared else None
        if before is None or is_misplaced(entry):
            continue
        path = ("metadata", "formerly")
        if before in known:
            hint = f"take `formerly` out, or remove {before}"
            entry.findings.append(Finding(path, "Formerly", f"{before} is still declared", hint))
        heir = heirs.setdefault(before, entry)
        if heir is not entry:
            message = f"{heir.ref} ({heir.document.path}:{heir.document.line}) was {before} already"
            entry.findings.append(Finding(path, "Formerly", message, "only one object can take over a name"))


def untrusted_targets(objects: list[Candidate], base: Trusted) -> frozenset[str]:
    """Targets of Providers that are valid here and not (yet) in the trusted snapshot."""
    valid = (entry.declared for entry in objects if not entry.findings)
    providers = [declared for declared in valid if declared and declared.ref.kind == "Provider"]
    return frozenset(name for declared in providers for name in targets_of(declared)) - base.targets.keys()


def check_named_targets(objects: list[Candidate], base: Trusted, untrusted: frozenset[str]) -> dict[Ref, str]:
    """Every named target must be there and serve the group. Which objects wait, and why."""
    waiting: dict[Ref, str] = {}
    for entry in objects:
        for path, name in entry.targets:
            target = base.targets.get(name)
            if target is not None and target.groups is None:
                continue
            ref = entry.ref
            if ref is None:
                continue
            if target is not None:
                if not target.serves(ref.group):
                    entry.findings.append(_not_served(entry, path, target))
            elif name in untrusted:
                waiting[ref] = f"target {name} is not on the trusted ref yet"
            elif base.unreadable or provider_of(name) in base.broken:
                waiting[ref] = (
                    f"{provider_of(name)}, which has target {name}, is not valid on the trusted ref"
                )
            else:
                entry.findings.append(_no_target(entry, path, name, base))
    return waiting


def _not_served(entry: Candidate, path: str, target: Target) -> Finding:
    group = entry.ref.group if entry.ref else ""
    message = f"target {target.name} does not serve group {group}"
    hint = f"its Provider lists {', '.join(sorted(target.groups or ())) or 'no group'} (spec.groups)"
    return Finding(steps_to(entry.document.value, path), "TargetRefused", message, hint)


def _no_target(entry: Candidate, path: str, name: str, base: Trusted) -> Finding:
    inside = sorted(known for known in base.targets if known.startswith(f"{name}."))
    near = " or ".join(f"`{known}`" for known in inside[:4]) or _quoted(closest(name, base.targets))
    hint = f"did you mean {near}?" if near else "targets are declared by Providers, as `<provider>.<name>`"
    message = f"there is no target '{name}'"
    return Finding(steps_to(entry.document.value, path), "UnknownTarget", message, hint)


def _quoted(word: str) -> str:
    return f"`{word}`" if word else ""


def check_references(objects: list[Candidate], known: frozenset[Ref], *, unseen: bool) -> dict[Ref, str]:
    """Every named object must be declared. Which objects wait for one that is not valid, and why.

    With a file unread (`unseen`) what is missing may be in there: its users wait.
    """
    names = {str(ref) for ref in known} if any(entry.references for entry in objects) else set()
    waiting: dict[Ref, str] = {}
    for entry in objects:
        for path, name in entry.references:
            if name in names or entry.ref is None:
                continue
            if unseen:
                waiting[entry.ref] = f"{name} is not declared, or in a file that can't be read"
            else:
                entry.findings.append(_no_reference(entry, path, name, names))
    invalid = {str(entry.ref) for entry in objects if entry.findings}
    for entry in objects if invalid else ():
        bad = next((name for _, name in entry.references if name in invalid), "")
        if bad and entry.ref is not None:
            waiting[entry.ref] = f"{bad} is not valid"
    return waiting


def _no_reference(entry: Candidate, path: str, name: str, names: Iterable[str]) -> Finding:
    kind = name.partition("/")[0]
    near = closest(name, [known for known in names if known.startswith(f"{kind}/")])
    hint = f"did you mean {near}?" if near else f"declare {name} in this repository"
    return Finding(steps_to(entry.document.value, path), "UnknownReference", f"there is no {name}", hint)


def check_together(objects: list[Candidate], kinds: Kinds) -> None:
    """What only all valid objects of a kind show."""
    by_kind: dict[str, list[Candidate]] = defaultdict(list)
    for entry in objects:
        if entry.declared is not None and not entry.findings:
            by_kind[entry.declared.ref.kind].append(entry)
    for name in sorted(by_kind):
        entries = {entry.ref: entry for entry in by_kind[name]}
        declared = [entry.declared for entry in by_kind[name] if entry.declared]
        for found, path, message, hint in kinds[name].check_together(declared):
            entry = entries[found.ref]
            steps = steps_to(entry.document.value, path)
            entry.findings.append(Finding(steps, "Conflict", message, hint))
