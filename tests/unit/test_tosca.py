"""Templates with inputs filled in: inputs, functions, topology, and what tosca-parser says about types."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import Problem
from reconciler.source.catalogue import own_types, read_catalogue
from reconciler.strict_yaml import YamlError
from reconciler.strict_yaml.tosca import read_tosca
from reconciler.tosca.check import check, sample_values
from reconciler.tosca.inputs import resolve
from reconciler.tosca.services import Parsed, Service, read_service
from reconciler.tosca.topology import Compute, Port, Software, Topology, Volume
from reconciler.tosca.topology import compile as compile_topology
from reconciler.tosca.values import Float, size

ROOT = Path(__file__).parents[2]
REF = "Deployment/cms/analysis"
CORPUS = Path(os.environ.get("RECONCILER_TOSCA_CORPUS", "/nonexistent"))

HEAD = """\
tosca_definitions_version: tosca_simple_yaml_1_0
imports:
  - indigo_custom_types: https://raw.githubusercontent.com/indigo-dc/tosca-types/master/custom_types.yaml
metadata: {template_version: 1.2.3}
topology_template:
"""
MACHINE = """\
    machine:
      type: tosca.nodes.indigo.Compute
"""


def problems_of(text: str, parameters: str = "") -> tuple[Problem, ...]:
    return read_catalogue(files_of(text, parameters)).problems


def files_of(text: str, parameters: str = "") -> dict[str, bytes]:
    files = {"catalogue/demo/template.yaml": (HEAD + text).encode()}
    return files | ({"catalogue/demo/parameters.yml": parameters.encode()} if parameters else {})


def service(text: str, parameters: str = "") -> Service:
    catalogue = read_catalogue(files_of(text, parameters))
    assert catalogue.problems == ()
    return catalogue.services["demo"]["1.2.3"]


def with_inputs(inputs: str, parameters: str = "") -> Service:
    return service(f"  inputs:\n{inputs}\n  node_templates:\n{MACHINE}", parameters)


def messages(inputs: str, given: Mapping[str, Any], parameters: str = "") -> list[str]:
    _, problems = resolve(with_inputs(inputs, parameters), given, REF)
    return [f"{problem.path}: {problem.message} | {problem.hint}" for problem in problems]


def value(inputs: str, given: Mapping[str, Any], parameters: str = "") -> dict[str, Any]:
    values, problems = resolve(with_inputs(inputs, parameters), given, REF)
    assert problems == ()
    return values


def topology(found: Service, **given: Any) -> Topology:
    values, problems = resolve(found, given, REF)
    assert problems == ()
    made = compile_topology(found, values)
    assert isinstance(made, Topology), [str(problem) for problem in made]
    return made


def outputs(text: str, **given: Any) -> Mapping[str, Any]:
    return topology(service(text), **given).outputs


# ── YAML ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("yes", True), ("Off", False), ("no", False), ("true", True), ("~", None), ("", None),
        ("0644", 420), ("0b11", 3), ("0x1F", 31), ("1_000", 1000), ("-7", -7), ("08", "08"),
        ("22:30", "22:30"), ("8080:80", "8080:80"), ("2026-01-01", "2026-01-01"), (".inf", ".inf"),
        ("'yes'", "yes"), ("y", "y"), ("1.2.3", "1.2.3"),
    ],
)  # fmt: skip
def test_words_and_numbers_are_those_of_yaml_1_1(text: str, expected: Any) -> None:
    found = read_tosca(f"a: {text}".encode())[0]["a"]
    assert found == expected
    assert type(found) is type(expected)


def test_floats_keep_their_text_and_places_are_told() -> None:
    found, lookup = read_tosca(b"a:\n  b: 22.10\nc: [1, 2]\n")
    assert isinstance(found["a"]["b"], Float)
    assert (found["a"]["b"].text, float(found["a"]["b"])) == ("22.10", 22.1)
    assert lookup(("a", "b")) == (2, 3)
    assert lookup(("c", 1, "nothing")) == (3, 8)


@pytest.mark.parametrize(
    "text", ["a: 1\na: 2", "a: !!python/none x", "<<: {a: 1}", "a: 1\n---\nb: 2", "a: ["]
)
def test_what_our_own_files_refuse_is_refused_here_too(text: str) -> None:
    with pytest.raises(YamlError):
        read_tosca(text.encode())


def test_anchors_stand_for_what_yaml_1_1_reads() -> None:
    assert read_tosca(b"a: &x on\nb: *x\n")[0] == {"a": True, "b": True}


# ── inputs ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("declared", "given", "expected"),
    [
        ("{type: integer}", 3, 3),
        ("{type: float}", "1.5", 1.5),
        ("{type: float}", 2, 2),
        ("{type: boolean}", True, True),
        ("{type: version}", "20.04", "20.04"),
        ("{type: version}", 9, "9"),
        ("{type: scalar-unit.size}", "4 GB", "4 GB"),
        ("{type: scalar-unit.size, constraints: [{valid_values: [4 GB]}]}", "4000 MB", "4000 MB"),
        ("{type: scalar-unit.size, constraints: {in_range: [1 GB, 2 GB]}}", "1.5GB", "1.5GB"),
        ("{type: version, constraints: [{valid_values: [20.04, 9]}]}", "20.04", "20.04"),
        ("{type: version, constraints: [{greater_or_equal: 9.5}]}", "20.04", "20.04"),
        ("{type: list, entry_schema: {type: integer}}", [1, 2], [1, 2]),
        ("{type: map, entry_schema: string}", {"a": "b"}, {"a": "b"}),
        ("{type: string, constraints: [{pattern: '[a-z]+'}, {min_length: 2}]}", "abc", "abc"),
        (
            "{type: map, entry_schema: {type: tosca.datatypes.indigo.network.PortSpec}}",
            {"http": {"source": 80}},
            {"http": {"protocol": "tcp", "source": 80}},
        ),
        (
            "{type: list, entry_schema: {type: tosca.datatypes.indigo.User}}",
            [{"os_user_name": "ada", "os_user_add_to_sudoers": False}],
            [{"os_user_name": "ada", "os_user_add_to_sudoers": False}],
        ),
    ],
)
def test_a_value_that_fits_is_taken(declared: str, given: Any, expected: Any) -> None:
    assert value(f"    x: {declared}", {"x": given}) == {"x": expected}


@pytest.mark.parametrize(
    ("declared", "given", "said"),
    [
        ("{type: integer}", "3", "inputs.x: `x` must be an integer, not 3 | take the quotes off"),
        ("{type: integer}", True, "inputs.x: `x` must be an integer, not true"),
        ("{type: string}", 7, 'inputs.x: `x` must be text | put it in quotes: "7"'),
        ("{type: boolean}", "yes", "inputs.x: `x` must be true or false, not yes"),
        ("{type: version}", "latest", "inputs.x: `x` must be a version like 22.04 or 1.2.3, not latest"),
        ("{type: scalar-unit.size}", "4", "inputs.x: `x` is 4: expected a size with its unit"),
        ("{type: scalar-unit.size}", 4, "inputs.x: `x` is 4: expected a size with its unit"),
        (
            "{type: integer, constraints: [{valid_values: [1, 2]}]}",
            3,
            "inputs.x: `x` is 3; it must be one of 1, 2",
        ),
        ("{type: integer, constraints: [{valid_values: [1]}]}", 2, "`x` is 2; it must be one of 1"),
        ("{type: integer, constraints: {in_range: [1, 4]}}", 5, "`x` is 5; it must be from 1 to 4"),
        ("{type: integer, constraints: [{less_than: 4}]}", 4, "`x` is 4; it must be less than 4"),
        ("{type: version, constraints: [{less_or_equal: 9.9}]}", "9.10", "it must be at most 9.9"),
        (
            "{type: scalar-unit.size, constraints: [{greater_than: 1 GB}]}",
            "1 GB",
            "it must be greater than 1 GB",
        ),
        ("{type: string, constraints: [{pattern: '[a-z]+'}]}", "ab1", "it must match the pattern [a-z]+"),
        ("{type: string, constraints: [{length: 2}]}", "abc", "it must be of length 2"),
        (
            "{type: list, constraints: [{min_length: 1}]}",
            [],
            "`x` is of the length 0; it must be of length 1",
        ),
        (
            "{type: list, entry_schema: {type: integer}}",
            [1, "b"],
            "inputs.x.1: `x.1` must be an integer, not b",
        ),
        ("{type: map, entry_schema: {type: integer}}", {"k": "v"}, "inputs.x.k: `x.k` must be an integer"),
        ("{type: list}", {}, "inputs.x: `x` must be a list, not a mapping"),
        (
            "{type: list, entry_schema: {type: tosca.datatypes.indigo.User}}",
            [{"os_user_nam": "ada"}],
            "inputs.x.0.os_user_nam: `x.0` has no field `os_user_nam` | did you mean 'os_user_name'?",
        ),
        (
            "{type: map, entry_schema: {type: tosca.datatypes.indigo.network.PortSpec}}",
            {"p": {"source": 70000}},
            "inputs.x.p.source: `x.p.source` is 70000; it must be from 1 to 65535",
        ),
        ("{type: map}", {"a": {"$secret": "env:HOME"}}, "keys that begin with $ are not for people"),
        (
            "{type: list}",
            [{"$after": "Deployment/cms/other#url"}],
            "keys that begin with $ are not for people",
        ),
        ("{type: string}", None, "inputs: the input `x` is needed | add x: <string>"),
    ],
)
def test_a_value_that_does_not_fit_is_told_with_its_path(declared: str, given: Any, said: str) -> None:
    assert said in "\n".join(messages(f"    x: {declared}", {"x": given}))


def test_an_unknown_input_is_guessed() -> None:
    assert messages("    num_cpus: {type: integer, default: 1}", {"num_cpu": 2}) == [
        "inputs.num_cpu: the service demo has no input `num_cpu` | did you mean 'num_cpus'?"
    ]


def test_defaults_are_in_their_type_and_optional_inputs_are_none() -> None:
    inputs = "    a: {type: version, default: 20.04}\n    b: {type: string, default: 7}"
    inputs += "\n    c: {type: string, required: no}"
    assert value(inputs, {}) == {"a": "20.04", "b": "7", "c": None}


def test_a_default_that_does_not_fit_is_a_problem_of_the_template() -> None:
    found = problems_of(f"  inputs:\n    a: {{type: integer, default: x}}\n  node_templates:\n{MACHINE}")
    assert [(problem.line, problem.message) for problem in found] == [
        (7, "the default of `a` must be an integer, not x")
    ]


SELECT = """\
inputs:
  size:
    type: select
    required: false
    constraints:
      - {value: small, label: S, set: {cpus: 1}}
      - {value: large, label: L, set: {cpus: 8}}
