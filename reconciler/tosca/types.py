"""The types of a template: TOSCA's own few, ours (`types/*.yaml`, with INDIGO's names), and the template's.

A template's imports are never fetched: those that name INDIGO's types in a known place stand for ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from reconciler.guess import did_you_mean
from reconciler.model import NOTHING, Json
from reconciler.printable import shown
from reconciler.tosca.flaw import Flaw, FlawError, Path
from reconciler.tosca.nodes import Family

SECTIONS: Final = (
    "node_types",
    "data_types",
    "capability_types",
    "relationship_types",
    "artifact_types",
    "interface_types",
    "policy_types",
    "group_types",
)
# TOSCA Simple Profile in YAML 1.2 §5.9: the types that others derive from, and the properties they bring.
_NETWORK: Final = frozenset(
    {"ip_version", "cidr", "start_ip", "end_ip", "gateway_ip", "network_name", "network_id",
     "segmentation_id", "network_type", "physical_network", "dhcp_enabled"}
)  # fmt: skip
_NORMATIVE: Final[Mapping[str, tuple[Family, frozenset[str]]]] = {
    "tosca.nodes.Compute": (Family.COMPUTE, frozenset()),
    "tosca.nodes.BlockStorage": (Family.VOLUME, frozenset({"size", "volume_id", "snapshot_id"})),
    "tosca.nodes.network.Network": (Family.NETWORK, _NETWORK),
    "tosca.nodes.network.Port": (Family.PORT, frozenset({"ip_address", "order", "is_default"})),
    "tosca.nodes.SoftwareComponent": (Family.SOFTWARE, frozenset({"component_version", "admin_credential"})),
    "tosca.nodes.WebServer": (Family.SOFTWARE, frozenset({"component_version", "admin_credential"})),
    "tosca.nodes.DBMS": (Family.SOFTWARE, frozenset({"port", "root_password"})),
}
_SCALARS: Final = frozenset(
    {"string", "integer", "float", "boolean", "version", "list", "map", "timestamp", "range", "json",
     "scalar-unit.size", "scalar-unit.time", "scalar-unit.frequency"}
)  # fmt: skip
# Where public templates import the types from that ours stand for.
_OURS = re.compile(
    r"https://(?:baltig\.infn\.it/infn-cloud/tosca-types/"
    r"|raw\.githubusercontent\.com/(?:indigo-dc|indigo-paas|infn-datacloud|grycap)/(?:tosca-types|tosca)/"
    r"|github\.com/(?:indigo-dc|indigo-paas|grycap)/(?:tosca-types|tosca)/)\S+\.ya?ml"
)
_NAMES: Final = frozenset({"indigo_custom_types", "reconciler_types"})


@dataclass(frozen=True, slots=True)
class Types:
    """Type definitions by section (`node_types`, `data_types`, …) and name."""

    sections: Mapping[str, Mapping[str, Json]] = NOTHING

    def section(self, name: str) -> Mapping[str, Json]:
        found: Mapping[str, Json] = self.sections.get(name, NOTHING)
        return found


def types_of(values: Mapping[str, Json]) -> Types:
    """Our own types: name of a file → what it holds."""
    sections: dict[str, dict[str, Json]] = {section: {} for section in SECTIONS}
    for value in values.values():
        for section in SECTIONS:
            sections[section].update(value.get(section) or {})
    return Types(sections)


def with_template(types: Types, template: Mapping[str, Json]) -> Types:
    """Our types and those that a template defines itself. Raises FlawError where it defines one of ours."""
    sections = {section: dict(types.section(section)) for section in SECTIONS}
    for section in SECTIONS:
        added = template.get(section) or {}
        if not isinstance(added, dict):
            raise FlawError((section,), f"`{section}` must be a mapping")
        for name, definition in added.items():
            _check_definition(types, section, name, definition)
        sections[section].update(added)
    return Types(sections)


def _check_definition(types: Types, section: str, name: str, definition: Json) -> None:
    if not isinstance(definition, dict):
        raise FlawError((section, name), f"the type `{name}` must be a mapping")
    if name in types.section(section) or name in _NORMATIVE:
        raise FlawError((section, name), f"the type `{name}` is defined already", "give it another name")


def check_imports(template: Mapping[str, Json]) -> list[Flaw]:
    """What is wrong with the imports: nothing is fetched, and only known ones have a stand-in here."""
    imports = template.get("imports") or []
    if not isinstance(imports, list):
        return [Flaw(("imports",), "`imports` must be a list")]
    return [flaw for index, entry in enumerate(imports) for flaw in _import_flaws(entry, ("imports", index))]


def _import_flaws(entry: Json, path: Path) -> Iterator[Flaw]:
    entries = entry.items() if isinstance(entry, dict) and "file" not in entry else [("", entry)]
    for name, value in entries:
        address = value.get("file") if isinstance(value, dict) else value
        if name not in _NAMES and not _is_ours(address):
            hint = "import `indigo_custom_types`, or define the types in the template"
            yield Flaw(
                path,
                f"the import `{shown(str(address), 200)}` is not fetched: its types are not known here",
                hint,
            )


def _is_ours(address: Json) -> bool:
    """Does this stand for our types: their name, or where INDIGO's are?"""
    return isinstance(address, str) and (address in _NAMES or _OURS.fullmatch(address) is not None)


def chain(types: Types, section: str, name: Json) -> list[Mapping[str, Json]]:
    """The definitions of a type of ours or the template's, the most special first; without TOSCA's own."""
    found: list[Mapping[str, Json]] = []
    definition = types.section(section).get(name) if isinstance(name, str) else None
    while isinstance(definition, dict) and len(found) < 32:
        found.append(definition)
        definition = types.section(section).get(definition.get("derived_from", ""))
    return found


def family(types: Types, name: Json, path: Path) -> tuple[Family, frozenset[str]]:
    """What a node type is for us, and the properties it has from TOSCA. Raises FlawError."""
    definitions = chain(types, "node_types", name)
    root = str(definitions[-1].get("derived_from") if definitions else name)
    if root in _NORMATIVE:
        return _NORMATIVE[root]
    if definitions:
        raise FlawError(path, f"the type `{name}` derives from `{root}`, which is not supported here")
    known = [*types.section("node_types"), *_NORMATIVE]
    raise FlawError(path, f"the type `{name}` is not known here", did_you_mean(str(name), known))


def is_scalar(name: Json) -> bool:
    """Is this one of TOSCA's simple types, a list or a map?"""
    return isinstance(name, str) and name in _SCALARS


def merged(definitions: list[Mapping[str, Json]], key: str) -> dict[str, Json]:
    """One section of a type with what it inherits, e.g. all its `properties`."""
    found: dict[str, Json] = {}
    for definition in reversed(definitions):
        section = definition.get(key)
        found.update(section if isinstance(section, dict) else {})
    return found
