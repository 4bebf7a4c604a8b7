"""`reconciler import`: a configuration repository for a Rucio that is there already."""

from __future__ import annotations

import argparse
import re
import sys
from typing import TYPE_CHECKING, Any, Final

from reconciler.cli.parser import Parser, one_of
from reconciler.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from reconciler.drivers.rucio.import_entries import LeftOut
    from reconciler.drivers.rucio.import_objects import Choices

_EXAMPLES = """\
examples:
  reconciler import rucio --url https://rucio.example.org --account reconciler \\
      --username reconciler --password env:RUCIO_PASSWORD --out lake
  reconciler import rucio --settings rucio.yaml --out lake --accounts tier0,higgs \\
      --group tier0=cms --group higgs=cms
  cd lake && git init && git add . && git commit -m "As it is" && reconciler plan
"""
_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_OWNER: Final = 30  # characters
_SHOWN: Final = 5
# flag → key of the target's settings, and of its `auth`
_SETTINGS: Final = {"url": "url", "auth_url": "authUrl", "account": "account", "vo": "vo", "ca": "ca"}
_LOGIN: Final = ("username", "password", "token", "certificate", "key")
_TYPES: Final = {"username": "userpass", "token": "oidc", "certificate": "x509"}


def configure(parser: Parser) -> None:
    """Declare the arguments."""
    parser.description = (
        "Read a Rucio and write a repository that declares what is there: storage elements, accounts, scopes,"
        " rules and subscriptions. Nothing is changed at Rucio, and the repository's first plan is empty."
        " Passwords and tokens are given as references (env:NAME, file:PATH#KEY) and written as such."
    )
    parser.epilog = _EXAMPLES
    parser.add_argument("system", metavar="rucio", type=one_of("rucio"), help="what is read")
    parser.add_argument(
        "--out", metavar="DIR", required=True, help="a folder that is empty or does not exist yet"
    )
    _add_login(parser)
    parser.add_argument(
        "--accounts", metavar="A,B", default="", help="only what belongs to these accounts; elements all"
    )
    parser.add_argument(
        "--group",
        metavar="[ACCOUNT=]GROUP",
        action="append",
        default=[],
        help="the group that rules of an account, or of all others, are for"
        " (default: called like the account); may be repeated",
    )
    parser.add_argument("--provider", default="rucio", help="what the Rucio is called (default: rucio)")
    parser.add_argument(
        "--owner", default="", help="the owner in the mark on what is made (default: made from DIR)"
    )


def _add_login(parser: Parser) -> None:
    group = parser.add_argument_group("the Rucio")
    group.add_argument("--settings", metavar="FILE", help="YAML with the settings of the target; flags win")
    group.add_argument("--url", help="the address of its REST interface")
    group.add_argument("--auth-url", metavar="URL", help="where it gives tokens (default: at --url)")
    group.add_argument("--account", help="the account that will own what is made")
    group.add_argument("--vo", help="the virtual organisation, where the server has several")
    group.add_argument("--ca", metavar="PATH", help="certificate authorities of the server")
    group.add_argument("--username", help="login by password: the user")
    group.add_argument("--password", metavar="REF", help="login by password: a reference to it")
    group.add_argument("--token", metavar="REF", help="login by a token: a reference to it")
    group.add_argument("--certificate", metavar="FILE", help="login by a certificate: the file")
    group.add_argument("--key", metavar="FILE", help="login by a certificate: its key")


def execute(arguments: argparse.Namespace) -> ExitCode:
    """Read everything, write everything or nothing, and say what is in no file."""
    from pathlib import Path  # noqa: PLC0415  loaded for this command only

    from reconciler.cli import imported, terminal  # noqa: PLC0415  ditto

    folder = Path(arguments.out)
    imported.require_empty(folder)
    choices = choices_of(arguments, folder)
    accounts = frozenset(name.strip() for name in arguments.accounts.split(",") if name.strip())
    done = imported.read_and_write(folder, choices, accounts)
    terminal.emit(_told(folder, done.counts, done.left_out))
    if not arguments.quiet:
        sys.stderr.write(_next(folder, choices))
    return ExitCode.CONVERGED


