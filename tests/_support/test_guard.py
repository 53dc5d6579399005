"""Our failures end at the guard; the host's own exceptions pass."""

from __future__ import annotations

import asyncio
import functools
import logging
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest
import tiktoken

from tokenmeter import UsageError
from tokenmeter._support import guard


@pytest.fixture(autouse=True)
def as_in_production() -> Iterator[None]:
    guard.raise_failures(False)
    guard._seen.clear()
    yield
    guard.raise_failures(True)


@pytest.mark.parametrize("error", [ValueError("ours"), RecursionError(), MemoryError(), UsageError("bad")])
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
    assert f'{__file__}", line ' in caplog.records[0].message
    assert type(error).__qualname__ in caplog.records[0].message


def test_a_native_panic_of_a_tokenizer_is_a_failure_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    encoding = tiktoken.Encoding(
        "tiny", pat_str=r"\s+(?!\S)|\s+|.", mergeable_ranks={bytes([n]): n for n in range(256)}, special_tokens={}
    )
    with guard.guard("counting"):
        encoding.encode_ordinary(" " * 1_000_001 + "a")
    assert "PanicException" in caplog.text


class OtherPanic(BaseException):
    """What the native code of another package of the host raises."""


OtherPanic.__module__, OtherPanic.__name__ = "pyo3_runtime", "PanicException"


class Cancelled(BaseException):
    """trio.Cancelled, gevent.Timeout, greenlet.GreenletExit and their like derive from BaseException."""


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), SystemExit(3), GeneratorExit(), asyncio.CancelledError(), Cancelled(), OtherPanic()]
)
def test_the_hosts_own_exceptions_pass(error: BaseException) -> None:
    with pytest.raises(type(error)), guard.guard("reading usage"):
        raise error


class SoftTimeLimitExceeded(Exception):
    """As Celery's: an ordinary exception that a signal handler raises."""


def handler(number: int, frame: FrameType | None) -> None:
    raise SoftTimeLimitExceeded


def handler_below(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    handler_of_many(number, frame)


def handler_of_many(*details: Any) -> None:
    raise SoftTimeLimitExceeded


class Handler:
    def __call__(self, number: int, frame: FrameType | None) -> None:
        raise SoftTimeLimitExceeded


def be_interrupted() -> None:
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    until = time.monotonic() + 10
    while time.monotonic() < until:
        sum(range(1000))


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="no SIGALRM on this platform")
@pytest.mark.parametrize(
    "raising",
    [handler, handler_below, handler_of_many, Handler(), functools.partial(handler)],
    ids=["function", "uninstalls itself", "any arguments", "object", "partial"],
)
def test_what_a_signal_handler_raises_passes(raising: Callable[[int, FrameType | None], None]) -> None:
    before = signal.signal(signal.SIGALRM, raising)
    try:
        with pytest.raises(SoftTimeLimitExceeded), guard.guard("settling a call"):
            be_interrupted()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(
    ("patch", "timeout", "expected"),
    [
        ("import gevent.monkey; gevent.monkey.patch_all(); import gevent", "gevent.Timeout(0.05)", "Timeout"),
        (
            "import gevent.monkey; gevent.monkey.patch_all(); import gevent",
            "gevent.Timeout(0.05, KeyError)",
            "KeyError",
        ),
        ("import eventlet; eventlet.monkey_patch()", "eventlet.Timeout(0.05)", "Timeout"),
        ("import eventlet; eventlet.monkey_patch()", "eventlet.Timeout(0.05, KeyError)", "KeyError"),
    ],
)
def test_what_a_scheduler_of_greenlets_throws_in_passes(patch: str, timeout: str, expected: str) -> None:
    pytest.importorskip("eventlet" if "eventlet" in patch else "gevent")
    program = f"""
        {patch}
        import time
        from tokenmeter._support.guard import guard
        try:
            with {timeout}:
                with guard("writing to a sink"):
                    time.sleep(30)
        except BaseException as error:
            print(type(error).__name__)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == expected, done.stderr


def test_the_log_quotes_no_message_and_no_context_of_other_exceptions(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise ConnectionError("system prompt: CANARY-1")
    except ConnectionError as refused:
        with guard.guard("writing to a sink"):
            try:
                raise KeyError("user prompt: CANARY-2")
            except KeyError:
                raise ValueError("CANARY-3") from refused
    assert "ValueError" in caplog.text
    assert "CANARY" not in caplog.text
    assert all(record.exc_info is None for record in caplog.records), "a handler would print the chain"


def test_in_our_own_suite_a_failure_is_raised() -> None:
    guard.raise_failures(True)
    with pytest.raises(ZeroDivisionError), guard.guard("dividing"):
        raise ZeroDivisionError
