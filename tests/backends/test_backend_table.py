"""The comparison of `make test-backends` itself: what is not ours must be foretold by a rule, or it fails."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

TOOLS = Path(__file__).parents[2] / "tools" / "backends"
NAMES = ("table", "readers", "rules", "servers", "sdk_matrix")


@pytest.fixture(scope="module")
def table() -> Iterator[Any]:
    """The tool's module; its neighbours have short names, and go again."""
    sys.path.insert(0, str(TOOLS))
    yield importlib.import_module("table")
    sys.path.remove(str(TOOLS))
    for name in NAMES:
        sys.modules.pop(name, None)


def record(**changes: Any) -> dict[str, Any]:
    tokens = {"input_tokens": 1000, "output_tokens": 100, "cache_read_input_tokens": 0}
    return {
        "call": "a call", "span_id": "s", "provider": "deepseek", "model": "m", "tokens": tokens, "reported": tokens,
        "amount": "0.5", "currency": "USD", "reported_amount": "0.5", "status": "priced", "end": "complete", **changes,
    }  # fmt: skip


def compared(table: Any, name: str, shown: Any, total: float | None = None, **changes: Any) -> Any:
    """The check of one call in one column: `shown` are tokens in and out, and the cost."""
    from readers import Read, Shown  # type: ignore[import-not-found,unused-ignore]

    calls = {}
    if shown is not None:
        tokens = {name: value for name, value in (("input", shown[0]), ("output", shown[1])) if value}
        calls["s"] = Shown(tokens, shown[2])
    kinds = frozenset(changes.pop("kinds", "plain").split())
    sums = {"USD": total if total is not None else (shown or (0, 0, 0.0))[2] or 0.0}
    column = table.Column(name, Read(calls, sums), {"a call": record(**changes)})
    check = table.Check()
    table.rows(check, [column], [("a call", kinds)])
    table.totals(check, [column])
    return check


def test_what_is_ours_needs_no_reason(table: Any) -> None:
    check = compared(table, "MLflow", (1000, 100, 0.1 + 0.4))
    assert (check.equal, check.explained, check.unexplained) == (2, 0, [])


@pytest.mark.parametrize(
    ("name", "shown", "changes", "said"),
    [
        pytest.param("MLflow", (1000, 99, 0.5), {}, "shows tokens", id="a token less"),
        pytest.param("MLflow", (1000, 100, 0.50001), {}, "shows cost 0.50001", id="a little more"),
        pytest.param("MLflow", (1000, 100, None), {}, "shows cost None", id="no cost"),
        pytest.param("MLflow", (1000, 100, 0.0), {"amount": None, "currency": None}, "cost 0.0", id="unknown as zero"),
        pytest.param("MLflow", (1000, 100, 0.07), {"currency": "CNY"}, "cost 0.07", id="dollars made up for yuan"),
        pytest.param("MLflow", (1000, 100, 0.5), {"currency": "CNY"}, "shows cost 0.5", id="yuan as so many dollars"),
        pytest.param("Phoenix synced", (1000, 100, 0.6), {}, "shows cost 0.6", id="another price after the sync"),
        pytest.param("MLflow", None, {}, "has not got it", id="not there"),
    ],
)  # fmt: skip
def test_what_no_rule_foretells_fails(table: Any, name: str, shown: Any, changes: dict[str, Any], said: str) -> None:
    (line,) = compared(table, name, shown, **changes).unexplained
    assert said in line


@pytest.mark.parametrize(
    ("name", "shown", "changes"),
    [
        pytest.param("MLflow", (1000, 100, None), {"currency": "CNY"}, id="yuan"),
        pytest.param("Phoenix", (1000, 100, 0.3), {}, id="Phoenix's own price"),
        pytest.param("Phoenix synced", (1000, 100, None), {"status": "free", "amount": "0"}, id="free"),
        pytest.param(
            "MLflow", (1000, 0, 0.5), {"reported": {"input_tokens": 1000}, "end": "closed_early"}, id="left early"
        ),
    ],
)
def test_what_a_rule_foretells_is_explained(table: Any, name: str, shown: Any, changes: dict[str, Any]) -> None:
    check = compared(table, name, shown, **changes)
    assert (check.explained, check.unexplained) == (1, [])


def test_a_sum_that_counts_twice_fails(table: Any) -> None:
    (line,) = compared(table, "MLflow", (1000, 100, 0.5), total=1.0).unexplained
    assert "sums up 1.0" in line


def test_a_rule_that_explains_nothing_is_named(table: Any) -> None:
    check = table.Check()
    assert [rule.figure for rule in table.stale(check, ["MLflow"])] == ["cost"]
    assert not table.stale(check, ["Prometheus"]), "its backend was not run"
