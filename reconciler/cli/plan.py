"""`reconciler plan`: read the world and show what would change. Writes nothing."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from reconciler.cli.parser import (
    Parser,
    add_format,
    add_out,
    add_repository,
    add_revision,
    add_selection,
    add_store,
)
from reconciler.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from reconciler.cli.terminal import Renderers
    from reconciler.line.session import Request
    from reconciler.run import Planned

_EXAMPLES = """\
examples:
  reconciler plan                                   of this repository, at HEAD
  reconciler plan --out plan.json                   to apply exactly this: apply --plan plan.json
  reconciler plan --only SoftwareUpload/cms/root    of one object
  reconciler plan --target recas                    of one site
  reconciler plan --against origin/main --format markdown
                                                    what a merge request means, without credentials
"""


def configure(parser: Parser) -> None:
    """Declare the arguments."""
    parser.description = (
        "Compare what the repository declares with what exists, and show what would change, where and why."
        " Reads only."
    )
    parser.epilog = _EXAMPLES
    add_repository(parser, positional=True)
    add_revision(parser)
    add_selection(parser)
    parser.add_argument(
        "--against",
        metavar="REF",
        default="",
        help="what this commit means compared with REF, from git alone: no network, no credentials",
    )
    parser.add_argument("--exit-code", action="store_true", help="end with 2 when changes are pending")
    add_format(parser, "text", "json", "markdown")
    add_out(parser)
    add_store(parser)


def execute(arguments: argparse.Namespace) -> ExitCode:
    """Make the plan, show it, and say by the exit code how it stands."""
    from reconciler.cli import terminal  # noqa: PLC0415  the line is loaded when a command walks it
    from reconciler.cli.request import request_of  # noqa: PLC0415  ditto

    if arguments.against and arguments.deep:
        raise UsageError("--deep reads the world, --against does not", hint="leave one of them out")
    terminal.check_out(arguments)
    with terminal.progress(arguments) as tell:
        request = request_of(arguments, tell)
        planned = _planned(request, arguments.against)
    terminal.notice(arguments, planned.notices)
    terminal.deliver(arguments, renderers(planned))
    code = ExitCode(planned.exit_code)
    return ExitCode.CONVERGED if code is ExitCode.PENDING and not arguments.exit_code else code


def _planned(request: Request, against: str) -> Planned:
    """The live plan, or what the change from `against` means."""
    if against:
        from reconciler.offline import intent  # noqa: PLC0415  one of the two is loaded

        return intent(request, against)
    from reconciler.run import plan  # noqa: PLC0415  ditto

    return plan(request)


def renderers(planned: Planned) -> Renderers:
    """The plan in every form."""
    from reconciler.report.json import plan_json, text  # noqa: PLC0415  after the plan is made
    from reconciler.report.markdown import plan_markdown  # noqa: PLC0415  ditto
    from reconciler.report.text import plan_text  # noqa: PLC0415  ditto

    plan, conditions, invalid, objects = planned.plan, planned.conditions, planned.invalid, planned.objects
    return {
        "text": lambda style: plan_text(plan, conditions, objects, invalid=invalid, style=style),
        "json": lambda _style: text(plan_json(plan, conditions, invalid=invalid)),
        "markdown": lambda _style: plan_markdown(plan, conditions, objects, invalid=invalid),
    }
