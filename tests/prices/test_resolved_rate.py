"""Cells: a usage's cell is found by its quantities, and any value inside a cell meets the same ranges."""

from __future__ import annotations

import tomllib
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmeter.prices.book import Book
from tokenmeter.prices.components import load_schema
from tokenmeter.prices.conditions import Case, Prices, Range
from tokenmeter.prices.resolved_rate import Cells, read_facts
from tokenmeter.providers.registry import load_providers
from tokenmeter.usage import Usage

edges = st.integers(1, 50)
ranges = st.lists(
    st.builds(
        lambda name, low, width: Range(name, low, None if width is None else low + width),
        st.sampled_from(["input_tokens", "output_tokens"]),
        edges,
        st.none() | st.integers(1, 20),
    ),
    min_size=1,
    max_size=6,
)


@given(ranges, st.integers(0, 80), st.integers(0, 80))
def test_the_sample_of_a_cell_meets_the_ranges_its_usages_meet(found: list[Range], given: int, made: int) -> None:
    usage = Usage(input_tokens=given, output_tokens=made)
    cells = Cells(found)
    cell = cells.find(usage)
    assert not isinstance(cell, str)
    sample = cells.sample(cell)
    assert [one.contains(sample[one.quantity]) for one in found] == [
        one.contains(getattr(usage, one.quantity)) for one in found
    ]


def test_a_tier_over_an_unknown_total_has_no_cell() -> None:
    assert Cells([Range("input_tokens", 10, None)]).find(Usage(output_tokens=3)) == (
        "the price depends on input_tokens, which is not known"
    )


def test_a_subset_not_reported_is_none_of_it() -> None:
    cells = Cells([Range("reasoning_output_tokens", 1, None)])
    assert cells.find(Usage(input_tokens=1, output_tokens=1)) == (0,)


@pytest.mark.parametrize(
    ("params", "flags"),
    [
        pytest.param({}, (), id="no place"),
        pytest.param({"region": "us-east-1"}, (), id="a place that the rate does not mention"),
        pytest.param({"region": "eu"}, (), id="a place that the rate mentions"),
        pytest.param({"region": "WestEurope"}, (), id="in capitals"),
        pytest.param({"region": "moonbase"}, ("unlisted_region=moonbase",), id="a place that does not exist"),
        pytest.param({"inference_geo": "global"}, (), id="the default place"),
        pytest.param({"inference_geo": "us"}, (), id="a premium that the rate has"),
        pytest.param({"inference_geo": "mars"}, ("unlisted_inference_geo=mars",), id="one that it has not"),
    ],
)
def test_a_place_that_no_price_mentions_is_flagged(params: dict[str, str], flags: tuple[str, ...]) -> None:
    places = (
        Case(names={"region": frozenset({"eu"})}, factors={}),
        Case(names={"inference_geo": frozenset({"us"})}, factors={}),
    )
    assert read_facts(params, Prices({}, places), load_schema()).flags == flags


def test_every_region_of_the_catalogue_is_known() -> None:
    region = load_schema().conditions["region"]
    regions = {
        line.region for provider in load_providers().by_id.values() for line in provider.endpoints if line.region
    }
    assert regions
    assert not [one for one in regions if region.flags(one, False)]


TWO = """
provider = "acme"
currency = "USD"
timezone = "UTC"
[[rate]]
model = "m"
effective = 2026-01-01
input = 4
output = 4
[[rate.case]]
when = { tuned = true }
input = 8
output = 8
[[rate.case]]
when = { service_tier = "flex" }
multiply = 0.5
[[rate.case]]
when = { batch = true }
input = 2
output = 2
[[rate.case]]
when = { deployment = "data_zone" }
input = 5
output = 5
[[rate.case]]
when = { deployment = "data_zone", batch = true }
input = 3
output = 3
"""


@pytest.mark.parametrize(
    ("params", "amount", "reason"),
    [
        pytest.param({"tuned": True}, 8, None, id="one"),
        pytest.param(
            {"tuned": True, "batch": True}, None, "no rate for batch = true together with tuned = true", id="two"
        ),
        pytest.param({"deployment": "data_zone", "batch": True}, 3, None, id="a case for both"),
        pytest.param({"tuned": True, "service_tier": "flex"}, 4, None, id="a multiplier on top"),
        pytest.param({"tuned": True, "service_tier": "default"}, 8, None, id="a neutral value is no condition"),
    ],
)
def test_two_conditions_have_a_price_together_or_none(
    params: dict[str, object], amount: int | None, reason: str
) -> None:
    usage = Usage(input_tokens=1_000_000, output_tokens=0)
    cost = Book.of(tomllib.loads(TWO, parse_float=Decimal)).price(
        usage, provider="acme", model="m", at="2026-02-01", params=params
    )
    assert (cost.total.amount if cost.total else None, cost.reason) == (amount, reason)
