"""What single backends read beside the standard names: one table each, and the few lines that fill them.

A dialect is data: rows of an attribute and the fact that it carries, or an object of facts, which is sent as JSON.
Rows marked `dollars` are for backends that show every number as US dollars: they are sent only where the vendor
bills in dollars, or where the user gave a dated rate; the converted figure then goes there and is marked as such
(`tokenmeter.cost.converted.*`). A cost in yuan never appears as so many dollars. Rows marked `elsewhere` are the
contrary: they keep a backend from pricing in dollars by itself what the vendor bills in something else. Rows without
a mark describe the call, and are left out on spans that somebody else made, because he has described it already; but
those marked `always` are names that such spans were seen to lack.

Which backend reads what was seen in runs and in the readers' code; a name nobody was seen to read is not here.
Datadog's intake reads of an OTLP span what the conventions name and computes the cost by itself; its table holds the
names under which Datadog's own tracer puts the rest, so that both kinds of spans answer one query. It has no cost: no
name for one is known there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tokenmeter.errors import ConfigurationError
from tokenmeter.money import EXACT
from tokenmeter.pricing import Cost
from tokenmeter.record import Record
from tokenmeter.sinks import semconv
from tokenmeter.sinks.attributes import Attributes, number, text, whole
from tokenmeter.usage import Source

if TYPE_CHECKING:
    from tokenmeter.exchange import Converted, ExchangeRate, ExchangeRates

__all__ = ["DIALECTS", "Dialect", "Row", "chosen", "in_dollars", "speak", "usage_names"]

DOLLARS: Final = "USD"


class Row(NamedTuple):
    """One attribute: the fact it carries, or several as a JSON object."""

    attribute: str
    fact: str | Mapping[str, str]
    dollars: bool = False
    elsewhere: bool = False
    always: bool = False


class Dialect(NamedTuple):
    """What one backend reads. `usage` replaces standard names of tokens, by field of `Usage`."""

    rows: tuple[Row, ...] = ()
    usage: Mapping[str, str] = {}


DIALECTS: Final[Mapping[str, Dialect]] = {
    "otel": Dialect(usage={"cache_write_input_tokens": semconv.CACHE_WRITE_CURRENT, **semconv.MODALITY_USAGE}),
    "langfuse": Dialect(
        rows=(
            Row(
                "langfuse.observation.usage_details",
                {
                    "input": "tokens.input.rest",
                    "input_cached_tokens": "tokens.cache_read",
                    "input_cache_creation": "tokens.cache_write",
                    "output": "tokens.output.rest",
                    "output_reasoning_tokens": "tokens.reasoning",
                    "total": "tokens.total",
                },
            ),
            Row(
                "langfuse.observation.cost_details",
                {"input": "cost.input", "output": "cost.output", "total": "cost"},
                dollars=True,
            ),
            Row("gen_ai.usage.cost", "cost", dollars=True),
            Row("user.id", "tag.user"),
            Row("session.id", "tag.session"),
        )
    ),
    "mlflow": Dialect(
        rows=(
            Row(
                "mlflow.llm.cost",
                {"input_cost": "cost.input", "output_cost": "cost.output", "total_cost": "cost"},
                dollars=True,
            ),
            # Without a cost MLflow prices the model by its own table, in dollars; it has none for a name so marked.
            Row("mlflow.llm.model", "model.currency", elsewhere=True),
        )
    ),
    "openinference": Dialect(
        rows=(
            Row("openinference.span.kind", "kind"),
            Row("llm.provider", "provider.openinference"),
            Row("llm.model_name", "model"),
            Row("llm.token_count.prompt", "tokens.input"),
            Row("llm.token_count.completion", "tokens.output"),
            Row("llm.token_count.total", "tokens.total"),
            Row("llm.token_count.prompt_details.cache_read", "tokens.cache_read"),
            # Anthropic's SDK traces itself, and names writes by the newest convention, which Phoenix does not read.
            Row("llm.token_count.prompt_details.cache_write", "tokens.cache_write", always=True),
            Row("llm.token_count.prompt_details.audio", "tokens.audio_input"),
            Row("llm.token_count.completion_details.reasoning", "tokens.reasoning"),
            Row("llm.token_count.completion_details.audio", "tokens.audio_output"),
            Row("llm.cost.prompt", "cost.input", dollars=True),
            Row("llm.cost.completion", "cost.output", dollars=True),
            Row("llm.cost.total", "cost", dollars=True),
            Row("user.id", "tag.user"),
            Row("session.id", "tag.session"),
        )
    ),
    "logfire": Dialect(rows=(Row("operation.cost", "cost", dollars=True),)),
    "datadog": Dialect(
        rows=(
            Row("gen_ai.usage.total_tokens", "tokens.total"),
            Row("gen_ai.usage.cache_read_input_tokens", "tokens.cache_read"),
            Row("gen_ai.usage.cache_write_input_tokens", "tokens.cache_write"),
            Row("gen_ai.usage.reasoning_output_tokens", "tokens.reasoning"),
            Row("gen_ai.conversation.id", "conversation"),
        )
    ),
    "openlit": Dialect(
        rows=(
            Row("gen_ai.usage.cost", "cost", dollars=True),
            Row("gen_ai.usage.total_tokens", "tokens.total"),
        )
    ),
}
OPENINFERENCE_PROVIDERS: Final = {"aws-bedrock": "aws", "azure-openai": "azure", "mistral": "mistralai"}
"""OpenInference's own words where they are not our ids. Phoenix prices by this name, so sites stay apart."""
VARIABLE: Final = "TOKENMETER_DIALECTS"


