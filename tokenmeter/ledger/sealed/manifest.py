"""The manifest of a sealed month: what its Parquet file holds, as JSON beside it.

`calls-2026-11.json` names the file, its digest, its rows and its sums by currency and price list. A Parquet file
without one is not a sealed month.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

from tokenmeter.ledger.losses import Loss
from tokenmeter.ledger.schema import LedgerError
from tokenmeter.money import EXACT, plain

__all__ = ["SealedMonth", "SealedSum", "instant", "is_sealed", "microseconds", "named", "sealed_months"]

FORMAT: Final = 1
"""The version of the manifest that this library writes."""
_KIND: Final = "tokenmeter sealed month"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class SealedSum(NamedTuple):
    """The calls of one currency and price list with a known cost, and their exact sum."""

    currency: str | None
    list: str | None
    calls: int
    amount: Decimal


@dataclass(frozen=True, kw_only=True)
class SealedMonth:
    """One sealed month. `rows` counts all calls, `delegated` those among them that carry no cost of their own.

    `since` is included, `until` is not; `first` and `last` are the ends of its first and last call. `inexact` counts
    the amounts of which the decimal column is not exact. `finished` is False where it was sealed before its end.
    """

    folder: Path
    month: str
    zone: str
    since: datetime
    until: datetime
    finished: bool
    sealed_at: datetime
    file: str
    size: int
    sha256: str
    rows: int
    delegated: int
    unpriced: int
    inexact: int
    first: datetime | None
    last: datetime | None
    sums: tuple[SealedSum, ...]
    losses: tuple[Loss, ...] = ()
    tags: tuple[str, ...] = field(default=(), repr=False)
    schema: int = 0
    """The schema version of the ledger."""
    book: tuple[str, ...] = ()
    """The editions of the price book that priced its calls."""
    writer: str = ""
    """The version of this library that sealed it."""

    @property
    def path(self) -> Path:
        """The Parquet file."""
        return self.folder / self.file

    @property
    def manifest(self) -> Path:
        """The manifest."""
        return self.path.with_suffix(".json")

    def to_dict(self) -> dict[str, Any]:
        """The manifest's JSON form: exact amounts as text, instants in UTC."""
        return {
            "kind": _KIND,
            "format": FORMAT,
            "month": self.month,
            "zone": self.zone,
            "since": _shown(self.since),
            "until": _shown(self.until),
            "finished": self.finished,
            "sealed_at": _shown(self.sealed_at),
            "file": self.file,
            "size": self.size,
            "sha256": self.sha256,
            "rows": self.rows,
            "delegated": self.delegated,
            "unpriced": self.unpriced,
            "inexact": self.inexact,
            "first": _shown(self.first),
            "last": _shown(self.last),
            "sums": [one._asdict() | {"amount": plain(one.amount)} for one in self.sums],
            "losses": [
                {
                    "first": _shown(instant(one.first_us)),
                    "last": _shown(instant(one.last_us)),
                    "calls": one.calls,
                    "reason": one.reason,
                }
                for one in self.losses
            ],
            "tags": list(self.tags),
            "schema": self.schema,
            "book": list(self.book),
            "writer": self.writer,
        }

    @classmethod
    def read(cls, path: Path) -> SealedMonth:
        """Read a manifest. Raises LedgerError for what is none, and for one of a newer format."""
        try:
            data = json.loads(path.read_bytes())
            if not isinstance(data, dict) or data.get("kind") != _KIND:
                raise LedgerError(f"{path} is not the manifest of a sealed month")
            if data["format"] > FORMAT:
                raise LedgerError(f"{path} was written by a newer tokenmeter: upgrade tokenmeter-sdk")
            fields: dict[str, Any] = {name: data[name] for name in _PLAIN}
            for name in _INSTANTS:
                fields[name] = None if data[name] is None else datetime.fromisoformat(data[name])
            return cls(
                folder=path.parent,
                **fields,
                sums=tuple(SealedSum(**one | {"amount": EXACT.create_decimal(one["amount"])}) for one in data["sums"]),
                losses=tuple(
                    Loss(_us(one["first"]), _us(one["last"]), one["calls"], one["reason"]) for one in data["losses"]
                ),
                tags=tuple(data["tags"]),
                book=tuple(data["book"]),
            )
        except OSError as error:
            if isinstance(error, LedgerError):
                raise
            raise LedgerError(f"{path}: {error.strerror or error}") from None
        except (ValueError, KeyError, TypeError, ArithmeticError) as error:
            raise LedgerError(f"{path} is damaged: {type(error).__name__}: {error}") from None


_PLAIN: Final = (
    "month", "zone", "finished", "file", "size", "sha256", "rows", "delegated", "unpriced", "inexact", "schema",
    "writer",
)  # fmt: skip
_INSTANTS: Final = ("since", "until", "sealed_at", "first", "last")


def instant(us: int) -> datetime:
    """An instant of microseconds since the epoch."""
    return _EPOCH + timedelta(microseconds=us)


def microseconds(at: datetime) -> int:
    """Microseconds since the epoch of an instant."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def _us(text: str) -> int:
    return microseconds(datetime.fromisoformat(text))


def _shown(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def named(month: str) -> str:
    """The name of a month's Parquet file."""
    return f"calls-{month}.parquet"


def is_sealed(path: str) -> bool:
    """Whether a path names sealed months: a Parquet file, or a folder."""
    return path.endswith(".parquet") or Path(path).is_dir()


def sealed_months(path: str) -> tuple[SealedMonth, ...]:
    """The sealed months of a folder, or of one Parquet file, by their beginning.

    Raises LedgerError where there are none, where a file is not as its manifest says, and where two months overlap
    because they were sealed in two zones.
    """
    where = Path(path)
    if where.is_dir():
        found = [SealedMonth.read(one) for one in sorted(where.glob("calls-*.json"))]
        if not found:
            raise LedgerError(f"{path} holds no sealed month: tokenmeter ledger close makes one")
    else:
        manifest = where.with_suffix(".json")
        if not where.is_file() or not manifest.is_file():
            missing = manifest if where.is_file() else where
            raise LedgerError(f"{path} is no sealed month: {missing} does not exist")
        found = [SealedMonth.read(manifest)]
    found.sort(key=lambda one: one.since)
    for one in found:
        size = one.path.stat().st_size if one.path.is_file() else None
        if size != one.size:
            state = "is missing" if size is None else f"has {size:,} bytes instead of {one.size:,}"
            raise LedgerError(f"{one.path} {state}: restore it from a copy")
    _check_apart(found)
    return tuple(found)


def _check_apart(months: Sequence[SealedMonth]) -> None:
    for one, other in pairwise(months):
        if other.since < one.until:
            raise LedgerError(
                f"{one.path} ({one.zone}) and {other.path} ({other.zone}) overlap: report each alone, or seal both "
                "in one zone"
            )
