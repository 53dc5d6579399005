"""`extract`: reads the usage out of a vendor's answer.

It recognises the wire format and hands the answer to that format's compiled `UsageReader`, with what the vendor says
beyond the format laid over it. Which field means what is data: `wire/formats/*.toml` and `providers/*.toml`. A line of
a batch's result file is unwrapped first.

No input makes it raise. An answer that cannot be read says why in `reason`.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from tokenmeter._support.guard import guard
from tokenmeter.providers.registry import load_providers
from tokenmeter.usage import Source
from tokenmeter.wire.extracted import EMPTY, Extracted, added_up
from tokenmeter.wire.formats import load_apis
from tokenmeter.wire.usage_reader import UsageReader
from tokenmeter.wire.vendor_errors import refusal

if TYPE_CHECKING:
    from tokenmeter.wire.batch_lines import BatchLine

__all__ = ["Extracted", "as_dict", "extract", "reader_for"]

_readers: dict[tuple[str | None, str | None], UsageReader] = {}
_READERS_MOST: Final = 1000


def extract(body: object, *, provider: str | None = None, host: str | None = None, api: str | None = None) -> Extracted:
    """Read the usage out of an answer: a dict, its JSON text, or an SDK's object that can dump itself.

    `api` names the wire format; absent, it is recognised from the body, with the provider's own formats preferred.
    An answer out of a batch's result file has `params["batch"]`.
    """
    if type(body) is not dict:
        body = as_dict(body)
        if type(body) is not dict:
            return Extracted(None, Source.NONE, reason="the answer is not a JSON object")
    if provider is None and host is not None:
        endpoint = load_providers().for_host(host, "")
        provider = endpoint.provider_id if endpoint is not None else None
    # An answer has its usage at its top; the one object of a batch that has it too names the endpoint.
    if ("usage" not in body or "endpoint" in body) and not _line_heads().isdisjoint(body):
        from tokenmeter.wire.batch_lines import unwrap

        line = unwrap(body)
        if line is not None:
            return _batch(line, provider, api)
    reader = _readers.get((provider, api))
    if reader is not None:
        answer = reader.read(body)
        if answer.usage is not None:
            return answer
    return _extract(body, provider, api)


def _extract(body: dict[str, Any], provider: str | None, api: str | None) -> Extracted:
    reader = _readers.get((provider, api)) or reader_for(provider, api, body, last=True)
    if reader is None:
        error = refusal(body)
        reason = f"the answer is an error ({error})" if error else "no known wire format: say which with api"
        return Extracted(None, Source.NONE, raw=body.get("usage"), reason=reason, error=error)
    answer = reader.read(body)
    if answer.usage is None and answer.raw is not None and answer.vendor_cost is None:
        return _otherwise(answer, body, provider)
    return answer


@functools.cache
def _line_heads() -> frozenset[str]:
    return load_apis().line_heads


def _batch(line: BatchLine, provider: str | None, api: str | None) -> Extracted:
    """The answers of a batch's result, as one."""
    answers = [_extract(body, provider, api) for body in line.answers]
    if not answers:
        error = line.error or "error"
        reason = f"the batch's line is an error ({error}) without usage"
        return Extracted(None, Source.NONE, reason=reason, error=error, params={"batch": True})
    answer = answers[0]
    if len(answers) > 1:
        answer = added_up(answers, flag=f"several_answers: the usage is the sum of {len(answers)} answers")
    return answer._replace(params={**answer.params, "batch": True}, error=answer.error or line.error)


def _otherwise(answer: Extracted, body: dict[str, Any], provider: str | None) -> Extracted:
    """An answer whose usage is not of the named format: read as what it looks like, if that reads."""
    looks = load_apis().guess(body)
    reader = reader_for(provider, looks) if looks is not None and looks != answer.api else None
    other = reader.read(body) if reader is not None else answer
    if other.usage is None or (reader is not None and reader.api.fixed and not _takes_only_input(answer.api)):
        return answer  # a lone total beside text is no total of an embedding
    return other._replace(flags=(*other.flags, f"other_format: asked as {answer.api}, the usage is {looks}'s"))


def _takes_only_input(api: str | None) -> bool:
    known = load_apis().get(api)
    return known is not None and bool(known.fixed)


def reader_for(
    provider: str | None, api: str | None, body: dict[str, Any] | None = None, *, last: bool = False
) -> UsageReader | None:
    """The compiled reader of one vendor's dialect of a wire format; None where neither name nor body identifies it.

    `last` settles for the provider's most likely format where the body identifies none.
    """
    reader = _readers.get((provider, api))
    if reader is not None:
        return reader
    apis = load_apis()
    known = load_providers().get(provider)
    format_ = apis.get(api)
    if format_ is None or format_.guess:
        prefer = known.apis if known is not None else ()
        guessed = apis.get(apis.guess(body, prefer)) if body is not None else None
        if guessed is None and last:
            guessed = format_ or (apis.get(prefer[0]) if prefer else None)
        return _compiled(known.id if known is not None else None, guessed.id) if guessed is not None else None
    reader = _compiled(known.id if known is not None else None, format_.id)
    if len(_readers) < _READERS_MOST:  # names come from callers: bounded
        _readers[provider, api] = reader
    return reader


@functools.cache
def _compiled(provider: str | None, api: str) -> UsageReader:
    format_ = load_apis().by_id[api]
    known = load_providers().get(provider)
    if known is None:
        return UsageReader(format_)
    return UsageReader(format_.for_provider(known.usage.get("*", EMPTY)).for_provider(known.usage.get(api, EMPTY)))


def as_dict(body: object) -> object:
    """JSON text, or the object of an SDK, as plain data; None where it cannot be."""
    if isinstance(body, str | bytes | bytearray):
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            return None
    if isinstance(body, dict):
        return dict(body)
    if isinstance(body, Mapping):
        with guard("reading a response object"):
            return dict(body)
        return None
    dump = getattr(body, "model_dump", None) or getattr(body, "to_dict", None) or getattr(body, "dict", None)
    if callable(dump):
        with guard("reading a response object"):
            return dump()
    return None
