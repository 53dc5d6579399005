"""Names of span attributes and metrics that tokenmeter sends.

Standard names follow the GenAI semantic conventions as they stood on `CONVENTIONS_READ` (status Development, no
tagged release: the schema URL names the release of the general conventions that they build on). They are our own
strings because the constants of the Python package are deprecated and renamed under us. What is ours begins with
`tokenmeter.`; an estimate never wears the name of a reported number.

One deliberate difference from the conventions: cache writes are sent as `cache_creation`, which Phoenix, MLflow,
Langfuse and OpenLIT read, and not as the new `cache_write`, which only MLflow does. Sending both makes Langfuse
count the writes twice. The dialect `otel` switches to the new name.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Final

from tokenmeter._version import __version__
from tokenmeter.components import FIELDS

CONVENTIONS_READ: Final = "2026-11-21"
SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.44.0"
SCOPE_NAME: Final = "tokenmeter"


@cache
def scope_version() -> str:
    """The version of this package, as the version of our instrumentation scope."""
    return __version__


def sdk_disabled() -> bool:
    """Whether `OTEL_SDK_DISABLED` silences all telemetry of this process."""
    return os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


# Standard span attributes ---------------------------------------------------------------------------------------

OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
REQUEST_STREAM: Final = "gen_ai.request.stream"
RESPONSE_MODEL: Final = "gen_ai.response.model"
RESPONSE_ID: Final = "gen_ai.response.id"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
CONVERSATION_ID: Final = "gen_ai.conversation.id"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
ERROR_TYPE: Final = "error.type"

USAGE: Final = {part.usage: part.otel for part in FIELDS if part.otel and not part.modality}
"""Attribute by field of `Usage`: reported numbers only, as integers. Any other number below `gen_ai.usage.` becomes
a bucket of tokens in Langfuse, so what is not here goes below `tokenmeter.usage.`."""

MODALITY_USAGE: Final = {part.usage: part.otel for part in FIELDS if part.otel and part.modality}
"""By the current conventions, for the dialect `otel`; elsewhere they would be extra buckets."""

CACHE_WRITE_CURRENT: Final = "gen_ai.usage.cache_write.input_tokens"
CACHE_WRITE_WIDELY_READ: Final = USAGE["cache_write_input_tokens"]

INFERENCE: Final = frozenset({"chat", "text_completion", "generate_content"})
"""Operations that the conventions call inference."""
EMBEDDINGS: Final = "embeddings"
MODEL_CALLS: Final = INFERENCE | {EMBEDDINGS, "rerank", "image_generation", "speech", "transcription"}
"""Operations that one request to a model answers: spans of these may carry a cost. Agent and tool spans may not."""

# Our span attributes --------------------------------------------------------------------------------------------

BUDGET_LIMIT: Final = "tokenmeter.budget.limit"
BUDGET_SPENT: Final = "tokenmeter.budget.spent"
BUDGET_HELD: Final = "tokenmeter.budget.held"
BUDGET_REFUSED: Final = "tokenmeter.budget.refused"
BUDGET_NAME: Final = "tokenmeter.budget.name"
BUDGET_VALUE: Final = "tokenmeter.budget.value"
BUDGET_UNIT: Final = "tokenmeter.budget.unit"
COST: Final = "tokenmeter.cost"
COST_AMOUNT: Final = "tokenmeter.cost.amount"
COST_CURRENCY: Final = "tokenmeter.cost.currency"
COST_STATUS: Final = "tokenmeter.cost.status"
COST_SOURCE: Final = "tokenmeter.cost.source"
COST_DATING: Final = "tokenmeter.cost.dating"
COST_EFFECTIVE_FROM: Final = "tokenmeter.cost.effective_from"
COST_BOOK: Final = "tokenmeter.cost.book"
COST_MODEL: Final = "tokenmeter.cost.model"
COST_REASON: Final = "tokenmeter.cost.reason"
COST_COVERED_BY: Final = "tokenmeter.cost.covered_by"
COST_LIST_AMOUNT: Final = "tokenmeter.cost.list_amount"
COST_FLAG: Final = "tokenmeter.cost.flag"
COST_CACHE_SAVINGS: Final = "tokenmeter.cost.cache_savings"
"""Exact string in the cost's currency; below zero where writing to the cache cost more than was saved."""
COST_CONVERTED: Final = "tokenmeter.cost.converted.amount"
COST_CONVERTED_CURRENCY: Final = "tokenmeter.cost.converted.currency"
COST_RATE: Final = "tokenmeter.cost.converted.rate"
COST_RATE_PAIR: Final = "tokenmeter.cost.converted.pair"
"""`CNY/USD`: a yuan in dollars; `USD/CNY`: a dollar in yuan, by which the amount was divided."""
COST_RATE_DATE: Final = "tokenmeter.cost.converted.rate_date"
COST_RATE_SOURCE: Final = "tokenmeter.cost.converted.rate_source"
VENDOR_AMOUNT: Final = "tokenmeter.cost.vendor.amount"
VENDOR_CURRENCY: Final = "tokenmeter.cost.vendor.currency"

