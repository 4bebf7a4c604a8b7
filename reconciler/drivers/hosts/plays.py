"""In which order roles are brought onto machines, and what goes together in one run of Ansible. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from reconciler.drivers.hosts.keeping import wanted
from reconciler.model import Change, Mark, Ref


@dataclass(frozen=True, slots=True)
class Step:
    """One change and the machine that it is about. `number` is its place in the batch."""

    number: int
    change: Change
    mark: Mark
    machine: str

    @property
    def role(self) -> tuple[str, str]:
        """The role and what its files are."""
        return role_of(self.change)

    @property
    def needs(self) -> frozenset[Ref]:
        return self.change.needs - {self.change.ref}


def role_of(change: Change) -> tuple[str, str]:
    """The role of a configuration and what its files are."""
    spec = wanted(change).spec
    return str(spec["role"]), str(spec.get("content", ""))


def plays_of(steps: Sequence[Step]) -> Iterator[list[Step]]:
    """Steps of one role, every machine once, after all that they need."""
    left = list(steps)
    while left:
        waiting = {step.change.ref for step in left}
        free = [step for step in left if not step.needs & waiting] or left[:1]
        play: dict[str, Step] = {}
        for step in free:
            if step.role == free[0].role:
                play.setdefault(step.machine, step)
        left = [step for step in left if step not in play.values()]
        yield list(play.values())


def runs_of(plays: Iterable[list[Step]], *, seen: bool) -> Iterator[list[list[Step]]]:
    """Plays that go together: no role twice on a machine.

    Nor a machine twice where its services are `seen`: which role started one is told by looking after each.
    """
    together: list[list[Step]] = []
    taken: set[tuple[str, str]] = set()
    for play in plays:
        keys = {(step.machine, "" if seen else step.role[0]) for step in play}
        if keys & taken:
            yield together
            together, taken = [], set()
        together.append(play)
        taken |= keys
    if together:
        yield together
