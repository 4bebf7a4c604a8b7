"""Kind Notice: a message that a site shows to its users. One object is one primitive thing.

The example of docs/how-to/add-a-kind.md: a file like this lies in `reconciler/kinds/`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from reconciler.kind import Kind, Primitive, World
from reconciler.model import Condition, Declared, Resource, Word


@dataclass(frozen=True, slots=True)
class NoticeSpec:
    """`text` is shown at `target`; an `urgent` one comes first."""

    target: str
    text: str
    urgent: bool = False


class Notice(Kind[NoticeSpec]):
    """Declared by operators for a group; grouped."""

    name: ClassVar[str] = "Notice"
    grouped: ClassVar[bool] = True
    spec = NoticeSpec
    parts: ClassVar[tuple[Primitive, ...]] = (Primitive("Notice"),)

    def targets(self, declared: Declared) -> Iterable[tuple[str, str]]:
        """The one target it names: a typo there is found by `validate`."""
        return (("spec.target", declared.spec["target"]),)

    def check(self, declared: Declared) -> Iterable[tuple[str, str, str]]:
        """What the schema can't say."""
        if not declared.spec["text"].strip():
            yield "spec.text", "the notice says nothing", "write a sentence, or remove the file"

    def natural_keys(self, declared: Declared, primitive: str) -> Iterable[str]:
        """What a person would call it there: for `adopt`."""
        return (f"{declared.ref.group}.{declared.ref.name}",)

    def expand(self, declared: Declared, world: World) -> Iterable[Resource | Condition]:
        """One thing, at its target."""
        target = world.targets.get(declared.spec["target"])
        if target is None or not target.serves(declared.ref.group):
            message = f"{declared.spec['target']} does not serve the group {declared.ref.group}"
            return (Condition(declared.ref, Word.FAILED, "TargetNotForGroup", message, "author"),)
        spec = {key: value for key, value in declared.spec.items() if key != "target"}
        ref, source, metadata = declared.ref, declared.source, declared.metadata
        return (Resource(ref, "Notice", target.name, spec, source, metadata),)


KIND = Notice()