SITE: Final = "tokenmeter.provider"
"""Who bills: `alibaba` and `alibaba-intl` share one OpenTelemetry name and differ in price and currency."""
REGION: Final = "tokenmeter.region"
SERVICE_TIER: Final = "tokenmeter.service_tier"
CALL_ID: Final = "tokenmeter.call.id"
"""The id of the call in every ledger; `call_span.py` says which spans of a call carry more than its id."""
CALL_STARTED: Final = "tokenmeter.call.start_time_unix_nano"
CALL_ENDED: Final = "tokenmeter.call.end_time_unix_nano"
"""When the call began and ended, on spans of other instrumentations, which last longer."""
CALL_OPERATION: Final = "tokenmeter.call.operation"
"""The operation of a call, where the standard name would make the span one more call."""
END: Final = "tokenmeter.end"
ATTEMPTS: Final = "tokenmeter.attempts"
FLAGS: Final = "tokenmeter.flags"
REASON: Final = "tokenmeter.reason"
USAGE_SOURCE: Final = "tokenmeter.usage.source"
ESTIMATED: Final = "tokenmeter.usage.estimated."
ESTIMATED_LOW: Final = "tokenmeter.usage.estimated.low."
ESTIMATED_HIGH: Final = "tokenmeter.usage.estimated.high."
PARTIAL: Final = "tokenmeter.usage.partial."
QUANTITY: Final = "tokenmeter.usage.quantity."
OTHER_USAGE: Final = "tokenmeter.usage."
TAG: Final = "tokenmeter.tag."

SCOPE: Final = "tokenmeter.scope.name"
SCOPE_PATH: Final = "tokenmeter.scope.path"
SCOPE_CALLS: Final = "tokenmeter.scope.calls"
SCOPE_ATTEMPTS: Final = "tokenmeter.scope.attempts"
SCOPE_UNPRICED: Final = "tokenmeter.scope.unpriced"
SCOPE_PENDING: Final = "tokenmeter.scope.pending"
SCOPE_COMPLETE: Final = "tokenmeter.scope.complete"
SCOPE_COST: Final = "tokenmeter.scope.cost."
"""Followed by the currency: the exact string."""
SCOPE_COST_FLOAT: Final = "tokenmeter.scope.cost_number."
"""Followed by the currency: the same as a float, for backends that cannot sum strings."""
SCOPE_USAGE: Final = "tokenmeter.scope.usage."
SCOPE_SOURCES: Final = "tokenmeter.scope.sources."

TRACE_COST: Final = "tokenmeter.trace.cost."
"""Followed by the currency: the exact string, on the span where a trace enters the process."""
TRACE_COST_FLOAT: Final = "tokenmeter.trace.cost_number."
TRACE_CALLS: Final = "tokenmeter.trace.calls"
TRACE_UNPRICED: Final = "tokenmeter.trace.unpriced"

CONVERSATION: Final = {CONVERSATION_ID: "conversation", "session.id": "session", "user.id": "user"}
"""Standard attributes that say whose call it is, by the tag that gives them."""

# Metrics --------------------------------------------------------------------------------------------------------

COMPONENT: Final = "tokenmeter.component"
FAMILY: Final = "tokenmeter.family"
"""Of the tokenizer that we count with."""
BOUND: Final = "tokenmeter.bound"
TOKEN_TYPE: Final = "gen_ai.token.type"
MODALITY: Final = "gen_ai.token.modality"
OVERFLOW: Final = "otel.metric.overflow"
OVERFLOW_VALUE: Final = "__other__"
"""What a tag or a model becomes once it has shown too many values."""

