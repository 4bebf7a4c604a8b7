"""`reconciler apply`: converge once, and leave the status pages behind."""

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
    digest,
    duration,
)
from reconciler.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from reconciler.cli.terminal import Renderers
    from reconciler.run import Applied

_EXAMPLES = """\
examples:
  reconciler apply                                  everything that nobody has to look at first
  reconciler apply --plan plan.json                 exactly what that plan shows, or refuse (exit 8)
  reconciler apply --approve sha256:...             these held changes, and nothing else
  reconciler apply --only DataRule/cms/higgs --retry
                                                    try one object again, now
  reconciler apply --remove cms                     remove all that group cms has, through the usual gates
"""


def configure(parser: Parser) -> None:
    """Declare the arguments."""
    parser.description = (
        "Converge once: make the plan, record it, work it off, look again. Safe to kill, safe to repeat."
    )
    parser.epilog = _EXAMPLES
    add_repository(parser, positional=True)
    add_revision(parser)
    add_selection(parser)
    parser.add_argument(
        "--plan", metavar="FILE", help="apply exactly what this plan shows (JSON of `plan --out`), or refuse"
    )
    parser.add_argument(
        "--approve",
        type=digest,
        nargs="+",
        action="extend",
        default=[],
        metavar="DIGEST",
        help="release and apply exactly these held changes and nothing else: the digest of a plan, of a hold"
        " group or of one change",
    )
    parser.add_argument(
        "--wait",
        type=duration,
        metavar="DURATION",
        help="go on while things progress (90s, 15m, 2h; 0 only starts them;"
        " default: as reconciler.yaml says, 15m)",
    )
    parser.add_argument("--retry", action="store_true", help="with --only: do not wait for the next try")
    parser.add_argument("--remove", metavar="GROUP", default="", help="remove everything of this group")
    add_status(parser)
    add_format(parser, "text", "json", "markdown")
    add_out(parser)
    add_store(parser)


def add_status(parser: Parser) -> None:
    """Where the status pages go."""
    parser.add_argument(
        "--status", metavar="DIR", default="status", help="where the status pages go (default: status)"
    )
    parser.add_argument("--no-status", action="store_true", help="write no status pages")


def status_folder(arguments: argparse.Namespace) -> str:
    """Where the status pages go; empty: nowhere."""
    return "" if arguments.no_status else str(arguments.status)


def execute(arguments: argparse.Namespace) -> ExitCode:
    """Apply, show what was done, write the status pages."""
    from reconciler.cli import interrupt, terminal  # noqa: PLC0415  the line is loaded when a command walks it
    from reconciler.cli.request import plan_file, request_of  # noqa: PLC0415  ditto
    from reconciler.run import STOP, apply  # noqa: PLC0415  ditto

    _check(arguments)
    terminal.check_out(arguments)
    content = plan_file(arguments.plan) if arguments.plan else None
    with terminal.progress(arguments) as tell, interrupt.ends(STOP) as ended:
        request = request_of(
            arguments,
            tell,
            retry=arguments.retry,
            wait=arguments.wait,
            approve=tuple(arguments.approve),
            plan_file=content,
            remove_group=arguments.remove,
            status=status_folder(arguments),
        )
        applied = apply(request)
    terminal.notice(arguments, applied.notices)
    terminal.deliver(arguments, renderers(applied))
    return ended() or ExitCode(applied.exit_code)


def _check(arguments: argparse.Namespace) -> None:
    """Refuse what can't be meant together, before any work."""
    if arguments.retry and not arguments.only:
        raise UsageError("--retry needs --only REF", hint="name the objects that are tried again")
    if arguments.remove and (arguments.plan or arguments.only):
        raise UsageError(
            "--remove goes alone, without --plan and --only", hint="type: reconciler apply --help"
        )
    if arguments.plan and (arguments.only or arguments.target):
        raise UsageError(
            "--plan says what is applied, --only and --target would say it again",
            hint="make the plan with --only or --target",
        )


def renderers(applied: Applied) -> Renderers:
    """What the run did, in every form."""
    from reconciler.report.json import record_json, text  # noqa: PLC0415  after the work
    from reconciler.report.markdown import record_markdown  # noqa: PLC0415  ditto
    from reconciler.report.record import record_text  # noqa: PLC0415  ditto

    record, left, invalid = applied.record, applied.left, applied.invalid
    return {
        "text": lambda style: record_text(record, left, invalid=invalid, style=style),
        "json": lambda _style: text(record_json(record, invalid=invalid)),
        "markdown": lambda _style: record_markdown(record, left, invalid=invalid),
    }
