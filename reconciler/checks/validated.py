"""Part of `validate`: what comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from reconciler.errors import Problem
from reconciler.library import EMPTY, Library
from reconciler.model import Declared, Json, Ref, Target
from reconciler.settings import Settings


@dataclass(frozen=True, slots=True)
class Validated:
    """What a snapshot declares.

    `declared` are the valid objects. `invalid` are those that are known by name but not valid (they are left
    alone), `waiting` the valid ones that refer to such a one, or to a target not yet trusted: why.
    `unreadable`: something could not even be named, so nothing may be taken for removed. `settings`,
    `targets` and `providers` are the trusted ones; `untrusted_targets` are declared here and not yet there.
    `own` is what reconciler.yaml says here, trusted or not, as JSON. `claimed` are former names of objects
    that are not valid: what stands under them is left alone as well. `asleep` are the groups whose file says
    `suspend` and is not valid.
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
    claimed: frozenset[Ref] = frozenset()
    asleep: frozenset[str] = frozenset()
    library: Library = EMPTY
