"""A line per call: valid JSON, the right logger and level, the call's own trace ids, and no text of a prompt."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace

import tokenmeter
from tests.rigs.made_records import priced, record, unpriced
from tokenmeter.otel.log import LOGGER, Log
from tokenmeter.record import End
from tokenmeter.usage import Source, Usage

TRACE = {"trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331"}


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """The logger as a program finds it, and put back so."""
    logger = logging.getLogger(LOGGER)
    before = logger.level, logger.propagate, list(logger.handlers)
    yield logger
    logger.level, logger.propagate, logger.handlers[:] = before
    logger.manager._clear_cache()


def line(logger: logging.Logger, one: Any, caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    Log(logger).write(one)
    (said,) = [item for item in caplog.records if item.name == LOGGER]
    assert said.levelno == logging.INFO
    answer: dict[str, Any] = json.loads(said.getMessage())
    assert said.__dict__["tokenmeter"] == answer, "handlers that make JSON themselves find the same"
    return answer


def test_a_line_says_what_a_call_was_and_cost(logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    said = line(logger, record(priced("0.0012"), tags={"team": "搜索"}, scope=("answer",), **TRACE), caplog)
    assert said["cost"] == {"amount": "0.0012", "currency": "CNY"}
    assert said["usage"] == {"input_tokens": 1000, "output_tokens": 100}
    assert said["time"] == "2026-11-01T12:00:00Z"
    assert (said["provider"], said["model"], said["end"], said["duration"]) == (
        "deepseek",
        "deepseek-chat",
        "complete",
        1,
    )
    assert (said["tags"], said["scope"]) == ({"team": "搜索"}, ["answer"])
    assert {name: said[name] for name in TRACE} == TRACE


def test_what_is_unknown_is_null_or_absent_and_never_zero(
    logger: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    one = record(unpriced("no rate for this model"), usage=Usage(source=Source.NONE), end=End.ERROR, error_type="Oops")
    said = line(logger, one, caplog)
    assert said["cost"] is None
    assert said["cost_reason"] == "no rate for this model"
    assert (said["usage_source"], said["end"], said["error_type"]) == ("none", "error", "Oops")
    assert not {"usage", "tags", "trace_id"} & said.keys()


def test_strange_text_is_one_line_of_json(logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    said = line(logger, record(tags={"a": 'x\n"y" %s {z}'}), caplog)
    assert said["tags"] == {"a": 'x\n"y" %s {z}'}
    assert "\n" not in caplog.records[-1].getMessage()


def test_half_characters_and_endless_names_lose_no_line(logger: logging.Logger, tmp_path: Path) -> None:
    handler = logging.FileHandler(tmp_path / "calls.log", encoding="utf-8")
    logger.addHandler(handler)
    names = {"request_model": "m\ud800", "response_id": "i\udfff" * 100_000, "scope": ("s\ud800",)}
    Log(logger).write(record(tags={"k\ud800": "v\ud800", "plain": "搜索"}, **names))
    logger.removeHandler(handler)
    handler.close()
    said = json.loads((tmp_path / "calls.log").read_text("utf-8"))
    assert (said["request_model"], said["scope"], said["tags"]) == ("m?", ["s?"], {"k?": "v?", "plain": "搜索"})
    assert len(said["response_id"]) == 1024
    assert said["cost"]["amount"] == "0.0012"


def test_without_any_handler_lines_go_to_standard_error(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    logger.propagate = False
    Log(logger).write(record())
    out = capsys.readouterr()
    assert json.loads(out.err)["event"] == "llm.call"
    assert out.out == ""


def test_the_programs_level_is_kept(logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    logger.setLevel(logging.ERROR)
    Log(logger).write(record())
    assert caplog.records == []


def test_handlers_see_the_calls_own_span_and_what_was_current_stays(logger: logging.Logger) -> None:
    seen: list[trace.SpanContext] = []

    class Tracing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(trace.get_current_span().get_span_context())

    logger.addHandler(Tracing())
    Log(logger).write(record(**TRACE))
    assert [f"{one.trace_id:032x}" for one in seen] == [TRACE["trace_id"]]
    assert not trace.get_current_span().get_span_context().is_valid


def test_it_is_a_setting(logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    meter = tokenmeter.Tokenmeter(log="json")
    with meter.call(provider="deepseek", model="deepseek-chat", request={"messages": "sécret prompt"}) as call:
        call.observe_usage(Usage(input_tokens=10**6, output_tokens=0))
    meter.shutdown()
    (said,) = [item.getMessage() for item in caplog.records if item.name == LOGGER]
    assert json.loads(said)["usage"]["input_tokens"] == 10**6
    assert "prompt" not in said
    with pytest.raises(tokenmeter.ConfigurationError, match="log='yaml'"):
        tokenmeter.Tokenmeter(log="yaml")
