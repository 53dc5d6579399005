"""The collector as a writer of a ledger: calls of programs that meter and of others, and what is acknowledged."""

from __future__ import annotations

import json
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.rigs.collector_rig import HttpEndpoint, Running, rows
from tests.rigs.exporting_app import app
from tests.rigs.fleet import file_calls
from tests.rigs.messages import GENAI, OFFICIAL, USED, calls, request, span
from tests.rigs.otlp_requests import JSON, PROTOBUF, export, post
from tests.rigs.services import until
from tests.rigs.span_senders import ask, process
from tokenmeter.ledger.rollup import wrong_days

Collect = Callable[..., Running]
SAME = (
    "id", "started_us", "ended_us", "provider", "otel_provider", "model", "request_model", "response_model",
    "operation", "host", "port", "stream", "end_state", "finish_reasons", "response_id", "input_tokens",
    "output_tokens", "cache_read_input_tokens", "reasoning_output_tokens", "usage", "usage_source", "usage_sources",
    "usage_ranges", "status", "amount", "currency", "charges", "rate_id", "effective_from", "dating", "book",
    "cost_reason", "cost_source", "trace_id", "span_id", "scope",
)  # fmt: skip
"""The columns that a call metered elsewhere has in common with the program's own record of it."""


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_calls_that_a_program_metered_are_those_of_its_own_ledger(
    endpoint: HttpEndpoint, collect: Collect, tmp_path: Path, protocol: str
) -> None:
    running = collect(endpoint=endpoint.url, ledger=str(tmp_path / "spans.db"), tags={"service": "service.name"})
    own = tmp_path / "own.db"
    with app(running.url if protocol == "http" else f"http://{running.grpc}", protocol=protocol, ledger=str(own)) as it:
        ask(it.meter)
        it.flush()
    running.stop()
    expected, found = file_calls(own), file_calls(tmp_path / "spans.db")
    assert len(expected) == 5
    assert [{name: call[name] for name in SAME} for _, call in sorted(found.items())] == [
        {name: call[name] for name in SAME} for _, call in sorted(expected.items())
    ]
    assert {call["flags"] for call in found.values()} == {'["from_span"]'}
    assert {call["tags"]["service"] for call in found.values()} == {"shop"}
    assert (running.counts["metered"], running.counts["priced"], running.counts["unpriced"]) == (5, 0, 0)


def test_metrics_of_metered_calls_are_left_to_their_programs(
    endpoint: HttpEndpoint, collect: Collect, tmp_path: Path
) -> None:
    running = collect(endpoint=endpoint.url, ledger=str(tmp_path / "spend.db"), metrics_every=0.5)
    with app(running.url) as it:
        ask(it.meter)
        it.tracing.force_flush()
        post(running, calls(1, 1).SerializeToString())
        running.stop()
        metrics = [body for path, body in endpoint.bodies if path == "/v1/metrics"]
    assert b"tokenmeter.collector.calls.metered" in metrics[-1]
    assert (b"gpt-4o" in metrics[-1], b"deepseek" in metrics[-1]) == (True, False), "of the call priced here alone"
    assert running.counts["metered"] == 5


@pytest.mark.parametrize("spans_first", [True, False])
def test_a_ledger_that_both_write_has_each_call_once_and_the_programs_own_record(
    endpoint: HttpEndpoint, collect: Collect, tmp_path: Path, spans_first: bool
) -> None:
    shared, own = tmp_path / "shared.db", tmp_path / "own.db"
    running = collect(endpoint=endpoint.url, ledger=str(shared))
    with app(running.url, ledger=str(own)) as it:
        ask(it.meter)
        it.flush()
    from tokenmeter.ledger.copying import merge

    if spans_first:
        merge([str(own)], str(shared))
    else:
        merge([str(shared), str(own), str(shared)], str(tmp_path / "three.db"))
        shared = tmp_path / "three.db"
    running.stop()
    assert file_calls(shared) == file_calls(own)
    with closing(sqlite3.connect(shared)) as connection:
        assert wrong_days(connection) == 0


def test_requests_that_are_sent_again_and_a_second_collector_add_nothing(
    endpoint: HttpEndpoint, collect: Collect, tmp_path: Path
) -> None:
    ledger = tmp_path / "spend.db"
    first = collect(endpoint=endpoint.url, ledger=str(ledger))
    with app(first.url) as it:
        ask(it.meter)
        it.flush()
    (body,) = [body for path, body in endpoint.bodies if path == "/v1/traces"]
    post(first, body)
    post(first, calls(1, 3).SerializeToString())
    second = collect(endpoint=endpoint.url, ledger=str(ledger))
    post(second, body)
    export(second, calls(1, 3).SerializeToString())
    first.stop()
    second.stop()
    assert len(rows(ledger)) == 8


