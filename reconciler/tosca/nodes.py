"""The nodes of a template with the defaults of their types: read once per service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from reconciler.model import NOTHING, Json
from reconciler.tosca.expressions import Expression
from reconciler.tosca.flaw import Path


class Family(StrEnum):
    """What a node is for us: by the root that its type derives from."""

    COMPUTE = "compute"
    VOLUME = "volume"
    NETWORK = "network"
    PORT = "port"
    SOFTWARE = "software"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One line of `requirements`: its name, the node it points at, the properties of the relationship."""

    name: str
    node: str
    properties: Mapping[str, Expression]
    path: Path


@dataclass(frozen=True, slots=True)
class Node:
    """One node template. `properties` and `capabilities` hold expressions, defaults of the type filled in.

    `declared` are the properties that its type knows, with or without a value. `role` is an expression,
    `hosts` the chain of nodes it runs on, the nearest first. `variables` go to the role.
    """

    name: str
    type: str
    family: Family
    path: Path
    properties: Mapping[str, Expression] = NOTHING
    capabilities: Mapping[str, Mapping[str, Expression]] = NOTHING
    declared: frozenset[str] = frozenset()
    requirements: tuple[Requirement, ...] = ()
    scalable: bool = False
    role: Expression = ""
    variables: Mapping[str, Expression] = NOTHING
    hosts: tuple[str, ...] = ()
    needs: frozenset[str] = frozenset()
    networks: tuple[str, ...] = ()
    definition: Json = field(default=None, repr=False, compare=False)
