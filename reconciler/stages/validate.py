"""Second stage: documents → valid declared objects, and all problems of all files at once.

Pure but for the cache of verdicts. What a file alone shows (schema, metadata, the kind's own checks) is found
out once per blob and remembered; what only all files together show (references, targets, twins, ownership) is
looked at every time. Places in files are found at the end, by parsing the few bad files again.

Rules, Providers and settings come from the trusted snapshot, never from the one that is judged.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from reconciler.blob_cache import Entry
from reconciler.construct import filled
from reconciler.envelope import check_metadata, metadata_of, ref_of, unknown_kind
from reconciler.errors import InvalidRepository, Problem
from reconciler.guess import closest
from reconciler.kind import Kind
from reconciler.kinds.provider import provider_of, targets_of
from reconciler.model import Declared, Json, Ref, Source, Target
from reconciler.ownership import Ownership, ownership_of
from reconciler.printable import printable
from reconciler.resources import bundled
from reconciler.schema_check import Finding, compiled, explained
from reconciler.settings import Settings
from reconciler.stages.load import SETTINGS, Document, Snapshot, without_collection
from reconciler.target_settings import check_targets

Kinds = Mapping[str, Kind[Any]]
SettingsSchema = Callable[[str], Mapping[str, Json] | None]


@dataclass(frozen=True, slots=True)
class Validated:
    """What a snapshot declares.

    `declared` are the valid objects. `invalid` are those that are known by name but not valid (they are left
    alone), `waiting` the valid ones that refer to such a one, or to a target that is not yet trusted: why.
    `unreadable`: something could not even be named, so nothing may be taken for removed. `settings`,
    `targets` and `providers` are the trusted ones; `untrusted_targets` are declared here and not yet there. `own` is
    what reconciler.yaml says here, trusted or not, as JSON.
    """

    settings: Settings
    declared: Mapping[Ref, Declared]
    problems: tuple[Problem, ...]
    invalid: Mapping[Ref, Problem]
    waiting: Mapping[Ref, str]
    unreadable: bool
    targets: Mapping[str, Target]
    providers: Mapping[Ref, Declared]
    untrusted_targets: frozenset[str] = frozenset()
    notices: tuple[str, ...] = ()
    revision: str = ""
    blobs: Mapping[str, str] = field(default_factory=dict)
    own: Json = None


@dataclass(slots=True)
class _Object:
    """One document on its way: what is known about it, and what is wrong with it so far."""

    document: Document
    ref: Ref | None
    declared: Declared | None
    references: list[tuple[str, str]]
    targets: list[tuple[str, str]]
    findings: list[Finding]


@dataclass(frozen=True, slots=True)
class _Trusted:
    """What the trusted snapshot gives: settings, targets, and the Providers that are not valid there."""

    settings: Settings
    ownership: Ownership
    providers: Mapping[Ref, Declared]
    targets: Mapping[str, Target]
    broken: frozenset[Ref]
    unreadable: bool


def validate(
    snapshot: Snapshot, trusted: Snapshot, kinds: Kinds, settings_schema: SettingsSchema
) -> Validated:
    """Check everything. `settings_schema` gives the JSON Schema of a driver's settings, None: no such driver.

    Problems of objects do not stop it: they are in the answer. Raises InvalidRepository, with all problems,
    when the trusted reconciler.yaml is missing or not valid.
    """
    with without_collection():
        objects = _objects(snapshot, kinds, settings_schema)
        base, bad_settings = _trusted(snapshot, trusted, kinds, settings_schema, objects)
        known = _known(objects)
        _check_twins(objects)
        _check_alone(objects, base.ownership)
        _check_formerly(objects, known)
        untrusted = _untrusted(objects, base)
        waiting = _check_targets(objects, base, untrusted)
        waiting |= _check_references(objects, known, unseen=snapshot.unreadable)
        _check_together(objects, kinds)
        result = _validated(snapshot, base, objects, waiting, untrusted)
    for used in (snapshot, trusted):
        used.cache.save()
    if bad_settings:
        raise _stopped(trusted, bad_settings, result.problems)
    return result if trusted is snapshot else _with_own_settings(result, snapshot, kinds)


def _with_own_settings(result: Validated, snapshot: Snapshot, kinds: Kinds) -> Validated:
    """A bad reconciler.yaml does not act before it is trusted, but it is a problem already."""
    _, findings = _settings(snapshot, kinds)
    problems = (*result.problems, *_settings_problems(snapshot, findings)) if findings else result.problems
    return replace(result, problems=tuple(sorted(set(problems))))


# -- one object ------------------------------------------------------------------------------


def _objects(
    snapshot: Snapshot, kinds: Kinds, settings_schema: SettingsSchema, only: str = ""
) -> list[_Object]:
    """All documents (of one kind) with what each alone shows."""
    snapshot.cache.judged_by(",".join(sorted(kinds)))
    entries, judge = snapshot.cache.entries, _Judge(kinds)
    objects: list[_Object] = []
    for document in snapshot.documents:
        if only and document.value.get("kind") != only:
            continue
        entry = entries[document.blob]
        index = str(document.index)
        verdict = entry.verdicts.get(index)
        if verdict is None:
            verdict = judge.verdict(document)
            entry.verdicts[index] = verdict
            snapshot.cache.changed = True
        found = _object(document, verdict, kinds)
        if found.declared is not None and found.declared.ref.kind == "Provider":
            found.findings.extend(check_targets(found.declared, settings_schema, snapshot.cache))
        objects.append(found)
    return objects


def _object(document: Document, verdict: Json, kinds: Kinds) -> _Object:
    findings, references, targets = verdict
    value = document.value
    if findings:
        wrong = [Finding(tuple(path), *rest) for path, *rest in findings]
        return _Object(document, ref_of(value, kinds), None, references, targets, wrong)
    name, metadata = value["kind"], value["metadata"]
    ref = Ref(name, metadata.get("group", ""), metadata["name"])
    return _Object(document, ref, _declared(document, ref, kinds[name]), references, targets, [])


def _declared(document: Document, ref: Ref, kind: Kind[Any]) -> Declared:
    value = document.value
    spec = filled(kind.spec, value["spec"])
    return Declared(ref, spec, Source(document.path, document.line), metadata_of(value["metadata"]))


class _Judge:
    """Finds out what one document alone shows. The compiled schemas are made when first needed."""

    def __init__(self, kinds: Kinds) -> None:
        self.kinds = kinds
        self.fits: dict[str, Callable[[Json], bool]] = {}

    def verdict(self, document: Document) -> Json:
        """[findings, references, targets] in JSON, as the cache keeps them."""
        findings = list(self.findings(document))
        references: list[tuple[str, str]] = []
        targets: list[tuple[str, str]] = []
        ref = ref_of(document.value, self.kinds)
        if not findings and ref is not None:
            kind = self.kinds[ref.kind]
            declared = _declared(document, ref, kind)
            findings = [
                Finding(_steps(document.value, path), "Invalid", message, hint)
                for path, message, hint in kind.check(declared)
            ]
            references = [(path, str(named)) for path, named in kind.references(declared)]
            targets = list(kind.targets(declared))
        wrong = [(entry.path, entry.code, entry.message, entry.hint, entry.at_key) for entry in findings]
        return wrong, references, targets

    def findings(self, document: Document) -> Iterator[Finding]:
        """What the schema, and what only the envelope's own rules say."""
        value = document.value
        unknown = unknown_kind(value, self.kinds)
        if unknown is not None:
            yield unknown
            return
        name = value["kind"]
        if name not in self.fits:
            self.fits[name] = compiled(bundled(name))
        if not self.fits[name](value):
            yield from explained(bundled(name), value)
            return
        ref = ref_of(value, self.kinds)
        if ref is not None:
            yield from check_metadata(ref, value["metadata"])


