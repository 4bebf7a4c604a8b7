"""What deployments of one service share: never another value than each would have come to alone."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest

from reconciler.source.catalogue import read_catalogue
from reconciler.tosca.functions import Scope
from reconciler.tosca.inputs import resolve
from reconciler.tosca.memory import Memory
from reconciler.tosca.services import Service
from reconciler.tosca.topology import Topology, compile  # noqa: A004  the word for it

TEMPLATE = b"""\
tosca_definitions_version: tosca_simple_yaml_1_0
imports: [reconciler_types]
metadata: {template_version: 1.0.0}
topology_template:
  inputs:
    which: {type: string, default: first}
    first: {type: string, default: one}
    second: {type: string, required: false}
    tls: {type: boolean, default: true}
    cores: {type: integer, default: 1}
    ports: {type: map, default: {http: {protocol: tcp, source: 80}}}
  node_templates:
    app:
      type: tosca.nodes.reconciler.Role
      properties:
        role: demo
        variables:
          chosen: {get_input: {get_input: which}}
          tls: {get_input: tls}
          maybe: {get_input: second}
      requirements: [{host: machine}]
    machine:
      type: tosca.nodes.indigo.Compute
      capabilities:
        host: {properties: {num_cpus: {get_input: cores}}}
        endpoint: {properties: {ports: {get_input: ports}}}
  outputs:
    chosen: {value: {get_input: {get_input: which}}}
"""
CHOICES: Mapping[str, tuple[Any, ...]] = {
    "which": ("first", "second"),
    "first": ("one", "1"),
    "second": (None, "two"),
    "tls": (True, False),
    "cores": (1, 2),
    "ports": ({"http": {"protocol": "tcp", "source": 80}}, {"http": {"protocol": "tcp", "source": 81}}),
}


def fresh() -> Service:
    (versions,) = read_catalogue({"catalogue/app/template.yaml": TEMPLATE}).services.values()
    return versions["1.0.0"]


def made(service: Service, given: Mapping[str, Any]) -> Topology:
    values, problems = resolve(service, {name: one for name, one in given.items() if one is not None}, "x")
    assert problems == ()
    topology = compile(service, values)
    assert isinstance(topology, Topology), topology
    return topology


@pytest.mark.parametrize("seed", range(3))
def test_whatever_came_before_all_is_as_it_would_be_alone(seed: int) -> None:
    wishes = [dict(zip(CHOICES, values, strict=True)) for values in itertools.product(*CHOICES.values())]
    random.Random(seed).shuffle(wishes)
    shared = fresh()
    for wish in wishes[:40] * 2:
        assert made(shared, wish) == made(fresh(), wish)


def test_true_is_not_one() -> None:
    memory = Memory()
    looked = []
    for value in (True, 1, "1", "true", True):
        scope = Scope({"x": value}, {})

        def look(scope: Scope = scope, value: Any = value) -> str:
            scope.looked.add("x")
            looked.append(value)
            return repr(value)

        assert memory.once("it", scope, look) == repr(value)
    assert [repr(value) for value in looked] == ["True", "1", "'1'", "'true'"]


def test_what_is_remembered_counts_as_if_it_was_worked_out() -> None:
    memory = Memory()

    def spend(scope: Scope) -> str:
        scope.left -= 7
        return "done"

    for left in (100, 7):
        scope = Scope({}, {}, left=left)
        assert memory.once("it", scope, partial(spend, scope)) == "done"
        assert scope.left == left - 7
    poor = Scope({}, {}, left=6)
    assert memory.once("it", poor, lambda: "worked out again, to fail where it fails") != "done"
