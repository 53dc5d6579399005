"""Makes the record of a finished call: reads the vendor's usage, counts what was not reported, notes all that is known.

`make_record` is the whole act, top to bottom: the reading gives usage and end (`calls/response.py`), missing totals
are counted offline (`tokens`) and corrected by what the calibrator learnt, and the facts become one `Record`.

Nothing is counted for a refusal, an answer that is an error and brought no text, under whatever HTTP status it came.
What is billed by the piece is never counted in tokens: its pieces are the answer's, else those of the request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from tokenmeter._support.bounded import short_name
from tokenmeter._support.empty import EMPTY
from tokenmeter._support.guard import guard
from tokenmeter.components import PIECES
from tokenmeter.record import NOT_REPORTED, Attempt, End, Record
from tokenmeter.usage import Source, Usage
from tokenmeter.wire.extracted import raw_usage
from tokenmeter.wire.formats import load_apis
from tokenmeter.wire.request_body import exceeds, request_body, request_headers
from tokenmeter.wire.request_params import documented_params, request_line, request_pieces

if TYPE_CHECKING:
    from tokenmeter.calls.opencall import Calibrates, OpenCall
    from tokenmeter.calls.response import Reading
    from tokenmeter.cost import Cost
    from tokenmeter.token_count import TokenCount
    from tokenmeter.wire.extracted import Extracted

__all__ = ["LongCount", "make_record"]

_SHORT: Final = 64 * 1024
"""Characters or bytes that are counted on the caller's thread at most."""


class LongCount(Exception):
    """More text would be counted than may hold up the caller."""


def make_record(
    call: OpenCall,
    end: End,
    *,
    price: Callable[[Record], Cost],
    estimate: bool,
    calibrator: Calibrates | None,
    long: bool = True,
) -> Record:
    """The record of a finished call. With `estimate`, totals that the vendor does not report are counted.

    Raises LongCount if that is long and `long` is false; the same call may be settled again.
    """
    route = call.route
    reading = call.reading
    usage, reason = _usage(call, end, reading, estimate, calibrator, long)
    facts: dict[str, Any] = {
        "id": call.id,
        "provider": route.provider,
        "otel_provider": route.otel_provider,
        "api": route.api,
        "operation": route.operation,
        "host": route.host,
        "port": route.port,
        "region": route.region,
        "account": _account(call),
        "request_model": call.request_model,
        "response_model": None,
        "started_ns": call.started_ns,
        "ended_ns": call.started_ns + call.ended_mono - call.started_mono,
        "stream": call.stream,
        "tags": call.tags,
        "params": _params(call, None),
        "status_code": call.status_code,
        "attempts": _attempts(call.attempts, usage),
        "tool_definition_tokens": 0 if call.offers_tools is False else call.tool_definition_tokens,
        "budget_window": EMPTY if call.budget is None else call.budget.windows,
        "pricer": price,
    }
    flags: tuple[str, ...] = ()
    if reading is not None:
        end = reading.end(end)
        flags = reading.flags
        extracted = reading.extracted
        if extracted is not None:
            facts.update(
                response_model=extracted.model and short_name(extracted.model),
                usage_raw=raw_usage(extracted.raw),
                unknown_fields=extracted.unknown_fields,
                service_tier=extracted.service_tier,
                vendor_cost=extracted.vendor_cost,
                finish_reasons=extracted.finish_reasons,
                response_id=extracted.response_id,
                params=_params(call, extracted),
            )
    if call.usage_override is not None:
        flags = (*flags, *(f"contradiction: {text}" for text in usage.contradictions()))
    if call.budget is not None:
        flags = (*flags, *call.budget.flags)
    if call.scope is not None:
        facts["scope"] = call.scope.path
    if call.parent is not None:
        facts["parent_id"] = call.parent.id
    if call.stream and call.first_chunk_ns is not None:
        facts["time_to_first_chunk"] = (call.first_chunk_ns - call.started_mono) / 1e9
    if call.span is not None:
        facts.update(trace_id=call.span.trace_id, span_id=call.span.span_id, telemetry=call.span.telemetry)
    error_type = _error_type(call, reading, end)
    if call.children and not call.observed:
        end, usage, reason = End.DELEGATED, NOT_REPORTED, "the calls made inside carry the usage"
    if calibrator is not None:
        with guard("calibrating"):
            flags = (*flags, *calibrator.seen(call, usage, end))
    facts.update(end=end, usage=usage, reason=reason, error_type=error_type, flags=flags)
    return Record._make(facts)


def _account(call: OpenCall) -> str | None:
    accounts = call.lifecycle.accounts
    return None if accounts is None else accounts.named(call.account, call.provider)


