"""What the backends' own code makes of our spans.

Each backend ships the code by which it reads, or names what it reads; where its package is installed, that code is run
here on a real span of ours. `make test-mappings` installs them all and runs this. Langfuse's server reads in TypeScript
that no package holds: of it only the names and the filter of its SDK are asked.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import sys
import types
from itertools import combinations
from typing import Any

import pytest

from tests.rigs.made_records import record
from tests.rigs.spoken import USAGE, cost, rig_that_spoke, spoken
from tokenmeter import ExchangeRates
from tokenmeter.otel.dialects import DIALECTS

RATES = ExchangeRates.of("CNY=0.1400USD@2026-11-01", "a bank")
TOKENS = {"prompt": 1000, "completion": 100, "total": 1100, "read": 600, "write": 100}
COMBINED: list[tuple[str, ...]] = [(), *((one,) for one in DIALECTS), *combinations(DIALECTS, 2), tuple(DIALECTS)]


def called(dialects: tuple[str, ...]) -> str:
    return "+".join(dialects) or "default"


def installed(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as missing:
        pytest.skip(f"{missing.name} is not installed: make test-mappings")


# MLflow ----------------------------------------------------------------------------------------------------------


def by_mlflow(found: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Usage and cost as MLflow's server takes them from an OTLP span; the cost is None where it would make its own."""
    translation = installed("mlflow.tracing.otel.translation")

    class Stored:
        """A span as MLflow stores it: every attribute as JSON."""

        @staticmethod
        def to_dict() -> dict[str, Any]:
            return {"attributes": {name: json.dumps(value) for name, value in found.items()}, "events": []}

    read = translation.translate_span_when_storing(Stored())["attributes"]
    usage: dict[str, Any] = json.loads(read["mlflow.chat.tokenUsage"])
    said = json.loads(read["mlflow.llm.cost"]) if "mlflow.llm.cost" in found else None
    return usage, None if said is None else translation.update_cost({}, said)


@pytest.mark.parametrize("dialects", COMBINED, ids=called)
def test_mlflow_reads_our_tokens_and_our_cost(dialects: tuple[str, ...]) -> None:
    usage, price = by_mlflow(spoken(record(cost("USD"), usage=USAGE), *dialects))
    assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (1000, 100, 1100)
    assert (usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]) == (600, 100)
    expected = {"input_cost": 0.75, "output_cost": 1.25, "total_cost": 2.01}
    assert price == (expected if "mlflow" in dialects else None)


def test_mlflow_shows_no_yuan_but_at_the_users_rate() -> None:
    yuan = record(cost("CNY"), usage=USAGE)
    assert by_mlflow(spoken(yuan, "mlflow"))[1] is None
    assert by_mlflow(spoken(yuan, "mlflow", exchange=RATES))[1] == pytest.approx(
        {"input_cost": 0.105, "output_cost": 0.175, "total_cost": 0.2814}
    )


# Phoenix ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def phoenix(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Phoenix's conversion of GenAI spans, without the server that its packages import first."""
    if "phoenix" not in sys.modules:
        found = importlib.util.find_spec("phoenix")
        if found is None or not found.submodule_search_locations:
            pytest.skip("arize-phoenix is not installed: make test-mappings")
        (home,) = found.submodule_search_locations
        for name, path in (("phoenix", home), ("phoenix.trace", f"{home}/trace")):
            bare = types.ModuleType(name)
            bare.__path__ = [path]
            monkeypatch.setitem(sys.modules, name, bare)
    before = set(sys.modules)
    yield installed("phoenix.trace.gen_ai.conversion")
    for name in set(sys.modules) - before:
        if name.startswith("phoenix."):
            del sys.modules[name]


