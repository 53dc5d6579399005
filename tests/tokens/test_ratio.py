"""Scripts of texts, and counts by script alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tokenmeter.tokens.ratio import RatioTally, script_of


@given(st.text() | st.text("ab价格ですか한국éя\U00020000。"))
def test_the_script_of_a_text_is_that_of_its_tally(text: str) -> None:
    tally = RatioTally()
    tally.feed(text)
    assert script_of(text) == ("en" if not text else tally.script())
