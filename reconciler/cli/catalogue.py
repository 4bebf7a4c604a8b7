"""`reconciler catalogue`: the services that can be deployed, what one asks for, a Deployment to fill in."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from reconciler.cli.parser import Parser, add_format, add_repository, one_of
from reconciler.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from reconciler.model import Json
    from reconciler.report.style import Style
    from reconciler.tosca.services import Catalogue, Service

_EXAMPLES = """\
examples:
  reconciler catalogue list                         name, version and description of every service
  reconciler catalogue show jupyterlab              its inputs, outputs and roles
  reconciler catalogue show jupyterlab@1.0.0        of an older version
  reconciler catalogue new jupyterlab --group cms --name analysis > deployments/cms/analysis.yaml
                                                    a Deployment to fill in
"""


def configure(parser: Parser) -> None:
    """Declare the arguments."""
    parser.description = "The services in `catalogue/` of a repository, as the commit has them."
    parser.epilog = _EXAMPLES
    parser.add_argument(
        "what", metavar="list|show|new", type=one_of("list", "show", "new"), help="what to do"
    )
    parser.add_argument(
        "service", metavar="SERVICE[@VERSION]", nargs="?", help="the service to show or begin"
    )
    parser.add_argument("--group", default="", help="with new: the group of the Deployment")
    parser.add_argument("--name", default="", help="with new: its name (default: that of the service)")
    add_repository(parser, positional=False)
    parser.add_argument("--ref", default="HEAD", help="the commit that is looked at (default: HEAD)")
    add_format(parser, "text", "json")


def execute(arguments: argparse.Namespace) -> ExitCode:
    """List, show or begin."""
    _check(arguments)
    catalogue = _catalogue(arguments)
    if arguments.what == "list":
        return _list(arguments, catalogue)
    service = _service(arguments.service, catalogue)
    return _show(arguments, service) if arguments.what == "show" else _new(arguments, service)


def _check(arguments: argparse.Namespace) -> None:
    if arguments.what != "list" and not arguments.service:
        hint = "reconciler catalogue list shows them"
        raise UsageError(f"catalogue {arguments.what} needs the name of a service", hint=hint)
    if arguments.what == "list" and arguments.service:
        hint = f"type: reconciler catalogue show {arguments.service}"
        raise UsageError(f"one argument too many: '{arguments.service}'", hint=hint)
    if arguments.what != "new" and (arguments.group or arguments.name):
        raise UsageError("--group and --name are for catalogue new")


def _catalogue(arguments: argparse.Namespace) -> Catalogue:
    from reconciler.folders import cache_folder  # noqa: PLC0415  git is read when a command needs it
    from reconciler.source.catalogue import catalogue_at  # noqa: PLC0415  ditto
    from reconciler.source.git import open_repository  # noqa: PLC0415  ditto

    repository = open_repository(arguments.repository, cache_folder())
    return catalogue_at(repository, repository.resolve(arguments.ref))


def _service(text: str, catalogue: Catalogue) -> Service:
    from reconciler.tosca.flaw import FlawError  # noqa: PLC0415  loaded for this command only
    from reconciler.tosca.services import find  # noqa: PLC0415  ditto

    name, _, version = text.partition("@")
    try:
        return find(catalogue, name, version)
    except FlawError as error:
        listed = ", ".join(catalogue.services)
        hint = error.flaw.hint or (f"there are {listed}" if listed else "reconciler validate tells why")
        raise UsageError(error.flaw.message, hint=hint) from error


def _list(arguments: argparse.Namespace, catalogue: Catalogue) -> ExitCode:
    from reconciler.cli import terminal  # noqa: PLC0415  loaded for this command only
    from reconciler.tosca.describe import list_json  # noqa: PLC0415  ditto

    terminal.notice(arguments, (f"{problem}" for problem in catalogue.problems))
    _deliver(arguments, lambda style: _list_text(catalogue, style), list_json(catalogue))
    return ExitCode.INVALID if catalogue.problems else ExitCode.CONVERGED


def _show(arguments: argparse.Namespace, service: Service) -> ExitCode:
    from reconciler.tosca.describe import show_json  # noqa: PLC0415  loaded for this command only

    _deliver(arguments, lambda style: _show_text(service, style), show_json(service))
    return ExitCode.CONVERGED


def _new(arguments: argparse.Namespace, service: Service) -> ExitCode:
    from reconciler.tosca.describe import new_json, new_text  # noqa: PLC0415  loaded for this command only

    group, name = arguments.group or "my-group", arguments.name or service.name
    said = new_text(service, group, name)
    _deliver(arguments, lambda _style: said, new_json(service, group, name), versioned=False)
    return ExitCode.CONVERGED


def _deliver(
    arguments: argparse.Namespace,
    in_words: Callable[[Style], str],
    content: Mapping[str, Json],
    *,
    versioned: bool = True,
) -> None:
    from reconciler.cli import terminal  # noqa: PLC0415  loaded for this command only
    from reconciler.report.json import VERSION, text  # noqa: PLC0415  ditto

    whole = {"schemaVersion": VERSION, **content} if versioned else dict(content)
    terminal.deliver(arguments, {"text": in_words, "json": lambda _style: text(whole)})


def _list_text(catalogue: Catalogue, style: Style) -> str:
    """Name, newest version and description of every service, one line each."""
    from reconciler.report import words  # noqa: PLC0415  loaded for this command only
    from reconciler.tosca.describe import one_line  # noqa: PLC0415  ditto

    if not catalogue.services:
        return "The catalogue is empty: no service in catalogue/.\n"
    rows = [next(iter(versions.values())) for versions in catalogue.services.values()]
    name = max(len(service.name) for service in rows)
    version = max(len(service.version) for service in rows)
    room = max(20, style.width - name - version - 4)
    return "".join(
        f"{style.bold(service.name.ljust(name))}  {service.version.ljust(version)}"
        f"  {words.shorten(one_line(service.description), room)}".rstrip()
        + "\n"
        for service in rows
    )


def _show_text(service: Service, style: Style) -> str:
    """Inputs with type, default and constraints; outputs; roles."""
    from reconciler.tosca.describe import facts, one_line, outputs, roles  # noqa: PLC0415  for this command only

    lines = [f"{style.bold(service.name)} {service.version}", *_wrapped(service.description, "  ", style)]
    lines += ["", style.bold("Inputs")]
    for found in service.inputs.values():
        about = style.dim(one_line(", ".join(facts(found))))
        lines.append(f"  {style.bold(one_line(found.name))}  {about}")
        lines += _wrapped(found.description or found.display_name, "      ", style)
    lines += ["", style.bold("Outputs")]
    lines += [f"  {one_line(name)}  {about}".rstrip() for name, about in outputs(service).items()]
    lines += ["", style.bold("Roles")]
    lines += [f"  {one_line(role)}  {one_line(', '.join(nodes))}" for role, nodes in roles(service).items()]
    return "\n".join(lines) + "\n"


def _wrapped(text: str, indent: str, style: Style) -> list[str]:
    import textwrap  # noqa: PLC0415  loaded for this command only

    from reconciler.tosca.describe import one_line  # noqa: PLC0415  ditto

    width = max(40, style.width)
    return textwrap.wrap(one_line(text), width, initial_indent=indent, subsequent_indent=indent)
