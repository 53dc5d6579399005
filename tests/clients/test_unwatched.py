"""What is billed and not watched: no entry is watched, every vendor is known, doctor prints each."""

from __future__ import annotations

import pytest

from tokenmeter.cli.doctor import examine
from tokenmeter.clients.unwatched import UNWATCHED
from tokenmeter.providers.registry import load_providers


@pytest.mark.parametrize(("vendor", "path"), [(row.vendor, path) for row in UNWATCHED for path in row.paths])
def test_an_entry_is_not_watched(vendor: str, path: str) -> None:
    provider = load_providers().by_id[vendor]
    host = provider.endpoints[0].pattern.replace("{region}", "us-east-1").replace("*", "x")
    endpoint = load_providers().for_host(host, path)
    assert endpoint is not None
    assert endpoint.api is None, f"{path} is watched as {endpoint.api}: take it out of the table"


def test_doctor_prints_every_vendor() -> None:
    assert {row.vendor for row in UNWATCHED} <= set(load_providers().by_id)
    printed = examine()["unwatched"]
    assert all(row.what in printed[row.vendor] for row in UNWATCHED)
