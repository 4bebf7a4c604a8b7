"""The one interface an extension implements.

A `Kind` says what authors may declare. It expands, purely, into `Primitive` things. A `Driver` (one
folder, one entry point) contributes a stateless `Hand` per primitive kind. Nothing here knows a client.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar, Generic, Protocol, TypeVar, runtime_checkable

from reconciler.errors import BackendError, Rejected
from reconciler.library import EMPTY, Library
from reconciler.model import (
    Change,
    Condition,
    Declared,
    Json,
    Mark,
    Observed,
    Ref,
    Resource,
    Target,
)

SpecT = TypeVar("SpecT")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Primitive:
    """One sort of real thing: what every back-end that serves it agrees on.

    `immutable` names top-level spec keys that can't be changed in place: a change there is a replace,
    in `replace_order`. `computed` are the attributes that the back-end gives (name → type, one of
    string, integer, address, url, ports: name → number). `marked` is atomic | name | part | natural: a
    natural thing is the object itself, found by its key, never deleted by us, and changed only where the
    author says `adopt` or it says that it is ours; a part is inside of what it `uses`, keeps its mark there,
    and goes with it. `keyed`: what stands unmarked at the natural key is what was wanted, as somebody else
    made it; it is left alone unless the author says `adopt`.
    `listed` is what one bulk list shows: full (the spec), digest (the spec's hash, in the mark, and some
    keys), each (some keys; a deep read shows the rest). `heals` is what a Failed thing takes, update |
    replace; half-made things are completed by an update. `undeletes`: an update takes a Deleting thing
    back. `rank` orders deletes of one pass where uses do not say. `cadence` is how often the content is
    verified again, for kinds that have content; `proved_by_running` those whose proof runs something on a
    machine, which a plan never does.
    """

    name: str
    immutable: frozenset[str] = frozenset()
    replace_order: str = "create-first"
    computed: Mapping[str, str] = field(default_factory=dict)
    marked: str = "atomic"
    keyed: bool = False
    listed: str = "full"
    holds_data: bool = False
    slow: bool = False
    rank: int = 0
    heals: str = "update"
    undeletes: bool = False
    cadence: timedelta | None = None
    proved_by_running: bool = False

    @property
    def by_key(self) -> bool:
        """Is it found by its natural key, too?"""
        return self.keyed or self.marked == "natural"


@dataclass(frozen=True, slots=True)
class World:
    """What expansion may look at: all of it is data, none of it is a client.

    `seen` holds what was observed, by the Ref of the object it belongs to (all targets). `could_hold`
    answers whether a blind target could hold something of that object: True unless the target was
    read, or the store proves that nothing of the object is there. `library` are the services and roles of
    the repository. `tag` is what is shown of a secret that an object names: 8 hex digits that change with its
    value; it raises Denied where the secret can't be had, and gives nothing where git alone is asked.
    `serves` says whether a target serves a primitive kind, `traits` what is known of it without asking it.
    """

    now: datetime
    targets: Mapping[str, Target]
    declared: Mapping[Ref, Declared]
    seen: Mapping[Ref, tuple[Observed, ...]]
    blind: Mapping[str, str]
    could_hold: Callable[[Ref, str], bool]
    facts: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    library: Library = EMPTY
    tag: Callable[[Ref, str], str] = lambda _ref, _reference: ""
    serves: Callable[[str, str], bool] = lambda _target, _primitive: True
    traits: Callable[[str], Mapping[str, Json]] = lambda _target: {}
    _made: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def once(self, name: str, make: Callable[[World], T]) -> T:
        """What `make` derives from this world, worked out once. `name` is the module and the thing."""
        if name not in self._made:
            self._made[name] = make(self)
        made: T = self._made[name]
        return made

    def of_kind(self, kind: str) -> tuple[Declared, ...]:
        """All valid objects of one kind, sorted by Ref."""
        return tuple(self.declared[ref] for ref in sorted(self.declared) if ref.kind == kind)


class Kind(Generic[SpecT]):
    """One sort of object that authors declare: a file in `kinds/` with a subclass and `KIND = ...()`.

    `schemas/<name>.json` is the contract for authors; `spec` is the same as a frozen dataclass, whose
    defaults fill in what the author left out. `parts` are the primitive kinds it expands into: its
    own (same name) where the object is one primitive thing, none for configuration.
    """

    name: ClassVar[str]
    grouped: ClassVar[bool]
    spec: type[SpecT]
    parts: ClassVar[tuple[Primitive, ...]] = ()

    def references(self, declared: Declared) -> Iterable[tuple[str, Ref]]:
        """The objects that this one names: (dotted path in the file, Ref). They must be declared."""
        return ()

    def targets(self, declared: Declared) -> Iterable[tuple[str, str]]:
        """The targets that this one names: (dotted path in the file, target). They must be declared."""
        return ()

    def check(self, declared: Declared) -> Iterable[tuple[str, str, str]]:
        """What a schema can't say: (dotted path, message, hint) per problem. Pure and offline."""
        return ()

    def check_library(self, declared: Declared, library: Library) -> Iterable[tuple[str, str, str]]:
        """The same for what also the services and roles of the repository have to say."""
        return ()

    def check_together(self, declared: Collection[Declared]) -> Iterable[tuple[Declared, str, str, str]]:
        """What only all objects of the kind together show: (object, dotted path, message, hint)."""
        return ()

    def natural_keys(self, declared: Declared, primitive: str) -> Iterable[str]:
        """The back-end's own names of what of this primitive kind may stand unmarked."""
        return ()

    def expand(self, declared: Declared, world: World) -> Iterable[Resource | Condition]:
        """The primitive things that this object wants now; a Condition where it can't have them yet.

        Pure. What it does not yield and what carries its mark is surplus and will be deleted; yield a
        Condition with the word Blind when something unseen could be what is wanted.
        """
        raise NotImplementedError

    def hold_removal(self, change: Change, world: World) -> Condition | None:
        """Why this one thing must not be deleted or overwritten now (e.g. LastCopy); None: it may.

        Asked when the plan is judged and again, with a fresh world, just before the write.
        """
        return None

    def outputs(
        self, declared: Declared, parts: Collection[Observed], library: Library
    ) -> Mapping[str, Json]:
        """What the object gives its users once it stands."""
        return {}


