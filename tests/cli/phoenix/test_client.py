"""`tokenmeter phoenix` where there is no Phoenix, or one that does not answer as it should."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from tokenmeter.cli import main


@contextmanager
def answering(status: int, body: str) -> Iterator[str]:
    """A server that gives every request one answer."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


OLD = {"data": None, "errors": [{"message": "Cannot query field 'generativeModels' on type 'Query'."}]}


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        pytest.param(401, "", "--api-key or PHOENIX_API_KEY", id="a key is asked for"),
        pytest.param(404, "", "Phoenix's root", id="not the root"),
        pytest.param(500, "", "see its own log", id="broken"),
        pytest.param(200, "<html>", "is no Phoenix", id="something else"),
        pytest.param(200, json.dumps(OLD), "version 11 or newer", id="too old"),
        pytest.param(200, '{"errors": ["no such query"]}', "no such query", id="another GraphQL"),
    ],
)
def test_what_cannot_be_reached_is_named_with_the_remedy(
    status: int, body: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with answering(status, body) as endpoint:
        assert main(["phoenix", "sync", "--endpoint", endpoint, "--provider", "groq"]) == 2
    error = capsys.readouterr().err
    assert endpoint in error
    assert said in error


def test_nobody_there(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHOENIX_COLLECTOR_ENDPOINT", "http://127.0.0.1:9/v1/traces")
    assert main(["phoenix", "remove"]) == 2
    assert "http://127.0.0.1:9: no Phoenix answers" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        pytest.param(["--provider", "grok-ai"], "--provider: no prices", id="provider"),
        pytest.param(["--at", "yesterday"], "--at: 'yesterday'", id="at"),
        pytest.param(["--rates", "CNY=x@2026-11-01"], "--rates: 'CNY=x@2026-11-01' is not a rate", id="rates"),
        pytest.param(["--price-list", "deepseek"], "'deepseek' has no '='", id="price list"),
    ],
)
def test_bad_flags_are_named(flags: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["phoenix", "sync", *flags]) == 2
    assert said in capsys.readouterr().err
