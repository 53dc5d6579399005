"""What stands above and below a report's table: its period, and what a reader must know to trust it."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Final

from tokenmeter._support.logs import printable
from tokenmeter.ledger.report.causes import Comparison
from tokenmeter.ledger.report.conversion import Conversion
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.report.query import LedgerReport
from tokenmeter.ledger.report.render import share_of, together, unpriced_calls, weak_costs
from tokenmeter.money import EXACT, plain

__all__ = ["notes_of", "nothing_found", "percent", "period_line", "rounded", "signed"]

_PLACES: Final = 4
_RATES_MOST: Final = 6
_REASONS_MOST: Final = 5
_LEAST_WEAK: Final = Decimal("0.001")
_SHOW: Final = Context(prec=60, rounding=ROUND_HALF_EVEN)


def period_line(report: LedgerReport) -> str:
    question = report.question
    local = question.zone.local
    parts = [f"times in {question.zone.name}"]
    if question.since is not None:
        parts.append(f"since {local(question.since).isoformat(timespec='minutes')}")
    if question.until is not None:
        parts.append(f"until {local(question.until).isoformat(timespec='minutes')}")
    if question.where is not None:
        parts.append(f"where {printable(question.where.text)}")
    return f"{report.path}: {', '.join(parts)}"


def nothing_found(report: LedgerReport) -> str:
    if not report.held:
        return "the ledger holds no calls yet"
    return f"no call matches; the ledger holds {report.held:,} calls, from {report.first} to {report.last}"


def notes_of(report: LedgerReport) -> list[str]:
    conversion = report.question.conversion
    notes = [] if conversion is None or not report.rows else _converted(report, conversion)
    if any(not row.complete or row.unknown["input_tokens"] or row.unknown["output_tokens"] for row in report.rows):
        notes.append("+ at least: some calls of the group have no known cost or tokens; ? not known")
    if gaps := sum(row.vendor_gaps for row in report.totals):
        notes.append(f"{gaps:,} calls cost more than 1% more or less by the vendor's own figure")
    notes += _weak_notes(report)
    if report.left_out:
        notes.append(f"{report.left_out:,} more rows are left out; the totals have them")
    if report.comparison is not None:
        notes += _comparison(report.comparison, report.question.zone)
    notes += _reasons(report)
    failed = sum(row.errors for row in report.totals if row.currency is None)
    if failed:
        notes.append(f"{failed:,} of {unpriced_calls(report):,} unpriced calls ended in an error")
    if report.lost:
        notes.append(f"{report.lost:,} more calls were lost while the ledger could not be written")
    return ["", *notes] if notes else []


def _converted(report: LedgerReport, conversion: Conversion) -> list[str]:
    """What all of it comes to in the currency asked for, and at whose rates."""
    total, missing = together(report)
    whole = not missing and not unpriced_calls(report)
    notes = [f"together {rounded(total, complete=whole)} {conversion.currency}, by your own rates, for show"]
    rates = conversion.applied
    said = [f"{rate.pair} {plain(rate.rate)} of {rate.day} ({rate.source})" for rate in rates[:_RATES_MOST]]
    if rates:
        more = f", and {len(rates) - _RATES_MOST} more" if len(rates) > _RATES_MOST else ""
        notes.append(f"rates applied: {', '.join(said)}{more}")
    if missing:
        notes.append(f"{missing:,} calls have no rate into {conversion.currency} on or before their day")
    return notes


def _comparison(comparison: Comparison, zone: Zone) -> list[str]:
    """The earlier period, and what each currency's change comes from."""
    since, until = (zone.local(at).isoformat(timespec="minutes") for at in (comparison.since, comparison.until))
    notes = [f"before: {since} to {until}"]
    for one in comparison.causes:
        parts = (("volume", one.volume), ("price", one.price), ("cache", one.cache), ("mix", one.mix))
        shown = ", ".join(f"{name} {signed(amount)}" for name, amount in parts)
        notes.append(f"change {signed(one.change)} {one.currency}: {shown}")
    return notes


def _weak_notes(report: LedgerReport) -> list[str]:
    """What share of the spend is by prices to be looked at again, in each currency."""
    notes = []
    for row in report.totals:
        shares = {name: share_of(part, row.cost) for name, part in weak_costs(row).items() if part and row.cost}
        said = [
            f"{percent(share)} by {name.replace('_', ' ')}" for name, share in shares.items() if share >= _LEAST_WEAK
        ]
        if said:
            notes.append(f"of the cost in {row.currency}, {' and '.join(said)}: tokenmeter prices stale, prices why")
    return notes


def _reasons(report: LedgerReport) -> list[str]:
    """Why calls are unpriced, how many, and what mends it: the reasons of the price book name the remedy."""
    if not report.reasons:
        return []
    shown = [f"  {calls:,}: {printable(reason or 'no reason was recorded')}" for reason, calls in report.reasons]
    rest = len(shown) - _REASONS_MOST
    more = [f"  and {rest} more reasons: report --json has all"] if rest > 0 else []
    return ["unpriced calls, by reason:", *shown[:_REASONS_MOST], *more]


def rounded(amount: Decimal | None, *, complete: bool) -> str:
    if amount is None:
        return "?"
    # Small sums keep three digits: nothing but free may look like 0.
    places = max(_PLACES, 2 - amount.adjusted()) if amount else _PLACES
    text = f"{_SHOW.quantize(amount, Decimal(1).scaleb(-places)):,f}"
    text = text.rstrip("0") if places > _PLACES else text
    return text + ("" if complete else "+")


def signed(amount: Decimal) -> str:
    return ("+" if amount > 0 else "") + rounded(amount, complete=True)


def percent(share: Decimal) -> str:
    return f"{EXACT.multiply(share, Decimal(100)):.1f}%"
