"""TOSCA's functions: inputs, properties and text are resolved here, attributes stay late values.

Late: `{"$attribute": [node, attribute, *path]}`, `{"$join": [piece, …]}` for text that holds such, and
`{"$secret": reference}`, which is never looked into. TOSCA Simple Profile 1.2 §4.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from reconciler.guess import did_you_mean
from reconciler.model import Json
from reconciler.tosca.expressions import Call, Expression, Fields, Items
from reconciler.tosca.flaw import FlawError, Path, dotted
from reconciler.tosca.nodes import Node
from reconciler.tosca.values import text_of

ATTRIBUTE: Final = "$attribute"
JOIN: Final = "$join"
SECRET: Final = "$secret"  # noqa: S105  the name of a key
_LATE: Final = frozenset({ATTRIBUTE, JOIN, SECRET})
_DEPTH: Final = 32
MAX_TEXT: Final = 2**18  # characters that a function may put together


@dataclass(slots=True)
class Scope:
    """What functions may look at: the values of the inputs and the nodes.

    `open` are properties under way, `left` is how many functions may still be called: values that are built
    of themselves, twice at each step, would never end. `looked` are the inputs that were looked at.
    """

    inputs: Mapping[str, Json]
    nodes: Mapping[str, Node]
    open: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    left: int = 10_000
    looked: set[str] = field(default_factory=set)


def is_late(value: Json) -> bool:
    """Is this value known only later?"""
    return isinstance(value, dict) and len(value) == 1 and not _LATE.isdisjoint(value)


def evaluate(expression: Expression, scope: Scope, node: str = "") -> Json:
    """The value of an expression; `node` is what SELF means. Raises FlawError with the function's path."""
    if isinstance(expression, Call):
        scope.left -= 1
        if scope.left < 0:
            _refuse(expression, "more functions than a template may have are called to fill it in")
        return _FUNCTIONS[expression.name](expression, scope, node)
    if isinstance(expression, Fields):
        return {name: evaluate(entry, scope, node) for name, entry in expression.entries.items()}
    if isinstance(expression, Items):
        return [evaluate(entry, scope, node) for entry in expression.entries]
    return expression


def _get_input(call: Call, scope: Scope, node: str) -> Json:
    name, *rest = [evaluate(entry, scope, node) for entry in call.arguments] or [""]
    if not isinstance(name, str) or name not in scope.inputs:
        _refuse(call, f"there is no input `{name}`", did_you_mean(text_of(name), scope.inputs))
    scope.looked.add(name)
    return _step(call, scope.inputs[name], rest, scope, node)


def _get_property(call: Call, scope: Scope, node: str) -> Json:
    arguments = [evaluate(entry, scope, node) for entry in call.arguments]
    if len(arguments) < 2 or any(isinstance(entry, (dict, list)) for entry in arguments):
        _refuse(call, "expected [node, property]")
    for name in candidates(call, arguments[0], scope.nodes, node):
        found = _property(name, arguments[1:], scope)
        if found is not None:
            return _opened(call, name, found, scope)
    return _refuse(call, f"the node `{arguments[0]}` has no property `{arguments[1]}`")


def _property(name: str, steps: list[Any], scope: Scope) -> tuple[Expression, list[Any]] | None:
    """The expression of a property, or of a capability's property, and the steps that lead into it."""
    node = scope.nodes[name]
    first, *rest = steps
    if first in node.properties:
        return node.properties[first], rest
    if first in node.capabilities and rest:
        return node.capabilities[first].get(rest[0]), rest[1:]
    return (None, []) if first in node.declared else None


def _opened(call: Call, name: str, found: tuple[Expression, list[Any]], scope: Scope) -> Json:
    """The value at the end of the steps. A property that leads to itself is a mistake."""
    mark = (name, (id(found[0]), *found[1]))
    if mark in scope.open or len(scope.open) > _DEPTH:
        _refuse(call, "leads back to itself")
    scope.open.append(mark)
    try:
        return _step(call, found[0], found[1], scope, name)
    finally:
        scope.open.pop()


def _step(call: Call, expression: Expression, steps: list[Any], scope: Scope, node: str) -> Json:
    """Follow names and indexes into a value, opening only what is on the way."""
    for index, step in enumerate(steps):
        if isinstance(expression, Call):
            expression = evaluate(expression, scope, node)
        if is_late(expression):
            return _late_step(call, expression, steps[index:])
        inside = expression.entries if isinstance(expression, (Fields, Items)) else expression
        expression = _entry(call, inside, step)
    return evaluate(expression, scope, node)


