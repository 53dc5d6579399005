"""One call metered by hand, of a size whose cost a reader can work out."""

from __future__ import annotations

from tokenmeter import Tokenmeter, Usage

NOON = "2026-06-01T12:00:00+08:00"
THOUSAND = Usage(input_tokens=1000, output_tokens=500)


def one_call(meter: Tokenmeter, model: str = "deepseek-chat", provider: str = "deepseek") -> None:
    with meter.call(provider=provider, model=model) as call:
        call.observe_usage(THOUSAND)
