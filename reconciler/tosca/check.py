"""Do types and requirements of a filled-in template fit? The one place that asks tosca-parser.

It is given mappings only, with our types put in: it never opens a file or a connection. Outputs, functions,
interfaces and imports are resolved or left out before: it fails on those of templates in use. It collects
its errors in one place for the whole process, so that one check runs at a time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from threading import Lock
from typing import Any, Final

from reconciler.errors import Problem
from reconciler.model import Json
from reconciler.printable import shown
from reconciler.tosca.expressions import parse
from reconciler.tosca.flaw import Flaw, FlawError
from reconciler.tosca.functions import Scope, evaluate, is_late
from reconciler.tosca.inputs import Input
from reconciler.tosca.nodes import Node
from reconciler.tosca.services import Service
from reconciler.tosca.types import SECTIONS, Types
from reconciler.tosca.values import plain

_ONE_AT_A_TIME: Final = Lock()
_LATER: Final = {"concat": ["known", " later"]}  # a function: its type is not checked
_LEFT_OUT: Final = frozenset({"interfaces", "artifacts", "metadata", "description"})
_SPACE = re.compile(r"\s+")
_SAMPLES: Final[Mapping[str, Json]] = {
    "string": "text",
    "version": "1.0.0",
    "integer": 1,
    "float": 1.0,
    "boolean": True,
    "scalar-unit.size": "1 GB",
    "scalar-unit.time": "1 s",
    "scalar-unit.frequency": "1 GHz",
    "timestamp": "2000-01-01T00:00:00Z",
    "list": [],
    "map": {},
}


def check(service: Service, values: Mapping[str, Json]) -> tuple[Problem, ...]:
    """What does not fit, one line each with the node's name. `values` are those of `inputs.resolve`.

    Takes milliseconds (the first call a good part of a second): once for a service, with `sample_values`, is
    enough, because what differs between deployments is checked by `resolve` and `compile`.
    """
    try:
        bodies = {name: _body(node, service, values) for name, node in service.nodes.items()}
    except FlawError as error:
        return (service.problem(error.flaw),)
    types = _types(service.types)
    if not _errors(service, types, bodies):
        return ()
    flaws = set(_blamed(service, types, bodies))
    return tuple(sorted(service.problem(flaw) for flaw in flaws))


def sample_values(service: Service) -> dict[str, Json]:
    """Values for all inputs, as good as can be guessed: defaults, first choices, something of the type."""
    return {name: _sample(found) for name, found in service.inputs.items()}


def _sample(found: Input) -> Json:
    if found.default is not None or not found.required:
        return found.default
    for constraint in found.schema.constraints:
        if constraint.name in ("valid_values", "in_range"):
            return constraint.argument[0]
        if constraint.name in ("equal", "greater_or_equal", "less_or_equal"):
            return constraint.argument
    return {} if found.schema.fields is not None else _SAMPLES.get(found.schema.type)


def _body(node: Node, service: Service, values: Mapping[str, Json]) -> dict[str, Json]:
    """A node template with everything filled in that is known now."""
    kept = {key: value for key, value in node.definition.items() if key not in _LEFT_OUT}
    filled = evaluate(parse(kept, node.path), Scope(values, service.nodes), node.name)
    known: dict[str, Json] = _known(plain(filled))
    return known


def _known(section: Json) -> Json:
    """All `properties` in a node template, its own, of capabilities and of relationships, as far as known."""
    if isinstance(section, list):
        return [_known(entry) for entry in section]
    if not isinstance(section, dict):
        return section
    return {key: (_properties if key == "properties" else _known)(value) for key, value in section.items()}


def _properties(section: Json) -> Json:
    """Those that hold something late become a function; those without value are left out."""
    if not isinstance(section, dict):
        return section
    return {
        key: dict(_LATER) if _holds_late(value) else value
        for key, value in section.items()
        if value is not None
    }


def _holds_late(value: Json) -> bool:
    if is_late(value):
        return True
    if isinstance(value, dict):
        return any(map(_holds_late, value.values()))
    return isinstance(value, list) and any(map(_holds_late, value))


def _types(types: Types) -> dict[str, Json]:
    """All definitions, without what we see to ourselves; a copy, because the parser writes into it."""
    return {
        section: {name: _bare(definition) for name, definition in types.section(section).items()}
        for section in SECTIONS
        if types.section(section) and section != "artifact_types"
    }


def _bare(definition: Json) -> Json:
    return plain({key: value for key, value in definition.items() if key not in _LEFT_OUT})


def _errors(service: Service, types: Mapping[str, Json], bodies: Mapping[str, Json]) -> list[str]:
    """What the parser says about these nodes, one line each."""
    content = {
        "tosca_definitions_version": service.template["tosca_definitions_version"],
        **{name: plain(section) for name, section in types.items()},
        "topology_template": {"node_templates": plain(dict(bodies)), **_relationships(service)},
    }
    with _ONE_AT_A_TIME:
        return list(_said(content))


def _relationships(service: Service) -> dict[str, Json]:
    found = service.template["topology_template"].get("relationship_templates")
    names = (
        {name: {"type": entry.get("type")} for name, entry in found.items()}
        if isinstance(found, dict)
        else {}
    )
    return {"relationship_templates": names} if names else {}


def _said(content: dict[str, Json]) -> Iterator[str]:
    """Run the parser; its exceptions become text."""
    import logging  # noqa: PLC0415  only to keep the parser quiet

    from toscaparser.common.exception import (  # type: ignore[import-untyped]  # noqa: PLC0415  slow to load
        ExceptionCollector,
        ValidationError,
    )
    from toscaparser.tosca_template import ToscaTemplate  # type: ignore[import-untyped]  # noqa: PLC0415  ditto

    logger = logging.getLogger("tosca")
    logger.propagate = False
    logger.addHandler(logging.NullHandler())
    try:
        ToscaTemplate(yaml_dict_tpl=content, a_file=False)
    except ValidationError:
        for error in ExceptionCollector.getExceptions():
            yield _line(error)
    except Exception as error:  # noqa: BLE001  the parser fails in many ways on templates that are wrong
        yield f"can't be understood ({type(error).__name__}: {_line(error)})"


def _line(error: Any) -> str:
    """What an exception says, as one line without the parser's advice."""
    text = _SPACE.sub(" ", str(error)).strip()
    return shown(text.split(" Refer to the definition")[0].rstrip("."), 300)


