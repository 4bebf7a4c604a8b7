"""Kind StorageElement: a place for copies of data at one target (in Rucio's words an RSE).

Expands into one primitive thing. Where we keep the data, of the same name: it is never deleted while it holds
anything; replicas `use` it, and a delete waits for all observed users. Where Rucio keeps them, an `rse`:
found by its name there, never deleted by us, and of what it has only that is ours which the file names.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from reconciler.kind import Kind, Primitive, World
from reconciler.model import NOTHING, Condition, Declared, Json, Resource, Target, Word
from reconciler.placement.naming import RSE_PATTERN, all_kept, natural_key, rse_named, rse_of
from reconciler.units import size

RSE: Final = "rse"
OURS: Final = "reconciler"  # the attribute that holds our mark
_IMPLEMENTATIONS: Final = {"file": "rucio.rse.protocols.posix.Default"}
_IMPLEMENTATION: Final = "rucio.rse.protocols.gfal.Default"


@dataclass(frozen=True, slots=True)
class Availability:
    """What Rucio may do there now; what is left out is its operators' matter."""

    read: bool | None = None
    write: bool | None = None
    delete: bool | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """When Rucio makes room: `min_free_space` is a size, `max_being_deleted_files` a number."""

    min_free_space: str | None = None
    max_being_deleted_files: int | None = None


@dataclass(frozen=True, slots=True)
class Protocol:
    """One way to the files. `domains` are Rucio's: domain → operation → priority, 1 is first, 0 is never."""

    scheme: str
    prefix: str
    hostname: str = "localhost"
    port: int = 0
    impl: str | None = None
    domains: Mapping[str, Mapping[str, int]] | None = None
    extended_attributes: Mapping[str, Json] | None = None


@dataclass(frozen=True, slots=True)
class StorageElementSpec:
    """`attributes` are what expressions of rules compare; `capacity` is a size, what all copies may fill.

    What comes after `capacity` is for Rucio only.
    """

    target: str
    attributes: Mapping[str, str | int | bool] = field(default_factory=dict)
    capacity: str | None = None
    rse: str | None = None
    type: str | None = None
    quality: str | None = None
    deterministic: bool | None = None
    volatile: bool | None = None
    verify_checksum: bool | None = None
    availability: Availability | None = None
    limits: Limits | None = None
    distances: Mapping[str, int] = field(default_factory=dict)
    protocols: tuple[Protocol, ...] = ()


class StorageElement(Kind[StorageElementSpec]):
    """Declared by data managers or site administrators; global."""

    name: ClassVar[str] = "StorageElement"
    grouped: ClassVar[bool] = False
    spec = StorageElementSpec
    parts: ClassVar[tuple[Primitive, ...]] = (
        Primitive("StorageElement", computed={"path": "string"}, marked="atomic", listed="full", rank=10),
        Primitive(
            RSE,
            immutable=frozenset({"deterministic"}),
            computed={"files": "integer", "bytes": "integer"},
            marked="natural",
            listed="full",
            rank=10,
        ),
    )

    def targets(self, declared: Declared) -> Iterable[tuple[str, str]]:
        """The one target where it is."""
        return (("spec.target", declared.spec["target"]),)

    def check(self, declared: Declared) -> Iterable[tuple[str, str, str]]:
        """Sizes of whole bytes; no rename, because replicas are named by their element; names of Rucio's."""
        former = declared.metadata.formerly
        if former is not None:
            hint = f"declare {declared.ref} as a new element, and remove {former} when its copies have moved"
            yield "metadata.formerly", "an element can't be renamed: its replicas are named by it", hint
        limits = declared.spec.get("limits") or {}
        sizes = (("capacity", declared.spec), ("minFreeSpace", limits))
        for key, among in sizes:
            where = f"spec.{key}" if among is declared.spec else f"spec.limits.{key}"
            try:
                size(among.get(key) or "0B")
            except ValueError as error:
                yield where, str(error), "write a size like 500GB or 10TiB"
        yield from _unfit_names(declared)

    def check_together(self, declared: Collection[Declared]) -> Iterable[tuple[Declared, str, str, str]]:
        """Two elements are not one RSE; distances name elements as Rucio calls them."""
        first: dict[tuple[str, str], Declared] = {}
        named = {entry.ref.name: rse_of(entry) for entry in declared}
        for entry in sorted(declared, key=lambda one: one.ref):
            other = first.setdefault((entry.spec["target"], rse_of(entry)), entry)
            if other is not entry and "rse" in (entry.spec.keys() | other.spec.keys()):
                said = f"{other.ref} is the RSE {rse_of(entry)} of {entry.spec['target']} already"
                yield entry, "spec.rse", said, "one file declares it"
            for word in entry.spec.get("distances", {}):
                if named.get(word, rse_named(word)) != rse_named(word):
                    said = f"Rucio calls {word} {named[word]}"
                    yield entry, f"spec.distances.{word}", said, f"write {named[word]}"

    def natural_keys(self, declared: Declared, primitive: str) -> Iterable[str]:
        """Its own name, as storage calls it; or its name at Rucio, and each distance that is to be read."""
        if primitive != RSE:
            yield declared.ref.name
            return
        target, rse = declared.spec["target"], rse_of(declared)
        yield natural_key(target, rse)
        for destination in _destinations(declared.spec):
            yield natural_key(target, rse, destination)

    def expand(self, declared: Declared, world: World) -> Iterable[Resource | Condition]:
        """One thing, at its target."""
        target = declared.spec["target"]
        if target not in world.targets:
            message = f"target {target} is not declared by any Provider"
            yield Condition(declared.ref, Word.WAITING, "NoTarget", message, "author")
        elif world.serves(target, RSE) and not world.serves(target, self.name):
            yield _at_rucio(declared, world.targets[target])
        else:
            spec = {"attributes": declared.spec.get("attributes", NOTHING)}
            if declared.spec.get("capacity"):
                spec["capacity"] = declared.spec["capacity"]
            facts = {"natural": declared.ref.name}
            yield Resource(
                declared.ref, self.name, target, spec, declared.source, declared.metadata, facts=facts
            )


