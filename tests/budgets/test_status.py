"""What windows stand at, and charges by hand."""

from __future__ import annotations

from decimal import Decimal

from tests.rigs.budget_calls import bound_of, enforcer, facts
from tests.rigs.made_records import priced, record
from tokenmeter import Budget, Money
from tokenmeter.budgets.status import charge_by_hand, statuses


def test_each_window_is_shown_with_what_is_left() -> None:
    made = enforcer(
        Budget("10 CNY", name="all", per="total"), Budget("3 calls", name="users", each="user"), bound=bound_of("2")
    )
    first = made.admit(facts({"user": "u1"}))
    assert first is not None
    first.settle(record(priced("1.5")))
    assert made.admit(facts({"user": "u2"})) is not None
    whole, u1, u2 = statuses(made.lines.counters, made.store)
    assert (whole.limit, whole.spent, whole.held, whole.left, whole.resets_at) == (10, Decimal("1.5"), 2, 6.5, None)
    assert [(one.budget, one.value, one.spent, one.held) for one in (u1, u2)] == [
        ("users", "u1", 1, 0),
        ("users", "u2", 0, 1),
    ]
    assert u1.resets_at is not None
    assert whole.to_dict() == {
        "budget": "all", "value": None, "window": "total", "unit": "CNY", "limit": "10", "spent": "1.5", "held": "2",
        "left": "6.5", "lost": "0", "lost_calls": 0, "resets_at": None,
    }  # fmt: skip


def test_nothing_is_left_below_zero() -> None:
    made = enforcer(Budget("1 CNY", name="all", per="total"))
    charge_by_hand(made.lines.counters, made.store, facts(), cost=Money(Decimal(5), "CNY"), tokens=None)
    (whole,) = statuses(made.lines.counters, made.store)
    assert (whole.spent, whole.left) == (5, 0)


def test_a_charge_by_hand_falls_under_the_budgets_whose_unit_is_known() -> None:
    made = enforcer(
        Budget("10 CNY", name="cny", per="total"),
        Budget("10 USD", name="usd", per="total"),
        Budget("500 tokens", name="tokens", per="total"),
        Budget("9 calls", name="calls", per="total", where={"team": "search"}),
        Budget("9 calls", name="ads", per="total", where={"team": "ads"}),
    )
    cost = Money(Decimal("0.3"), "CNY")
    charged = charge_by_hand(
        made.lines.counters, made.store, facts({"team": "search"}), cost=cost, tokens=None, calls=2
    )
    assert charged == ["cny", "calls"]
    spent = {one.budget: one.spent for one in statuses(made.lines.counters, made.store)}
    assert spent == {"cny": Decimal("0.3"), "usd": 0, "tokens": 0, "calls": 2, "ads": 0}
