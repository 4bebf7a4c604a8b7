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
        "What an object gives its users now; reads the world. Secrets are references, never values."
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
    from reconciler.cli.status import check_known  # noqa: PLC0415  ditto
    from reconciler.past import outputs, standing  # noqa: PLC0415  ditto
    from reconciler.report.json import text  # noqa: PLC0415  ditto
    from reconciler.report.standing import outputs_text  # noqa: PLC0415  ditto

    wanted = arguments.ref_.object
    with terminal.progress(arguments) as tell:
        request = request_of(arguments, tell)
        check_known(wanted, standing(request))
        found = outputs(request, wanted)
    terminal.deliver(
        arguments,
        {
            "text": lambda style: outputs_text(wanted, found, style=style),
            "json": lambda _style: text(dict(sorted(found.items()))),
        },
    )
    return ExitCode.CONVERGED
