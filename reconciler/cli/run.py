"""`reconciler run`: the service. Passes by the schedule of reconciler.yaml, until it is stopped."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from reconciler.cli.apply import add_status
from reconciler.cli.parser import Parser, add_format, add_repository, add_revision, add_store, duration
from reconciler.errors import ExitCode

if TYPE_CHECKING:
    from reconciler.run import Applied

_EXAMPLES = """\
examples:
  reconciler run https://git.example.org/cloud.git --ref main
"""


def configure(parser: Parser) -> None:
    """Declare the arguments."""
    parser.description = (
        "Make a pass as often as `schedule` in reconciler.yaml says, until stopped by Ctrl-C or SIGTERM."
        " A pass is what `apply` does."
    )
    parser.epilog = _EXAMPLES
    add_repository(parser, positional=True)
    add_revision(parser)
    parser.add_argument(
        "--wait",
        type=duration,
        metavar="DURATION",
        help="how long one pass goes on while things progress (default: as reconciler.yaml says)",
    )
    add_status(parser)
    add_format(parser, "text", "json", "markdown")
    add_store(parser)


def execute(arguments: argparse.Namespace) -> ExitCode:
    """Serve until stopped."""
    from reconciler.cli.apply import renderers, status_folder  # noqa: PLC0415  loaded when it is walked
    from reconciler.cli.request import request_of  # noqa: PLC0415  ditto
    from reconciler.cli.terminal import deliver, notice, progress  # noqa: PLC0415  ditto
    from reconciler.service import serve  # noqa: PLC0415  ditto

    def report(applied: Applied) -> None:
        notice(arguments, applied.notices)
        deliver(arguments, renderers(applied))

    with progress(arguments) as tell:
        return ExitCode(
            serve(request_of(arguments, tell, wait=arguments.wait, status=status_folder(arguments)), report)
        )
