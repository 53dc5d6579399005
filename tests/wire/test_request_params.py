"""What a request says of its price: parameters, the API's documented defaults, and the pieces it asks for."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tokenmeter.wire.request_params import documented_params, request_line, request_params, request_pieces


@pytest.mark.parametrize(
    ("body", "params"),
    [
        pytest.param({"messages": []}, None, id="nothing"),
        pytest.param({"enable_thinking": True}, {"thinking": True}, id="Qwen"),
        pytest.param({"thinking": {"type": "disabled"}}, {"thinking": False}, id="a vendor's word"),
        pytest.param({"parameters": {"size": "1024*1024"}}, {"size": "1024*1024"}, id="DashScope's place"),
        pytest.param({"service_tier": "flex"}, {"service_tier": "flex"}, id="tier"),
        pytest.param({"service_tier": "auto", "size": "auto", "quality": "auto"}, None, id="auto says nothing"),
        pytest.param({"inference_geo": "us", "speed": "fast"}, {"inference_geo": "us", "speed": "fast"}, id="Claude"),
        pytest.param({"thinking": {"type": ["x"]}, "size": {"w": 1}}, None, id="no words"),
        pytest.param({"custom_id": "1", "url": "/v1/x", "body": {"quality": "hd"}}, {"quality": "hd", "batch": True},
                     id="a line of OpenAI's batch file"),
        pytest.param({"custom_id": "1", "params": {"model": "m"}}, {"batch": True}, id="a line of Anthropic's"),
        pytest.param({"custom_id": "1", "params": {}, "body": "x"}, {"batch": True}, id="an empty line"),
    ],
)  # fmt: skip
def test_what_a_request_states(body: dict[str, Any], params: dict[str, Any] | None) -> None:
    assert request_params(body) == params


def test_a_body_with_an_id_of_its_own_is_no_line_of_a_batch() -> None:
    assert request_line({"custom_id": "1", "model": "m"}) is None


@pytest.mark.parametrize(
    ("api", "model", "params"),
    [
        ("openai.images", "dall-e-3", {"size": "1024x1024", "quality": "standard"}),
        ("openai.images", "gpt-image-1", {}),
        ("openai.chat", "dall-e-3", {}),
        (None, None, {}),
    ],
)
def test_the_documented_defaults(api: str | None, model: str | None, params: dict[str, Any]) -> None:
    assert dict(documented_params(api, model)) == params


@pytest.mark.parametrize(
    ("api", "model", "body", "finish", "answered", "pieces"),
    [
        pytest.param("openai.images", "dall-e-3", {"n": 2}, (), {}, {"images": 2}, id="images"),
        pytest.param("openai.images", "dall-e-3", {}, (), {}, {"images": 1}, id="the documented number of images"),
        pytest.param("openai.images", "x", {"n": "many"}, (), {}, {}, id="a number that is none"),
        pytest.param("openai.images", "x", {"n": -1}, (), {}, {}, id="a negative number"),
        pytest.param("openai.images", "x", {"n": 2}, (), {"images": 1}, {}, id="the answer's images count"),
        pytest.param("openai.speech", "tts-1", {"input": "你好, world"}, (), {}, {"characters": 9}, id="characters"),
        pytest.param("openai.speech", "tts-1", {"input": 5}, (), {}, {}, id="no text"),
        pytest.param("openai.videos", "sora-2", {"seconds": "8"}, ("completed",), {}, {"video_seconds": 8}, id="video"),
        pytest.param("openai.videos", "sora-2", {}, ("completed",), {}, {"video_seconds": 4}, id="documented length"),
        pytest.param("openai.videos", "other", {}, ("completed",), {}, {}, id="no documented length"),
        pytest.param("openai.videos", "sora-2", {"seconds": "8"}, ("queued",), {}, {}, id="a video not made yet"),
        pytest.param("google.videos", "veo-3", {"parameters": {"durationSeconds": 6}}, (), {"videos": 2},
                     {"video_seconds": 12}, id="seconds of each video of the answer"),
        pytest.param("google.videos", "veo-3", {"parameters": {"durationSeconds": 6.5}}, (), {"videos": 2},
                     {"video_seconds": Decimal("13.0")}, id="a fraction"),
        pytest.param("google.videos", "veo-3", {}, (), {}, {}, id="no video yet"),
        pytest.param("openai.chat", "gpt-4o", {"n": 2}, (), {}, {}, id="a chat has no pieces"),
        pytest.param("openai.images", "x", {"custom_id": "1", "body": {"n": 4}}, (), {}, {"images": 4}, id="a line"),
    ],
)  # fmt: skip
def test_the_pieces_that_a_request_asks_for(
    api: str,
    model: str,
    body: dict[str, Any],
    finish: tuple[str, ...],
    answered: dict[str, Any],
    pieces: dict[str, Any],
) -> None:
    assert request_pieces(body, api=api, model=model, finish=finish, answered=answered) == pieces
