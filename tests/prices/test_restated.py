"""Quantities without a price: which restate what is billed, and which make a call unpriced."""

from __future__ import annotations

from typing import Any

import pytest

from tokenmeter import Source, Usage
from tokenmeter.prices.restated import without_restated

TEXT = {"input", "output"}


@pytest.mark.parametrize(
    ("missing", "prices", "billed", "unpriced", "flags"),
    [
        pytest.param(["videos"], {"video_seconds"}, {"video_seconds"}, [], (), id="how many, beside seconds"),
        pytest.param(["videos"], {"video_seconds"}, set(), ["videos"], (), id="seconds that are not known"),
        pytest.param(["characters"], {"output_audio_seconds"}, {"output_audio_seconds"}, [], (), id="speech, two ways"),
        pytest.param(["images"], {"image_output", *TEXT}, TEXT, [], (), id="images inside the output's tokens"),
        pytest.param(["images"], TEXT, TEXT, ["images"], (), id="images beside text"),
        pytest.param(["web_search"], TEXT, TEXT, ["web_search"], (), id="a tool's fee is never restated"),
        pytest.param(["shiny"], TEXT, TEXT, ["shiny"], (), id="a quantity that no one knows"),
        pytest.param(["output"], {"audio_seconds"}, {"audio_seconds"}, [], ("not_billed=output_tokens",), id="whisper"),
        pytest.param(["input", "cache_read"], {"images"}, {"images"}, [], ("not_billed=input_tokens",), id="an image"),
        pytest.param(["output"], {"input"}, {"input"}, ["output"], (), id="tokens beside tokens"),
        pytest.param(["output"], {"input", "images"}, {"images"}, ["output"], (), id="the rate bills tokens too"),
        pytest.param(["output"], {"request"}, {"request"}, ["output"], (), id="a fee is no piece"),
    ],
)  # fmt: skip
def test_reported_quantities(
    missing: list[str], prices: set[str], billed: set[str], unpriced: list[str], flags: tuple[str, ...]
) -> None:
    usage = Usage(input_tokens=100, output_tokens=50)
    assert without_restated(missing, usage, prices=prices, billed=billed) == (unpriced, flags)


@pytest.mark.parametrize("source", [Source.COUNTED, Source.ESTIMATED])
def test_tokens_counted_here_never_make_a_piece_unpriced(source: Source) -> None:
    usage = Usage(input_tokens=100, sources={"input_tokens": source}, quantities={"images": 1})
    known: Any = {"prices": {"images", "output"}, "billed": {"images"}}
    assert without_restated(["input"], usage, **known) == ([], ())
