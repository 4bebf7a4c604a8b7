"""Part of `validate`: the catalogue and the roles of a repository, and what they say to its Deployments.

Services come from the snapshot that is judged, roles from the trusted one and from what ships with us. What a
Deployment alone can't know (is there such a service, do the inputs fit) is kept by its blob and the digest
of the library.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from reconciler.canonical import digest_of
from reconciler.checks.schema import Finding
from reconciler.checks.verdicts import Candidate, Kinds, steps_to
from reconciler.errors import Problem
from reconciler.kind import Kind
from reconciler.library import EMPTY, Library
from reconciler.model import Declared
from reconciler.printable import printable
from reconciler.source.parse import LIMIT
from reconciler.source.snapshot import Snapshot

if TYPE_CHECKING:
    from reconciler.playbook.roles import RoleFacts


def library_of(
    snapshot: Snapshot, trusted: Snapshot, objects: Iterable[Candidate]
) -> tuple[Library, list[Problem]]:
    """The library, and what is wrong in it. Nothing is read where nobody uses it and none is there."""
    used = any(entry.ref is not None and entry.ref.kind == "Deployment" for entry in objects)
    if not used and not snapshot.library and not trusted.library:
        return EMPTY, []
    from reconciler.playbook.roles import builtin_roles  # noqa: PLC0415  many repositories have no machines
    from reconciler.source.catalogue import catalogue_of  # noqa: PLC0415  ditto

    catalogue = catalogue_of(_files(snapshot, "catalogue/"))
    own, problems = _roles(_files(trusted, "roles/"))
    if trusted is not snapshot:
        problems += _roles(_files(snapshot, "roles/"))[1]
    problems = [*catalogue.problems, *problems]
    broken = frozenset("/".join(problem.path.split("/")[:2]) for problem in problems)
    roles = {name: role for name, role in {**builtin_roles(), **own}.items() if f"roles/{name}" not in broken}
    return Library(catalogue.services, roles, broken), problems


def _roles(files: Mapping[str, bytes]) -> tuple[dict[str, RoleFacts], list[Problem]]:
    """The roles below `roles/`, by name; what is wrong with one is no matter of the others."""
    from reconciler.playbook.roles import read_role  # noqa: PLC0415  ditto

    by_role: dict[str, dict[str, bytes]] = {}
    for path, data in files.items():
        _, name, inside = path.split("/", 2) if path.count("/") > 1 else ("", "", "")
        if name:
            by_role.setdefault(name, {})[inside] = data
    problems = [_too_large(path) for path, data in files.items() if len(data) > LIMIT]
    roles: dict[str, RoleFacts] = {}
    for name, own in by_role.items():
        role, wrong = read_role(name, own)
        problems += wrong
        if role is not None and all(len(data) <= LIMIT for data in own.values()):
            roles[name] = role
    return roles, problems


def _too_large(path: str) -> Problem:
    """Of such a file only the beginning is read: half a program must not be run."""
    message = f"the file is larger than {LIMIT // 2**20} MiB"
    return Problem(printable(path), 1, 1, "Limit", message, "let the role download it, by its checksum")


def newer_versions(declared: Iterable[Declared], library: Library) -> Iterator[str]:
    """What is said of Deployments whose service has a newer version than the one that they name."""
    for entry in declared:
        if entry.ref.kind != "Deployment":
            continue
        name, _, version = entry.spec["service"].partition("@")
        newest = next(iter(library.services.get(name, ())), "")
        if version and newest and version != newest:
            yield f"{entry.ref} has {name} {version}; {newest} is available"


def _files(snapshot: Snapshot, prefix: str) -> Mapping[str, bytes]:
    paths = sorted(path for path in snapshot.library if path.startswith(prefix))
    return dict(zip(paths, snapshot.read(paths), strict=True))


def check_library(objects: list[Candidate], kinds: Kinds, library: Library, snapshot: Snapshot) -> None:
    """What the library says to each valid object. The last answer is kept beside the verdict of its blob."""
    cache, known = snapshot.cache, ""
    for entry in objects:
        declared = entry.declared
        if declared is None or entry.findings or not _asks(kinds[declared.ref.kind]):
            continue
        known = known or _digest(library)
        verdicts, name = cache.entries[entry.document.blob].verdicts, f"library {entry.document.index}"
        if name not in verdicts or verdicts[name][0] != known:
            found = kinds[declared.ref.kind].check_library(declared, library)
            verdicts[name] = [known, [list(one) for one in found]]
            cache.changed = True
        entry.findings.extend(_findings(entry, verdicts[name][1]))


def _asks(kind: Kind[Any]) -> bool:
    return type(kind).check_library is not Kind.check_library


def _findings(entry: Candidate, answers: Iterable[Any]) -> Iterator[Finding]:
    for path, message, hint in answers:
        yield Finding(steps_to(entry.document.value, path), "Invalid", message, hint)


def _digest(library: Library) -> str:
    services = {
        name: {v: entry.digest for v, entry in versions.items()}
        for name, versions in library.services.items()
    }
    roles = {name: role.content for name, role in library.roles.items()}
    return digest_of([services, roles, sorted(library.broken)])
