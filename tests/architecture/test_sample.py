"""sample-config-repo/ is what it says: valid, owned by somebody, made of bytes that exist."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from demo.make_uploads import DATASETS, data_files, make_uploads, tarballs

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "sample-config-repo"


def files() -> list[Path]:
    found = (path for path in sorted(SAMPLE.rglob("*.yaml")) if path.name != "reconciler.yaml")
    return [path for path in found if "catalogue" not in path.parts]


def objects(kind: str) -> list[dict[str, Any]]:
    loaded = [yaml.safe_load(path.read_text()) for path in files()]
    return [entry for entry in loaded if entry["kind"] == kind]


def settings() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((SAMPLE / "reconciler.yaml").read_text())
    return loaded


def test_it_is_valid() -> None:
    command = [sys.executable, "-c", "import sys; from reconciler.cli import main; sys.exit(main())"]
    done = subprocess.run(
        [*command, "validate", str(SAMPLE)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("upload", objects("SoftwareUpload"), ids=lambda entry: entry["metadata"]["name"])
def test_uploads_are_made_with_that_sha256(upload: dict[str, Any]) -> None:
    content = tarballs()[f"software/{upload['spec']['source']}"]
    assert hashlib.sha256(content).hexdigest() == upload["spec"]["sha256"]


def test_data_sets_are_made() -> None:
    rules = [*objects("DataRule"), *objects("Lifecycle")]
    assert {rule["spec"]["source"] for rule in rules} == set(DATASETS)


def test_making_uploads_twice_gives_the_same(tmp_path: Path) -> None:
    first = make_uploads(tmp_path)
    assert make_uploads(tmp_path) == first
    for path, content in data_files().items():
        assert (tmp_path / path).read_bytes() == content


def test_every_kind_has_an_owner_rule() -> None:
    ruled = {kind for rule in settings()["ownership"] for kind in rule["kinds"]}
    assert {yaml.safe_load(path.read_text())["kind"] for path in files()} == ruled


def test_everybody_is_asked_for_approval() -> None:
    lines = [line.split() for line in (SAMPLE / "CODEOWNERS").read_text().splitlines()]
    owned = [line[0] for line in lines if line and not line[0].startswith("#")]
    for group in (entry["metadata"]["name"] for entry in objects("UserGroup")):
        for folder in ("data", "software"):
            assert f"/{folder}/{group}/" in owned
    for path in owned:
        assert path == "*" or (SAMPLE / path.strip("/")).exists(), f"{path} is not there any more"
