"""The services of the sample on real machines: `make demo-machines` (root on Debian)."""

from __future__ import annotations

import yaml


def without_shared_home(template: str) -> str:
    """The template of the Slurm cluster without its shared /home, for hosts whose kernel has no NFS."""
    told = yaml.safe_load(template)
    nodes = told["topology_template"]["node_templates"]
    for name in [name for name in nodes if name.startswith("home_")]:
        del nodes[name]
    for node in nodes.values():
        wanted = node.get("requirements", ())
        node["requirements"] = [one for one in wanted if not str(one.get("needs", "")).startswith("home_")]
    del told["topology_template"]["inputs"]["network"]
    return yaml.safe_dump(told, sort_keys=False)
