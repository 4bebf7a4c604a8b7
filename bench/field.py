"""What a row is made of: its goal, what was measured, and the grounds on which that is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.command import Sample
from bench.generate import Size
from bench.ground import Ground

SITES = 20


@dataclass(frozen=True, slots=True)
class Goal:
    """What is to be reached at most; None where it does not apply. `ratio` is a number of times.

    `ansible` is how many programs of Ansible were started.
    """

    seconds: float | None = None
    mib: float | None = None
    calls: int | None = None
    ratio: float | None = None
    blocked: int | None = None
    ansible: int | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured. `ratios` compare pairs; `blocked` are healthy objects that were held up."""

    objects: int
    samples: list[Sample]
    ratios: list[float] = field(default_factory=list)
    blocked: int | None = None
    ansible: int | None = None


@dataclass(slots=True)
class Field:
    """The grounds of one bench, made when first asked for. `scale` shrinks every number of objects."""

    folder: Path
    repeat: int = 5
    scale: float = 1.0
    _grounds: dict[str, Ground] = field(default_factory=dict)

    def times(self) -> Iterator[int]:
        yield from range(self.repeat)

    def objects(self, full: int) -> int:
        return int(full * self.scale)

    def ground(self, purpose: str, objects: int, copies: int = 1, deployments: int = 0) -> Ground:
        """A repository that nothing was applied from yet."""
        name = f"{purpose}-{objects}-{copies}-{deployments}"
        if name not in self._grounds:
            size = Size(self.objects(objects), SITES, copies=copies, deployments=self.objects(deployments))
            self._grounds[name] = Ground(self.folder / name, size)
        return self._grounds[name]

    def converged(
        self, objects: int, copies: int = 1, purpose: str = "converged", deployments: int = 0
    ) -> Ground:
        """A repository whose worlds are as it says; caches warm."""
        ground = self.ground(purpose, objects, copies, deployments)
        if not ground.converged:
            ground.converge()
        return ground


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    name: str
    title: str
    goal: Goal
    measure: Callable[[Field], Measured]
