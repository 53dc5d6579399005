"""Test tools for programs that call models: a local provider server, captured records, a fixed clock.

`provider_server()` answers the real SDKs in the providers' own formats, with faults on demand; `capture()` collects
the records of a block; `FixedClock` sets the time of calls. pytest users have the fixtures `tokenmeter_capture` and
`tokenmeter_provider` (`pytest_plugin.py`). Every name is imported on first use.

Read `server.py` first: `listener.py` is its HTTP side, `wire/` the formats of its answers, `faults.py` the knobs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenmeter.testing.captured import Records as Records
    from tokenmeter.testing.captured import capture as capture
    from tokenmeter.testing.clock import FixedClock as FixedClock
    from tokenmeter.testing.faults import Faults as Faults
    from tokenmeter.testing.listener import Received as Received
    from tokenmeter.testing.reply import Reply as Reply
    from tokenmeter.testing.reply import json_reply as json_reply
    from tokenmeter.testing.reply import sse as sse
    from tokenmeter.testing.reply import sse_reply as sse_reply
    from tokenmeter.testing.server import ProviderServer as ProviderServer
    from tokenmeter.testing.server import provider_server as provider_server

_HOME = {
    "Faults": "faults",
    "FixedClock": "clock",
    "ProviderServer": "server",
    "Received": "listener",
    "Records": "captured",
    "Reply": "reply",
    "capture": "captured",
    "json_reply": "reply",
    "provider_server": "server",
    "sse": "reply",
    "sse_reply": "reply",
}
__all__ = [
    "Faults",
    "FixedClock",
    "ProviderServer",
    "Received",
    "Records",
    "Reply",
    "capture",
    "json_reply",
    "provider_server",
    "sse",
    "sse_reply",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
