"""Part of `validate`: settings, ownership and targets, always from the trusted snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from reconciler.checks.ownership import Ownership, ownership_of
from reconciler.checks.schema import Finding
from reconciler.checks.verdicts import Candidate, Kinds, SettingsSchema, candidates, twins_of
from reconciler.kinds.provider import targets_of
from reconciler.model import Declared, Ref, Target
from reconciler.settings import Settings
from reconciler.source.blob_cache import Entry
from reconciler.source.parse import SETTINGS
from reconciler.source.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Trusted:
    """What the trusted snapshot gives: settings, targets, and the Providers that are not valid there."""

    settings: Settings
    ownership: Ownership
    providers: Mapping[Ref, Declared]
    targets: Mapping[str, Target]
    broken: frozenset[Ref]
    unreadable: bool

    @property
    def incomplete(self) -> bool:
        """Is there, or could there be, a target that is not among `targets`?"""
        return self.unreadable or bool(self.broken)


def trusted_side(
    snapshot: Snapshot,
    trusted: Snapshot,
    kinds: Kinds,
    settings_schema: SettingsSchema,
    objects: list[Candidate],
) -> tuple[Trusted, list[Finding]]:
    """What is trusted, and what is wrong with the settings there. `objects` are those of `snapshot`."""
    settings, findings = settings_findings(trusted, kinds)
    same = trusted is snapshot
    found = objects if same else candidates(trusted, kinds, settings_schema, only="Provider")
    of_provider = [entry for entry in found if entry.ref is not None and entry.ref.kind == "Provider"]
    ownership = ownership_of(settings.ownership)
    named = {entry.ref for entry in of_provider if entry.ref}
    of_provider = _in_their_place(of_provider, ownership)
    strange = named - {entry.ref for entry in of_provider}
    twins = twins_of(of_provider)
    broken = frozenset(strange) | frozenset(
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
    return Trusted(settings, ownership, providers, targets, broken, trusted.unreadable), findings


def _in_their_place(providers: list[Candidate], ownership: Ownership) -> list[Candidate]:
    """Without those in strange places, so that a second file elsewhere breaks no Provider and makes none."""
    return [
        entry
        for entry in providers
        if entry.ref is not None
        and not any(
            not finding.path
            for finding in ownership.findings(
                entry.document.path, entry.ref, entry.document.value["metadata"]
            )
        )
    ]


_NO_SETTINGS: Final = Settings(owner="")


def settings_findings(trusted: Snapshot, kinds: Kinds) -> tuple[Settings, list[Finding]]:
    """The trusted settings; stand-ins where they are not valid, so that the rest can be looked at."""
    if trusted.settings is None:
        return _NO_SETTINGS, [Finding((), "Settings", "reconciler.yaml is missing or can't be read")]
    from reconciler.checks.settings import check_settings, settings_of  # noqa: PLC0415  a floor of its own

    entry = trusted.cache.entries.get(f"settings:{trusted.blobs.get(SETTINGS)}") or Entry(0, [], [])
    trusted.cache.judged_by(",".join(sorted(kinds)))
    if "0" not in entry.verdicts:
        found = check_settings(trusted.settings, kinds)
        entry.verdicts["0"] = [(one.path, one.code, one.message, one.hint, one.at_key) for one in found]
        trusted.cache.changed = True
    findings = [Finding(tuple(path), *rest) for path, *rest in entry.verdicts["0"]]
    return (_NO_SETTINGS if findings else settings_of(trusted.settings)), findings