"""


def test_a_choice_sets_other_inputs() -> None:
    cpus = "    cpus: {type: integer, default: 2}"
    assert value(cpus, {"size": "large"}, SELECT) == {"cpus": 8, "size": "large"}
    assert value(cpus, {}, SELECT) == {"cpus": 2, "size": None}
    assert messages(cpus, {"size": "large", "cpus": 3}, SELECT) == [
        "inputs.cpus: `cpus` is set by `size` | leave `cpus` or `size` out"
    ]
    assert "must be one of small, large" in messages(cpus, {"size": "huge"}, SELECT)[0]


def test_a_choice_by_default_gives_way_to_what_is_given() -> None:
    default = SELECT.replace("required: false", "default: large")
    cpus = "    cpus: {type: integer, default: 2}"
    assert value(cpus, {}, default)["cpus"] == 8
    assert value(cpus, {"cpus": 3}, default)["cpus"] == 3


def test_a_choice_that_sets_nonsense_is_a_problem() -> None:
    text = f"  inputs:\n    cpus: {{type: integer, default: 2}}\n  node_templates:\n{MACHINE}"
    assert (
        "sets `cpu`, which is no input"
        in problems_of(text, SELECT.replace("{cpus: 1}", "{cpu: 1}"))[0].message
    )
    assert "must be an integer" in problems_of(text, SELECT.replace("{cpus: 1}", "{cpus: x}"))[0].message


PASSWORD = "inputs: {x: {type: password}}"
RANDOM = "inputs: {x: {type: random_password}}"
TEXT = "    x: {type: string}"


@pytest.mark.parametrize(
    ("given", "reference"),
    [
        ({"secret": "env:NAME"}, "env:NAME"),
        ({"secret": "file:/run/p#k"}, "file:/run/p#k"),
        ({"secret": "age:secrets/p.age#k"}, "age:secrets/p.age#k"),
        ({"generate": "password"}, f"generated:password:{REF}#x:1"),
        ({"generate": "ssh-key", "generation": 3}, f"generated:ssh-key:{REF}#x:3"),
    ],
)
@pytest.mark.parametrize("parameters", [PASSWORD, RANDOM, ""])
def test_a_secret_is_a_reference(given: Any, reference: str, parameters: str) -> None:
    assert value(TEXT, {"x": given}, parameters) == {"x": {"$secret": reference}}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("hunter2", "is a secret and can't be written here"),
        (5, "is a secret and can't be written here"),
        ({"secret": "hunter2"}, "does not say where the secret is kept"),
        ({"secret": "file:relative"}, "does not say where the secret is kept"),
        ({"generate": "passwort"}, "did you mean 'password'?"),
        ({"generate": "password", "generation": 0}, "has a generation that is no number from 1"),
        ({"generate": "password", "more": 1}, "has the unknown field `more`"),
    ],
)
def test_a_secret_in_plain_text_is_refused_without_being_shown(given: Any, said: str) -> None:
    found = messages(TEXT, {"x": given}, PASSWORD)
    assert said in found[0]
    assert "hunter2" not in found[0]


def test_what_is_generated_when_nothing_is_given() -> None:
    assert value(TEXT, {}, RANDOM) == {"x": {"$secret": f"generated:password:{REF}#x:1"}}
    uuid = "inputs: {x: {type: uuidgen, extra_specs: {prefix: bucket-}}}"
    assert value(TEXT, {}, uuid) == {"x": {"$join": ["bucket-", {"$secret": f"generated:uuid:{REF}#x:1"}]}}
    assert messages(TEXT, {}, PASSWORD) == ["inputs: the input `x` is needed | x: {generate: password}"]


def test_only_text_can_be_a_secret() -> None:
    assert messages("    x: {type: integer}", {"x": {"secret": "env:A"}}) == [
        "inputs.x: `x` is no text, so it can't be a secret | "
    ]


# ── functions ───────────────────────────────────────────────────────────────────────────────────

FUNCTIONS = """\
  inputs:
    name: {type: string, default: ada}
    tags: {type: map, default: {a: [x, y]}}
    secret: {type: string, required: false}
  node_templates:
    app:
      type: tosca.nodes.reconciler.Role
      properties:
        role: demo
        variables: {who: {get_input: name}, mine: {get_property: [SELF, role]}, none: {get_input: secret}}
      requirements: [{host: machine}]
    machine:
      type: tosca.nodes.indigo.Compute
      properties:
        os_users: [{os_user_name: {get_input: name}}, {os_user_name: bob}]
      capabilities:
        host: {properties: {num_cpus: 2, mem_size: 4 GB}}
        endpoint: {properties: {ports: {http: {protocol: tcp, source: 80}}}}
  outputs:
    x: {value: VALUE}
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{get_input: name}", "ada"),
        ("{get_input: [tags, a, 1]}", "y"),
        ("{get_property: [machine, os_users, 0]}", {"os_user_name": "ada"}),
        ("{get_property: [machine, os_users, 0, os_user_name]}", "ada"),
        ("{get_property: [machine, host, num_cpus]}", 2),
        ("{get_property: [machine, endpoint, ports, http, source]}", 80),
        ("{get_property: [app, variables, mine]}", "demo"),
        ("{concat: [a, {get_input: name}, 1, true]}", "aada1true"),
        ("{concat: [v, 20.10]}", "v20.10"),
        ("{join: [[a, b, {get_input: name}], ', ']}", "a, b, ada"),
        ("{token: ['a:b;c', ':;', 2]}", "c"),
        ("{get_attribute: [machine, public_address, 0]}", {"$attribute": ["machine", "public_address", 0]}),
        (
            "{concat: [http://, {get_attribute: [machine, address]}, ':', '80', /]}",
            {"$join": ["http://", {"$attribute": ["machine", "address"]}, ":80/"]},
        ),
        (
            "{concat: [a, {concat: [b, {get_attribute: [app, url]}]}, c]}",
            {"$join": ["ab", {"$attribute": ["app", "url"]}, "c"]},
        ),
        ("{join: [[{get_attribute: [app, a]}, b], '-']}", {"$join": [{"$attribute": ["app", "a"]}, "-b"]}),
        ("[{a: {get_input: name}}]", [{"a": "ada"}]),
        ("{token: plain}", {"token": "plain"}),
    ],
)
def test_functions(text: str, expected: Any) -> None:
    assert outputs(FUNCTIONS.replace("VALUE", text))["x"] == expected


