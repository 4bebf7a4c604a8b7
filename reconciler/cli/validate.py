"""`reconciler validate`: check the files of the working tree, offline; all problems in one pass."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from reconciler.cli.parser import Parser, add_format, add_out, add_repository, add_trusted
from reconciler.errors import ExitCode

if TYPE_CHECKING:
    from reconciler.cli.terminal import Renderers
    from reconciler.offline import Checked

_EXAMPLES = """\
examples:
  reconciler validate                               the files as they are now, committed or not
  reconciler validate --against origin/main         and what only a change can break
  reconciler validate --format gitlab --out quality.json
                                                    as GitLab shows it beside the changed lines
"""


def configure(parser: Parser) -> None:
    """Declare the arguments."""
    parser.description = (
        "Check syntax, schemas, references and ownership of all files, offline."
        " Every problem is a path:line:column, what is wrong and what to do."
    )
    parser.epilog = _EXAMPLES
    add_repository(parser, positional=True)
    add_trusted(parser)
    parser.add_argument(
        "--against", metavar="REF", default="", help="check as well what only a change from REF can break"
    )
    add_format(parser, "text", "json", "junit", "gitlab")
    add_out(parser)


def execute(arguments: argparse.Namespace) -> ExitCode:
    """Check, show all problems, and end with 3 when there are any."""
    from reconciler.cli import terminal  # noqa: PLC0415  the line is loaded when a command walks it
    from reconciler.offline import check  # noqa: PLC0415  ditto

    terminal.check_out(arguments)
    checked = check(arguments.repository, arguments.against, arguments.trusted_ref)
    terminal.notice(arguments, checked.notices)
    terminal.deliver(arguments, renderers(checked))
    return ExitCode.INVALID if checked.problems else ExitCode.CONVERGED


def renderers(checked: Checked) -> Renderers:
    """What was found, in every form."""
    from reconciler.report import problems  # noqa: PLC0415  after the work
    from reconciler.report.json import text  # noqa: PLC0415  ditto

    found, objects, files = checked.problems, checked.objects, checked.files
    return {
        "text": lambda style: problems.problems_text(found, objects, files, style=style),
        "json": lambda _style: text(problems.problems_report(found, objects, files)),
        "junit": lambda _style: problems.junit(found, files),
        "gitlab": lambda _style: text(problems.code_quality(found)),
    }
