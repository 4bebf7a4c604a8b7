"""`reconciler history`: past runs, and what each changed."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from reconciler.cli.parser import Parser, add_format, add_repository, add_revision, add_store, ref
from reconciler.errors import ExitCode, UsageError

_EXAMPLES = """\
examples:
  reconciler history                                the last 20 runs
  reconciler history DataRule/cms/higgs             what changed one object, and when
  reconciler history --limit 100 --format json
"""


def configure(parser: Parser) -> None:
    """Declare the arguments."""
    parser.description = "Past runs, newest first: when, of which commit, what each changed, how it ended."
    parser.epilog = _EXAMPLES
    parser.add_argument("ref_", metavar="REF", nargs="?", type=ref, help="only what changed this object")
    add_repository(parser, positional=False)
    add_revision(parser)
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="how many runs (default: 20)")
    add_format(parser, "text", "json")
    add_store(parser)


def execute(arguments: argparse.Namespace) -> ExitCode:
    """Show the last runs."""
    from reconciler.cli import terminal  # noqa: PLC0415  the line is loaded when a command walks it
    from reconciler.cli.request import request_of  # noqa: PLC0415  ditto
    from reconciler.past import history  # noqa: PLC0415  ditto
    from reconciler.report.history import history_json, history_text  # noqa: PLC0415  ditto
    from reconciler.report.json import text  # noqa: PLC0415  ditto

    if arguments.limit < 1:
        raise UsageError(f"--limit {arguments.limit}: expected a number from 1")
    now = arguments.now or datetime.now(UTC)
    request = request_of(arguments, lambda _event, _facts: None)
    past = history(request, arguments.ref_, arguments.limit)
    terminal.deliver(
        arguments,
        {
            "text": lambda style: history_text(past, now, style=style),
            "json": lambda _style: text(history_json(past)),
        },
    )
    return ExitCode.CONVERGED
