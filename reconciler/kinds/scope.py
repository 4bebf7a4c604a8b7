"""Kind Scope: a namespace of data at a Rucio, and the account that owns it.

Found by its name there, and never deleted by us.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import ClassVar, Final

from reconciler.kind import Kind, Primitive, World
from reconciler.model import Condition, Declared, Ref, Resource, Word
from reconciler.placement.naming import natural_key

SCOPE: Final = "Scope"
_LONGEST: Final = 25  # characters of a name: common/schema/generic.py (SCOPE_LENGTH)


@dataclass(frozen=True, slots=True)
class ScopeSpec:
    """`account` owns it. `scope` is its name at Rucio; left out: the name of the object."""

    target: str
    account: str
    scope: str | None = None


class Scope(Kind[ScopeSpec]):
    """Declared by operators; global."""

    name: ClassVar[str] = SCOPE
    grouped: ClassVar[bool] = False
    spec = ScopeSpec
    parts: ClassVar[tuple[Primitive, ...]] = (Primitive(SCOPE, marked="natural", listed="full"),)

    def targets(self, declared: Declared) -> Iterable[tuple[str, str]]:
        """The one target where it is."""
        return (("spec.target", declared.spec["target"]),)

    def check(self, declared: Declared) -> Iterable[tuple[str, str, str]]:
        """Rucio's names are short."""
        if len(scope_of(declared)) > _LONGEST:
            hint = f"set `scope` to at most {_LONGEST} characters"
            yield "spec.scope", f"Rucio takes no scope with the name {scope_of(declared)}", hint

    def check_together(self, declared: Collection[Declared]) -> Iterable[tuple[Declared, str, str, str]]:
        """Two objects are not one scope."""
        first: dict[tuple[str, str], Declared] = {}
        for entry in sorted(declared, key=lambda one: one.ref):
            other = first.setdefault((entry.spec["target"], scope_of(entry)), entry)
            if other is not entry:
                said = f"{other.ref} is the scope {scope_of(entry)} of {entry.spec['target']} already"
                yield entry, "spec.scope", said, "one file declares it"

    def natural_keys(self, declared: Declared, primitive: str) -> Iterable[str]:
        """Its name at its target."""
        return (natural_key(declared.spec["target"], scope_of(declared)),)

    def expand(self, declared: Declared, world: World) -> Iterable[Resource | Condition]:
        """One thing, at its target; it comes after its account, where our files declare that."""
        target = declared.spec["target"]
        if target not in world.targets:
            message = f"target {target} is not declared by any Provider"
            yield Condition(declared.ref, Word.WAITING, "NoTarget", message, "author")
            return
        spec = {"account": declared.spec["account"]}
        facts = {"natural": natural_key(target, scope_of(declared))}
        needs = _account(declared, world)
        yield Resource(
            declared.ref, SCOPE, target, spec, declared.source, declared.metadata, needs, facts=facts
        )


def scope_of(declared: Declared) -> str:
    """What Rucio calls a declared scope."""
    said: str | None = declared.spec.get("scope")
    return said or declared.ref.name


def _account(declared: Declared, world: World) -> frozenset[Ref]:
    return frozenset(
        account.ref
        for account in world.of_kind("DataAccount")
        if (account.spec.get("account") or account.ref.name) == declared.spec["account"]
        and _same_rucio(account.spec["target"], declared.spec["target"], world)
    )


def _same_rucio(one: str, other: str, world: World) -> bool:
    """Are the two targets one server? Several targets may be."""
    if one not in world.targets:
        return False
    mine, its = (world.targets[name].settings for name in (one, other))
    return one == other or (bool(mine.get("url")) and mine.get("url") == its.get("url"))


KIND = Scope()