def _steps(value: Json, dotted: str) -> tuple[str | int, ...]:
    """`spec.targets.0.name` as the steps through this value; numbers count entries of lists."""
    steps: list[str | int] = []
    for piece in dotted.split(".") if dotted else ():
        step: str | int = int(piece) if isinstance(value, list) and piece.isdigit() else piece
        steps.append(step)
        value = value[step] if _has(value, step) else None
    return tuple(steps)


def _has(value: Json, step: str | int) -> bool:
    return step < len(value) if isinstance(step, int) else isinstance(value, dict) and step in value


# -- the trusted side ------------------------------------------------------------------------


def _trusted(
    snapshot: Snapshot,
    trusted: Snapshot,
    kinds: Kinds,
    settings_schema: SettingsSchema,
    objects: list[_Object],
) -> tuple[_Trusted, list[Finding]]:
    settings, findings = _settings(trusted, kinds)
    same = trusted is snapshot
    found = objects if same else _objects(trusted, kinds, settings_schema, only="Provider")
    of_provider = [entry for entry in found if entry.ref is not None and entry.ref.kind == "Provider"]
    twins = _twins(of_provider)
    broken = frozenset(
        entry.ref for entry in of_provider if entry.ref and (entry.findings or entry.ref in twins)
    )
    providers = {
        entry.ref: entry.declared
        for entry in of_provider
        if entry.ref and entry.declared and entry.ref not in broken
    }
    targets = {
        name: target for ref in sorted(providers) for name, target in targets_of(providers[ref]).items()
    }
    ownership = ownership_of(settings.ownership)
    return _Trusted(settings, ownership, providers, targets, broken, trusted.unreadable), findings


