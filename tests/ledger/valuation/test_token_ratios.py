"""Usages in tokens of other families."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from tokenmeter.ledger.valuation.token_ratios import scaled, token_ratio, without_cache
from tokenmeter.tokens.families import family_names
from tokenmeter.usage import Usage


def test_every_measured_family_exists_and_its_range_holds_its_median() -> None:
    measured = [name for name in family_names() if token_ratio("deepseek-v3", name) is not None]
    assert len(measured) == 8
    for name in measured:
        for language in (None, "zh", "en"):
            ratio = token_ratio("deepseek-v3", name, language)
            assert ratio is not None
            assert ratio.low <= ratio.likely <= ratio.high


def test_there_and_back_is_no_change() -> None:
    there, back = token_ratio("qwen", "claude", "zh"), token_ratio("claude", "qwen", "zh")
    assert there is not None
    assert back is not None
    assert there.likely * back.likely == there.low * back.high == there.high * back.low == 1
    assert there.likely == Fraction(1709, 1066)


def test_what_was_not_measured_is_unknown() -> None:
    assert token_ratio("qwen", "spark") is None
    assert token_ratio("spark", "spark") == (1, 1, 1)


@given(
    st.integers(0, 10**7),
    st.integers(0, 10**7),
    st.integers(0, 10**7),
    st.integers(1, 3_000),
    st.sampled_from([True, False, None]),
)
def test_parts_never_exceed_their_total(fresh: int, read: int, written: int, thousandths: int, up: bool | None) -> None:
    usage = Usage(
        input_tokens=fresh + read + written,
        cache_read_input_tokens=read,
        cache_write_input_tokens=written,
        output_tokens=written,
        reasoning_output_tokens=written,
    )
    assert scaled(usage, Fraction(thousandths, 1000), up=up).contradictions() == ()
    assert without_cache(usage).contradictions() == without_cache(usage, all_read=True).contradictions() == ()
