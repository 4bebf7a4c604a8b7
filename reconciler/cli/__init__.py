"""The command line: argv → one command → exit code. Nothing heavy is imported before the command is known.

Each command is a file with `configure(parser)` and `execute(arguments)`. stdout is data, stderr is for
people. Whatever goes wrong becomes one clear message and a documented exit code.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType, ModuleType
from typing import Final

from reconciler.cli.parser import Parser, add_common, refuse_unknown
from reconciler.errors import ExitCode

COMMANDS: Final = {
    "init": "make a new configuration repository",
    "import": "write files for what stands at a Rucio",
    "validate": "check the files, offline: all problems at once",
    "plan": "show what would change; writes nothing",
    "apply": "converge once",
    "status": "how every object stands",
    "explain": "the fields of a kind, or why an object is as it is",
    "history": "past runs and what each changed",
    "catalogue": "the services that a Deployment can name",
    "outputs": "what an object gives its users",
    "run": "the service: scheduled passes, until stopped",
    "schema": "the JSON Schemas of the kinds",
}

_EXIT_CODES: Final = """\
exit codes:
  0 nothing to do, or converged        6 still progressing when --wait ended
  1 a defect of ours                   7 some targets could not be read
  2 changes pending (--exit-code)      8 locked by another run, or stale plan
  3 the repository is invalid         64 wrong use of the command line
  4 held for a person            130/143 interrupted
  5 some objects failed

Start with: reconciler init my-cloud
"""


class Terminated(BaseException):
    """SIGTERM arrived."""


def build_parser(only: str | None = None) -> Parser:
    """The parser of the whole command line, or one that knows the arguments of only one command."""
    parser = Parser(
        prog="reconciler",
        description="A git repository as the control plane of a federated research cloud.",
        epilog=_EXIT_CODES,
    )
    parser.add_argument("--version", action="store_true", help="print the version and end")
    add_common(parser)
    commands = parser.add_subparsers(dest="command", title="commands")
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary)
        if only in (None, name):
            _module(name).configure(command)
            add_common(command, inherited=True)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code of the process; never raises."""
    words = list(sys.argv[1:] if argv is None else argv)
    _terminate_politely()
    try:
        return _finished(int(_dispatch(words)))
    except SystemExit as end:  # argparse, after it printed help
        return _finished(end.code if isinstance(end.code, int) else int(ExitCode.DEFECT))
    except (KeyboardInterrupt, Terminated) as interruption:
        return _interrupted(interruption)
    except BaseException as error:  # noqa: BLE001  the last line of defence: say it, and say how to report it
        from reconciler.cli.failure import report  # noqa: PLC0415  only failures need it

        return int(report(error, words))


def _dispatch(words: list[str]) -> ExitCode:
    chosen = next((word for word in words if not word.startswith("-")), None)
    if chosen is not None and chosen not in COMMANDS:
        refuse_unknown("command", chosen, COMMANDS)
    parser = build_parser(chosen or "")
    arguments = parser.read(words)
    if arguments.version:
        return _version()
    if chosen is None:
        parser.print_help(sys.stderr)
        return ExitCode.USAGE
    _listen(arguments)
    if chosen != "run":
        gc.disable()  # one finite pass: what it makes stays to its end, and looking for cycles costs a fifth
    code: ExitCode = _module(chosen).execute(arguments)
    return code


def _module(name: str) -> ModuleType:
    name = "importing" if name == "import" else name  # a word of Python's own can't be the name of a module
    return importlib.import_module(f"reconciler.cli.{name}")


def _version() -> ExitCode:
    from reconciler import __version__  # noqa: PLC0415  one constant, for one option

    sys.stdout.write(f"reconciler {__version__}\n")
    return ExitCode.CONVERGED


def _listen(arguments: argparse.Namespace) -> None:
    """`-v` and `-vv` show what the modules log; on stderr, because it is for people."""
    if arguments.verbose:
        import logging  # noqa: PLC0415  only -v needs it

        level = logging.DEBUG if arguments.verbose > 1 else logging.INFO
        logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")


def _terminate_politely() -> None:
    """SIGTERM unwinds like an interrupt, so that locks are given back and records written."""

    def terminate(_signal: int, _frame: FrameType | None) -> None:
        raise Terminated

    try:
        signal.signal(signal.SIGTERM, terminate)
    except ValueError:  # not the main thread: whoever embeds us minds the signals
        return


def _interrupted(interruption: BaseException) -> int:
    sys.stderr.write("\nreconciler: interrupted; what was begun is finished by the next run\n")
    terminated = isinstance(interruption, Terminated)
    return _finished(int(ExitCode.TERMINATED if terminated else ExitCode.INTERRUPTED))


def _finished(code: int) -> int:
    """The exit code, after all output is out; a reader that went away is no error of ours."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code
