"""Why spend changed: causes that add up exactly, each seen alone."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tokenmeter.ledger.report.causes import Spent, decompose

Skus = dict[tuple[str, str, str], tuple[int, str]]


def spent(skus: Skus, *, calls: int = 1, vendor: str = "0") -> Spent:
    """What was used (tokens) and paid by SKU, and what a vendor's own figures add."""
    paid = sum((Decimal(amount) for _, amount in skus.values()), Decimal(vendor))
    return Spent(paid, calls, {sku: (Fraction(used), Fraction(amount)) for sku, (used, amount) in skus.items()})


ONE = ("deepseek", "chat", "input")
CACHED = ("deepseek", "chat", "cache_read")
OUT = ("deepseek", "chat", "output")
OTHER = ("openai", "gpt", "input")


@pytest.mark.parametrize(
    ("old", "new", "cause", "amount"),
    [
        pytest.param({ONE: (100, "1")}, {ONE: (300, "3")}, "volume", "2", id="three times as many"),
        pytest.param({ONE: (100, "1")}, {ONE: (100, "4")}, "price", "3", id="four times as dear"),
        pytest.param(
            {ONE: (100, "10"), CACHED: (100, "1")},
            {ONE: (50, "5"), CACHED: (150, "1.5")},
            "cache", "-4.5", id="more from the cache",
        ),
        pytest.param({ONE: (100, "1")}, {ONE: (0, "0"), OTHER: (100, "5")}, "mix", "4", id="another model"),
        pytest.param(
            {ONE: (50, "1"), OUT: (50, "4")}, {ONE: (90, "1.8"), OUT: (10, "0.8")}, "mix", "-2.4", id="shorter answers"
        ),
    ],
)  # fmt: skip
def test_one_cause_alone_is_the_whole_change(old: Skus, new: Skus, cause: str, amount: str) -> None:
    (found,) = decompose({"CNY": spent(old)}, {"CNY": spent(new)})
    parts = {name: getattr(found, name) for name in ("volume", "price", "cache", "mix")}
    assert parts == {name: Decimal(amount) if name == cause else 0 for name in parts}
    assert found.change == Decimal(amount)


def test_a_currency_of_one_period_alone() -> None:
    gone, came = decompose({"CNY": spent({ONE: (100, "1")})}, {"USD": spent({ONE: (100, "1")})})
    assert (gone.currency, gone.change, gone.volume) == ("CNY", -1, -1)
    assert (came.currency, came.change, came.mix) == ("USD", 1, 1)


def test_the_vendors_own_figures_change_with_the_calls() -> None:
    (found,) = decompose({"USD": spent({}, calls=2, vendor="1")}, {"USD": spent({}, calls=4, vendor="3")})
    assert (found.volume, found.mix) == (1, 1)


SKUS = st.dictionaries(
    st.tuples(
        st.sampled_from(("a", "b")), st.sampled_from(("m", "n")),
        st.sampled_from(("input", "cache_read", "cache_write_5m", "output", "images")),
    ),
    st.tuples(st.integers(0, 10**7), st.decimals("0", "1000", places=8).map(str)),
    max_size=8,
)  # fmt: skip


@given(SKUS, SKUS, st.integers(0, 5), st.integers(0, 5))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # on a busy machine
def test_the_causes_add_up_exactly(old: Skus, new: Skus, before: int, after: int) -> None:
    (found,) = decompose({"CNY": spent(old, calls=before)}, {"CNY": spent(new, calls=after)})
    assert found.volume + found.price + found.cache + found.mix == found.change
    assert found.change == spent(new).total - spent(old).total
