"""`reconciler outputs`: what an object gives its users: endpoints, references to credentials."""

from __future__ import annotations

import argparse

from reconciler.cli.parser import Parser, add_format, add_repository, add_revision, add_store, ref
from reconciler.errors import ExitCode

_EXAMPLES = """\
examples:
  reconciler outputs SoftwareUpload/cms/root
  reconciler outputs SoftwareUpload/cms/root --format json
"""


def configure(parser: Parser) -> None:
    """Declare the arguments."""
    parser.description = (
        "What an object gives its users, as the last run saw it. Secrets are references, never values."
    )
    parser.epilog = _EXAMPLES
    parser.add_argument("ref_", metavar="REF", type=ref, help="the object: Kind/group/name")
    add_repository(parser, positional=False)
    add_revision(parser)
    add_format(parser, "text", "json")
    add_store(parser)


def execute(arguments: argparse.Namespace) -> ExitCode:
    """Show the outputs of one object."""
    from reconciler.cli import terminal  # noqa: PLC0415  the line is loaded when a command walks it
    from reconciler.cli.request import request_of  # noqa: PLC0415  ditto
    from reconciler.cli.status import check_known, outputs_of  # noqa: PLC0415  ditto
    from reconciler.past import standing  # noqa: PLC0415  ditto
    from reconciler.report.json import text  # noqa: PLC0415  ditto
    from reconciler.report.standing import outputs_text  # noqa: PLC0415  ditto

    stands = standing(request_of(arguments, lambda _event, _facts: None))
    wanted = arguments.ref_.object
    check_known(wanted, stands)
    found = outputs_of(stands).get(wanted, {})
    terminal.deliver(
        arguments,
        {
            "text": lambda style: outputs_text(wanted, found, style=style),
            "json": lambda _style: text(dict(sorted(found.items()))),
        },
    )
    return ExitCode.CONVERGED
