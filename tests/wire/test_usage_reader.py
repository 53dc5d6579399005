"""Usage objects of every wire format: totals, parts of a list, and usage of another format than was announced."""

from __future__ import annotations

from typing import Any

import pytest

from tokenmeter import Usage
from tokenmeter.wire.extract import extract
from tokenmeter.wire.usage_fields import Fields


@pytest.mark.parametrize(
    ("api", "body", "expected"),
    [
        pytest.param("dashscope.embeddings", {"usage": {"total_tokens": 5}}, (5, 0), id="dashscope embeddings"),
        pytest.param("dashscope.tokenizer", {"usage": {"input_tokens": 5}}, (5, 0), id="dashscope tokenizer"),
        pytest.param("gemini.count_tokens", {"totalTokens": 31}, (31, 0), id="gemini count"),
        pytest.param("gemini.embeddings", {"usageMetadata": {"promptTokenCount": 6}}, (6, 0), id="gemini embeddings"),
        pytest.param(
            "google.predict",
            {"predictions": [{"embeddings": {"statistics": {"token_count": n}}} for n in (3, 4)]},
            (7, 0),
            id="vertex embeddings add up",
        ),
        pytest.param("ollama.embeddings", {"embeddings": [[0.1]], "prompt_eval_count": 8}, (8, 0), id="ollama embed"),
        pytest.param(
            "openai.input_tokens", {"object": "response.input_tokens", "input_tokens": 11}, (11, 0), id="input tokens"
        ),
        pytest.param("tencent.embeddings", {"Response": {"Usage": {"TotalTokens": 4}}}, (4, 0), id="tencent embed"),
        pytest.param("tencent.token_count", {"Response": {"TokenCount": 2}}, (2, 0), id="tencent count"),
    ],
)
def test_what_only_takes_input_has_output_zero(api: str, body: dict[str, Any], expected: tuple[int, int]) -> None:
    usage = extract(body, api=api).usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == expected


def test_a_usage_of_another_format_is_read_and_said() -> None:
    found = extract({"usage": {"inputTokens": 3, "outputTokens": 4}}, provider="openai", api="openai.chat")
    assert found.usage == Usage(input_tokens=3, output_tokens=4)
    assert found.flags == ("other_format: asked as openai.chat, the usage is bedrock.converse's",)


def test_elements_of_one_list_add_up_and_say_what_is_new_in_them() -> None:
    fields = Fields({"details[kind=a].n": "input_tokens"}, ["details[kind=b].n"])
    found = fields.pick(
        {"details": [{"kind": "a", "n": 2}, {"kind": "a", "n": 3, "x": 1}, {"kind": "b", "n": 9}, {"kind": "c"}]}
    )
    assert found.values == {"input_tokens": 5}
    assert found.unknown == ("details[].x", "details[kind=c]")
