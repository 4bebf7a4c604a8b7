"""The catalogue of a repository: path → bytes of the files below `catalogue/` become services.

`catalogue/<service>/template.yaml` (or tosca.yaml), `parameters.yml`, `metadata.yml`; older versions that
deployments may still pin lie in `catalogue/<service>/<version>/` with the same names. Other files are left
alone. One bad service never hurts the others.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files as resources
from typing import Final

from reconciler.errors import Problem
from reconciler.printable import printable
from reconciler.source.git import Repository
from reconciler.source.parse import LIMIT
from reconciler.strict_yaml import YamlError
from reconciler.strict_yaml.tosca import read_tosca
from reconciler.tosca.services import Catalogue, Parsed, Service, order_of, read_service
from reconciler.tosca.types import Types, types_of

FOLDER: Final = "catalogue"
_FILES: Final[Mapping[str, str]] = {
    f"{name}.{ending}": part
    for name, part in (
        ("template", "template"), ("tosca", "template"),
        ("parameters", "parameters"), ("metadata", "metadata"),
    )
    for ending in ("yaml", "yml")
}  # fmt: skip
_PLAIN: Final = ("100644", "100755")  # how git calls plain files
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def is_catalogue_file(path: str) -> bool:
    """Is this a file that `read_catalogue` reads? Others need not be given to it."""
    folders, _, name = path.rpartition("/")
    return path.startswith(f"{FOLDER}/") and name in _FILES and folders.count("/") in (1, 2)


def catalogue_of(files: Mapping[str, bytes]) -> Catalogue:
    """All services of a repository, from its files: path → content."""
    return read_catalogue({path: data for path, data in files.items() if is_catalogue_file(path)})


def read_catalogue(files: Mapping[str, bytes]) -> Catalogue:
    """Services by name and version, the newest first, and the problems of those that can't be read."""
    folders: dict[str, dict[str, bytes]] = defaultdict(dict)
    for path in sorted(files):
        folders[path.rpartition("/")[0]][path] = files[path]
    problems: list[Problem] = []
    found: dict[str, list[Service]] = defaultdict(list)
    for folder, content in folders.items():
        read = _service(folder, content)
        if isinstance(read, Service):
            found[read.name].append(read)
        else:
            problems.extend(read)
    services = {name: _versions(entries, problems) for name, entries in sorted(found.items())}
    return Catalogue(services, tuple(sorted(problems)))


def _versions(entries: Iterable[Service], problems: list[Problem]) -> dict[str, Service]:
    """One service's versions, the newest first; the second of one version is a problem."""
    found: dict[str, Service] = {}
    for service in sorted(entries, key=lambda entry: (order_of(entry.version), entry.path), reverse=True):
        if service.version in found:
            other = found[service.version].path
            message = f"the version {service.version} of {service.name} is also in {other}"
            problems.append(Problem(service.path, 1, 1, "Catalogue", message, "raise `template_version`"))
        else:
            found[service.version] = service
    return found


def _service(folder: str, files: Mapping[str, bytes]) -> Service | tuple[Problem, ...]:
    """The service in one folder."""
    _, name, *rest = folder.split("/")
    first = next(iter(files))
    if not _NAME.fullmatch(name):
        message = "the folder of a service must have a name of lower-case letters, digits and hyphens"
        return (_problem(first, message, "rename it"),)
    parts, problems = _parsed(files)
    if problems:
        return problems
    template = parts.get("template")
    if template is None:
        return (_problem(first, "there is no template.yaml beside it", "add the template"),)
    service = read_service(
        name, template, parts.get("parameters"), parts.get("metadata"), _digest(folder, files), own_types()
    )
    if isinstance(service, Service) and rest and rest != [service.version]:
        message = f"the folder says version {printable(rest[0])}, the template {service.version}"
        return (_problem(template.path, message, "give both the same version"),)
    return service


def _parsed(files: Mapping[str, bytes]) -> tuple[dict[str, Parsed], tuple[Problem, ...]]:
    found: dict[str, Parsed] = {}
    problems: list[Problem] = []
    for path, data in files.items():
        part = _FILES[path.rpartition("/")[2]]
        if part in found:
            problems.append(_problem(path, f"there is also {found[part].path}", "keep one of the two"))
            continue
        try:
            found[part] = Parsed(path, *read_tosca(data))
        except YamlError as error:
            place = (printable(path), error.line, error.column)
            problems.append(Problem(*place, error.code, printable(error.message), printable(error.hint)))
    return found, tuple(problems)


def _problem(path: str, message: str, hint: str) -> Problem:
    return Problem(printable(path), 1, 1, "Catalogue", message, hint)


def _digest(folder: str, files: Mapping[str, bytes]) -> str:
    """12 hex digits over names and content, whatever folder they lie in."""
    total = hashlib.sha256()
    for path, data in sorted(files.items()):
        total.update(f"{path.removeprefix(folder)}\0{len(data)}\0".encode() + data)
    return total.hexdigest()[:12]


@cache
def own_types() -> Types:
    """Our type definitions, which ship beside `reconciler.tosca`."""
    folder = resources("reconciler.tosca") / "types"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".yaml"))
    return types_of({name: read_tosca((folder / name).read_bytes())[0] for name in names})


def catalogue_at(repository: Repository, revision: str) -> Catalogue:
    """The catalogue of a commit, which `repository.resolve` gave. Symbolic links are not followed."""
    wanted = {
        entry.path: entry.blob
        for entry in repository.tree(revision)
        if entry.mode in _PLAIN and is_catalogue_file(entry.path)
    }
    contents = repository.read(list(wanted.values()), LIMIT)
    return read_catalogue({path: data for path, (_, data) in zip(wanted, contents, strict=True)})