def test_secrets_stay_references_inside_text() -> None:
    found = outputs(
        FUNCTIONS.replace("VALUE", "{concat: [a, {get_input: secret}]}"), secret={"secret": "env:A"}
    )
    assert found["x"] == {"$join": ["a", {"$secret": "env:A"}]}


def test_values_that_are_not_given_are_left_out_of_variables() -> None:
    found = topology(service(FUNCTIONS.replace("VALUE", "1")))
    assert found.software["app"].variables == {"who": "ada", "mine": "demo"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{get_input: nam}", "there is no input `nam`"),
        ("{get_property: [machin, x]}", "there is no node `machin`"),
        ("{get_attribute: [SELF, x]}", "`SELF` means nothing outside of a node"),
        ("{get_imput: name}", "there is no function `get_imput`"),
        ("{get_artifact: [machine, x]}", "the function `get_artifact` is not supported"),
        ("{$secret: env:HOME}", "keys that begin with $ are not for templates"),
    ],
)
def test_wrong_functions_are_problems_of_the_template(text: str, said: str) -> None:
    found = problems_of(FUNCTIONS.replace("VALUE", text))
    assert len(found) == 1
    assert said in found[0].message
    assert (found[0].path, found[0].line) == ("catalogue/demo/template.yaml", 25)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "{get_property: [machine, nothing]}",
            "x.value.get_property: the node `machine` has no property `nothing`",
        ),
        ("{get_input: [tags, b]}", "x.value.get_input: there is nothing at `b`"),
        ("{token: [a, ':', 1]}", "x.value.token: there is no piece 1: there are 1"),
        ("{concat: [a, {get_input: tags}]}", "a piece of it is a list or a mapping"),
        ("{concat: [a, {get_input: secret}]}", "a piece of it has no value"),
        ("{get_property: [machine]}", "expected [node, property]"),
    ],
)
def test_functions_that_fail_say_which_and_where(text: str, said: str) -> None:
    found = service(FUNCTIONS.replace("VALUE", text))
    made = compile_topology(found, resolve(found, {}, REF)[0])
    assert isinstance(made, tuple)
    assert said in made[0].message
    assert made[0].line == 25