def chosen(names: Iterable[str] | None) -> tuple[Dialect, ...]:
    """The dialects of these names, or of TOKENMETER_DIALECTS if None. Raises ConfigurationError for an unknown one."""
    place = "dialects"
    if names is None:
        place, names = VARIABLE, os.environ.get(VARIABLE, "").split(",")
    wanted = [name.strip() for name in names if name.strip()]
    for name in wanted:
        if name not in DIALECTS:
            raise ConfigurationError(f"{place}: {name!r} is not a dialect; there are {', '.join(DIALECTS)}")
    return tuple(DIALECTS[name] for name in dict.fromkeys(wanted))


def usage_names(dialects: Sequence[Dialect]) -> Mapping[str, str]:
    """The names of tokens by field of `Usage`: the widely read ones, as the dialects change them."""
    names = dict(semconv.USAGE)
    for dialect in dialects:
        names.update(dialect.usage)
    return names


def in_dollars(record: Record, exchange: ExchangeRates) -> Converted | None:
    """A cost in another currency as dollars, at the user's last rate on or before the day (by UTC) of its end."""
    total = record.cost.total
    if total is None or total.currency == DOLLARS:
        return None
    return exchange.convert(total, DOLLARS, record.ended_at)


def speak(
    answer: Attributes,
    dialects: Sequence[Dialect],
    record: Record,
    *,
    export_estimates: bool,
    theirs: bool = False,
    rate: ExchangeRate | None = None,
) -> None:
    """Add what the dialects say of a call; on a span of somebody else (`theirs`) only what it cost.

    `rate` is the user's own between the cost's currency and dollars, for backends that know no other.
    """
    facts = _Facts(record, export_estimates, rate)
    for dialect in dialects:
        for row in dialect.rows:
            if (row.dollars and not facts.in_dollars) or (row.elsewhere and not facts.elsewhere):
                continue
            if theirs and not (row.dollars or row.elsewhere or row.always):
                continue
            if isinstance(row.fact, str):
                value = facts.get(row.fact)
            else:
                known = {key: facts.get(fact) for key, fact in row.fact.items()}
                known = {key: part for key, part in known.items() if part is not None}
                value = json.dumps(known) if known else None
            if value is not None:
                answer[row.attribute] = value


