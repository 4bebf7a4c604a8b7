"""The catalogue as data for people: what a service asks for and gives, and a Deployment to fill in."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping

from reconciler.model import Json
from reconciler.printable import printable
from reconciler.tosca.expressions import is_open
from reconciler.tosca.inputs import Input, choice_constraint
from reconciler.tosca.schema import Schema, said
from reconciler.tosca.services import Catalogue, Service, software_of

_LABEL = re.compile(r"[a-z][a-z0-9-]*")


def list_json(catalogue: Catalogue) -> dict[str, Json]:
    """All services with their versions, the newest first."""
    services = [
        {"name": name, "versions": list(versions), "description": next(iter(versions.values())).description}
        for name, versions in catalogue.services.items()
    ]
    return {"services": services}


def show_json(service: Service) -> dict[str, Json]:
    """Inputs with type, default and constraints; outputs; roles."""
    return {
        "name": service.name,
        "version": service.version,
        "description": service.description,
        "template": service.path,
        "digest": service.digest,
        "inputs": {name: _input_json(found) for name, found in service.inputs.items()},
        "outputs": outputs(service),
        "roles": roles(service),
    }


def _input_json(found: Input) -> dict[str, Json]:
    return {
        "type": found.schema.type,
        "entries": found.schema.entry.type if found.schema.entry else None,
        "default": found.default,
        "required": _is_needed(found),
        "secret": found.secret,
        "generated": found.generates or None,
        "updatable": found.updatable,
        "constraints": [said(constraint) for constraint in choice_constraint(found)],
        "displayName": found.display_name,
        "description": found.description,
    }


def facts(found: Input) -> Iterator[str]:
    """What a person should know of an input: type, secret, needed, default, constraints."""
    yield _type(found.schema)
    if found.secret:
        yield f"secret, a {found.generates} is generated" if found.generates else "secret"
    if _is_needed(found):
        yield "needed"
    elif found.default not in (None, "", [], {}):
        yield f"default {_flow(found.default)}"
    yield from (said(constraint) for constraint in choice_constraint(found))


def _type(schema: Schema) -> str:
    kind = schema.type.rpartition("datatypes.")[2].removeprefix("indigo.")
    return f"{kind} of {_type(schema.entry)}" if schema.entry else kind


def _is_needed(found: Input) -> bool:
    return found.required and found.default is None and not found.generates


def outputs(service: Service) -> dict[str, str]:
    """The outputs with their descriptions."""
    bodies = service.template["topology_template"].get("outputs") or {}
    return {name: one_line(str(bodies[name].get("description") or "")) for name in service.outputs}


def roles(service: Service) -> dict[str, list[str]]:
    """Role → the nodes that it makes; a role that an input names is `(an input)`."""
    found: dict[str, list[str]] = {}
    for node in software_of(service):
        role = "(an input)" if is_open(node.role) else printable(str(node.role))
        found.setdefault(role, []).append(node.name)
    return dict(sorted(found.items()))


def new_json(service: Service, group: str, name: str) -> dict[str, Json]:
    """A Deployment of the service; needed inputs are null."""
    needed = {entry.name: None for entry in service.inputs.values() if _is_needed(entry)}
    return {
        "apiVersion": "reconciler/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "group": group},
        "spec": {"service": f"{service.name}@{service.version}", "inputs": needed},
    }


def new_text(service: Service, group: str, name: str) -> str:
    """A Deployment as YAML: needed inputs to be filled in, the others as comments with their defaults."""
    needed = [entry for entry in service.inputs.values() if _is_needed(entry)]
    others = [entry for entry in service.inputs.values() if not _is_needed(entry)]
    lines = [
        *(f"# {line}" for line in textwrap.wrap(one_line(service.description), 96)),
        "apiVersion: reconciler/v1",
        "kind: Deployment",
        "metadata:",
        f"  name: {_label(name)}",
        f"  group: {_label(group)}",
        "spec:",
        f"  service: {service.name}@{service.version}",
        "  inputs:" if needed else "  # inputs:",
        *(line for entry in needed for line in _asked(entry)),
        *(line for entry in others for line in _offered(entry)),
        "  # placement:",
        "  #   targets: [a-provider]",
    ]
    return "\n".join(lines) + "\n"


def _asked(found: Input) -> Iterator[str]:
    """A needed input, empty: the file is valid once it has a value."""
    yield f"    # {_about(found)}"
    if found.secret:
        yield '    #   {secret: "env:NAME"} or {generate: password}'
    yield f"    {_key(found.name)}:"


def _offered(found: Input) -> Iterator[str]:
    yield f"    # {_about(found)}"
    value = found.default
    if value is None and found.choices:
        value = found.choices[0].value
    if value is None and found.generates:
        value = {"generate": found.generates}
    yield f"    # {_key(found.name)}: {_flow(value)}"


def _about(found: Input) -> str:
    described = one_line(found.description or found.display_name)
    known = [fact for fact in facts(found) if not fact.startswith("default ")]
    return printable(": ".join(filter(None, (described, ", ".join(known)))))


def _label(text: str) -> str:
    """A name as YAML: in quotes where it could be anything else."""
    return text if _LABEL.fullmatch(text) and text not in ("true", "false", "null") else json.dumps(text)


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() and name.isascii() else json.dumps(name)


def _flow(value: Json) -> str:
    """A value as YAML on one line; what JSON writes is YAML."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(str(key))}: {_flow(entry)}" for key, entry in value.items()) + "}"
    return json.dumps(value, ensure_ascii=True)


def one_line(text: str) -> str:
    """The text on one line, printable."""
    return printable(" ".join(text.split()))
