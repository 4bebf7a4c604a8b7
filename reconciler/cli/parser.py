"""How arguments are declared and refused: argparse, with a guess for what was misspelt and exit code 64."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NoReturn

from reconciler.errors import UsageError
from reconciler.guess import did_you_mean

_HEX: Final = frozenset("0123456789abcdef")


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Wraps what is prose; leaves what was laid out by hand (it has line breaks) as it is."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" in text:
            return super()._fill_text(text, width, indent)
        return argparse.HelpFormatter._fill_text(self, text, width, indent)  # noqa: SLF001  the way to extend a formatter


class Parser(argparse.ArgumentParser):
    """An argument parser that raises UsageError with a hint; options are never guessed from a beginning."""

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("formatter_class", Formatter)
        super().__init__(allow_abbrev=False, **settings)

    def read(self, words: Sequence[str]) -> argparse.Namespace:
        """Parse everything, or raise UsageError."""
        arguments, rest = self.parse_known_args(words)
        if rest:
            self._refuse(rest[0], getattr(arguments, "command", None))
        return arguments

    def error(self, message: str) -> NoReturn:
        """Wrong use: one message, and where to read more."""
        raise UsageError(message, hint=f"type: {self.prog} --help")

    def _refuse(self, word: str, command: str | None) -> NoReturn:
        prog = f"{self.prog} {command}" if command else self.prog
        if not word.startswith("-"):
            raise UsageError(f"one argument too many: '{word}'", hint=f"type: {prog} --help")
        name = word.partition("=")[0]
        guess = did_you_mean(name, self._options(command))
        raise UsageError(f"{prog} has no option {name}", hint=guess or f"type: {prog} --help")

    def _options(self, command: str | None) -> list[str]:
        subparsers = getattr(self._subparsers, "_group_actions", ())
        parsers = [action.choices[command] for action in subparsers if command in action.choices]
        return [option for parser in [*parsers, self] for option in parser.options()]

    def options(self) -> list[str]:
        """The options it knows, as they are typed."""
        return list(self._option_string_actions)


def refuse_unknown(what: str, word: str, known: Iterable[str], *, prefix: str = "") -> NoReturn:
    """Raise UsageError for a word that is none of the known ones, with the nearest or all of them."""
    names = sorted(known)
    listed = f"there are {', '.join(names)}" if 0 < len(names) <= 20 else ""
    raise UsageError(f"{prefix}no {what} '{word}'", hint=did_you_mean(word, names) or listed)


def add_common(parser: argparse.ArgumentParser, *, inherited: bool = False) -> None:
    """What every command takes, before and after its name."""
    nothing: Any = argparse.SUPPRESS
    group = parser.add_argument_group("talking") if inherited else parser
    group.add_argument(
        "-q",
        "--quiet",
        action="store_true",
        default=nothing if inherited else False,
        help="no notices, no progress: stderr has errors only",
    )
    group.add_argument(
        "-v",
        "--verbose",
        action="count",
        default=nothing if inherited else 0,
        help="show what is done and, when we crash, where; -vv shows more",
    )
    group.add_argument(
        "--no-color",
        action="store_true",
        default=nothing if inherited else False,
        help="no colours (so does NO_COLOR; pipes have none anyway)",
    )


def one_of(*names: str) -> Callable[[str], str]:
    """A type of argument: one of these words, with a guess for others."""

    def check(word: str) -> str:
        if word in names:
            return word
        guess = did_you_mean(word, names)
        raise argparse.ArgumentTypeError(
            f"'{word}' is none of {', '.join(names)}" + (f"; {guess}" if guess else "")
        )

    return check


def add_format(parser: argparse.ArgumentParser, *names: str) -> None:
    """`--format`: what is printed; the first is the default."""
    parser.add_argument(
        "--format",
        type=one_of(*names),
        metavar="{" + ",".join(names) + "}",
        help=f"what to print (default: {names[0]})",
    )


def add_out(parser: argparse.ArgumentParser) -> None:
    """`--out`: write a report to a file as well."""
    parser.add_argument(
        "--out",
        metavar="FILE",
        action="append",
        default=[],
        help="write the report to FILE as well, in the form its ending says (.json .md .txt .xml),"
        " else as --format says; may be repeated",
    )


def add_repository(parser: argparse.ArgumentParser, *, positional: bool) -> None:
    """Which repository: REPO where the command has no other argument, else `--repo`."""
    said = "a directory (default: here) or a git URL"
    if positional:
        parser.add_argument("repository", metavar="REPO", nargs="?", default=".", help=said)
    else:
        parser.add_argument("--repo", dest="repository", metavar="REPO", default=".", help=said)


def add_revision(parser: argparse.ArgumentParser) -> None:
    """Which commit, and which one is trusted."""
    parser.add_argument("--ref", default="HEAD", help="the commit that is wanted (default: HEAD)")
    add_trusted(parser)


def add_trusted(parser: argparse.ArgumentParser) -> None:
    """`--trusted-ref`."""
    parser.add_argument(
        "--trusted-ref",
        metavar="REF",
        default="",
        help="the commit that settings, ownership, providers and roles are read from"
        " (default: the remote's HEAD branch)",
    )


def add_store(parser: argparse.ArgumentParser) -> None:
    """Where history is kept, and the clock for rehearsals."""
    parser.add_argument(
        "--store", metavar="URL", default="", help="where history is kept (default: as reconciler.yaml says)"
    )
    parser.add_argument(
        "--now", type=_moment, metavar="TIME", help="pretend that it is TIME; with simulated targets only"
    )


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Only a part of the repository."""
    parser.add_argument(
        "--only", type=ref, nargs="+", action="extend", default=[], metavar="REF", help="only these objects"
    )
    parser.add_argument(
        "--target",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME",
        help="only these targets; the name of a provider means all of its targets",
    )
    parser.add_argument(
        "--deep",
        action="store_true",
        help="read everything deeply, also what is not due to be verified yet; only `apply` runs roles",
    )


def ref(text: str) -> Any:
    """A type of argument: Kind/group/name or Kind/name."""
    from reconciler.model import Ref  # noqa: PLC0415  the nouns are needed only where a Ref is typed

    try:
        return Ref.parse(text)
    except ValueError as error:
        advice = "; REPO stands before --only" if text.startswith((".", "/")) else ""
        raise argparse.ArgumentTypeError(f"{error}{advice}") from error


def duration(text: str) -> Any:
    """A type of argument: `90s`, `15m`, `6h`, `7d`; `0` is no time at all."""
    from reconciler import units  # noqa: PLC0415  few commands have a duration

    try:
        return units.duration("0s" if text == "0" else text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def digest(text: str) -> str:
    """A type of argument: the digest of a plan, a hold group or a change, as the plan prints it."""
    if text.startswith("intent:"):
        raise argparse.ArgumentTypeError(
            "a digest that begins with intent: tells what a change means and can't be approved;"
            " approve the digest of the live plan"
        )
    digits = text.removeprefix("sha256:")
    if not 8 <= len(digits) <= 64 or not set(digits) <= _HEX:
        raise argparse.ArgumentTypeError(
            f"'{text}' is not a digest: expected sha256: and at least 8 hex digits, as the plan prints it"
        )
    return f"sha256:{digits}"


def _moment(text: str) -> Any:
    """A time as ISO 8601; without a zone it is UTC."""
    from datetime import UTC, datetime  # noqa: PLC0415  only --now needs it

    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is not a time: expected 2026-11-21T03:00") from error
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
