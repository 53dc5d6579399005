"""Wire formats are data: each is recognised by its bodies, and has one that proves it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tokenmeter.cli.extract import answer
from tokenmeter.wire.formats import load_apis

RESPONSES = Path(__file__).parent.parent / "data" / "responses"

FILES = sorted(RESPONSES.glob("*/*.json"))


def load(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


@pytest.mark.parametrize(
    "path", [pytest.param(path, id=f"{path.parent.name}/{path.stem}") for path in FILES if "response" in load(path)]
)
def test_the_wire_format_is_recognised_when_nobody_names_it(path: Path) -> None:
    case = load(path)
    expected = case.pop("expected")
    del case["api"]
    if expected["usage"] is not None:
        assert answer(case)["usage"] == expected["usage"]


def test_every_wire_format_has_a_body_that_proves_it() -> None:
    shown = {load(path)["api"] for path in FILES}
    aliases = {api for api in load_apis().by_id if api.startswith(("tencent.", "bedrock."))}
    unproved = set(load_apis().by_id) - shown - aliases
    assert unproved == {
        "dashscope.embeddings", "dashscope.tokenizer", "gemini.count_tokens", "gemini.embeddings", "google.predict",
        "ollama.embeddings", "openai.input_tokens",
    }  # fmt: skip
