"""A meter at noon in Beijing, on a day whose prices are in the book."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.rigs.one_call import NOON
from tokenmeter import Tokenmeter
from tokenmeter.testing import FixedClock


@pytest.fixture
def meter() -> Iterator[Tokenmeter]:
    made = Tokenmeter(clock=FixedClock(NOON))
    yield made
    made.shutdown()