def _blamed(service: Service, types: Mapping[str, Json], bodies: Mapping[str, Json]) -> Iterator[Flaw]:
    """Each error with the node it comes from: whose own check finds it, unlike those it points at."""
    own: dict[str, set[str]] = {}
    seen: set[str] = set()
    for name in _in_order(service.nodes):
        circle = _circle(name, service.nodes)
        found = set(_errors(service, types, {other: bodies[other] for other in bodies if other in circle}))
        own[name] = found.difference(*(own.get(other, set()) for other in circle - {name}))
        seen |= found
        yield from (Flaw(service.nodes[name].path, _about(name, said)) for said in own[name])
    for said in set(_errors(service, types, bodies)) - seen:
        yield Flaw(("topology_template",), said)


def _about(name: str, said: str) -> str:
    """The message with the node's name once."""
    for redundant in (f' of template "{name}"', f'Template "{name}" '):
        said = said.replace(redundant, "")
    return f"the node `{name}`: {said}"


def _circle(name: str, nodes: Mapping[str, Node]) -> set[str]:
    """The node and all that it points at, directly or not."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        current = waiting.pop()
        if current not in found:
            found.add(current)
            waiting.extend(entry.node for entry in nodes[current].requirements)
    return found


def _in_order(nodes: Mapping[str, Node]) -> Iterable[str]:
    """Those that point at few others first."""
    return sorted(nodes, key=lambda name: (len(_circle(name, nodes)), name))
