"""Deployments for the generated repository: a service of four parts on one machine, and who asks for it.

The parts are a volume, a server, the role `base` that every real machine gets, and the role of a web server.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

SERVICE = "pages"
PARTS = 4
_SITES = 3  # named by those that say where they may run

_TEMPLATE = """\
tosca_definitions_version: tosca_simple_yaml_1_0

imports:
  - reconciler_types

description: pages on one web server; what it keeps lies on a volume of its own

metadata:
  display_name: Pages
  template_version: 1.0.0

topology_template:
  inputs:
    title: { type: string, description: the title, default: Hello }
    page: { type: string, description: the page }
    num_cpus: { type: integer, description: cores of the machine, default: 1 }
    mem_size: { type: scalar-unit.size, description: memory of the machine, default: 2 GB }
    volume_size: { type: scalar-unit.size, description: room for what it keeps, default: 10 GB }
    ports:
      type: map
      description: open ports; `http` is the one of the pages
      entry_schema: { type: tosca.datatypes.indigo.network.PortSpec }
      default: { http: { protocol: tcp, source: 80 } }

  node_templates:
    site:
      type: tosca.nodes.reconciler.WebServer
      properties:
        title: { get_input: title }
        page: { get_input: page }
      requirements:
        - host: machine

    machine:
      type: tosca.nodes.indigo.Compute
      capabilities:
        endpoint: { properties: { ports: { get_input: ports } } }
        host: { properties: { num_cpus: { get_input: num_cpus }, mem_size: { get_input: mem_size } } }
        os: { properties: { distribution: debian, version: 12 } }
      requirements:
        - local_storage:
            node: kept
            capability: tosca.capabilities.Attachment
            relationship: { type: tosca.relationships.AttachesTo, properties: { location: /data } }

    kept:
      type: tosca.nodes.indigo.BlockStorage
      properties: { size: { get_input: volume_size } }

  outputs:
    address: { description: of the machine, value: { get_attribute: [ machine, private_address, 0 ] } }
"""


def catalogue() -> Iterator[tuple[str, str]]:
    """Path and text of the files of the one service."""
    yield f"catalogue/{SERVICE}/template.yaml", _TEMPLATE


def deployment(number: int, sites: Sequence[str], chance: random.Random) -> tuple[str, dict[str, str]]:
    """Name and spec; two of five say where they may run."""
    name = f"pages-{number:06}"
    inputs = (
        f'{{title: "Run {number}", page: "<h1>{name}</h1>", num_cpus: {chance.choice((1, 2, 4))},'
        f" volume_size: {chance.choice((10, 20, 50))} GB}}"
    )
    spec = {"service": f"{SERVICE}@1.0.0", "inputs": inputs}
    if number % 5 < 2:
        named = ", ".join(chance.sample(sites, min(_SITES, len(sites))))
        spec["placement"] = f"{{targets: [{named}]}}"
    return name, spec