def _usage(
    call: OpenCall, end: End, reading: Reading | None, estimate: bool, calibrator: Calibrates | None, long: bool
) -> tuple[Usage, str | None]:
    """The usage of a call, given by hand, reported or counted, and why the vendor reported none."""
    if call.usage_override is not None:
        return call.usage_override, None
    if reading is None:
        return NOT_REPORTED, _no_answer(call)
    if not long and reading.packed and _is_lengthy(reading):
        raise LongCount
    usage: Usage = NOT_REPORTED
    reason: str | None = "what came back could not be read"
    with guard("reading usage"):
        usage, reason = reading.usage(end)
    whole = usage.input_tokens is not None and usage.output_tokens is not None
    if whole and usage.source_of("output_tokens") is not Source.PARTIAL:
        return usage, reason
    if call.children and not call.observed:
        return usage, reason
    pieces = False
    with guard("counting what was not reported"):
        pieces = _by_the_piece(usage, reading, call)
        if pieces:
            usage = _with_pieces(call, usage, reading, end)
    if estimate and not pieces:
        if not long and (not reading.short or (usage.input_tokens is None and exceeds(call.request, _SHORT))):
            raise LongCount
        with guard("counting what was not reported"):
            usage = _with_counts(call, usage, reading, calibrator)
    return usage, reason


def _is_lengthy(reading: Reading) -> bool:
    with guard("reading usage"):
        return reading.lengthy
    return False


def _by_the_piece(usage: Usage, reading: Reading, call: OpenCall) -> bool:
    """Whether the answer is billed by what it holds, such as images or seconds, and not by its text."""
    api = load_apis().get(reading.api or call.api)
    return (api is not None and not api.text) or not usage.quantities.keys().isdisjoint(PIECES)


def _with_pieces(call: OpenCall, usage: Usage, reading: Reading, end: End) -> Usage:
    """The usage with the pieces that the request asked for, where the answer came and does not state them."""
    body = request_body(call.request)
    failed = reading.error is not None or (call.status_code is not None and call.status_code >= 400)
    if body is None or failed or end is not End.COMPLETE:
        return usage
    if usage.input_tokens is not None or usage.output_tokens is not None:
        return usage
    finish = reading.extracted.finish_reasons if reading.extracted is not None else ()
    pieces = request_pieces(
        body, api=reading.api or call.api, model=call.request_model, finish=finish, answered=usage.quantities
    )
    if not pieces:
        return usage
    sources = {**usage.sources, **dict.fromkeys(pieces, Source.COUNTED)}
    return replace(usage, quantities={**usage.quantities, **pieces}, sources=sources)


def _with_counts(call: OpenCall, usage: Usage, reading: Reading, calibrator: Calibrates | None) -> Usage:
    """The usage with missing totals counted, each with its own source and range; what is reported stays."""
    counts: dict[str, TokenCount | None] = {}
    body = None
    silent = usage.output_tokens is None or usage.source_of("output_tokens") is Source.PARTIAL
    output = reading.output() if silent else None
    if silent and reading.error is not None and (output is None or not output.tokens):
        return usage  # refused: no answer was made
    if usage.input_tokens is None:
        body = request_body(call.request)
        if body is not None:
            body = request_line(body) or body
            from tokenmeter.tokens import count_request

            headers = request_headers(call.request)
            count = count_request(body, provider=call.provider, model=call.request_model, api=call.api, headers=headers)
            call.tool_definition_tokens = count.tool_definitions
            if count.tokens:  # no request is of zero tokens: its text stands where it is not looked for
                counts["input_tokens"] = count
    if silent:
        counts["output_tokens"] = output
    if calibrator is not None:
        counts = calibrator.corrected(
            counts, provider=call.provider, model=call.request_model, api=call.api, body=body, reading=reading
        )
        call.calibrated = tuple(name for name, count in counts.items() if count is not None and count.calibrated)
    return usage.with_counts(**counts)


def _no_answer(call: OpenCall) -> str:
    if call.status_code is not None and call.status_code >= 400:
        return f"the vendor answered {call.status_code}"
    if call.awaits:
        return "the vendor answers later, and that answer was not seen"
    return "no answer was seen"


def _error_type(call: OpenCall, reading: Reading | None, end: End) -> str | None:
    if call.error_type is not None:
        return call.error_type
    if reading is not None and reading.error is not None:
        return reading.error
    if end is End.ERROR and call.status_code is not None:
        return str(call.status_code)
    return None


def _attempts(attempts: list[Attempt], usage: Usage) -> tuple[Attempt, ...]:
    """The attempts, the one that carried the usage marked: the last, if the vendor reported any."""
    if attempts and usage.source is not Source.NONE:
        last = attempts[-1]
        if last.status is not None and last.status < 400:
            attempts[-1] = last._replace(usage=True, reason=None)
    return tuple(attempts)


def _params(call: OpenCall, extracted: Extracted | None) -> Mapping[str, Any]:
    """Facts that pricing needs: those of the request, then those of the answer, which bill."""
    region = call.route.region
    read = extracted.params if extracted is not None else EMPTY
    api = extracted.api if extracted is not None and extracted.api is not None else call.api
    documented = documented_params(api, call.request_model)
    if not call.params and region is None and not documented:
        return read
    return {**documented, **({"region": region} if region is not None else {}), **(call.params or {}), **read}
