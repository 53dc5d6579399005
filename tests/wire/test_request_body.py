"""The body of a request is read from every form in which one is kept, and its model by one rule."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import requests

from tokenmeter.wire.request_body import model_of, request_body, request_headers

_BODY = {"model": "deepseek-chat", "messages": [{"role": "user", "content": "你好"}]}
_URL = "https://api.deepseek.com/chat/completions"


@pytest.mark.parametrize(
    ("request_", "body"),
    [
        pytest.param(_BODY, _BODY, id="mapping"),
        pytest.param('{"model": "m"}', {"model": "m"}, id="text"),
        pytest.param(b'{"model": "m"}', {"model": "m"}, id="bytes"),
        pytest.param(httpx.Request("POST", _URL, json=_BODY), _BODY, id="httpx"),
        pytest.param(httpx.Request("POST", _URL, content=iter([b"{}"])), None, id="httpx, an unread stream"),
        pytest.param(b"", None, id="empty"),
        pytest.param(b'{"model": ', None, id="cut"),
        pytest.param("[" * 100_000, None, id="nested too deep"),
        pytest.param('["model"]', None, id="a list"),
        pytest.param(requests.Request("POST", _URL).prepare(), None, id="no body"),
        pytest.param(7, None, id="a number"),
    ],
)
def test_body(request_: object, body: dict[str, Any] | None) -> None:
    assert request_body(request_) == body


@pytest.mark.parametrize(
    ("request_", "value"),
    [
        pytest.param(httpx.Request("POST", _URL, headers={"X-A": "1"}), "1", id="httpx"),
        pytest.param(requests.Request("POST", _URL, headers={"X-A": "1"}).prepare(), "1", id="requests"),
        pytest.param({"headers": {"x-a": "1"}}, None, id="a body is no request"),
        pytest.param(b"{}", None, id="bytes have none"),
    ],
)
def test_headers(request_: object, value: str | None) -> None:
    headers = request_headers(request_)
    assert (None if headers is None else headers.get("x-a")) == value


@pytest.mark.parametrize(
    ("body", "model"),
    [
        pytest.param(_BODY, "deepseek-chat", id="model"),
        pytest.param({"Model": "hunyuan-turbos-latest"}, "hunyuan-turbos-latest", id="Tencent Cloud"),
        pytest.param({"model": "", "Model": "hunyuan-lite"}, "hunyuan-lite", id="empty is no name"),
        pytest.param({"model": 4}, None, id="no text"),
        pytest.param({"model": None}, None, id="null"),
        pytest.param({}, None, id="none"),
        pytest.param([], None, id="no object"),
    ],
)
def test_model(body: object, model: str | None) -> None:
    assert model_of(body) == model
