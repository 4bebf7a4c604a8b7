"""Data that come to Rucio from a folder: who brings them, and to which RSE. Pure; for expand.

A data set is brought once for each Rucio, by the rule that comes first (see `claims`) of those that name a
folder for it; the others need what that one brought.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reconciler.kind import World
from reconciler.model import Condition, Declared, Ref, Resource, Word
from reconciler.placement.choose import Candidate, choose
from reconciler.placement.claims import claim_of, rivals_of
from reconciler.placement.copies import Element, is_rucio, lake
from reconciler.placement.ground import ground_of, rse_ref, rucio_of
from reconciler.placement.neighbours import not_yet_there
from reconciler.placement.primitives import MAIN, UPLOAD


def upload_ref(declared: Declared, server: str, world: World) -> Ref | None:
    """The upload that a rule needs; None: its data are in Rucio already."""
    bringing = _bringing(declared, server, world) if declared.spec.get("source") else None
    return bringing.ref.with_part(MAIN, UPLOAD) if bringing else None


def upload_for(
    declared: Declared, target: str, elements: Sequence[Element], world: World
) -> Iterator[Resource | Condition]:
    """The upload of a rule that names a folder, if it is the one that brings the data."""
    source = declared.spec.get("source")
    if not source:
        return
    server = ground_of(declared, world).server
    bringing = _bringing(declared, server, world)
    if bringing.ref == declared.ref:
        yield from _upload(declared, target, elements, server, world)
    elif bringing.spec["source"] != source:
        message = (
            f"{bringing.ref} ({bringing.source}) brings {declared.spec['dataset']} from "
            f"'{bringing.spec['source']}', this file from '{source}'; a data set has one content"
        )
        yield Condition(declared.ref, Word.FAILED, "SourcesDiffer", message, "author")


def _bringing(declared: Declared, server: str, world: World) -> Declared:
    """The rule that brings the data set to a server: the first of those that name a folder."""
    rivals = [pair for pair in rivals_of(declared, server, world) if pair[0].spec.get("source")]
    if not rivals:
        return declared
    pairs = [(declared, ground_of(declared, world)), *rivals]
    return min(pairs, key=lambda pair: claim_of(pair[0], pair[1], world))[0]


def _upload(
    declared: Declared, target: str, elements: Sequence[Element], server: str, world: World
) -> Iterator[Resource | Condition]:
    name = _element(declared, elements, world)
    if not name and is_rucio(target, world):
        message = (
            "`source` is uploaded to an element that the rule selects, and none of them is declared here"
        )
        yield Condition(declared.ref, Word.FAILED, "NoElement", f"{message}; declare one", "author")
        return
    dataset = declared.spec["dataset"]
    facts = {
        "natural": dataset,
        "element": lake(world).elements[name].rse if name else "",
        "uploads": _folders(declared, target, server, world),
        "mounts": list(world.targets[target].settings.get("mounts", ())),
    }
    yield Resource(
        declared.ref.with_part(MAIN, UPLOAD),
        UPLOAD,
        target,
        {"dataset": dataset, "source": declared.spec["source"]},
        declared.source,
        declared.metadata,
        frozenset((*([rse_ref(name)] if name else []), *not_yet_there(declared, server, world))),
        facts=facts,
    )


def _element(declared: Declared, elements: Sequence[Element], world: World) -> str:
    """One of those that the rule selects: disks before tapes, open ones before closed ones."""
    specs = {element.name: world.declared[element.ref].spec for element in elements}
    disks = [element for element in elements if specs[element.name].get("type") != "tape"]
    open_disks = [element for element in disks if not element.closed]
    for wanted in (open_disks, disks, elements):
        chosen = choose(declared.ref, [Candidate(element.name) for element in wanted], 1).chosen
        if chosen:
            return chosen[0]
    return ""


def _folders(declared: Declared, target: str, server: str, world: World) -> list[str]:
    """The `uploads` of the targets that are this Rucio and serve the group, its own first."""
    names = rucio_of(server, world).targets
    places = [
        world.targets[name] for name in sorted({*names, target}, key=lambda name: (name != target, name))
    ]
    near = [place.settings.get("uploads") for place in places if place.serves(declared.ref.group)]
    return list(dict.fromkeys(folder for folder in near if folder))
