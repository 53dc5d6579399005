"""pytest fixtures, registered by the package: `tokenmeter_capture` and `tokenmeter_provider`.

pytest loads this module in every run of every project that has tokenmeter installed, so it imports nothing of ours
until a test asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tokenmeter.testing.captured import Records
    from tokenmeter.testing.server import ProviderServer


@pytest.fixture
def tokenmeter_capture() -> Iterator[Records]:
    """Records of the calls that this test meters."""
    from tokenmeter.testing.captured import capture

    with capture() as records:
        yield records


@pytest.fixture
def tokenmeter_provider() -> Iterator[ProviderServer]:
    """A local provider server for the duration of this test."""
    from tokenmeter.testing.server import provider_server

    with provider_server() as server:
        yield server
