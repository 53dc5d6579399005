"""Usual calls and the general way: the same records, costs, spans, sums and ledger rows, to the last digit."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tokenmeter import Record, Tokenmeter
from tokenmeter.testing import FixedClock, capture

SITES = {
    "https://api.openai.com/v1": ["gpt-4o", "gpt-4o-mini", "o3", "gpt-4o-search-preview"],
    "https://api.deepseek.com": ["deepseek-chat", "deepseek-reasoner"],
    "https://dashscope.aliyuncs.com/compatible-mode/v1": ["qwen-plus", "qwen3-32b", "qwen-long"],
    "https://api.moonshot.cn/v1": ["kimi-k2-0905-preview"],
    "http://nowhere.example/v1": ["somebodys-model"],
}
INSTANTS = [
    "2025-02-10T03:00:00+08:00", "2025-03-05T03:00:00+08:00", "2025-03-05T12:00:00+08:00", "2025-09-30T12:00:00+08:00",
    "2026-11-30T10:00:00+08:00",
]  # fmt: skip
OF_ONE_RUN = ("id", "trace_id", "span_id", "attempts", "pricer", "_cost", "_form")
"""Fields that two runs of one call do not share."""
OF_ONE_ROW = ("id", "trace_id", "span_id", "attempts", "parent_id", "scope_run")


class WatchingProcessor(SimpleSpanProcessor):
    """Somebody's own: where one is there, spans start with their calls."""


