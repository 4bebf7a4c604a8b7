"""Part of `validate`: what one document alone shows, found out once per blob and remembered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.checks.envelope import check_metadata, metadata_of, ref_of, unknown_kind
from reconciler.checks.schema import Finding, compiled, explained
from reconciler.checks.target_settings import check_targets
from reconciler.construct import filled
from reconciler.kind import Kind
from reconciler.model import Declared, Json, Ref, Source
from reconciler.resources import bundled
from reconciler.source.snapshot import Document, Snapshot

Kinds = Mapping[str, Kind[Any]]
SettingsSchema = Callable[[str], Mapping[str, Json] | None]


@dataclass(slots=True)
class Candidate:
    """One document on its way: what is known about it, and what is wrong with it so far."""

    document: Document
    ref: Ref | None
    declared: Declared | None
    references: list[tuple[str, str]]
    targets: list[tuple[str, str]]
    findings: list[Finding]


def candidates(
    snapshot: Snapshot, kinds: Kinds, settings_schema: SettingsSchema, only: str = ""
) -> list[Candidate]:
    """All documents (of one kind) with what each alone shows."""
    snapshot.cache.judged_by(",".join(sorted(kinds)))
    entries, judge = snapshot.cache.entries, _Judge(kinds)
    objects: list[Candidate] = []
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
        found = _candidate(document, verdict, kinds)
        if found.declared is not None and found.declared.ref.kind == "Provider":
            found.findings.extend(check_targets(found.declared, settings_schema, snapshot.cache))
        objects.append(found)
    return objects


def _candidate(document: Document, verdict: Json, kinds: Kinds) -> Candidate:
    findings, references, targets = verdict
    value = document.value
    if findings:
        wrong = [Finding(tuple(path), *rest) for path, *rest in findings]
        return Candidate(document, ref_of(value, kinds), None, references, targets, wrong)
    name, metadata = value["kind"], value["metadata"]
    ref = Ref(name, metadata.get("group", ""), metadata["name"])
    return Candidate(document, ref, _declared(document, ref, kinds[name]), references, targets, [])


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
                Finding(steps_to(document.value, path), "Invalid", message, hint)
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
            findings = explained(bundled(name), value)
            yield from findings
            if any(finding.path[:1] in ((), ("metadata",)) for finding in findings):
                return
        ref = ref_of(value, self.kinds)
        if ref is not None:
            yield from check_metadata(ref, value["metadata"])


def steps_to(value: Json, dotted: str) -> tuple[str | int, ...]:
    """`spec.targets.0.name` as the steps through this value; numbers count entries of lists."""
    steps: list[str | int] = []
    for piece in dotted.split(".") if dotted else ():
        step: str | int = int(piece) if isinstance(value, list) and piece.isdigit() else piece
        steps.append(step)
        value = value[step] if _has(value, step) else None
    return tuple(steps)


def _has(value: Json, step: str | int) -> bool:
    return step < len(value) if isinstance(step, int) else isinstance(value, dict) and step in value


def twins_of(objects: Iterable[Candidate]) -> dict[Ref, list[Candidate]]:
    """Refs that more than one document declares."""
    first: dict[Ref, Candidate] = {}
    twins: dict[Ref, list[Candidate]] = {}
    for entry in objects:
        if entry.ref is not None and first.setdefault(entry.ref, entry) is not entry:
            twins.setdefault(entry.ref, [first[entry.ref]]).append(entry)
    return twins