def test_a_property_that_leads_to_itself_is_told() -> None:
    text = FUNCTIONS.replace(
        "mine: {get_property: [SELF, role]}", "mine: {get_property: [SELF, variables, mine]}"
    )
    found = service(text.replace("VALUE", "1"))
    made = compile_topology(found, resolve(found, {}, REF)[0])
    assert isinstance(made, tuple)
    assert "leads back to itself" in made[0].message


def test_values_that_double_at_each_step_come_to_an_end() -> None:
    doubled = "".join(
        f"          v{n}: {{concat: [{{get_property: [SELF, variables, v{n + 1}]}},"
        f" {{get_property: [SELF, variables, v{n + 1}]}}]}}\n"
        for n in range(25)
    )
    variables = f"        variables:\n{doubled}          v25: x\n"
    old = next(line for line in FUNCTIONS.splitlines() if "variables:" in line)
    found = service(FUNCTIONS.replace(f"{old}\n", variables).replace("VALUE", "1"))
    made = compile_topology(found, resolve(found, {}, REF)[0])
    assert isinstance(made, tuple)
    assert "more functions than a template may have" in made[0].message


# ── topology ────────────────────────────────────────────────────────────────────────────────────

WHOLE = """\
  inputs:
    users: {type: list, default: [], entry_schema: {type: tosca.datatypes.indigo.User}}
    count: {type: integer, default: 3}
    location: {type: string, default: /data}
  node_templates:
    pub: {type: tosca.nodes.network.Network, properties: {network_type: public}}
    port: {type: tosca.nodes.network.Port, requirements: [{binding: front}, {link: pub}]}
    front:
      type: tosca.nodes.indigo.Compute
      properties: {os_users: {get_input: users}}
      capabilities:
        host: {properties: {num_cpus: 4, mem_size: 8 GiB, disk_size: 20 GB}}
        os: {properties: {distribution: ubuntu, version: 22.10, architecture: x86_64}}
        endpoint:
          properties:
            ports:
              web: {source: 443, remote_cidr: 192.0.2.1/24}
              dns: {protocol: udp, source: 53, target: 5353}
      requirements:
        - local_storage:
            node: disk
            relationship:
              type: tosca.relationships.AttachesTo
              properties: {location: {get_input: location}}
    worker:
      type: tosca.nodes.indigo.Compute
      capabilities: {scalable: {properties: {count: {get_input: count}, removal_list: ['1', 2]}}}
    disk: {type: tosca.nodes.indigo.BlockStorage, properties: {size: 10 GB, type: fast}}
    site:
      type: tosca.nodes.reconciler.WebServer
      properties: {title: Hi, upstreams: [{concat: [{get_attribute: [worker, private_address, 0]}, ':80']}]}
      interfaces: {Standard: {configure: {inputs: {nginx_extra: {get_property: [HOST, host, num_cpus]}}}}}
      requirements: [{host: front}, {needs: shares}]
    shares:
      type: tosca.nodes.reconciler.Nfs
      properties: {mode: server}
      requirements: [{host: worker}]
"""


