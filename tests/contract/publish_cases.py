"""The case of the publish driver: an upload that appears in a repository."""

from __future__ import annotations

import hashlib
import io
import tarfile
from dataclasses import replace
from pathlib import Path

from reconciler.drivers.publish import DRIVER
from reconciler.model import Observed, Ref, Resource, Target
from tests.contract.case import Arena, Case, made

SETTINGS = {"path": "software", "uploads": "uploads"}
REPOSITORY = "sw.example.org"


def archive(text: str) -> bytes:
    """A tar file that is the same bytes on every machine."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in (("bin/run", text.encode() * 100), ("share/empty", b"")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


ONE, TWO = archive("one"), archive("two")


def prepare(folder: Path) -> Target:
    """No repository yet, and uploads that wait."""
    uploads = folder / "uploads"
    uploads.mkdir()
    (uploads / "one.tar").write_bytes(ONE)
    (uploads / "two.tar").write_bytes(TWO)
    (uploads / "again.tar").write_bytes(ONE)
    (uploads / "любой ☃.tar").write_bytes(ONE)
    return Target("stratum0", "publish", "stratum0", SETTINGS)


def upload(target: Target, number: int) -> Resource:
    spec = {
        "repository": REPOSITORY,
        "path": f"root/6.{number}",
        "source": "one.tar",
        "sha256": hashlib.sha256(ONE).hexdigest(),
        "keepPrevious": 0,
    }
    resource = made(Ref("SoftwareUpload", "cms", f"root-{number}"), "SoftwareUpload", target, spec)
    return replace(resource, facts={"natural": natural_key(resource)})


def natural_key(resource: Resource) -> str:
    return f"{resource.spec['repository']}:{resource.spec['path']}"


def put_foreign(arena: Arena, resource: Resource) -> str:
    folder = Path(arena.data, "software", REPOSITORY, resource.spec["path"])
    folder.mkdir(parents=True)
    with tarfile.open(fileobj=io.BytesIO(ONE)) as tar:
        tar.extractall(folder, filter="data")
    return natural_key(resource)


def spoil(arena: Arena, thing: Observed) -> None:
    path = Path(arena.data, "software", REPOSITORY, thing.spec["path"], "bin/run")
    path.chmod(0o644)
    path.write_bytes(b"!" + path.read_bytes()[1:])


UPLOAD = Case(
    driver=DRIVER,
    primitive="SoftwareUpload",
    prepare=prepare,
    resource=upload,
    variants={"source": "again.tar", "keepPrevious": 2},
    together=({"source": "two.tar", "sha256": hashlib.sha256(TWO).hexdigest()},),
    immutable={"path": "root/other", "repository": "other.example.org"},
    spacious={"source": "любой ☃.tar"},
    foreign=put_foreign,
    damage=spoil,
)
CASES = (UPLOAD,)