def _entry(call: Call, inside: Any, step: Any) -> Any:
    if isinstance(inside, dict) and step in inside:
        return inside[step]
    position = int(step) if isinstance(step, str) and step.isdecimal() else step
    if isinstance(inside, (list, tuple)) and isinstance(position, int) and 0 <= position < len(inside):
        return inside[position]
    if inside is None or (isinstance(inside, (list, tuple)) and not inside):
        return None
    return _refuse(call, f"there is nothing at `{step}`")


def _late_step(call: Call, late: Mapping[str, Json], steps: list[Any]) -> Json:
    if ATTRIBUTE in late:
        return {ATTRIBUTE: [*late[ATTRIBUTE], *steps]}
    return _refuse(call, "leads into a value that is known only later")


def _get_attribute(call: Call, scope: Scope, node: str) -> Json:
    arguments = [evaluate(entry, scope, node) for entry in call.arguments]
    if len(arguments) < 2 or any(isinstance(entry, (dict, list)) for entry in arguments):
        _refuse(call, "expected [node, attribute]")
    names = candidates(call, arguments[0], scope.nodes, node)
    return {ATTRIBUTE: [names[-1], *arguments[1:]]}


def candidates(call: Call, name: Any, nodes: Mapping[str, Node], node: str) -> tuple[str, ...]:
    """The nodes that a name means: SELF, HOST (the chain of what it runs on), or a node of the template."""
    if name in nodes:
        return (name,)
    if name not in ("SELF", "HOST"):
        _refuse(call, f"there is no node `{name}`", did_you_mean(text_of(name), nodes))
    if not node:
        _refuse(call, f"`{name}` means nothing outside of a node", "write the name of the node")
    if name == "SELF":
        return (node,)
    if not nodes[node].hosts:
        _refuse(call, f"the node `{node}` is hosted on nothing")
    return nodes[node].hosts


def _concat(call: Call, scope: Scope, node: str) -> Json:
    return _joined(call, [evaluate(entry, scope, node) for entry in call.arguments])


def _join(call: Call, scope: Scope, node: str) -> Json:
    pieces, delimiter = _join_arguments(call, [evaluate(entry, scope, node) for entry in call.arguments])
    woven = [piece for entry in pieces for piece in (delimiter, entry)]
    return _joined(call, woven[1:])


def _join_arguments(call: Call, arguments: list[Any]) -> tuple[list[Any], str]:
    delimiter = arguments[1] if len(arguments) > 1 else ""
    if not arguments or not isinstance(arguments[0], list) or not isinstance(delimiter, str):
        _refuse(call, "expected [[piece, …], delimiter]")
    return arguments[0], delimiter


def _joined(call: Call, pieces: list[Any]) -> Json:
    """Text, or `$join` where a piece is late; neighbouring texts become one."""
    joined: list[Any] = []
    for piece in pieces:
        for entry in piece[JOIN] if is_late(piece) and JOIN in piece else [piece]:
            if is_late(entry):
                joined.append(entry)
            elif entry is None or isinstance(entry, (dict, list)):
                _refuse(call, _no_text(entry))
            elif joined and isinstance(joined[-1], str):
                joined[-1] += text_of(entry)
            else:
                joined.append(text_of(entry))
    if sum(len(entry) for entry in joined if isinstance(entry, str)) > MAX_TEXT:
        _refuse(call, f"the text is longer than {MAX_TEXT:,} characters")
    if any(not isinstance(entry, str) for entry in joined):
        return {JOIN: joined}
    return "".join(joined)


def _no_text(entry: Any) -> str:
    return "a piece of it has no value" if entry is None else "a piece of it is a list or a mapping"


def _token(call: Call, scope: Scope, node: str) -> Json:
    arguments = [evaluate(entry, scope, node) for entry in call.arguments]
    if len(arguments) != 3 or not isinstance(arguments[2], int):
        _refuse(call, "expected [text, separators, index]")
    text, separators, index = arguments
    if not isinstance(text, str) or not isinstance(separators, str) or not separators:
        _refuse(call, "can't take apart what is not text, or is known only later")
    pieces = re.split(f"[{re.escape(separators)}]", text)
    if not 0 <= index < len(pieces):
        _refuse(call, f"there is no piece {index}: there are {len(pieces)}")
    return pieces[index]


def _refuse(call: Call, message: str, hint: str = "") -> NoReturn:
    raise FlawError(call.path, f"{_name_of(call.path)}: {message}", hint)


def _name_of(path: Path) -> str:
    """`outputs.url: get_property`: without the two steps that all share."""
    steps = path[1:] if path[:1] == ("topology_template",) else path
    return dotted(steps[-6:])


_FUNCTIONS: Final = {
    "get_input": _get_input,
    "get_property": _get_property,
    "get_attribute": _get_attribute,
    "concat": _concat,
    "join": _join,
    "token": _token,
}
