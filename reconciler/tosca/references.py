"""The outputs of a template, and what its functions and requirements point at: is it there, does it end?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from reconciler.guess import did_you_mean
from reconciler.model import Json
from reconciler.tosca.expressions import Call, Expression, calls, parse
from reconciler.tosca.flaw import Flaw, FlawError, Path
from reconciler.tosca.functions import candidates
from reconciler.tosca.nodes import Family, Node
from reconciler.tosca.skeleton import attempt, section

_OUTPUTS: Final[Path] = ("topology_template", "outputs")
# What can be asked of a machine.
ATTRIBUTES: Final = frozenset(
    {
        "private_address",
        "public_address",
        "private_ip",
        "public_ip",
        "address",
        "hostname",
        "ports",
        "instances",
    }
)


def read_outputs(topology: Mapping[str, Json], flaws: list[Flaw]) -> dict[str, Expression]:
    """The expressions of the outputs."""
    found: dict[str, Expression] = {}
    for name, body in section(topology, "outputs", flaws).items():
        path = (*_OUTPUTS, name)
        if not isinstance(body, dict) or "value" not in body:
            flaws.append(Flaw(path, f"the output `{name}` has no `value`"))
            continue
        found[name] = attempt(flaws, parse, body["value"], (*path, "value"))
    return found


def check_calls(
    nodes: Mapping[str, Node],
    outputs: Mapping[str, Expression],
    inputs: Mapping[str, object],
    flaws: list[Flaw],
) -> None:
    """Every function must name an input and a node that exist."""
    for name, expression in _expressions(nodes, outputs):
        for call in calls(expression):
            first = call.arguments[0] if call.arguments else ""
            if call.name == "get_input" and isinstance(first, str) and first not in inputs:
                hint = did_you_mean(first, inputs)
                flaws.append(Flaw(call.path, f"there is no input `{first}`", hint))
            if call.name in ("get_property", "get_attribute") and isinstance(first, str):
                attempt(flaws, _check_node, call, first, nodes, name)


def _check_node(call: Call, first: str, nodes: Mapping[str, Node], name: str) -> None:
    """The node must exist; a machine must have the attribute, or software waits for it for ever."""
    targets = candidates(call, first, nodes, name)
    asked = call.arguments[1] if len(call.arguments) > 1 else None
    if not name or call.name != "get_attribute" or nodes[targets[-1]].family is not Family.COMPUTE:
        return
    if isinstance(asked, str) and asked not in ATTRIBUTES:
        hint = did_you_mean(asked, ATTRIBUTES) or f"there are {', '.join(sorted(ATTRIBUTES))}"
        raise FlawError(call.path, f"a machine has no attribute `{asked}`", hint)


def _expressions(
    nodes: Mapping[str, Node], outputs: Mapping[str, Expression]
) -> Iterator[tuple[str, Expression]]:
    for name, node in nodes.items():
        for entries in (node.properties, node.variables, *node.capabilities.values()):
            yield from ((name, expression) for expression in entries.values())
        for requirement in node.requirements:
            yield from ((name, expression) for expression in requirement.properties.values())
        yield name, node.role
    for expression in outputs.values():
        yield "", expression


def check_order(nodes: Mapping[str, Node], flaws: list[Flaw]) -> None:
    """Software that waits for itself is never made."""
    done: set[str] = set()
    waiting = {name: node.needs for name, node in nodes.items()}
    while ready := [name for name, needs in waiting.items() if needs <= done]:
        done.update(ready)
        waiting = {name: needs for name, needs in waiting.items() if name not in done}
    flaws.extend(Flaw(nodes[name].path, f"`{name}` needs, in the end, itself") for name in sorted(waiting))
