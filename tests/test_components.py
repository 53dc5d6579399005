"""The table of components: what is made from it agrees, and a total is split in one way for every reader."""

from __future__ import annotations

import typing
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rigs.made_records import priced, record
from tokenmeter.components import COMPONENTS, FIELDS, TOTALS, component_of, field_of, parts_of, total_of
from tokenmeter.ledger.tables import COLUMNS, ROW
from tokenmeter.offers import Price
from tokenmeter.otel.dialects import _Facts
from tokenmeter.otel.sum_tables import Tables, _tally_standard, _tally_usual, add, usage_parts
from tokenmeter.prices.charges import Table
from tokenmeter.usage import TOKEN_FIELDS, Source, Usage

COUNTS = st.none() | st.integers(-2, 9)
ANY_USAGE = st.builds(
    Usage,
    **dict.fromkeys(TOKEN_FIELDS, COUNTS),  # type: ignore[arg-type]
    cache_writes=st.dictionaries(st.sampled_from(["5m", "1h"]), st.integers(0, 9)),
    cached_media=st.dictionaries(st.sampled_from(["audio", "image", "video", "text"]), st.integers(0, 9)),
)
"""Numbers that mostly contradict one another."""


def test_the_table_and_the_class_declare_the_same_fields() -> None:
    declared = {name for name, of in typing.get_type_hints(Usage).items() if of == int | None}
    assert declared == {part.usage for part in FIELDS} == set(TOKEN_FIELDS)


def test_each_row_is_named_once_and_stands_below_the_one_that_contains_it() -> None:
    seen: set[str] = set()
    for part in COMPONENTS:
        assert part.name not in seen
        assert part.inside is None or part.inside in seen
        assert part.within is None or component_of(part.within) in FIELDS
        seen.add(part.name)
    assert len({part.usage for part in COMPONENTS}) == len(COMPONENTS)


def test_every_field_has_a_column() -> None:
    for part in FIELDS:
        assert part.usage in COLUMNS
        assert part.usage in ROW


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        pytest.param(Usage(input_tokens=10), {"input": 10}, id="an unknown total has no parts"),
        pytest.param(
            Usage(input_tokens=100, cache_read_input_tokens=50, audio_input_tokens=70, cached_media={"audio": 40}),
            {"input": 20, "cache_read": 10, "audio_cache_read": 40, "audio_input": 30},
            id="cached audio lies inside two components and is taken from both",
        ),
        pytest.param(
            Usage(input_tokens=100, cache_write_input_tokens=60, cache_writes={"5m": 40, "1h": 15}),
            {"input": 40, "cache_write": 5, "cache_write_5m": 40, "cache_write_1h": 15},
            id="writes by lifetime",
        ),
        pytest.param(
            Usage(input_tokens=100, cache_writes={"5m": 40}),
            {"input": 60, "cache_write_5m": 40},
            id="only the lifetimes are told",
        ),
        pytest.param(
            Usage(input_tokens=100, cache_read_input_tokens=80, image_input_tokens=50),
            {"input": -30, "cache_read": 80, "image_input": 50},
            id="parts that overlap by an unknown amount leave a rest below zero",
        ),
        pytest.param(
            Usage(input_tokens=100, cache_read_input_tokens=80, cached_media={"smell": 30}),
            {"input": 20, "cache_read": 50, "smell_cache_read": 30},
            id="a modality of no vendor is a component without a price",
        ),
    ],
)
def test_a_total_is_split_into_disjoint_components(usage: Usage, expected: dict[str, int]) -> None:
    assert {name: tokens for name, tokens in usage.disjoint().items() if tokens} == expected


@given(ANY_USAGE)
def test_disjoint_components_add_up_to_each_known_total(usage: Usage) -> None:
    sums: Counter[str] = Counter()
    for name, tokens in usage.disjoint().items():
        sums[total_of(name)] += tokens
    known = {total.name: getattr(usage, total.usage) for total in TOTALS}
    assert dict(sums) == {name: tokens for name, tokens in known.items() if tokens is not None}


@given(st.lists(st.tuples(st.sampled_from(["", "read", "5m", "1h"]), st.sampled_from(["", "audio", "image"]))))
def test_disjoint_components_count_each_token_once(tokens: list[tuple[str, str]]) -> None:
    """Against a count of single tokens; what is written to a cache here is text."""
    tokens = [(cache, "" if cache in ("5m", "1h") else modality) for cache, modality in tokens]
    reads = Counter(modality for cache, modality in tokens if cache == "read")
    lifetimes = Counter(cache for cache, _ in tokens if cache in ("5m", "1h"))
    media = Counter(modality for _, modality in tokens)
    usage = Usage(
        input_tokens=len(tokens),
        cache_read_input_tokens=reads.total(),
        cache_write_input_tokens=lifetimes.total(),
        audio_input_tokens=media["audio"],
        image_input_tokens=media["image"],
        cache_writes=lifetimes,
        cached_media={modality: count for modality, count in reads.items() if modality},
    )
    names = {
        ("", ""): "input", ("", "audio"): "audio_input", ("", "image"): "image_input", ("read", ""): "cache_read",
        ("read", "audio"): "audio_cache_read", ("read", "image"): "image_cache_read", ("5m", ""): "cache_write_5m",
        ("1h", ""): "cache_write_1h",
    }  # fmt: skip
    assert {name: count for name, count in usage.disjoint().items() if count} == Counter(names[one] for one in tokens)


