"""`batch.count`: the counts of `tokenmeter.count`, row by row."""

from __future__ import annotations

from typing import Any

import pytest

import tokenmeter
from tokenmeter.errors import ConfigurationError

pa = pytest.importorskip("pyarrow")
TEXTS = ("", "hello world", "你好，世界", "def f(x):\n    return x + 1\n", "naïve café " * 50)


@pytest.mark.parametrize("model", ["gpt-4o", "qwen-max", "claude-sonnet-4-5", "no such model"])
def test_each_text_is_counted_as_one_alone(model: str) -> None:
    table = pa.table({"id": range(len(TEXTS)), "text": TEXTS})
    found = tokenmeter.batch.count(table, model=model).read_all().to_pylist()
    for number, (row, text) in enumerate(zip(found, TEXTS, strict=True)):
        one = tokenmeter.count(text, model=model)
        assert row == {
            "id": number, "text": text, "tokens": one.tokens, "tokens_low": one.low, "tokens_high": one.high,
            "tokens_method": one.method, "tokens_family": one.family, "tokens_reason": one.reason,
        }  # fmt: skip


def test_models_and_providers_are_columns_too() -> None:
    table = pa.table({"prompt": TEXTS[1:4], "model": ["gpt-4o", None, "qwen-max"], "provider": ["openai", None, None]})
    found = tokenmeter.batch.count(table, column="prompt", model="gpt-4", provider="openai").read_all().to_pylist()
    models = (("gpt-4o", "openai"), ("gpt-4", "openai"), ("qwen-max", "openai"))
    for row, text, (model, provider) in zip(found, TEXTS[1:4], models, strict=True):
        assert row["tokens"] == tokenmeter.count(text, model=model, provider=provider).tokens


def test_many_models_side_by_side_are_counted_as_each_alone() -> None:
    models = ("gpt-4o", "claude-sonnet-4-5", "no such model", "qwen-max", None)
    rows = [{"text": f"{text}{number}", "model": models[number % 5]} for number, text in enumerate(TEXTS * 40)]
    found = tokenmeter.batch.count(pa.Table.from_pylist(rows), model="gpt-4").read_all().to_pylist()
    for row in found:
        one = tokenmeter.count(row["text"], model=row["model"] or "gpt-4")
        assert (row["tokens"], row["tokens_low"], row["tokens_high"]) == (one.tokens, one.low, one.high)
        assert (row["tokens_method"], row["tokens_reason"]) == (one.method, one.reason)


def test_a_row_without_text_or_model_says_so() -> None:
    table = pa.table({"text": ["hi", None, "hi"], "model": ["gpt-4o", "gpt-4o", None]})
    found = tokenmeter.batch.count(table).read_all().to_pylist()
    assert [row["tokens"] for row in found] == [1, None, None]
    reasons = [row["tokens_reason"] for row in found]
    assert reasons == [None, "row 1, column text: not known", "row 2, column model: not known"]


@pytest.mark.parametrize(
    ("columns", "asked", "message"),
    [
        ({"text": ["a"]}, {}, "no column 'model'"),
        ({"body": ["a"]}, {"model": "gpt-4o"}, "no column 'text'"),
        ({"text": [1]}, {"model": "gpt-4o"}, "'text' is int64: it must hold text"),
        ({"text": ["a"], "tokens": [1]}, {"model": "gpt-4o"}, "'tokens' already"),
    ],
)
def test_columns_that_cannot_be_counted_are_refused_at_once(
    columns: dict[str, Any], asked: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        tokenmeter.batch.count(pa.table(columns), **asked)


def test_no_batches_give_no_rows() -> None:
    assert tokenmeter.batch.count([], model="gpt-4o").read_all().num_rows == 0
