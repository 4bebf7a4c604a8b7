"""Kind StorageElement: a place for copies of data at one target (in Rucio's words an RSE).

Expands into one primitive thing of the same name. It is never deleted while it holds anything: replicas `use`
it, and a delete waits for all observed users.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from reconciler.kind import Kind, Primitive, World
from reconciler.model import NOTHING, Condition, Declared, Resource, Word
from reconciler.units import size


@dataclass(frozen=True, slots=True)
class StorageElementSpec:
    """`attributes` are what expressions of rules compare; `capacity` is a size, what all copies may fill."""

    target: str
    attributes: Mapping[str, str | int | bool] = field(default_factory=dict)
    capacity: str | None = None


class StorageElement(Kind[StorageElementSpec]):
    """Declared by data managers or site administrators; global."""

    name: ClassVar[str] = "StorageElement"
    grouped: ClassVar[bool] = False
    spec = StorageElementSpec
    parts: ClassVar[tuple[Primitive, ...]] = (
        Primitive("StorageElement", computed={"path": "string"}, marked="atomic", listed="full", rank=10),
    )

    def targets(self, declared: Declared) -> Iterable[tuple[str, str]]:
        """The one target where it is."""
        return (("spec.target", declared.spec["target"]),)

    def check(self, declared: Declared) -> Iterable[tuple[str, str, str]]:
        """A capacity of whole bytes; no rename, because replicas are named by their element."""
        former = declared.metadata.formerly
        if former is not None:
            hint = f"declare {declared.ref} as a new element, and remove {former} when its copies have moved"
            yield "metadata.formerly", "an element can't be renamed: its replicas are named by it", hint
        try:
            size(declared.spec.get("capacity") or "0B")
        except ValueError as error:
            yield "spec.capacity", str(error), "write a size like 500GB or 10TiB"

    def natural_keys(self, declared: Declared) -> Iterable[str]:
        """Its own name: what a back-end would call it."""
        return (declared.ref.name,)

    def expand(self, declared: Declared, world: World) -> Iterable[Resource | Condition]:
        """One thing, at its target."""
        target = declared.spec["target"]
        if target not in world.targets:
            message = f"target {target} is not declared by any Provider"
            yield Condition(declared.ref, Word.WAITING, "NoTarget", message, "author")
            return
        spec = {"attributes": declared.spec.get("attributes", NOTHING)}
        if declared.spec.get("capacity"):
            spec["capacity"] = declared.spec["capacity"]
        facts = {"natural": declared.ref.name}
        yield Resource(declared.ref, self.name, target, spec, declared.source, declared.metadata, facts=facts)


KIND = StorageElement()
