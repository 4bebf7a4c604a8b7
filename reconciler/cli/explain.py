"""`reconciler explain`: the fields of a kind, or why one object is as it is."""

from __future__ import annotations

import argparse

from reconciler.cli.parser import Parser, add_format, add_repository, add_revision, add_store, ref
from reconciler.errors import ExitCode, UsageError

_EXAMPLES = """\
examples:
  reconciler explain DataRule                       its fields, types, defaults, and an example
  reconciler explain DataRule/cms/higgs             why it is as it is, who must act, what blocks it
"""


def configure(parser: Parser) -> None:
    """Declare the arguments."""
    parser.description = "For a kind: its fields with an example. For an object: why it is as it is."
    parser.epilog = _EXAMPLES
    parser.add_argument("what", metavar="KIND|REF", help="a kind, or an object as Kind/group/name")
    add_repository(parser, positional=False)
    add_revision(parser)
    add_format(parser, "text", "json")
    add_store(parser)


def execute(arguments: argparse.Namespace) -> ExitCode:
    """Explain a kind from its schema, an object from git and the records."""
    if "/" in arguments.what:
        return _object(arguments)
    return _kind(arguments)


def _kind(arguments: argparse.Namespace) -> ExitCode:
    from reconciler.cli import terminal  # noqa: PLC0415  loaded for this command only
    from reconciler.cli.schema import schema_of  # noqa: PLC0415  ditto
    from reconciler.report.json import text  # noqa: PLC0415  ditto
    from reconciler.report.reference import kind_text  # noqa: PLC0415  ditto

    schema = schema_of(arguments.what)
    terminal.deliver(
        arguments,
        {"text": lambda style: kind_text(schema, style=style), "json": lambda _style: text(schema)},
    )
    return ExitCode.CONVERGED


def _object(arguments: argparse.Namespace) -> ExitCode:
    from reconciler.cli import terminal  # noqa: PLC0415  the line is loaded when a command walks it
    from reconciler.cli.request import request_of  # noqa: PLC0415  ditto
    from reconciler.cli.status import check_known, of  # noqa: PLC0415  ditto
    from reconciler.past import history, standing  # noqa: PLC0415  ditto
    from reconciler.report.json import explain_json, text  # noqa: PLC0415  ditto
    from reconciler.report.standing import explain_text  # noqa: PLC0415  ditto

    try:
        wanted = ref(arguments.what)
    except argparse.ArgumentTypeError as error:
        raise UsageError(str(error)) from error
    request = request_of(arguments, lambda _event, _facts: None)
    found = standing(request)
    check_known(wanted, found)
    conditions = of(wanted, found.conditions)
    declared, now = found.declared.get(wanted.object), found.session.now
    past = history(request, wanted, 10)
    terminal.deliver(
        arguments,
        {
            "text": lambda style: explain_text(wanted, conditions, declared, now=now, past=past, style=style),
            "json": lambda _style: text(explain_json(wanted, conditions, declared, past)),
        },
    )
    return ExitCode.CONVERGED
