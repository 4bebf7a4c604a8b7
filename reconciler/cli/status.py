"""`reconciler status`: how every object stands, from the last run."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from reconciler.cli.parser import Parser, add_format, add_out, add_repository, add_revision, add_store, ref
from reconciler.errors import ExitCode

if TYPE_CHECKING:
    from reconciler.cli.terminal import Renderers
    from reconciler.model import Ref
    from reconciler.past import Standing

_EXAMPLES = """\
examples:
  reconciler status                                 what is not Ready in full, the rest counted
  reconciler status DataRule/cms/higgs              one object and its parts
  reconciler status --all --format json             everything, for machines
"""


def configure(parser: Parser) -> None:
    """Declare the arguments."""
    parser.description = (
        "How every object stands: Failed, Held, Blind, Waiting, Progressing, Suspended or Ready, as the last"
        " run left it; with the reason, since when, who must act, and what to type next."
    )
    parser.epilog = _EXAMPLES
    parser.add_argument("ref_", metavar="REF", nargs="?", type=ref, help="one object: Kind/group/name")
    add_repository(parser, positional=False)
    add_revision(parser)
    parser.add_argument("--all", action="store_true", help="list every Ready object, too")
    add_format(parser, "text", "json", "markdown")
    add_out(parser)
    add_store(parser)


def execute(arguments: argparse.Namespace) -> ExitCode:
    """Read the last record and show how things stand. Always 0: the exit code of a run is the run's."""
    from reconciler.cli import terminal  # noqa: PLC0415  the line is loaded when a command walks it
    from reconciler.cli.request import request_of  # noqa: PLC0415  ditto
    from reconciler.past import standing  # noqa: PLC0415  ditto

    terminal.check_out(arguments)
    request = request_of(arguments, lambda _event, _facts: None)
    found = standing(request)
    if arguments.ref_:
        check_known(arguments.ref_, found)
    terminal.deliver(arguments, renderers(found, arguments))
    return ExitCode.CONVERGED


def check_known(wanted: Ref, found: Standing) -> None:
    """Raise UsageError with a guess where neither git nor a run knows this object or part."""
    from reconciler.cli.parser import refuse_unknown  # noqa: PLC0415  only where a Ref was typed

    known = {
        *found.declared,
        *found.session.valid.invalid,
        *found.conditions,
        *(seen.object for seen in found.conditions),
    }
    if wanted not in known and wanted.object not in known:
        refuse_unknown("object", str(wanted), map(str, known))


def of(wanted: Ref | None, entries: Mapping[Ref, Any]) -> dict[Ref, Any]:
    """What concerns this object or part; everything without one."""
    if wanted is None:
        return dict(entries)
    return {
        key: entries[key] for key in entries if key == wanted or (not wanted.part and key.object == wanted)
    }


def _unseen(declared: Iterable[Ref], conditions: Mapping[Ref, Any]) -> set[Ref]:
    return set(declared) - {seen.object for seen in conditions}


def renderers(found: Standing, arguments: argparse.Namespace) -> Renderers:
    """How things stand, in every form."""
    from reconciler.report.json import standing_json, text  # noqa: PLC0415  after the work
    from reconciler.report.pages import status_markdown  # noqa: PLC0415  ditto
    from reconciler.report.standing import READY_SHOWN, status_text  # noqa: PLC0415  ditto

    conditions = of(arguments.ref_, found.conditions)
    declared = of(arguments.ref_, found.declared)
    last, now = found.last_run, found.session.now
    unseen = _unseen(declared, conditions)
    ready = len(conditions) if arguments.all or arguments.ref_ else READY_SHOWN
    return {
        "text": lambda style: status_text(conditions, last, now, unseen=unseen, ready=ready, style=style),
        "json": lambda _style: text(standing_json(conditions, last, declared)),
        "markdown": lambda _style: status_markdown(conditions, last),
    }
