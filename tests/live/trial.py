"""A service with a tiny role, and Deployments of it: what tests of machines give to their repositories."""

from __future__ import annotations

import json
from collections.abc import Mapping

TEMPLATE = """\
tosca_definitions_version: tosca_simple_yaml_1_0
imports: [reconciler_types]
description: machines that keep a text and some words
metadata: {display_name: Trial, template_version: 1.0.0}
topology_template:
  inputs:
    machines: {type: integer, default: 1}
    text: {type: string, default: ""}
    seconds: {type: integer, default: 0}
    spoilt: {type: string, default: ""}
    first: {type: string, default: ""}
    second: {type: string, default: ""}
    third: {type: string, default: ""}
  node_templates:
    trial:
      type: tosca.nodes.reconciler.Role
      properties:
        role: trial
        variables:
          trial_text: {get_input: text}
          trial_seconds: {get_input: seconds}
          trial_spoilt: {get_input: spoilt}
          trial_words: [{get_input: first}, {get_input: second}, {get_input: third}]
      requirements: [{host: machine}]
    machine:
      type: tosca.nodes.indigo.Compute
      capabilities:
        scalable: {properties: {count: {get_input: machines}}}
"""
PARAMETERS = """\
inputs:
  text: {updatable: true}
  seconds: {updatable: true}
  spoilt: {updatable: true}
"""
ARGUMENTS = """\
argument_specs:
  main:
    short_description: Keep a text and some words
    options:
      trial_text: {type: str, default: "", description: A text.}
      trial_seconds: {type: int, default: 0, description: How long it takes.}
      trial_spoilt: {type: str, default: "", description: The name of the machine on which it fails.}
      trial_words: {type: list, elements: str, default: [], no_log: true, description: Secrets.}
"""
TASKS = """\
---
- name: Folder
  ansible.builtin.file: {path: "{{ reconciler_root }}/etc/trial", state: directory, mode: "0755"}
- name: Linger
  ansible.builtin.command: {argv: [sleep, "{{ trial_seconds }}"]}
  changed_when: false
  when: trial_seconds > 0
- name: Refuse
  ansible.builtin.fail: {msg: "this one is spoilt, and says {{ trial_words }}"}
  when: reconciler_machine == trial_spoilt
- name: Words
  ansible.builtin.copy:
    content: "{{ trial_words | join('\\n') }}"
    dest: "{{ reconciler_root }}/etc/trial/words"
    mode: "0600"
  no_log: true
- name: Text
  ansible.builtin.command:
    argv: [sh, -c, 'printf %s "$1" >"$2"', sh, "{{ trial_text }}", "{{ reconciler_root }}/etc/trial/text"]
  changed_when: true
- name: Outputs
  ansible.builtin.set_fact:
    reconciler_outputs: {words: "they are {{ trial_words }}"}
"""

FILES: Mapping[str, str | None] = {
    "catalogue/trial/template.yaml": TEMPLATE,
    "catalogue/trial/parameters.yml": PARAMETERS,
    "roles/trial/meta/argument_specs.yml": ARGUMENTS,
    "roles/trial/meta/reconciler.yml": "description: Keeps a text and some words\nrootless: true\n",
    "roles/trial/tasks/main.yml": TASKS,
}


def trial(name: str, target: str, inputs: Mapping[str, object]) -> dict[str, str | None]:
    """The file of one Deployment of this service, of group virgo."""
    document = {
        "apiVersion": "reconciler/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "group": "virgo"},
        "spec": {"service": "trial", "placement": {"targets": [target]}, "inputs": dict(inputs)},
    }
    return {f"deployments/virgo/{name}.yaml": json.dumps(document, indent=1) + "\n"}
