"""`tokenmeter extract --jsonl`: one answer a line, in order, by the contract."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tokenmeter.cli import main

CONTRACT = (
    "id", "line", "usage", "source", "model", "service_tier", "vendor_cost", "unknown_fields", "flags", "reason",
)  # fmt: skip
USAGE = {"prompt_tokens": 3, "completion_tokens": 4}


def answers(tmp_path: Path, capfd: pytest.CaptureFixture[str], *lines: object) -> tuple[int, list[dict[str, Any]]]:
    path = tmp_path / "lines.jsonl"
    path.write_text(
        "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines), encoding="utf-8"
    )
    status = main(["extract", "--jsonl", str(path)])
    return status, [json.loads(line) for line in capfd.readouterr().out.splitlines()]


def test_every_line_is_answered_in_its_place(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    last = {"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": USAGE}
    status, found = answers(
        tmp_path,
        capfd,
        {"id": "a", "provider": "deepseek", "api": "openai.chat", "response": {"usage": USAGE}},
        "",
        "not json",
        {"id": "b", "provider": "openai", "response": {"choices": [None]}},
        {"id": "c", "host": "openrouter.ai", "response": {"model": "m", "usage": {**USAGE, "cost": 0.00001}}},
        {"id": "d", "model": "asked", "stream_events": [json.dumps(last), "[DONE]"]},
    )
    assert status == 1
    assert [(answer["id"], answer["line"]) for answer in found] == [("a", 1), (None, 3), ("b", 4), ("c", 5), ("d", 6)]
    assert all(name in answer for answer in found if "error" not in answer for name in CONTRACT)
    assert found[0]["usage"] == {"input_tokens": 3, "output_tokens": 4}
    assert (found[2]["usage"], found[2]["source"], found[2]["reason"]) == (None, "none", "the answer has no usage")
    assert found[3]["vendor_cost"] == {"amount": "0.00001", "currency": "USD"}
    assert (found[4]["usage"], found[4]["model"]) == ({"input_tokens": 3, "output_tokens": 4}, "asked")


def test_usage_that_cannot_be_read_is_no_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    status, found = answers(tmp_path, capfd, {"response": {"usage": {"prompt_tokens": "x"}}}, {"response": {}})
    assert status == 0
    assert [answer["usage"] for answer in found] == [None, None]


@pytest.mark.parametrize(
    ("line", "field", "message"),
    [
        pytest.param({}, "response", "neither response nor stream_events is there", id="nothing to read"),
        pytest.param({"reponse": {}}, "response", "did you mean 'response' by 'reponse'?", id="typo"),
        pytest.param({"response": {}, "stream_events": []}, "stream_events", "not both", id="both"),
        pytest.param({"response": []}, "response", "JSON object", id="a list"),
        pytest.param({"stream_events": "x"}, "stream_events", "a list", id="events are text"),
        pytest.param(
            {"provider": 1, "response": {}}, "provider", "provider is a name, not 1", id="a number for a name"
        ),
    ],
)
def test_a_line_that_asks_for_nothing_is_an_error(
    line: dict[str, Any], field: str, message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    status, (found,) = answers(tmp_path, capfd, {"id": 1, **line})
    assert (status, found["id"], found["field"]) == (1, 1, field)
    assert message in found["error"]


def test_an_api_nobody_knows_is_said_and_the_shape_is_read(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    line = {"api": "x.y", "provider": "nobody", "response": {"usage": USAGE}}
    _, (found,) = answers(tmp_path, capfd, line)
    assert (found["usage"], found["api"]) == ({"input_tokens": 3, "output_tokens": 4}, "openai.chat")
    assert found["provider"] == "nobody"
    assert found["flags"] == ["unknown_api: there is no api 'x.y'; the answer's own shape was read"]


STREAM = f"data: {json.dumps({'choices': [{'delta': {}}], 'usage': USAGE, 'model': 'gpt-4o'})}\n\ndata: [DONE]\n\n"


@pytest.mark.parametrize(
    "written", [json.dumps({"model": "gpt-4o", "choices": [], "usage": USAGE}), STREAM], ids=["response", "stream"]
)
def test_one_response_in_a_file(written: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "response"
    path.write_text(written)
    assert main(["extract", str(path), "--provider", "openai"]) == 0
    printed = capsys.readouterr().out
    assert [line.split() for line in printed.splitlines() if "_tokens" in line] == [
        ["input_tokens", "3"],
        ["output_tokens", "4"],
    ]
    assert main(["extract", str(path), "--provider", "openai", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["provider"], found["model"]) == ("openai", "gpt-4o")
    assert found["usage"] == {"input_tokens": 3, "output_tokens": 4}


def test_json_does_not_disturb_jsonl(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text(json.dumps({"id": 1, "response": {"usage": USAGE}}) + "\n")
    assert main(["extract", "--jsonl", str(path), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["id"] == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give one of them"),
        (["FILE", "--jsonl", "FILE"], "give one of them"),
        (["FILE"], "neither JSON"),
        (["nowhere"], "cannot read nowhere"),
    ],
)
def test_what_is_no_response(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "prose"
    path.write_text("Hello.")
    assert main(["extract", *(str(path) if word == "FILE" else word for word in arguments)]) == 2
    assert said in capsys.readouterr().err
