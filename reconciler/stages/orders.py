"""What execution is given: all that it may use, and what it must do for the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.kind import Driver, Kind, Places, Primitive, World
from reconciler.model import Change, Target
from reconciler.stages.observe import Observation


@dataclass(frozen=True, slots=True)
class Orders:
    """Everything that execution may use, and the three things it must do for the others.

    `look` reads some targets again. `attempt` records changes before they are written. `check` raises
    `Locked` when the lease is lost; it is asked before every write. `stop` is set when the run is to end.
    """

    targets: Mapping[str, Target]
    driver: Callable[[str], Driver]
    kinds: Mapping[str, Kind[Any]]
    primitives: Mapping[str, Primitive]
    owner: str
    places: Places
    look: Callable[[frozenset[str]], Observation]
    world: Callable[[Observation], World]
    attempt: Callable[[Sequence[Change]], None]
    check: Callable[[], None]
    stop: threading.Event
    progress: Callable[[str, Mapping[str, Any]], None]
