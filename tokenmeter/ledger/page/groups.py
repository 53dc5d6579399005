"""Which values of a key a page shows: the dearest of each currency, found without holding every value.

A key may have a value for each call (a user, a session, a hostile model name). Beyond `MOST_VALUES` the dearest are
found by SQL that sorts on disk, and the report is asked for those alone and, in one sum, for all others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.amounts import sum_sql
from tokenmeter.ledger.report.columns import KEYS, TAG
from tokenmeter.ledger.report.periods import PERIODS
from tokenmeter.ledger.report.question import Question
from tokenmeter.ledger.report.selection import Snapshot, conditions, known_tag, select
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
        some = _selected(connection, keys, ROWS)
        ranked = (
            f"SELECT {some.sql}, currency, {sum_sql('amount')} AS s FROM calls WHERE {where} "  # noqa: S608
            f"GROUP BY {by}, currency ORDER BY currency IS NULL, currency, sortable(coalesce(s, '0')) DESC"
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
    sql, values = _among(keys, groups)
    if others:
        sql = f"NOT {sql}"
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


def _among(keys: Sequence[str], groups: Sequence[Group]) -> tuple[str, list[Any]]:
    """That a call is of one of these groups, as SQL that is never NULL, with its values."""
    read: list[tuple[str, list[str | None]]] = [
        (KEYS[name], []) if name in KEYS else (TAG, [name.removeprefix("tag:")]) for name in keys
    ]
    if len(read) == 1:  # a tag is read once for each call, however many values there are
        ((sql, bound),) = read
        known = [value for (value,) in groups if value is not None]
        parts = [f"coalesce({sql} IN ({', '.join('?' * len(known))}), 0)"]
        values = [*bound, *known]
        if len(known) < len(groups):
            parts.append(f"{sql} IS NULL")
            values += bound
        return f"({' OR '.join(parts)})", values
    one = " AND ".join(f"{sql} IS ?" for sql, _ in read)
    values = [
        part for group in groups for (_, bound), value in zip(read, group, strict=True) for part in (*bound, value)
    ]
    return f"({' OR '.join(f'({one})' for _ in groups)})", values


def tags_of(snapshot: Snapshot, question: Question) -> list[TagCensus]:
    """The tags of the calls, those on most calls first."""
    with select(snapshot, question) as (connection, where, values):
        query = (
            "SELECT tag.key, count(*), count(DISTINCT tag.value) FROM "  # noqa: S608
            f"(SELECT tags FROM calls WHERE {where} AND tags <> '{{}}') AS call, json_each(call.tags) AS tag "
            f"GROUP BY 1 ORDER BY 2 DESC, 3, 1 LIMIT {_MOST_TAGS}"
        )
        return [TagCensus(str(row[0]), row[1], row[2]) for row in connection.execute(query, values)]