@dataclass(frozen=True, slots=True)
class Ask:
    """What a reading wants to know: all that carries the owner's mark, and what stands at these keys.

    `natural` are natural keys at which unmarked things are reported too (mark None).
    """

    owner: str
    natural: frozenset[str] = frozenset()


@runtime_checkable
class Client(Protocol):
    """An open connection to one target, used by one thread. A reader's writes raise `ReadOnly`."""

    target: str

    def close(self) -> None: ...


ClientT = TypeVar("ClientT", contravariant=True)


class Hand(Protocol[ClientT]):
    """What a driver contributes per primitive kind. Stateless; the client is an argument.

    Errors are those of `reconciler.errors`, translated in the driver's `client.py`.
    """

    def observe(self, client: ClientT, ask: Ask) -> Iterable[Observed]:
        """List all that carries our mark, half-made and Deleting things included. Complete, or an error.

        Ready says that the computed attributes are known. Things that another step of ours must finish
        (a resize to confirm) are Progressing and say it in `drift`. At natural keys unmarked things are
        reported as Ref(primitive, "", key).
        """
        ...

    def verify(self, client: ClientT, thing: Observed) -> Observed:
        """Read one listed thing deeply: what a list does not show (content, drift). Reads only."""
        ...

    def apply(self, client: ClientT, change: Change, mark: Mark) -> None:
        """Create or update `change.want`, marked in the same call. Safe to run twice; does not wait."""
        ...

    def release(self, client: ClientT, change: Change) -> None:
        """Take our mark off `change.have` and leave the thing. Released already is success."""
        ...

    def delete(self, client: ClientT, change: Change) -> None:
        """Begin to remove `change.have`; does not wait. Gone already is success.

        What is listed afterwards is Deleting until it is gone: a delete under way is not asked for again.
        """
        ...


@runtime_checkable
class BatchHand(Protocol[ClientT]):
    """A hand that can make many things in one go, and is much faster so."""

    def batch(self, change: Change) -> str:
        """Changes with the same answer begin one call. What needs nothing but these comes along."""
        ...

    def apply_together(
        self, client: ClientT, changes: Sequence[tuple[Change, Mark]]
    ) -> Sequence[BackendError | None]:
        """What `apply` does, for several: what became of each, in the same order; None: it went well.

        A change whose needs are in the same call comes after them; it is Untried where one of them failed.
        """
        ...


class DataFolder(Protocol):
    """Where drivers that work on this machine keep things: relative settings are relative to `data`."""

    @property
    def data(self) -> str: ...


class Places(DataFolder, Protocol):
    """What drivers get from us.

    `secret` is the value of a reference, asked for when it is used and never kept; it raises Denied with what
    is missing. `roles` are the folders in which Ansible roles lie, the first that has one wins.
    """

    def secret(self, reference: str) -> str: ...

    def roles(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class Driver:
    """One back-end: how to connect, and a hand per primitive kind it serves.

    `settings` is the JSON Schema (draft 2020-12) of the target's own settings. `reader` and `writer`
    open a client; a reader must be enough for `plan` and can't write. `facts` reads capacities.
    `hand` is asked for by primitive kind; None: not served. `serves_every_kind` makes the hand of any
    kind that `hands` does not name: a list has to know what it lists. `write_seconds` is what one write
    may take where it moves data (0: the target's time-out). `traits` is what placement must know of a target
    and what its settings alone tell: `rootless`, `volumes`, `rehearsal` (nothing real). `place` names the
    settings that say where its things are: with others it is another place, and what stood is not there.
    """

    name: str
    settings: Mapping[str, Json]
    reader: Callable[[Target, Places], Any]
    writer: Callable[[Target, Places], Any]
    hands: Mapping[str, Hand[Any]]
    facts: Callable[[Any], Mapping[str, Json]] = lambda _client: {}
    serves_every_kind: Callable[[str], Hand[Any]] | None = None
    write_seconds: float = 0.0
    traits: Callable[[Target], Mapping[str, Json]] = lambda _target: {}
    place: tuple[str, ...] = ()

    def hand(self, primitive: str) -> Hand[Any] | None:
        """The hand for a primitive kind; None when this back-end does not serve it."""
        hand = self.hands.get(primitive)
        if hand is None and self.serves_every_kind is not None:
            return self.serves_every_kind(primitive)
        return hand

    def serving(self, primitive: str) -> Hand[Any]:
        """The hand for a primitive kind. Raises Rejected when this back-end does not serve it."""
        hand = self.hand(primitive)
        if hand is None:
            raise Rejected(f"targets of type {self.name} do not serve {primitive}")
        return hand
