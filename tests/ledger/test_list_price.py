"""List prices of charges: exact where they can be, and always adding up."""

from __future__ import annotations

from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmeter.ledger.list_price import list_prices, sum_exact

TWO = [(D("0.5"), D(2), D(1)), (D("0.25"), D(8), D(2))]
"""Half a million at 2 and a quarter of a million at 8."""
FREE = [(D(1), D(0), D(0)), (D(3), D(0), D(0))]


@pytest.mark.parametrize(
    ("charges", "amount", "listed", "expected"),
    [
        pytest.param(TWO, "3", None, [("1", "2", "rate"), ("2", "8", "rate")], id="the list price is paid"),
        pytest.param(TWO, "3", "3", [("1", "2", "rate"), ("2", "8", "rate")], id="the same sum"),
        pytest.param(TWO, "3", "3.75", [("1.250", "2.5", "ratio"), ("2.50", "10", "ratio")], id="20% off"),
        pytest.param(TWO[:1], "1", "4", [("4", "8", "charge")], id="one charge"),
        pytest.param(TWO, "3", "4", [("1.333333333333", None, "split"), ("2.666666666667", None, "split")], id="3:4"),
        pytest.param(FREE, "0", "2", [("0.5", None, "split"), ("1.5", None, "split")], id="a free quota"),
    ],
)  # fmt: skip
def test_each_charge_gets_its_part(
    charges: list[tuple[D, D, D]], amount: str, listed: str | None, expected: list[tuple[str, str | None, str]]
) -> None:
    found = list_prices(charges, D(amount), None if listed is None else D(listed))
    assert [(price.cost, price.unit, price.basis) for price in found] == [
        (D(cost), None if unit is None else D(unit), basis) for cost, unit, basis in expected
    ]


@given(
    st.lists(st.tuples(st.decimals("0", "9999", places=6), st.decimals("0", "99", places=4)), min_size=1, max_size=5),
    st.decimals("0", "99999", places=8),
)
def test_the_parts_add_up(charges: list[tuple[D, D]], listed: D) -> None:
    full = [(quantity, unit, quantity * unit) for quantity, unit in charges]
    found = list_prices(full, sum_exact([paid for _, _, paid in full]), listed)
    assert sum_exact([price.cost for price in found]) == listed
