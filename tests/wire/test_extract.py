"""Every documented shape of usage, from bodies and streams written here, each with its expected answer beside it."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rigs.vendorish import VENDORISH
from tokenmeter import Usage
from tokenmeter.cli.extract import answer
from tokenmeter.providers.registry import load_providers
from tokenmeter.usage import TOKEN_FIELDS, Source, checked_usage
from tokenmeter.wire.extract import Extracted, extract
from tokenmeter.wire.formats import load_apis
from tokenmeter.wire.stream_reader import StreamReader

RESPONSES = Path(__file__).parent.parent / "data" / "responses"
FILES = sorted(RESPONSES.glob("*/*.json"))


def load(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def told(found: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
    return {name: found[name] for name in expected}


@pytest.mark.parametrize("path", [pytest.param(path, id=f"{path.parent.name}/{path.stem}") for path in FILES])
def test_an_answer_is_read_to_its_vendors_meaning(path: Path) -> None:
    case = load(path)
    expected = case.pop("expected")
    assert told(answer(case), expected) == expected


def test_usage_and_model_are_enough() -> None:
    found = extract({"model": "m", "usage": {"promptTokenCount": 3, "thoughtsTokenCount": 4}}, api="gemini.generate")
    assert (found.usage, found.model) == (Usage(input_tokens=3, output_tokens=4, reasoning_output_tokens=4), "m")


def test_what_an_answer_says_beside_its_usage() -> None:
    body = {
        "id": "chatcmpl-1", "model": "gpt-4o", "service_tier": "flex",
        "usage": {"prompt_tokens": 1, "completion_tokens": 2},
        "choices": [{"finish_reason": "stop"}, {"finish_reason": "length"}],
    }  # fmt: skip
    found = extract(body, provider="openai", api="openai.chat")
    assert found[1:] == Extracted(
        None, Source.REPORTED, "gpt-4o", "flex", raw=body["usage"], finish_reasons=("stop", "length"),
        response_id="chatcmpl-1", api="openai.chat",
    )[1:]  # fmt: skip


def test_json_text_and_sdk_objects_are_answers_too() -> None:
    class Completion:
        def model_dump(self) -> dict[str, Any]:
            return {"usage": {"prompt_tokens": 1, "completion_tokens": 2}}

    expected = Usage(input_tokens=1, output_tokens=2)
    assert extract(Completion(), api="openai.chat").usage == expected
    assert extract('{"usage": {"prompt_tokens": 1, "completion_tokens": 2}}', api="openai.chat").usage == expected
    assert extract(b"<html>", api="openai.chat").reason == "the answer is not a JSON object"


def test_the_host_names_the_vendor() -> None:
    body = {"usage": {"prompt_tokens": 35, "completion_tokens": 12, "total_tokens": 109}, "choices": []}
    found = extract(body, host="generativelanguage.googleapis.com", api="openai.chat")
    assert found.usage is not None
    assert found.usage.output_tokens == 74


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
APIS = st.sampled_from([None, *load_apis().by_id])
PROVIDERS = st.sampled_from([None, "nobody", *load_providers().by_id])


@settings(max_examples=400, deadline=None)
@given(body=JSON | VENDORISH, api=APIS, provider=PROVIDERS)
def test_no_json_makes_it_raise(body: object, api: str | None, provider: str | None) -> None:
    found = extract(body, provider=provider, api=api)
    assert found.usage is not None or found.source is Source.NONE
    assert found.usage is not None or found.reason or found.vendor_cost


@settings(max_examples=300, deadline=None)
@given(events=st.lists(VENDORISH | st.text(max_size=30) | st.just("[DONE]"), max_size=6), api=APIS, provider=PROVIDERS)
def test_no_event_makes_a_stream_raise(events: list[object], api: str | None, provider: str | None) -> None:
    said: list[tuple[str, str]] = []
    reader = StreamReader(provider=provider, api=api, on_text=lambda kind, text: said.append((kind, text)))
    for event in events:
        reader.feed(event)
    found = reader.result()
    assert found.usage is not None or found.reason or found.vendor_cost
    assert all(kind in ("text", "reasoning", "tool_calls") and text for kind, text in said)


@given(st.dictionaries(st.sampled_from(TOKEN_FIELDS), st.integers(0, 10**9)))
def test_the_quick_way_to_a_usage_gives_the_same(values: dict[str, int]) -> None:
    quick = checked_usage(values)
    assert quick == Usage(**values)
    assert repr(quick) == repr(Usage(**values))
    with pytest.raises(FrozenInstanceError):
        quick.input_tokens = 1  # type: ignore[misc]
