"""Every documented form of a recording is taken apart into the same exchanges."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tokenmeter import ConfigurationError
from tokenmeter.cli.recordings.exchanges import Exchange, Span, read_file

DATA = Path(__file__).parents[2] / "data" / "recordings"
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
SAID = {"model": "gpt-4o", "choices": [{"message": {"role": "assistant", "content": "好"}}], "usage": {}}
URL = "https://api.openai.com/v1/chat/completions"


@pytest.mark.parametrize(
    ("name", "hosts"),
    [
        pytest.param("vcrpy.yaml", ["127.0.0.1"] * 4, id="vcrpy, YAML"),
        pytest.param("vcrpy.json", ["127.0.0.1"] * 4, id="vcrpy, JSON"),
        pytest.param("ruby.yml", ["api.openai.com"], id="Ruby's VCR"),
        pytest.param("parsed.yaml", ["api.anthropic.com"], id="bodies decoded by the recorder"),
        pytest.param("page.har", ["example.com", "generativelanguage.googleapis.com"], id="HAR"),
        pytest.param("nock.json", ["dashscope.aliyuncs.com"], id="nock"),
        pytest.param("fixtures.json", ["api.deepseek.com", "", "api.openai.com"], id="fixtures"),
    ],
)
def test_forms_of_http_recordings(name: str, hosts: list[str]) -> None:
    pytest.importorskip("yaml")
    found = read_file(DATA / name)
    assert all(isinstance(one, Exchange) for one in found)
    assert [urlsplit(one.url).hostname if one.url else "" for one in found] == hosts  # type: ignore[union-attr]
    assert found[0].place == f"{name}#1"


@pytest.mark.parametrize("name", ["trace.json", "trace.jsonl"])
def test_a_trace_gives_the_spans_with_usage(name: str) -> None:
    [span] = read_file(DATA / name)
    assert isinstance(span, Span)
    assert span.attributes["gen_ai.usage.input_tokens"] == 8
    assert span.at == 1769904000000000000


@pytest.mark.parametrize(
    ("request_", "response"),
    [
        pytest.param({"body": json.dumps(CHAT)}, {"status": 200, "body": json.dumps(SAID)}, id="strings"),
        pytest.param({"body": CHAT}, {"status": {"code": 200}, "body": SAID}, id="values"),
        pytest.param({"json": CHAT}, {"status_code": 200, "json": SAID}, id="json"),
        pytest.param(
            {"body": {"encoding": "UTF-8", "string": json.dumps(CHAT)}},
            {"status": 200, "body": {"base64_string": base64.b64encode(json.dumps(SAID).encode()).decode()}},
            id="base64",
        ),
        pytest.param(
            {"postData": {"text": json.dumps(CHAT)}},
            {
                "status": 200,
                "headers": [{"name": "Content-Encoding", "value": "gzip"}],
                "content": {
                    "encoding": "base64",
                    "text": base64.b64encode(gzip.compress(json.dumps(SAID).encode())).decode(),
                },
            },
            id="compressed",
        ),
        pytest.param({"body": CHAT}, SAID, id="the answer itself"),
    ],
)
def test_bodies_in_any_wrapping(tmp_path: Path, request_: dict[str, Any], response: dict[str, Any]) -> None:
    path = tmp_path / "one.json"
    path.write_text(json.dumps({"request": {"url": URL, **request_}, "response": response}), "utf-8")
    [found] = read_file(path)
    assert isinstance(found, Exchange)
    bodies = [json.loads(body) if isinstance(body, bytes) else body for body in (found.request, found.response)]
    assert bodies == [CHAT, SAID]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        pytest.param("a.json", "{", "not JSON", id="JSON"),
        pytest.param("a.yaml", "a: [", "not YAML", id="YAML"),
        pytest.param("gone.json", None, "No such file", id="no file"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, text: str | None, words: str) -> None:
    pytest.importorskip("yaml")
    path = tmp_path / name
    if text is not None:
        path.write_text(text, "utf-8")
    with pytest.raises(ConfigurationError, match=words) as raised:
        read_file(path)
    assert name in str(raised.value)


@pytest.mark.parametrize("value", [[], {}, 3, "text", None, [1], {"log": {}}, {"interactions": [None, {"request": 1}]}])
def test_another_file_holds_no_recording(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "other.json"
    path.write_text(json.dumps(value), "utf-8")
    assert read_file(path) == []
