"""Make the tarballs and data sets that sample-config-repo/ names: small, and the same bytes everywhere.

Data is not in git. Real sites get it from experiments and build services; here it is computed.
`python demo/make_uploads.py FOLDER` writes FOLDER/data and FOLDER/software and prints every sha256.
"""

from __future__ import annotations

import hashlib
import io
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

MODIFIED = 1_767_225_600  # 2026-01-01T00:00:00Z, for everything: the same bytes, the same sha256

DATASETS: Mapping[str, Mapping[str, int]] = {
    "higgs-2026": {"run-001.root": 40_000, "run-002.root": 25_000, "README": 300},
    "calibration-2026": {"ecal.db": 6_000, "hcal.db": 6_000},
    "raw-exp35": {"raw-0001.root": 50_000, "raw-0002.root": 50_000},
    "strain-o5": {"h1.gwf": 20_000, "l1.gwf": 20_000, "v1.gwf": 20_000},
    "alerts-2026": {"alerts.avro": 9_000},
}

SOFTWARE: Mapping[str, Mapping[str, str]] = {
    "root-6.32.tar": {"bin/root": "#!/bin/sh\necho ROOT 6.32\n", "VERSION": "6.32\n"},
    "root-6.34.tar": {"bin/root": "#!/bin/sh\necho ROOT 6.34\n", "VERSION": "6.34\n"},
    "basf2-08.tar": {"bin/basf2": "#!/bin/sh\necho basf2 08\n", "etc/basf2.conf": "threads = 4\n"},
    "basf2-09.tar": {"bin/basf2": "#!/bin/sh\necho basf2 09\n", "etc/basf2.conf": "threads = 8\n"},
    "pycbc-2.8.tar": {"bin/pycbc": "#!/bin/sh\necho PyCBC 2.8\n"},
}


def make_uploads(folder: Path) -> dict[str, str]:
    """Write everything below `folder`; file → sha256. What is there already is written again."""
    return {
        path: write(folder / path, content)
        for path, content in sorted([*data_files().items(), *tarballs().items()])
    }


def data_files() -> dict[str, bytes]:
    """The files of all data sets: path → content."""
    return {
        f"data/{dataset}/{name}": noise(f"{dataset}/{name}", size)
        for dataset, files in DATASETS.items()
        for name, size in files.items()
    }


def tarballs() -> dict[str, bytes]:
    """All software: path → content."""
    return {f"software/{name}": tarball(files) for name, files in SOFTWARE.items()}


def noise(seed: str, size: int) -> bytes:
    """`size` bytes that look random and depend on the seed only."""
    blocks = (hashlib.sha256(f"{seed}/{number}".encode()).digest() for number in range(size // 32 + 1))
    return b"".join(blocks)[:size]


def tarball(files: Mapping[str, str]) -> bytes:
    """A tar archive, not compressed: compressors differ between machines, tar does not."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, text in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(text.encode()), MODIFIED
            entry.mode = 0o755 if name.startswith("bin/") else 0o644
            archive.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


def write(path: Path, content: bytes) -> str:
    """Write one file and return its sha256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python demo/make_uploads.py FOLDER")
    for path, digest in make_uploads(Path(sys.argv[1])).items():
        print(f"{digest}  {path}")
