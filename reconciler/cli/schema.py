"""`reconciler schema`: the JSON Schemas that authors, editors and pipelines check files with."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from reconciler.cli.parser import Parser, refuse_unknown
from reconciler.errors import ExitCode

if TYPE_CHECKING:
    from reconciler.model import Json

_EXAMPLES = """\
examples:
  reconciler schema                                 the names of all kinds
  reconciler schema DataRule                        one schema that stands alone
  reconciler schema --write .schemas                all of them as files, for an editor
"""


def configure(parser: Parser) -> None:
    """Declare the arguments."""
    parser.description = "Print the JSON Schema of a kind (draft 2020-12), or write them all to a folder."
    parser.epilog = _EXAMPLES
    parser.add_argument("kind", metavar="KIND", nargs="?", help="a kind, or Settings for reconciler.yaml")
    parser.add_argument("--write", metavar="DIR", help="write the schemas to this folder, a file each")


def execute(arguments: argparse.Namespace) -> ExitCode:
    """Print one schema, or the names; or write files."""
    from reconciler import resources  # noqa: PLC0415  loaded for this command only
    from reconciler.cli import terminal  # noqa: PLC0415  ditto
    from reconciler.report.json import text  # noqa: PLC0415  ditto

    chosen = [arguments.kind] if arguments.kind else list(resources.schema_names())
    if arguments.write:
        _write(arguments.write, chosen)
    elif arguments.kind:
        terminal.emit(text(schema_of(arguments.kind)))
    else:
        terminal.emit("".join(f"{name}\n" for name in chosen))
    return ExitCode.CONVERGED


def schema_of(kind: str) -> dict[str, Json]:
    """The schema of a kind, standing alone. Raises UsageError with a guess."""
    from reconciler import resources  # noqa: PLC0415  loaded for this command only

    names = resources.schema_names()
    found = next((name for name in names if name.casefold() == kind.casefold()), None)
    if found is None:
        refuse_unknown("kind", kind, names)
    return resources.bundled(found)


def _write(name: str, kinds: list[str]) -> None:
    from pathlib import Path  # noqa: PLC0415  loaded for this option only

    from reconciler.cli import terminal  # noqa: PLC0415  ditto
    from reconciler.report.json import text  # noqa: PLC0415  ditto

    folder = Path(name)
    folder.mkdir(parents=True, exist_ok=True)
    for kind in kinds:
        terminal.write(folder / f"{kind}.json", text(schema_of(kind)))