_NO_SETTINGS: Final = Settings(owner="")


def _settings(trusted: Snapshot, kinds: Kinds) -> tuple[Settings, list[Finding]]:
    """The trusted settings; stand-ins where they are not valid, so that the rest can be looked at."""
    if trusted.settings is None:
        return _NO_SETTINGS, [Finding((), "Settings", "reconciler.yaml is missing or can't be read")]
    from reconciler.settings_check import check_settings, settings_of  # noqa: PLC0415  a floor of its own

    entry = trusted.cache.entries.get(f"settings:{trusted.blobs.get(SETTINGS)}") or Entry(0, [], [])
    trusted.cache.judged_by(",".join(sorted(kinds)))
    if "0" not in entry.verdicts:
        found = check_settings(trusted.settings, kinds)
        entry.verdicts["0"] = [(one.path, one.code, one.message, one.hint, one.at_key) for one in found]
        trusted.cache.changed = True
    findings = [Finding(tuple(path), *rest) for path, *rest in entry.verdicts["0"]]
    return (_NO_SETTINGS if findings else settings_of(trusted.settings)), findings


def _stopped(trusted: Snapshot, findings: list[Finding], others: tuple[Problem, ...]) -> InvalidRepository:
    """A bad reconciler.yaml stops everything; what else is wrong is said too."""
    own = _settings_problems(trusted, findings)
    return InvalidRepository(
        "reconciler.yaml is not valid; nothing was done", tuple(sorted({*own, *others})), hint=own[0].hint
    )


def _settings_problems(snapshot: Snapshot, findings: list[Finding]) -> list[Problem]:
    if snapshot.settings is not None:
        document = Document(SETTINGS, 1, 0, snapshot.blobs[SETTINGS], {})
        return [problem for _, problem in _located(snapshot, [(document, entry) for entry in findings])]
    own = [problem for problem in snapshot.problems if problem.path == SETTINGS]
    message = f"there is no reconciler.yaml at {snapshot.revision[:12] or 'the top of the directory'}"
    return own or [Problem(SETTINGS, 1, 1, "NoSettings", message, "`reconciler init` makes one")]


