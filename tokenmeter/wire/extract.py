"""A vendor's answer → `Usage`, by declared paths.

`extract` finds out which wire format an answer is in and hands it to that format's compiled `Reader`, with what the
vendor says beyond the format laid over it. Which field means what is data: `apis/*.toml` and `providers/*.toml`.

No input makes it raise. An answer that cannot be read says why in `reason`.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from tokenmeter._support.guard import guard
from tokenmeter.providers.registry import load_providers
from tokenmeter.usage import Source
from tokenmeter.wire.formats import load_apis
from tokenmeter.wire.usage_reader import Extracted, Reader

__all__ = ["Extracted", "as_dict", "extract", "reader_for"]

_EMPTY: Final[Mapping[str, Any]] = MappingProxyType({})
_readers: dict[tuple[str | None, str | None], Reader] = {}
_READERS_MOST: Final = 1000


def extract(body: object, *, provider: str | None = None, host: str | None = None, api: str | None = None) -> Extracted:
    """Read the usage out of an answer: a dict, its JSON text, or an SDK's object that can dump itself.

    `api` names the wire format; absent, it is told from the body, with the provider's own formats preferred.
    """
    if type(body) is not dict:
        body = as_dict(body)
        if type(body) is not dict:
            return Extracted(None, Source.NONE, reason="the answer is not a JSON object")
    if provider is None and host is not None:
        endpoint = load_providers().for_host(host, "")
        provider = endpoint.provider_id if endpoint is not None else None
    reader = _readers.get((provider, api)) or reader_for(provider, api, body, last=True)
    if reader is None:
        return Extracted(None, Source.NONE, raw=body.get("usage"), reason="no known wire format: say which with api")
    answer = reader.read(body)
    if answer.usage is None and answer.raw is not None and answer.vendor_cost is None:
        return _otherwise(answer, body, provider)
    return answer


def _otherwise(answer: Extracted, body: dict[str, Any], provider: str | None) -> Extracted:
    """An answer whose usage is not of the named format: read as what it looks like, if that reads."""
    looks = load_apis().guess(body)
    reader = reader_for(provider, looks) if looks is not None and looks != answer.api else None
    other = reader.read(body) if reader is not None else answer
    if other.usage is None:
        return answer
    return other._replace(flags=(*other.flags, f"other_format: asked as {answer.api}, the usage is {looks}'s"))


def reader_for(
    provider: str | None, api: str | None, body: dict[str, Any] | None = None, *, last: bool = False
) -> Reader | None:
    """The compiled reader of one vendor's dialect of a wire format; None where neither name nor body tells it.

    `last` settles for the provider's most likely format where the body tells nothing.
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
def _compiled(provider: str | None, api: str) -> Reader:
    format_ = load_apis().by_id[api]
    known = load_providers().get(provider)
    return Reader(format_.for_provider(known.usage.get(api, _EMPTY)) if known is not None else format_)


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
