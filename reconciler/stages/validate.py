"""Second stage: documents → valid declared objects, and all problems of all files at once.

Pure but for the cache of verdicts. What a file alone shows (schema, metadata, the kind's own checks) is found
out once per blob and remembered; what only all files together show (references, targets, twins, ownership) is
looked at every time. Places in files are found at the end, by parsing the few bad files again.

Rules, Providers and settings come from the trusted snapshot, never from the one that is judged.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from reconciler.checks.against import validate_against
from reconciler.checks.library import check_library, library_of, newer_versions
from reconciler.checks.schema import Finding
from reconciler.checks.together import (
    check_formerly,
    check_named_targets,
    check_ownership,
    check_references,
    check_together,
    check_twins,
    disown,
    known_refs,
    untrusted_targets,
)
from reconciler.checks.trusted import Trusted, settings_findings, trusted_side
from reconciler.checks.validated import Validated
from reconciler.checks.verdicts import Candidate, Kinds, SettingsSchema, candidates
from reconciler.errors import InvalidRepository, Problem
from reconciler.guess import closest
from reconciler.library import Library
from reconciler.model import NOTHING, Declared, Ref
from reconciler.printable import printable
from reconciler.source.parse import SETTINGS
from reconciler.source.snapshot import Document, Snapshot
from reconciler.stages.load import without_collection

__all__ = ["Validated", "validate", "validate_against"]


def validate(
    snapshot: Snapshot, trusted: Snapshot, kinds: Kinds, settings_schema: SettingsSchema
) -> Validated:
    """Check everything. `settings_schema` gives the JSON Schema of a driver's settings, None: no such driver.

    Problems of objects do not stop it: they are in the answer. Raises InvalidRepository, with all problems,
    when the trusted reconciler.yaml is missing or not valid.
    """
    with without_collection():
        objects = candidates(snapshot, kinds, settings_schema)
        base, bad_settings = trusted_side(snapshot, trusted, kinds, settings_schema, objects)
        known = known_refs(objects)
        check_ownership(objects, base.ownership)
        disown(objects)
        check_twins(objects)
        check_formerly(objects, known)
        untrusted = untrusted_targets(objects, base)
        waiting = check_named_targets(objects, base, untrusted)
        waiting |= check_references(objects, known, unseen=snapshot.unreadable)
        check_together(objects, kinds)
        library, wrong = library_of(snapshot, trusted, objects)
        check_library(objects, kinds, library, snapshot)
        result = _validated(snapshot, base, objects, waiting, untrusted)
        result = _with_library(result, library, wrong)
        if trusted is not snapshot:
            result = _with_own_settings(result, snapshot, kinds)
    for used in (snapshot, trusted):
        used.cache.save()
    if bad_settings:
        raise _stopped(trusted, bad_settings, result.problems)
    return result


def _with_library(result: Validated, library: Library, wrong: list[Problem]) -> Validated:
    """With the services and roles, what is wrong with them, and what is newer than what is used."""
    problems = tuple(sorted({*result.problems, *wrong})) if wrong else result.problems
    newer = tuple(newer_versions(result.declared.values(), library)) if library.services else ()
    return replace(result, library=library, problems=problems, notices=(*result.notices, *newer))


def _with_own_settings(result: Validated, snapshot: Snapshot, kinds: Kinds) -> Validated:
    """A bad reconciler.yaml does not act before it is trusted, but it is a problem already."""
    _, findings = settings_findings(snapshot, kinds)
    problems = (*result.problems, *_settings_problems(snapshot, findings)) if findings else result.problems
    return replace(result, problems=tuple(sorted(set(problems))))


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


# -- the answer ------------------------------------------------------------------------------


def _validated(
    snapshot: Snapshot,
    base: Trusted,
    objects: list[Candidate],
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
        unreadable=snapshot.unreadable
        or base.incomplete
        or any(_could_be_another(entry) for entry in objects),
        targets=base.targets,
        providers=base.providers,
        untrusted_targets=untrusted,
        notices=tuple(_notices(declared, untrusted)),
        revision=snapshot.revision,
        blobs=snapshot.blobs,
        own=snapshot.settings,
        claimed=frozenset(_claimed(objects)),
        asleep=frozenset(_asleep(objects)),
    )


def _claimed(objects: Iterable[Candidate]) -> Iterator[Ref]:
    """The former names that objects with problems give, as far as they can be read."""
    for entry in objects:
        former = _metadata(entry).get("formerly") if entry.findings else None
        try:
            if isinstance(former, str):
                yield Ref.parse(former)
        except ValueError:  # that is one of its problems
            continue


def _asleep(objects: Iterable[Candidate]) -> Iterator[str]:
    """Groups that a mistake in their file must not wake."""
    for entry in objects:
        if entry.findings and entry.ref and entry.ref.kind == "UserGroup" and _metadata(entry).get("suspend"):
            yield entry.ref.name


def _metadata(entry: Candidate) -> Mapping[str, Any]:
    metadata = entry.document.value.get("metadata")
    return metadata if isinstance(metadata, Mapping) else NOTHING


def _could_be_another(entry: Candidate) -> bool:
    """Is its name unknown, or perhaps not the one that was meant? Then what is missing may be this one."""
    return entry.ref is None or any(_misnamed(finding) for finding in entry.findings)


def _misnamed(finding: Finding) -> bool:
    """Is the kind or the group perhaps misspelt? A misspelt object must not look like a removed one."""
    misplaced = finding.code == "Ownership" and not finding.path
    return misplaced or finding.code in ("UnknownKind", "TargetRefused")


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
            said = (printable(finding.message), printable(finding.hint))  # names of authors are in there
            yield document, Problem(*where, finding.code, *said)


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
