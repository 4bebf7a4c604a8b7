"""What one pass has in hand: the repository at a commit, the settings, the store, the drivers.

Opening it reads git and nothing else of the world. `run.py` says what happens with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from reconciler import registry
from reconciler.clock import suspect
from reconciler.construct import filled
from reconciler.errors import InvalidRepository, UsageError
from reconciler.folders import Folders, cache_folder
from reconciler.kinds.provider import targets_of
from reconciler.line.places import Given
from reconciler.model import Declared, Ref, Source, Target
from reconciler.secret import secrets_of
from reconciler.settings import Settings
from reconciler.source.git import Repository, open_repository
from reconciler.source.owner import owner_before
from reconciler.source.parse import LIMIT, SETTINGS, is_candidate, parse
from reconciler.source.snapshot import Snapshot
from reconciler.stages.load import load
from reconciler.stages.validate import Validated, validate
from reconciler.store import History, Store, open_store

Progress = Callable[[str, Mapping[str, Any]], None]


def silent(_event: str, _facts: Mapping[str, Any]) -> None:
    """The progress of whoever does not look."""


def utc_now() -> datetime:
    """The time, aware, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Request:
    """What the person asked for. Empty strings and None mean the documented default."""

    repository: str = "."
    ref: str = "HEAD"
    trusted_ref: str = ""
    now: datetime | None = None
    store: str = ""
    only: tuple[Ref, ...] = ()
    targets: tuple[str, ...] = ()
    deep: bool = False
    retry: bool = False
    wait: timedelta | None = None
    approve: tuple[str, ...] = ()
    plan_file: Mapping[str, Any] | None = None
    remove_group: str = ""
    status: str = ""  # folder for the status pages; empty: none
    progress: Progress = silent

    @property
    def is_partial(self) -> bool:
        """Is it about some objects or targets only?"""
        return bool(self.only or self.targets or self.remove_group)


@dataclass(frozen=True, slots=True)
class Session:
    """One pass, opened. `now` is the one time that the pure stages get."""

    request: Request
    repository: Repository
    revision: str
    snapshot: Snapshot
    valid: Validated
    store: Store
    history: History
    places: Given
    now: datetime
    notices: tuple[str, ...] = ()
    follows: str = ""  # the commit that a merge request is compared with
    writes: bool = False  # is it a run that may change the world?

    @property
    def settings(self) -> Settings:
        return self.valid.settings

    @property
    def clock(self) -> str:
        """Why the clock of this machine can't be trusted; empty: it can."""
        return suspect(self.now, self.snapshot.committed, self.history.last_run_time)

    @property
    def rewound(self) -> str:
        """Why git can't be followed now: it went back, or elsewhere; empty: it went forward."""
        last = self.history.last_revision
        if not last or last == self.revision or self.repository.is_ancestor(last, self.revision):
            return ""
        now, before = self.revision[:12], last[:12]
        return f"{now} does not follow {before}, which the last run applied (force-push or rollback?)"

    @property
    def reowned(self) -> str:
        """Why nothing that stands may be ours any more: git once named another owner. For an empty world."""
        owner = self.settings.owner
        before = "" if self.follows else owner_before(self.repository, self.revision)
        if not before or before == owner:
            return ""
        return (
            f"the owner was '{before}' and is '{owner}' now: what stands would be nobody's, and all would be"
            f" made again; put `owner: {before}` back into {SETTINGS}"
        )

    def former_targets(self) -> Mapping[str, Target]:
        """The targets of changed Providers as the last recorded run (else the first parent) had them."""
        if not self.before or self.before == self.revision:
            return {}
        return _former_targets(self.repository, self.before, self.revision)

    @property
    def before(self) -> str:
        """The commit that this one follows: that of the last recorded run, else the first parent, if any."""
        known = self.follows or self.history.last_revision
        return known or self.repository.first_parent(self.revision) or ""


def _former_targets(repository: Repository, last: str, revision: str) -> dict[str, Target]:
    try:
        changed = set(repository.changed_paths(last, revision))
    except InvalidRepository:  # the old commit is not there any more
        return {}
    tree = repository.tree(last) if changed else ()
    blobs = {entry.path: entry.blob for entry in tree if entry.path in changed and is_candidate(entry.path)}
    paths = sorted(blobs)
    contents = repository.read([blobs[path] for path in paths], LIMIT)
    targets: dict[str, Target] = {}
    for path, (_, data) in zip(paths, contents, strict=True):
        for _index, line, value in parse(data).documents:
            targets.update(_targets(value, Source(path, line)))
    return targets


def _targets(value: Mapping[str, Any], source: Source) -> dict[str, Target]:
    """The targets of what was a Provider in an earlier commit; none when it was not valid then either."""
    if value.get("kind") != "Provider":
        return {}
    try:
        spec = filled(registry.kinds()["Provider"].spec, value["spec"])
        return targets_of(Declared(Ref("Provider", "", value["metadata"]["name"]), spec, source))
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def open_session(request: Request) -> Session:
    """Resolve the refs, load and validate. Raises InvalidRepository when the settings are bad."""
    repository = open_repository(request.repository, cache_folder())
    revision = repository.resolve(request.ref)
    trusted = _trusted_ref(repository, request)
    request.progress("load", {"revision": revision})
    snapshot = load(repository, revision, cache_folder())
    trusted_revision = repository.resolve(trusted)
    base = snapshot
    if trusted_revision != revision:
        base = load(repository, trusted_revision, cache_folder(), trusted=True)
    valid = validate(snapshot, base, registry.kinds(), registry.driver_settings)
    folders = Folders(valid.settings.owner)
    store = open_store(request.store or valid.settings.store or folders.store, valid.settings.owner)
    places = Given(folders.data, secrets_of(valid.settings.owner), base)
    now = _now(request, valid.targets)
    notices = (*_notices(repository, request, trusted), *valid.notices, *store.notices)
    return Session(
        request, repository, revision, snapshot, valid, store, store.history(now), places, now, notices
    )


def _trusted_ref(repository: Repository, request: Request) -> str:
    return request.trusted_ref or repository.default_trusted_ref() or request.ref


def _notices(repository: Repository, request: Request, trusted: str) -> tuple[str, ...]:
    notices = []
    if trusted == request.ref and not request.trusted_ref:
        notices.append(f"the rules are those of {request.ref} itself (see --trusted-ref)")
    if repository.is_dirty():
        notices.append(f"the working tree has changes that are not committed; this is about {request.ref}")
    return tuple(notices)


def _now(request: Request, targets: Mapping[str, Target]) -> datetime:
    if request.now is None:
        return utc_now()
    real = sorted(target.name for target in targets.values() if target.driver != "simulated")
    if real:
        raise UsageError(f"--now is for simulated targets only; {', '.join(real)} is real")
    return request.now.astimezone(UTC)


__all__ = ["InvalidRepository", "Request", "Session", "open_session", "silent", "utc_now"]
