"""Usages in tokens of other families."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from tokenmeter.ledger.valuation.token_ratios import recounted, scaled, token_ratio, with_cache_rate, without_cache
from tokenmeter.tokens.families import family_names
from tokenmeter.usage import Usage


def test_every_measured_family_exists_and_its_range_holds_its_median() -> None:
    measured = [name for name in family_names() if token_ratio("deepseek-v3", name) is not None]
    assert len(measured) == 14
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


@given(st.integers(0, 10**7), st.integers(0, 10**7), st.integers(0, 10**7), st.fractions(0, 1), st.fractions(0, 5))
def test_recounted_usages_and_cache_rates_never_contradict_themselves(
    read: int, fresh: int, tokens: int, rate: Fraction, output: Fraction
) -> None:
    usage = Usage(
        input_tokens=read + fresh, cache_read_input_tokens=read, output_tokens=fresh, reasoning_output_tokens=fresh
    )
    for up in (True, False, None):
        found = recounted(usage, tokens, output, up=up)
        assert (found.input_tokens, found.contradictions()) == (tokens, ())
    assert with_cache_rate(usage, rate).contradictions() == ()
    assert with_cache_rate(usage, Fraction(0)) == without_cache(usage)


def test_a_recounted_usage_keeps_the_share_of_its_cache() -> None:
    usage = Usage(input_tokens=1_000, cache_read_input_tokens=400, output_tokens=100)
    found = recounted(usage, 500, Fraction(3, 2), up=None)
    assert (found.input_tokens, found.cache_read_input_tokens, found.output_tokens) == (500, 200, 150)