def test_a_topology_has_all_that_the_template_says() -> None:
    made = topology(
        service(WHOLE), users=[{"os_user_name": "ada", "os_user_ssh_public_key": "ssh-ed25519 A"}]
    )
    assert made.computes["front"] == Compute(
        name="front",
        count=None,
        removal=(),
        cores=4,
        memory=8 * 2**30,
        disk=20 * 10**9,
        image={"distribution": "ubuntu", "version": "22.10", "architecture": "x86_64"},
        ports=(Port("web", "tcp", 443, "192.0.2.0/24"), Port("dns", "udp", 5353)),
        volumes={"/data": "disk"},
        public=True,
        users=({"os_user_name": "ada", "os_user_ssh_public_key": "ssh-ed25519 A"},),
    )
    worker = made.computes["worker"]
    assert (worker.count, worker.removal, worker.cores, worker.memory) == (3, (1, 2), 1, 10**9)
    assert (worker.public, worker.ports, worker.image, worker.users) == (False, (), {}, ())
    assert made.volumes == {"disk": Volume("disk", 10 * 10**9, "fast")}
    assert made.software["shares"] == Software("shares", "worker", "nfs", {"nfs_role": "server"}, frozenset())
    assert made.software["site"] == Software(
        "site",
        "front",
        "nginx",
        {
            "nginx_port_name": "http",
            "nginx_title": "Hi",
            "nginx_upstreams": [{"$join": [{"$attribute": ["worker", "private_address", 0]}, ":80"]}],
            "nginx_extra": 4,
        },
        frozenset({"shares"}),
    )


