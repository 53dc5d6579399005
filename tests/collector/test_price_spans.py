"""Spans off the wire: priced like those of the SDK, told by appended attributes, and each call once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import tokenmeter
from tests.rigs.collector_rig import NOV, attributes
from tests.rigs.foreign_shapes import MEANINGS, SHAPES
from tests.rigs.messages import GENAI, OFFICIAL, PRICED, USED, request, span
from tokenmeter.collector.price_spans import SpanPricer
from tokenmeter.collector.signals import TRACES
from tokenmeter.money import plain
from tokenmeter.otel.external.batches import PATIENCE, EndedCalls
from tokenmeter.otel.external.exporter import CostSpanExporter
from tokenmeter.testing import capture

METER = tokenmeter.Tokenmeter(spans="none")


class Pricing:
    """A pricer and a clock that stands."""

    def __init__(self, tags: dict[str, str] | None = None) -> None:
        self.now = 0.0
        self.meter = METER
        self.calls = EndedCalls(self.meter, ("our.llm",), clock=lambda: self.now)
        self.pricer = SpanPricer(self.calls, tags or {})

    def price(self, message: Any) -> list[dict[str, Any]]:
        """Price a request; the attributes of its spans."""
        self.pricer.price(message)
        return [
            attributes(one)
            for resource in message.resource_spans
            for scope in resource.scope_spans
            for one in scope.spans
        ]


@pytest.mark.parametrize(
    ("scope", "said"),
    [
        pytest.param(*param.values[:2], id=f"{position}: {param.id}")
        for position, param in enumerate([*SHAPES, *MEANINGS])
    ],
)
def test_a_span_off_the_wire_is_priced_as_the_sdks_own(scope: str, said: dict[str, Any]) -> None:
    exporter = InMemorySpanExporter()
    tracing = TracerProvider(shutdown_on_exit=False)
    tracing.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.get_tracer(scope).start_span("call", attributes=said).end()
    spans = exporter.get_finished_spans()
    message = TRACES.request.FromString(encode_spans(spans).SerializeToString())
    ours = Pricing()
    with capture(ours.meter) as by_wire:
        (told,) = ours.price(message)
    priced = InMemorySpanExporter()
    with capture(ours.meter) as by_sdk:
        CostSpanExporter(priced, ours.meter, scopes=("our.llm",)).export(spans)
    expected = dict(priced.get_finished_spans()[0].attributes or {})
    one, other = by_wire.only(), by_sdk.only()
    assert (one.usage, one.cost.amount, one.provider, one.id) == (
        other.usage,
        other.cost.amount,
        other.provider,
        other.id,
    )
    assert one.cost.amount is not None
    assert _ours(told) == {
        name: tuple(value) if isinstance(value, list) else value for name, value in _ours(expected).items()
    }


def _ours(found: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name.startswith("tokenmeter.")}


# What else a span says ---------------------------------------------------------------------------------------------

texts = st.text(st.characters(codec="utf-8"), max_size=12)
values = st.one_of(
    texts, st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.booleans(), st.binary(max_size=9)
)
UNKNOWN = b"\xfa\x07\x03abc"
"""Field 127 of a later version of the protocol: three bytes."""


@st.composite
def any_span(draw: st.DrawFn) -> Span:
    made = span(
        draw(st.integers(1, 10**9)), draw(st.dictionaries(texts, values | st.lists(values, max_size=3), max_size=6))
    )
    made.trace_state, made.flags, made.kind = draw(texts), draw(st.integers(0, 2**32 - 1)), draw(st.integers(0, 5))
    made.dropped_attributes_count = draw(st.integers(0, 9))
    for _ in range(draw(st.integers(0, 2))):
        made.events.add(name=draw(texts), time_unix_nano=draw(st.integers(0, 2**64 - 1)))
        made.links.add(
            trace_id=draw(st.binary(min_size=16, max_size=16)), span_id=draw(st.binary(min_size=8, max_size=8))
        )
    made.status.message = draw(texts)
    made.MergeFromString(draw(st.sampled_from([b"", UNKNOWN])))
    return made


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["http", OFFICIAL, "openlit", ""]), any_span(), st.booleans()), max_size=6))
def test_spans_are_left_as_they_came_but_for_appended_attributes(made: list[tuple[str, Span, bool]]) -> None:
    for number, (_, one, call) in enumerate(made):
        one.span_id = number.to_bytes(8, "big")
        if call:
            one.MergeFrom(span(number, GENAI | USED))
    message = request(*((scope, one) for scope, one, _ in made))
    message.MergeFromString(UNKNOWN)
    before = TRACES.request.FromString(message.SerializeToString())
    PRICING.price(message)
    spans = [one for scope in message.resource_spans[0].scope_spans for one in scope.spans]
    for one, (_, original, _) in zip(spans, made, strict=True):
        added = one.attributes[len(original.attributes) :]
        assert all(each.key.startswith("tokenmeter.") for each in added)
        del one.attributes[len(original.attributes) :]
        assert one.SerializeToString() == original.SerializeToString()
    assert message.SerializeToString() == before.SerializeToString()


PRICING = Pricing()


def test_whose_spend_it_is_is_said_by_the_span_or_else_its_resource() -> None:
    pricing = Pricing({"service": "service.name", "team": "app.team"})
    of_resource = {"service.name": "shop", "app.team": "search"}
    with capture(pricing.meter) as records:
        told = pricing.price(
            request(
                (OFFICIAL, span(1, GENAI | USED)),
                (OFFICIAL, span(2, GENAI | USED | {"app.team": "ads"})),
                resource=of_resource,
            )
        )
    assert {record.span_id: dict(record.tags) for record in records} == {
        f"{1:016x}": {"service": "shop", "team": "search"},
        f"{2:016x}": {"service": "shop", "team": "ads"},
    }
    assert told[1]["tokenmeter.tag.team"] == "ads"


def test_spans_without_ids_are_passed_on_and_not_priced() -> None:
    message = request((OFFICIAL, Span(name="x", attributes=span(1, GENAI | USED).attributes)))
    before = message.SerializeToString()
    with capture(PRICING.meter) as records:
        PRICING.price(message)
    assert message.SerializeToString() == before
    assert list(records) == []


# One owner for each call ---------------------------------------------------------------------------------------------

APP = ("app", None)
OUTER, INNER = ("openlit", GENAI | USED), (OFFICIAL, GENAI | USED)
NO_USAGE = (OFFICIAL, GENAI)
AGENT = ("openlit", {"gen_ai.operation.name": "invoke_agent"})
OURS = ("tokenmeter", GENAI | USED | {"tokenmeter.call.id": "1", "tokenmeter.usage.source": "reported"})
SAME = {"gen_ai.response.id": "chatcmpl-1"}
Node = tuple[int, int, str, dict[str, Any] | None]


def tree(*nodes: tuple[int, int, tuple[str, dict[str, Any] | None]]) -> list[Node]:
    """Spans by number, the number of the one around, scope and attributes."""
    return [(own, around, *what) for own, around, what in nodes]


TREES = [
    pytest.param(tree((1, 0, OUTER), (2, 1, INNER)), 1, id="two, one around the other"),
    pytest.param(tree((1, 0, OUTER), (2, 1, NO_USAGE)), 1, id="the inner has no usage"),
    pytest.param(tree((1, 0, APP), (2, 1, NO_USAGE), (3, 2, INNER)), 1, id="the outer has no usage"),
    pytest.param(tree((1, 0, AGENT), (2, 1, INNER), (3, 1, INNER)), 2, id="an agent's two calls"),
    pytest.param(tree((1, 0, APP), (2, 1, NO_USAGE)), None, id="a call that failed"),
    pytest.param(
        tree((1, 0, APP), (2, 1, ("openlit", GENAI | USED | SAME)), (3, 1, (OFFICIAL, GENAI | USED | SAME))), 1,
        id="side by side, one answer",
    ),
]  # fmt: skip
BETWEEN = [
    pytest.param(
        tree((1, 0, APP), (2, 1, ("openlit", GENAI | SAME)), (3, 1, (OFFICIAL, GENAI | USED | SAME))),
        1,
        id="side by side, one answer, one without usage",
    ),
    pytest.param(tree((1, 0, APP), (2, 1, NO_USAGE)), None, id="a call that failed, below a span"),
    pytest.param(tree((1, 0, APP), (2, 1, OUTER), (3, 2, OUTER), (4, 3, INNER)), 1, id="three around one another"),
    pytest.param(tree((1, 0, NO_USAGE), (2, 1, INNER)), 1, id="an outermost span without usage"),
    pytest.param(tree((1, 0, OUTER), (2, 1, APP), (3, 2, INNER)), 1, id="a span between"),
    pytest.param(tree((1, 0, OUTER), (2, 1, APP), (3, 2, APP), (4, 3, INNER)), 1, id="two spans between"),
    pytest.param(tree((1, 0, OUTER), (2, 1, APP), (3, 2, NO_USAGE)), 1, id="no usage below a span between"),
]


def counted(nodes: Sequence[Node], batches: Sequence[Sequence[int]]) -> list[str | None]:
    """What was recorded, in amounts, of spans that came in these batches, and each batch twice."""
    pricing = Pricing()
    with capture(pricing.meter) as records:
        for batch in batches:
            for _ in range(2):  # a sender that got no answer sends it again
                pricing.price(
                    request(*((nodes[at][2], span(nodes[at][0], nodes[at][3], around=nodes[at][1])) for at in batch))
                )
        pricing.now += PATIENCE
        pricing.calls.look()
    return [None if one.cost.amount is None else plain(one.cost.amount) for one in records]


def expected(calls: int | None) -> list[str | None]:
    return [None] if calls is None else [PRICED] * calls


@pytest.mark.parametrize(("nodes", "calls"), [*TREES, *BETWEEN])
def test_a_call_that_several_saw_is_counted_once_in_one_batch(nodes: list[Node], calls: int | None) -> None:
    for order in itertools.permutations(range(len(nodes))):
        assert counted(nodes, [order]) == expected(calls), order


@pytest.mark.parametrize(("nodes", "calls"), TREES)
def test_and_in_several_batches_in_any_order(nodes: list[Node], calls: int | None) -> None:
    for order in itertools.permutations(range(len(nodes))):
        assert counted(nodes, [[at] for at in order]) == expected(calls), order


@pytest.mark.parametrize(("nodes", "calls"), BETWEEN)
def test_through_spans_between_if_they_come_as_they_end_or_as_they_begin(nodes: list[Node], calls: int | None) -> None:
    last_first = [[at] for at in reversed(range(len(nodes)))]
    assert counted(nodes, last_first) == expected(calls)
    if nodes[0][3] != GENAI:  # that one would have waited for nothing, had it been alone: it has counted
        assert counted(nodes, last_first[::-1]) == expected(calls)


def test_a_call_that_the_application_metered_itself_is_not_counted_here() -> None:
    nodes = tree((1, 0, OUTER), (2, 1, OURS))
    for batches in ([[0, 1]], [[1, 0]], [[1], [0]]):
        assert counted(nodes, batches) == []


BESIDE = {"start_time_unix_nano": NOV + 10, "end_time_unix_nano": NOV + 20}
TWINS = [
    pytest.param({}, BESIDE, 1, id="one inside the other, one id"),
    pytest.param(SAME, BESIDE, 2, id="two ids"),
    pytest.param({"gen_ai.usage.output_tokens": 101}, BESIDE, 2, id="other tokens"),
    pytest.param({"gen_ai.request.model": "gpt-4o-mini"}, BESIDE, 2, id="another model"),
    pytest.param(
        {}, {"start_time_unix_nano": NOV + 10, "end_time_unix_nano": NOV + 2 * 10**9}, 2, id="only overlapping"
    ),
]


@pytest.mark.parametrize("around", [0, 9], ids=["at the top", "in one span"])
@pytest.mark.parametrize(("said", "when", "calls"), TWINS)
def test_spans_side_by_side_of_which_one_has_no_id(
    said: dict[str, Any], when: dict[str, int], calls: int, around: int
) -> None:
    """As OpenInference's of a stream of Anthropic's SDK, which traces itself too: both at the top of their traces."""
    first = ("openlit", span(1, GENAI | USED | said, around=around, trace=1))
    second = (
        OFFICIAL,
        span(2, GENAI | USED | {"gen_ai.response.id": "1"}, around=around, trace=1 if around else 2, **when),
    )
    for batches in ([[first, second]], [[first], [second]], [[second], [first]]):
        pricing = Pricing()
        with capture(pricing.meter) as records:
            for batch in batches:
                for _ in range(2):
                    pricing.price(request(*batch))
        assert len(records) == calls
    with capture(pricing.meter) as records:
        pricing.price(
            request(("openlit", span(3, GENAI | USED | said, around=around, trace=1)), resource={"service.name": "b"})
        )
    assert len(records) == 1, "each has one such span, and another service none"


def test_what_logfire_marks_at_the_end_of_a_stream_is_the_call_that_the_sdk_traced() -> None:
    """Seen with Logfire 5.4 and Anthropic's SDK 2.12: an outer span without usage, the SDK's own inside, and a mark."""
    outer = ("logfire.anthropic", span(1, GENAI, trace=1, end_time_unix_nano=NOV + 5))
    own = (OFFICIAL, span(2, GENAI | USED | SAME, around=1, trace=1, end_time_unix_nano=NOV + 100))
    at = {"start_time_unix_nano": NOV + 150, "end_time_unix_nano": NOV + 150}
    mark = ("logfire.anthropic", span(3, GENAI | USED, trace=3, **at))
    for batches in ([[outer, own, mark]], [[outer], [own], [mark]], [[outer, mark, own]]):
        pricing = Pricing()
        with capture(pricing.meter) as records:
            for batch in batches:
                for _ in range(2):
                    pricing.price(request(*batch))
        assert [record.span_id for record in records] == [f"{2:016x}"]
    with capture(pricing.meter) as records:
        pricing.price(request(("logfire.anthropic", span(4, GENAI | USED, trace=4, **at))))
    assert len(records) == 1, "another mark is another call"


def test_calls_of_one_trace_in_two_services_are_one_call() -> None:
    """A gateway that traces too: its span's parent is the application's, over the network."""
    pricing = Pricing()
    with capture(pricing.meter) as records:
        pricing.price(
            request(
                ("app", span(2, around=1)),
                (OFFICIAL, span(3, GENAI | USED, around=2)),
                resource={"service.name": "gateway"},
            )
        )
        told = pricing.price(request((OFFICIAL, span(1, GENAI | USED)), resource={"service.name": "shop"}))
    assert len(records) == 1
    assert "tokenmeter.cost.amount" not in told[0]


def test_a_span_that_comes_twice_is_told_the_same_twice() -> None:
    pricing = Pricing()
    first, second = (pricing.price(request((OFFICIAL, span(1, GENAI | USED)))) for _ in range(2))
    assert first == second
    assert Decimal(first[0]["tokenmeter.cost.amount"]) == Decimal(PRICED)


def test_circles_end() -> None:
    assert counted(tree((1, 2, OUTER), (2, 1, INNER)), [[0, 1]]) in ([PRICED], [])
    assert counted(tree((1, 1, OUTER)), [[0]]) in ([PRICED], [])