class _Facts:
    """What rows can ask of a call, worked out once each."""

    def __init__(self, record: Record, export_estimates: bool, rate: ExchangeRate | None) -> None:
        self.record = record
        self.cost: Cost = record.cost
        known = self.cost.amount is not None
        # Nothing is nothing in every currency.
        self.in_dollars = known and (self.cost.currency == DOLLARS or rate is not None or not self.cost.amount)
        self.elsewhere = known and not self.in_dollars
        self._rate = None if self.cost.currency == DOLLARS else rate
        self._estimates = export_estimates
        self._known: dict[str, Any] = {}

    def get(self, fact: str) -> Any:
        if fact in self._known:
            return self._known[fact]
        if fact.startswith("tag."):
            tag = self.record.tags.get(fact[4:])
            value = None if tag is None else text(tag)
        else:
            value = _FACTS[fact](self)
        self._known[fact] = value
        return value

    def tokens(self, field: str) -> int | None:
        usage = self.record.usage
        tokens: int | None = getattr(usage, field)
        if tokens is None or tokens < 0 or not (self._estimates or usage.source_of(field) is Source.REPORTED):
            return None
        return tokens

    def rest(self, total: str, *parts: str) -> int | None:
        """A total without its parts; None where they contradict it."""
        whole_of_it = self.tokens(total)
        if whole_of_it is None:
            return None
        left = whole_of_it - sum(self.tokens(part) or 0 for part in parts)
        return left if left >= 0 else None

    def dollars(self, amount: Decimal) -> float | None:
        """An amount as dollars. Only rows marked `dollars` may ask: others are sent whatever the currency is."""
        return number(amount if self._rate is None else self._rate.convert(amount, DOLLARS))

    def side(self, side: str) -> float | None:
        """What the input or the output cost. Fees that belong to neither are in the total only."""
        amounts = [charge.amount for charge in self.cost.charges if _side(charge.component) == side]
        total = Decimal(0)
        for amount in amounts:
            total = EXACT.add(total, amount)
        return self.dollars(total)


def _side(component: str) -> str | None:
    parts = component.split("_")
    if "output" in parts:
        return "output"
    return "input" if "input" in parts or component.startswith("cache_read") or "write" in parts else None


def _model(facts: _Facts) -> str | None:
    model = facts.record.response_model or facts.record.request_model
    return None if model is None else text(model)


def _total(facts: _Facts) -> int | None:
    one, other = facts.tokens("input_tokens"), facts.tokens("output_tokens")
    return None if one is None or other is None else one + other


def _tokens(field: str) -> Callable[[_Facts], int | str | None]:
    def read(facts: _Facts) -> int | str | None:
        tokens = facts.tokens(field)
        return None if tokens is None else whole(tokens)

    return read


_FACTS: Final[Mapping[str, Callable[[_Facts], Any]]] = {
    "kind": lambda facts: "EMBEDDING" if facts.record.operation == semconv.EMBEDDINGS else "LLM",
    "provider.openinference": lambda facts: OPENINFERENCE_PROVIDERS.get(
        facts.record.provider or "", facts.record.provider
    ),
    "model": _model,
    "model.currency": lambda facts: None if (model := _model(facts)) is None else f"{model} ({facts.cost.currency})",
    "conversation": lambda facts: facts.get("tag.conversation") or facts.get("tag.session"),
    "tokens.input": _tokens("input_tokens"),
    "tokens.input.rest": lambda facts: facts.rest(
        "input_tokens", "cache_read_input_tokens", "cache_write_input_tokens"
    ),
    "tokens.output": _tokens("output_tokens"),
    "tokens.output.rest": lambda facts: facts.rest("output_tokens", "reasoning_output_tokens"),
    "tokens.total": _total,
    "tokens.cache_read": _tokens("cache_read_input_tokens"),
    "tokens.cache_write": _tokens("cache_write_input_tokens"),
    "tokens.reasoning": _tokens("reasoning_output_tokens"),
    "tokens.audio_input": _tokens("audio_input_tokens"),
    "tokens.audio_output": _tokens("audio_output_tokens"),
    "cost": lambda facts: None if facts.cost.amount is None else facts.dollars(facts.cost.amount),
    "cost.input": lambda facts: facts.side("input"),
    "cost.output": lambda facts: facts.side("output"),
}
