"""Which values of a key a page shows: the dearest of each currency, found without holding every value.

A key may have a value for each call (a user, a session, a hostile model name). Beyond `MOST_VALUES` the dearest are
found by SQL that sorts on disk, and the report is asked for those alone and, in one sum, for all others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.report.columns import KEYS, TAG
from tokenmeter.ledger.report.periods import PERIODS
from tokenmeter.ledger.report.question import Question
from tokenmeter.ledger.report.selection import Snapshot, conditions, known_tag, select
from tokenmeter.ledger.report.stats import define
from tokenmeter.ledger.report.sum_sources import ROWS, SumSource, source_of
from tokenmeter.ledger.report.where import CallFilter

if TYPE_CHECKING:
    import sqlite3

__all__ = ["MOST_SHOWN", "Group", "Leading", "TagCensus", "check_keys", "leading", "narrowed", "tags_of"]

Group = tuple[str | None, ...]
"""The values of one or more keys."""
MOST_SHOWN: Final = 7
"""Groups that a chart tells apart in each currency; all others are one sum."""
MOST_VALUES: Final = 500
"""Values of a key that are read one by one."""
_MOST_TAGS: Final = 20


class TagCensus(NamedTuple):
    """How many calls bear a tag, and with how many values."""

    name: str
    calls: int
    values: int


@dataclass(frozen=True)
class Leading:
    """The groups to tell apart, and how many there are in all; `all_` says that these are all of them."""

    groups: tuple[Group, ...]
    count: int
    all_: bool


def check_keys(snapshot: Snapshot, question: Question, keys: Iterable[str]) -> None:
    """Raise ConfigurationError for a key that is not known, or has no place on a page."""
    for name in keys:
        if name in PERIODS or name == "currency":
            raise ConfigurationError(
                f"--by {name}: a page has its own periods and a chart for each currency; name keys such as model, team"
            )
    with select(snapshot, question) as (connection, _, _):
        _selected(connection, keys, ROWS)


class _Selected(NamedTuple):
    """Keys as SQL, named k0, k1 …, and the values bound in it."""

    sql: str
    values: list[str]


def _selected(connection: sqlite3.Connection, keys: Iterable[str], source: SumSource) -> _Selected:
    """Raises ConfigurationError for an unknown key."""
    found: list[str] = []
    values: list[str] = []
    for number, name in enumerate(keys):
        if name in source.keys:
            found.append(f"{source.keys[name]} AS k{number}")
            continue
        tag = name.removeprefix("tag:")
        known_tag(connection, tag, f"--by {name}")
        found.append(f"{TAG} AS k{number}")
        values.append(tag)
    return _Selected(", ".join(found), values)


def leading(snapshot: Snapshot, question: Question, keys: Sequence[str]) -> Leading:
    """The groups of `keys` that a page reads one by one."""
    with select(snapshot, question) as (connection, where, values):
        names = [f"k{number}" for number in range(len(keys))]
        by = ", ".join(names)
        asked = replace(question, by=tuple(keys))
        source = source_of(connection, asked)
        some, bound = _selected(connection, keys, source), conditions(asked, source)
        distinct = f"SELECT DISTINCT {some.sql} FROM {source.table} WHERE {bound[0]} LIMIT {MOST_VALUES + 1}"  # noqa: S608
        found = [_text(row) for row in connection.execute(distinct, [*some.values, *bound[1]])]
        if len(found) <= MOST_VALUES:
            return Leading(tuple(found), len(found), True)
        define(connection)
        some = _selected(connection, keys, ROWS)
        calls = f"SELECT {some.sql}, currency, amount FROM calls WHERE {where}"  # noqa: S608
        ranked = (
            f"SELECT {by}, currency, exact_sum(amount) AS s FROM ({calls}) GROUP BY {by}, currency "  # noqa: S608
            "ORDER BY currency IS NULL, currency, sortable(coalesce(s, '0')) DESC"
        )
        kept: dict[Group, None] = {}
        seen: dict[str | None, int] = {}
        for row in connection.execute(ranked, [*some.values, *values]):
            currency = row["currency"]
            seen[currency] = seen.get(currency, 0) + 1
            if currency is not None and seen[currency] <= MOST_SHOWN:
                kept[_text(tuple(row)[: len(names)])] = None
        return Leading(tuple(kept), max(seen.values()), False)


def _text(row: Sequence[Any]) -> Group:
    return tuple(None if value is None else str(value) for value in row)


def narrowed(question: Question, keys: Sequence[str], groups: Sequence[Group], *, others: bool = False) -> Question:
    """The question about calls of these groups alone, or with `others` about all calls but these."""
    one: list[str] = []
    values: list[Any] = []
    for group in groups:
        parts = []
        for name, value in zip(keys, group, strict=True):
            if name in KEYS:
                parts.append(f"{KEYS[name]} IS ?")
            else:
                parts.append(f"{TAG} IS ?")
                values.append(name.removeprefix("tag:"))
            values.append(value)
        one.append(f"({' AND '.join(parts)})")
    sql = f"NOT ({' OR '.join(one)})" if others else f"({' OR '.join(one)})"
    before = question.where or CallFilter("", "1", (), ())
    read = [name.removeprefix("tag:") for name in keys]  # by which the report knows where it may sum
    tags = [tag for name, tag in zip(keys, read, strict=True) if name not in KEYS]
    both = CallFilter(
        before.text,
        f"({before.sql}) AND {sql}",
        (*before.values, *values),
        (*before.tags, *tags),
        (*before.names, *read),
    )
    return replace(question, where=both)


def tags_of(snapshot: Snapshot, question: Question) -> list[TagCensus]:
    """The tags of the calls, those on most calls first."""
    with select(snapshot, question) as (connection, where, values):
        query = (
            "SELECT tag.key, count(*), count(DISTINCT tag.value) FROM "  # noqa: S608
            f"(SELECT tags FROM calls WHERE {where} AND tags <> '{{}}') AS call, json_each(call.tags) AS tag "
            f"GROUP BY 1 ORDER BY 2 DESC, 3, 1 LIMIT {_MOST_TAGS}"
        )
        return [TagCensus(str(row[0]), row[1], row[2]) for row in connection.execute(query, values)]
