"""Nothing in the repository names the machine it was made on, or where packages come from."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]

# Written in pieces, so that this file is not its own first finding.
FORBIDDEN = {
    "a folder of one machine": re.compile(r"(?<![\w.*}])/" + r"(?:work|root|opt/wheels|opt/pypi)/"),
    "a package registry": re.compile(r"pypi" + r"\.org|files\.python" + r"hosted|find-" + r"links"),
    "a left-over": re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|X" + r"XX)\b"),
    "a merge conflict": re.compile(r"^(?:<{7}|>{7}) ", re.MULTILINE),
}
# path → what it may say, and why
ALLOWED = {"scripts/lock": "a package registry"}  # the option that keeps addresses out


def files() -> list[Path]:
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return sorted(ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file())


def findings(name: str, text: str) -> list[str]:
    found = []
    for what, pattern in FORBIDDEN.items():
        if ALLOWED.get(name) == what:
            continue
        found += [
            f"{name}:{text.count(chr(10), 0, hit.start()) + 1}: {what}: {hit[0]}"
            for hit in pattern.finditer(text)
        ]
    return found


def test_no_file_names_a_machine_or_a_registry() -> None:
    found = []
    for path in files():
        text = path.read_text(errors="replace")
        found += findings(str(path.relative_to(ROOT)), text)
    assert found == []


def test_it_would_be_found() -> None:
    assert findings("x", "see /" + "work/main/notes")
    assert findings("x", "https://pypi" + ".org/simple")
    assert not findings("x", "framework/main and artwork/")
