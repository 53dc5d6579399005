"""Takes files of recorded HTTP calls apart: VCR cassettes (YAML, JSON), HAR, nock and request fixtures, OTLP traces.

    read_file(path) -> exchanges and spans, each with its place in the file

VCR is vcrpy's and pytest-recording's `interactions` and Ruby's `http_interactions`; a fixture is an object, or a list
of them, with `request` and `response` (respx, aioresponses and responses have no form of their own, and tests write
these). A trace is OTLP in JSON, whole or a line each. Headers are read for the date and the encoding, and not kept.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tokenmeter.errors import ConfigurationError

__all__ = ["SUFFIXES", "Exchange", "Span", "read_file"]

SUFFIXES: Final = (".yaml", ".yml", ".json", ".jsonl", ".har")
"""Files of recordings end so."""
_DECODED: Final = ("parsed_body", "json")
"""Bodies that a recorder has decoded: the value is the body."""
_ENCODED: Final = ("body", "content", "text", "string")
_WRAPPER: Final = {
    "encoding",
    "string",
    "base64_string",
    "mimeType",
    "text",
    "size",
    "params",
    "compression",
    "comment",
}
"""What a recorder writes around a body; any other mapping is the body itself."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One HTTP call as recorded. Bodies are bytes, or JSON values where the recording holds them so."""

    place: str
    url: str
    request: Any
    status: int
    response: Any
    content_type: str | None = None
    at: str | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """One span of a trace, its attributes as plain values."""

    place: str
    attributes: Mapping[str, Any]
    at: int | None = None


def read_file(path: Path) -> list[Exchange | Span]:
    """What a file holds; empty where it is no recording. Raises ConfigurationError where it cannot be read."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}") from None
    if path.suffix in (".yaml", ".yml"):
        return list(_recorded(_yaml(text, path), path.name))
    try:
        return list(_recorded(json.loads(text), path.name))
    except (ValueError, RecursionError):
        return [found for value in _lines(text, path) for found in _recorded(value, path.name)]


def _yaml(text: str, path: Path) -> Any:
    try:
        import yaml
    except ImportError:
        raise ConfigurationError(f"{path}: reading YAML needs PyYAML: pip install pyyaml") from None
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(text, loader)
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigurationError(f"{path}: not YAML ({error})") from None


def _lines(text: str, path: Path) -> Iterator[Any]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                yield json.loads(line)
            except (ValueError, RecursionError) as error:
                raise ConfigurationError(f"{path}:{number}: not JSON ({error})") from None


def _recorded(value: Any, place: str) -> Iterator[Exchange | Span]:
    if isinstance(value, Mapping):
        if isinstance(value.get("resourceSpans"), list):
            yield from _spans(value, place)
            return
        log = value.get("log")
        for given in (value.get("interactions"), value.get("http_interactions"), value.get("recordings")):
            if isinstance(given, list):
                value = given
                break
        else:
            value = log["entries"] if isinstance(log, Mapping) and isinstance(log.get("entries"), list) else [value]
    for index, one in enumerate(value if isinstance(value, list) else ()):
        if isinstance(one, Mapping):
            found = _exchange(one, f"{place}#{index + 1}")
            if found is not None:
                yield found


def _exchange(one: Mapping[str, Any], place: str) -> Exchange | None:
    if isinstance(one.get("scope"), str) and "path" in one:  # nock
        one = {
            "request": {"url": one["scope"] + str(one["path"]), "body": one.get("body")},
            "response": {"status": one.get("status"), "body": one.get("response")},
        }
    request, response = one.get("request"), one.get("response")
    if not isinstance(request, Mapping) or response is None:
        return None
    if not _is_http(response):
        response = {"status": 200, "body": response}
    url = request.get("uri") or request.get("url") or one.get("uri") or one.get("url") or ""
    asked = request if url or {"body", "postData", *_DECODED} & request.keys() else {"body": request}
    asked = asked["postData"] if isinstance(asked.get("postData"), Mapping) else asked
    headers = _headers(response.get("headers"))
    said = response["content"] if isinstance(response.get("content"), Mapping) else response
    status = response.get("status", response.get("status_code", 200))
    status = status.get("code") if isinstance(status, Mapping) else status
    when = headers.get("date") or one.get("recorded_at") or one.get("startedDateTime") or one.get("date")
    return Exchange(
        place,
        str(url),
        _body(asked, None),
        status if isinstance(status, int) else 200,
        _body(said, headers.get("content-encoding")),
        headers.get("content-type"),
        str(when) if when else None,
    )


def _is_http(response: Any) -> bool:
    """Whether it is a recorded response, rather than the body of one."""
    if not isinstance(response, Mapping):
        return False
    status = response.get("status", response.get("status_code"))
    return isinstance(status, int | Mapping) or bool({"headers", "body", *_DECODED} & response.keys())


def _headers(given: Any) -> dict[str, str]:
    """Headers by lower-case name, of a mapping to values or lists, or HAR's list."""
    pairs: list[tuple[Any, Any]] = list(given.items()) if isinstance(given, Mapping) else []
    if isinstance(given, list):
        pairs = [(one.get("name"), one.get("value")) for one in given if isinstance(one, Mapping)]
    found = {}
    for name, value in pairs:
        first = value[0] if isinstance(value, list) and value else value
        if isinstance(name, str) and isinstance(first, str):
            found[name.lower()] = first
    return found