def test_a_template_may_bring_types_of_its_own() -> None:
    text = """\
  node_templates:
    app:
      type: my.App
      properties: {colour: red}
      requirements: [{host: machine}]
    machine: {type: tosca.nodes.indigo.Compute}
node_types:
  my.Base:
    derived_from: tosca.nodes.SoftwareComponent
    properties: {colour: {type: string}, shape: {type: string, default: round}}
    artifacts: {role: {file: paint, type: tosca.artifacts.AnsibleGalaxy.role}}
    interfaces: {Standard: {configure: {inputs: {paint_colour: {get_property: [SELF, colour]}}}}}
  my.App:
    derived_from: my.Base
    interfaces: {Standard: {configure: {inputs: {paint_shape: {get_property: [SELF, shape]}}}}}
"""
    found = service(text)
    assert topology(found).software["app"].variables == {"paint_colour": "red", "paint_shape": "round"}
    assert topology(found).software["app"].role == "paint"
    assert check(found, {}) == ()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("type: tosca.nodes.indigo.BlockStorage", "type: tosca.nodes.indigo.BlockStorag", "did you mean"),
        ("{needs: shares}", "{needs: share}", "the requirement `needs` needs a node of this template"),
        ("requirements: [{host: worker}]", "requirements: []", "`shares` is hosted on no machine"),
        ("requirements: [{host: worker}]", "requirements: [{host: shares}]", "`shares` is hosted on itself"),
        (
            "requirements: [{host: worker}]",
            "requirements: [{host: worker}, {needs: site}]",
            "needs, in the end",
        ),
        ("[worker, private_address, 0]", "[worker, private_adress, 0]", "a machine has no attribute"),
        (
            "tosca.nodes.reconciler.Nfs",
            "tosca.nodes.SoftwareComponent",
            "nothing says which role makes `shares`",
        ),
        ("{mode: server}", "{mode: {get_input: mod}}", "there is no input `mod`"),
        ("    pub:", "    pub: []\n    pub2:", "the node `pub` must be a mapping"),
        (
            "configure: {inputs:",
            "configure: {implementation: x.yaml, inputs:",
            "Standard.configure is not run here",
        ),
        ("configure: {inputs:", "start: {inputs:", "Standard.start is not run here"),
    ],
)
def test_a_wrong_template_is_a_problem_with_its_line(old: str, new: str, said: str) -> None:
    assert old in WHOLE
    found = problems_of(WHOLE.replace(old, new))
    assert found
    assert said in f"{found[0].message} {found[0].hint}"
    assert all(problem.line > 5 for problem in found)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("source: 443", "source: 0", "expected a whole number from 1 to 65535"),
        ("protocol: udp", "protocol: icmp", "has the protocol `icmp`"),
        ("192.0.2.1/24", "somewhere", "`somewhere` is no CIDR"),
        ("num_cpus: 4", "num_cpus: 0", "expected a whole number from 1 to 4096"),
        ("size: 10 GB", "size: big", "`big`: expected a size with its unit"),
        ("disk_size: 20 GB", "disk_size: {get_attribute: [disk, x]}", "expected a size with its unit"),
        ("default: /data", "default: ../data", "needs an absolute `location`"),
        ("default: 3", "default: -1", "expected a whole number from 0 to 1000"),
        ("['1', 2]", "[x]", "`x`: expected a whole number"),
    ],
)
def test_a_wrong_value_is_a_problem_when_compiled(old: str, new: str, said: str) -> None:
    assert old in WHOLE
    found = service(WHOLE.replace(old, new))
    made = compile_topology(found, resolve(found, {}, REF)[0])
    assert isinstance(made, tuple)
    assert said in made[0].message
    assert made[0].line > 5


