"""Meter Amazon Bedrock by boto3: `converse`, `invoke_model` and the streams of both.

`BaseClient._make_api_call` is what every method of every AWS client passes once; clients of other services are let
through at the first line. botocore tries again below it, and says so in events of the client: each try is an attempt.

A stream comes back as botocore's own `EventStream` or `StreamingBody`; only the bytes it reads are listened to. What
`invoke_model` answers is the model vendor's own format, whose counts Bedrock repeats in headers: the body is read, and
the headers are what is left where it says nothing.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from tokenmeter._support.guard import guard
from tokenmeter.calls.accounts import note_account
from tokenmeter.calls.budget_gate import admit
from tokenmeter.calls.context import leave
from tokenmeter.calls.response import BodyReading, ObjectReading
from tokenmeter.calls.stream_response import StreamReading
from tokenmeter.clients.support import hooks
from tokenmeter.clients.support.current_call import CurrentCallBlock
from tokenmeter.clients.support.stream_errors import watching
from tokenmeter.clients.transport import botocore
from tokenmeter.clients.transport.attempts import RequestInFlight, answered, failed
from tokenmeter.clients.transport.botocore import Tee
from tokenmeter.clients.transport.tee import call_of_body
from tokenmeter.record import Attempt, End
from tokenmeter.usage import Source
from tokenmeter.wire.extract import extract

if TYPE_CHECKING:
    from tokenmeter.calls.opencall import OpenCall
    from tokenmeter.calls.protocols import Meter
    from tokenmeter.calls.route import Route
    from tokenmeter.usage import Usage

__all__ = ["install", "mark"]

SERVICE: Final = "bedrock-runtime"
PROVIDER: Final = "aws-bedrock"
_PATHS: Final[Mapping[str, str]] = {
    "Converse": "/converse",
    "ConverseStream": "/converse-stream",
    "InvokeModel": "/invoke",
    "InvokeModelWithResponseStream": "/invoke-with-response-stream",
}
_STREAM_TYPE: Final = "application/vnd.amazon.eventstream"
_LISTENS: Final = "_tokenmeter_listens"


def install() -> None:
    """Put the hooks in place, now or when the SDK is imported."""
    hooks.on_import("botocore.client", _hook)
    hooks.on_import("botocore.eventstream", _hook_streams)


def mark(client: Any, made: hooks.Mark) -> None:
    """Meter this client's calls of models."""
    hooks.mark(client, made)
    if hooks.is_unknown("botocore"):
        botocore.mark(client, made.for_sdk())


def _hook(module: Any) -> None:
    owner = getattr(module, "BaseClient", None)
    if owner is None or not hooks.patch(owner, "_make_api_call", _make_api_call):
        hooks.unknown_version("botocore", "BaseClient._make_api_call")
        botocore.install()


def _hook_streams(module: Any) -> None:
    owner = getattr(module, "EventStream", None)
    if owner is not None:
        hooks.patch(owner, "__iter__", watching(_call_of_stream))


def _call_of_stream(stream: Any) -> OpenCall | None:
    return call_of_body(stream._raw_stream)


# One call -------------------------------------------------------------------------------------------------------


def _make_api_call(call_api: Callable[..., Any]) -> Callable[..., Any]:
    def metered(self: Any, operation_name: Any, api_params: Any, *args: Any, **kwargs: Any) -> Any:
        call = None
        if operation_name in _PATHS:
            with guard("opening a call"):
                call = _open(self, operation_name, api_params)
        if call is None:
            return call_api(self, operation_name, api_params, *args, **kwargs)
        admit(call)
        # botocore tells of its attempts by events; what it sends through `http.client` meanwhile is those attempts.
        with CurrentCallBlock(call), RequestInFlight(), _Tries(call) as tries:
            result = call_api(self, operation_name, api_params, *args, **kwargs)
        with guard("following an answer"):
            tries.answered(result)
            _follow(call, operation_name, result)
        return result

    return metered


def _open(client: Any, operation: str, params: Any) -> OpenCall | None:
    meter = hooks.meter_for(client)
    if meter is None or client.meta.service_model.service_name != SERVICE:
        return None
    route = _route(meter, client, _PATHS[operation])
    if route is None:
        return None
    body = _body(params)
    model = params.get("modelId") if isinstance(params, Mapping) else None
    # An ARN names the model, or an inference profile, after its last slash.
    named = str(model).rpartition("/")[2] if model is not None else None
    call = meter.open_call(route, named, stream=operation.endswith("Stream"), body=body)
    call.request = body
    if _LISTENS not in client.__dict__:
        client.__dict__[_LISTENS] = True
        client.meta.events.register(f"before-send.{SERVICE}", _sending, unique_id="tokenmeter-before-send")
        client.meta.events.register(f"response-received.{SERVICE}", _received, unique_id="tokenmeter-received")
    return call


