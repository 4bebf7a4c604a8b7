"""What the tests of deployments share: a service with a role of its own, and deployments of it."""

from __future__ import annotations

import json
from collections.abc import Sequence

from reconciler.model import Json
from tests.laws.lab import Files

TEMPLATE = """\
tosca_definitions_version: tosca_simple_yaml_1_0
metadata: {template_version: 1.0.0}
topology_template:
  inputs:
    workers: {type: integer, default: 1}
    text: {type: string, default: hello}
    token: {type: string}
  node_templates:
    head:
      type: tosca.nodes.indigo.Compute
      capabilities:
        endpoint: {properties: {ports: {http: {protocol: tcp, source: 8080}}}}
    worker:
      type: tosca.nodes.indigo.Compute
      capabilities: {scalable: {properties: {count: {get_input: workers}}}}
      requirements:
        - local_storage:
            node: scratch
            capability: tosca.capabilities.Attachment
            relationship: {type: tosca.relationships.AttachesTo, properties: {location: /scratch}}
    scratch:
      type: tosca.nodes.indigo.BlockStorage
      properties: {size: 1 GB}
    queue:
      type: tosca.nodes.reconciler.Role
      properties: {role: note, variables: {note_text: {get_input: text}, note_token: {get_input: token}}}
      requirements: [{host: head}]
    agent:
      type: tosca.nodes.reconciler.Role
      properties:
        role: note
        variables: {note_text: {concat: ["of ", {get_attribute: [head, private_address, 0]}]}}
      requirements: [{host: worker}, {needs: queue}]
  outputs:
    address: {value: {get_attribute: [head, private_address, 0]}}
"""
NOTE = """\
- name: Leave a trace of every run, also of those that shall change nothing
  ansible.builtin.shell: {cmd: 'echo run >> "{{ reconciler_root }}/trace.txt"'}
  check_mode: false
  changed_when: false
- name: Write the note
  ansible.builtin.copy:
    content: "{{ note_text }}"
    dest: "{{ reconciler_root }}/note.txt"
    mode: "0600"
"""
ARGUMENTS = """\
argument_specs:
  main:
    short_description: writes a note
    options:
      note_text: {type: str, description: what it says}
      note_token: {type: str, description: a secret}
"""


def catalogue() -> Files:
    """The service `farm` and its role."""
    return {
        "catalogue/farm/template.yaml": TEMPLATE,
        "catalogue/farm/parameters.yml": "inputs: {token: {type: random_password}}\n",
        "roles/note/tasks/main.yml": NOTE,
        "roles/note/meta/argument_specs.yml": ARGUMENTS,
        "roles/note/meta/reconciler.yml": "{description: writes a note, rootless: true, removable: false}\n",
    }


def deployment(
    name: str, group: str = "a", targets: Sequence[str] = (), metadata: str = "", **inputs: Json
) -> str:
    """A Deployment of it as its author would write it."""
    extra = f", {metadata}" if metadata else ""
    names = json.dumps(list(targets))
    where = f", placement: {{targets: {names}}}" if targets else ""
    return (
        "apiVersion: reconciler/v1\nkind: Deployment\n"
        f"metadata: {{name: {name}, group: {group}{extra}}}\n"
        f"spec: {{service: farm@1.0.0, inputs: {json.dumps(inputs)}{where}}}\n"
    )
