"""Machines and what is on them: private directories here, systemd-nspawn machines here, or hosts over ssh.

Roles bring software onto machines (Ansible, by `reconciler.playbook`). What is ours stands in a record per
machine, which is all that a pass reads. Layout on disk: `layout.py`. The three ways to have machines:
`local`, `real`, `remote`.
"""

from __future__ import annotations

from reconciler.drivers.hosts.client import Reader, Writer
from reconciler.drivers.hosts.configuration import ConfigurationHand
from reconciler.drivers.hosts.facts import facts
from reconciler.drivers.hosts.layout import CONFIGURATION, SERVER, VOLUME
from reconciler.drivers.hosts.server import ServerHand
from reconciler.drivers.hosts.settings import SETTINGS
from reconciler.drivers.hosts.traits import traits
from reconciler.drivers.hosts.volume import VolumeHand
from reconciler.kind import Driver

DRIVER = Driver(
    name="hosts",
    settings=SETTINGS,
    reader=Reader,
    writer=Writer,
    hands={SERVER: ServerHand(), VOLUME: VolumeHand(), CONFIGURATION: ConfigurationHand()},
    facts=facts,
    write_seconds=3600.0,  # a role that installs things, on all its machines, after waiting for another one
    traits=traits,
    place=("machines", "path"),
)
