"""Our failures end at the guard; the host's own exceptions pass."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest

from tokenmeter._support import guard


@pytest.fixture(autouse=True)
def as_in_production() -> Iterator[None]:
    guard.raise_failures(False)
    guard._seen.clear()
    yield
    guard.raise_failures(True)


class NativePanic(BaseException):
    """What pyo3 raises when Rust code panics: not an Exception."""


@pytest.mark.parametrize("error", [ValueError("ours"), NativePanic("ours"), RecursionError(), MemoryError()])
def test_a_failure_of_ours_is_logged_once_with_its_traceback(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="tokenmeter")
    for _ in range(3):
        with guard.guard("reading usage"):
            raise error
    levels = [record.levelno for record in caplog.records]
    assert levels == [logging.WARNING, logging.DEBUG, logging.DEBUG]
    assert "while reading usage" in caplog.records[0].message
    assert caplog.records[0].exc_info is not None


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), GeneratorExit(), asyncio.CancelledError()])
def test_the_hosts_own_exceptions_pass(error: BaseException) -> None:
    with pytest.raises(type(error)), guard.guard("reading usage"):
        raise error


def test_in_our_own_suite_a_failure_is_raised() -> None:
    guard.raise_failures(True)
    with pytest.raises(ZeroDivisionError), guard.guard("dividing"):
        raise ZeroDivisionError
