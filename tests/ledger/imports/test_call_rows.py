"""Records of rows that state a call: instants, provider, usage, how it ended, and ids that stay."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.rigs.foreign_calls import BATCH, LANGFUSE, LITELLM, changed
from tests.rigs.importing import pricing
from tokenmeter.ledger.imports.call_rows import CallRows, import_id
from tokenmeter.ledger.imports.fields import BadField
from tokenmeter.ledger.imports.import_format import load_format, read_format
from tokenmeter.record import End, Record
from tokenmeter.usage import Source

PLAIN = {"provider": "openai", "model": "gpt-4o-mini", "input_tokens": "1000", "output_tokens": "100"}
AT = {"at": "2026-11-20T10:00:02Z"}


def read(form: str, row: Any, *, provider: str | None = None, at_ns: int | None = None) -> Record:
    rows = CallRows(load_format(form), pricing(), provider=provider, at_ns=at_ns)
    assert rows.add(row, {}, "")
    (record,) = rows.take()
    assert list(rows.finish()) == []
    return record


@pytest.mark.parametrize(
    ("stated", "seconds", "flags"),
    [
        ({"started_at": "2026-11-20T10:00:00Z", **AT}, 2.0, ()),
        ({"duration": "1.5", **AT}, 1.5, ()),
        ({"started_at": "2026-11-20T10:00:00Z", "duration": "2"}, 2.0, ()),
        ({"started_at": "2026-11-20T10:00:00Z"}, 0.0, ("end_unknown",)),
        (AT, 0.0, ()),
    ],
)
def test_a_call_has_two_instants(stated: dict[str, str], seconds: float, flags: tuple[str, ...]) -> None:
    record = read("plain", PLAIN | stated)
    assert (record.duration, record.flags) == (seconds, (*flags, "imported=plain"))


def test_a_stream_has_its_first_chunk() -> None:
    record = read("langfuse", LANGFUSE)
    assert (record.stream, record.time_to_first_chunk, record.duration) == (True, 0.4, 2.5)


@pytest.mark.parametrize(
    ("form", "row", "fallback", "provider", "host"),
    [
        ("plain", PLAIN | AT, None, "openai", None),
        ("plain", changed(PLAIN | AT, provider=None), "deepseek", "deepseek", None),
        ("plain", PLAIN | AT | {"provider": "dashscope"}, None, "alibaba", None),
        ("plain", PLAIN | AT | {"host": "api.deepseek.com"}, None, "deepseek", "api.deepseek.com"),
        ("plain", PLAIN | AT | {"host": "llm.internal:8000"}, None, None, "llm.internal"),
        ("langfuse", changed(LANGFUSE, metadata=None), None, None, None),
        ("langfuse", changed(LANGFUSE, metadata=None), "openai", "openai", None),
        ("litellm", changed(LITELLM, custom_llm_provider="bedrock_converse", api_base=""), None, "aws-bedrock", None),
        ("batch", BATCH, None, "openai", None),
        ("batch", BATCH, "moonshot", "moonshot", None),
    ],
)
def test_who_bills(form: str, row: Any, fallback: str | None, provider: str | None, host: str | None) -> None:
    record = read(form, row, provider=fallback)
    assert (record.provider, record.host) == (provider, host)


def test_the_parts_of_langfuse_are_added_to_their_totals() -> None:
    usage = read("langfuse", LANGFUSE).usage
    assert (usage.input_tokens, usage.cache_read_input_tokens) == (1000, 800)
    assert (usage.output_tokens, usage.reasoning_output_tokens) == (100, 10)


def test_what_a_tool_counted_by_itself_is_an_estimate() -> None:
    assert read("langfuse", changed(LANGFUSE, providedUsageDetails={})).usage_source is Source.ESTIMATED
    assert read("langfuse", changed(LANGFUSE, providedUsageDetails={"input": 1})).usage_source is Source.REPORTED


def test_an_embedding_has_no_output() -> None:
    row = changed(LITELLM, call_type="aembedding", model="text-embedding-3-small", completion_tokens=0,
                  prompt_tokens=500, total_tokens=500, metadata="{}")  # fmt: skip
    record = read("litellm", row)
    assert (record.operation, record.usage.input_tokens, record.usage.output_tokens) == ("embeddings", 500, 0)
    assert record.cost.status == "priced"


@pytest.mark.parametrize(
    ("form", "row", "error"),
    [
        ("langfuse", changed(LANGFUSE, level="ERROR"), None),
        ("litellm", changed(LITELLM, status="failure", prompt_tokens=0, completion_tokens=0, total_tokens=0), None),
        ("plain", PLAIN | AT | {"error_type": "rate_limit"}, "rate_limit"),
        (
            "batch",
            {"custom_id": "r", "id": "b", "error": None, "response": {"status_code": 400, "body": {
                "error": {"code": "bad_request"}, "created": 1795168800,
            }}},
            "bad_request",
        ),
    ],
)  # fmt: skip
def test_a_failed_call_ended_in_an_error(form: str, row: Any, error: str | None) -> None:
    record = read(form, row)
    assert (record.end, record.error_type) == (End.ERROR, error)


def test_unknown_is_not_zero() -> None:
    record = read("plain", changed(PLAIN | AT, output_tokens=None))
    assert (record.usage.output_tokens, record.cost.status, record.vendor_cost) == (None, "unpriced", None)
    assert read("plain", changed(PLAIN | AT, input_tokens="", output_tokens=None)).usage_source is Source.NONE


def test_a_batch_answer_of_another_vendor_is_priced_as_a_batch() -> None:
    record = read("batch", BATCH)
    assert record.params == {"batch": True}
    assert record.response_id == "chatcmpl-batch-0123456789"
    assert read("plain", PLAIN | AT | {"batch": "yes"}).params == {"batch": True}


@pytest.mark.parametrize(
    ("row", "field", "says"),
    [
        (PLAIN, "ended_at", "--at"),
        (PLAIN | AT | {"cost": "7"}, "currency", "is missing"),
        (PLAIN | AT | {"cost": "7", "currency": ["CNY"]}, "currency", "is a list"),
        (PLAIN | AT | {"started_at": "2026-11-20T10:00:03Z"}, "at", "1 s before the start"),
        ([], "", "is no object"),
    ],
)
def test_a_bad_field_is_named(row: Any, field: str, says: str) -> None:
    with pytest.raises(BadField, match=says) as found:
        read("plain", row)
    assert found.value.field == field


def test_ids_stay_and_are_uuids_that_sort_by_time() -> None:
    early, late = (import_id("plain", "a", ns) for ns in (1795168800 * 10**9, 1795168801 * 10**9))
    assert early == import_id("plain", "a", 1795168800 * 10**9) < late
    assert len({early, import_id("plain", "b", 1795168800 * 10**9), import_id("otlp", "a", 1795168800 * 10**9)}) == 3
    made = uuid.UUID(early)
    assert (made.version, made.variant) == (8, uuid.RFC_4122)


def test_models_say_who_bills_where_a_format_says_so(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('base = "langfuse"\nkind = "calls"\n[models]\n"gpt-*" = "azure-openai"\n')
    rows = CallRows(read_format(tmp_path / "own.toml"), pricing(), provider=None, at_ns=None)
    rows.add(changed(LANGFUSE, metadata=None), {}, "")
    assert [record.provider for record in rows.take()] == ["azure-openai"]
