"""Usage: subsets live in their totals, unknown is None, and every number says where it came from."""

from __future__ import annotations

import inspect
from decimal import Decimal
from typing import Any

import pytest

from tokenmeter.errors import UsageError
from tokenmeter.token_count import TokenCount
from tokenmeter.usage import Source, Usage, worst


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        pytest.param({"input_tokens": 1.0}, "input_tokens", id="float"),
        pytest.param({"input_tokens": True}, "input_tokens", id="boolean"),
        pytest.param({"output_tokens": "12"}, "output_tokens", id="text"),
        pytest.param({"cache_writes": {"5m": 1.5}}, "cache_writes", id="float in a lifetime"),
        pytest.param({"quantities": {"images": 0.5}}, "images", id="float in a quantity"),
    ],
)
def test_a_wrong_type_is_named(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        Usage(**fields)


@pytest.mark.parametrize(
    ("positional", "named", "message"),
    [
        pytest.param((), {"input_token": 1}, "usage.input_token: not a component; did you mean 'input_tok", id="near"),
        pytest.param((), {"input": 1}, "usage.input: not a component; the components are input_tokens,", id="far"),
        pytest.param((5, 3), {}, "Usage(5): name the components: Usage(input_tokens=…", id="positional"),
    ],
)
def test_a_name_that_is_no_component_is_a_usage_error(
    positional: tuple[int, ...], named: dict[str, int], message: str
) -> None:
    with pytest.raises(UsageError) as raised:
        Usage(*positional, **named)
    assert str(raised.value).startswith(message)
    assert list(inspect.signature(Usage).parameters)[:2] == ["input_tokens", "output_tokens"]


JSON = {
    "input_tokens": 100,
    "output_tokens": 20,
    "cache_read_input_tokens": 60,
    "cache_write_input_tokens": 30,
    "reasoning_output_tokens": 5,
    "cache_write_1h_input_tokens": 30,
    "audio_cache_read_input_tokens": 7,
    "quantities": {"images": 2, "audio_seconds": "1.5"},
}


def test_the_json_form_reads_back() -> None:
    usage = Usage.from_dict(JSON)
    assert usage.to_dict() == JSON
    assert usage.cache_writes == {"1h": 30}
    assert usage.quantities["audio_seconds"] == Decimal("1.5")
    assert usage.video_input_tokens is None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param({"input_token": 1}, "did you mean 'input_tokens'", id="typo"),
        pytest.param({"prompt_tokens": 1}, "a vendor's word for input_tokens;", id="OpenAI's input"),
        pytest.param({"completion_tokens": 1}, "a vendor's word for output_tokens;", id="OpenAI's output"),
        pytest.param({"promptTokenCount": 1}, "a vendor's word for input_tokens;", id="Gemini's input"),
        pytest.param({"candidatesTokenCount": 1}, "a vendor's word for output_tokens;", id="Gemini's output"),
        pytest.param({"thoughtsTokenCount": 1}, "a vendor's word for reasoning_output_tokens;", id="thoughts"),
        pytest.param({"cache_creation_input_tokens": 1}, "for cache_write_input_tokens;", id="Anthropic's cache"),
        pytest.param({"total_tokens": 1}, "which are given apart", id="total"),
        pytest.param({"images": 1}, "an amount under quantities", id="quantity"),
        pytest.param({"quantities": {"images": 1.5}}, "fraction as a string", id="float quantity"),
        pytest.param({"quantities": {"images": "many"}}, "is not a number", id="word"),
        pytest.param({"quantities": [1]}, "not an object", id="list"),
    ],
)
def test_the_json_form_says_what_is_wrong(data: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Usage.from_dict(data)


@pytest.mark.parametrize(
    ("usage", "found"),
    [
        pytest.param(Usage(input_tokens=10, cache_read_input_tokens=10), (), id="all cached"),
        pytest.param(Usage(input_tokens=10, cache_read_input_tokens=11), ("above input_tokens",), id="more cached"),
        pytest.param(Usage(output_tokens=-1), ("negative",), id="negative"),
        pytest.param(
            Usage(input_tokens=10, cache_read_input_tokens=6, cache_write_input_tokens=6),
            ("together",),
            id="reads and writes",
        ),
        pytest.param(Usage(cache_write_input_tokens=1, cache_writes={"5m": 2}), ("lifetime",), id="lifetimes"),
        pytest.param(Usage(cache_read_input_tokens=5), (), id="no total to compare with"),
    ],
)
def test_contradictions_are_words_not_exceptions(usage: Usage, found: tuple[str, ...]) -> None:
    said = usage.contradictions()
    assert len(said) == len(found)
    assert all(part in line for part, line in zip(found, said, strict=True))


def test_what_is_reported_is_never_replaced_by_a_count() -> None:
    count = TokenCount(50, 45, 60, "ratio")
    usage = Usage(input_tokens=100).with_counts(input_tokens=count, output_tokens=count)
    assert (usage.input_tokens, usage.output_tokens) == (100, 50)
    assert usage.source_of("input_tokens") is Source.REPORTED
    assert usage.source_of("output_tokens") is Source.ESTIMATED
    assert usage.ranges == {"output_tokens": (45, 60)}
    assert usage.worst_source is Source.ESTIMATED


def test_a_count_that_could_not_be_made_leaves_the_gap() -> None:
    usage = Usage(source=Source.NONE).with_counts(input_tokens=TokenCount(None, None, None, None, reason="no family"))
    assert usage.input_tokens is None
    assert usage.source_of("input_tokens") is Source.NONE


def test_a_count_with_the_models_own_vocabulary_is_counted() -> None:
    assert TokenCount(1, 1, 1, "exact").source is Source.COUNTED
    assert TokenCount(1, 1, 1, "template").source is Source.COUNTED
    assert TokenCount(1, 0, 2, "stand-in").source is Source.ESTIMATED


def test_worst_of_nothing_is_none() -> None:
    assert worst() is Source.NONE
    assert worst(Source.REPORTED, Source.PARTIAL) is Source.PARTIAL