def _unfit_names(declared: Declared) -> Iterable[tuple[str, str, str]]:
    rse = rse_of(declared)
    if not re.match(RSE_PATTERN, rse) and _is_for_rucio(declared.spec):
        hint = "set `rse` to letters and digits, with single -, _ or . between them"
        yield "spec.rse", f"`{rse}` can't be the name of an RSE", hint
    for name in (OURS, rse) if _is_for_rucio(declared.spec) else ():
        if name in declared.spec.get("attributes", {}):
            yield f"spec.attributes.{name}", "Rucio or our mark is there already", "choose another name"
    seen: set[str] = set()
    for index, protocol in enumerate(declared.spec.get("protocols", ())):
        key = _protocol_key(protocol)
        if key in seen:
            yield f"spec.protocols.{index}", f"there are two protocols {key}", "keep one"
        seen.add(key)


def _is_for_rucio(spec: Mapping[str, Any]) -> bool:
    """Does the file say anything that only Rucio knows?"""
    plain = {"target", "attributes", "capacity"}
    return any(value not in (None, {}, [], ()) for key, value in spec.items() if key not in plain)


def _at_rucio(declared: Declared, place: Target) -> Resource:
    """What the file names, and what its target has for all, in Rucio's words; nothing else is compared."""
    target, said = place.name, _with_common(declared, place.settings.get("elements", NOTHING))
    spec: dict[str, Json] = {"attributes": _attributes(said)}
    spec |= {key: said[key] for key in ("quality", "deterministic", "volatile") if said.get(key) is not None}
    if said.get("type"):
        spec["type"] = said["type"].upper()
    ways = {way: value for way, value in (said.get("availability") or {}).items() if value is not None}
    more = {"availability": ways, "limits": _limits(said.get("limits") or {})}
    more["distances"] = _destinations(said)
    more["protocols"] = {_protocol_key(entry): _protocol(entry) for entry in said.get("protocols", ())}
    spec |= {key: value for key, value in more.items() if value}
    key = natural_key(target, rse_of(declared))
    facts = {"natural": key, "details": tuple(sorted(more["distances"]))}
    ref = declared.ref.with_part("main", RSE)
    return Resource(ref, RSE, target, spec, declared.source, declared.metadata, facts=facts)


def _with_common(declared: Declared, common: Mapping[str, Any]) -> Mapping[str, Any]:
    """A file's words with those for all elements of a target: what both name, the file says."""
    said, rse = declared.spec, rse_of(declared)
    protocols = [
        {**entry, "prefix": entry["prefix"].replace("{rse}", rse)} for entry in common.get("protocols", ())
    ]
    distances = {name: far for name, far in common.get("distances", {}).items() if name != rse}
    return {
        **said,
        "attributes": {**common.get("attributes", {}), **said.get("attributes", {})},
        "protocols": said.get("protocols") or protocols,
        "distances": {**distances, **_destinations(said)},
    }


def _attributes(said: Mapping[str, Any]) -> dict[str, str | bool]:
    attributes = all_kept(said.get("attributes", {}))
    if said.get("verifyChecksum") is not None:
        attributes["verify_checksum"] = said["verifyChecksum"]
    return attributes


def _limits(said: Mapping[str, Any]) -> dict[str, int]:
    limits = {}
    if said.get("minFreeSpace") is not None:
        limits["MinFreeSpace"] = size(said["minFreeSpace"])
    if said.get("maxBeingDeletedFiles") is not None:
        limits["MaxBeingDeletedFiles"] = said["maxBeingDeletedFiles"]
    return limits


def _destinations(said: Mapping[str, Any]) -> dict[str, int]:
    return {rse_named(word): distance for word, distance in said.get("distances", {}).items()}


def _protocol_key(said: Mapping[str, Any]) -> str:
    return f"{said['scheme']}://{said.get('hostname', 'localhost')}:{said.get('port', 0)}"


def _protocol(said: Mapping[str, Any]) -> dict[str, Json]:
    implementation = said.get("impl") or _IMPLEMENTATIONS.get(said["scheme"], _IMPLEMENTATION)
    more = {key: said[key] for key in ("domains", "extendedAttributes") if said.get(key) is not None}
    return {"prefix": said["prefix"], "impl": implementation, **more}


KIND = StorageElement()
