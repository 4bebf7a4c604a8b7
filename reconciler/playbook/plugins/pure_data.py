"""Ansible's way to our inventory: variables as plain data, none of which is ever a template.

Ansible loads this file by its path (see the inventory plugins of ansible-core 2.19). It templates only
text that is marked as trusted. Its own readers of YAML and JSON mark all they read; this one marks nothing.
"""

from __future__ import annotations

import json
from typing import Any

from ansible.plugins.inventory import BaseInventoryPlugin  # type: ignore[import-untyped]

DOCUMENTATION = """
name: pure_data
short_description: Hosts and variables from one JSON file, as data
description: A mapping from host to its variables. No value is a template.
options: {}
"""


class InventoryModule(BaseInventoryPlugin):  # type: ignore[misc]
    """Reads `{host: {variable: value}}`."""

    NAME = "pure_data"
    trusted_by_default = False  # the point of this plugin

    def parse(self, inventory: Any, loader: Any, path: Any, cache: Any = True) -> None:  # noqa: FBT002  Ansible's
        super().parse(inventory, loader, path, cache)
        with open(path, "rb") as file:
            hosts: dict[str, dict[str, Any]] = json.load(file)
        for host, variables in hosts.items():
            self.inventory.add_host(host, group="all")
            for name, value in variables.items():
                self.inventory.set_variable(host, name, value)
