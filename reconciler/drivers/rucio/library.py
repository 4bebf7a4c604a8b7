"""Rucio's client library (the package `rucio-clients`), loaded without any configuration.

It looks for a rucio.cfg in places that variables of the environment name, and would take servers, accounts,
policies (code!) and files from it. What we do is what the target's settings say, so it finds none, which the
library provides for. Import this module late: it loads for half a second.
"""

from __future__ import annotations

import rucio.common.config as configuration  # type: ignore[import-untyped]
from rucio.common.exception import ConfigNotFound, RucioException  # type: ignore[import-untyped]


class NoConfiguration:
    """Stands where the library reads its file."""

    def __init__(self) -> None:
        raise ConfigNotFound("the reconciler uses none")


configuration.Config = NoConfiguration
configuration.clean_cached_config()

# only now: modules of the library ask for their configuration when they are loaded
from rucio.client import Client  # type: ignore[import-untyped]  # noqa: E402
from rucio.common.utils import build_url, parse_response  # type: ignore[import-untyped]  # noqa: E402

__all__ = ["Client", "RucioException", "build_url", "parse_response"]