BROKEN = [
    pytest.param({"tokenmeter.call.id": ""}, {}, id="an empty id"),
    pytest.param({"tokenmeter.call.id": "x" * 100}, {}, id="an id too long"),
    pytest.param({"tokenmeter.call.id": 7}, {}, id="an id that is no text"),
    pytest.param({"tokenmeter.end": "exploded"}, {}, id="an end that there is not"),
    pytest.param({}, {"trace_id": b""}, id="no ids of the span"),
]
ODD = [
    pytest.param({"tokenmeter.cost.amount": "a lot"}, {}, "unpriced", id="an amount that is no number"),
    pytest.param({"tokenmeter.cost.amount": "1e999999"}, {}, "unpriced", id="an amount beyond measure"),
    pytest.param({"tokenmeter.cost.amount": 0.5}, {}, "unpriced", id="an amount that is not exact"),
    pytest.param({"tokenmeter.cost.effective_from": "tomorrow"}, {}, "priced", id="a date that is none"),
    pytest.param({"gen_ai.usage.input_tokens": "many"}, {}, "priced", id="tokens that are no number"),
    pytest.param({"gen_ai.usage.input_tokens": str(2**80)}, {}, "priced", id="more tokens than 64 bits hold"),
    pytest.param({"tokenmeter.call.end_time_unix_nano": -5}, {}, "priced", id="an end before 1970"),
    pytest.param({}, {"end_time_unix_nano": 0}, "priced", id="no end"),
    pytest.param({}, {"start_time_unix_nano": 2**64 - 1}, "priced", id="a start in 2554"),
    pytest.param({"tokenmeter.scope.path": [1, "a"]}, {}, "priced", id="a scope of numbers"),
]
WHOLE = GENAI | USED | {
    "tokenmeter.end": "complete", "tokenmeter.usage.source": "reported", "tokenmeter.cost.status": "priced",
    "tokenmeter.cost.amount": "0.25", "tokenmeter.cost.currency": "USD",
}  # fmt: skip


def metered(number: int, said: dict[str, Any], **more: Any) -> tuple[str, Any]:
    made = span(number, {"tokenmeter.call.id": f"{number:032x}"} | WHOLE | said)
    for name, of in more.items():
        setattr(made, name, of)
    return "tokenmeter", made


@pytest.mark.parametrize(("said", "more"), BROKEN)
def test_a_broken_span_in_a_batch_is_no_call_and_the_others_are(
    endpoint: HttpEndpoint, collect: Collect, tmp_path: Path, said: dict[str, Any], more: dict[str, Any]
) -> None:
    ledger = tmp_path / "spend.db"
    running = collect(endpoint=endpoint.url, ledger=str(ledger))
    body = request(metered(1, {}), metered(2, said, **more), (OFFICIAL, span(3, GENAI | USED)), metered(4, {}))
    assert post(running, body.SerializeToString()).status_code == 200
    running.stop()
    assert [row[0] for row in sorted(rows(ledger))] == [f"{number:016x}" for number in (1, 3, 4)]


@pytest.mark.parametrize(("said", "more", "status"), ODD)
def test_what_a_span_says_oddly_is_not_known_and_the_rest_is(
    endpoint: HttpEndpoint, collect: Collect, tmp_path: Path, said: dict[str, Any], more: dict[str, Any], status: str
) -> None:
    ledger = tmp_path / "spend.db"
    running = collect(endpoint=endpoint.url, ledger=str(ledger))
    body = request(metered(1, {}), metered(2, said, **more), metered(3, {}))
    assert post(running, body.SerializeToString()).status_code == 200
    running.stop()
    found = {row[0]: row[1] for row in rows(ledger)}
    assert found == {f"{1:016x}": "priced", f"{2:016x}": status, f"{3:016x}": "priced"}


# What is acknowledged -----------------------------------------------------------------------------------------------


def test_what_is_acknowledged_is_in_the_ledger_when_the_collector_is_killed(
    endpoint: HttpEndpoint, tmp_path: Path
) -> None:
    ledger = tmp_path / "spend.db"
    for attempt in range(3):
        with process(endpoint.url, str(ledger)) as (running, url):
            for part in range(5):
                body = calls(1 + 1000 * attempt + 100 * part, 100).SerializeToString()
                assert requests.post(f"{url}/v1/traces", data=body, headers=PROTOBUF, timeout=60).status_code == 200
            running.send_signal(signal.SIGKILL)
            running.wait(30)
        assert len(rows(ledger)) == 500 * (attempt + 1)


def test_a_ledger_that_cannot_be_written_keeps_no_span_back(
    endpoint: HttpEndpoint, collect: Collect, tmp_path: Path
) -> None:
    ledger = tmp_path / "later" / "spend.db"
    running = collect(endpoint=endpoint.url, ledger=str(ledger), patience=0.5)
    assert post(running, calls(1, 3).SerializeToString()).status_code == 200
    assert len(endpoint.bodies) == 1
    health = requests.get(f"{running.url}/healthz", timeout=60).json()
    assert (health["ledger"]["waiting"], health["ledger"]["written"]) == (3, 0)
    assert health["ledger"]["problem"]
    ledger.parent.mkdir()
    until(lambda: ledger.exists() and len(rows(ledger)) == 3, "the ledger")


def test_json_of_a_sender_is_taken_too(endpoint: HttpEndpoint, collect: Collect, tmp_path: Path) -> None:
    ledger = tmp_path / "spend.db"
    running = collect(endpoint=endpoint.url, ledger=str(ledger))
    attributes = [
        {"key": name, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}}
        for name, value in ({"tokenmeter.call.id": "ab" * 16} | WHOLE).items()
    ]
    one = {"traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174", "name": "chat gpt-4o",
           "startTimeUnixNano": "1793491200000000000", "endTimeUnixNano": "1793491201000000000",
           "attributes": attributes}  # fmt: skip
    body = {"resourceSpans": [{"scopeSpans": [{"scope": {"name": "tokenmeter"}, "spans": [one]}]}]}
    assert post(running, json.dumps(body).encode(), JSON).status_code == 200
    assert rows(ledger) == [("eee19b7ec3c1b174", "priced", "0.25", "USD", 1000, 100)]
