"""Compares what sources say today with the facts, and makes facts of what is new.

A reading equal to the last fact of its own source is nothing new; any other becomes a fact of the day it was read.
Nothing is dropped: what a source no longer lists, and who else has another price, is printed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from tools.price_book.fact_files import Row
from tools.price_book.model_keys import key_of
from tools.price_book.sources.reading import Found, Reading, SourceError
from tools.price_book.sources.table import Source
from tools.price_book.vocabulary import family_of

#: A source of which this share of prices is this many times those before has changed its unit.
_SLIP: Final = 100
_SHARE: Final = Decimal("0.2")
Key = tuple[Any, ...]


@dataclass
class News:
    """What one source says that the facts do not."""

    rows: list[Row] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    disputed: list[str] = field(default_factory=list)
    same: int = 0
    gone: dict[tuple[str, str], str] = field(default_factory=dict)
    models: set[tuple[str, str]] = field(default_factory=set)
    copied: int = 0


def news(
    source: Source,
    found: Found,
    version: str,
    day: str,
    facts: Sequence[Row],
    better: Collection[tuple[str, str]] = frozenset(),
) -> News:
    """What is new in a source of that day. Raises SourceError if its prices are of another unit than before.

    `better` are the models, by vendor and key, of which a better source of its family speaks.
    """
    name = source.cite(version)
    stem = name.partition("==")[0]
    own = _last(row for row in facts if row["source"].startswith(f"{stem}=="))
    others: dict[Key, list[Row]] = defaultdict(list)
    for (key, _), row in _last_by_family(facts).items():
        others[key].append(row)
    _same_unit(found.readings, own, others)
    answer = News()
    copied: set[tuple[str, str]] = set()
    for reading in _unique(found.readings):
        key = _key(reading.vendor, reading.model, _row(reading, name, source.license, day))
        answer.models.add(key[:2])
        if key[:2] in better:
            copied.add(key[:2])
            continue
        before = own.get(key)
        if before is not None and Decimal(before["price"]) == reading.price:
            answer.same += 1
            continue
        answer.rows.append(_row(reading, name, source.license, day))
        shown = f"{reading.vendor}/{reading.model} {_what(reading)}"
        if before is None:
            answer.new.append(f"{shown}: {reading.price:f} {reading.currency}")
        else:
            answer.changed.append(f"{shown}: {before['price']} -> {reading.price:f} {reading.currency}")
        against = [row for row in others.get(key, ()) if _differs(row, reading, stem)]
        if against:
            names = ", ".join(f"{row['price']} in {family_of(row['source'])}" for row in against)
            answer.disputed.append(f"{shown}: {reading.price:f} against {names}")
    kinds = {reading.kind for reading in found.readings}
    for key, row in own.items():
        if key[2] in kinds and key[:2] not in answer.models:
            answer.gone[key[:2]] = max(answer.gone.get(key[:2], ""), min(day, _day(row)))
    answer.copied = len(copied)
    return answer


def _differs(row: Row, reading: Reading, stem: str) -> bool:
    return Decimal(row["price"]) != reading.price and not row["source"].startswith(f"{stem}==")


def _unique(readings: Iterable[Reading]) -> Iterator[Reading]:
    """Each price once; a source that gives two prices of one thing gives none of it."""
    by_key: dict[Key, set[Decimal]] = defaultdict(set)
    first: dict[Key, Reading] = {}
    for reading in readings:
        key = (reading.vendor, key_of(reading.model, reading.vendor), *reading.key[2:])
        by_key[key].add(reading.price)
        first.setdefault(key, reading)
    for key, reading in first.items():
        if len(by_key[key]) == 1:
            yield reading


def _same_unit(readings: Sequence[Reading], own: Mapping[Key, Row], others: Mapping[Key, Sequence[Row]]) -> None:
    shared = slipped = 0
    for reading in readings:
        key = _key(reading.vendor, reading.model, _row(reading, "", "", ""))
        known = [own[key]] if key in own else list(others.get(key, ()))
        before = [Decimal(row["price"]) for row in known if Decimal(row["price"])]
        if before and reading.price:
            shared += 1
            ratio = max(max(reading.price / price, price / reading.price) for price in before)
            slipped += ratio >= _SLIP
    if shared >= 3 and Decimal(slipped) / shared >= _SHARE:
        raise SourceError(
            f"{slipped} of {shared} known prices are {_SLIP} times or more, or a {_SLIP}th or less, of what they were: "
            "another unit?"
        )


def _last(rows: Iterable[Row]) -> dict[Key, Row]:
    """The newest row for each thing priced."""
    found: dict[Key, Row] = {}
    for row in rows:
        if row.get("converted") or row.get("observed_to"):
            continue
        key = _key(row["vendor"], row["model"], row)
        if key not in found or _day(row) >= _day(found[key]):
            found[key] = row
    return found


def _last_by_family(rows: Iterable[Row]) -> dict[tuple[Key, str], Row]:
    found: dict[tuple[Key, str], Row] = {}
    for row in rows:
        if row.get("converted") or row.get("observed_to"):
            continue
        key = (_key(row["vendor"], row["model"], row), family_of(row["source"]))
        if key not in found or _day(row) >= _day(found[key]):
            found[key] = row
    return found


def _day(row: Row) -> str:
    day: str = row["effective_from"] or row["observed_from"] or row["source_date"] or ""
    return day[:10]


def _key(vendor: str, model: str, row: Row) -> Key:
    tier = tuple(sorted((row["tier"] or {}).items()))
    return (vendor, key_of(model, vendor), row["kind"], tier, row["condition"] or "", row["unit"], row["currency"])


def _what(reading: Reading) -> str:
    signs = {"gt": ">", "le": "<=", "ge": ">=", "lt": "<"}
    tier = "".join(f" {name.partition('_')[0]}{signs[name[-2:]]}{edge}" for name, edge in reading.tier)
    return f"{reading.kind}{tier}{f' ({reading.condition})' if reading.condition else ''}"


def _row(reading: Reading, source: str, licence: str, day: str) -> Row:
    return {
        "vendor": reading.vendor,
        "model": reading.model,
        "currency": reading.currency,
        "unit": "per_1m_tokens",
        "kind": reading.kind,
        "price": format(reading.price.normalize(), "f"),
        "tier": dict(reading.tier) or None,
        "condition": reading.condition,
        "effective_from": None,
        "effective_to": None,
        "observed_from": min(day, reading.since or day),
        "source": source,
        "source_date": day,
        "source_kind": "catalog",
        "license": licence,
    }