def choices_of(arguments: argparse.Namespace, folder: Path) -> Choices:
    """What the operator says, checked. Raises UsageError."""
    from datetime import UTC, datetime  # noqa: PLC0415  loaded for this command only

    from reconciler.cli.init import owner_of  # noqa: PLC0415  ditto
    from reconciler.drivers.rucio.import_objects import Choices  # noqa: PLC0415  ditto

    settings = settings_of(arguments)
    owner = arguments.owner or owner_of(folder.absolute().resolve().name)
    _require_label("--owner", owner, _OWNER)
    _require_label("--provider", arguments.provider, 63)
    groups = dict(_group(text) for text in arguments.group)
    now = datetime.now(UTC).replace(tzinfo=None)
    return Choices(owner, arguments.provider, settings, now, groups.pop("", ""), groups)


def settings_of(arguments: argparse.Namespace) -> Mapping[str, Any]:
    """The settings of the target, from the file and the flags. Raises UsageError."""
    from reconciler.checks.schema import compiled, explained  # noqa: PLC0415  loaded for this command only
    from reconciler.drivers.rucio.settings import SETTINGS  # noqa: PLC0415  ditto

    settings = {**_file_settings(arguments.settings), **_flags(arguments)}
    if compiled(SETTINGS)(settings):
        return settings
    first = next(iter(explained(SETTINGS, settings)))
    where = ".".join(map(str, first.path)) or "settings"
    hint = first.hint or "give --url, --account and a login, or --settings FILE"
    raise UsageError(f"the settings of the Rucio: {where}: {first.message}", hint=hint)


def _file_settings(name: str | None) -> dict[str, Any]:
    if not name:
        return {}
    from reconciler.strict_yaml import YamlError, read  # noqa: PLC0415  loaded for this option only

    try:
        with open(name, "rb") as file:
            (document,) = read(file.read())
    except OSError as error:
        raise UsageError(f"--settings {name}: {error.strerror}") from error
    except (YamlError, ValueError) as error:
        raise UsageError(
            f"--settings {name}: {error}", hint="one YAML mapping, like in a Provider"
        ) from error
    value = document.value
    if not isinstance(value, dict):
        raise UsageError(f"--settings {name}: expected a mapping, like a target in a Provider")
    return {key: content for key, content in value.items() if key not in ("type", "name")}


def _flags(arguments: argparse.Namespace) -> dict[str, Any]:
    given = {key: getattr(arguments, flag) for flag, key in _SETTINGS.items() if getattr(arguments, flag)}
    login = {key: getattr(arguments, key) for key in _LOGIN if getattr(arguments, key)}
    if login:
        sort = next((sort for key, sort in _TYPES.items() if key in login), "userpass")
        given["auth"] = {"type": sort, **login}
    return given


def _group(text: str) -> tuple[str, str]:
    account, equals, group = text.rpartition("=")
    _require_label("--group", group, 63)
    if equals and not account:
        raise UsageError(f"--group {text}: no account stands before the '='")
    return account, group


def _require_label(option: str, text: str, longest: int) -> None:
    if not _LABEL.fullmatch(text) or len(text) > longest:
        hint = f"at most {longest} lower-case letters, digits and hyphens"
        raise UsageError(f"{option}: '{text}' is no name", hint=hint)


def _told(folder: Path, counts: Mapping[str, int], left_out: Sequence[LeftOut]) -> str:
    """What was written, and what was not, by reason."""
    from reconciler.cli.imported import LEFT_OUT  # noqa: PLC0415  loaded for this command only
    from reconciler.printable import printable  # noqa: PLC0415  ditto

    lines = [f"{folder}: {', '.join(f'{count} {kind}' for kind, count in sorted(counts.items()))}"]
    by_reason: dict[str, list[str]] = {}
    for one in left_out:
        by_reason.setdefault(one.why, []).append(one.origin)
    if by_reason:
        lines.append(f"{len(left_out)} things are in no file ({LEFT_OUT} has them all):")
    for why, origins in sorted(by_reason.items()):
        lines.append(f"  {why}")
        lines += [f"    {origin}" for origin in origins[:_SHOWN]]
        lines += [f"    and {len(origins) - _SHOWN} more"] if len(origins) > _SHOWN else []
    return "".join(f"{printable(line)}\n" for line in lines)


def _next(folder: Path, choices: Choices) -> str:
    auth = choices.settings["auth"]
    needed = [auth[key] for key in ("password", "token") if key in auth]
    need = f"Plans read {needed[0]}: set it wherever they run.\n" if needed else ""
    return (
        f"A repository of owner {choices.owner}; it holds no secrets. {need}Read it, then:\n"
        f"  cd {folder} && git init && git add . && git commit -m 'As it is'\n"
        "  reconciler plan         nothing to do\n"
    )
