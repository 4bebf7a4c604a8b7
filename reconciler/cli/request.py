"""Arguments → the request that `run` works off."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.errors import UsageError

if TYPE_CHECKING:
    from reconciler.line.session import Request

_LIMIT = 256 * 1024 * 1024


def request_of(
    arguments: argparse.Namespace, tell: Callable[[str, Mapping[str, Any]], None], **more: Any
) -> Request:
    """What the arguments ask for; `more` is what only one command knows."""
    from reconciler.line.session import Request  # noqa: PLC0415  the line is loaded when a command walks it

    return Request(
        repository=arguments.repository,
        ref=getattr(arguments, "ref", "HEAD"),
        trusted_ref=getattr(arguments, "trusted_ref", ""),
        now=getattr(arguments, "now", None),
        store=getattr(arguments, "store", ""),
        only=tuple(getattr(arguments, "only", ())),
        targets=tuple(getattr(arguments, "target", ())),
        deep=getattr(arguments, "deep", False),
        progress=tell,
        **more,
    )


def plan_file(name: str) -> Mapping[str, Any]:
    """The JSON that `plan --out` wrote. Raises UsageError for anything else."""
    hint = "make one with: reconciler plan --out plan.json"
    try:
        with Path(name).open("rb") as file:
            content = json.loads(file.read(_LIMIT))
    except OSError as error:
        raise UsageError(f"--plan {name}: {error.strerror}", hint=hint) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--plan {name}: not a plan in JSON", hint=hint) from error
    if not isinstance(content, dict) or not isinstance(content.get("changes"), list):
        raise UsageError(f"--plan {name}: not a plan in JSON", hint=hint)
    _check_version(name, content)
    return content


def _check_version(name: str, content: Mapping[str, Any]) -> None:
    if content.get("schemaVersion") != 1:
        raise UsageError(f"--plan {name}: schemaVersion 1 is expected", hint="plan again with this version")
    if str(content.get("digest", "")).startswith("intent:"):
        raise UsageError(
            f"--plan {name}: tells what a change means and can't be applied",
            hint="make a live plan, without --against",
        )
