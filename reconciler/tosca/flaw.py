"""One thing that is wrong in a file of the catalogue, before its line is looked up."""

from __future__ import annotations

from dataclasses import dataclass

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is wrong at which path of keys and indexes in a template, and what to do about it."""

    path: Path
    message: str
    hint: str = ""


class FlawError(Exception):
    """Carries one flaw to where flaws are collected."""

    def __init__(self, path: Path, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.flaw = Flaw(path, message, hint)


def dotted(path: Path) -> str:
    """A path as people read it: `topology_template.outputs.url`."""
    return ".".join(map(str, path))
