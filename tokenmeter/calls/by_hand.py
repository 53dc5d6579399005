"""`call(...)`: one call metered by hand, for SDKs, transports and services that no hook meters.

    with tokenmeter.call(provider="iflytek", model="spark-x2", request=payload) as call:
        call.observe(reply)

As a decorator, the function makes one call by any means and its return value is read; a generator's values are read
as the events of a stream. If other metered calls happen inside, they carry the usage and this one is `delegated`,
unless `observe`, `observe_text` or `observe_usage` was called: then this one carries it, and they are delegated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tokenmeter._support.arguments import check_text
from tokenmeter._support.guard import guard
from tokenmeter._support.worker import worker
from tokenmeter.calls.block import Block
from tokenmeter.calls.budget_gate import admit, admit_async
from tokenmeter.calls.context import HAND, TAGS, leave
from tokenmeter.calls.hints import observed_late
from tokenmeter.calls.scope import SCOPE
from tokenmeter.errors import ConfigurationError, UsageError
from tokenmeter.record import End, end_of
from tokenmeter.usage import Usage
from tokenmeter.wire.formats import load_apis

if TYPE_CHECKING:
    from tokenmeter.calls.lifecycle import Lifecycle, OpenCall
    from tokenmeter.calls.route import Route

__all__ = ["Call", "CallBlock", "check_call"]


class Call:
    """An open hand-made call. Nothing needs to be observed.

    What is observed last counts, but replies that are different answers (each has its id and its usage) add up.
    """

    def __init__(self, open_call: OpenCall) -> None:
        self._call = open_call

    @property
    def id(self) -> str:
        """The id that the record will have."""
        return self._call.id

    def observe(self, reply: object) -> None:
        """Read the usage of a reply: a mapping, JSON text or bytes, or an SDK's object.

        A reply that cannot be read is noted in the record; nothing is raised.
        """
        from tokenmeter.calls.response import ObjectReading

        self._in_time("observe")
        with guard("observing a reply"):
            call = self._call
            call.observed = True
            if isinstance(call.reading, ObjectReading):
                call.reading.then(_parsed(reply))
            else:
                call.reading = ObjectReading(_parsed(reply), call.provider, call.api, call.request_model)

    def observe_event(self, event: object) -> None:
        """Read one event of a stream: a mapping, a `data:` string or an SDK's chunk."""
        from tokenmeter.calls.stream_response import StreamReading

        self._in_time("observe_event")
        with guard("observing an event"):
            call = self._call
            if not isinstance(call.reading, StreamReading):
                call.reading = StreamReading(call.provider, call.api, call.request_model, "text/event-stream")
                call.stream = True
            call.observed = True
            call.reading.feed_event(event)

    def observe_text(self, text: str) -> None:
        """Count a piece of the answer's text, where no usage is to be had. The text is counted and not kept.

        Raises UsageError if `text` is not a string.
        """
        if not isinstance(text, str):
            raise UsageError(f"observe_text takes text, not a {type(text).__name__}; use observe(reply) for a reply")
        from tokenmeter.calls.response import TextReading
        from tokenmeter.tokens import OutputCounter

        self._in_time("observe_text")
        with guard("observing text"):
            call = self._call
            if not isinstance(call.reading, TextReading):
                call.reading = TextReading(
                    OutputCounter(model=call.request_model or "", provider=call.provider, api=call.api)
                )
            call.observed = True
            call.reading.feed(text)

    def observe_usage(self, usage: Usage | Mapping[str, Any]) -> None:
        """Take a usage as reported: a `Usage`, or its JSON form. Raises UsageError naming a bad field."""
        self._in_time("observe_usage")
        self._call.usage_override = usage if isinstance(usage, Usage) else Usage.from_dict(usage)
        self._call.observed = True

    def observe_request(self, request: object) -> None:
        """Read the request as sent: what its price depends on, and its text where the vendor reports no tokens.

        The request is not kept after the call.
        """
        self._in_time("observe_request")
        with guard("observing a request"):
            self._call.take_request(request)

    def _in_time(self, method: str) -> None:
        if self._call.settled:
            observed_late(method)


