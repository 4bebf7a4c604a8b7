"""What git alone can say, without network and credentials: `validate`, and `plan --against REF`.

For a merge request the world is what REF expands into, and the wish is what this commit expands
into. The same stages compare them, so the answer is honest about removals and budgets; its digest
begins with `intent:` and no command accepts it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from reconciler import registry
from reconciler.errors import ExitCode, Problem
from reconciler.folders import cache_folder
from reconciler.line import scene
from reconciler.line.session import Request, Session, open_session
from reconciler.line.wish import wish_of
from reconciler.model import Observed, Resource, State, mark_for
from reconciler.run import Planned
from reconciler.settings import Settings
from reconciler.source.git import Repository, is_url, open_repository, open_work_tree
from reconciler.source.snapshot import Snapshot
from reconciler.stages.conclude import Evidence, conclude
from reconciler.stages.expand import expand
from reconciler.stages.load import load, load_worktree
from reconciler.stages.observe import Observation
from reconciler.stages.validate import validate, validate_against
from reconciler.store.history import empty_history


@dataclass(frozen=True, slots=True)
class Checked:
    """What `validate` gives: every problem of every file at once."""

    problems: tuple[Problem, ...]
    notices: tuple[str, ...]
    objects: int
    files: int
    settings: Settings | None


def check(location: str, against: str = "", trusted_ref: str = "") -> Checked:
    """Validate the working tree as it is now (for a bare repository or a URL: the commit)."""
    cache = cache_folder()
    repository = None if is_url(location) else open_work_tree(Path(location))
    if repository is None and (is_url(location) or not Path(location).is_dir()):
        repository = open_repository(location, cache)
    tree = _tree(location, repository, cache)
    trusted = (
        load(repository, repository.resolve(trusted_ref), cache, trusted=True)
        if trusted_ref and repository
        else tree
    )
    head = validate(tree, trusted, registry.kinds(), registry.driver_settings)
    problems, notices = head.problems, head.notices
    if against and repository:
        base_tree = load(repository, repository.resolve(against), cache)
        base = validate(base_tree, base_tree, registry.kinds(), registry.driver_settings)
        more = validate_against(base, head)
        problems, notices = tuple(sorted({*problems, *more.problems})), (*notices, *more.notices)
    return Checked(problems, notices, len(head.declared), len(tree.blobs), head.settings)


def _tree(location: str, repository: Repository | None, cache: Path) -> Snapshot:
    if repository is None or not repository.bare:
        return load_worktree(Path(location), cache)
    return load(repository, repository.resolve("HEAD"), cache)


def intent(request: Request, against: str) -> Planned:
    """What the change from `against` to `request.ref` means. Reads git, nothing else."""
    trusted = request.trusted_ref or against
    base = _without_past(open_session(replace(request, ref=against, trusted_ref=against)), "")
    head = _without_past(open_session(replace(request, trusted_ref=trusted)), base.revision)
    world = _as_world(base)
    wish = wish_of(head)
    view = scene.view(head, wish, world, frozenset())
    plan = replace(view.plan, prefix="intent:")
    code = (
        ExitCode.INVALID if head.valid.problems else ExitCode.PENDING if plan.changes else ExitCode.CONVERGED
    )
    evidence = Evidence({}, view.found, (), (), {}, {}, head.now)
    return Planned(
        plan, conclude(evidence), head.valid.problems, head.notices, code, len(head.valid.declared)
    )


def _without_past(session: Session, follows: str) -> Session:
    """The same from git alone: what was applied or approved here is no part of what a change means."""
    return replace(session, history=empty_history(session.now), follows=follows)


def _as_world(base: Session) -> Observation:
    """What `base` expands into, as if it all stood and were ready."""
    wish = wish_of(base)
    empty = Observation({}, {})
    closed = replace(base, follows=base.revision)  # from git alone no secret is opened, here neither
    found = expand(wish.declared.values(), wish.waiting, registry.kinds(), scene.world(closed, wish, empty))
    things: dict[str, list[Observed]] = {name: [] for name in wish.targets}
    for resource in found.resources.values():
        things.setdefault(resource.target, []).append(_standing(base.settings, resource, base))
    return Observation({name: tuple(seen) for name, seen in things.items()}, {})


def _standing(settings: Settings, resource: Resource, base: Session) -> Observed:
    mark = mark_for(settings.owner, resource)
    return Observed(
        resource.ref,
        resource.kind,
        resource.target,
        resource.spec,
        uid=f"{resource.target} {resource.ref}",
        mark=mark,
        state=State.READY,
        verified=base.now,
    )