@pytest.mark.parametrize("dialects", COMBINED, ids=called)
def test_phoenix_reads_our_tokens(phoenix: Any, dialects: tuple[str, ...]) -> None:
    found = spoken(record(cost("USD"), usage=USAGE), *dialects)
    # What a span says in OpenInference's names wins over what Phoenix converts.
    read = {**phoenix.get_openinference_attributes(found), **found}
    counts = {
        "prompt": read["llm.token_count.prompt"],
        "completion": read["llm.token_count.completion"],
        "total": read["llm.token_count.total"],
        "read": read["llm.token_count.prompt_details.cache_read"],
        "write": read.get("llm.token_count.prompt_details.cache_write"),
    }
    # Phoenix does not read the newest name of cache writes; OpenInference's own name says it all the same.
    unread = "otel" in dialects and "openinference" not in dialects
    assert counts == (TOKENS | {"write": None} if unread else TOKENS)
    assert (read["openinference.span.kind"], read["llm.model_name"]) == ("LLM", "deepseek-chat")


# OpenInference, OpenLIT, Logfire, Langfuse, Datadog --------------------------------------------------------------


def attributes(dialect: str) -> set[str]:
    return {row.attribute for row in DIALECTS[dialect].rows}


def names_of(owner: Any) -> set[str]:
    return {value for name, value in vars(owner).items() if name.isupper() and isinstance(value, str)}


@pytest.mark.parametrize(
    ("dialect", "module", "owner", "besides"),
    [
        pytest.param("openinference", "openinference.semconv.trace", "SpanAttributes", set(), id="openinference"),
        pytest.param("openlit", "openlit.semcov", "SemanticConvention", set(), id="openlit"),
        pytest.param(
            "langfuse",
            "langfuse._client.attributes",
            "LangfuseOtelSpanAttributes",
            {"gen_ai.usage.cost"},
            id="langfuse",
        ),
        pytest.param("datadog", "ddtrace.llmobs._constants", None, set(), id="datadog"),
    ],
)
def test_every_name_we_send_is_one_of_theirs(dialect: str, module: str, owner: str | None, besides: set[str]) -> None:
    loaded = installed(module)
    known = names_of(loaded if owner is None else getattr(loaded, owner))
    assert attributes(dialect) - besides <= known


def test_datadogs_tracer_puts_the_same_on_its_own_span_for_this_call() -> None:
    llmobs, spans = installed("ddtrace.llmobs._utils"), installed("ddtrace.trace")
    said = {
        "meta": {"model_name": "deepseek-chat", "model_provider": "deepseek"},
        "metrics": {
            "input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100, "cache_read_input_tokens": 600,
            "cache_write_input_tokens": 100, "reasoning_output_tokens": 40,
        },
        "session_id": "s1",
    }  # fmt: skip
    theirs = spans.Span("chat")
    llmobs.set_gen_ai_apm_tags(theirs, said, "llm")
    found = spoken(record(cost("USD"), usage=USAGE, tags={"session": "s1"}), "datadog")
    wanted = {**theirs.get_tags(), **theirs.get_metrics()}
    wanted = {name: value for name, value in wanted.items() if name.startswith("gen_ai.")}
    assert wanted.pop("gen_ai.operation.name") == "llm"  # ours is the conventions' `chat`
    assert len(wanted) > 7
    assert {name: found.get(name) for name in wanted} == wanted


def test_logfire_calls_the_cost_of_its_own_calls_so_too() -> None:
    usage = installed("logfire._internal.integrations.llm_providers.usage")
    semconv = installed("logfire._internal.integrations.llm_providers.semconv")
    found = spoken(record(cost("USD"), usage=USAGE), "logfire")
    assert found["operation.cost"] == 2.01
    assert type(found["operation.cost"]) is float
    # The name is in the code of Logfire that sets it, as a number beside the same names of tokens.
    assert "result['operation.cost'] = float(" in inspect.getsource(usage)
    assert (found[semconv.INPUT_TOKENS], found[semconv.OUTPUT_TOKENS]) == (1000, 100)


@pytest.mark.parametrize("dialects", [(), ("langfuse",)], ids=called)
def test_langfuses_sdk_lets_our_spans_pass(dialects: tuple[str, ...]) -> None:
    keeps = installed("langfuse._client.span_filter").is_default_export_span
    (span,) = rig_that_spoke(record(cost("CNY"), usage=USAGE), *dialects).spans
    assert keeps(span)
