"""Tables of sums: one for each counter, and what one record adds to it.

A table is one counter. Its keys are the table's name and the values of its extra attributes (`EXTRA`), such as the
currency: what may never be added up is apart from the start. `Accumulator` keeps a set of tables for each set of
common attributes.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from tokenmeter._support.guard import guard
from tokenmeter.components import FIELDS, TOTALS, component_of, field_of, parts_of, total_of
from tokenmeter.money import EXACT
from tokenmeter.otel import semconv
from tokenmeter.record import VENDOR_GAP, End, Record
from tokenmeter.usage import TOKEN_FIELDS, Source, Usage

if TYPE_CHECKING:
    from tokenmeter.calls.usual_call import Bill, UsualCall
    from tokenmeter.cost import Cost

__all__ = ["EXTRA", "STANDARD_TABLES", "Tables", "UsualSums", "add", "exact_sum", "merge", "tally", "usage_parts"]

_ZERO: Final = Decimal(0)
_STANDARD: Final = tuple((part.short, part.usage) for part in FIELDS if part.inside and part.otel and not part.modality)
_USUAL: Final = (
    "input_tokens", "output_tokens", "cache_read_input_tokens", "cache_write_input_tokens", "reasoning_output_tokens",
)  # fmt: skip
_tokens_of: Final = operator.attrgetter(*_USUAL, *(name for name in TOKEN_FIELDS if name not in _USUAL), "cached_media")
_OVERDUE: Final = ("past_review", "past_until")

Tables = dict[tuple[Any, ...], "int | Decimal"]
EXTRA: Final[Mapping[str, tuple[str, ...]]] = {
    "cost": (semconv.COST_CURRENCY, semconv.COST_SOURCE),
    "cache_saved": (semconv.COST_CURRENCY,),
    "cache_added": (semconv.COST_CURRENCY,),
    "cache_unknown": (),
    "usage": (semconv.COMPONENT, semconv.TOKEN_TYPE, semconv.USAGE_SOURCE),
    "quantity": (semconv.COMPONENT, semconv.USAGE_SOURCE),
    "estimated": (semconv.TOKEN_TYPE, semconv.BOUND, semconv.USAGE_SOURCE),
    "calls": (semconv.END, semconv.COST_STATUS, semconv.USAGE_SOURCE),
    "attempts": (),
    "unpriced": (semconv.END,),
    "overdue": (semconv.COST_FLAG,),
    "vendor_cost": (semconv.COST_CURRENCY,),
    "vendor_gaps": (),
    "failures": (),
    "compared_counted": (semconv.FAMILY, semconv.TOKEN_TYPE),
    "compared_reported": (semconv.FAMILY, semconv.TOKEN_TYPE),
    "input": (semconv.MODALITY,),
    "output": (semconv.MODALITY,),
    "cache_read": (semconv.MODALITY,),
    "cache_write": (semconv.MODALITY,),
    "reasoning": (semconv.MODALITY,),
}
"""The extra attributes of each table, in the order of its keys."""
STANDARD_TABLES: Final = frozenset({"input", "output", "cache_read", "cache_write", "reasoning"})


def tally(tables: Tables, record: Record, ours: bool) -> Cost | None:
    """Add a record to its tables, and return its cost. `ours` says whether standard counters may include it."""
    if record.attempts:
        add(tables, ("attempts",), len(record.attempts))
    end = record.end
    if end is End.DELEGATED:  # others carry what happened inside: not a call of its own
        return None
    source = record.usage_source
    cost: Cost | None = None
    status = "unpriced"
    with guard("pricing a call"):
        cost = record.cost
        status = cost.status
        amount = cost.amount
        if amount is not None:
            key = ("cost", cost.currency, source if cost.source == "book" else cost.source)
            tables[key] = EXACT.add(tables.get(key, _ZERO), amount)
            _tally_cache(tables, cost)
            for flag in cost.flags:
                if flag in _OVERDUE:
                    add(tables, ("overdue", flag), 1)
                elif flag.startswith(VENDOR_GAP):
                    add(tables, ("vendor_gaps",), 1)
    if record.vendor_cost is not None:
        reported = ("vendor_cost", record.vendor_cost.currency)
        tables[reported] = EXACT.add(tables.get(reported, _ZERO), record.vendor_cost.amount)
    add(tables, ("calls", end, status, source), 1)
    if status == "unpriced":
        add(tables, ("unpriced", end), 1)
    usage = record.usage
    standard = ours and record.operation in semconv.INFERENCE
    if not _tally_usual(tables, usage, standard):
        for component, kind, origin, tokens in usage_parts(usage):
            add(tables, ("usage", component, kind, origin), tokens)
        if standard:
            _tally_standard(tables, usage)
    if usage.quantities or usage.ranges:
        _tally_rare(tables, usage)
    return cost


class UsualSums:
    """The sums of a batch of usual calls of one form and price: added up first, and to their tables at once."""

    __slots__ = ("_added", "_amount", "_calls", "_saved", "_tokens", "_unknown")

    def __init__(self) -> None:
        self._calls = self._unknown = self._amount = self._saved = self._added = 0
        self._tokens = [0, 0, 0, 0, 0]

    def take(self, usage: Usage, bill: Bill) -> bool:
        """Add a call; false for one that is to be tallied by itself."""
        tokens_in, tokens_out = usage.input_tokens, usage.output_tokens
        if not tokens_in or not tokens_out:
            return False
        self._calls += 1
        self._amount += bill.amount
        saved = bill.saved
        if saved is None:
            self._unknown += 1
        elif saved > 0:
            self._saved += saved
        else:
            self._added -= saved
        sums = self._tokens
        sums[0] += tokens_in
        sums[1] += tokens_out
        sums[2] += usage.cache_read_input_tokens or 0
        sums[3] += usage.cache_write_input_tokens or 0
        sums[4] += usage.reasoning_output_tokens or 0
        return True

    def add_to(self, tables: Tables, one: UsualCall, bill: Bill, *, ours: bool) -> None:
        """Add the sums to their tables; `one` is any of the calls, and `bill` its bill. `ours` is that of `tally`."""
        calls, currency, exact = self._calls, bill.quote.offer.list, bill.prices.exact
        if not calls:
            return
        source = one.usage.source
        if one.tries:
            add(tables, ("attempts",), calls * one.tries)
        key = ("cost", currency, source)
        tables[key] = EXACT.add(tables.get(key, _ZERO), exact(self._amount))
        if self._unknown:
            add(tables, ("cache_unknown",), self._unknown)
        if self._saved:
            _add_saved(tables, exact(self._saved), currency)
        if self._added:
            _add_saved(tables, exact(-self._added), currency)
        add(tables, ("calls", one.end, "priced", source), calls)
        _add_tokens(tables, self._tokens, source, standard=ours and one.operation in semconv.INFERENCE)


def _tally_usual(tables: Tables, usage: Usage, standard: bool) -> bool:
    """The same as `usage_parts` and `_tally_standard`, for the usage of nearly every call; False for any other."""
    tokens_in, tokens_out, read, written, thought, *media = _tokens_of(usage)
    if tokens_in is None or (tokens_out is None and thought) or usage.sources or any(media):
        return False
    silent = tokens_out is None  # embeddings have no output
    tokens_out = tokens_out or 0
    read, written, thought = read or 0, written or 0, thought or 0
    if tokens_in < read + written or tokens_out < thought or read < 0 or written < 0 or thought < 0:
        return False
    _add_tokens(tables, (tokens_in, tokens_out, read, written, thought), usage.source, standard=standard, silent=silent)
    return True


def _add_tokens(
    tables: Tables,
    tokens: Sequence[int],
    source: Source,
    *,
    standard: bool,
    silent: bool = False,
) -> None:
    """Add input, output, cache read, cache write and reasoning to their tables."""
    tokens_in, tokens_out, read, written, thought = tokens
    fresh, said = tokens_in - read - written, tokens_out - thought
    get = tables.get
    for component, kind, count, whole in (
        ("input", "input", fresh, tokens_in),
        ("cache_read", "input", read, 1),
        ("cache_write", "input", written, 1),
        ("output", "output", said, tokens_out),
        ("reasoning_output", "output", thought, 1),
    ):
        if count or not (whole or (silent and kind == "output")):  # a reported total of zero is a row
            key = ("usage", component, kind, source)
            tables[key] = get(key, 0) + count
    if standard and source is Source.REPORTED:
        for table, count, always in (
            ("input", tokens_in, True),
            ("output", tokens_out, not silent),
            ("cache_read", read, False),
            ("cache_write", written, False),
            ("reasoning", thought, False),
        ):
            if count or always:
                plain = (table, "unknown")
                tables[plain] = get(plain, 0) + count


def _tally_cache(tables: Tables, cost: Cost) -> None:
    """What the cache saved or added: two counters, since a counter that runs both ways looks like a restart."""
    saved = cost.cache_saved
    if saved is None:
        add(tables, ("cache_unknown",), 1)
    elif saved:
        _add_saved(tables, saved, cost.currency)


def _add_saved(tables: Tables, saved: Decimal, currency: str | None) -> None:
    key = ("cache_saved" if saved > 0 else "cache_added", currency)
    tables[key] = EXACT.add(tables.get(key, _ZERO), EXACT.abs(saved))


def usage_parts(usage: Usage) -> list[tuple[str, str, Source, int]]:
    """Tokens by field of `Usage` so that they add up: (component, "input" or "output", source, tokens).

    Where the parts contradict the total, or overlap by an unknown amount, the total stands whole.
    """
    answer: list[tuple[str, str, Source, int]] = []
    rests = usage.disjoint()
    for total in TOTALS:
        whole = getattr(usage, total.usage)
        if whole is None or whole < 0:
            continue
        counted = _grouped(rests, total.name, _field_name) or {total.name: whole}
        for part in (total, *parts_of(total.name)):
            tokens = counted.get(part.name)
            if tokens or (part is total and not any(counted.values())):  # a reported total of zero is a row
                answer.append((part.name, total.name, usage.sources.get(part.usage, usage.source), tokens or 0))
    return answer


def _grouped(rests: Mapping[str, int], total: str, group: Callable[[str], str]) -> dict[str, int]:
    """Tokens of one total by group of components; empty where a group is below zero: the split is not known."""
    sums: dict[str, int] = {}
    for name, tokens in rests.items():
        if total_of(name) == total:
            key = group(name)
            sums[key] = sums.get(key, 0) + tokens
    return {} if any(tokens < 0 for tokens in sums.values()) else sums


@cache
def _field_name(component: str) -> str:
    return field_of(component).name


@cache
def _modality(component: str) -> str:
    """The modality of a component as the conventions count it: `text` for all that has no name of its own there."""
    found = component_of(component)
    counted = found if found is None or found.within is None else component_of(found.within)
    return counted.modality if counted is not None and counted.otel and counted.modality else "text"


def _tally_rare(tables: Tables, usage: Usage) -> None:
    for name, amount in usage.quantities.items():
        if amount > 0:
            key = ("quantity", name, usage.source_of(name))
            tables[key] = EXACT.add(tables.get(key, _ZERO), amount)
    for name, (low, high) in usage.ranges.items():
        kind, source = name.partition("_")[0], usage.source_of(name)
        add(tables, ("estimated", kind, "low", source), max(low, 0))
        add(tables, ("estimated", kind, "high", source), max(high, 0))


def _tally_standard(tables: Tables, usage: Usage) -> None:
    """The conventions' own counters: reported numbers only, by modality where the vendor reports it."""
    general, special = usage.source, usage.sources
    if not special and general is not Source.REPORTED:
        return
    rests = usage.disjoint()
    for total in TOTALS:
        tokens = getattr(usage, total.usage)
        if tokens is None or tokens < 0 or (special and special.get(total.usage, general) is not Source.REPORTED):
            continue
        counted = {kind: count for kind, count in _grouped(rests, total.name, _modality).items() if count}
        if counted.keys() <= {"text"}:  # no modality is reported, or the modalities contradict the total
            counted = {"unknown": tokens}
        for modality, count in counted.items():
            add(tables, (total.name, modality), count)
    for table, field in _STANDARD:
        tokens = getattr(usage, field)
        if tokens and tokens > 0 and (not special or special.get(field, general) is Source.REPORTED):
            add(tables, (table, "unknown"), tokens)


def add(tables: Tables, key: tuple[Any, ...], count: int) -> None:
    """Add to one sum of whole numbers."""
    tables[key] = tables.get(key, 0) + count


def merge(into: Tables, tables: Tables) -> None:
    """Add all sums of some tables to those of others."""
    for key, value in tables.items():
        into[key] = exact_sum(into.get(key, 0), value)


def exact_sum(one: int | Decimal, other: int | Decimal) -> int | Decimal:
    """Two counts or two amounts of money as one, in our own decimal context."""
    if isinstance(one, int) and isinstance(other, int):
        return one + other
    return EXACT.add(one, other)
