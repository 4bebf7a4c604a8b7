"""The nouns: Ref Target Declared Resource Observed Change Plan Outcome Condition Record.

All frozen. Specs are JSON values (mappings of strings, numbers, booleans, lists), so that what is
wanted, what is seen, what is planned, stored and sent to another machine are one language.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, NamedTuple

from reconciler.canonical import digest_of

Json = Any
Spec = Mapping[str, Json]


class _Nothing(Mapping[str, Any]):
    """The empty mapping, frozen and hashable: the default of mapping fields."""

    def __getitem__(self, key: str) -> Any:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __hash__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "{}"

    def __reduce__(self) -> str:
        return "NOTHING"


NOTHING: Final[Mapping[str, Any]] = _Nothing()


class Ref(NamedTuple):
    """What git calls a thing; never a path, never a back-end's id. (A tuple: it is hashed all the time.)

    Printed and typed as `Kind/group/name`, `Kind/name` for global kinds; what an object expands
    into has a part as well: `<object's Ref>/<node>[.<index>].<primitive kind>`. A part always
    holds a dot and a name never does, which is how `parse` tells them apart.
    """

    kind: str
    group: str
    name: str
    part: str = ""

    def __str__(self) -> str:
        return "/".join(piece for piece in (self.kind, self.group, self.name, self.part) if piece)

    @classmethod
    def parse(cls, text: str) -> Ref:
        """Read what `str` printed. Raises ValueError with the expected form."""
        pieces = text.split("/")
        part = pieces.pop() if len(pieces) > 2 and "." in pieces[-1] else ""
        if not 2 <= len(pieces) <= 3 or not all(pieces):
            raise ValueError(f"'{text}' is not a Ref: expected Kind/group/name or Kind/name")
        group = pieces[1] if len(pieces) == 3 else ""
        return cls(pieces[0], group, pieces[-1], part)

    @property
    def object(self) -> Ref:
        """The Ref of the object that this belongs to: itself, or the one without the part."""
        return Ref(self.kind, self.group, self.name) if self.part else self

    def with_part(self, node: str, primitive: str, index: int | None = None) -> Ref:
        """The Ref of one primitive thing that this object expands into."""
        middle = "" if index is None else f".{index}"
        return Ref(self.kind, self.group, self.name, f"{node}{middle}.{primitive}")


_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz234567"
_PAIRS: Final = [first + second for first in _LETTERS for second in _LETTERS]


@lru_cache(maxsize=65536)
def mark_id(ref: Ref) -> str:
    """20 base32 characters of sha256(Ref): what a mark says where there is no room for the Ref.

    RFC 4648 base32 in small letters, two at a time: the standard library's is ten times slower, and
    every object of a repository has a mark.
    """
    bits = int.from_bytes(hashlib.sha256(str(ref).encode()).digest()[:13]) >> 4  # the first 100 of 256
    return "".join([_PAIRS[bits >> shift & 1023] for shift in range(90, -1, -10)])


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """Where the author wrote it. `line` counts from 1."""

    path: str
    line: int = 1

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


@dataclass(frozen=True, slots=True)
class Target:
    """A place that one driver can reach. `settings` hold references to secrets, never secrets.

    `provider` is the site (budgets, windows). `concurrency` is how many calls may be under way,
    `rate` calls a second (0: no limit), `timeout` and `deadline` are seconds for one reading of
    the target, and for all writes of one pass.
    """

    name: str
    driver: str
    provider: str
    settings: Spec = NOTHING
    status: str = "active"  # active | maintenance | limited | removed
    suspended: str = ""  # why nothing is written or newly placed here; empty: it is
    groups: frozenset[str] | None = None  # None: every group
    concurrency: int = 4
    rate: float = 0.0
    timeout: float = 60.0
    deadline: float = 3600.0
    source: Source = Source("")

    def serves(self, group: str) -> bool:
        """May objects of this group live here? Global objects (empty group) always may."""
        return not group or self.groups is None or group in self.groups


@dataclass(frozen=True, slots=True)
class Suspension:
    """Left alone, still shown: why, and until the end of which day (UTC)."""

    reason: str
    until: date | None = None

    def active(self, now: datetime) -> bool:
        return self.until is None or now.date() <= self.until


@dataclass(frozen=True, slots=True)
class Metadata:
    """What every object may say about itself besides its spec."""

    labels: Mapping[str, str] = NOTHING
    annotations: Mapping[str, str] = NOTHING
    suspend: Suspension | None = None
    locked: bool = False
    keep: bool = False  # onRemove: keep
    formerly: Ref | None = None
    adopt: bool = False
    expires: date | None = None


PLAIN: Final = Metadata()


@dataclass(frozen=True, slots=True)
class Declared:
    """One object as its author wrote it: valid, defaults filled in, not yet expanded."""

    ref: Ref
    spec: Spec
    source: Source
    metadata: Metadata = PLAIN


@dataclass(frozen=True, slots=True)
class Resource:
    """One desired primitive thing at one target.

    `kind` is the primitive kind. `needs` must be Ready first. `candidates` are the other targets
    where it could already be (none of them may be blind when we create). `facts` tell the hand what
    it needs for the work and what is not part of the wish, e.g. where good copies lie; they are in
    no digest.
    """

    ref: Ref
    kind: str
    target: str
    spec: Spec
    source: Source
    metadata: Metadata = PLAIN
    needs: frozenset[Ref] = frozenset()
    candidates: frozenset[str] = frozenset()
    facts: Mapping[str, Any] = NOTHING


BACKING_OFF: Final = "BackingOff"  # the reason of what failed lately and is left alone until its next try
PARTIAL: Final = "Partial"  # the reason of things that an interrupted run left


class State(StrEnum):
    """How a real thing is. DELETING: its removal was accepted and is still under way."""

    READY = "Ready"
    PROGRESSING = "Progressing"
    FAILED = "Failed"
    DELETING = "Deleting"

    @property
    def moving(self) -> bool:
        """Will it be something else by itself before long?"""
        return self in (State.PROGRESSING, State.DELETING)


@dataclass(frozen=True, slots=True)
class Mark:
    """Our mark, as read from the thing itself. `ref` and `spec_hash` are empty where it has no room."""

    owner: str
    id: str
    ref: Ref | None = None
    spec_hash: str = ""
    lock: bool = False
    keep: bool = False

    def __str__(self) -> str:
        return f"rc1.{self.owner}.{self.id}"


def mark_for(owner: str, resource: Resource) -> Mark:
    """The mark that a hand writes with (in the same call as) the creation of this resource."""
    metadata = resource.metadata
    identity = mark_id(resource.ref)
    return Mark(owner, identity, resource.ref, digest_of(resource.spec), metadata.locked, metadata.keep)


@dataclass(frozen=True, slots=True, order=True)
class FieldChange:
    """One field: what it is and what it should be. ABSENT where there is no value."""

    path: str
    have: Json
    want: Json


class _Absent:
    """No value at all, which null is not."""

    def __repr__(self) -> str:
        return "absent"

    def __reduce__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()


@dataclass(frozen=True, slots=True)
class Observed:
    """One real thing, said in the words of its spec.

    While an accepted update is under way, `spec` is the one that it leads to. `uid` is the back-end's id,
    unique at its target: for look-ups and messages, never identity. `mark` is None for things that are
    not ours. `uses` are uids of things that this one needs. `attributes` are computed by the
    back-end. `drift` is for back-ends that compare for themselves. `since` orders duplicates
    (ISO 8601 UTC). `verified` is when the content was last proved, where the kind has content.
    """

    ref: Ref
    kind: str
    target: str
    spec: Spec
    uid: str
    mark: Mark | None = None
    state: State = State.READY
    reason: str = ""
    message: str = ""
    uses: frozenset[str] = frozenset()
    attributes: Mapping[str, Json] = NOTHING
    drift: tuple[FieldChange, ...] = ()
    since: str = ""
    verified: datetime | None = None

    @property
    def partial(self) -> bool:
        """Half-made or half-removed: nobody has ever had it, or has it any more."""
        return self.state is State.FAILED and self.reason == PARTIAL


class Action(StrEnum):
    """What a change does to the thing."""

    CREATE = "create"
    UPDATE = "update"
    REPLACE = "replace"
    DELETE = "delete"


@dataclass(frozen=True, slots=True, order=True)
class Hold:
    """Why a human must look first. Changes of one `bucket` are released together."""

    reason: str
    message: str
    bucket: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """One step from `have` to `want` at one target; None where there is nothing on that side.

    `release` marks the one update that takes our mark off and leaves the thing (onRemove: keep).
    `released` is the reason of the hold that a human approved. `needs` must be Ready before, `after` must
    be gone before. The digest covers what, where, from what, to what; not the reason, the hold, the source,
    the order of files or the time.
    """

    ref: Ref
    kind: str
    target: str
    action: Action
    reason: str
    fields: tuple[FieldChange, ...] = ()
    order: str | None = None  # replace only: create-first | delete-first
    want: Resource | None = None
    have: Observed | None = None
    needs: frozenset[Ref] = frozenset()
    after: frozenset[str] = frozenset()  # uids
    release: bool = False
    hold: Hold | None = None
    released: str = ""
    source: Source = Source("")
    _digest: str = field(default="", init=False, repr=False, compare=False)  # computed once

    @property
    def digest(self) -> str:
        """`sha256:` and 64 hex digits over RFC 8785 JSON of [ref, target, action, order, fields]."""
        if not self._digest:
            fields = [_field_json(entry) for entry in self.fields]
            digest = digest_of([str(self.ref), self.target, str(self.action), self.order, fields])
            object.__setattr__(self, "_digest", digest)
        return self._digest

    def held(self, hold: Hold) -> Change:
        """This change, held; the first hold wins."""
        return self if self.hold else replace(self, hold=hold)


def _field_json(entry: FieldChange) -> dict[str, Json]:
    sides = {"path": entry.path, "have": entry.have, "want": entry.want}
    return {key: value for key, value in sides.items() if value is not ABSENT}


def digest_of_changes(changes: Iterable[Change], prefix: str = "") -> str:
    """The digest of a set of changes: of the sorted set of theirs. `prefix` sets kinds of plan apart."""
    return prefix + digest_of(sorted(change.digest for change in changes))


class Word(StrEnum):
    """The status words, first that fits."""

    SUSPENDED = "Suspended"
    BLIND = "Blind"
    HELD = "Held"
    FAILED = "Failed"
    WAITING = "Waiting"
    PROGRESSING = "Progressing"
    READY = "Ready"


@dataclass(frozen=True, slots=True)
class Condition:
    """How one object or part stands: a word, a CamelCase reason, prose, and who must act."""

    ref: Ref
    word: Word
    reason: str
    message: str = ""
    who: str = ""
    source: Source = Source("")
    since: datetime | None = None
    next_try: datetime | None = None
    attempts: int = 0
    blocked_by: tuple[Ref, ...] = ()
    last_try: datetime | None = field(default=None, compare=False)  # when something was last written for it


@dataclass(frozen=True, slots=True)
class Plan:
    """A closed set of changes, sorted by Ref, and where we were blind (target → why)."""

    revision: str
    changes: tuple[Change, ...]
    blind: Mapping[str, str] = NOTHING
    conditions: Mapping[Ref, Condition] = field(default_factory=dict)
    prefix: str = ""

    @property
    def digest(self) -> str:
        return digest_of_changes(self.changes, self.prefix)

    @property
    def open(self) -> tuple[Change, ...]:
        """The changes that nobody has to look at first."""
        return tuple(change for change in self.changes if change.hold is None)

    @property
    def held(self) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if change.hold is not None)

    def buckets(self) -> dict[str, str]:
        """Hold group → the digest that `--approve` takes to release it whole."""
        groups: dict[str, list[Change]] = {}
        for change in self.held:
            if change.hold and change.hold.bucket:
                groups.setdefault(change.hold.bucket, []).append(change)
        return {bucket: digest_of_changes(groups[bucket]) for bucket in sorted(groups)}


class Result(StrEnum):
    """What became of one change in one run."""

    APPLIED = "Applied"
    FAILED = "Failed"
    WAITING = "Waiting"
    HELD = "Held"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one change: a result, the error's reason and its words, and who must act."""

    change: Change
    result: Result
    reason: str = ""
    message: str = ""
    who: str = ""
    blocked_by: tuple[Ref, ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """What one run leaves behind. Times are aware UTC; `seconds` are per stage."""

    run: str
    revision: str
    digest: str
    started: datetime
    finished: datetime
    outcomes: tuple[Outcome, ...]
    conditions: Mapping[Ref, Condition]
    blind: Mapping[str, str]
    seconds: Mapping[str, float]
    exit_code: int