COUNTERS: Final = {
    "cost": ("tokenmeter.cost", "{currency}", "Cost of calls, in the currency that the vendor bills."),
    "usage": ("tokenmeter.usage", "{token}", "Tokens by component; components are disjoint, so they add up."),
    "quantity": ("tokenmeter.usage.quantity", "1", "What bills and is not tokens, by name."),
    "estimated": ("tokenmeter.usage.estimated", "{token}", "Low and high of counted and estimated tokens."),
    "calls": ("tokenmeter.calls", "{call}", "Calls by the way they ended."),
    "attempts": ("tokenmeter.attempts", "{request}", "HTTP requests, retries included."),
    "unpriced": ("tokenmeter.calls.unpriced", "{call}", "Calls whose cost is not known; never counted as zero cost."),
    "cache_saved": (
        "tokenmeter.cache.savings",
        "{currency}",
        "What calls cost less than without the vendor's cache, net of what they wrote to it.",
    ),
    "cache_added": (
        "tokenmeter.cache.surcharge",
        "{currency}",
        "What calls cost more than without the vendor's cache: writes that nothing has been read from yet.",
    ),
    "cache_unknown": (
        "tokenmeter.cache.unknown",
        "{call}",
        "Priced calls whose usage does not tell what was read from the cache; in no sum of savings.",
    ),
    "overdue": (
        "tokenmeter.calls.price_overdue",
        "{call}",
        "Calls priced by a rate past its review date, or past the last day it is known to hold.",
    ),
    "vendor_cost": (
        "tokenmeter.cost.vendor",
        "{currency}",
        "Cost of calls as the vendor or gateway reported it, whatever the price book says.",
    ),
    "vendor_gaps": (
        "tokenmeter.calls.vendor_cost_gap",
        "{call}",
        "Calls whose vendor reported a cost more than 1% off the price book's.",
    ),
    "compared_counted": (
        "tokenmeter.calibration.counted",
        "{token}",
        "Our own count of tokens that the vendor reported, of the calls that calibration looks at.",
    ),
    "compared_reported": (
        "tokenmeter.calibration.reported",
        "{token}",
        "What the vendor reported for them.",
    ),
    "failures": ("tokenmeter.records.unreadable", "{call}", "Calls that could not be summed, a fault of ours."),
    "input": (
        "gen_ai.client.inference.usage.input_tokens",
        "{token}",
        "Input tokens of inference calls, as reported by the vendor.",
    ),
    "output": (
        "gen_ai.client.inference.usage.output_tokens",
        "{token}",
        "Output tokens of inference calls, as reported by the vendor.",
    ),
    "cache_read": (
        "gen_ai.client.inference.usage.cache_read.input_tokens",
        "{token}",
        "Input tokens read from a cache, as reported by the vendor.",
    ),
    "cache_write": (
        "gen_ai.client.inference.usage.cache_write.input_tokens",
        "{token}",
        "Input tokens written to a cache, as reported by the vendor.",
    ),
    "reasoning": (
        "gen_ai.client.inference.usage.reasoning.output_tokens",
        "{token}",
        "Reasoning tokens, as reported by the vendor.",
    ),
}
"""Observable counters: name, unit and description by the table of the accumulator that they read."""

PRICE_FROM: Final = (
    "tokenmeter.price.effective_from",
    "s",
    "Since when the newest price in use holds, in seconds since 1970: it moves when a price changes.",
)
"""Observable gauge: name, unit and description."""

COLLECTOR_COUNTERS: Final = {
    "received": ("tokenmeter.collector.spans.received", "{span}", "Spans taken from senders."),
    "priced": ("tokenmeter.collector.calls.priced", "{call}", "Calls told by spans whose cost is known."),
    "unpriced": ("tokenmeter.collector.calls.unpriced", "{call}", "Calls told by spans whose cost is not known."),
    "metered": (
        "tokenmeter.collector.calls.metered",
        "{call}",
        "Calls that their programs metered, written into the ledger as their spans tell them.",
    ),
    "forwarded": ("tokenmeter.collector.spans.forwarded", "{span}", "Spans that the endpoint took."),
    "retried": (
        "tokenmeter.collector.spans.retried",
        "{span}",
        "Spans in attempts after the first that failed too.",
    ),
    "rejected": ("tokenmeter.collector.spans.rejected", "{span}", "Spans that the endpoint refused for good."),
    "dropped": ("tokenmeter.collector.spans.dropped", "{span}", "Spans not sent when the collector ended."),
    "refused": (
        "tokenmeter.collector.requests.refused",
        "{request}",
        "Requests there was no room for.",
    ),
}
"""What `tokenmeter collector` counts about itself, by the name of the count."""
COLLECTOR_QUEUE_BYTES: Final = ("tokenmeter.collector.queue.size", "By", "Memory of requests in hand.")
COLLECTOR_QUEUE_LIMIT: Final = ("tokenmeter.collector.queue.limit", "By", "Memory that requests may take.")
COLLECTOR_QUEUE_REQUESTS: Final = ("tokenmeter.collector.queue.requests", "{request}", "Requests that wait.")

