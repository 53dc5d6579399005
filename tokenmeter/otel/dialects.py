"""Dialects: attribute names that single backends read beside the standard ones, one table for each backend.

A dialect is data: rows of an attribute and the fact that it carries, or an object of facts, which is sent as JSON.
Rows marked `dollars` are for backends that show every number as US dollars: they are sent only where the vendor
bills in dollars, or where the user gave a dated rate; the converted figure then goes there and is marked as such
(`tokenmeter.cost.converted.*`). A cost in yuan never appears as so many dollars. Rows marked `elsewhere` are the
contrary: they keep a backend from pricing in dollars by itself what the vendor bills in something else. Rows without
a mark describe the call, and are left out on spans of other instrumentations, which describe it already; those
marked `always` are names that such spans were seen to lack.

Which backend reads what was seen in runs and in the readers' code; a name that no backend was seen to read is not here.
Datadog's intake reads of an OTLP span what the conventions name and computes the cost by itself; its table holds the
names under which Datadog's own tracer puts the rest, so that both kinds of spans answer one query. It has no cost: no
name for one is known there.
"""

from __future__ import annotations

import json
import operator
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tokenmeter.cost import Cost
from tokenmeter.errors import ConfigurationError
from tokenmeter.money import EXACT
from tokenmeter.otel import semconv
from tokenmeter.otel.attributes import Attributes, number, text, whole
from tokenmeter.record import Record
from tokenmeter.usage import TOKEN_FIELDS, Source

if TYPE_CHECKING:
    from tokenmeter.exchange import Converted, ExchangeRate, ExchangeRates

__all__ = [
    "DIALECTS",
    "BackendDialect",
    "DialectAttribute",
    "Step",
    "chosen",
    "in_dollars",
    "speak",
    "steps",
    "usage_names",
]

DOLLARS: Final = "USD"


class DialectAttribute(NamedTuple):
    """One attribute: the fact it carries, or several as a JSON object."""

    attribute: str
    fact: str | Mapping[str, str]
    dollars: bool = False
    elsewhere: bool = False
    always: bool = False


class BackendDialect(NamedTuple):
    """What one backend reads. `usage` replaces standard names of tokens, by field of `Usage`."""

    rows: tuple[DialectAttribute, ...] = ()
    usage: Mapping[str, str] = {}


