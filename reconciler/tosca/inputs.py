"""The inputs of a service: declared by the template, refined by `parameters.yml`, filled in by a deployment.

`parameters.yml` is what the INDIGO dashboard reads beside a template. It says for each input `display_name`,
`description`, `type` (the control), `default`, `required`, `updatable`, and the choices of a select
`{value, label, set: {input: value}}`.
Inputs that begin with `__` are the dashboard's own and left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from reconciler.guess import did_you_mean
from reconciler.model import NOTHING, Json
from reconciler.printable import shown
from reconciler.tosca.convert import InputProblem, convert, soften
from reconciler.tosca.flaw import Flaw, FlawError, Path
from reconciler.tosca.functions import JOIN
from reconciler.tosca.schema import Constraint, Schema, schema_of
from reconciler.tosca.secrets import SecretError, generated, named, names_secret
from reconciler.tosca.types import Types, is_scalar
from reconciler.tosca.values import marker_in

if TYPE_CHECKING:
    from reconciler.tosca.services import Service

_AT: Final[Path] = ("topology_template", "inputs")
# Controls that hold secrets → what is generated when nothing is given.
_SECRETS: Final = {"password": "", "random_password": "password", "uuidgen": "uuid"}
_CONTROLS: Final = {"toggle": "boolean", "multiselect": "list", "integer": "integer", "float": "float"}


@dataclass(frozen=True, slots=True)
class Choice:
    """One choice of a select: its value, its label, and the inputs that it sets."""

    value: Json
    label: str
    sets: Mapping[str, Json] = NOTHING


@dataclass(frozen=True, slots=True)
class Input:
    """One input. `default` is in its type already, None: there is none.

    `secret`: takes a reference, never the value. `generates` is what is made when nothing is given; `prefix`
    and `suffix` go around it. `updatable`: may be changed later (nothing said: may).
    """

    name: str
    schema: Schema
    default: Json = None
    required: bool = True
    display_name: str = ""
    description: str = ""
    secret: bool = False
    generates: str = ""
    prefix: str = ""
    suffix: str = ""
    choices: tuple[Choice, ...] = ()
    updatable: bool = True


def declared(
    template: Mapping[str, Json], parameters: Mapping[str, Json], types: Types, flaws: list[Flaw]
) -> dict[str, Input]:
    """All inputs of a service, those of the template first; flaws have paths in the template."""
    found: dict[str, Input] = {}
    for name in [*template, *(name for name in parameters if name not in template)]:
        if name.startswith("__"):
            continue
        try:
            found[name] = _input(name, template.get(name), parameters.get(name) or {}, types)
        except FlawError as error:
            flaws.append(error.flaw)
    return found


def _input(name: str, definition: Json, extra: Json, types: Types) -> Input:
    path = (*_AT, name)
    if not isinstance(extra, dict) or not isinstance(definition, (dict, type(None))):
        raise FlawError(path, f"the input `{name}` must be a mapping")
    control = str(extra.get("type", ""))
    schema = schema_of(_definition(definition, extra, control), types, path)
    specs = extra.get("extra_specs") if isinstance(extra.get("extra_specs"), dict) else {}
    found = Input(
        name=name,
        schema=replace(schema, default=None),
        required=schema.required,
        display_name=str(extra.get("display_name") or ""),
        description=str(extra.get("description") or schema.description).strip(),
        secret=control in _SECRETS,
        generates=_SECRETS.get(control, ""),
        prefix=str((specs or {}).get("prefix", "")),
        suffix=str((specs or {}).get("suffix", "")),
        choices=_choices(extra, schema, path),
        updatable=extra.get("updatable", True) is not False,
    )
    return _with_default(found, schema.default, path)


def _definition(
    definition: Mapping[str, Json] | None, extra: Mapping[str, Json], control: str
) -> dict[str, Json]:
    """What the template declares; default and required of the parameters win."""
    inferred = control if is_scalar(control) else _CONTROLS.get(control, "string")
    merged = {"type": inferred, **(definition or {})}
    merged.update({key: extra[key] for key in ("default", "required") if key in extra})
    constraints = extra.get("constraints")
    if constraints and not _are_choices(constraints):
        merged["constraints"] = constraints
    return merged


def _are_choices(constraints: Json) -> bool:
    return isinstance(constraints, list) and any(
        isinstance(entry, dict) and "value" in entry for entry in constraints
    )


def _choices(extra: Mapping[str, Json], schema: Schema, path: Path) -> tuple[Choice, ...]:
    given = extra.get("constraints")
    if not _are_choices(given):
        return ()
    found: list[Choice] = []
    for entry in given or ():
        sets = entry.get("set") or {} if isinstance(entry, dict) else None
        if not isinstance(sets, dict) or "value" not in entry:
            raise FlawError(path, "a choice must be {value, label, set: {input: value}}")
        found.append(Choice(soften(entry["value"], schema), str(entry.get("label", "")), sets))
    return tuple(found)


def _with_default(found: Input, default: Json, path: Path) -> Input:
    """The input with its default in its type. Secrets have none but where to find one."""
    if default is None or (found.secret and default in ("", "pass")):
        return found
    if names_secret(default) or found.secret:
        return replace(found, default=_secret_default(found, default, path))
    problems: list[InputProblem] = []
    if marker := marker_in(default):
        raise FlawError(
            (*path, "default"), f"the key `{shown(marker)}`: keys that begin with $ are not for templates"
        )
    value = convert(soften(default, found.schema), found.schema, f"inputs.{found.name}", problems)
    if problems:
        raise FlawError((*path, "default"), f"the default of {problems[0].message}", problems[0].hint)
    return replace(found, default=value)


def _secret_default(found: Input, default: Json, path: Path) -> Json:
    try:
        named(default, "", found.name)
    except SecretError as error:
        raise FlawError((*path, "default"), f"the default of `{found.name}` {error}", error.hint) from error
    return default


def check_sets(inputs: Mapping[str, Input], flaws: list[Flaw]) -> None:
    """A choice sets inputs that exist, to values that fit."""
    for name, found in inputs.items():
        for choice in found.choices:
            for target, value in choice.sets.items():
                flaws.extend(_set_flaws(inputs, (*_AT, name), target, value))


def _set_flaws(inputs: Mapping[str, Input], path: Path, target: str, value: Json) -> list[Flaw]:
    if target.startswith("__"):
        return []
    if target not in inputs:
        return [Flaw(path, f"a choice sets `{target}`, which is no input", did_you_mean(target, inputs))]
    problems: list[InputProblem] = []
    schema = inputs[target].schema
    convert(soften(value, schema), schema, f"inputs.{target}", problems)
    return [Flaw(path, f"a choice sets what does not fit: {problem.message}") for problem in problems]


def resolve(
    service: Service, given: Mapping[str, Json], ref: object
) -> tuple[dict[str, Json], tuple[InputProblem, ...]]:
    """The values of all inputs of a deployment, and what is wrong with the given ones (paths below `spec`).

    Optional inputs without value are None. `ref` is the Ref of the deployment, that secrets are made from.
    """
    problems: list[InputProblem] = []
    for name in sorted(given.keys() - service.inputs.keys()):
        message = f"the service {service.name} has no input `{shown(name)}`"
        problems.append(InputProblem(f"inputs.{name}", message, did_you_mean(name, service.inputs)))
    sets = _sets(service.inputs, given, problems)
    values = {
        name: _value(found, given.get(name), sets.get(name), str(ref), problems)
        for name, found in service.inputs.items()
    }
    return values, tuple(problems)


def _sets(
    inputs: Mapping[str, Input], given: Mapping[str, Json], problems: list[InputProblem]
) -> dict[str, Json]:
    """What choices set. A given choice can't be contradicted; one by default gives way to what is given."""
    found: dict[str, Json] = {}
    for name, entry in inputs.items():
        if not entry.choices:
            continue
        chosen = entry.default if given.get(name) is None else given[name]
        choice = next((choice for choice in entry.choices if choice.value == chosen), None)
        if choice is None:
            if chosen is not None:
                listed = ", ".join(str(choice.value) for choice in entry.choices)
                message = f"`{name}` is {shown(str(chosen))}; it must be one of {listed}"
                problems.append(InputProblem(f"inputs.{name}", message))
            continue
        found.update(
            {
                target: soften(value, inputs[target].schema)
                for target, value in choice.sets.items()
                if target in inputs
            }
        )
        problems.extend(_contradictions(name, choice, inputs, given))
    return found


