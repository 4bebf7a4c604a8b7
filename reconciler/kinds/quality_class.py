"""Kind QualityClass: what one sort of storage of the federation gives, in CDMI's words.

Data managers name the quality that their data need; which elements have it is said here, once for all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from reconciler.kind import Kind
from reconciler.model import Declared
from reconciler.placement.checks import check_expression, check_latency


@dataclass(frozen=True, slots=True)
class QualityClassSpec:
    """`redundancy` is how many copies of a file an element itself keeps, `placement` where its disks may be.

    No `placement`: they may be anywhere, so it fits only data that may be anywhere, too.
    """

    latency: str
    expression: str
    redundancy: int = 1
    placement: tuple[str, ...] = ()
    description: str = ""


class QualityClass(Kind[QualityClassSpec]):
    """Configuration: it expands into nothing. Global."""

    name: ClassVar[str] = "QualityClass"
    grouped: ClassVar[bool] = False
    spec = QualityClassSpec

    def check(self, declared: Declared) -> Iterable[tuple[str, str, str]]:
        """Latency and expression that a schema can't judge."""
        spec = declared.spec
        yield from check_latency("spec.latency", spec["latency"])
        yield from check_expression("spec.expression", spec["expression"])


KIND = QualityClass()
