"""`tokenmeter calibration`: what was learnt can be read, taken along and forgotten."""

from __future__ import annotations

import json
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import tokenmeter
from tokenmeter.cli import main
from tokenmeter.testing import Received, Reply, json_reply, provider_server
from tokenmeter.tokens import count_request
from tokenmeter.tokens.calibration.fit import Pair
from tokenmeter.tokens.calibration.store import Change, FileStore, Key

MINE = f"{tokenmeter.__version__} doubao stand-in"
NOW = int(time.time()) * 1_000_000


@pytest.fixture
def learnt(tmp_path: Path) -> Path:
    path = tmp_path / "learnt.db"
    store = FileStore(path)
    for number in range(40):
        tokens = 50 + 10 * number
        store.add(Key("volcengine", "doubao", "zh", "input", MINE), Pair(NOW - number, tokens, tokens + 12))
        store.add(Key("volcengine", "doubao", "zh", "output", MINE), Pair(NOW - number, tokens, round(tokens * 1.1)))
    store.add(Key("openai", "gpt-4o", "en", "input", MINE), Pair(NOW, 10, 11))
    store.add(Key("openai", "gpt-4o", "en", "output", "0.0.1 o200k exact"), Pair(NOW, 10, 11))
    store.mark(Change(Key("openai", "gpt-4o", "en", "input", MINE), NOW))
    return path


def test_it_is_shown(learnt: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibration", "show", str(learnt)]) == 0
    head, _, *lines = capsys.readouterr().out.splitlines()
    assert head.split()[:4] == ["provider", "model", "part", "script"]
    assert [line.split()[:8] for line in lines[2:]] == [
        ["volcengine", "doubao", "input", "zh", "40", "+12", "1.000", "0.1%"],
        ["volcengine", "doubao", "output", "zh", "40", "+0", "1.100", "0.1%"],
    ]
    assert "changed 20" in lines[0]
    assert all("too few calls" in line for line in lines[:2])


def test_it_is_shown_as_json(learnt: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibration", "show", str(learnt), "--json"]) == 0
    rows = {(row["model"], row["part"]): row for row in json.loads(capsys.readouterr().out)}
    row = rows["doubao", "input"]
    assert (row["overhead"], row["factor"], row["pairs"], row["used"]) == (12, 1.0, 40, True)
    assert row["counted"] == [50, 440]
    assert row["until"].endswith("Z")
    assert not rows["gpt-4o", "input"]["used"]


def test_it_is_exported_whole(learnt: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibration", "export", str(learnt)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len([line for line in lines if "reported" in line]) == 82
    assert len([line for line in lines if "changed_at" in line]) == 1
    assert {"provider", "model", "script", "part", "counted_by", "at", "counted", "reported", "inside", "own"} == set(
        lines[0]
    )


def test_it_is_forgotten(learnt: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibration", "forget", "--model", "doubao", str(learnt)]) == 0
    assert capsys.readouterr().out == "80 pairs forgotten\n"
    assert main(["calibration", "forget", "--all", str(learnt)]) == 0
    assert capsys.readouterr().out == "2 pairs forgotten\n"
    assert main(["calibration", "show", str(learnt)]) == 0
    assert capsys.readouterr().out.startswith("nothing was learnt yet")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["show", "gone.db"], "gone.db is not there", id="no file"),
        pytest.param(["forget", "gone.db"], "--model --all is required", id="what to forget"),
        pytest.param([], "ACTION", id="no action"),
    ],
)
def test_bad_flags_end_with_2(capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    assert main(["calibration", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_another_file_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("dear sir, " * 200)
    assert main(["calibration", "show", str(path)]) == 2
    assert "letter.txt" in capsys.readouterr().err
    assert path.read_text().startswith("dear sir, ")


# Asking the vendor ----------------------------------------------------------------------------------------------

ASKED: dict[str, tuple[str, dict[str, Any], str]] = {
    "anthropic": (
        "/v1/messages/count_tokens",
        {"messages": [{"role": "user", "content": "你好" * 9}], "max_tokens": 5, "stream": True},
        "input_tokens",
    ),
    "google": (
        "/v1beta/models/the-model:countTokens",
        {"contents": [{"role": "user", "parts": [{"text": "hello " * 9}]}]},
        "totalTokens",
    ),
    "openai": ("/v1/responses/input_tokens", {"input": "hello " * 9, "store": False}, "input_tokens"),
}


def needs_a_client() -> None:
    if not any(map(find_spec, ("httpx", "httpx2"))):
        pytest.skip("neither httpx nor httpx2 is installed")


@pytest.mark.parametrize("provider", ASKED)
def test_a_vendors_count_endpoint_is_asked(
    provider: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    needs_a_client()
    path, fields, name = ASKED[provider]
    body = {"model": "the-model", **fields}
    monkeypatch.setenv("THE_KEY", "k-123")

    def count(received: Received) -> Reply:
        return json_reply({name: 40})

    file = tmp_path / "bodies.jsonl"
    file.write_text("\n".join([json.dumps(body), "{", json.dumps({"model": 5}), json.dumps(body)]), encoding="utf-8")
    with provider_server(answer=count) as server:
        flags = ["--provider", provider, "--requests", str(file), "--key-env", "THE_KEY", "--pause", "0"]
        status = main(["calibration", "probe", *flags, "--base-url", server.origin, str(tmp_path / "learnt.db")])
        requests = list(server.requests)
    assert status == 1  # two lines were no requests
    counted = count_request(body, provider=provider, model="the-model").tokens
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[1] for line in lines] == [" the-model", " not asked", " not asked", " the-model"]
    assert lines[0] == f"line 1: the-model: counted {counted}, the vendor says 40"
    assert [request.path for request in requests] == [path] * 2
    sent = json.loads(requests[0].body)
    assert "k-123" in " ".join(requests[0].headers.values())
    assert "k-123" not in requests[0].body.decode()
    inside = sent.get("generateContentRequest", sent)
    assert not {"max_tokens", "stream", "store"} & set(inside)
    [(key, pairs)] = FileStore(tmp_path / "learnt.db").load()[0].items()
    assert (key.provider, key.model, key.part) == (provider, "the-model", "input")
    assert [(pair.counted, pair.reported) for pair in pairs] == [(counted, 40)] * 2


def test_an_endpoint_that_refuses_teaches_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    needs_a_client()
    monkeypatch.setenv("THE_KEY", "k-123")
    file = tmp_path / "bodies.jsonl"
    file.write_text(json.dumps({"model": "m", **ASKED["anthropic"][1]}))
    with provider_server(answer=lambda _: json_reply({"error": "no"}, 401)) as server:
        flags = [
            "--provider",
            "anthropic",
            "--requests",
            str(file),
            "--key-env",
            "THE_KEY",
            "--base-url",
            server.origin,
        ]
        assert main(["calibration", "probe", *flags, str(tmp_path / "learnt.db")]) == 1
    assert capsys.readouterr().out == "line 1: not answered: status 401\n"
    assert not any(FileStore(tmp_path / "learnt.db").load())


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        pytest.param(["--provider", "spark", "--key-env", "PATH"], "anthropic, google, openai have", id="no endpoint"),
        pytest.param(["--provider", "openai", "--key-env", "NO_SUCH_KEY"], "NO_SUCH_KEY: this variable", id="no key"),
    ],
)
def test_nothing_is_sent_without_key_and_endpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], words: str
) -> None:
    needs_a_client()
    assert main(["calibration", "probe", *flags, "--requests", "x.jsonl", str(tmp_path / "learnt.db")]) == 2
    assert words in capsys.readouterr().err
