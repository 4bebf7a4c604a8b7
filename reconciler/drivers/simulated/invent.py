"""What a simulated back-end makes up: computed attributes, and its own name for where a thing stands.

Pure, from the hash of the Ref, so that two runs and two machines make up the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from reconciler.kind import Primitive
from reconciler.model import NOTHING, Json, Ref, Resource, Spec, mark_id

NATURAL = "natural"


def attributes_of(primitive: Primitive | None, ref: Ref, spec: Spec = NOTHING) -> dict[str, Json]:
    """Every computed attribute that the primitive kind declares; ports are those that were asked for."""
    computed: Mapping[str, str] = primitive.computed if primitive else {}
    made = {name: invented(name, computed[name], ref) for name in sorted(computed)}
    asked = spec.get("ports", NOTHING)
    ports = {name: port["port"] for name, port in asked.items()} if "ports" in computed.values() else {}
    return {name: ports if computed[name] == "ports" else value for name, value in made.items()}


def invented(name: str, sort: str, ref: Ref) -> Json:
    """One attribute of a type: string, integer, address (IPv4 of RFC 2544) or url."""
    number = int.from_bytes(hashlib.sha256(f"{ref}#{name}".encode()).digest()[:4])
    if sort == "integer":
        return number
    if sort == "address":
        return f"198.{18 + (number >> 16) % 2}.{(number >> 8) % 256}.{number % 256}"
    if sort == "url":
        return f"https://{mark_id(ref)}.example.org/{name}"
    return f"{name}-{number:08x}"


def place_of(resource: Resource) -> str:
    """The back-end's own name for where the thing stands; two things can't stand at one place.

    The fact `natural` where the expansion gives one, else the Ref.
    """
    return str(resource.facts.get(NATURAL, resource.ref))
