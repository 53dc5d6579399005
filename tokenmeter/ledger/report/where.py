"""Conditions of `--where`: `cost > 0.05 and (team = "search" or model in ("qwen-max", "glm-4.6"))`.

Names are those of `columns.py`, tags by their name or as `tag:NAME`; comparisons are `= != < <= > >=`, `in (…)`,
`like` (`%` and `_`) and `is [not] null`, joined by `and`, `or`, `not` and parentheses. What a call does not know
matches no comparison. Names become SQL of `columns.py` and values are bound, so no text of a user is ever SQL. Money
is compared exactly.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, NoReturn

from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.report.columns import NUMBERS
from tokenmeter.ledger.report.dialect import SQLITE, Dialect

__all__ = ["CallFilter", "compare_exactly", "parse"]

_TOKEN: Final = re.compile(
    r"""\s*(?: (?P<text>"[^"]*"|'[^']*') | (?P<number>-?[0-9]+(?:\.[0-9]+)?(?![\w:.-]))
    | (?P<sign>!=|<=|>=|<>|==|[=<>(),]) | (?P<word>[\w:./@+-]+) )""",
    re.VERBOSE,
)
_OPERATORS: Final = {"=": "=", "==": "=", "!=": "<>", "<>": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_MONEY: Final = frozenset({"cost", "vendor_cost", "list_cost"})
_DEEPEST: Final = 50


@dataclass(frozen=True)
class CallFilter:
    """A parsed expression: its text, SQL over `calls`, and the values bound in it."""

    text: str
    sql: str
    values: tuple[Any, ...]
    tags: tuple[str, ...]
    """The names of tags that it reads."""
    names: tuple[str, ...] = ()
    """All names that it reads; tags without `tag:`."""


def parse(text: str, dialect: Dialect = SQLITE) -> CallFilter:
    """Read an expression. Raises ConfigurationError naming the place and what may stand there."""
    parser = _Parser(text, dialect)
    sql = parser.either(0)
    if parser.peek() is not None:
        parser.fail("and, or, or the end")
    tags, names = (tuple(dict.fromkeys(some)) for some in (parser.tags, parser.names))
    return CallFilter(text, sql, tuple(parser.values), tags, names)


def compare_exactly(one: str | None, other: str) -> int | None:
    """-1, 0 or 1 for two decimal texts; None where the first is not known."""
    if one is None:
        return None
    left, right = Decimal(one), Decimal(other)
    return (left > right) - (left < right)


class _Parser:
    """A recursive descent over the tokens; `values` holds what is bound so far."""

    def __init__(self, text: str, dialect: Dialect) -> None:
        self.text = text
        self._dialect = dialect
        self.values: list[Any] = []
        self.tags: list[str] = []
        self.names: list[str] = []
        self._tokens: list[tuple[str, str, int]] = []
        place = 0
        while text[place:].strip():
            found = _TOKEN.match(text, place)
            if found is None:
                raise ConfigurationError(f"--where: {text[place:].strip()[:20]!r} is not understood")
            kind = found.lastgroup or ""
            self._tokens.append((kind, found[kind], found.start(kind)))
            place = found.end()
        self._next = 0

    def peek(self) -> tuple[str, str, int] | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def fail(self, expected: str) -> NoReturn:
        token = self.peek()
        found = "the end" if token is None else repr(token[1])
        raise ConfigurationError(f"--where: {found} where {expected} should stand in {self.text!r}")

    def _word(self, *words: str) -> bool:
        token = self.peek()
        if token is not None and token[0] in ("word", "sign") and token[1].lower() in words:
            self._next += 1
            return True
        return False

    def _expect(self, sign: str) -> None:
        if not self._word(sign):
            self.fail(repr(sign))

    def either(self, depth: int) -> str:
        parts = [self._both(depth)]
        while self._word("or"):
            parts.append(self._both(depth))
        return " OR ".join(parts) if len(parts) > 1 else parts[0]

    def _both(self, depth: int) -> str:
        parts = [self._not(depth)]
        while self._word("and"):
            parts.append(self._not(depth))
        return " AND ".join(f"({part})" for part in parts) if len(parts) > 1 else parts[0]

    def _not(self, depth: int) -> str:
        if depth > _DEEPEST:
            raise ConfigurationError(f"--where: nested more than {_DEEPEST} deep")
        if self._word("not"):
            return f"NOT ({self._not(depth + 1)})"
        if self._word("("):
            inner = self.either(depth + 1)
            self._expect(")")
            return f"({inner})"
        return self._comparison()

    def _comparison(self) -> str:
        token = self.peek()
        if token is None or token[0] != "word":
            self.fail("a name")
        self._next += 1
        name = token[1]
        self.names.append(name.removeprefix("tag:"))
        if self._word("is"):
            negated = self._word("not")
            if not self._word("null"):
                self.fail("null")
            return f"{self._column(name)} IS {'NOT ' if negated else ''}NULL"
        negated = self._word("not")
        if self._word("in"):
            return self._membership(name, negated)
        if self._word("like"):
            column, value = self._column(name), self._value(name)
            return self._dialect.like.format(column=column, negated="NOT " if negated else "", value=value)
        token = self.peek()
        if negated or token is None or token[1] not in _OPERATORS:
            self.fail("one of = != < <= > >= in like is")
        self._next += 1
        return self._compare(name, _OPERATORS[token[1]])

    def _compare(self, name: str, operator: str) -> str:
        if name in _MONEY:
            value = self._value(name)
            return self._dialect.compared.format(column=NUMBERS[name], operator=operator, value=value)
        return f"{self._column(name)} {operator} {self._value(name)}"

    def _membership(self, name: str, negated: bool) -> str:
        self._expect("(")
        operator, join = ("<>", " AND ") if negated else ("=", " OR ")
        parts = [self._compare(name, operator)]
        while self._word(","):
            parts.append(self._compare(name, operator))
        self._expect(")")
        return f"({join.join(parts)})"

    def _column(self, name: str) -> str:
        if name in self._dialect.keys:
            return self._dialect.keys[name]
        if name in NUMBERS:
            return NUMBERS[name]
        self.tags.append(name.removeprefix("tag:"))
        self.values.append(self.tags[-1])
        return self._dialect.tag

    def _value(self, name: str) -> str:
        token = self.peek()
        if token is None or token[0] == "sign":
            self.fail("a value")
        kind, text, _ = token
        self._next += 1
        if kind == "text":
            text = text[1:-1]
        if name in NUMBERS:
            if kind != "number":
                raise ConfigurationError(f"--where: {name} is a number, {text!r} is not")
            self.values.append(text if name in _MONEY else float(text) if "." in text else _whole(text))
        else:
            self.values.append(text)
        return "?"


def _whole(text: str) -> int | float:
    number = int(text)
    return number if abs(number) < 2**63 else float(number)
