"""From a template and its types to nodes: everything that no input can change, once per service."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Final, ParamSpec, TypeVar

from reconciler.guess import did_you_mean
from reconciler.model import NOTHING, Json
from reconciler.printable import shown
from reconciler.tosca.expressions import Expression, parse
from reconciler.tosca.flaw import Flaw, FlawError, Path
from reconciler.tosca.nodes import Family, Node, Requirement
from reconciler.tosca.types import Types, chain, family, merged

_ROLE: Final = "tosca.artifacts.AnsibleGalaxy.role"
_GENERIC: Final = "tosca.nodes.reconciler.Role"
_DEFINITION: Final = frozenset(
    {"type", "default", "required", "description", "constraints", "entry_schema", "status", "value"}
)
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,62}")  # it becomes a piece of Refs and host names
_AT: Final[Path] = ("topology_template", "node_templates")
_Read = TypeVar("_Read")
_Arguments = ParamSpec("_Arguments")


def read_nodes(topology: Mapping[str, Json], types: Types, flaws: list[Flaw]) -> dict[str, Node]:
    """All nodes of a template; what is wrong is added to `flaws`, and its node is left out."""
    templates = section(topology, "node_templates", flaws)
    found: dict[str, Node] = {}
    for name, body in templates.items():
        node = attempt(flaws, _node, name, body, topology, types)
        if node is not None:
            found[name] = node
    flaws.extend(_taken(found))
    if flaws:
        return found
    tied = ((name, attempt(flaws, _tied, node, found)) for name, node in found.items())
    return {name: node for name, node in tied if node is not None}


def _taken(nodes: Mapping[str, Node]) -> Iterator[Flaw]:
    """Every machine is configured by the role `base` first, under a name of its own."""
    for name, node in nodes.items():
        if name.endswith("-base") and name.removesuffix("-base") in nodes:
            message = (
                f"the name `{name}` is taken by what the machine `{name.removesuffix('-base')}` gets first"
            )
            yield Flaw(node.path, message, "give the node another name")


def attempt(
    flaws: list[Flaw], read: Callable[_Arguments, _Read], *given: _Arguments.args, **named: _Arguments.kwargs
) -> _Read | None:
    """What `read` gives; None where it raised a flaw, which is added."""
    try:
        return read(*given, **named)
    except FlawError as error:
        flaws.append(error.flaw)
        return None


def section(topology: Mapping[str, Json], name: str, flaws: list[Flaw]) -> Mapping[str, Json]:
    """A part of `topology_template`, which must be a mapping."""
    value = topology.get(name) or {}
    if not isinstance(value, dict):
        flaws.append(Flaw(("topology_template", name), f"`{name}` must be a mapping"))
        return NOTHING
    return value


def _node(name: str, body: Json, topology: Mapping[str, Json], types: Types) -> Node:
    path = (*_AT, name)
    if not _NAME.fullmatch(name):
        hint = "letters, digits, - and _, at most 63, no - at its beginning"
        raise FlawError(path, f"`{shown(name)}` can't be the name of a node", hint)
    if not isinstance(body, dict):
        raise FlawError(path, f"the node `{name}` must be a mapping")
    root, inherited = family(types, body.get("type"), (*path, "type"))
    definitions = chain(types, "node_types", body["type"])
    properties = _properties(definitions, body, path)
    for source in (*definitions, body):
        _check_interfaces(source, path)
    return Node(
        name=name,
        type=body["type"],
        family=root,
        path=path,
        properties=properties,
        capabilities=_capabilities(definitions, body, types, path),
        declared=inherited | merged(definitions, "properties").keys(),
        requirements=tuple(_requirements(body, topology, path)),
        scalable="count" in _given(body, "capabilities", "scalable", "properties"),
        role=_role(definitions, body, properties, path) if root is Family.SOFTWARE else "",
        variables=_variables(definitions, body, path),
        definition=body,
    )


def _given(value: Json, *keys: str) -> dict[str, Json]:
    """What is at the end of these keys, nothing where it is no mapping."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _properties(definitions: list[Mapping[str, Json]], body: Json, path: Path) -> dict[str, Expression]:
    return {**_defaults(merged(definitions, "properties"), path), **_parsed(body, path, "properties")}


def _defaults(declared: Mapping[str, Json], path: Path) -> dict[str, Expression]:
    return {
        name: parse(definition["default"], path)
        for name, definition in declared.items()
        if isinstance(definition, dict) and definition.get("default") is not None
    }


def _parsed(value: Json, path: Path, *keys: str) -> dict[str, Expression]:
    return {name: parse(entry, (*path, *keys, name)) for name, entry in _given(value, *keys).items()}


def _capabilities(
    definitions: list[Mapping[str, Json]], body: Json, types: Types, path: Path
) -> dict[str, dict[str, Expression]]:
    declared = merged(definitions, "capabilities")
    names = [*declared, *(name for name in _given(body, "capabilities") if name not in declared)]
    return {
        name: {
            **_capability_defaults(declared.get(name), types, path),
            **_parsed(body, path, "capabilities", name, "properties"),
        }
        for name in names
    }


def _capability_defaults(declared: Json, types: Types, path: Path) -> dict[str, Expression]:
    kind = declared.get("type") if isinstance(declared, dict) else declared
    return _defaults(merged(chain(types, "capability_types", kind), "properties"), path)


