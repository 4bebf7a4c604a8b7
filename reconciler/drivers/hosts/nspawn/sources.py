"""Where this host gets its Debian packages from: its apt sources, read in both of their formats.

Formats: sources.list(5) of apt, one-line style and deb822 style.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

MIRROR: Final = "http://deb.debian.org/debian"
SECURITY: Final = "http://deb.debian.org/debian-security"
_ONE_LINE: Final = re.compile(r"^\s*deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+(.+)$")


class Source(NamedTuple):
    """One place of packages: the URL of the archive, a suite in it, its components."""

    url: str
    suite: str
    components: tuple[str, ...]


def source_lines(suite: str, mirror: str = "", folder: str = "/etc/apt") -> tuple[str, ...]:
    """The apt sources of a tree of this suite: release, updates, security; main only.

    From this host's own sources where they know the suite; else from the well-known addresses.
    """
    known = {found.suite: found.url for found in reversed(list(sources(Path(folder)))) if _usable(found)}
    archive = mirror or known.get(suite, MIRROR)
    security = known.get(f"{suite}-security", SECURITY)
    places = ((archive, suite), (archive, f"{suite}-updates"), (security, f"{suite}-security"))
    return tuple(f"deb {url} {name} main" for url, name in places)


def _usable(source: Source) -> bool:
    return "main" in source.components and source.url.startswith(("http://", "https://"))


def sources(folder: Path) -> Iterator[Source]:
    """All sources of an apt configuration folder, in apt's order. Files that can't be read are left out."""
    for file in [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))]:
        if not file.is_file():
            continue
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        if file.suffix == ".list":
            yield from _one_line(lines)
        elif file.suffix == ".sources":
            yield from _deb822(lines)


def _one_line(lines: Iterable[str]) -> Iterator[Source]:
    for line in lines:
        match = _ONE_LINE.match(line.split("#")[0])
        if match:
            yield Source(match[1].rstrip("/"), match[2], tuple(match[3].split()))


def _deb822(lines: Iterable[str]) -> Iterator[Source]:
    for stanza in _stanzas(lines):
        if "deb" not in stanza.get("types", ()) or "no" in stanza.get("enabled", ()):
            continue
        for url in stanza.get("uris", ()):
            for suite in stanza.get("suites", ()):
                yield Source(url.rstrip("/"), suite, tuple(stanza.get("components", ())))


def _stanzas(lines: Iterable[str]) -> Iterator[dict[str, list[str]]]:
    """Field name in small letters → its words. A line that begins with a blank continues the last field."""
    stanza: dict[str, list[str]] = {}
    field = ""
    for line in [*lines, ""]:
        if line.startswith("#"):
            continue
        if not line.strip():
            if stanza:
                yield stanza
            stanza = {}
        elif line[0].isspace():
            stanza.setdefault(field, []).extend(line.split())
        else:
            name, _, words = line.partition(":")
            field = name.strip().lower()
            stanza[field] = words.split()