def _route(meter: Meter, client: Any, path: str) -> Route | None:
    address = urlsplit(client.meta.endpoint_url)
    found = hooks.mark_of(client)
    host, region = address.hostname or "", client.meta.region_name
    route = meter.route(host, address.port, "", path, found, any_host=True)
    if route is not None and route.provider is not None:
        return route
    # An address of one's own (a private endpoint, a proxy): Bedrock bills all the same.
    return meter.route(host, address.port, "", path, _billed_by(PROVIDER, region), any_host=True)


@functools.cache
def _billed_by(provider: str, region: str | None) -> hooks.Mark:
    # One object for each region: routes are remembered by it.
    return hooks.Mark(None, provider, region)


def _body(params: Any) -> Any:
    """What is sent, as far as it says anything: invoke_model is given the model's own body as bytes."""
    body = params.get("body") if isinstance(params, Mapping) else None
    if isinstance(body, str | bytes):
        import json

        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            return None
    return params if body is None else None


# Attempts -------------------------------------------------------------------------------------------------------


class _Tries:
    """The attempts of one call, as botocore's events tell them."""

    def __init__(self, call: OpenCall) -> None:
        self.call = call

    def __enter__(self) -> _Tries:
        self.started = time.time_ns()
        self.outer = _TRIES.get()
        _TRIES.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        leave(_TRIES, self, self.outer)
        if error is not None:
            with guard("noting a failed attempt"):
                self.raised(error)

    def answered(self, result: Any) -> None:
        """Of a botocore that tells no events, what its answer says is all there is."""
        about = result.get("ResponseMetadata", {}) if isinstance(result, Mapping) else {}
        call = self.call
        if call.attempts:
            return
        for _ in range(about.get("RetryAttempts", 0)):
            reason = "tried again by botocore: whether it was billed is not known"
            call.attempts.append(Attempt(None, None, self.started, 0, None, False, reason))
        answered(call, False, self.started, about.get("HTTPStatusCode", 200), about.get("RequestId"))

    def raised(self, error: BaseException) -> None:
        if not self.call.attempts:
            about = getattr(error, "response", None) or {}
            status = about.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if isinstance(status, int):
                answered(self.call, False, self.started, status, None)


_TRIES: Final[ContextVar[_Tries | None]] = ContextVar("tokenmeter.bedrock_tries", default=None)


def _sending(request: Any = None, **_: Any) -> None:
    tries = _TRIES.get()
    if tries is not None:
        tries.started = time.time_ns()
        note_account(tries.call, getattr(request, "headers", None))


def _received(response_dict: Any = None, exception: Any = None, **_: Any) -> None:
    tries = _TRIES.get()
    if tries is None:
        return
    with guard("noting an attempt"):
        if response_dict is None:
            failed(tries.call, False, tries.started, exception or ConnectionError())
            return
        headers = response_dict.get("headers") or {}
        call, body = tries.call, response_dict.get("body")
        answered(call, False, tries.started, response_dict.get("status_code", 0), headers.get("x-amzn-requestid"))
        if isinstance(body, bytes) and call.status_code == 200:
            # As it came: what an older botocore has not heard of is not in what it returns.
            call.reading = BodyReading(call.provider, call.api, call.request_model, body)


# Answers --------------------------------------------------------------------------------------------------------


def _follow(call: OpenCall, operation: str, result: Any) -> None:
    provider, api, model = call.provider, call.api, call.request_model
    body = result.get("stream") if operation == "ConverseStream" else result.get("body")
    if operation == "Converse":
        call.reading = call.reading or ObjectReading(result, provider, api, model)
        call.lifecycle.settle(call, End.COMPLETE)
        return
    reading: BodyReading | StreamReading
    if operation == "InvokeModel":
        headers = result.get("ResponseMetadata", {}).get("HTTPHeaders")
        reading = _InvokedReading(provider, api, model, headers)
    else:
        reading = StreamReading(provider, api, model, _STREAM_TYPE)
    if not hasattr(body, "_raw_stream"):
        hooks.unknown_version("botocore", "EventStream._raw_stream")
        call.lifecycle.settle(call, End.COMPLETE)
        return
    tee = Tee()
    tee.listen(body._raw_stream, call, reading)
    body._raw_stream = tee


class _InvokedReading(BodyReading):
    """A body in the model vendor's format, beside headers that Bedrock counts in."""

    def __init__(self, provider: str | None, api: str | None, model: str | None, headers: Any) -> None:
        super().__init__(provider, api, model)
        self._headers = headers

    def usage(self, end: End) -> tuple[Usage, str | None]:
        usage, reason = super().usage(end)
        if usage.source is not Source.NONE:
            return usage, reason
        return self._took(extract({"headers": self._headers}, provider=PROVIDER, api="bedrock.headers"))
