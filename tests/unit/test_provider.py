"""Provider: names and settings of targets."""

from __future__ import annotations

import pytest

from reconciler.construct import build, filled
from reconciler.kinds.provider import KIND, ProviderSpec, provider_of, targets_of
from reconciler.model import Declared, Json, Ref, Source


def provider(*targets: dict[str, Json], **spec: Json) -> Declared:
    whole = filled(ProviderSpec, {"targets": list(targets), **spec})
    return Declared(Ref("Provider", "", "recas"), whole, Source("p.yaml", 3))


def test_the_only_target_is_called_as_its_provider() -> None:
    (target,) = targets_of(provider({"name": "disk", "type": "storage", "path": "a"})).values()
    assert (target.name, target.driver, target.provider) == ("recas", "storage", "recas")
    assert target.settings == {"path": "a"}
    assert (target.concurrency, target.rate, target.timeout, target.deadline) == (4, 0.0, 60.0, 3600.0)


def test_several_targets_have_their_own_names() -> None:
    targets = targets_of(
        provider(
            {"name": "disk", "type": "storage", "rate": "0.5", "timeout": "2m", "concurrency": 8},
            {"name": "tape", "type": "storage", "deadline": "2h"},
            groups=["cms"],
            status="limited",
        )
    )
    assert list(targets) == ["recas.disk", "recas.tape"]
    disk = targets["recas.disk"]
    assert (disk.rate, disk.timeout, disk.concurrency, disk.settings) == (0.5, 120.0, 8, {})
    assert disk.serves("cms")
    assert not disk.serves("atlas")
    assert targets["recas.tape"].deadline == 7200.0
    assert disk.status == "limited"
    assert disk.source == Source("p.yaml", 3)
    assert provider_of("recas.disk") == provider_of("recas") == Ref("Provider", "", "recas")


@pytest.mark.parametrize(
    ("targets", "spec", "path", "words"),
    [
        ([{"type": "a"}, {"type": "a", "name": "x"}], {}, "spec.targets.0", "needs a `name`"),
        ([{"type": "a", "name": "x"}, {"type": "b", "name": "x"}], {}, "spec.targets.1.name", "two targets"),
        ([{"type": "a"}], {"location": {"latitude": "91"}}, "spec.location.latitude", "between -90 and 90"),
    ],
)
def test_what_a_schema_cannot_say(targets: list[Json], spec: dict[str, Json], path: str, words: str) -> None:
    ((where, message, _hint),) = KIND.check(provider(*targets, **spec))
    assert where == path
    assert words in message


def test_a_good_one_has_no_problems_and_a_type() -> None:
    good = provider({"type": "a"}, location={"site": "BARI", "country": "IT", "latitude": "41.1"})
    assert list(KIND.check(good)) == []
    spec = build(ProviderSpec, good.spec)
    assert spec.location is not None
    assert spec.location.latitude == 41.1
    assert spec.status == "active"