def _parsed(reply: object) -> object:
    if isinstance(reply, str | bytes | bytearray):
        import json

        try:
            return json.loads(reply)
        except ValueError:
            return reply
    return reply


class CallBlock(Block[Call]):
    """What `call(...)` returns: enter it, or decorate a function with it."""

    def __init__(
        self,
        lifecycle: Callable[[], Lifecycle],
        route: Callable[[], Route],
        model: str | None,
        stream: bool,
        request: object,
        ask_budgets: Callable[[OpenCall, object], None],
    ) -> None:
        super().__init__()
        self._ask_budgets = ask_budgets
        self._lifecycle = lifecycle
        self._route = route
        self._model = model
        self._stream = stream
        self._request = request

    def _open(self) -> Call:
        call = self._lifecycle().open(
            self._route(), self._model, stream=self._stream, scope=SCOPE.get(), tags=TAGS.get(), parent=HAND.get()
        )
        worker.start()
        call.by_hand = True
        call.held = []
        made = Call(call)
        if self._request is not None:
            made.observe_request(self._request)
        self._ask_budgets(call, self._request)
        return made

    def _admit(self, item: Call) -> None:
        admit(item._call)

    async def _admit_async(self, item: Call) -> None:
        await admit_async(item._call)

    def _enter(self, item: Call) -> tuple[Any, ...]:
        previous = (HAND.get(),)
        HAND.set(item._call)
        if item._call.span is not None:
            with guard("attaching a span"):
                item._call.span.attach()
        return previous

    def _leave(self, item: Call, previous: tuple[Any, ...]) -> None:
        leave(HAND, item._call, previous[0])
        if item._call.span is not None:
            with guard("detaching a span"):
                item._call.span.detach()

    def _is_current(self, item: Call) -> bool:
        return HAND.get() is item._call

    def _returned(self, item: Call, value: Any) -> Any:
        # A return value is read only where nothing was observed: calls made inside keep the usage.
        call = item._call
        if value is not None and call.reading is None and call.usage_override is None and not call.children:
            with guard("observing a return value"):
                if isinstance(value, str) and not value.lstrip().startswith("{"):
                    item.observe_text(value)
                else:
                    item.observe(value)
        return value

    def _yielded(self, item: Call, value: Any) -> None:
        if not item._call.children and value is not None:
            with guard("observing a yielded value"):
                if isinstance(value, str) and not value.lstrip().startswith(("{", "data:", "[DONE]")):
                    item.observe_text(value)
                else:
                    item.observe_event(value)

    def _close(self, item: Call, error: BaseException | None) -> None:
        call = item._call
        if isinstance(error, GeneratorExit) and worker.running:  # it may be the garbage collector that closes
            call.lifecycle.end_later(call, End.CLOSED_EARLY)
        else:
            call.lifecycle.settle(call, end_of(error), error)


def check_call(provider: object, model: object, api: object, region: object = None, operation: object = None) -> None:
    """Raise ConfigurationError for arguments of `call` that no call can have."""
    if not isinstance(provider, str) or not provider:
        raise ConfigurationError(f'call({provider!r}): name who bills and the model: call("deepseek", "deepseek-chat")')
    if model is not None and not isinstance(model, str):
        raise ConfigurationError(f"call(model={model!r}): a model is named by its text, such as 'deepseek-chat'")
    check_text(region, "region", "cn-beijing")
    check_text(operation, "operation", "chat")
    check_api(api, "call")


def check_api(api: object, function: str) -> None:
    """Raise ConfigurationError for what is no wire format."""
    check_text(api, "api", "openai.chat")
    if isinstance(api, str) and api not in load_apis().by_id:
        known = sorted(load_apis().by_id)
        import difflib

        near = difflib.get_close_matches(api, known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"there are {', '.join(known)}"
        raise ConfigurationError(f"{function}(api={api!r}): there is no such wire format; {hint}")
