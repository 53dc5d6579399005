"""The rig of the tests of foreign spans."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.rigs.processor_rig import Rig


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.meter.shutdown()
