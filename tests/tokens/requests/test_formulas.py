"""Tokens of media: each vendor's formula on sizes a reader can work out by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmeter.tokens import count_request
from tokenmeter.tokens.requests.formulas import find_formula, load_formulas, media_tokens
from tokenmeter.tokens.requests.prompt import Media


@pytest.mark.parametrize(
    ("model", "medium", "tokens"),
    [
        pytest.param("gpt-4o", Media("image", 640, 480), 85 + 2 * 170, id="two tiles"),
        pytest.param("gpt-4o", Media("image", 2048, 4096), 85 + 6 * 170, id="fitted to 768 by 1536: six tiles"),
        pytest.param("gpt-4o", Media("image", 640, 480, detail="low"), 85, id="low detail"),
        pytest.param("gpt-4o-mini", Media("image", 640, 480), 2833 + 2 * 5667, id="mini tiles"),
        pytest.param("gpt-5", Media("image", 640, 480), 70 + 2 * 140, id="gpt-5 tiles"),
        pytest.param("o4-mini", Media("image", 640, 480), 517, id="20 by 15 patches times 1.72, and one"),
        pytest.param("claude-sonnet-4-5", Media("image", 560, 280), 20 * 10 + 3, id="28-pixel patches"),
        pytest.param("gemini-2.5-flash", Media("image", 640, 480), 258, id="one tile"),
        pytest.param(
            "gemini-2.0-flash", Media("image", 640, 480), 5 * 258, id="two by two crops of 320, and the whole"
        ),
        pytest.param("gemini-2.0-flash", Media("image", 300, 300), 258, id="small"),
        pytest.param("gemini-2.5-flash", Media("audio", seconds=10.0), 320, id="32 a second"),
        pytest.param("gemini-2.5-flash", Media("document", pages=3), 774, id="a page is a tile"),
        pytest.param("qwen-vl-plus", Media("image", 280, 280), 102, id="ten by ten and two marks"),
        pytest.param("mistral-medium-latest", Media("image", 56, 56), 6, id="two rows of two and a mark each"),
    ],
)
def test_formulas(model: str, medium: Media, tokens: int) -> None:
    found = media_tokens(model, medium)
    assert found[0] == tokens
    assert found[1] <= tokens <= found[2]


def test_an_unknown_size_gives_the_default_between_least_and_most() -> None:
    body = {
        "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}]}]
    }
    count = count_request(body, provider="openai", model="gpt-4o", api="openai.chat")
    assert count.tokens == 3 + 4 + 425
    assert count.low is not None
    assert count.high is not None
    assert count.low <= 92
    assert count.high >= 1452


def test_media_no_formula_knows_are_named() -> None:
    body = {
        "messages": [
            {
                "role": "user",
                "content": [{"type": "text", "text": "x"}, {"type": "input_audio", "input_audio": {"data": "AAAA"}}],
            }
        ]
    }
    count = count_request(body, provider="moonshot", model="kimi-k2")
    assert count.tokens is not None
    assert "audio: no formula of this vendor is known" in count.skipped


def test_an_image_of_an_unknown_vendor_is_a_guess_that_says_so() -> None:
    url = {"url": "https://x.test/a.png"}
    body = {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": url}]}]}
    count = count_request(body, model="no-such-vision-model", api="openai.chat")
    assert count.method == "ratio"
    assert count.skipped == ("image: no formula of this vendor is known",)
    assert (count.low or 0) < 100 < 1000 < (count.tokens or 0) < 8000 < (count.high or 0)


@pytest.mark.parametrize(
    ("model", "billed"),
    [
        pytest.param("InternVL2", 3383, id="InternVL"),
        pytest.param("JanusPro", 626, id="Janus"),
        pytest.param("MiniCPM-V", 626, id="MiniCPM-V"),
    ],
)
def test_an_open_vision_models_image_is_as_its_card_says(model: str, billed: int) -> None:
    default, least, most = media_tokens(model, Media("image"))
    assert default is not None
    assert least <= default <= most
    assert abs(default - billed) < 60  # the rest is text


@given(width=st.integers(1, 20_000), height=st.integers(1, 20_000))
def test_every_formula_stays_within_its_most(width: int, height: int) -> None:
    for formula in load_formulas():
        model = formula.models[0].replace("*", "")
        if formula.kind == "image" and find_formula("image", model) is formula:
            tokens = media_tokens(model, Media("image", width, height))[0]
            assert tokens is not None
            if formula.shape in ("patches", "flat") and formula.factor == 1 and not formula.factors:
                assert tokens <= max(formula.unknown[2], formula.base + formula.most_patches + 4 * formula.row * 100)