def _contradictions(
    name: str, choice: Choice, inputs: Mapping[str, Input], given: Mapping[str, Json]
) -> list[InputProblem]:
    if given.get(name) is None:
        return []
    return [
        InputProblem(
            f"inputs.{target}", f"`{target}` is set by `{name}`", f"leave `{target}` or `{name}` out"
        )
        for target, value in choice.sets.items()
        if target in inputs and given.get(target) not in (None, soften(value, inputs[target].schema))
    ]


def _value(found: Input, given: Json, chosen: Json, ref: str, problems: list[InputProblem]) -> Json:
    path = f"inputs.{found.name}"
    value = chosen if given is None else given
    if marker := marker_in(value):
        message = f"`{found.name}` has the key `{shown(marker)}`: keys that begin with $ are not for people"
        problems.append(InputProblem(path, message))
        return None
    if value is not None and not found.secret and not names_secret(value):
        return convert(value, found.schema, path, problems)
    if value is None and found.default is not None and not found.secret and not names_secret(found.default):
        return found.default
    value = found.default if value is None else value
    if value is not None:
        return _secret(found, value, ref, problems)
    if found.generates:
        return _around(found, generated(found.generates, ref, found.name))
    if found.required:
        hint = _how(found)
        problems.append(InputProblem("inputs", f"the input `{found.name}` is needed", hint))
    return None


def _how(found: Input) -> str:
    if found.secret:
        return f"{found.name}: {{generate: password}}"
    return f"add {found.name}: <{found.schema.type}>"


def _secret(found: Input, value: Json, ref: str, problems: list[InputProblem]) -> Json:
    path = f"inputs.{found.name}"
    if not found.secret and found.schema.type != "string":
        problems.append(InputProblem(path, f"`{found.name}` is no text, so it can't be a secret"))
        return None
    try:
        secret = named(value, ref, found.name)
    except SecretError as error:
        problems.append(InputProblem(path, f"`{found.name}` {error}", error.hint))
        return None
    return _around(found, secret)


def _around(found: Input, secret: Json) -> Json:
    """A generated name with what goes before and after it."""
    if not found.prefix and not found.suffix:
        return secret
    return {JOIN: [piece for piece in (found.prefix, secret, found.suffix) if piece]}


def choice_constraint(found: Input) -> tuple[Constraint, ...]:
    """The constraints of an input with its choices, to be shown."""
    if not found.choices:
        return found.schema.constraints
    return (Constraint("valid_values", [choice.value for choice in found.choices]),)
