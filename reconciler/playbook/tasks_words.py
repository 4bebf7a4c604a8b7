"""The keywords of tasks, handlers and blocks: those of ansible-core 2.19, see its page "Playbook Keywords".

`include_tasks` and `include_role` take fewer (`TaskInclude.VALID_INCLUDE_KEYWORDS` there): the rest goes
below their `apply`. A test holds these lists against the ansible-core that is installed.
"""

from __future__ import annotations

from typing import Final

_BOTH: Final = """
    any_errors_fatal become become_exe become_flags become_method become_user check_mode collections
    connection debugger delegate_facts delegate_to diff environment ignore_errors ignore_unreachable
    module_defaults name no_log notify port remote_user run_once tags throttle timeout vars when
"""
_TASK_ONLY: Final = """
    action args async changed_when delay failed_when local_action loop loop_control poll register retries
    until
"""
_INCLUDE: Final = """
    action args collections debugger ignore_errors loop loop_control name no_log register run_once tags
    timeout vars when
"""
BLOCKS: Final = ("block", "rescue", "always")
TASK: Final = frozenset((*_BOTH.split(), *_TASK_ONLY.split()))
HANDLER: Final = TASK | {"listen"}
BLOCK: Final = frozenset((*_BOTH.split(), *BLOCKS))
ACTIONS: Final = ("action", "local_action")
LOOP: Final = "with_"  # … and the name of a lookup
INCLUDE: Final = frozenset(_INCLUDE.split()) | {"listen", "local_action"}
INCLUDES: Final = frozenset(
    f"{prefix}{name}"
    for prefix in ("", "ansible.builtin.", "ansible.legacy.")
    for name in ("include_tasks", "include_role")
)