def _requirements(body: Json, topology: Mapping[str, Json], path: Path) -> Iterator[Requirement]:
    listed = body.get("requirements") or []
    if not isinstance(listed, list):
        raise FlawError((*path, "requirements"), "`requirements` must be a list")
    for index, line in enumerate(listed):
        where = (*path, "requirements", index)
        if not isinstance(line, dict):
            raise FlawError(where, "expected `<requirement>: <node>`")
        for name, value in line.items():
            yield _requirement(name, value, topology, (*where, name))


def _requirement(name: str, value: Json, topology: Mapping[str, Json], path: Path) -> Requirement:
    target = value.get("node") if isinstance(value, dict) else value
    if not isinstance(target, str) or target not in _given(topology, "node_templates"):
        hint = did_you_mean(str(target), _given(topology, "node_templates"))
        raise FlawError(path, f"the requirement `{name}` needs a node of this template, not `{target}`", hint)
    relationship = value.get("relationship") if isinstance(value, dict) else None
    if isinstance(relationship, str):
        inside = _parsed(
            topology, ("topology_template",), "relationship_templates", relationship, "properties"
        )
        return Requirement(name, target, inside, path)
    return Requirement(name, target, _parsed(value, path, "relationship", "properties"), path)


def _role(
    definitions: list[Mapping[str, Json]], body: Json, properties: Mapping[str, Expression], path: Path
) -> Expression:
    """The name of the role: that of the generic type's property, else of the one artifact that is a role."""
    if "role" in properties and _is_generic(definitions, body):
        return properties["role"]
    artifacts = {**merged(definitions, "artifacts"), **_given(body, "artifacts")}
    roles = {name: entry for name, entry in artifacts.items() if _given(entry).get("type") == _ROLE}
    if "role" in roles or len(roles) == 1:
        return _given(roles.get("role") or next(iter(roles.values()))).get("file", "")
    if roles:
        raise FlawError(
            path, f"the artifacts {', '.join(sorted(roles))} are all roles", "call one of them `role`"
        )
    hint = f"artifacts: {{role: {{file: <role>, type: {_ROLE}}}}}, or the type {_GENERIC}"
    raise FlawError(path, f"nothing says which role makes `{path[-1]}`", hint)


def _is_generic(definitions: list[Mapping[str, Json]], body: Json) -> bool:
    names = {body.get("type"), *(entry.get("derived_from") for entry in definitions)}
    return _GENERIC in names


def _variables(definitions: list[Mapping[str, Json]], body: Json, path: Path) -> dict[str, Expression]:
    """What goes to the role: inputs of `configure` of the type, then of the node."""
    steps = ("interfaces", "Standard", "configure", "inputs")
    found: dict[str, Expression] = {}
    for definition in reversed(definitions):
        inputs = _given(definition, *steps)
        found.update({name: parse(_value(entry), (*path, "type")) for name, entry in inputs.items()})
    return {**found, **_parsed(body, path, *steps)}


def _check_interfaces(source: Mapping[str, Json], path: Path) -> None:
    """Roles do the work here: of all interfaces only the inputs of `Standard.configure` mean something."""
    for name, operations in _given(source, "interfaces").items():
        for operation, content in operations.items() if isinstance(operations, dict) else ():
            acts = (isinstance(content, str) and operation != "type") or "implementation" in _given(content)
            if acts or (operation not in ("type", "configure") and content is not None):
                hint = "put what it does into a role, and its inputs into Standard.configure.inputs"
                message = f"`{path[-1]}`: the operation {name}.{operation} is not run here"
                raise FlawError(path, message, hint)


def _value(entry: Json) -> Json:
    """An input of a type is a value, or a definition with a default."""
    if isinstance(entry, dict) and isinstance(entry.get("type"), str) and entry.keys() <= _DEFINITION:
        return entry.get("default")
    return entry


def _tied(node: Node, nodes: Mapping[str, Node]) -> Node:
    """The node with what it runs on, what must be there before it, and the networks it is bound to."""
    hosts = _hosts(node, nodes)
    if node.family is Family.SOFTWARE and (not hosts or nodes[hosts[-1]].family is not Family.COMPUTE):
        raise FlawError(node.path, f"`{node.name}` is hosted on no machine", "requirements: [{host: <node>}]")
    software = {entry.node for entry in node.requirements} | set(hosts)
    needs = frozenset(name for name in software if nodes[name].family is Family.SOFTWARE)
    return replace(node, hosts=hosts, needs=needs, networks=_networks(node, nodes))


def _hosts(node: Node, nodes: Mapping[str, Node]) -> tuple[str, ...]:
    found: list[str] = []
    current: Node | None = node
    while current is not None:
        target = next((entry.node for entry in current.requirements if entry.name == "host"), None)
        if target in found or target == node.name:
            raise FlawError(node.path, f"`{node.name}` is hosted on itself")
        found += [target] if target else []
        current = nodes[target] if target else None
    return tuple(found)


def _networks(node: Node, nodes: Mapping[str, Node]) -> tuple[str, ...]:
    """The networks that ports bind this machine to."""
    bound = [
        port.requirements
        for port in nodes.values()
        if port.family is Family.PORT
        and ("binding", node.name) in {(e.name, e.node) for e in port.requirements}
    ]
    return tuple(entry.node for requirements in bound for entry in requirements if entry.name == "link")