def test_imports_are_never_fetched() -> None:
    other = HEAD.replace("raw.githubusercontent.com", "evil.example.org").replace("indigo_custom_types", "x")
    files = {"catalogue/demo/template.yaml": (other + f"  node_templates:\n{MACHINE}").encode()}
    found = read_catalogue(files).problems
    assert [(problem.line, problem.message.split("`")[2]) for problem in found] == [
        (3, " is not fetched: its types are not known here")
    ]


def test_2500_deployments_compile_in_well_under_a_second() -> None:
    found = service(WHOLE)
    started = time.process_time()
    for number in range(2500):
        values, problems = resolve(found, {"count": number % 7}, f"Deployment/cms/d{number}")
        assert problems == ()
        assert isinstance(compile_topology(found, values), Topology)
    assert time.process_time() - started < 2.5  # half a second where nothing else runs


def test_sizes_are_bytes() -> None:
    assert [size(text) for text in ("1 B", "1 kB", "2 MiB", "4 GB", "1.5gib", "1TB")] == [
        1, 1000, 2 * 2**20, 4 * 10**9, 1610612736, 10**12,
    ]  # fmt: skip
    with pytest.raises(ValueError, match="whole number"):
        size("1.5 B")


# ── check ───────────────────────────────────────────────────────────────────────────────────────


