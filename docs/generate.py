"""Write docs/reference from the schemas and the code; with --check say what is out of date instead.

Nothing in docs/reference is written by hand: what a page lacks is missing in a schema's description, in
the help of a command, or in a docstring.
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from reconciler import registry, resources
from reconciler.cli import COMMANDS, build_parser
from reconciler.errors import ExitCode, worst

REFERENCE = Path(__file__).parent / "reference"
HEADER = "<!-- Written by `make docs`; do not edit. -->\n\n"
METADATA = "metadata"

MEANINGS = {
    ExitCode.CONVERGED: "nothing to do, or converged",
    ExitCode.DEFECT: "unexpected error: a defect of ours; the message says how to report it",
    ExitCode.PENDING: "changes are pending (`plan --exit-code` only)",
    ExitCode.INVALID: "the repository is invalid",
    ExitCode.HELD: "something is held for a human: a guard, an approval, a lock, a window",
    ExitCode.FAILED: "some objects failed",
    ExitCode.PROGRESSING: "some objects still progress when `--wait` ended",
    ExitCode.BLIND: "some targets could not be read",
    ExitCode.LOCKED: "another run holds the lock, or the plan is stale; nothing was done",
    ExitCode.USAGE: "wrong use of the command line; nothing was done",
    ExitCode.INTERRUPTED: "interrupted (SIGINT)",
    ExitCode.TERMINATED: "terminated (SIGTERM)",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One field of a schema, as its author meets it."""

    path: str
    schema: Mapping[str, Any]
    required: bool


def main() -> int:
    """Write the pages or compare them; 1 when a comparison fails."""
    parser = argparse.ArgumentParser(description="Write docs/reference from the schemas and the code.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a page is out of date")
    wanted = pages()
    return check(wanted) if parser.parse_args().check else write(wanted)


def pages() -> dict[Path, str]:
    """All pages: path → text."""
    found = {REFERENCE / "kinds" / f"{name}.md": kind_page(name) for name in sorted(registry.kinds())}
    found[REFERENCE / "kinds" / "README.md"] = kinds_page()
    found[REFERENCE / "metadata.md"] = metadata_page()
    found[REFERENCE / "targets.md"] = targets_page()
    found[REFERENCE / "settings.md"] = settings_page()
    found[REFERENCE / "exit-codes.md"] = exit_codes_page()
    found[REFERENCE / "cli.md"] = cli_page()
    return {path: HEADER + text.rstrip() + "\n" for path, text in found.items()}


def write(wanted: Mapping[Path, str]) -> int:
    """Make docs/reference exactly these pages."""
    for path in stray(wanted):
        path.unlink()
    for path, text in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return 0


def check(wanted: Mapping[Path, str]) -> int:
    """Say which pages are not what the code says now."""
    old = [path for path, text in wanted.items() if not path.is_file() or path.read_text() != text]
    for path in sorted([*old, *stray(wanted)]):
        print(f"{path.relative_to(REFERENCE.parents[1])} is out of date: run `make docs`", file=sys.stderr)
    return 1 if old or stray(wanted) else 0


def stray(wanted: Mapping[Path, str]) -> list[Path]:
    """Pages that nothing stands behind any more."""
    return sorted(path for path in REFERENCE.rglob("*.md") if path not in wanted)


# ── pages ────────────────────────────────────────────────────────────────────────────────────────


def kind_page(name: str) -> str:
    """One kind: what it is, an example, its fields."""
    schema = resources.bundled(name)
    grouped = registry.kinds()[name].grouped
    scope = f"`{name}/<group>/<name>`, in a group" if grouped else f"`{name}/<name>`, global"
    spec = schema["properties"]["spec"]
    return "\n\n".join(
        [
            f"# {name}",
            schema["description"],
            f"Its Ref: {scope}. Common fields: [metadata](../metadata.md).",
            *examples(schema),
            "## spec",
            table(fields(spec, schema)),
            *parts(name),
        ]
    )


def parts(name: str) -> Iterator[str]:
    """What the kind expands into, where there is anything."""
    for part in registry.kinds()[name].parts:
        immutable = ", ".join(f"`{entry}`" for entry in sorted(part.immutable)) or "none"
        replaced = f"Replaced, not updated, when one of these changes: {immutable} ({part.replace_order})."
        natural = f"Found by its name, never deleted by us. What can't be changed in place: {immutable}."
        facts = [
            natural if part.marked == "natural" else replaced,
            f"Marked: {part.marked}. Listed: {part.listed}.",
            "Holds data: its removal is counted." if part.holds_data else "Holds no data.",
        ]
        yield f"## What it becomes: `{part.name}`\n\n" + "\n".join(facts)


