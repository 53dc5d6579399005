"""Records of a batch's results: each answer in a result file, or in a batch object, is one call at the batch price."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from tokenmeter._support.guard import guard
from tokenmeter.calls.response import ObjectReading, as_plain
from tokenmeter.record import End
from tokenmeter.wire.batch_lines import unwrap
from tokenmeter.wire.extract import as_dict

if TYPE_CHECKING:
    from tokenmeter.calls.opencall import OpenCall

__all__ = ["observe_batch"]

_BATCH: Final[Mapping[str, Any]] = {"batch": True}


def observe_batch(results: object, open_call: Callable[[], OpenCall]) -> int:
    """Make a record of each answer in `results`, and say how many were made. Nothing is raised.

    A line that failed at the vendor is a record that ended in an error. Lines without text are skipped.
    """
    made = 0
    with guard("observing a batch"):
        for body in _bodies(results):
            for answer in _answers(body):
                call = open_call()
                call.by_hand, call.held, call.observed = True, [], True
                call.params = _BATCH
                call.reading = ObjectReading(answer, call.provider, call.api, call.request_model)
                call.close(End.COMPLETE)
                made += 1
    return made


def _bodies(results: object) -> Iterator[object]:
    """The lines of a file, a text or a list; an object of a batch is its own only line."""
    if isinstance(results, bytes | bytearray):
        results = bytes(results).decode("utf-8", "replace")
    if isinstance(results, str):
        whole = as_dict(results)
        lines: Iterable[object] = [whole] if isinstance(whole, dict) else results.splitlines()
    elif isinstance(results, Mapping) or not isinstance(results, Iterable) or hasattr(results, "model_dump"):
        lines = [results]
    else:
        lines = results
    for line in lines:
        if not isinstance(line, str | bytes) or line.strip():
            plain = as_plain(line)
            yield as_dict(plain) or plain


def _answers(body: object) -> tuple[object, ...]:
    """The answers in a line, each by itself; the line where it holds one, or is none that is known."""
    line = unwrap(body) if isinstance(body, dict) else None
    return line.answers if line is not None and len(line.answers) > 1 else (body,)
