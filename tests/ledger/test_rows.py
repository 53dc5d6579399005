"""A row of the ledger: what it says of a call, what is null in it, and what never reaches the file."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tests.rigs.ledger_rows import rows
from tests.rigs.made_records import NOON, nanoseconds, priced, record, unpriced
from tokenmeter.ledger.writer import Ledger
from tokenmeter.meter import Tokenmeter
from tokenmeter.money import Money
from tokenmeter.record import Attempt
from tokenmeter.usage import Source, Usage


def test_a_row_says_everything_of_a_call(ledger: Ledger, path: Path) -> None:
    started = datetime(2026, 11, 1, 11, 59, 58, 123456, tzinfo=UTC)
    ledger.write(
        record(
            priced("0.0012"),
            id="c1",
            parent_id="p1",
            ended=NOON + timedelta(microseconds=7),
            started_ns=int(started.timestamp()) * 10**9 + 123_456_789,
            time_to_first_chunk=0.25,
            stream=True,
            host="api.deepseek.com",
            port=443,
            region="cn-beijing",
            response_model="deepseek-chat-0324",
            service_tier="priority",
            status_code=200,
            usage=Usage(
                input_tokens=1000,
                output_tokens=90,
                cache_read_input_tokens=400,
                cache_writes={"1h": 5},
                quantities={"audio_seconds": Decimal("1.5")},
                sources={"output_tokens": Source.ESTIMATED},
                ranges={"output_tokens": (80, 110)},
            ),
            usage_raw={"prompt_tokens": 1000, "details": {"tier": "fast"}},
            unknown_fields=("usage.shiny",),
            attempts=(
                Attempt(429, None, nanoseconds(NOON), 100_000_000, "req-1", reason="no usage in an error"),
                Attempt(200, None, nanoseconds(NOON), 900_000_000, "req-2", usage=True),
            ),
            tags={"team": "搜索"},
            scope=("nightly", "rerank"),
            vendor_cost=Money(Decimal("0.0000001"), "USD"),
            finish_reasons=("stop",),
            response_id="chatcmpl-1",
            flags=("total_mismatch",),
            trace_id="0af7651916cd43dd8448eb211c80319c",
            span_id="b7ad6b7169203331",
            params={"service_tier": "priority", "batch": False},
        )
    )
    assert ledger.flush()
    (row,) = rows(path)
    texts = {"usage", "usage_sources", "usage_ranges", "usage_raw", "attempts", "tags", "scope", "charges", "params"}
    read = {name: json.loads(value) if name in texts and value else value for name, value in row.items()}
    attempts = read.pop("attempts")
    assert [attempt["status"] for attempt in attempts] == [429, 200]
    assert attempts[0] == {
        "status": 429,
        "error": None,
        "started_at": "2026-11-01T12:00:00.000000Z",
        "duration": 0.1,
        "request_id": "req-1",
        "usage": False,
        "reason": "no usage in an error",
    }
    assert {name: value for name, value in read.items() if value is not None} == {
        "seq": 1,
        "calls": 1,
        "stale": 0,
        "vendor_gap": 0,
        "amount_whole": 0,
        "amount_pico": 1_200_000_000,
        "vendor_whole": 0,
        "vendor_pico": 100_000,
        "id": "c1",
        "parent_id": "p1",
        "started_at": "2026-11-01T11:59:58.123456Z",
        "ended_at": "2026-11-01T12:00:00.000007Z",
        "started_us": 1793534398123456,
        "ended_us": 1793534400000007,
        "duration": pytest.approx(1.876550211),
        "time_to_first_chunk": 0.25,
        "provider": "deepseek",
        "otel_provider": "deepseek",
        "model": "deepseek-chat",
        "request_model": "deepseek-chat",
        "response_model": "deepseek-chat-0324",
        "api": "openai.chat",
        "operation": "chat",
        "host": "api.deepseek.com",
        "port": 443,
        "region": "cn-beijing",
        "service_tier": "priority",
        "stream": 1,
        "end_state": "complete",
        "status_code": 200,
        "finish_reasons": '["stop"]',
        "response_id": "chatcmpl-1",
        "input_tokens": 1000,
        "output_tokens": 90,
        "cache_read_input_tokens": 400,
        "usage": {
            "input_tokens": 1000,
            "output_tokens": 90,
            "cache_read_input_tokens": 400,
            "cache_write_1h_input_tokens": 5,
            "quantities": {"audio_seconds": "1.5"},
        },
        "usage_source": "estimated",
        "usage_sources": {"output_tokens": "estimated"},
        "usage_ranges": {"output_tokens": [80, 110]},
        "usage_raw": {"prompt_tokens": 1000, "details": {"tier": "fast"}},
        "unknown_fields": '["usage.shiny"]',
        "status": "priced",
        "amount": "0.0012",
        "currency": "CNY",
        "charges": [{"component": "input", "quantity": "0.0012", "rate": "1", "per": "1", "amount": "0.0012"}],
        "rate_id": "deepseek/deepseek-chat#1",
        "effective_from": "2026-01-01T00:00:00+00:00",
        "dating": "official",
        "confidence": "corroborated",
        "list": "CNY",
        "priced_at": "2026-11-01T12:00:00+00:00",
        "book": "test-book",
        "cost_source": "book",
        "vendor_amount": "0.0000001",
        "vendor_currency": "USD",
        "attempt_count": 2,
        "tags": {"team": "搜索"},
        "scope": ["nightly", "rerank"],
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "span_id": "b7ad6b7169203331",
        "params": {"service_tier": "priority", "batch": False},
        "flags": '["total_mismatch"]',
    }


def test_calls_of_one_run_of_a_scope_are_told_from_those_of_another(tmp_path: Path) -> None:
    meter = Tokenmeter(ledger=tmp_path / "spend.db", spans="none")
    runs = []
    for _ in range(2):
        with meter.scope("nightly") as nightly:
            with meter.scope("answer"), meter.call("deepseek", "deepseek-chat"):
                pass
            with meter.call("deepseek", "deepseek-chat"):
                pass
        runs += [nightly.run] * 2
    with meter.call("deepseek", "deepseek-chat"):
        pass
    meter.shutdown()
    assert [row["scope_run"] for row in rows(tmp_path / "spend.db")] == [*runs, None]
    assert len({*runs}) == 2


def test_what_is_not_known_is_null(ledger: Ledger, path: Path) -> None:
    ledger.write(record(unpriced("no usage"), usage=Usage(source=Source.NONE), provider=None, request_model=None))
    assert ledger.flush()
    (row,) = rows(path)
    unknown = ("provider", "model", "input_tokens", "output_tokens", "amount", "currency", "attempt_count", "usage")
    assert {name: row[name] for name in unknown} == dict.fromkeys(unknown)
    assert (row["status"], row["cost_reason"], row["usage_source"]) == ("unpriced", "no usage", "none")


SECRETS = ("sk-abcdef0123456789", "my dear diary", "身份证号码 110101", "Bearer abc")


def test_no_sentence_and_no_key_reaches_the_file(ledger: Ledger, path: Path) -> None:
    told = dict(enumerate(SECRETS)) | {"nested": [*SECRETS], "n": 3}
    named = {str(key): value for key, value in told.items()}
    ledger.write(record(usage_raw={"prompt_tokens": 5, "echo": named}, params=named))
    assert ledger.flush()
    ledger.close()
    (row,) = rows(path)
    assert json.loads(row["usage_raw"])["prompt_tokens"] == 5
    data = path.read_bytes()
    assert not [secret for secret in SECRETS if secret.encode() in data]


def test_a_number_beyond_sqlite_stays_exact_in_the_usage(ledger: Ledger, path: Path) -> None:
    ledger.write(record(usage=Usage(input_tokens=10**30, output_tokens=5)))
    assert ledger.flush()
    (row,) = rows(path)
    assert (row["input_tokens"], row["output_tokens"]) == (None, 5)
    assert json.loads(row["usage"])["input_tokens"] == 10**30


@pytest.mark.parametrize(
    "text",
    [pytest.param("你好🙂", id="wide"), pytest.param("a\ud800b", id="lone surrogate"), pytest.param("x\0y", id="nul")],
)
def test_any_text_can_be_a_tag_and_a_model(ledger: Ledger, path: Path, text: str) -> None:
    ledger.write(record(tags={text: text}, request_model=text, scope=(text,)))
    assert ledger.flush()
    assert ledger.health()["lost"] == 0
    (row,) = rows(path)
    expected = text.replace("\ud800", "?")
    assert json.loads(row["tags"]) == {expected: expected}
