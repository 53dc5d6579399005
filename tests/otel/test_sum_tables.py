"""Tables of sums: components that add up to their total, each with its source."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rigs.made_records import priced, record, unpriced
from tests.rigs.summed import fed, sums
from tokenmeter.otel.sum_tables import usage_parts
from tokenmeter.otel.sums import Accumulator
from tokenmeter.record import Attempt, End
from tokenmeter.usage import Source, Usage


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        pytest.param(Usage(input_tokens=10, output_tokens=4), {"input": 10, "output": 4}, id="plain"),
        pytest.param(
            Usage(input_tokens=100, output_tokens=50, cache_read_input_tokens=60, reasoning_output_tokens=20),
            {"cache_read": 60, "input": 40, "reasoning_output": 20, "output": 30},
            id="subsets are taken out of their totals",
        ),
        pytest.param(
            Usage(input_tokens=100, output_tokens=0, cache_read_input_tokens=100),
            {"cache_read": 100, "output": 0},
            id="all of it cached",
        ),
        pytest.param(
            Usage(input_tokens=100, output_tokens=1, audio_input_tokens=70, cache_read_input_tokens=50,
                  cached_media={"audio": 40}),
            {"cache_read": 50, "audio_input": 30, "input": 20, "output": 1},
            id="cached audio is in two subsets and counted once",
        ),
        pytest.param(
            Usage(input_tokens=10, output_tokens=5, cache_read_input_tokens=60),
            {"input": 10, "output": 5},
            id="contradiction: the total stands",
        ),
        pytest.param(Usage(input_tokens=10), {"input": 10}, id="unknown output is no row"),
        pytest.param(Usage(input_tokens=-5, output_tokens=2), {"output": 2}, id="negative is not summed"),
        pytest.param(Usage(source=Source.NONE), {}, id="nothing known"),
    ],
)  # fmt: skip
def test_components_are_disjoint(usage: Usage, expected: dict[str, int]) -> None:
    assert {component: tokens for component, _, _, tokens in usage_parts(usage)} == expected


_TOKENS = st.none() | st.integers(-2, 300)


@given(_TOKENS, _TOKENS, _TOKENS, _TOKENS, _TOKENS, _TOKENS, st.integers(0, 50))
def test_components_add_up_to_the_total_whatever_a_vendor_says(
    total: int | None, out: int | None, read: int | None, write: int | None, audio: int | None, thought: int | None,
    cached_audio: int,
) -> None:  # fmt: skip
    usage = Usage(
        input_tokens=total, output_tokens=out, cache_read_input_tokens=read, cache_write_input_tokens=write,
        audio_input_tokens=audio, reasoning_output_tokens=thought, cached_media={"audio": cached_audio},
    )  # fmt: skip
    for kind, whole in (("input", total), ("output", out)):
        parts = [tokens for _, its_kind, _, tokens in usage_parts(usage) if its_kind == kind]
        assert all(tokens >= 0 for tokens in parts)
        assert sum(parts) == (whole if whole is not None and whole >= 0 else 0)


def test_each_component_keeps_its_source() -> None:
    usage = Usage(input_tokens=10, output_tokens=4, sources={"output_tokens": Source.ESTIMATED},
                  ranges={"output_tokens": (3, 6)})  # fmt: skip
    accumulator = fed([record(usage=usage), record(usage=usage), record()])
    assert sums(accumulator, "usage", "tokenmeter.component", "tokenmeter.usage.source") == {
        ("input", "reported"): 1020,
        ("output", "reported"): 100,
        ("output", "estimated"): 8,
    }
    assert sums(accumulator, "estimated", "gen_ai.token.type", "tokenmeter.bound") == {
        ("output", "low"): 6,
        ("output", "high"): 12,
    }
    assert sums(accumulator, "cost", "tokenmeter.cost.source").keys() == {("estimated",), ("reported",)}


def test_standard_tables_hold_reported_numbers_of_our_inference_calls_only() -> None:
    accumulator = Accumulator()
    accumulator.add(record())
    accumulator.add(record(), ours=False)
    accumulator.add(record(operation="embeddings"))
    accumulator.add(record(usage=Usage(input_tokens=7, output_tokens=3, source=Source.COUNTED)))
    accumulator.add(record(usage=Usage(input_tokens=7, output_tokens=3, sources={"output_tokens": Source.PARTIAL})))
    audio = Usage(input_tokens=10, output_tokens=3, audio_input_tokens=4, cache_read_input_tokens=2)
    accumulator.add(record(usage=audio))
    assert sums(accumulator, "input", "gen_ai.token.modality") == {("unknown",): 1007, ("audio",): 4, ("text",): 6}
    assert sums(accumulator, "output") == {(): 103}
    assert sums(accumulator, "cache_read") == {(): 2}


def test_calls_attempts_and_unpriced() -> None:
    tries = tuple(Attempt(429, None, record().started_ns, 100_000_000) for _ in range(3))
    accumulator = fed(
        [
            record(attempts=tries),
            record(unpriced(), end=End.CLOSED_EARLY),
            record(priced("0")),
            record(unpriced(), end=End.DELEGATED, attempts=tries[:1], usage=Usage(source=Source.NONE)),
        ]
    )
    assert sums(accumulator, "calls", "tokenmeter.end", "tokenmeter.cost.status") == {
        ("complete", "priced"): 1,
        ("complete", "free"): 1,
        ("closed_early", "unpriced"): 1,
    }
    assert sums(accumulator, "attempts") == {(): 4}
    assert sums(accumulator, "unpriced", "tokenmeter.end") == {("closed_early",): 1}
    assert sums(accumulator, "cost") == {(): Decimal("0.0012")}, "unpriced is not zero, and free is"


def test_quantities_add_up_by_name() -> None:
    usage = Usage(input_tokens=1, output_tokens=1, quantities={"audio_seconds": Decimal("1.5"), "images": 2})
    found = sums(fed([record(usage=usage)] * 3), "quantity", "tokenmeter.component")
    assert found == {("audio_seconds",): Decimal("4.5"), ("images",): 6}
