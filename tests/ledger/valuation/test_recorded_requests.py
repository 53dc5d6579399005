"""Files of recorded requests: lines by id, lines that cannot be used, requests as another model counts them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.valuation.recorded_requests import RecordedRequests, Recount, recount
from tokenmeter.tokens import count_output, count_request

REQUEST = {"messages": [{"role": "user", "content": "讲一个关于北京胡同的故事，大约两百字。"}]}
DEEPSEEK, QWEN = ("deepseek", "deepseek-chat"), ("alibaba", "qwen-plus")
DAY = "2026-11-01"


def test_lines_are_found_by_any_of_the_ids_and_bad_ones_are_named(tmp_path: Path) -> None:
    lines: list[object] = [
        {"id": "one", "request": REQUEST}, {"id": 5, "request": REQUEST}, {"id": "two", "request": "hello"},
        {"id": "three", "request": REQUEST, "output": "hello"}, ["no object"],
    ]  # fmt: skip
    texts = [json.dumps(line) for line in lines]
    path = tmp_path / "requests.jsonl"
    path.write_bytes(
        b"\xef\xbb\xbf" + "\r\n".join([*texts, "{broken", "", json.dumps({"id": "七", "request": REQUEST})]).encode()
    )
    with RecordedRequests(str(path)) as requests:
        assert [(one.line, one.field) for one in requests.problems] == [
            (2, "id"), (3, "request"), (4, "output"), (5, None), (6, None),
        ]  # fmt: skip
        assert len(requests) == 2
        found = requests.find((None, "missing", "七"))
        assert found is not None
        assert found["request"] == REQUEST
        assert requests.find((None, "two")) is None


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"--requests: .* cannot be read"):
        RecordedRequests(str(tmp_path / "none.jsonl"))


def test_a_request_is_counted_by_the_other_models_own_rules() -> None:
    line = {"request": REQUEST, "output": {"text": "胡同里住着一位老人。"}}
    found = recount(line, DEEPSEEK, QWEN, DAY)
    assert isinstance(found, Recount)
    count = count_request(REQUEST, provider="alibaba", model="qwen-plus", at=DAY)
    assert (found.low, found.likely, found.high) == (count.low, count.tokens, count.high)
    assert (found.tools, found.source_tools) == (0, 0)
    assert found.output is not None
    there, here = (
        count_output(text="胡同里住着一位老人。", provider=provider, model=model, at=DAY).tokens
        for provider, model in (DEEPSEEK, QWEN)
    )
    assert found.output.likely * (there or 0) == here


def test_without_the_answer_its_ratio_is_not_known() -> None:
    found = recount({"request": REQUEST}, DEEPSEEK, QWEN, DAY)
    assert isinstance(found, Recount)
    assert found.output is None
