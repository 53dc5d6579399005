"""What a span of ours says of a call, by the dialects chosen: a call with every kind of token, and its cost."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from tests.rigs.made_records import NOON
from tests.rigs.otel_rig import Rig
from tokenmeter import ExchangeRates
from tokenmeter.cost import Cost
from tokenmeter.offers import Offer, Price
from tokenmeter.otel.spans import CallSpans
from tokenmeter.record import Record
from tokenmeter.usage import Usage

USAGE = Usage(
    input_tokens=1000, output_tokens=100, cache_read_input_tokens=600, cache_write_input_tokens=100,
    reasoning_output_tokens=40, audio_input_tokens=7,
)  # fmt: skip


def cost(currency: str) -> Cost:
    """0.75 in, 1.25 out and a fee of 0.01 that belongs to neither."""
    offer = Offer(provider="openai", model="gpt-4o", effective_from=datetime(2026, 1, 1, tzinfo=UTC), list=currency)
    lines = tuple(
        (Price(component, Decimal(1), 1), 1, Decimal(amount))
        for component, amount in (
            ("input", "0.5"), ("cache_read", "0.15"), ("cache_write_5m", "0.1"),
            ("output", "1"), ("reasoning_output", "0.25"), ("web_search", "0.01"),
        )
    )  # fmt: skip
    return Cost(offer, "priced", Decimal("2.01"), lines, NOON)


def rig_that_spoke(
    finished: Record, *dialects: str, export_estimates: bool = False, exchange: ExchangeRates | None = None
) -> Rig:
    rig = Rig()
    rig.lifecycle.spans = CallSpans(
        rig.tracing, dialects=dialects, export_estimates=export_estimates, exchange=exchange
    )
    handle = rig.open().span
    assert handle is not None
    handle.finish(finished)
    return rig


def spoken(finished: Record, *dialects: str, **options: Any) -> dict[str, Any]:
    """The attributes of the span."""
    return dict(rig_that_spoke(finished, *dialects, **options).spans[0].attributes or {})
