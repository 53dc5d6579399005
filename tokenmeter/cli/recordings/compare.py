"""Counts a case and compares the counts with what was billed; names the cause where they differ.

    compare(case) -> {"id", "place", "provider", "model", "api", "at", "input": {…}, "output": {…}|null}
    grouped(results) -> rows of misses with the same rule, kind and cause

A part is `{"reported", "counted", "low", "high", "method", "rule", "inside", "cause"}`. The cause is null where the
count is within two tokens. It is what can be known of one call: something that the body does not show, a rule or a
vocabulary that is not known, or the part beside the text that is likeliest. Whether a difference is the same in many
calls, which makes it a constant of the vendor's, only the group shows.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from tokenmeter.cli.recordings.cases import Case
from tokenmeter.tokens.requests.count import Explained, explain_output, explain_request

__all__ = ["compare", "grouped"]

NEAR: Final = 2
"""Tokens that a count may differ by and be called right."""
_UNSEEN: Final = {
    "server_context": "content that the vendor keeps and the body does not show",
    "builtin_tools": "the vendor's own tools, whose prompt the body does not show",
    "multi_choice": "several answers to one request",
    "request_reconstructed": "a request made again from a trace, which may lack parts",
}
_KINDS: Final = (
    ("calls", "calls in the history"),
    ("results", "results of tools"),
    ("reasoning", "thoughts in the history"),
    ("tools", "tools"),
    ("schema", "a schema"),
)


def compare(case: Case) -> dict[str, Any]:
    """Our counts of a case beside what was billed."""
    reported = case["reported"]
    model = case["model_requested"] or case["model_returned"] or ""
    known = {"provider": case["vendor"], "model": model, "api": case["api"], "at": case["date"]}
    result: dict[str, Any] = {"id": case["id"], "place": case["place"], **known, "input": None, "output": None}
    if reported["input"] and case["request"]:
        found = explain_request(case["request"], **known)
        result["input"] = _part(found, reported["input"], _input_cause(case, found))
    output = case["output"]
    whole = "output_incomplete" not in case["flags"]
    if whole and reported["output"] and any(output[name] for name in ("text", "reasoning", "tool_calls")):
        found = explain_output(
            **known,
            text=output["text"],
            reasoning=output["reasoning"],
            tool_calls=output["tool_calls"],
            request=case["request"],
        )
        visible = reported["output"]
        if "hidden_reasoning" in case["flags"]:
            visible -= reported["reasoning"] or 0
        if visible > 0:
            result["output"] = _part(found, visible, _output_cause(case, found))
    return result


def _part(found: Explained, reported: int, cause: str) -> dict[str, Any]:
    count = found.count
    known = count.tokens is not None and count.low is not None and count.high is not None
    near = count.tokens is not None and abs(count.tokens - reported) <= NEAR
    return {
        "reported": reported,
        "counted": count.tokens,
        "low": count.low,
        "high": count.high,
        "method": count.method,
        "family": count.family,
        "rule": found.rule,
        "inside": (count.low or 0) <= reported <= (count.high or 0) if known else None,
        "cause": None if near else cause,
    }


def _input_cause(case: Case, found: Explained) -> str:
    for flag, cause in _UNSEEN.items():
        if flag in case["flags"]:
            return cause
    if case["has_media"]:
        return "media"
    unknown = _unknown(found)
    if unknown is not None:
        return unknown
    parts = {item.part for item in found.items}
    return next((words for part, words in _KINDS if part in parts), "plain text and its frame")


def _output_cause(case: Case, found: Explained) -> str:
    if "multi_choice" in case["flags"]:
        return _UNSEEN["multi_choice"]
    if "request_reconstructed" in case["flags"]:
        return "an answer read from a trace, which may lack parts"
    unknown = _unknown(found)
    if unknown is not None:
        return unknown
    if case["output"]["tool_calls"]:
        return "calls in the answer"
    return "thoughts in the answer" if case["output"]["reasoning"] else "plain text of the answer"


def _unknown(found: Explained) -> str | None:
    if found.count.skipped:
        return f"not read: {found.count.skipped[0]}"
    if found.rule == "none":
        return "no rule is known for this endpoint"
    if found.count.method in ("stand-in", "ratio"):
        return "the vocabulary is not published"
    return None


def grouped(results: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Misses by provider, rule, side and cause, the most frequent first, with their differences.

    `constant` is the difference that at least three calls, and more than half of the group, have in common.
    """
    groups: dict[tuple[str, str, str, str], list[int]] = defaultdict(list)
    models: dict[tuple[str, str, str, str], set[str]] = defaultdict(set)
    for result in results:
        for side in ("input", "output"):
            part = result[side]
            if part is not None and part["cause"] is not None and part["counted"] is not None:
                key = (str(result["provider"]), part["rule"], side, part["cause"])
                groups[key].append(part["reported"] - part["counted"])
                models[key].add(result["model"])
    rows = []
    for key, misses in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])):
        provider, rule, side, cause = key
        rows.append(
            {
                "provider": provider,
                "rule": rule,
                "side": side,
                "cause": cause,
                "calls": len(misses),
                "least": min(misses),
                "most": max(misses),
                "constant": _constant(misses),
                "models": sorted(models[key]),
            }
        )
    return rows


def _constant(misses: Sequence[int]) -> int | None:
    ((value, times),) = Counter(misses).most_common(1)
    return value if times >= 3 and 2 * times > len(misses) else None
