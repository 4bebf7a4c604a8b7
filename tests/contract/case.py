"""What a driver tells the contract suite about one of its hands, and the place where it is tried.

The suite itself is `test_contract.py`; how to add a case stands there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from reconciler.kind import Ask, Driver, Hand
from reconciler.model import (
    Action,
    Change,
    Json,
    Mark,
    Metadata,
    Observed,
    Ref,
    Resource,
    Source,
    State,
    Target,
    mark_for,
)
from tests.places import NoSecrets

OWNER = "contract-x1"
STRANGER = "somebody-else"
HERE = Source("contract.yaml", 1)


@dataclass(frozen=True, slots=True)
class Case:
    """One hand of one driver.

    `prepare` makes a fresh target below a data folder. `resource` is the n-th of many valid resources;
    `variants` has another valid value for each top-level spec key that can be changed in place,
    `together` sets of keys that only change with each other, `immutable` a value for each key that can't,
    `fixed` the keys that follow from the Ref, and `spacious` long and unusual values. `foreign` puts
    something unmarked where a resource would stand and returns its natural key; `damage` spoils the
    content of a thing so that only a deep read sees it; None: the kind knows no such thing. `settle` lets
    time pass until what was made is built. `renames`: a new Ref is an update; `shared`: things of several
    owners can stand at one target. `many` is how many things a list is tried with. `heavy`: every write takes
    seconds, so that only some of the points of a kill are tried.
    """

    driver: Driver
    primitive: str
    prepare: Callable[[Path], Target]
    resource: Callable[[Target, int], Resource]
    variants: Mapping[str, Json]
    together: tuple[Mapping[str, Json], ...] = ()
    immutable: Mapping[str, Json] = field(default_factory=dict)
    fixed: frozenset[str] = frozenset()
    spacious: Mapping[str, Json] = field(default_factory=dict)
    foreign: Callable[[Arena, Resource], str] | None = None
    damage: Callable[[Arena, Observed], None] | None = None
    settle: Callable[[Arena], None] = lambda _arena: None
    renames: bool = True
    shared: bool = True
    many: int = 60
    heavy: bool = False

    def __str__(self) -> str:
        return f"{self.driver.name}-{self.primitive}"


@dataclass(frozen=True, slots=True)
class Arena(NoSecrets):
    """A fresh target of one case. Every call opens a client of its own, so nothing is remembered."""

    case: Case
    target: Target
    data: str

    def roles(self) -> tuple[str, ...]:
        """The folder in which a case puts the roles that it needs."""
        return (str(Path(self.data, "roles")),)

    @property
    def hand(self) -> Hand[Any]:
        hand = self.case.driver.hand(self.case.primitive)
        assert hand is not None
        return hand

    @contextmanager
    def reader(self) -> Iterator[Any]:
        with closing(self.case.driver.reader(self.target, self)) as client:
            yield client

    @contextmanager
    def writer(self) -> Iterator[Any]:
        with closing(self.case.driver.writer(self.target, self)) as client:
            yield client

    def resource(self, number: int = 0, **spec: Json) -> Resource:
        """The n-th resource, with some fields of its spec changed."""
        made = self.case.resource(self.target, number)
        return replace(made, spec={**made.spec, **spec})

    def seen(self, *natural: str, owner: str = OWNER) -> list[Observed]:
        with self.reader() as client:
            return list(self.hand.observe(client, Ask(owner, frozenset(natural))))

    def only(self) -> Observed:
        """The one thing there is."""
        things = self.seen()
        assert len(things) == 1, things
        return things[0]

    def create(self, resource: Resource, *, owner: str = OWNER) -> None:
        self.apply(change(resource, Action.CREATE), mark_for(owner, resource))
        self.case.settle(self)

    def update(self, resource: Resource, have: Observed) -> None:
        self.apply(change(resource, Action.UPDATE, have), mark_for(OWNER, resource))
        self.case.settle(self)

    def apply(self, wanted: Change, mark: Mark) -> None:
        with self.writer() as client:
            self.hand.apply(client, wanted, mark)

    def delete(self, have: Observed) -> None:
        with self.writer() as client:
            self.hand.delete(client, removal(have))

    def release(self, have: Observed) -> None:
        with self.writer() as client:
            self.hand.release(client, replace(removal(have), action=Action.UPDATE, release=True))

    def verified(self, have: Observed) -> Observed:
        with self.reader() as client:
            return self.hand.verify(client, have)

    def converge(self, resource: Resource) -> int:
        """What a pass would do for this resource alone; how many writes that took."""
        things = self.seen()
        if not things:
            self.create(resource)
            return 1
        if len(things) == 1 and wanting(things[0], resource):
            self.update(resource, things[0])
            return 1
        return 0

    @property
    def changes(self) -> list[Mapping[str, Json]]:
        """What can change in place: sets of keys first, then each key alone."""
        variants = self.case.variants
        return [*self.case.together, *({key: variants[key]} for key in sorted(variants))]

    def paths(self) -> set[str]:
        """Every file and folder below the data folder."""
        data = Path(self.data)
        return {str(path.relative_to(data)) for path in data.rglob("*")}

    def tree(self) -> str:
        """A digest of every file, link and time below the data folder, the access log excepted."""
        return tree_digest(Path(self.data))


def arena_of(case: Case, folder: Path) -> Arena:
    """A fresh target of a case below a folder."""
    folder.mkdir(exist_ok=True)
    return Arena(case, case.prepare(folder), str(folder))


def tree_digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.name.endswith(".calls"):
            continue
        status = path.lstat()
        what = str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else ""
        digest.update(
            repr((str(path.relative_to(folder)), status.st_mode, status.st_mtime_ns, what)).encode()
        )
    return digest.hexdigest()


def change(resource: Resource, action: Action, have: Observed | None = None) -> Change:
    return Change(
        resource.ref,
        resource.kind,
        resource.target,
        action,
        "Contract",
        want=resource,
        have=have,
        source=HERE,
    )


def removal(have: Observed) -> Change:
    return Change(have.ref, have.kind, have.target, Action.DELETE, "Contract", have=have)


def wanting(thing: Observed, resource: Resource) -> bool:
    """Would the line see a difference?"""
    same = thing.spec == resource.spec and thing.mark == mark_for(OWNER, resource)
    return not same or bool(thing.drift) or thing.state is State.FAILED


def essence(things: list[Observed]) -> list[Json]:
    """What two worlds must have in common to be the same: not uids and times."""
    return sorted(
        (str(thing.ref), str(thing.mark), repr(sorted(thing.spec.items())), str(thing.state), thing.reason)
        for thing in things
    )


def renamed(resource: Resource, name: str) -> Resource:
    return replace(resource, ref=resource.ref._replace(name=name))


def adopting(resource: Resource) -> Resource:
    return replace(resource, metadata=Metadata(adopt=True))


def flagged(resource: Resource, *, locked: bool, keep: bool) -> Resource:
    return replace(resource, metadata=Metadata(locked=locked, keep=keep))


def made(ref: Ref, kind: str, target: Target, spec: Mapping[str, Json]) -> Resource:
    """A resource as the cases make it."""
    return Resource(ref, kind, target.name, spec, HERE)