def test_a_right_template_passes(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def refuse(*_arguments: Any, **_more: Any) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    found = service(WHOLE)
    assert check(found, sample_values(found)) == ()
    assert check(found, sample_values(found)) == ()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("old", "new", "node", "line", "said"),
    [
        ("title: Hi", "titel: Hi", "site", 34, 'contains unknown field "titel"'),
        ("mode: server", "mode: boss", "shares", 39, "boss"),
        ("distribution: ubuntu", "distro: ubuntu", "front", 13, 'contains unknown field "distro"'),
        ("architecture: x86_64", "gpu_driver: maybe", "front", 13, '"maybe" is not a boolean'),
        ("{needs: shares}", "{wants: shares}", "site", 34, 'contains unknown field "wants"'),
        ("capabilities: {scalable:", "capabilities: {scaleable:", "worker", 30, "unknown field"),
        ("{mode: server}", "{}", "shares", 39, "mode"),
    ],
)
def test_what_does_not_fit_its_type_is_one_line_with_the_node(
    old: str, new: str, node: str, line: int, said: str
) -> None:
    assert old in WHOLE
    found = service(WHOLE.replace(old, new, 1))
    problems = check(found, resolve(found, {}, REF)[0])
    assert [problem.line for problem in problems] == [line]
    assert problems[0].message.startswith(f"the node `{node}`: ")
    assert said in problems[0].message
    assert "\n" not in problems[0].message


def test_importing_the_catalogue_does_not_load_the_parser() -> None:
    code = (
        "import sys, reconciler.tosca.check, reconciler.source.catalogue; print('toscaparser' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "False\n"


# ── whatever authors write ──────────────────────────────────────────────────────────────────────

ODD: tuple[Any, ...] = (
    None, True, -1, 10**15, "", "x", "SELF", "4 GB", [], {}, [[]], [None], {"a": None}, {"get_input": {}},
    {"get_property": ["SELF", []]}, {"get_property": [["a"], {}]}, {"concat": [{}]}, {"token": [1, 2, 3]},
    {"join": [[[]], "a"]}, {"get_attribute": ["front", "address", {}]}, {"get_input": [["x"]]},
)  # fmt: skip


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in inside:
        yield from paths(entry, (*path, key))


def spoilt(seed: int) -> Any:
    """A right template with one to three wrong values."""
    chance = random.Random(seed)
    template = read_tosca((HEAD + chance.choice([WHOLE, FUNCTIONS])).encode())[0]
    for _ in range(chance.randint(1, 3)):
        *steps, last = chance.choice([path for path in paths(template) if path])
        parent = template
        for step in steps:
            parent = parent[step]
        parent[last] = deepcopy(chance.choice(ODD))
    return template


@pytest.mark.parametrize("start", range(0, 400, 100))
def test_a_spoilt_template_is_a_problem_and_never_a_crash(start: int) -> None:
    for seed in range(start, start + 100):
        parsed = Parsed("template.yaml", spoilt(seed), lambda _path: (1, 1))
        found = read_service("demo", parsed, None, None, "", own_types())
        if isinstance(found, Service):
            values = sample_values(found)
            made = compile_topology(found, values)
            assert made
            resolve(found, {name: ODD[seed % len(ODD)] for name in found.inputs}, REF)
            if seed % 10 == 0:
                check(found, values)


# ── templates in use ────────────────────────────────────────────────────────────────────────────


@pytest.mark.skipif(not CORPUS.is_dir(), reason="RECONCILER_TOSCA_CORPUS names no folder of templates")
def test_no_template_in_use_makes_us_raise() -> None:
    good = 0
    for path in sorted(CORPUS.rglob("*.y*ml")):
        files = {
            "catalogue/x/template.yaml": path.read_bytes(),
            "catalogue/x/metadata.yml": b"metadata: {template_version: 1.0.0}",
        }
        catalogue = read_catalogue(files)
        assert bool(catalogue.problems) != bool(catalogue.services), path
        assert all(
            problem.line > 0 and "\n" not in f"{problem.message}{problem.hint}"
            for problem in catalogue.problems
        )
        for found in catalogue.services.get("x", {}).values():
            good += 1
            made = compile_topology(found, sample_values(found))
            assert isinstance(made, Topology) or all("\n" not in problem.message for problem in made)
            said = check(found, sample_values(found))
            assert all(problem.message.startswith("the node `") for problem in said)
            assert all("can't be understood" not in problem.message for problem in said)
    assert good >= 4
