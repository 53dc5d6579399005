"""`Faults`: knobs of the provider server for the size of answers and for failures.

A knob is set in the model name, `deepseek-chat;fail=2;status=503`, so that any client in any framework can
set it; or for the whole server, `provider_server(status=503)`. The answer names the model without its suffix.
"""

from __future__ import annotations

import types
import typing
from dataclasses import dataclass, fields, replace
from typing import Any, Final

__all__ = ["Faults", "UnknownKnob"]

BAD: Final = ("1", "html", "null", "empty", "list")
USAGE: Final = ("none", "null", "last", "choice", "cumulative", "extra", "asked", "strings", "negative")
LANGUAGES: Final = ("en", "zh", "mixed")


class UnknownKnob(ValueError):
    """Unknown knob or value; the message lists the valid ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Knobs for the answer to one request. Times are milliseconds, positions count events already sent.

    `fail` attempts are refused with `status` before one succeeds; `status` alone refuses all. `hang` and `drop`
    happen after so many events; with 0, before the first byte of the answer. A body that is not a stream hangs
    and drops in its middle.
    """

    fail: int = 0
    status: int | None = None
    ttft: float = 0.0
    """Wait before the first byte of the answer."""
    delay: float = 0.0
    """Wait before each further event."""
    chunks: int | None = None
    """Pieces of text in the answer; 6 where it is not given."""
    frag: int | None = None
    """Send the body in fragments of so many bytes, whatever characters and lines they cut."""
    gzip: bool = False
    drop: int | None = None
    hang: int | None = None
    err: int | None = None
    """Send an error event after so many events, and end the stream."""
    bad: str | None = None
    """`1` an event (or a body) cut short, `html` a page for a body, `null` `choices: [null]`, `empty` no body,
    `list` an array where an object is due."""
    usage: str | None = None
    """Where the usage stands, instead of where the provider puts it; or `strings`, `negative`, `null`, `none`."""
    lang: str = "en"
    tokens_in: int = 24
    tokens_out: int = 12
    cached: int = 8
    reasoning: int = 0

    def __post_init__(self) -> None:
        for name, allowed in (("bad", BAD), ("usage", USAGE), ("lang", LANGUAGES)):
            value = getattr(self, name)
            if value is not None and value not in allowed:
                raise UnknownKnob(f"{name}={value}: use one of {', '.join(allowed)}")

    @property
    def refusal(self) -> int:
        """The status of a refused attempt."""
        return self.status or 500

    def of_model(self, model: str) -> tuple[str, Faults]:
        """The model's bare name, and these faults changed by its suffix. Raises UnknownKnob."""
        name, *knobs = model.split(";")
        changes = dict(_read(knob) for knob in knobs if knob)
        return name, replace(self, **changes) if changes else self


def _kind(annotation: Any) -> type:
    if isinstance(annotation, types.UnionType):
        annotation = next(kind for kind in typing.get_args(annotation) if kind is not type(None))
    return typing.cast("type", annotation)


_KINDS: Final = {name: _kind(hint) for name, hint in typing.get_type_hints(Faults).items()}
_SHORT: Final = {"in": "tokens_in", "out": "tokens_out"}


def _read(text: str) -> tuple[str, Any]:
    knob, _, value = text.partition("=")
    name = _SHORT.get(knob.strip(), knob.strip())
    kind = _KINDS.get(name)
    if kind is None:
        raise UnknownKnob(f"{knob!r} is not a knob; there are {', '.join(field.name for field in fields(Faults))}")
    if kind is bool:
        return name, value.strip() not in ("", "0")
    try:
        return name, kind(value.strip())
    except ValueError:
        raise UnknownKnob(f"{knob}={value!r}: give a number") from None