# -- all objects together --------------------------------------------------------------------


def _known(objects: Iterable[_Object]) -> frozenset[Ref]:
    return frozenset(entry.ref for entry in objects if entry.ref is not None)


def _twins(objects: Iterable[_Object]) -> dict[Ref, list[_Object]]:
    """Refs that more than one document declares."""
    first: dict[Ref, _Object] = {}
    twins: dict[Ref, list[_Object]] = {}
    for entry in objects:
        if entry.ref is not None and first.setdefault(entry.ref, entry) is not entry:
            twins.setdefault(entry.ref, [first[entry.ref]]).append(entry)
    return twins


def _check_twins(objects: list[_Object]) -> None:
    for ref, entries in _twins(objects).items():
        for entry in entries:
            others = [f"{printable(o.document.path)}:{o.document.line}" for o in entries if o is not entry]
            message = f"{ref} is declared more than once: also in {' and '.join(others[:3])}"
            hint = "keep one; an object is known by kind, group and name, not by its file"
            entry.findings.append(Finding(("metadata", "name"), "DuplicateObject", message, hint))


def _check_alone(objects: list[_Object], ownership: Ownership) -> None:
    for entry in objects:
        if entry.ref is not None and entry.ref.kind in ownership.rules:
            metadata = entry.document.value["metadata"]
            entry.findings.extend(ownership.findings(entry.document.path, entry.ref, metadata))


def _check_formerly(objects: list[_Object], known: frozenset[Ref]) -> None:
    """An old name belongs to one object, and to nobody any more."""
    heirs: dict[Ref, _Object] = {}
    for entry in objects:
        before = entry.declared.metadata.formerly if entry.declared else None
        if before is None:
            continue
        path = ("metadata", "formerly")
        if before in known:
            hint = f"take `formerly` out, or remove {before}"
            entry.findings.append(Finding(path, "Formerly", f"{before} is still declared", hint))
        heir = heirs.setdefault(before, entry)
        if heir is not entry:
            message = f"{heir.ref} ({heir.document.path}:{heir.document.line}) was {before} already"
            entry.findings.append(Finding(path, "Formerly", message, "only one object can take over a name"))


def _untrusted(objects: list[_Object], base: _Trusted) -> frozenset[str]:
    """Targets of Providers that are valid here and not (yet) in the trusted snapshot."""
    providers = [
        e.declared for e in objects if e.declared and e.declared.ref.kind == "Provider" and not e.findings
    ]
    return frozenset(name for declared in providers for name in targets_of(declared)) - base.targets.keys()


def _check_targets(objects: list[_Object], base: _Trusted, untrusted: frozenset[str]) -> dict[Ref, str]:
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


def _not_served(entry: _Object, path: str, target: Target) -> Finding:
    group = entry.ref.group if entry.ref else ""
    message = f"target {target.name} does not serve group {group}"
    hint = f"its Provider lists {', '.join(sorted(target.groups or ())) or 'no group'} (spec.groups)"
    return Finding(_steps(entry.document.value, path), "TargetRefused", message, hint)


def _no_target(entry: _Object, path: str, name: str, base: _Trusted) -> Finding:
    inside = sorted(known for known in base.targets if known.startswith(f"{name}."))
    near = " or ".join(f"`{known}`" for known in inside[:4]) or _quoted(closest(name, base.targets))
    hint = f"did you mean {near}?" if near else "targets are declared by Providers, as `<provider>.<name>`"
    message = f"there is no target '{name}'"
    return Finding(_steps(entry.document.value, path), "UnknownTarget", message, hint)


def _quoted(word: str) -> str:
    return f"`{word}`" if word else ""


def _check_references(objects: list[_Object], known: frozenset[Ref], *, unseen: bool) -> dict[Ref, str]:
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


