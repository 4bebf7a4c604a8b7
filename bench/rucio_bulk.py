"""Rules by Rucio's own client, as a person would script it: `python -m bench.rucio_bulk FILE`.

The file is JSON: url, account, scope, names, element, and how many data sets one call has. The password is in
RUCIO_PASSWORD. The client's token lies below the folder of the file, and is not used again.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path


def main() -> None:
    """One login, and as many calls as it takes."""
    told = json.loads(Path(sys.argv[1]).read_text())
    from rucio.client import Client  # type: ignore[import-untyped]  # noqa: PLC0415  it loads for long

    with tempfile.TemporaryDirectory(dir=Path(sys.argv[1]).parent) as folder:
        os.environ["HOME"] = folder
        tempfile.tempdir = folder  # the client keeps its token below the folder for temporary files
        user = {"username": told["account"], "password": os.environ["RUCIO_PASSWORD"]}
        login = {"account": told["account"], "auth_type": "userpass", "creds": user}
        client = Client(rucio_host=told["url"], auth_host=told["url"], **login)
        dids = [{"scope": told["scope"], "name": name} for name in told["names"]]
        for start in range(0, len(dids), told["size"]):
            some = dids[start : start + told["size"]]
            client.add_replication_rule(some, 1, told["element"], comment="bench", grouping="DATASET")


if __name__ == "__main__":
    main()
