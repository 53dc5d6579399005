"""Seconds of the soak (`python -m tests.real.soak` runs for minutes): each request is in one record, all sums agree."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

pytest.importorskip("openai", reason="calls are made with SDKs")
from tests.real.soak import soak


@pytest.fixture
def quiet() -> Iterator[None]:
    """Errors of the bad answers are many; failures of ours go to the log, as in production."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # streams forgotten by the program
def test_every_request_is_in_one_record(quiet: None) -> None:
    result = soak(20)
    assert result.faults == []
    assert result.requests > 100
    assert result.named_by_id + result.matched_by_unit == result.requests
