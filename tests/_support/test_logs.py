"""Values in log lines are printable and short, whoever chose them."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import tokenmeter
from tokenmeter import Usage
from tokenmeter._support.logs import LOGGERS, Lines, logger
from tokenmeter.testing import capture


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    handler = logging.StreamHandler(io.StringIO())
    logger.addHandler(handler)
    yield handler.stream
    logger.removeHandler(handler)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("qwen-plus", "qwen-plus"),
        ("通义", "通义"),
        ("m\nFAKE total 0.00 USD", r"m\nFAKE total 0.00 USD"),
        ("m\r\x1b[2J\x9b1m", r"m\r\x1b[2J\x9b1m"),
        ("left\u202eright\u2028", r"left\u202eright\u2028"),
        ("half\ud83d", r"half\ud83d"),
        ("x" * 5000, "x" * 1000 + "… (5,000 characters)"),
        (Lines("a\nb"), "a\nb"),
        (ValueError("a\nb"), r"a\nb"),
    ],
)
def test_a_value_is_one_printable_line(value: object, expected: str, stream: io.StringIO) -> None:
    logger.warning("calls of %s are not priced", value)
    assert stream.getvalue() == f"calls of {expected} are not priced\n"


def test_numbers_keep_their_formats(stream: io.StringIO) -> None:
    logger.warning("%d of %.1f", 3, 0.5)
    assert stream.getvalue() == "3 of 0.5\n"


def test_a_models_name_begins_no_line_of_its_own(stream: io.StringIO) -> None:
    with capture() as records, tokenmeter.call(provider="deepseek", model="m\nFAKE total 0.00 USD\x1b[2J") as call:
        call.observe_usage(Usage(input_tokens=5, output_tokens=5))
    assert records.only().cost.amount is None
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1
    assert "FAKE" in lines[0]
    assert "\x1b" not in lines[0]


def test_every_logger_of_the_package_has_the_filter() -> None:
    package = Path(tokenmeter.__file__).parent
    named = {
        name
        for path in package.rglob("*.py")
        for name in re.findall(r'getLogger\("([^"]+)"\)', path.read_text("utf-8"))
    }
    assert named <= set(LOGGERS)