class World:
    """A meter on an OpenTelemetry of its own; `usual` or all by the general way; with a ledger where it `keeps`."""

    def __init__(self, folder: Path, *, usual: bool, keeps: bool = True) -> None:
        self.exporter = InMemorySpanExporter()
        tracing = TracerProvider(shutdown_on_exit=False)
        tracing.add_span_processor((SimpleSpanProcessor if usual else WatchingProcessor)(self.exporter))
        self.reader = InMemoryMetricReader()
        self.clock = FixedClock(INSTANTS[0])
        self.ledger = folder / f"{usual}.db"
        self.keeps = keeps
        self.meter = Tokenmeter(
            tracer_provider=tracing,
            meter_provider=MeterProvider([self.reader], shutdown_on_exit=False),
            ledger=str(self.ledger) if keeps else None,
            clock=lambda: self.clock(),
            monotonic=lambda: 5,
        )
        if not usual:
            self.meter._lifecycle._usual = None
        self.answer: tuple[int, Any, bool] = (200, {}, False)
        self.whole = True
        """Whether a stream comes in one piece."""
        self.http = httpx2.Client(transport=httpx2.MockTransport(self.respond))
        self.clients = {
            site: self.meter.wrap(openai.OpenAI(api_key="k", base_url=site, http_client=self.http, max_retries=0))
            for site in SITES
        }
        self.records: list[Record] = []

    def respond(self, request: httpx2.Request) -> httpx2.Response:
        status, body, stream = self.answer
        if not stream:
            return httpx2.Response(status, json=body)
        events = b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in body)
        body = events + b"data: [DONE]\n\n"
        content: Any = body if self.whole else map(b"%s\n\n".__mod__, body.split(b"\n\n")[:-1])
        return httpx2.Response(status, headers={"content-type": "text/event-stream"}, content=content)

    def make(self, call: Mapping[str, Any]) -> None:
        self.clock = FixedClock(call["at"])
        self.answer = (call["status"], call["answer"], call["stream"])
        asked: dict[str, Any] = {
            "model": call["model"],
            "messages": [{"role": "user", "content": "hi"}],
            **call["request"],
        }
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.meter.tags(**call["tags"]))
            for name in call["scopes"]:
                stack.enter_context(self.meter.scope(name))
            with contextlib.suppress(openai.OpenAIError):
                got = self.clients[call["site"]].chat.completions.create(**asked, stream=call["stream"])
                if call["stream"]:
                    with got:
                        for _ in islice(got, call["read"]):
                            pass

    def run(self, calls: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Everything that can be seen of these calls; without a ledger, what OpenTelemetry sees of them."""
        keeps = self.keeps
        records: Iterable[Record] = []
        with contextlib.ExitStack() as stack:
            if keeps:
                records = stack.enter_context(capture(self.meter))
            for call in calls:
                self.make(call)
            self.meter.flush()
        rows = self.rows() if keeps else []
        seen = {
            "records": [shown(record) for record in records],
            "spans": [self.span(span) for span in self.exporter.get_finished_spans()],
            "sums": self.sums(),
            "rows": rows,
        }
        self.meter.shutdown()
        return seen

    @staticmethod
    def span(span: Any) -> dict[str, Any]:
        told = json.loads(span.to_json())
        told["attributes"].pop("tokenmeter.call.id", None)  # each run has its own; spans of scopes have none
        return {
            name: told[name] for name in ("name", "kind", "start_time", "end_time", "status", "attributes", "events")
        }

    def sums(self) -> list[Any]:
        data = self.reader.get_metrics_data()
        assert data is not None
        return sorted(
            (
                metric.name,
                json.dumps(dict(point.attributes or {}), sort_keys=True),
                repr([getattr(point, name, None) for name in ("value", "count", "sum", "bucket_counts")]),
            )
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if not metric.name.startswith("tokenmeter.ledger.")  # how long commits took
            for point in metric.data.data_points
        )

    def rows(self) -> list[dict[str, Any]]:
        with contextlib.closing(sqlite3.connect(self.ledger)) as connection:
            connection.row_factory = sqlite3.Row
            rows = connection.execute("select * from calls order by rowid").fetchall()
        return [{name: row[name] for name in tuple(row.keys()) if name not in OF_ONE_ROW} for row in rows]


def shown(record: Record) -> dict[str, Any]:
    values = {name: getattr(record, name) for name in Record.__dataclass_fields__ if name not in OF_ONE_RUN}
    attempts = [(one.status, one.error, one.request_id, one.usage, one.reason) for one in record.attempts]
    cost = record.cost
    return values | {
        "cost": cost,
        "said": (cost.to_dict(), cost.to_json(), cost.cache_savings, cost.list_total),
        "model": record.model,
        "tried": attempts,
    }


def usages() -> st.SearchStrategy[dict[str, Any] | None]:
    count = st.one_of(st.integers(0, 300), st.integers(30_000, 33_500), st.integers(100_000, 300_000))
    details = st.fixed_dictionaries(
        {}, optional={"cached_tokens": st.one_of(st.none(), st.integers(0, 200)), "audio_tokens": st.integers(0, 3)}
    )
    made = st.fixed_dictionaries({}, optional={"reasoning_tokens": st.one_of(st.none(), st.integers(0, 200))})
    plain = st.fixed_dictionaries(
        {"prompt_tokens": count, "completion_tokens": count},
        optional={
            "total_tokens": st.integers(0, 600_000),
            "prompt_tokens_details": st.one_of(st.none(), details),
            "completion_tokens_details": st.one_of(st.none(), made),
            "prompt_cache_hit_tokens": st.integers(0, 100),
            "something_new": st.just(1),
        },
    )

    def with_total(usage: dict[str, Any], exact: bool) -> dict[str, Any]:
        return {**usage, "total_tokens": usage["prompt_tokens"] + usage["completion_tokens"]} if exact else usage

    return st.one_of(
        st.none(), st.builds(with_total, plain, st.booleans()), st.builds(with_total, plain, st.just(True))
    )


@st.composite
def calls(draw: st.DrawFn) -> dict[str, Any]:
    site = draw(st.sampled_from(list(SITES)))
    model = draw(st.sampled_from(SITES[site]))
    stream = draw(st.booleans())
    finish = draw(st.sampled_from(["stop", "stop", "stop", "length", None]))
    base = {
        "id": f"chatcmpl-{draw(st.integers(1, 3))}",
        "created": 1,
        "model": draw(st.sampled_from([model, model, "gpt-4o-2024-08-06"])),
    }
    tier = draw(
        st.sampled_from([{}, {}, {"service_tier": "default"}, {"service_tier": "flex"}, {"service_tier": "odd"}])
    )
    usage = draw(usages())
    if stream:
        answer: Any = [
            {
                **base,
                **tier,
                "object": "chat.completion.chunk",
                "choices": [{"index": 0, "delta": {"content": "hello"}, "finish_reason": None}],
            },
            {
                **base,
                **tier,
                "object": "chat.completion.chunk",
                "choices": [{"index": 0, "delta": {}, "finish_reason": finish}],
            },
            *([{**base, **tier, "object": "chat.completion.chunk", "choices": [], "usage": usage}] if usage else []),
        ]
    else:
        choice = {"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": finish}
        answer = {
            **base,
            "object": "chat.completion",
            "choices": [choice],
            **({"usage": usage} if usage else {}),
            **tier,
        }
    return {
        "site": site,
        "model": model,
        "stream": stream,
        "read": draw(st.sampled_from([None, None, None, 1, 2])),
        "answer": answer,
        "status": draw(st.sampled_from([200, 200, 200, 200, 500])),
        "at": draw(st.sampled_from(INSTANTS)),
        "request": draw(
            st.sampled_from(
                [
                    {},
                    {},
                    {"service_tier": "flex"},
                    {"extra_body": {"enable_thinking": True}},
                    {"extra_body": {"enable_thinking": False}},
                ]
            )
        ),
        "tags": draw(st.sampled_from([{}, {}, {"team": "search"}, {"team": "搜索", "n": 1}])),
        "scopes": draw(st.sampled_from([[], [], ["job"], ["job", "step"]])),
    }


def test_what_each_answer_of_a_model_is_one_of_is_billed_in_every_call(tmp_path: Path) -> None:
    """A search model searches once for each request, which its answers do not say."""
    model = "gpt-4o-search-preview"
    answer = {
        "id": "chatcmpl-1", "created": 1, "model": model, "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1},
    }  # fmt: skip
    call = {
        "site": next(iter(SITES)), "model": model, "stream": False, "read": None, "answer": answer, "status": 200,
        "at": INSTANTS[3], "request": {}, "tags": {}, "scopes": [],
    }  # fmt: skip
    general, usual = (World(tmp_path, usual=usual).run([call] * 4) for usual in (False, True))
    assert {span["attributes"]["tokenmeter.usage.quantity.web_search_calls"] for span in usual["spans"]} == {1}
    assert (usual["spans"], usual["sums"]) == (general["spans"], general["sums"])


@pytest.mark.parametrize("keeps", [True, False], ids=["with a ledger and a sink", "spans and sums alone"])
@given(made=st.lists(calls(), min_size=1, max_size=12), times=st.integers(1, 3))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
def test_both_ways_say_the_same(
    tmp_path_factory: pytest.TempPathFactory, keeps: bool, made: list[dict[str, Any]], times: int
) -> None:
    folder = tmp_path_factory.mktemp("ways")
    general, usual = (World(folder, usual=usual, keeps=keeps).run(made * times) for usual in (False, True))
    assert len(usual["records"]) == (len(made) * times if keeps else 0)
    assert len(usual["spans"]) == len(made) * times + sum(len(call["scopes"]) for call in made) * times
    for name in general:
        assert usual[name] == general[name], name


PLAIN: dict[str, Any] = {
    "site": "https://api.openai.com/v1",
    "model": "gpt-4o",
    "stream": False,
    "read": None,
    "status": 200,
    "at": INSTANTS[4],
    "request": {},
    "tags": {},
    "scopes": [],
    "answer": {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o-2024-08-06",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 20, "completion_tokens": 12, "total_tokens": 32},
    },
}


@pytest.mark.parametrize(
    ("change", "usual"),
    [
        pytest.param({}, True, id="the same"),
        pytest.param({"tags": {"team": "search"}}, True, id="tags"),
        pytest.param({"scopes": ["job", "step"]}, True, id="scopes"),
        pytest.param({"at": INSTANTS[0]}, True, id="another day"),
        pytest.param({"request": {"service_tier": "flex"}}, False, id="a parameter that prices"),
        pytest.param({"model": "gpt-4o-mini"}, False, id="another model"),
        pytest.param({"status": 500}, False, id="an error"),
        pytest.param({"answer": {**PLAIN["answer"], "usage": {"prompt_tokens": 20}}}, False, id="no output"),
        pytest.param({"answer": {**PLAIN["answer"], "error": {"code": "odd"}}}, False, id="an error inside"),
    ],
)
def test_a_call_is_usual_by_what_it_shares(tmp_path: Path, change: dict[str, Any], usual: bool) -> None:
    world = World(tmp_path, usual=True)
    with capture(world.meter) as records:
        world.make(PLAIN)
        world.make({**PLAIN, **change})
    assert [record._form is not None for record in records] == [False, usual]
    world.meter.shutdown()


@pytest.mark.parametrize(("read", "usual"), [(None, True), (2, False)], ids=["to its end", "in part"])
def test_a_stream_is_usual_if_it_is_read_to_its_end(tmp_path: Path, read: int | None, usual: bool) -> None:
    world = World(tmp_path, usual=True)
    parts = [
        [{"index": 0, "delta": {"content": "hello"}, "finish_reason": None}],
        [{"index": 0, "delta": {}, "finish_reason": "stop"}],
    ]
    usage = PLAIN["answer"]["usage"]
    beside = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-2024-08-06"}
    events = [*({**beside, "choices": choices} for choices in parts), {**beside, "choices": [], "usage": usage}]
    stream = {**PLAIN, "stream": True, "answer": events}
    world.whole = False
    with capture(world.meter) as records:
        world.make(stream)
        world.make({**stream, "read": read})
        world.meter.flush()
    assert [record._form is not None for record in records] == [False, usual]
    world.meter.shutdown()


def test_a_record_made_of_a_usual_one_is_priced_anew(tmp_path: Path) -> None:
    world = World(tmp_path, usual=True)
    with capture(world.meter) as records:
        world.make(PLAIN)
        world.make(PLAIN)
    last = records[-1]
    other = last._replace(request_model="gpt-4o-mini", response_model="gpt-4o-mini-2024-07-18")
    assert (last.cost.model, other.cost.model) == ("gpt-4o-2024-08-06", "gpt-4o-mini-2024-07-18")
    world.meter.shutdown()