def kinds_page() -> str:
    """The list of kinds."""
    lines = [
        f"- [{name}]({name}.md): {first_sentence(resources.schema(name)['description'])}"
        for name in sorted(registry.kinds())
    ]
    return "# Kinds\n\nWhat a configuration repository may declare.\n\n" + "\n".join(lines)


def metadata_page() -> str:
    """The fields that all objects share."""
    schema = {"$defs": resources.schema(METADATA)["$defs"]}
    definition = schema["$defs"]["grouped"]
    intro = "What every object may say about itself. `group` is there for kinds in a group only."
    return f"# metadata\n\n{intro}\n\n{table(fields(definition, schema))}"


def settings_page() -> str:
    """`reconciler.yaml`."""
    schema = resources.bundled("Settings")
    parts = ["# reconciler.yaml", schema["description"], *examples(schema), table(fields(schema, schema))]
    return "\n\n".join(parts)


def targets_page() -> str:
    """What a target of each type may be told."""
    parts = ["# Targets", "The settings of a target (`spec.targets[]` of a Provider), by its `type`."]
    for name in registry.driver_names():
        schema = registry.driver(name).settings
        parts += [f"## {name}", *([schema["description"]] if "description" in schema else [])]
        parts += [table(fields(schema, schema))]
    return "\n\n".join(parts)


def exit_codes_page() -> str:
    """The codes and which one wins."""
    rows = "\n".join(f"| {code.value} | {MEANINGS[code]} |" for code in ExitCode)
    order = ", ".join(str(code.value) for code in precedence())
    return (
        "# Exit codes\n\nUnknown codes are failures.\n\n| code | meaning |\n|---|---|\n"
        f"{rows}\n\nWhen several apply, the first of {order} wins; 8 and 64 end before any work.\n\n"
        "`apply --approve` and `apply --plan` are about the changes that were named: what else is pending or"
        " held is left for another run and does not count. `--only` and `--target` limit the code in the same"
        " way."
    )


def precedence() -> Iterator[ExitCode]:
    """The codes in the order in which they win."""
    left = set(ExitCode)
    while (code := worst(left)) is not ExitCode.CONVERGED:
        yield code
        left.discard(code)


# ── schemas ──────────────────────────────────────────────────────────────────────────────────────


def fields(schema: Mapping[str, Any], root: Mapping[str, Any], prefix: str = "") -> Iterator[Row]:
    """All fields of an object, nested ones with dotted paths, in the order of the schema."""
    schema = resolved(schema, root)
    required = schema.get("required", ())
    for name, said in schema.get("properties", {}).items():
        path, entry = f"{prefix}{name}", resolved(said, root)
        if isinstance(entry.get("items"), Mapping):
            entry = {**entry, "items": resolved(entry["items"], root)}
        yield Row(path, entry, name in required)
        yield from inside(entry, root, path)


def inside(entry: Mapping[str, Any], root: Mapping[str, Any], path: str) -> Iterator[Row]:
    """The fields below one field: of an object, of the entries of a list, of the values of a mapping."""
    yield from fields(entry, root, f"{path}.")
    if isinstance(entry.get("items"), Mapping):
        yield from fields(entry["items"], root, f"{path}[].")
    if isinstance(entry.get("additionalProperties"), Mapping):
        yield from fields(entry["additionalProperties"], root, f"{path}.<name>.")
    for choice in (*entry.get("oneOf", ()), *entry.get("anyOf", ())):
        yield from fields(choice, root, f"{path}.")


def resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema that a `$ref` means; what stands beside the reference wins."""
    if "$ref" not in schema:
        return schema
    found: Any = root
    for step in schema["$ref"].partition("#/")[2].split("/"):
        found = found[step]
    beside = {key: value for key, value in schema.items() if key != "$ref"}
    return {**resolved(found, root), **beside}


def table(rows: Iterator[Row]) -> str:
    """Fields as a table: name, type, default, description, example."""
    lines = ["| field | type | default | description | example |", "|---|---|---|---|---|"]
    lines += [f"| {' | '.join(cells(row))} |" for row in rows]
    return "\n".join(lines) if len(lines) > 2 else "No fields."


def cells(row: Row) -> tuple[str, ...]:
    """One line of the table."""
    schema = row.schema
    return f"`{row.path}`", type_of(schema), default_of(row), prose(schema), example_of(schema)


def type_of(schema: Mapping[str, Any]) -> str:
    """A type in few words."""
    if "const" in schema:
        return cell(code(schema["const"]))
    if "enum" in schema:
        return cell(", ".join(code(entry) for entry in schema["enum"]))
    choices = [*schema.get("oneOf", ()), *schema.get("anyOf", ())]
    if choices and "type" not in schema:
        return " or ".join(dict.fromkeys(type_of(choice) for choice in choices))
    if isinstance(schema.get("type"), list):
        return " or ".join(schema["type"])
    if schema.get("type") == "array":
        return f"list of {type_of(schema.get('items', {}))}"
    return str(schema.get("format") or schema.get("type", "any"))


def default_of(row: Row) -> str:
    """What is meant when it is left out."""
    if row.required:
        return "required"
    return cell(code(row.schema["default"])) if "default" in row.schema else "–"


def prose(schema: Mapping[str, Any]) -> str:
    """The description, and a word where the value is a secret."""
    secret = " Secret: a reference, never the value." if schema.get("writeOnly") else ""
    return cell(str(schema.get("description", ""))) + secret


def example_of(schema: Mapping[str, Any]) -> str:
    """The first example."""
    found = schema.get("examples")
    return cell(code(found[0])) if found else ""


def examples(schema: Mapping[str, Any]) -> Iterator[str]:
    """The examples of a whole file, as YAML."""
    for example in schema.get("examples", ())[:1]:
        text = yaml.safe_dump(example, sort_keys=False, allow_unicode=True, width=100)
        yield f"```yaml\n{text}```"


def code(value: Any) -> str:
    """A value as it would be typed."""
    return f"`{value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)}`"


def cell(text: str) -> str:
    """Text that may stand in a table."""
    return " ".join(text.split()).replace("|", "\\|")


def first_sentence(text: str) -> str:
    """Up to the first full stop that ends a sentence."""
    return " ".join(text.split()).partition(". ")[0].rstrip(".") + "."


# ── command line ─────────────────────────────────────────────────────────────────────────────────


def cli_page() -> str:
    """Every command with its arguments, from the parser itself (its own help differs between Pythons)."""
    parser = build_parser()
    common = {option for action in shown(parser) for option in action.option_strings}
    intro = f"{parser.description} These go with every command; see also [exit codes](exit-codes.md)."
    parts = ["# Command line", intro, options(list(shown(parser)))]
    for name, command in commands(parser):
        own = [action for action in shown(command) if not common & set(action.option_strings)]
        said = command.description or f"{COMMANDS.get(name, '').capitalize()}."
        parts += [f"## {name}", said, f"```\n{usage(command, own)}\n```", options(own)]
        parts += [f"```\n{command.epilog.strip()}\n```"] if command.epilog else []
    return "\n\n".join(parts)


def commands(
    parser: argparse.ArgumentParser, prefix: str = ""
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """All commands and their own sub-commands, by what one types."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                yield f"{prefix}{name}", command
                yield from commands(command, f"{prefix}{name} ")


def usage(parser: argparse.ArgumentParser, actions: list[argparse.Action]) -> str:
    """The form of the call, folded."""
    words = [form(action) for action in actions]
    return textwrap.fill(" ".join([parser.prog, *words]), 100, subsequent_indent="    ")


def form(action: argparse.Action) -> str:
    """One argument as it stands in the call."""
    if not action.option_strings:
        word = str(action.metavar or action.dest)
        return {"?": f"[{word}]", "*": f"[{word} ...]", "+": f"{word} ..."}.get(str(action.nargs), word)
    whole = spelled(action, action.option_strings[-1])
    return whole if action.required else f"[{whole}]"


def spelled(action: argparse.Action, option: str) -> str:
    """An option with what follows it."""
    if action.nargs == 0:
        return option
    choices = "{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.dest.upper()
    value = str(action.metavar or choices)
    return f"{option} {value}" + (" ..." if action.nargs in ("*", "+") else "")


def options(actions: list[argparse.Action]) -> str:
    """The arguments as a table."""
    rows = [f"| {argument(action)} | {cell((action.help or '') % vars(action))} |" for action in actions]
    return "\n".join(["| argument | meaning |", "|---|---|", *rows]) if rows else ""


def argument(action: argparse.Action) -> str:
    """How the argument is spelled, all forms."""
    forms = [spelled(action, option) for option in action.option_strings] or [form(action)]
    return ", ".join(f"`{cell(text)}`" for text in forms)


def shown(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """The arguments that people see; not -h."""
    for action in parser._actions:
        if isinstance(action, (argparse._HelpAction, argparse._SubParsersAction)):
            continue
        if action.help is not argparse.SUPPRESS:
            yield action


if __name__ == "__main__":
    sys.exit(main())
