"""What the library says to a Deployment: is its service there, do inputs and variables fit it and its roles.

Offline, part of `validate`. It loads tosca-parser and a piece of Ansible, which nothing else here needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from reconciler.guess import did_you_mean
from reconciler.library import Library
from reconciler.model import Declared, Json
from reconciler.placement.topology import service_of
from reconciler.playbook.arguments import check_arguments
from reconciler.tosca.check import check, sample_values
from reconciler.tosca.inputs import resolve
from reconciler.tosca.services import Service
from reconciler.tosca.topology import Topology
from reconciler.tosca.topology import compile as compile_topology

Found = tuple[str, str, str]  # dotted path in the file, message, hint


def problems_of(declared: Declared, library: Library) -> Iterator[Found]:
    """All that is wrong with what a deployment asks of its service."""
    service = service_of(declared, library)
    if isinstance(service, str):
        name = declared.spec["service"].partition("@")[0]
        yield "spec.service", service, did_you_mean(name, library.services)
        return
    values, problems = resolve(service, declared.spec["inputs"], str(declared.ref))
    if problems:
        yield from ((f"spec.{found.path}", found.message, found.hint) for found in problems)
        return
    yield from _of_template(service, values, library)


def _of_template(service: Service, values: Json, library: Library) -> Iterator[Found]:
    """What the template says with these inputs filled in."""
    topology = compile_topology(service, values)
    if not isinstance(topology, Topology):
        yield from _as_inputs(topology)
        return
    known = f"check {service.name}@{service.version}"  # types do not depend on one deployment's values
    found = list(_as_inputs(library.once(known, lambda: check(service, sample_values(service)))))
    yield from found or _of_roles(topology, library)


def _as_inputs(problems: Iterable[object]) -> Iterator[Found]:
    for problem in problems:
        hint = str(getattr(problem, "hint", ""))
        where = f"{getattr(problem, 'path', '')}:{getattr(problem, 'line', '')}"
        yield "spec.inputs", f"{getattr(problem, 'message', problem)} ({where})", hint


def _of_roles(topology: Topology, library: Library) -> Iterator[Found]:
    """Is every role there, and are its variables what it takes?"""
    silent: set[str] = set()
    for name, software in topology.software.items():
        role = library.roles.get(software.role)
        if role is None and f"roles/{software.role}" in library.broken:
            yield "spec.service", f"node {name}: there are problems in roles/{software.role}/", ""
            continue
        if role is None:
            message = f"node {name} is configured by the role '{software.role}', which there is not"
            yield "spec.service", message, did_you_mean(software.role, library.roles)
            continue
        if software.variables and not role.described:
            if role.name not in silent:
                silent.add(role.name)
                message = f"node {name}: roles/{role.name}/meta/argument_specs.yml is missing"
                yield "spec.service", message, "it describes the variables that the role takes"
            continue
        for misfit in check_arguments(role.options, software.variables):
            message = f"node {name}, role {role.name}, {misfit.variable}: {misfit.message}"
            yield "spec.inputs", message, misfit.hint