PRICES = {
    name: Price(name, Decimal(rate), 1_000_000)
    for name, rate in (
        ("input", 3), ("output", 15), ("cache_read", 1), ("cache_write", 4), ("cache_write_5m", 5), ("audio_input", 7),
        ("audio_cache_read", 2), ("image_output", 30),
    )
}  # fmt: skip


@given(ANY_USAGE, st.sets(st.sampled_from(sorted(PRICES.keys() - {"input", "output"}))), st.booleans())
def test_the_short_bill_is_the_general_bill(usage: Usage, without: set[str], stands_in: bool) -> None:
    prices = {name: price for name, price in PRICES.items() if name not in without}

    def serves(name: str) -> Price | None:
        found = component_of(name)
        stand_in = None if found is None or not stands_in else total_of(name)
        return prices.get(name) or prices.get(stand_in or "")

    table = Table(prices, serves, quantities={})
    assert table._bill(usage) == table._bill_any(usage)


@given(ANY_USAGE, st.sampled_from(Source), st.booleans())
def test_the_short_sums_are_the_general_sums(usage: Usage, source: Source, standard: bool) -> None:
    short: Tables = {}
    object.__setattr__(usage, "source", source)
    if not _tally_usual(short, usage, standard):
        assert not short
        return
    general: Tables = {}
    for component, kind, of, tokens in usage_parts(usage):
        add(general, ("usage", component, kind, of), tokens)
    if standard:
        _tally_standard(general, usage)
    assert short == general


@pytest.mark.parametrize("total", TOTALS, ids=lambda total: str(total.name))
@given(usage=ANY_USAGE, data=st.data())
def test_the_rest_of_a_dialect_is_what_its_other_parts_leave(total: Any, usage: Usage, data: st.DataObject) -> None:
    parts = data.draw(st.sets(st.sampled_from([part for part in parts_of(total.name) if not part.modality])))
    sent = {part.name for part in parts if (getattr(usage, part.usage) or -1) >= 0}
    whole = getattr(usage, total.usage)
    left = sum(
        tokens
        for name, tokens in usage.disjoint().items()
        if total_of(name) == total.name and field_of(name).name not in sent
    )
    facts = _Facts(record(priced("0.1"), usage=usage), False, None)
    rest = facts.rest(total.usage, *(part.usage for part in parts))
    assert rest == (None if whole is None or whole < 0 or left < 0 else left)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        pytest.param(
            Usage(input_tokens=10, output_tokens=5, audio_input_tokens=4, image_input_tokens=1),
            {("input", "audio"): 4, ("input", "image"): 1, ("input", "text"): 5, ("output", "unknown"): 5},
            id="by modality",
        ),
        pytest.param(
            Usage(input_tokens=10, output_tokens=5, audio_input_tokens=8, image_input_tokens=8),
            {("input", "unknown"): 10, ("output", "unknown"): 5},
            id="modalities above their total leave the total",
        ),
        pytest.param(
            Usage(input_tokens=10, output_tokens=5, audio_output_tokens=6),
            {("input", "unknown"): 10, ("output", "unknown"): 5},
            id="audio above the output leaves the output",
        ),
        pytest.param(
            Usage(input_tokens=10, output_tokens=0, audio_input_tokens=10),
            {("input", "audio"): 10, ("output", "unknown"): 0},
            id="all of it audio, and a total of zero",
        ),
        pytest.param(
            Usage(input_tokens=10, cache_read_input_tokens=8, audio_input_tokens=6, cached_media={"audio": 5}),
            {("input", "audio"): 6, ("input", "text"): 4, ("cache_read", "unknown"): 8},
            id="cached audio is audio",
        ),
        pytest.param(
            Usage(input_tokens=10, cache_read_input_tokens=8, image_input_tokens=6),
            {("input", "image"): 6, ("input", "text"): 4, ("cache_read", "unknown"): 8},
            id="an overlap of cache and images does not matter to modalities",
        ),
    ],
)
def test_standard_counters_split_a_total_by_modality(usage: Usage, expected: dict[tuple[str, str], int]) -> None:
    found: Tables = {}
    _tally_standard(found, usage)
    assert found == expected
