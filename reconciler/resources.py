"""The files that ship with us, schemas and Ansible roles: found in a checkout and in a wheel alike."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from reconciler.model import Json

_COMMON = "metadata.json"


def schemas_folder() -> Path:
    """Where the schemas are: inside the package when installed, beside it in a checkout."""
    package = Path(__file__).parent
    inside = package / "schemas"
    return inside if inside.is_dir() else package.parent / "schemas"


def roles_folder() -> Path:
    """Where the Ansible roles are that ship with us: inside the package when installed, beside it else."""
    package = Path(__file__).parent
    inside = package / "roles"
    return inside if inside.is_dir() else package.parent / "ansible" / "roles"


@lru_cache(maxsize=256)
def schema(name: str) -> dict[str, Json]:
    """The JSON Schema of a kind (`Provider`), of `Settings`, or the shared `metadata`. Not to be changed.

    Raises KeyError with the names there are.
    """
    try:
        content: dict[str, Json] = json.loads((schemas_folder() / f"{name}.json").read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise KeyError(f"no schema {name}: there are {', '.join(schema_names())}") from error
    return content


@lru_cache(maxsize=1)
def schema_names() -> tuple[str, ...]:
    """The names of all schemas of kinds and settings, sorted; not the shared `metadata`."""
    names = sorted(path.stem for path in schemas_folder().glob("*.json"))
    return tuple(name for name in names if name != "metadata")


@lru_cache(maxsize=256)
def bundled(name: str) -> dict[str, Json]:
    """The schema of a kind with the shared definitions inside, so that it stands alone. Not to be changed."""
    content = schema(name)
    definitions = {**schema("metadata")["$defs"], **content.get("$defs", {})}
    whole: dict[str, Json] = _local({**content, "$defs": definitions})
    return whole


def _local(value: Any) -> Any:
    """Point `metadata.json#/$defs/x` to the definition in the same document."""
    if isinstance(value, list):
        return [_local(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    return {
        key: entry.removeprefix(_COMMON) if key == "$ref" and isinstance(entry, str) else _local(entry)
        for key, entry in value.items()
    }
