"""The nouns of the catalogue, and a service made of its parsed files (`source.catalogue` parses)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from reconciler.errors import Problem
from reconciler.guess import did_you_mean
from reconciler.model import NOTHING, Json
from reconciler.printable import printable, shown
from reconciler.tosca.expressions import Expression
from reconciler.tosca.flaw import Flaw, FlawError, Path
from reconciler.tosca.inputs import Input, check_sets, declared
from reconciler.tosca.memory import Memory
from reconciler.tosca.nodes import Family, Node
from reconciler.tosca.references import check_calls, check_order, read_outputs
from reconciler.tosca.skeleton import attempt, read_nodes, section
from reconciler.tosca.types import Types, check_imports, with_template
from reconciler.tosca.values import text_of

Place = tuple[int, int]  # line and column, from 1
Lookup = Callable[[Path], Place]

_VERSION = re.compile(r"(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})")
_DEFINITIONS: Final = ("tosca_simple_yaml_1_0", "tosca_simple_yaml_1_2", "tosca_simple_yaml_1_3")


@dataclass(frozen=True, slots=True)
class Parsed:
    """One file of a service: its path in the repository, its value, and where the values in it are."""

    path: str
    value: Json
    lookup: Lookup = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Service:
    """One version of a service of the catalogue.

    `path` is that of its template, `digest` 12 hex digits over its files. `metadata` holds what template
    and metadata.yml say. `types`, `nodes` and `outputs` are the template, read once for all deployments;
    `memory` is what they share of what comes out.
    """

    name: str
    version: str
    description: str
    template: Json = field(repr=False)
    inputs: Mapping[str, Input]
    path: str
    digest: str
    metadata: Mapping[str, Json] = NOTHING
    types: Types = field(default=Types(), repr=False)
    nodes: Mapping[str, Node] = field(default=NOTHING, repr=False)
    outputs: Mapping[str, Expression] = field(default=NOTHING, repr=False)
    lookup: Lookup = field(default=lambda _path: (1, 1), repr=False, compare=False)
    memory: Memory = field(default_factory=Memory, repr=False, compare=False)

    def problem(self, flaw: Flaw) -> Problem:
        """A flaw at its line in the template."""
        return problem_at(self.path, self.lookup, flaw)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All services by name and version, the newest first; what could not be read is in `problems`."""

    services: Mapping[str, Mapping[str, Service]] = NOTHING
    problems: tuple[Problem, ...] = ()


def problem_at(path: str, lookup: Lookup, flaw: Flaw) -> Problem:
    """A flaw as a problem with its place in the file."""
    line, column = lookup(flaw.path)
    return Problem(printable(path), line, column, "Catalogue", printable(flaw.message), printable(flaw.hint))


def find(catalogue: Catalogue, name: str, version: str = "") -> Service:
    """A service, its newest version where none is named. Raises FlawError with a guess."""
    versions = catalogue.services.get(name)
    if not versions:
        message = f"the catalogue has no service `{shown(name)}`"
        broken = any(problem.path.startswith(f"catalogue/{name}/") for problem in catalogue.problems)
        hint = "its files have problems" if broken else did_you_mean(name, catalogue.services)
        raise FlawError((), message, hint)
    if not version:
        return next(iter(versions.values()))
    if version not in versions:
        message = f"the service {name} has no version `{shown(version)}`"
        raise FlawError((), message, f"there are {', '.join(versions)}")
    return versions[version]


def order_of(version: str) -> tuple[int, ...]:
    """What versions are sorted by."""
    return tuple(map(int, version.split(".")))


def read_service(
    name: str, template: Parsed, parameters: Parsed | None, metadata: Parsed | None, digest: str, types: Types
) -> Service | tuple[Problem, ...]:
    """A service from its parsed files, or everything that is wrong with it."""
    flaws: list[Flaw] = []
    content = template.value if isinstance(template.value, dict) else {}
    topology = _topology(content, flaws)
    own = attempt(flaws, with_template, types, content) or types
    said = _metadata(content, metadata, flaws)
    inputs = declared(section(topology, "inputs", flaws), _extra(parameters, flaws), own, flaws)
    check_sets(inputs, flaws)
    nodes = read_nodes(topology, own, flaws)
    outputs = read_outputs(topology, flaws)
    version = _version(said, flaws)
    if not flaws:
        check_calls(nodes, outputs, inputs, flaws)
        check_order(nodes, flaws)
    if flaws:
        return tuple(sorted({problem_at(template.path, template.lookup, flaw) for flaw in flaws}))
    return Service(
        name=name,
        version=version,
        description=str(said.get("description") or content.get("description") or "").strip(),
        template=content,
        inputs=inputs,
        path=template.path,
        digest=digest,
        metadata=said,
        types=own,
        nodes=nodes,
        outputs=outputs,
        lookup=template.lookup,
    )


def _topology(content: Mapping[str, Json], flaws: list[Flaw]) -> Mapping[str, Json]:
    """The `topology_template` of a template that is one."""
    definition = content.get("tosca_definitions_version")
    if definition not in _DEFINITIONS:
        message = f"`tosca_definitions_version` is {shown(text_of(definition)) or 'missing'}"
        flaws.append(Flaw(("tosca_definitions_version",), message, f"expected {_DEFINITIONS[0]}"))
    flaws.extend(check_imports(content))
    topology = content.get("topology_template")
    if not isinstance(topology, dict) or not topology.get("node_templates"):
        flaws.append(Flaw(("topology_template",), "`topology_template` with `node_templates` is missing"))
    return topology if isinstance(topology, dict) else {}


def _metadata(content: Mapping[str, Json], extra: Parsed | None, flaws: list[Flaw]) -> Mapping[str, Json]:
    """The metadata of the template, and over it that of metadata.yml."""
    own = content.get("metadata") or {}
    value = extra.value if extra is not None else {}
    more = value.get("metadata", value) if isinstance(value, dict) else value
    if not isinstance(own, dict) or not isinstance(more or {}, dict):
        flaws.append(Flaw(("metadata",), "`metadata` must be a mapping"))
        return NOTHING
    return {**own, **(more or {})}


def _extra(parameters: Parsed | None, flaws: list[Flaw]) -> Mapping[str, Json]:
    """The `inputs` of parameters.yml."""
    if parameters is None or parameters.value is None:
        return NOTHING
    inputs = parameters.value.get("inputs") or {} if isinstance(parameters.value, dict) else None
    if not isinstance(inputs, dict):
        flaws.append(Flaw((), f"{parameters.path} must be a mapping with `inputs`"))
        return NOTHING
    return inputs


def _version(metadata: Mapping[str, Json], flaws: list[Flaw]) -> str:
    version = text_of(metadata.get("template_version"))
    if not _VERSION.fullmatch(version):
        message = f"`metadata.template_version` is {shown(version) or 'missing'}"
        flaws.append(Flaw(("metadata",), message, "write three numbers: template_version: 1.0.0"))
    return version


def software_of(service: Service) -> tuple[Node, ...]:
    """The nodes that roles make."""
    return tuple(node for node in service.nodes.values() if node.family is Family.SOFTWARE)
