"""What one record adds to the sums: which tables there are, and what a call counts for in each.

A table is one counter. Its keys are the table's name and the values of its extra attributes (`EXTRA`), such as the
currency: what may never be added up is apart from the start. `Accumulator` keeps a set of tables for each set of
common attributes.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from tokenmeter._support.guard import guard
from tokenmeter.money import EXACT
from tokenmeter.otel import semconv
from tokenmeter.record import End, Record
from tokenmeter.usage import Source, Usage

if TYPE_CHECKING:
    from tokenmeter.cost import Cost

__all__ = ["EXTRA", "STANDARD_TABLES", "Tables", "add", "disjoint", "exact_sum", "merge", "source_of_call", "tally"]

_ZERO: Final = Decimal(0)
_INPUT_PARTS: Final = (
    ("cache_read", "cache_read_input_tokens"),
    ("cache_write", "cache_write_input_tokens"),
    ("audio_input", "audio_input_tokens"),
    ("image_input", "image_input_tokens"),
    ("video_input", "video_input_tokens"),
)
_OUTPUT_PARTS: Final = (
    ("reasoning_output", "reasoning_output_tokens"),
    ("audio_output", "audio_output_tokens"),
    ("image_output", "image_output_tokens"),
)
_KINDS: Final = (("input", "input_tokens", _INPUT_PARTS), ("output", "output_tokens", _OUTPUT_PARTS))
_MEDIA: Final = (
    ("input", "input_tokens", (("audio", "audio_input_tokens"), ("image", "image_input_tokens"))),
    ("output", "output_tokens", (("audio", "audio_output_tokens"), ("image", "image_output_tokens"))),
)
_STANDARD: Final = (
    ("cache_read", "cache_read_input_tokens"),
    ("cache_write", "cache_write_input_tokens"),
    ("reasoning", "reasoning_output_tokens"),
)
_tokens_of: Final = operator.attrgetter(
    "input_tokens", "output_tokens", "cache_read_input_tokens", "cache_write_input_tokens", "reasoning_output_tokens",
    "audio_input_tokens", "image_input_tokens", "video_input_tokens", "audio_output_tokens", "image_output_tokens",
    "cached_media",
)  # fmt: skip
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
    source = source_of_call(record)
    cost: Cost | None = None
    status = "unpriced"
    with guard("pricing a call"):
        cost = record.cost
        status = cost.status
        amount = cost.amount
        if amount is not None:
            key = ("cost", cost.currency, source)
            tables[key] = EXACT.add(tables.get(key, _ZERO), amount)
            _tally_cache(tables, cost)
            for flag in cost.flags:
                if flag in _OVERDUE:
                    add(tables, ("overdue", flag), 1)
    add(tables, ("calls", end, status, source), 1)
    if status == "unpriced":
        add(tables, ("unpriced", end), 1)
    usage = record.usage
    standard = ours and record.operation in semconv.INFERENCE
    if not _tally_usual(tables, usage, standard):
        for part in disjoint(usage):
            add(tables, ("usage", part[0], part[1], part[2]), part[3])
        if standard:
            _tally_standard(tables, usage)
    if usage.quantities or usage.ranges:
        _tally_rare(tables, usage)
    return cost


def _tally_usual(tables: Tables, usage: Usage, standard: bool) -> bool:
    """What `disjoint` and `_tally_standard` do, for the usage that nearly every call has; False for any other."""
    tokens_in, tokens_out, read, written, thought, *media = _tokens_of(usage)
    if tokens_in is None or tokens_out is None or usage.sources or any(media):
        return False
    read, written, thought = read or 0, written or 0, thought or 0
    fresh, said = tokens_in - read - written, tokens_out - thought
    if fresh < 0 or said < 0 or read < 0 or written < 0 or thought < 0:
        return False
    source = usage.source
    get = tables.get
    for component, kind, tokens, whole in (
        ("input", "input", fresh, tokens_in),
        ("cache_read", "input", read, 1),
        ("cache_write", "input", written, 1),
        ("output", "output", said, tokens_out),
        ("reasoning_output", "output", thought, 1),
    ):
        if tokens or not whole:  # a total of nothing is something that was told
            key = ("usage", component, kind, source)
            tables[key] = get(key, 0) + tokens
    if standard and source is Source.REPORTED:
        for table, tokens, told in (
            ("input", tokens_in, True),
            ("output", tokens_out, True),
            ("cache_read", read, False),
            ("cache_write", written, False),
            ("reasoning", thought, False),
        ):
            if tokens or told:
                plain = (table, "unknown")
                tables[plain] = get(plain, 0) + tokens
    return True


def _tally_cache(tables: Tables, cost: Cost) -> None:
    """What the cache saved or added: two counters, since one that runs both ways could not be told from a restart."""
    saved = cost.cache_saved
    if saved is None:
        add(tables, ("cache_unknown",), 1)
    elif saved:
        key = ("cache_saved" if saved > 0 else "cache_added", cost.currency)
        tables[key] = EXACT.add(tables.get(key, _ZERO), EXACT.abs(saved))


def disjoint(usage: Usage) -> list[tuple[str, str, Source, int]]:
    """Tokens by component so that they add up: (component, "input" or "output", source, tokens).

    A total is split into its known parts and the rest; where the parts contradict the total, the total stands whole.
    """
    answer: list[tuple[str, str, Source, int]] = []
    general, special, cached_media = usage.source, usage.sources, usage.cached_media
    for kind, field, parts in _KINDS:
        total = getattr(usage, field)
        if total is None or total < 0:
            continue
        rest, before, contradicted = total, len(answer), False
        for component, name in parts:
            tokens = getattr(usage, name)
            if not tokens:
                continue
            if cached_media and component != "cache_read":
                # Cached audio is inside both `cache_read` and `audio_input`: it counts as the former.
                tokens -= cached_media.get(component.partition("_")[0], 0)
            contradicted |= tokens < 0
            rest -= tokens
            answer.append((component, kind, special.get(name, general) if special else general, tokens))
        if rest < 0 or contradicted:
            del answer[before:]
            rest = total
        if rest or len(answer) == before:
            answer.append((kind, kind, special.get(field, general) if special else general, rest))
    return answer


def source_of_call(record: Record) -> Source:
    """`record.usage_source`, quickly for the common case."""
    usage = record.usage
    if usage.sources or usage.input_tokens is None or usage.output_tokens is None or record.end is End.DELEGATED:
        return record.usage_source
    return usage.source


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
    """The conventions' own counters: reported numbers only, by modality where the vendor told."""
    general, special = usage.source, usage.sources
    if not special and general is not Source.REPORTED:
        return
    for kind, field, media in _MEDIA:
        total = getattr(usage, field)
        if total is None or total < 0 or (special and special.get(field, general) is not Source.REPORTED):
            continue
        rest, told = total, []
        for medium, name in media:
            tokens = getattr(usage, name)
            if tokens is not None and tokens > 0:
                told.append((medium, tokens))
                rest -= tokens
        if rest < 0:
            rest, told = total, []
        for medium, tokens in told:
            add(tables, (kind, medium), tokens)
        if rest or not told:
            add(tables, (kind, "text" if told else "unknown"), rest)
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
