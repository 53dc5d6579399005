"""Recorded requests beside a ledger: what the tokenizer and the tool rendering of another model make of each.

A line of the file is JSON as `tokenmeter count --jsonl` reads it: `id` (the call's or the vendor's), `request` as it
was sent, and maybe `api` and `output`. The file is read once for the place of each id; a line is read again when its
call is priced, so that memory does not grow with what was said.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, NamedTuple, Self

from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.valuation.token_ratios import TokenRatio
from tokenmeter.tokens.requests.count import explain_output, explain_request

__all__ = ["RecordedRequests", "Recount", "RequestProblem", "recount"]

_MOST_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class RequestProblem:
    """A line that cannot be used, and the field that is wrong; the others are."""

    line: int
    field: str | None
    message: str


class Recount(NamedTuple):
    """A request as another model counts it: input tokens, of which `tools` are definitions of tools.

    `source_tools` are those of the model that was called. `output` is how many tokens the answer makes for each of
    the model that was called, None where the file does not have the answer.
    """

    low: int
    likely: int
    high: int
    tools: int
    source_tools: int
    output: TokenRatio | None


class RecordedRequests:
    """A file of requests by the ids of their calls. Closes its file as a context manager."""

    def __init__(self, path: str) -> None:
        """Read the ids. Raises ConfigurationError for a file that cannot be read."""
        self.problems: list[RequestProblem] = []
        self.used = 0
        self._places: dict[str, tuple[int, int]] = {}
        self._file = _opened(path)
        place = 0
        for number, line in enumerate(self._file, 1):
            if line.strip():
                try:
                    self._places[_checked(_parsed(line))["id"]] = (place, len(line))
                except _LineProblem as problem:
                    self.problems.append(RequestProblem(number, problem.field, str(problem)))
            place += len(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._places)

    def find(self, ids: Iterable[str | None]) -> Mapping[str, Any] | None:
        """The line of a call that has one of these ids."""
        for name in ids:
            found = self._places.get(name or "")
            if found is not None:
                self._file.seek(found[0])
                self.used += 1
                return _parsed(self._file.read(found[1]))
        return None


def _opened(path: str) -> BinaryIO:
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise ConfigurationError(f"--requests: {path} cannot be read: {error.strerror}") from None


class _LineProblem(ValueError):
    def __init__(self, field: str | None, message: str) -> None:
        super().__init__(message)
        self.field = field


def _parsed(line: bytes) -> dict[str, Any]:
    if len(line) > _MOST_BYTES:
        raise _LineProblem(None, f"the line is {len(line)} bytes long; at most {_MOST_BYTES} are read")
    try:
        value = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise _LineProblem(None, f"is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise _LineProblem(None, "holds no JSON object")
    return value


def _checked(line: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(line.get("id"), str) or not line["id"]:
        raise _LineProblem("id", "must be the id of the call, or the vendor's id of its answer")
    if not isinstance(line.get("request"), Mapping):
        raise _LineProblem("request", "must be the body as it was sent, an object")
    output = line.get("output")
    if not isinstance(output, Mapping | None) or not isinstance((output or {}).get("tool_calls"), list | None):
        raise _LineProblem("output", "must be an object with text, reasoning or a list of tool_calls")
    if not isinstance(line.get("api"), str | None):
        raise _LineProblem("api", "must be a name such as 'openai.chat'")
    return line


def recount(
    line: Mapping[str, Any], source: tuple[str | None, str], target: tuple[str, str], day: str
) -> Recount | str:
    """A line as the target (provider, model) counts it on a day; a text says why it cannot be counted."""
    request, api = line["request"], line.get("api")
    here = explain_request(request, provider=target[0], model=target[1], api=api, at=day)
    count = here.count
    if count.tokens is None or count.low is None or count.high is None:
        return f"requests cannot be counted for {target[1]}: {count.reason or 'no vocabulary'}"
    there = explain_request(request, provider=source[0], model=source[1], api=api, at=day)
    return Recount(
        count.low, count.tokens, count.high, _tools(here.items), _tools(there.items),
        _output_ratio(line, source, target, day),
    )  # fmt: skip


def _tools(items: Iterable[Any]) -> int:
    return sum(item.tokens for item in items if item.part == "tools")


def _output_ratio(
    line: Mapping[str, Any], source: tuple[str | None, str], target: tuple[str, str], day: str
) -> TokenRatio | None:
    counts = list(_outputs(line, source, target, day))
    if len(counts) != 2 or any(not one.tokens for one in counts):
        return None
    there, here = counts
    return TokenRatio(*(Fraction(tokens or 0, there.tokens or 1) for tokens in (here.low, here.tokens, here.high)))


def _outputs(
    line: Mapping[str, Any], source: tuple[str | None, str], target: tuple[str, str], day: str
) -> Iterator[Any]:
    output = line.get("output")
    if not output:
        return
    text, reasoning = (value if isinstance(value := output.get(name), str) else "" for name in ("text", "reasoning"))
    calls = [one for one in output.get("tool_calls") or () if isinstance(one, Mapping)]
    for provider, model in (source, target):
        yield explain_output(
            model=model, provider=provider, api=line.get("api"), text=text, reasoning=reasoning, tool_calls=calls,
            request=line["request"], at=day,
        ).count  # fmt: skip
