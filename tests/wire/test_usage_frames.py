"""Usage objects read by the frame of one before: as the reader reads each by itself, or not at all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmeter.usage import TOKEN_FIELDS, Usage, usage_of
from tokenmeter.wire.answer_facts import Facts
from tokenmeter.wire.extract import reader_for
from tokenmeter.wire.extracted import Extracted, raw_usage
from tokenmeter.wire.usage_frames import UsageFrames
from tokenmeter.wire.usage_reader import UsageReader

FACTS = Facts("m", "id", None, ("stop",), None)
PLAIN = {"prompt_tokens": 20, "completion_tokens": 12, "total_tokens": 32}
DETAILS = {**PLAIN, "prompt_tokens_details": {"cached_tokens": 8}, "completion_tokens_details": {"reasoning_tokens": 0}}


def reader(provider: str, api: str) -> UsageReader:
    found = reader_for(provider, api)
    assert found is not None
    return found


def frames(provider: str = "openai", api: str = "openai.chat") -> UsageFrames:
    return UsageFrames(reader(provider, api)._fields, api)


def text(usage: object) -> bytes:
    return json.dumps(usage).encode()


def learnt(made: UsageFrames, usage: dict[str, Any]) -> UsageFrames:
    for _ in range(2):
        made.learn(text(usage), usage)
    return made


def parsed(said: Extracted | None) -> Extracted | None:
    return None if said is None else said._replace(raw=raw_usage(said.raw))


@pytest.mark.parametrize(
    ("usage", "read"),
    [
        pytest.param(PLAIN, True, id="plain"),
        pytest.param(DETAILS, True, id="details"),
        pytest.param({**DETAILS, "prompt_tokens_details": None}, True, id="no details"),
        pytest.param({**PLAIN, "something_new": 3}, True, id="a field nobody knows"),
        pytest.param({"prompt_tokens": 20, "completion_tokens": 12}, True, id="no total"),
        pytest.param({**PLAIN, "total_tokens": 90}, False, id="a total that does not fit"),
        pytest.param({**PLAIN, "completion_tokens": 0, "total_tokens": 20}, False, id="a zero"),
        pytest.param({**PLAIN, "prompt_tokens": "20"}, False, id="a text"),
        pytest.param({**PLAIN, "prompt_tokens": True}, False, id="a boolean"),
        pytest.param({**DETAILS, "prompt_tokens_details": {"cached_tokens": 21}}, False, id="more cached than sent"),
        pytest.param({**DETAILS, "prompt_tokens_details": {"cached_tokens": -1}}, False, id="a negative"),
        pytest.param({**PLAIN, "prompt_tokens_details": 4}, False, id="a number for an object"),
        pytest.param({**PLAIN, "prompt_cache_hit_tokens": 4}, True, id="DeepSeek's cache"),
        pytest.param({}, False, id="nothing"),
    ],
)
def test_what_is_read(usage: dict[str, Any], read: bool) -> None:
    made = learnt(frames("deepseek") if "prompt_cache_hit_tokens" in usage else frames(), usage)
    said = parsed(made.read(text(usage), FACTS))
    assert (said is not None) is read
    assert said is None or said.raw == usage


def test_a_plan_is_made_when_a_frame_comes_again() -> None:
    made = frames()
    assert made.read(text(PLAIN), FACTS) is None
    made.learn(text(PLAIN), PLAIN)
    assert made.read(text(PLAIN), FACTS) is None
    made.learn(text(PLAIN), PLAIN)
    said = made.read(text({"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}), FACTS)
    assert said is not None
    assert said.usage == Usage(input_tokens=7, output_tokens=5)


def test_two_names_of_one_count_must_agree() -> None:
    both = {**DETAILS, "prompt_cache_hit_tokens": 8, "prompt_cache_miss_tokens": 12}
    made = learnt(frames("deepseek"), both)
    assert made.read(text(both), FACTS) is not None
    assert made.read(text({**both, "prompt_cache_hit_tokens": 7}), FACTS) is None


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 20, "completion_tokens": 12, "total_tokens2": 32},
        {"prompt_tokens": 20, "completion_tokens": 12, "total_tokens": 32, "x": "1"},
        {"prompt_tokens": 20, "completion_tokens": 12, "total_tokens": [32]},
        {"prompt_tokens": 20, "completion_tokens": 12.0, "total_tokens": 32},
        {"prompt_tokens": 20, "completion_tokens": 10**3000, "total_tokens": 32},
    ],
    ids=["in a name", "in a text", "in a list", "a fraction", "a number of 3,000 digits"],
)
def test_digits_elsewhere_are_no_count(usage: dict[str, Any]) -> None:
    made = learnt(learnt(frames(), PLAIN), usage)
    assert made.read(text(usage), FACTS) is None


NUMBERS = st.one_of(st.integers(-2, 40), st.integers(0, 40), st.none(), st.sampled_from([True, 2.0, "3", [1], {}]))
NAMES = (
    "prompt_tokens", "completion_tokens", "total_tokens", "prompt_cache_hit_tokens", "prompt_cache_miss_tokens", "cost",
    "cached_tokens", "input_tokens", "output_tokens", "num_search_queries", "new",
)  # fmt: skip
INNER = ("cached_tokens", "audio_tokens", "reasoning_tokens", "text_tokens", "image_tokens", "new")
USAGES = st.dictionaries(
    st.sampled_from((*NAMES, "prompt_tokens_details", "completion_tokens_details")),
    st.one_of(NUMBERS, st.dictionaries(st.sampled_from(INNER), NUMBERS, max_size=4)),
    max_size=7,
)


@pytest.mark.parametrize(
    ("provider", "api"),
    [
        *((provider, "openai.chat") for provider in ("openai", "deepseek", "alibaba", "moonshot", "openrouter")),
        ("openai", "openai.responses"),
    ],
)
@given(usage=USAGES, more=st.integers(0, 3), total=st.booleans())
def test_the_reader_says_the_same(provider: str, api: str, usage: dict[str, Any], more: int, total: bool) -> None:
    usage = {"prompt_tokens": 20, "completion_tokens": 12, **usage}
    one, two = usage["prompt_tokens"], usage["completion_tokens"]
    if total and type(one) is int and type(two) is int:
        usage["total_tokens"] = one + two
    made = reader(provider, api)
    assert made.frames is not None
    learnt(made.frames, usage)
    for step in range(2):  # the second in the frame of the first, with other numbers
        asked = {name: value + more * step if type(value) is int else value for name, value in usage.items()}
        truth = made.settle(dict(asked), FACTS, {"usage": asked})
        said = parsed(made.by_frame(text(asked), FACTS))
        assert said is None or said == truth


@given(st.lists(st.one_of(st.none(), st.integers(0, 9)), min_size=len(TOKEN_FIELDS), max_size=len(TOKEN_FIELDS)))
def test_a_usage_of_numbers_is_that_of_their_names(numbers: list[int | None]) -> None:
    assert usage_of(numbers) == Usage(**dict(zip(TOKEN_FIELDS, numbers, strict=True)))  # type: ignore[arg-type]
