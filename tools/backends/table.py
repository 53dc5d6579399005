"""The table: each call, what we recorded of it, and what each backend shows; a letter where that differs."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from string import ascii_lowercase
from typing import Any

from readers import Read, Shown
from rules import ANY, RULES, Cell, Rule

NEAR = 1e-9
"""Backends compute in floats; we do not."""


def same(one: float | None, other: float | None) -> bool:
    """Whether two costs are the same number. Nothing known is the same as nothing known, and as nothing else."""
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=NEAR, abs_tol=1e-15)


@dataclass
class Column:
    """What one backend shows of one run. `key` is the record's field that its calls are known by."""

    name: str
    read: Read
    records: Mapping[str, Mapping[str, Any]]
    key: str = "span_id"
    rate: float | None = None
    first: Column | None = None
    left_out: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def shown(self, call: str) -> Shown | None:
        return self.read.calls.get(self.records[call][self.key])


@dataclass
class Check:
    """The comparison so far: explained and unexplained differences, and which rules were needed."""

    letters: dict[int, str] = field(default_factory=dict)
    unexplained: list[str] = field(default_factory=list)
    equal: int = 0
    explained: int = 0

    def figure(self, cell: Cell, figure: str, ours: Any, shown: Any) -> str:
        """The mark of a figure: none if it is ours, a rule's letter, or !! if nothing explains it."""
        equal = ours == shown if figure == "tokens" else same(ours, shown)
        if equal:
            self.equal += 1
            return ""
        for number, rule in enumerate(RULES):
            if cell.column in rule.columns and rule.figure == figure and rule.holds(cell):
                foretold = rule.shows(cell)
                if foretold is ANY or (foretold == shown if figure == "tokens" else same(foretold, shown)):
                    self.explained += 1
                    return " " + self.letters.setdefault(number, ascii_lowercase[len(self.letters)])
        self.unexplained.append(f"{cell.record['call']}: {cell.column} shows {figure} {shown}, ours {ours}")
        return " !!"


def _cell(column: Column, call: str, kinds: frozenset[str]) -> Cell:
    record = column.records[call]
    amount, currency = record["amount"], record["currency"]
    cost = None if amount is None else float(amount)
    part = None if record["reported_amount"] is None else float(record["reported_amount"])
    if column.rate is not None and currency not in (None, "USD"):
        cost, part = (None if value is None else value * column.rate for value in (cost, part))
    first = column.first.shown(call) if column.first is not None else None
    return Cell(
        column=column.name,
        kinds=kinds,
        record=record,
        tokens=_comparable(record["tokens"]),
        reported=_comparable(record["reported"]),
        cost=cost,
        currency=currency,
        reported_cost=part,
        first=None if first is None else first.cost,
        left_out=column.left_out.get((record["provider"], record["model"])),
    )


_NAMES = {
    "input_tokens": "input",
    "output_tokens": "output",
    "cache_read_input_tokens": "cache_read",
    "cache_write_input_tokens": "cache_write",
}


def _comparable(tokens: Mapping[str, int]) -> dict[str, int]:
    return {_NAMES[name]: value for name, value in tokens.items() if name in _NAMES and value}


def _said_tokens(tokens: Mapping[str, int]) -> str:
    if not tokens:
        return "none"
    said = f"{tokens.get('input', 0)}/{tokens.get('output', 0)}"
    cached = "+".join(str(tokens[name]) for name in ("cache_read", "cache_write") if name in tokens)
    return f"{said} ({cached})" if cached else said


def _said_cost(cost: float | None) -> str:
    return "none" if cost is None else f"{cost:.10f}".rstrip("0").rstrip(".") or "0"


def rows(check: Check, columns: Sequence[Column], calls: Iterable[tuple[str, frozenset[str]]]) -> list[list[str]]:
    """One row for each call; tokens are shown once for each backend, in its first column."""
    answer = []
    for call, kinds in calls:
        record = columns[0].records[call]
        bill = "unpriced" if record["amount"] is None else f"{_said_cost(float(record['amount']))} {record['currency']}"
        line = [call, _said_tokens(_comparable(record["tokens"])), bill]
        for column in columns:
            cell, shown = _cell(column, call, kinds), column.shown(call)
            if shown is None:
                check.unexplained.append(f"{call}: {column.name} has not got it")
                line += ["missing !!"] * (1 + _has_tokens(column))
                continue
            mark = check.figure(cell, "tokens", cell.tokens, dict(shown.tokens))
            if _has_tokens(column):
                line.append(f"{_said_tokens(shown.tokens)}{mark}" if mark else "=")
            # Metrics say the bill's own currency; the others say dollars or nothing.
            ours = cell.cost
            if column.key == "span_id" and column.rate is None and cell.currency not in (None, "USD") and ours:
                ours = math.nan  # never equal: no number of dollars is a bill in yuan
            mark = check.figure(cell, "cost", ours, shown.cost)
            line.append(f"{_said_cost(shown.cost)}{mark}" if mark else "=")
        answer.append(line)
    return answer


def _has_tokens(column: Column) -> bool:
    return column.first is None


def headers(columns: Sequence[Column]) -> list[str]:
    """The table's head."""
    answer = ["call", "in/out (cached)", "cost"]
    for column in columns:
        answer += [column.name, "cost"] if _has_tokens(column) else [f"cost, {column.name.partition(' ')[2]}"]
    return answer


def totals(check: Check, columns: Sequence[Column]) -> list[str]:
    """What each backend sums up by itself, which must be the sum of what it shows of the calls: nothing twice."""
    lines = []
    for column in columns:
        ours: dict[str, float] = defaultdict(float)
        cells: dict[str, float] = defaultdict(float)
        tokens = [0, 0, 0, 0]
        for call, record in column.records.items():
            cell, shown = _cell(column, call, frozenset()), column.shown(call)
            if cell.cost is not None and cell.currency is not None:
                ours["USD" if column.rate is not None else cell.currency] += cell.cost
            if shown is not None and shown.cost is not None:
                cells[record["currency"] if column.key == "call" else "USD"] += shown.cost
            for place, numbers in ((0, cell.tokens), (2, {} if shown is None else shown.tokens)):
                tokens[place] += numbers.get("input", 0)
                tokens[place + 1] += numbers.get("output", 0)
        lines.append(f"  {column.name:16} tokens {tokens[2]}/{tokens[3]}, ours {tokens[0]}/{tokens[1]}")
        for currency in sorted({*cells, *column.read.total}):
            own, summed = column.read.total.get(currency, 0.0), cells[currency]
            agrees = math.isclose(own, summed, rel_tol=1e-9, abs_tol=1e-12)
            if not agrees:
                check.unexplained.append(f"{column.name} sums up {own} {currency}, its calls make {summed}")
            lines.append(
                f"  {'':16} {currency} {_said_cost(own)}, its calls {_said_cost(summed)}, "
                f"ours {_said_cost(ours[currency])}{'' if agrees else '  !!'}"
            )
    return lines


def reasons(check: Check) -> list[str]:
    """The letters used, with the reason of each."""
    return [f"  {letter}  {RULES[number].why}" for number, letter in check.letters.items()]


def stale(check: Check, columns: Iterable[str]) -> list[Rule]:
    """Rules about columns of this run that explained nothing."""
    there = set(columns)
    return [rule for number, rule in enumerate(RULES) if number not in check.letters and there >= {*rule.columns}]
