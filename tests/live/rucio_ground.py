"""What the stories of data at Rucio begin with: elements of ours, an archive of others, quality classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.live.lake_at_rucio import ELEMENTS, OWNER
from tests.live.rucio_bed.bed import opened
from tests.live.rucio_bed.database import POSTGRESQL
from tests.live.rucio_lab import Lab

ARCHIVE: Final = "ARCHIVE"
FAR: Final = 9
# what moves, repairs and removes; the other daemons count, and cost as much again
DAEMONS: Final = (
    "judge-injector",
    "judge-evaluator",
    "judge-cleaner",
    "judge-repairer",
    "conveyor-submitter",
    "conveyor-poller",
    "conveyor-finisher",
    "reaper",
)
CLASSES: Final[Mapping[str, Mapping[str, Any]]] = {
    "spinning": {"latency": "100ms", "placement": ["IT"], "expression": "quality=disk"},
    "robot": {"latency": "2h", "redundancy": 2, "placement": ["IT"], "expression": "quality=tape"},
}
SETTINGS: Final = f"""\
apiVersion: reconciler/v1
owner: {OWNER}
guards: {{removal: {{minimum: 1000, share: 100}}, run: {{minimum: 1000, share: 100}}}}
"""
_WAYS: Final = {"read": 1, "write": 1, "delete": 1}
_THIRD_PARTY: Final = {"third_party_copy_read": 1, "third_party_copy_write": 1}


@contextmanager
def ground(root: Path, scope: str) -> Iterator[Lab]:
    """A new Rucio on PostgreSQL with the sample's elements, applied, and a scope that is ours."""
    with opened(POSTGRESQL, elements=False) as bed:
        lab = Lab(bed, root, bed.new_account(admin=True, room=False))
        lab.client.add_scope(lab.account, scope)
        for element in ELEMENTS:
            (lab.elements / element).mkdir(parents=True)
        declare_ground(lab)
        ran = lab.applied()
        assert (ran.code, ran.left) == (0, ()), ran
        yield lab


def declare_ground(lab: Lab) -> None:
    """Settings, groups, providers, elements and quality classes; no data."""
    lab.take_sample()
    lab.write("reconciler.yaml", SETTINGS)
    for path in (lab.clone / "data").glob("*/*.yaml"):
        if path.parent.name != "elements":
            path.unlink()
    lab.edit("data/elements/cnaf-tape.yaml", "target: cnaf.tape", "target: cnaf.tape\n  type: tape")
    for name, spec in CLASSES.items():
        lab.declare(f"data/classes/{name}.yaml", "QualityClass", name, spec)
    lab.commit("begin")


def put_uploads(lab: Lab, folders: Mapping[str, Mapping[str, bytes]]) -> None:
    """Folders of files below `uploads`."""
    for folder, files in folders.items():
        place = lab.uploads / "data" / folder
        place.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (place / name).write_bytes(content)


def fill_archive(lab: Lab, account: str, scope: str, datasets: Mapping[str, Mapping[str, bytes]]) -> None:
    """An element that we do not declare, far away, has all data; a rule of its operators keeps them there."""
    client, (ways,) = lab.client, lab.settings()["elements"]["protocols"]
    client.add_rse(ARCHIVE, deterministic=True)
    place = {"prefix": str(lab.elements / ARCHIVE), "port": 0, "impl": "rucio.rse.protocols.posix.Default"}
    domains = {"lan": _WAYS, "wan": {**_WAYS, **_THIRD_PARTY}}
    client.add_protocol(ARCHIVE, {**ways, **place, "domains": domains, "extended_attributes": None})
    client.add_rse_attribute(ARCHIVE, "fts", lab.bed.fts.url)
    for element in ELEMENTS:
        client.add_distance(ARCHIVE, element, {"distance": FAR})
        client.add_distance(element, ARCHIVE, {"distance": FAR})
    for name, files in datasets.items():
        did = lab.bed.upload_dataset(scope, name, files, ARCHIVE)
        client.add_replication_rule([did], 1, ARCHIVE, account=account, comment="the archive's")
