"""Imports from end to end: files as other tools write them, by the command line, into a ledger."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rigs.foreign_calls import (
    ANTHROPIC_BATCH,
    BATCH,
    LANGFUSE,
    LITELLM,
    PHOENIX,
    PROMPT,
    changed,
    otlp,
    otlp_span,
)
from tests.rigs.importing import pricing
from tests.rigs.ledger_rows import rows
from tests.rigs.made_records import nanoseconds, record
from tokenmeter.cli import main
from tokenmeter.ledger.imports.import_format import format_names, load_format
from tokenmeter.ledger.imports.importing import import_files
from tokenmeter.ledger.verify import verify
from tokenmeter.ledger.writer import Ledger

PLAIN = (
    "id,at,provider,model,input_tokens,output_tokens,cache_read_input_tokens,cost,currency,tag.team\n"
    "a,2026-11-20T10:00:02Z,openai,gpt-4o-mini,1000,100,800,0.00015,USD,search\n"
)


def lines(*items: Any) -> str:
    return "".join(f"{json.dumps(item)}\n" for item in items)


def as_csv(*items: dict[str, Any]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(items[0]))
    writer.writeheader()
    writer.writerows(items)
    return text.getvalue()


def imported(tmp_path: Path, text: str, *flags: str, to: str = "spend.db") -> tuple[int, dict[str, Any]]:
    """Exit status and the answer for one file."""
    file, answer = tmp_path / "calls.txt", tmp_path / "answer.json"
    file.write_text(text, encoding="utf-8")
    with answer.open("w") as out, contextlib.redirect_stdout(out):
        status = main(["ledger", "import", str(file), "--to", str(tmp_path / to), "--json", *flags])
    return status, json.loads(answer.read_text())["imported"][0]


# gpt-4o-mini, dollars a million: 0.15 in, 0.075 from the cache, 0.60 out; half of it in a batch.
CACHED = Decimal("0.00015")  # 200 x 0.15 + 800 x 0.075 + 100 x 0.60
FULL = Decimal("0.00021")  # 1,000 x 0.15 + 100 x 0.60

FORMATS = [
    pytest.param(lines(otlp(otlp_span())), "otlp", CACHED, {"service": "shop", "user": "u1"}, id="otlp lines"),
    pytest.param(json.dumps(otlp(otlp_span()), indent=1), "otlp", CACHED, {"service": "shop", "user": "u1"}, id="otlp"),
    pytest.param(json.dumps({"data": [PHOENIX]}), "phoenix", CACHED, {"session": "s1"}, id="phoenix answer"),
    pytest.param(
        as_csv({
            "name": "ChatCompletion", "span_kind": "LLM", "parent_id": "", "start_time": "2026-11-20 10:00:00+00:00",
            "end_time": "2026-11-20 10:00:02+00:00", "status_code": "OK", "context.trace_id": "0a" * 16,
            "context.span_id": "0b" * 8, "attributes.llm.provider": "openai",
            "attributes.llm.model_name": "gpt-4o-mini",
            "attributes.llm.token_count.prompt": "1000.0", "attributes.llm.token_count.completion": "100.0",
            "attributes.llm.token_count.prompt_details.cache_read": "800.0", "attributes.input.value": PROMPT,
        }), "phoenix", CACHED, {}, id="phoenix dataframe",
    ),
    pytest.param(
        json.dumps({"data": [LANGFUSE], "meta": {"page": 1}}), "langfuse", CACHED,
        {"user": "u1", "environment": "production"}, id="langfuse answer",
    ),
    pytest.param(
        lines({
            "id": "obs-1", "trace_id": "t", "type": "GENERATION", "start_time": "2026-11-20 10:00:00.000000",
            "end_time": "2026-11-20 10:00:02.500000", "provided_model_name": "gpt-4o-mini", "input": PROMPT,
            "usage_details": {"input": "200", "input_cached_tokens": "800", "output": "100", "total": "1100"},
            "metadata": '{"ls_provider":"openai"}',
        }), "langfuse", CACHED, {}, id="langfuse blob export",
    ),
    pytest.param(
        lines(LITELLM), "litellm", CACHED, {"user": "u1", "team": "t1", "key": "search", "tags": "batch-7"},
        id="litellm lines",
    ),
    pytest.param(
        as_csv(LITELLM), "litellm", CACHED, {"user": "u1", "team": "t1", "key": "search", "tags": "batch-7"},
        id="litellm csv",
    ),
    pytest.param(lines(BATCH), "batch", FULL / 2, {"custom_id": "row-1"}, id="openai batch"),
    pytest.param(PLAIN, "plain", CACHED, {"team": "search"}, id="plain csv"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "form", "amount", "tags"), FORMATS)
def test_a_call_is_recognized_priced_and_imported_once(
    tmp_path: Path, text: str, form: str, amount: Decimal, tags: dict[str, str]
) -> None:
    status, done = imported(tmp_path, text)
    assert (status, done["format"], done["calls"], done["new"], done["problems"]) == (0, form, 1, 1, [])
    (row,) = rows(tmp_path / "spend.db")
    assert (row["provider"], row["request_model"] or row["response_model"]) == ("openai", "gpt-4o-mini")
    assert (row["input_tokens"], row["output_tokens"]) == (1000, 100)
    assert (row["currency"], Decimal(row["amount"]), row["cost_source"]) == ("USD", amount, "book")
    assert json.loads(row["tags"]) == tags
    assert f"imported={form}" in json.loads(row["flags"])
    assert row["ended_at"][:19] in ("2026-11-20T10:00:00", "2026-11-20T10:00:02")
    status, done = imported(tmp_path, text)
    assert (status, done["new"], done["known"]) == (0, 0, 1)
    assert rows(tmp_path / "spend.db") == [row]
    assert not [check for check in verify(str(tmp_path / "spend.db")) if check.wrong]


@pytest.mark.parametrize(("text", "form", "amount", "tags"), FORMATS)
def test_no_prompt_comes_along(tmp_path: Path, text: str, form: str, amount: Decimal, tags: dict[str, str]) -> None:
    assert imported(tmp_path, text)[1]["new"] == 1
    stored = b"".join(file.read_bytes() for file in tmp_path.glob("spend.db*"))
    assert PROMPT.encode() not in stored


def test_what_the_source_says_it_cost_stands_beside(tmp_path: Path) -> None:
    imported(tmp_path, lines(LITELLM))
    (row,) = rows(tmp_path / "spend.db")
    assert (row["vendor_amount"], row["vendor_currency"]) == ("0.00019", "USD")
    assert "vendor_cost_gap=+0.00004" in json.loads(row["cost_flags"])


def test_a_model_that_the_book_does_not_have_costs_what_the_source_says(tmp_path: Path) -> None:
    imported(tmp_path, lines(changed(LITELLM, model="own-model-9")))
    (row,) = rows(tmp_path / "spend.db")
    assert (row["amount"], row["cost_source"]) == ("0.00019", "vendor")


def test_calls_are_priced_at_their_own_instant(tmp_path: Path) -> None:
    head = "id,at,provider,model,input_tokens,output_tokens\n"
    may = "2024-05-20T12:00:00+08:00", "2024-05-22T12:00:00+08:00"
    text = head + "".join(f"{at},{at},alibaba,qwen-long,1000000,1000000\n" for at in may)
    imported(tmp_path, text)
    assert [row["amount"] for row in rows(tmp_path / "spend.db")] == ["40", "2.5"]


def test_a_call_that_was_metered_live_is_not_charged_twice(tmp_path: Path) -> None:
    ended = datetime(2026, 11, 20, 10, 0, 2, tzinfo=UTC)
    live = record(
        ended=ended, provider="openai", request_model="gpt-4o-mini", response_id=LITELLM["request_id"],
        started_ns=nanoseconds(ended) - 10**9,
    )  # fmt: skip
    later = record(provider="openai", request_model="gpt-4o-mini", response_id=BATCH["response"]["body"]["id"])
    ledger = Ledger(tmp_path / "spend.db")
    ledger.write(live)
    ledger.write(later)
    assert ledger.flush(10)
    ledger.close(10)
    for text in (lines(LITELLM), lines(BATCH)):
        status, done = imported(tmp_path, text)
        assert (status, done["new"], done["delegated"]) == (0, 1, 1)
    stored = rows(tmp_path / "spend.db")
    assert [row["duplicate_of"] for row in stored] == [None, None, stored[0]["id"], stored[1]["id"]]
    assert [row["amount"] for row in stored[2:]] == [None, None]


def test_batch_results_of_anthropic_need_an_instant(tmp_path: Path) -> None:
    status, done = imported(tmp_path, lines(ANTHROPIC_BATCH))
    assert (status, done["format"], done["calls"]) == (1, "anthropic-batch", 0)
    assert done["problems"][0]["line"] == 1
    assert "--at" in done["problems"][0]["error"]
    status, done = imported(tmp_path, lines(ANTHROPIC_BATCH), "--at", "2026-11-20T10:00:00Z")
    assert (status, done["new"]) == (0, 1)
    (row,) = rows(tmp_path / "spend.db")
    # claude-sonnet-4.5, dollars a million: 3 in, 0.30 from the cache, 15 out; half of it in a batch.
    assert (row["input_tokens"], row["amount"]) == (1000, "0.00117")
    assert "instant_assumed" in json.loads(row["flags"])


def test_bad_lines_are_named_and_the_others_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = lines(
        changed(LITELLM, request_id="good-1"),
        changed(LITELLM, startTime="yesterday"),
        changed(LITELLM, endTime="2026-11-20T09:00:00"),
        changed(LITELLM, spend="a lot"),
        changed(LITELLM, metadata="{"),
        [],
        changed(LITELLM, request_id="good-2"),
    )
    text = text.replace("[]\n", "{not json\n")
    status, done = imported(tmp_path, text)
    assert status == 1
    assert [(one["line"], one["field"]) for one in done["problems"]] == [
        (2, "startTime"), (3, "endTime"), (4, "spend"), (5, "metadata"), (6, None),
    ]  # fmt: skip
    assert (done["calls"], done["failures"]) == (2, 5)
    assert "calls.txt:2: startTime: 'yesterday' is not an instant" in capsys.readouterr().err


def test_what_is_no_call_is_left_out(tmp_path: Path) -> None:
    status, done = imported(
        tmp_path, lines(LANGFUSE, changed(LANGFUSE, id="2", type="SPAN"), changed(LANGFUSE, id="3", type="EVENT"))
    )
    assert (status, done["calls"], done["left_out"]) == (0, 1, 2)
    status, done = imported(tmp_path, lines(LITELLM, changed(LITELLM, cache_hit="True")), to="two.db")
    assert (status, done["calls"], done["left_out"]) == (0, 1, 1)


def test_a_file_of_no_known_format_is_said_to_be_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, done = imported(tmp_path, lines({"hello": 1}))
    assert (status, done["format"]) == (1, None)
    assert "name one of" in done["problems"][0]["error"]
    assert main(["ledger", "import", str(tmp_path / "none"), "--to", str(tmp_path / "x.db")]) == 2
    assert not (tmp_path / "x.db").exists()
    assert (
        main(["ledger", "import", str(tmp_path / "calls.txt"), "--to", str(tmp_path / "x.db"), "--format", "no"]) == 2
    )
    assert "is none of" in capsys.readouterr().err


def test_rows_without_an_id_are_counted(tmp_path: Path) -> None:
    text = PLAIN.replace("id,", "").replace("a,", "")
    twice = text + text.splitlines()[1] + "\n"
    assert imported(tmp_path, twice)[1]["new"] == 2
    assert imported(tmp_path, twice)[1]["new"] == 0


def test_a_format_of_your_own_stands_on_another(tmp_path: Path) -> None:
    form = tmp_path / "ours.toml"
    form.write_text(
        'base = "plain"\nkind = "calls"\nsigns = ["who"]\nzone = "Asia/Shanghai"\ncurrency = "CNY"\n'
        '[fields]\nprovider = ["who"]\nended = ["when"]\nrequest_model = ["what"]\n'
        '[usage.counts]\ntokens_in = "input_tokens"\ntokens_out = "output_tokens"\n'
        '[models]\n"deepseek-*" = "deepseek"\n'
    )
    text = "who,when,what,tokens_in,tokens_out\n,2026-11-20 18:00:00,deepseek-chat,1000,100\n"
    status, done = imported(tmp_path, text, "--map", str(form))
    assert (status, done["format"], done["new"]) == (0, "ours", 1)
    (row,) = rows(tmp_path / "spend.db")
    assert (row["provider"], row["ended_at"], row["amount"]) == ("deepseek", "2026-11-20T10:00:00.000000Z", "0.0014")


@pytest.mark.parametrize("page", ["docs/ledger.md", "docs/zh/ledger.md"])
def test_the_format_of_the_page_reads_what_it_describes(tmp_path: Path, page: str) -> None:
    text = (Path(__file__).parents[3] / page).read_text(encoding="utf-8")
    (tmp_path / "ours.toml").write_text(text.split("```toml\n")[1].split("```")[0], encoding="utf-8")
    row = {
        "kind": "llm",
        "when": 1795168800000,
        "llm_name": "deepseek-chat",
        "tokens_in": 1000,
        "tokens_out": 100,
        "department": "a",
    }
    stated = {"data": [row, row | {"kind": "tool"}, row | {"provider": "our-gateway", "when": "2026-11-20 18:00:00"}]}
    status, done = imported(tmp_path, json.dumps(stated), "--map", str(tmp_path / "ours.toml"))
    assert (status, done["new"], done["left_out"]) == (0, 2, 1)
    for call in rows(tmp_path / "spend.db"):
        assert (call["provider"], call["ended_at"], call["amount"]) == (
            "deepseek",
            "2026-11-20T10:00:00.000000Z",
            "0.0014",
        )
        assert json.loads(call["tags"]) == {"team": "a"}


_WORDS = ("data", "id", "attributes", "usageDetails", "2026-11-20T10:00:00Z", "GENERATION", "input", "gpt-4o-mini", "7")
_LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(_WORDS)
    | st.sampled_from([10**30, -1, 1795168800, "1795168800000000000", "0a" * 16, "0b" * 8, "\ud800", "[", "{"])
)  # fmt: skip
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_WORDS) | st.text(max_size=3), inner),
    max_leaves=8,
)
_SOUND = (otlp(otlp_span()), {"data": [PHOENIX]}, LANGFUSE, LITELLM, BATCH, ANTHROPIC_BATCH, {"provider": "openai"})


@st.composite
def _spoilt(draw: st.DrawFn) -> Any:
    """A sound document of which one value, at any depth, is another."""
    document = json.loads(json.dumps(draw(st.sampled_from(_SOUND))))
    place = document
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = draw(st.sampled_from(keys))
        if not isinstance(place[key], dict | list) or not place[key] or draw(st.integers(0, 3)) == 0:
            place[key] = draw(_VALUES)
            return document
        place = place[key]


@pytest.mark.parametrize("name", format_names())
@settings(max_examples=40, deadline=None)
@given(lines=st.lists(_spoilt() | _VALUES, min_size=1, max_size=4))
def test_no_file_stops_an_import(tmp_path_factory: pytest.TempPathFactory, name: str, lines: list[Any]) -> None:
    folder = tmp_path_factory.mktemp("import")
    (folder / "calls").write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    (first,) = import_files([str(folder / "calls")], str(folder / "spend.db"), pricing(), form=load_format(name))
    (again,) = import_files([str(folder / "calls")], str(folder / "spend.db"), pricing(), form=load_format(name))
    assert (again.new, again.calls, again.failures) == (0, first.calls, first.failures)
    assert not [check for check in verify(str(folder / "spend.db")) if check.wrong]
