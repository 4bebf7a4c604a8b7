"""Is a list of tasks one that Ansible would begin with? Seen without loading Ansible or rendering anything.

What a task is made of: ansible-core 2.19, "Playbook Keywords". All that is no keyword of it is its module.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from reconciler.guess import did_you_mean
from reconciler.playbook.tasks_modules import Installed, module_flaw
from reconciler.playbook.tasks_words import ACTIONS, BLOCK, BLOCKS, HANDLER, INCLUDE, INCLUDES, LOOP, TASK
from reconciler.printable import printable, shown
from reconciler.strict_yaml.ansible import Text, merged

Path = tuple[str | int, ...]
Flaw = tuple[Path, str, str]  # where in the file, message, hint

_TRUE: Final = frozenset(("true", "yes", "on", "y", "t", "1"))
_BELOW: Final = "what a module takes stands below its name, further in"
_INSIDE: Final = "say it of the tasks in the block"
_APPLY: Final = "put it below `apply`, beside the file or the role"
_BECOME: Final = "take `become` out: on real machines roles are run as root"


@dataclass(frozen=True, slots=True)
class Setting:
    """What a list of tasks stands in: the modules that are known, whether handlers, whether without root.

    `own` are the modules of the role; `open`: short names may come from other roles or collections, too.
    """

    here: Installed | None
    own: frozenset[str] = frozenset()
    open: bool = False
    handlers: bool = False
    rootless: bool = False


def task_flaws(tasks: Text, setting: Setting, path: Path = ()) -> Iterator[Flaw]:
    """All that is wrong with the tasks of a file or a block, in their order."""
    if not isinstance(tasks, list):
        what = "a block" if path else "this file"
        yield path, f"{what} must be a list of tasks", "begin each task with `- `"
        return
    for index, task in enumerate(tasks):
        if isinstance(task, dict):
            yield from _in_entry(merged(task), setting, (*path, index))
        else:
            yield (*path, index), "a task must be a mapping", "`- name: …`, and its module below"


def _in_entry(task: Mapping[str, Text], setting: Setting, path: Path) -> Iterator[Flaw]:
    if "collections" in task:
        setting = replace(setting, open=True)
    if setting.rootless:
        yield from _as_root(task, path)
    if any(part in task for part in BLOCKS):
        yield from _in_block(task, setting, path)
    else:
        yield from _in_task(task, setting, path)


def _as_root(task: Mapping[str, Text], path: Path) -> Iterator[Flaw]:
    """Where the entry asks for root: itself, by a variable, or for what it includes."""
    places: list[tuple[Path, Text]] = [(("become",), task.get("become"))]
    places += [(("vars", "ansible_become"), _of(task.get("vars"), "ansible_become"))]
    places += [((name, "apply", "become"), _of(_of(task.get(name), "apply"), "become")) for name in INCLUDES]
    for steps, value in places:
        if isinstance(value, str) and value.lower() in _TRUE:
            yield (*path, *steps), "a private directory has no root", _BECOME


def _of(value: Text, key: str) -> Text:
    return value.get(key) if isinstance(value, dict) else None


def _in_block(block: Mapping[str, Text], setting: Setting, path: Path) -> Iterator[Flaw]:
    for key in block:
        if key not in BLOCK:
            yield (*path, key), f"`{shown(key)}` is no keyword of a block", _guess(key, BLOCK) or _INSIDE
    if "block" not in block:
        yield path, "there is no `block` here for `rescue` or `always`", "put the tasks below `block`"
    for part in BLOCKS:
        if part in block:
            yield from task_flaws(block[part], setting, (*path, part))


def _in_task(task: Mapping[str, Text], setting: Setting, path: Path) -> Iterator[Flaw]:
    words = HANDLER if setting.handlers else TASK
    keys = [key for key in task if key not in words and not key.startswith(LOOP)]
    asked = [key for key in ACTIONS if key in task]
    several = len(keys) + len(asked) > 1
    modules = [key for key in keys if _is_known(key, setting)] if several else keys
    if several and not modules and not asked:  # which of them would be the module?
        modules = [key for key in keys if not _guess(key, words)][:1] or keys[:1]
    for key in keys:
        if key not in modules:
            yield (*path, key), f"`{shown(key)}` is no keyword of a task", _guess(key, words) or _BELOW
    yield from _in_modules(task, [*asked, *modules], setting, path)


def _in_modules(
    task: Mapping[str, Text], modules: Sequence[str], setting: Setting, path: Path
) -> Iterator[Flaw]:
    """A task has one module, which is there and takes the keywords beside it."""
    if not modules:
        yield (
            path,
            "the task has no module",
            "say what it does, e.g. `ansible.builtin.copy:` with its arguments",
        )
    elif len(modules) > 1:
        message = f"a task has one module; this one has {shown(' and '.join(modules))}"
        yield (*path, modules[1]), message, "make two tasks of it"
    else:
        yield from _in_module(task, modules[0], setting, path)


def _in_module(task: Mapping[str, Text], key: str, setting: Setting, path: Path) -> Iterator[Flaw]:
    name = _named(task[key]) if key in ACTIONS else key
    if not (setting.open and "." not in name) and (found := module_flaw(name, setting.own, setting.here)):
        yield (*path, key), found[0], printable(found[1])
    if name in INCLUDES:
        for word in task:
            if word != key and word in TASK and word not in INCLUDE:
                yield (*path, word), f"`{word}` is no keyword of {name}", _APPLY


def _named(action: Text) -> str:
    """The module in what `action` says: `copy src=a`, or a mapping with `module`."""
    said = action.get("module", "") if isinstance(action, dict) else action
    if not isinstance(said, str):
        return ""
    return said if "{{" in said else said.split(" ", 1)[0]


def _is_known(key: str, setting: Setting) -> bool:
    """Does a key look like a module where there are several keys that might be one?"""
    if "." in key:
        return True
    return setting.here is not None and module_flaw(key, setting.own, setting.here) is None


def _guess(key: str, words: frozenset[str]) -> str:
    return printable(did_you_mean(key, words))