def _no_reference(entry: _Object, path: str, name: str, names: Iterable[str]) -> Finding:
    kind = name.partition("/")[0]
    near = closest(name, [known for known in names if known.startswith(f"{kind}/")])
    hint = f"did you mean {near}?" if near else f"declare {name} in this repository"
    return Finding(_steps(entry.document.value, path), "UnknownReference", f"there is no {name}", hint)


def _check_together(objects: list[_Object], kinds: Kinds) -> None:
    """What only all valid objects of a kind show."""
    by_kind: dict[str, list[_Object]] = defaultdict(list)
    for entry in objects:
        if entry.declared is not None and not entry.findings:
            by_kind[entry.declared.ref.kind].append(entry)
    for name in sorted(by_kind):
        entries = {entry.ref: entry for entry in by_kind[name]}
        declared = [entry.declared for entry in by_kind[name] if entry.declared]
        for found, path, message, hint in kinds[name].check_together(declared):
            entry = entries[found.ref]
            steps = _steps(entry.document.value, path)
            entry.findings.append(Finding(steps, "Conflict", message, hint))


# -- the answer ------------------------------------------------------------------------------


def _validated(
    snapshot: Snapshot,
    base: _Trusted,
    objects: list[_Object],
    waiting: Mapping[Ref, str],
    untrusted: frozenset[str],
) -> Validated:
    wrong = [(entry.document, finding) for entry in objects for finding in entry.findings]
    located = list(_located(snapshot, wrong))
    refs = {(entry.document.path, entry.document.index): entry.ref for entry in objects if entry.findings}
    invalid: dict[Ref, Problem] = {}
    for document, problem in sorted(located, key=lambda pair: pair[1]):
        ref = refs[document.path, document.index]
        if ref is not None:
            invalid.setdefault(ref, problem)
    declared = {e.ref: e.declared for e in objects if e.ref and e.declared and e.ref not in invalid}
    return Validated(
        settings=base.settings,
        declared=declared,
        problems=tuple(sorted({*snapshot.problems, *(problem for _, problem in located)})),
        invalid=invalid,
        waiting={ref: waiting[ref] for ref in sorted(waiting) if ref in declared},
        unreadable=snapshot.unreadable or any(entry.ref is None for entry in objects),
        targets=base.targets,
        providers=base.providers,
        untrusted_targets=untrusted,
        notices=tuple(_notices(declared, untrusted)),
        revision=snapshot.revision,
        blobs=snapshot.blobs,
        own=snapshot.settings,
    )


def _located(
    snapshot: Snapshot, findings: Iterable[tuple[Document, Finding]]
) -> Iterator[tuple[Document, Problem]]:
    """Findings with their place, reading each bad file once more."""
    by_path: dict[str, list[tuple[Document, Finding]]] = defaultdict(list)
    for document, finding in findings:
        by_path[document.path].append((document, finding))
    if not by_path:
        return
    from reconciler.strict_yaml import Places  # noqa: PLC0415  only bad files are parsed again

    paths = sorted(by_path)
    for path, data in zip(paths, snapshot.read(paths), strict=True):
        places = Places(data)
        for document, finding in by_path[path]:
            look = places.key if finding.at_key else places.value
            line, column = look(document.index, finding.path)
            where = (printable(path), line, column)
            yield document, Problem(*where, finding.code, finding.message, finding.hint)


def _notices(declared: Mapping[Ref, Declared], untrusted: frozenset[str]) -> Iterator[str]:
    """What is not wrong, but perhaps not meant."""
    if untrusted:
        names = ", ".join(sorted(untrusted)[:5])
        yield f"targets not on the trusted ref yet, nothing is done there: {names}"
    groups = {ref.name for ref in declared if ref.kind == "UserGroup"}
    unknown = {ref.group for ref in declared if ref.group} - groups if groups else set()
    for group in sorted(unknown)[:5]:
        near = closest(group, groups)
        yield f"no UserGroup declares the group {group}" + (f"; did you mean {near}?" if near else "")
