"""Do these variables fit the role? Asked when a Deployment is validated, long before anything runs.

The schema is the role's `meta/argument_specs.yml`, the judge is Ansible's own validator (ansible-core 2.19,
`ansible.module_utils.common.arg_spec`). It would turn `"a, b"` into a list, but the role gets the text, so
here a list must be one. What is not known yet fits everything. Ansible asks again when the role runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

from reconciler.guess import did_you_mean
from reconciler.model import Json
from reconciler.printable import printable, shown

_LATE: Final = frozenset(("$after", "$attribute", "$join", "$secret"))
_SHAPES: Final[Mapping[str, tuple[tuple[type, ...], str]]] = {
    "str": ((str, int, float), "text"),
    "path": ((str,), "text"),
    "list": ((list, tuple), "a list"),
    "dict": ((dict,), "a mapping"),
    "bool": ((bool,), "true or false"),
}
_WORDS: Final[Mapping[type, str]] = {
    dict: "a mapping",
    list: "a list",
    tuple: "a list",
    str: "text",
    bool: "a boolean",
}


@dataclass(frozen=True, slots=True)
class Misfit:
    """What does not fit: the variable, what is wrong with it, what to do."""

    variable: str
    message: str
    hint: str = ""


def check_arguments(
    options: Mapping[str, Mapping[str, Json]], variables: Mapping[str, Json]
) -> tuple[Misfit, ...]:
    """All that is wrong, sorted by variable. `options` are RoleFacts.options."""
    found = [*_unknown(options, variables), *_missing(options, variables)]
    for name in variables.keys() & options.keys():
        found += [Misfit(name, message) for message in _misfits(name, options[name], variables[name])]
    return tuple(sorted(found, key=lambda misfit: (misfit.variable, misfit.message)))


def is_late(value: Any) -> bool:
    """Is this a value that is known only later, or a secret?"""
    return isinstance(value, Mapping) and not _LATE.isdisjoint(value)


def _unknown(options: Mapping[str, Any], variables: Mapping[str, Any]) -> Iterator[Misfit]:
    for name in variables.keys() - options.keys():
        hint = did_you_mean(name, options) or f"it has {', '.join(sorted(options)) or 'no variables'}"
        yield Misfit(shown(name), f"the role has no variable {shown(name)}", printable(hint))


def _missing(options: Mapping[str, Any], variables: Mapping[str, Any]) -> Iterator[Misfit]:
    for name, option in options.items():
        if option.get("required") is True and variables.get(name) is None:
            yield Misfit(name, f"{name} is required", "give it a value")


def _misfits(name: str, option: Mapping[str, Any], value: Any) -> Iterator[str]:
    """What Ansible says of one variable; values of `no_log` ones are not shown."""
    if value is None or is_late(value):
        return
    if shape := _shape(option, value):
        yield f"{name} must be {shape}"
        return
    known_option, known = _known(option, value)
    for said in _judged(name, known_option, known):
        yield f"{name} does not fit its type or choices" if option.get("no_log") else printable(said)


def _shape(option: Mapping[str, Any], value: Any) -> str:
    """What the value should be and is not; empty where Ansible may judge."""
    shapes, words = _SHAPES.get(option.get("type", "str"), ((object,), ""))
    if isinstance(value, shapes):
        return ""
    return f"{words}, not {_WORDS.get(type(value), 'a number')}"


def _judged(name: str, option: Mapping[str, Any], value: Any) -> Iterator[str]:
    """The first word of Ansible's own validator: later ones follow from it."""
    try:
        library = import_module("ansible.module_utils.common.arg_spec")
    except ImportError:  # without the extra `hosts` nothing is run here; who runs it asks again
        return
    result = library.ArgumentSpecValidator({name: dict(option)}).validate({name: value})
    yield from result.error_messages[:1]


def _known(option: Mapping[str, Any], value: Any) -> tuple[Mapping[str, Any], Any]:
    """The same with all that is not known yet taken out: of lists, and of what is asked of a key."""
    inner = option.get("options")
    if isinstance(value, (list, tuple)):
        entries = [entry for entry in value if not is_late(entry)]
        if not inner:
            return _settled(option, value, entries)
        late = {key for entry in entries if isinstance(entry, dict) for key in entry if _has_late(entry[key])}
        return {**option, "options": _relaxed(inner, late)}, entries
    if isinstance(value, Mapping) and inner:
        late = {key for key in value if _has_late(value[key])}
        return {**option, "options": _relaxed(inner, late)}, value
    return option, value


def _settled(option: Mapping[str, Any], value: Any, entries: list[Any]) -> tuple[Mapping[str, Any], Any]:
    """A list whose choices are asked only of what is known."""
    return (option if entries or not value else {"type": "raw"}), entries


def _relaxed(options: Mapping[str, Any], late: set[str]) -> dict[str, Any]:
    """The same keys; those in `late` may hold anything."""
    return {
        key: {"type": "raw", "required": option.get("required", False)} if key in late else option
        for key, option in options.items()
    }


def _has_late(value: Any) -> bool:
    if is_late(value):
        return True
    if isinstance(value, Mapping):
        return any(map(_has_late, value.values()))
    return isinstance(value, (list, tuple)) and any(map(_has_late, value))
