"""Kind DataAccount: who owns data at a Rucio, how they log in, and how much they may have where.

Found by its name there, never deleted by us; of what it has only that is ours which the file names. Passwords
are references; what Rucio has is never read back, so another password is no change.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from reconciler.errors import BackendError
from reconciler.kind import Kind, Primitive, World
from reconciler.model import Condition, Declared, Json, Ref, Resource, Word
from reconciler.placement.naming import all_kept, natural_key, rse_named, rse_of
from reconciler.units import size

ACCOUNT: Final = "DataAccount"
UNLIMITED: Final = "unlimited"
_LONGEST: Final = 25  # characters of a name: common/schema/generic.py (ACCOUNT_LENGTH)
_VALUE: Final = re.compile(r"[a-zA-Z0-9_/.-]{1,30}")  # ditto (ACCOUNT_ATTRIBUTE)


@dataclass(frozen=True, slots=True)
class Identity:
    """One way to log in. `secret` is a reference to a password, for `userpass`."""

    type: str
    identity: str
    email: str | None = None
    secret: str | None = None


@dataclass(frozen=True, slots=True)
class Quotas:
    """Sizes: `local` by storage element, `everywhere` by expression, for all that it selects together."""

    local: Mapping[str, str] = field(default_factory=dict)
    everywhere: Mapping[str, str] = field(default_factory=dict, metadata={"key": "global"})


@dataclass(frozen=True, slots=True)
class DataAccountSpec:
    """Who it is. `account` is its name at Rucio; left out: the name of the object."""

    target: str
    account: str | None = None
    type: str = "user"
    email: str | None = None
    identities: tuple[Identity, ...] = ()
    attributes: Mapping[str, str | int | bool] = field(default_factory=dict)
    quotas: Quotas = field(default_factory=Quotas)


class DataAccount(Kind[DataAccountSpec]):
    """Declared by operators; global."""

    name: ClassVar[str] = ACCOUNT
    grouped: ClassVar[bool] = False
    spec = DataAccountSpec
    parts: ClassVar[tuple[Primitive, ...]] = (Primitive(ACCOUNT, marked="natural", listed="full"),)

    def targets(self, declared: Declared) -> Iterable[tuple[str, str]]:
        """The one target where it is."""
        return (("spec.target", declared.spec["target"]),)

    def check(self, declared: Declared) -> Iterable[tuple[str, str, str]]:
        """What Rucio would refuse: long names, passwords that are missing, sizes that are none."""
        if len(account_of(declared)) > _LONGEST:
            hint = f"set `account` to at most {_LONGEST} characters"
            yield "spec.account", f"Rucio takes no account with the name {account_of(declared)}", hint
        for key, value in declared.spec.get("attributes", {}).items():
            if key.startswith("reconciler") or not (_VALUE.fullmatch(key) and _VALUE.fullmatch(str(value))):
                hint = "at most 30 letters, digits and -_/. ; names that begin with `reconciler` are ours"
                yield f"spec.attributes.{key}", "Rucio takes no such attribute", hint
        yield from _wrong_identities(declared)
        for sort, quotas in (declared.spec.get("quotas") or {}).items():
            for place, said in quotas.items():
                if problem := _wrong_size(said):
                    hint = f"write a size like 10TiB, or `{UNLIMITED}`"
                    yield f"spec.quotas.{sort}.{place}", problem, hint

    def check_together(self, declared: Collection[Declared]) -> Iterable[tuple[Declared, str, str, str]]:
        """Two objects are not one account."""
        first: dict[tuple[str, str], Declared] = {}
        for entry in sorted(declared, key=lambda one: one.ref):
            other = first.setdefault((entry.spec["target"], account_of(entry)), entry)
            if other is not entry:
                said = f"{other.ref} is the account {account_of(entry)} of {entry.spec['target']} already"
                yield entry, "spec.account", said, "one file declares it"

    def natural_keys(self, declared: Declared, primitive: str) -> Iterable[str]:
        """Its name at its target, and each global quota that is to be read."""
        target, account = declared.spec["target"], account_of(declared)
        yield natural_key(target, account)
        for expression in (declared.spec.get("quotas") or {}).get("global", {}):
            yield natural_key(target, account, expression)

    def expand(self, declared: Declared, world: World) -> Iterable[Resource | Condition]:
        """One thing, at its target; it comes after the elements on which it has a quota."""
        said = declared.spec
        target = said["target"]
        if target not in world.targets:
            message = f"target {target} is not declared by any Provider"
            yield Condition(declared.ref, Word.WAITING, "NoTarget", message, "author")
            return
        secrets = {_named(entry): entry["secret"] for entry in said["identities"] if entry.get("secret")}
        try:
            for reference in secrets.values():
                world.tag(declared.ref, reference)  # may it be named here?
        except BackendError as error:
            message = f"{error}" + (f" ({error.hint})" if error.hint else "")
            yield Condition(declared.ref, Word.WAITING, "SecretMissing", message, error.who)
            return
        facts = _facts(declared, secrets)
        needs = _elements(declared, world)
        spec = _wish(said)
        yield Resource(
            declared.ref, ACCOUNT, target, spec, declared.source, declared.metadata, needs, facts=facts
        )


def account_of(declared: Declared) -> str:
    """What Rucio calls a declared account."""
    said: str | None = declared.spec.get("account")
    return said or declared.ref.name


def _wrong_identities(declared: Declared) -> Iterable[tuple[str, str, str]]:
    seen: set[str] = set()
    for index, entry in enumerate(declared.spec.get("identities", ())):
        where = f"spec.identities.{index}"
        if _named(entry) in seen:
            yield where, f"the identity `{_named(entry)}` is there twice", "keep one"
        seen.add(_named(entry))
        if (entry["type"] == "userpass") != bool(entry.get("secret")):
            said = "an identity of type userpass, and no other, has a password"
            yield f"{where}.secret", said, "name a reference like env:NAME or file:/path#key"


def _wrong_size(said: str) -> str:
    try:
        size("0B" if said == UNLIMITED else said)
    except ValueError as error:
        return str(error)
    return ""


def _named(entry: Mapping[str, Any]) -> str:
    return f"{entry['type'].upper()} {entry['identity']}"


def _wish(said: Mapping[str, Any]) -> dict[str, Json]:
    spec: dict[str, Json] = {"type": said["type"].upper()}
    if said.get("email") is not None:
        spec["email"] = said["email"]
    quotas = said.get("quotas") or {}
    bytes_of = {
        "local": {rse_named(word): _bytes(text) for word, text in quotas.get("local", {}).items()},
        "global": {expression: _bytes(text) for expression, text in quotas.get("global", {}).items()},
    }
    more = {
        "attributes": all_kept(said.get("attributes", {})),
        "identities": {_named(entry): True for entry in said["identities"]},
        "quotas": {sort: entries for sort, entries in bytes_of.items() if entries},
    }
    return spec | {key: value for key, value in more.items() if value}


def _bytes(text: str) -> int | str:
    return text if text == UNLIMITED else size(text)


def _facts(declared: Declared, secrets: Mapping[str, str]) -> dict[str, Any]:
    said = declared.spec
    emails = {_named(entry): entry.get("email") or said.get("email") or "" for entry in said["identities"]}
    expressions = tuple(sorted((said.get("quotas") or {}).get("global", {})))
    key = natural_key(said["target"], account_of(declared))
    return {"natural": key, "details": expressions, "emails": emails, "secrets": dict(secrets)}


def _elements(declared: Declared, world: World) -> frozenset[Ref]:
    """The elements of our files on which it has a quota, where they are Rucio's."""
    target = declared.spec["target"]
    named = {rse_named(word) for word in (declared.spec.get("quotas") or {}).get("local", {})}
    if not named or not world.serves(target, "rse"):
        return frozenset()
    return frozenset(
        element.ref.with_part("main", "rse")
        for element in world.of_kind("StorageElement")
        if rse_of(element) in named and _same_rucio(element.spec["target"], target, world)
    )


def _same_rucio(one: str, other: str, world: World) -> bool:
    """Are the two targets one server, whose elements are `rse`? Several targets may be one."""
    if one not in world.targets or not world.serves(one, "rse") or world.serves(one, "StorageElement"):
        return False
    mine, its = (world.targets[name].settings for name in (one, other))
    return one == other or (bool(mine.get("url")) and mine.get("url") == its.get("url"))


KIND = DataAccount()