def _body(holder: Mapping[str, Any], encoding: str | None) -> Any:
    """A body as bytes, or as the JSON value that the recording holds."""
    for name in _DECODED:
        if holder.get(name) is not None:
            return holder[name]
    body = next((holder[name] for name in _ENCODED if holder.get(name) is not None), None)
    in_base64 = holder.get("encoding") == "base64"
    if isinstance(body, Mapping) and body.keys() <= _WRAPPER:
        in_base64 = "base64_string" in body or body.get("encoding") == "base64"
        body = next((body[name] for name in ("base64_string", "string", "text") if body.get(name) is not None), None)
    if isinstance(body, str) and in_base64:
        try:
            body = base64.b64decode(body)
        except (binascii.Error, ValueError):
            return None
    if isinstance(body, str):
        body = body.encode("utf-8", "replace")
    return _decoded(body, encoding) if isinstance(body, bytes) else body


def _decoded(data: bytes, encoding: str | None) -> bytes:
    """Without the compression that some recorders keep; unchanged where there is none after all."""
    try:
        if data[:2] == b"\x1f\x8b":
            return gzip.decompress(data)
        return zlib.decompress(data) if encoding == "deflate" else data
    except (OSError, EOFError, zlib.error):
        return data


def _spans(trace: Mapping[str, Any], place: str) -> Iterator[Span]:
    index = 0
    for resource in _list(trace, "resourceSpans"):
        for scope in (*_list(resource, "scopeSpans"), *_list(resource, "instrumentationLibrarySpans")):
            for span in _list(scope, "spans"):
                index += 1
                attributes = {one["key"]: _value(one.get("value")) for one in _list(span, "attributes") if "key" in one}
                for event in _list(span, "events"):  # messages may be on an event instead
                    for one in _list(event, "attributes"):
                        attributes.setdefault(one.get("key"), _value(one.get("value")))
                if any(str(name).startswith("gen_ai.usage.") for name in attributes):
                    start = span.get("startTimeUnixNano")
                    at = int(start) if str(start).isdigit() else None
                    yield Span(f"{place}#span {index}", attributes, at)


def _list(value: Any, name: str) -> list[Any]:
    found = value.get(name) if isinstance(value, Mapping) else None
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def _value(value: Any) -> Any:
    """A plain value of OTLP's tagged one."""
    if not isinstance(value, Mapping):
        return value
    if "intValue" in value:
        return int(value["intValue"])
    if isinstance(value.get("arrayValue"), Mapping):
        return [_value(one) for one in _list(value["arrayValue"], "values")]
    if isinstance(value.get("kvlistValue"), Mapping):
        return {one.get("key"): _value(one.get("value")) for one in _list(value["kvlistValue"], "values")}
    return next((value[name] for name in ("stringValue", "doubleValue", "boolValue") if name in value), None)
