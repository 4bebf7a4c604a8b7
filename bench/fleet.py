"""A repository for real machines: Deployments of so many machines each, all with one light role."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

STEPS = "steps"  # a role of eight tasks, as short ones as there are
NOTE = "note"  # a role that only says something of itself

_TASKS = {
    STEPS: """\
- {name: Folder, file: {path: "{{ reconciler_root }}/etc", state: directory, mode: "0755"}}
- {name: First file, copy: {content: "{{ steps_text }}", dest: "{{ reconciler_root }}/etc/one", mode: "0644"}}
- {name: Second file, copy: {content: "two", dest: "{{ reconciler_root }}/etc/two", mode: "0644"}}
- {name: Template, template: {src: text.j2, dest: "{{ reconciler_root }}/etc/text", mode: "0644"}}
- {name: Line, lineinfile: {path: "{{ reconciler_root }}/etc/two", line: "a=b"}}
- {name: Link, file: {src: one, dest: "{{ reconciler_root }}/etc/link", state: link}}
- {name: Mode, file: {path: "{{ reconciler_root }}/etc/two", mode: "0600"}}
- {name: Last line, lineinfile: {path: "{{ reconciler_root }}/etc/text", line: "c=d"}}
""",
    NOTE: """\
- {name: Say it, set_fact: {reconciler_outputs: {text: "{{ note_text }}"}}}
""",
}

_TEMPLATE = """\
tosca_definitions_version: tosca_simple_yaml_1_0
imports: [ reconciler_types ]
description: machines with one light role
metadata: { template_version: 1.0.0 }
topology_template:
  inputs:
    text: { type: string, description: what every machine is told }
    count: { type: integer, description: how many machines }
  node_templates:
    configured:
      type: tosca.nodes.reconciler.Role
      properties: { role: ROLE, variables: { ROLE_text: { get_input: text } } }
      requirements: [ { host: machine } ]
    machine:
      type: tosca.nodes.indigo.Compute
      capabilities: { scalable: { properties: { count: { get_input: count } } } }
"""

_ARGUMENTS = "argument_specs:\n  main:\n    options:\n      ROLE_text: { type: str, required: true }\n"
_PROVIDER = """\
apiVersion: reconciler/v1
kind: Provider
metadata: { name: bench }
spec:
  location: { site: BENCH, country: IT }
  targets:
    - { type: hosts, machines: local, path: PATH, capacity: { machines: 1000, cores: 1000, memory: 4000GiB } }
"""
_DEPLOYMENT = """\
apiVersion: reconciler/v1
kind: Deployment
metadata: { name: NAME, group: bench }
spec: { service: machines, inputs: { text: "TEXT", count: COUNT } }
"""


@dataclass(frozen=True, slots=True)
class Fleet:
    """So many Deployments, of so many machines each, with one of the roles above."""

    role: str
    deployments: int
    machines: int


def files(fleet: Fleet, machines: Path, text: str) -> Iterator[tuple[str, str]]:
    """Path and text of every file. `machines` is where they are to lie, `text` what each is told."""
    yield "reconciler.yaml", "owner: bench\n"
    yield (
        "groups/bench.yaml",
        ("apiVersion: reconciler/v1\nkind: UserGroup\nmetadata: { name: bench }\nspec: {}\n"),
    )
    yield "providers/bench.yaml", _PROVIDER.replace("PATH", str(machines))
    yield "catalogue/machines/template.yaml", _TEMPLATE.replace("ROLE", fleet.role)
    yield from role(fleet.role)
    for number in range(fleet.deployments):
        words = {"NAME": f"fleet-{number:03}", "TEXT": text, "COUNT": str(fleet.machines)}
        said = _DEPLOYMENT
        for word, meant in words.items():
            said = said.replace(word, meant)
        yield f"deployments/bench/fleet-{number:03}.yaml", said


def role(name: str) -> Iterator[tuple[str, str]]:
    """The files of one of our roles, below `roles/`."""
    yield f"roles/{name}/tasks/main.yml", _TASKS[name]
    yield f"roles/{name}/templates/text.j2", f"x {{{{ {name}_text }}}}\n"
    yield f"roles/{name}/meta/argument_specs.yml", _ARGUMENTS.replace("ROLE", name)
    yield f"roles/{name}/meta/reconciler.yml", "description: for the bench\nrootless: true\n"