DIALECTS: Final[Mapping[str, BackendDialect]] = {
    "otel": BackendDialect(usage={"cache_write_input_tokens": semconv.CACHE_WRITE_CURRENT, **semconv.MODALITY_USAGE}),
    "langfuse": BackendDialect(
        rows=(
            DialectAttribute(
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
            DialectAttribute(
                "langfuse.observation.cost_details",
                {"input": "cost.input", "output": "cost.output", "total": "cost"},
                dollars=True,
            ),
            DialectAttribute("gen_ai.usage.cost", "cost", dollars=True),
            DialectAttribute("user.id", "tag.user"),
            DialectAttribute("session.id", "tag.session"),
        )
    ),
    "mlflow": BackendDialect(
        rows=(
            DialectAttribute(
                "mlflow.llm.cost",
                {"input_cost": "cost.input", "output_cost": "cost.output", "total_cost": "cost"},
                dollars=True,
            ),
            # Without a cost MLflow prices the model by its own table, in dollars; it has none for a name so marked.
            DialectAttribute("mlflow.llm.model", "model.currency", elsewhere=True),
        )
    ),
    "openinference": BackendDialect(
        rows=(
            DialectAttribute("openinference.span.kind", "kind"),
            DialectAttribute("llm.provider", "provider.openinference"),
            DialectAttribute("llm.model_name", "model"),
            DialectAttribute("llm.token_count.prompt", "tokens.input"),
            DialectAttribute("llm.token_count.completion", "tokens.output"),
            DialectAttribute("llm.token_count.total", "tokens.total"),
            DialectAttribute("llm.token_count.prompt_details.cache_read", "tokens.cache_read"),
            # Anthropic's SDK traces itself, and names writes by the newest convention, which Phoenix does not read.
            DialectAttribute("llm.token_count.prompt_details.cache_write", "tokens.cache_write", always=True),
            DialectAttribute("llm.token_count.prompt_details.audio", "tokens.audio_input"),
            DialectAttribute("llm.token_count.completion_details.reasoning", "tokens.reasoning"),
            DialectAttribute("llm.token_count.completion_details.audio", "tokens.audio_output"),
            DialectAttribute("llm.cost.prompt", "cost.input", dollars=True),
            DialectAttribute("llm.cost.completion", "cost.output", dollars=True),
            DialectAttribute("llm.cost.total", "cost", dollars=True),
            DialectAttribute("user.id", "tag.user"),
            DialectAttribute("session.id", "tag.session"),
        )
    ),
    "logfire": BackendDialect(rows=(DialectAttribute("operation.cost", "cost", dollars=True),)),
    "datadog": BackendDialect(
        rows=(
            DialectAttribute("gen_ai.usage.total_tokens", "tokens.total"),
            DialectAttribute("gen_ai.usage.cache_read_input_tokens", "tokens.cache_read"),
            DialectAttribute("gen_ai.usage.cache_write_input_tokens", "tokens.cache_write"),
            DialectAttribute("gen_ai.usage.reasoning_output_tokens", "tokens.reasoning"),
            DialectAttribute("gen_ai.conversation.id", "conversation"),
        )
    ),
    "openlit": BackendDialect(
        rows=(
            DialectAttribute("gen_ai.usage.cost", "cost", dollars=True),
            DialectAttribute("gen_ai.usage.total_tokens", "tokens.total"),
        )
    ),
}
OPENINFERENCE_PROVIDERS: Final = {"aws-bedrock": "aws", "azure-openai": "azure", "mistral": "mistralai"}
"""OpenInference's own words where they are not our ids. Phoenix prices by this name, so sites stay apart."""
VARIABLE: Final = "TOKENMETER_DIALECTS"


def chosen(names: Iterable[str] | None) -> tuple[BackendDialect, ...]:
    """The dialects of these names, or of TOKENMETER_DIALECTS if None. Raises ConfigurationError for an unknown one."""
    place = "dialects"
    if names is None:
        place, names = VARIABLE, os.environ.get(VARIABLE, "").split(",")
    wanted = [name.strip() for name in names if name.strip()]
    for name in wanted:
        if name not in DIALECTS:
            raise ConfigurationError(f"{place}: {name!r} is not a dialect; there are {', '.join(DIALECTS)}")
    return tuple(DIALECTS[name] for name in dict.fromkeys(wanted))


def usage_names(dialects: Sequence[BackendDialect]) -> Mapping[str, str]:
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


class Step(NamedTuple):
    """One row made ready: `read` gives its value of a call, None where it is not known."""

    attribute: str
    read: Callable[[_Facts], Any]
    dollars: bool
    elsewhere: bool


def steps(dialects: Iterable[BackendDialect], *, foreign: bool = False) -> tuple[Step, ...]:
    """The attributes of the dialects, in order; on a foreign span only the cost and what such spans lack."""
    return tuple(
        Step(row.attribute, _reader(row.fact), row.dollars, row.elsewhere)
        for dialect in dialects
        for row in dialect.rows
        if not foreign or row.dollars or row.elsewhere or row.always
    )


def speak(
    answer: Attributes,
    chosen_steps: Sequence[Step],
    record: Record,
    *,
    export_estimates: bool,
    rate: ExchangeRate | None = None,
) -> None:
    """Add what the dialects say of a call. `rate` is the user's own between the cost's currency and dollars."""
    facts = _Facts(record, export_estimates, rate)
    for attribute, read, dollars, elsewhere in chosen_steps:
        if (dollars and not facts.in_dollars) or (elsewhere and not facts.elsewhere):
            continue
        value = read(facts)
        if value is not None:
            answer[attribute] = value


class _Facts:
    """What rows can ask of a call, worked out once each and when first asked for."""

    __slots__ = ("_estimates", "_rate", "_sides", "_tokens", "cost", "elsewhere", "in_dollars", "record")

    def __init__(self, record: Record, export_estimates: bool, rate: ExchangeRate | None) -> None:
        self.record = record
        self.cost: Cost = record.cost
        amount, currency = self.cost.amount, self.cost.currency
        # Nothing is nothing in every currency.
        self.in_dollars = amount is not None and (currency == DOLLARS or rate is not None or not amount)
        self.elsewhere = amount is not None and not self.in_dollars
        self._rate = None if currency == DOLLARS else rate
        self._estimates = export_estimates
        self._tokens: dict[str, int | None] | None = None
        self._sides: dict[str | None, float | None] | None = None

    @property
    def tokens(self) -> Mapping[str, int | None]:
        """The numbers that may stand under other people's names, by field of `Usage`."""
        if self._tokens is None:
            self._tokens = self._speakable()
        return self._tokens

    def _speakable(self) -> dict[str, int | None]:
        usage = self.record.usage
        known = dict(zip(TOKEN_FIELDS, _tokens_of(usage), strict=True))
        every = self._estimates or (usage.source is Source.REPORTED and not usage.sources)
        for field, tokens in known.items():
            if tokens is not None and (
                tokens < 0 or not (every or usage.sources.get(field, usage.source) is Source.REPORTED)
            ):
                known[field] = None
        return known

    def rest(self, total: str, *parts: str) -> int | None:
        """A total without some parts that do not overlap, as `Usage.disjoint` has it; None where they contradict it."""
        left = self.tokens[total]
        if left is None:
            return None
        for part in parts:
            left -= self.tokens[part] or 0
        return left if left >= 0 else None

    @property
    def total(self) -> float | None:
        """The cost in dollars. Only rows marked `dollars` may ask: others are sent whatever the currency is."""
        return None if self.cost.amount is None else self._dollars(self.cost.amount)

    @property
    def sides(self) -> Mapping[str | None, float | None]:
        """What input and output cost, in dollars. Fees that belong to neither are in the total only."""
        if self._sides is None:
            self._sides = self._summed()
        return self._sides

    def _summed(self) -> dict[str | None, float | None]:
        sums: dict[str | None, Decimal] = {"input": _ZERO, "output": _ZERO}
        for price, _, amount in self.cost.lines:
            side = _side(price.component)
            sums[side] = EXACT.add(sums.get(side, _ZERO), amount)
        return {side: self._dollars(amount) for side, amount in sums.items()}

    def _dollars(self, amount: Decimal) -> float | None:
        return number(amount if self._rate is None else self._rate.convert(amount, DOLLARS))


_ZERO: Final = Decimal(0)
_tokens_of: Final = operator.attrgetter(*TOKEN_FIELDS)


def _reader(fact: str | Mapping[str, str]) -> Callable[[_Facts], Any]:
    """The function that gives a row's value."""
    if not isinstance(fact, str):
        return _object({key: _reader(part) for key, part in fact.items()})
    if not fact.startswith("tag."):
        return _FACTS[fact]
    name = fact.removeprefix("tag.")

    def tag(facts: _Facts) -> str | None:
        value = facts.record.tags.get(name)
        return None if value is None else text(value)

    return tag


def _object(parts: Mapping[str, Callable[[_Facts], Any]]) -> Callable[[_Facts], str | None]:
    """Several facts as one JSON object; None where none of them is known. Written by hand: they are numbers."""
    named = [(f"{json.dumps(key)}: ", read) for key, read in parts.items()]

    def read_all(facts: _Facts) -> str | None:
        known = [(key, value) for key, read in named if (value := read(facts)) is not None]
        if not known:
            return None
        return f"{{{', '.join([key + _number(value) for key, value in known])}}}"

    return read_all


def _number(value: Any) -> str:
    return repr(value) if type(value) is float or type(value) is int else json.dumps(value)


@cache
def _side(component: str) -> str | None:
    parts = component.split("_")
    if "output" in parts:
        return "output"
    return "input" if "input" in parts or component.startswith("cache_read") or "write" in parts else None


def _model(facts: _Facts) -> str | None:
    model = facts.record.response_model or facts.record.request_model
    return None if model is None else text(model)


def _total(facts: _Facts) -> int | None:
    one, other = facts.tokens["input_tokens"], facts.tokens["output_tokens"]
    return None if one is None or other is None else one + other


def _tokens(field: str) -> Callable[[_Facts], int | str | None]:
    def read(facts: _Facts) -> int | str | None:
        tokens = facts.tokens[field]
        return None if tokens is None else whole(tokens)

    return read


_conversation: Final = _reader("tag.conversation")
_session: Final = _reader("tag.session")
_FACTS: Final[Mapping[str, Callable[[_Facts], Any]]] = {
    "kind": lambda facts: "EMBEDDING" if facts.record.operation == semconv.EMBEDDINGS else "LLM",
    "provider.openinference": lambda facts: OPENINFERENCE_PROVIDERS.get(
        facts.record.provider or "", facts.record.provider
    ),
    "model": _model,
    "model.currency": lambda facts: None if (model := _model(facts)) is None else f"{model} ({facts.cost.currency})",
    "conversation": lambda facts: _conversation(facts) or _session(facts),
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
    "cost": lambda facts: facts.total,
    "cost.input": lambda facts: facts.sides["input"],
    "cost.output": lambda facts: facts.sides["output"],
}
