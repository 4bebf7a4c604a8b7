"""Deployments on real machines, through the command line: made, changed, hurt, healed, removed."""

from __future__ import annotations

import faulthandler
from collections.abc import Iterator

import pytest

from tests.live.cloud import Cloud, fetched, open_cloud

pytestmark = pytest.mark.live

ALERTS = "Deployment/virgo/alerts"
WEB = """\
apiVersion: reconciler/v1
kind: Deployment
metadata: {name: alerts, group: virgo}
spec:
  service: web
  placement: {targets: [lab]}
  inputs:
    title: Public alerts
    page: "<h1>No alert since Tuesday</h1>"
"""


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with open_cloud() as opened:
        # packages are installed and many roles run: longer than pytest's limit; each command has one of its own
        faulthandler.cancel_dump_traceback_later()
        yield opened


def test_a_web_service_is_made_changed_healed_and_removed(cloud: Cloud) -> None:
    cloud.commit({"deployments/virgo/alerts.yaml": WEB})
    cloud.apply()
    url = cloud.outputs(ALERTS)["url"]
    assert fetched(url) == (200, "<h1>No alert since Tuesday</h1>")
    cloud.assert_quiet()

    cloud.edit("deployments/virgo/alerts.yaml", "No alert since Tuesday", "S261121a: two black holes")
    cloud.apply()
    assert fetched(url) == (200, "<h1>S261121a: two black holes</h1>")
    cloud.assert_quiet()

    cloud.kill(f"{ALERTS}/backend.server")
    assert fetched(url)[0] == 502
    healed = cloud.apply()
    assert [(one["ref"], one["result"]) for one in healed["outcomes"]] == [(f"{ALERTS}/backend.server", "Applied")]
    assert fetched(url) == (200, "<h1>S261121a: two black holes</h1>")
    cloud.assert_quiet()

    assert len(cloud.seen) == 2
    assert cloud.traces()
    cloud.commit({"deployments/virgo/alerts.yaml": None})
    cloud.apply()
    assert cloud.records() == {}
    assert cloud.traces() == []
    assert fetched(url)[0] == 0