LEDGER_COUNTERS: Final = {
    "written": ("tokenmeter.ledger.written", "{call}", "Calls that the ledger's file has taken."),
    "lost": ("tokenmeter.ledger.lost", "{call}", "Calls that could not be kept; they are in no report."),
    "commits": ("tokenmeter.ledger.commits", "{commit}", "Transactions of the ledger's file."),
    "shipped": ("tokenmeter.ledger.shipped", "{call}", "Calls of the spool that the fleet's database has taken."),
}
"""Observable counters of ledgers: name, unit and description by the name in `health()`."""
LEDGER_GAUGES: Final = {
    "waiting": ("tokenmeter.ledger.queue", "{call}", "Calls in memory that the ledger's file has not taken yet."),
    "commit_seconds": ("tokenmeter.ledger.commit.duration", "s", "How long the last commit took."),
    "spooled": (
        "tokenmeter.ledger.spool.calls",
        "{call}",
        "Calls in the spool that the fleet's database has not taken yet, by the process that ships.",
    ),
}
"""Observable gauges of ledgers."""

EXPORTED: Final = ("tokenmeter.export.spans", "{span}", "Spans given to the exporter, by whether they arrived.")
OUTCOME: Final = "tokenmeter.export.outcome"

SECONDS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKENS: Final = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)

HISTOGRAMS: Final = {
    "duration": ("gen_ai.client.inference.duration", "s", SECONDS, "Duration of inference calls."),
    "embeddings.duration": ("gen_ai.client.embeddings.duration", "s", SECONDS, "Duration of embeddings calls."),
    "time_to_first_chunk": (
        "gen_ai.client.inference.time_to_first_chunk",
        "s",
        SECONDS,
        "Time from the request to the first chunk of a streamed answer.",
    ),
    # Renamed since, but what the dashboards of today were drawn for.
    "operation.duration": ("gen_ai.client.operation.duration", "s", SECONDS, "Duration of GenAI calls."),
    "token.usage": ("gen_ai.client.token.usage", "{token}", TOKENS, "Input and output tokens of GenAI calls."),
}
"""Synchronous instruments: name, unit, bucket boundaries and description."""

# Spans of others ------------------------------------------------------------------------------------------------

GENAI_SCOPES: Final = frozenset(
    {
        "ai",
        "com.anthropic.sdk.python",
        "gcp.vertex.agent",  # Google's Agent Development Kit
        "gen_ai",  # Vercel's AI SDK from 7 on
        "langfuse-sdk",
        "langsmith",
        "litellm",
        "logfire",
        "mistralai_sdk_tracer",
        "openinference",
        "openlit",
        "opentelemetry.instrumentation.alephalpha",
        "opentelemetry.instrumentation.anthropic",
        "opentelemetry.instrumentation.bedrock",
        "opentelemetry.instrumentation.cohere",
        "opentelemetry.instrumentation.dashscope",
        "opentelemetry.instrumentation.genai",
        "opentelemetry.instrumentation.google_genai",
        "opentelemetry.instrumentation.google_generativeai",
        "opentelemetry.instrumentation.groq",
        "opentelemetry.instrumentation.langchain",
        "opentelemetry.instrumentation.llamaindex",
        "opentelemetry.instrumentation.mistralai",
        "opentelemetry.instrumentation.ollama",
        "opentelemetry.instrumentation.openai",
        "opentelemetry.instrumentation.openai_v2",
        "opentelemetry.instrumentation.together",
        "opentelemetry.instrumentation.vertexai",
        "opentelemetry.instrumentation.voyageai",
        "opentelemetry.instrumentation.watsonx",
        "opentelemetry.util.genai",
        "pydantic-ai",
        "strands-agents",
        "strands.telemetry.tracer",
    }
)
"""Scope names, each with everything below it (`openinference` covers `openinference.instrumentation.openai`)."""

KINDS: Final = (
    (OPERATION, {name: name for name in sorted(MODEL_CALLS)}),
    ("openinference.span.kind", {"LLM": "chat", "EMBEDDING": EMBEDDINGS, "RERANKER": "rerank"}),
    (
        "ai.operationId",  # Vercel's AI SDK: the outer `ai.generateText` sums up its `doGenerate`s
        {
            "ai.generateText.doGenerate": "chat",
            "ai.generateObject.doGenerate": "chat",
            "ai.streamText.doStream": "chat",
            "ai.streamObject.doStream": "chat",
            "ai.embed.doEmbed": EMBEDDINGS,
            "ai.embedMany.doEmbed": EMBEDDINGS,
            "ai.rerank.doRerank": "rerank",
        },
    ),
    (
        "llm.request.type",
        {
            "chat": "chat",
            "completion": "text_completion",
            "embedding": EMBEDDINGS,
            "rerank": "rerank",
            "unknown": "chat",
        },
    ),
    ("langsmith.span.kind", {"llm": "chat", "embedding": EMBEDDINGS}),
)
"""By what a span says which kind of work it stands for, and which values are one call to a model: as an operation.
The first attribute that is there decides."""
INFERENCE_CONTEXT: Final = "opentelemetry.genai.client.inference.context"
"""Context key by which the official GenAI instrumentations say that they own the call in progress."""
SUPPRESS: Final = "suppress_instrumentation"
