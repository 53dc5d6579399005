"""Google's generateContent: camel case, usage metadata in every event, thoughts beside the candidates."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from tokenmeter.testing.ask import Ask
from tokenmeter.testing.dialects import Numbers
from tokenmeter.testing.reply import Reply, json_reply, sse, sse_reply

__all__ = ["API", "PATH", "answer", "refuse"]

API: Final = "gemini.generate"
PATH: Final = re.compile(r"/models/(?P<model>[^/:]+):(?:generateContent|streamGenerateContent)$")


def answer(ask: Ask) -> Reply:
    """Candidates, whole or as a stream of events."""
    if not ask.path.endswith(":streamGenerateContent"):
        return json_reply(_body(ask, _parts(ask), "STOP", ask.numbers))
    parts = _parts(ask)
    steps = [[{"text": word}] for word in ask.words()] if "text" in parts[0] else [parts]
    bodies = [
        _body(ask, parts, "STOP" if number == len(steps) else None, ask.numbers.so_far(number, len(steps)))
        for number, parts in enumerate(steps, 1)
    ]
    return sse_reply([sse(body) for body in bodies], sse(refuse(500, "Internal error")))


def refuse(status: int, message: str) -> dict[str, Any]:
    """Google's error body."""
    kinds = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED"}
    return {"error": {"code": status, "message": message, "status": kinds.get(status, "INTERNAL")}}


def _parts(ask: Ask) -> list[dict[str, Any]]:
    offered = (ask.body.get("tools") or [{}])[0].get("functionDeclarations")
    answered = "functionResponse" in json.dumps(ask.body.get("contents", [])[-1:])
    if offered and not answered:
        return [{"functionCall": {"name": offered[0]["name"], "args": {"city": "杭州"}}}]
    return [{"text": "".join(ask.words())}]


def _body(ask: Ask, parts: list[dict[str, Any]], finish: str | None, numbers: Numbers) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    body: dict[str, Any] = {"candidates": [None] if ask.faults.bad == "null" else [candidate]}
    if ask.faults.usage != "none":
        body["usageMetadata"] = _usage(ask, numbers)
    return {**body, "modelVersion": ask.model, "responseId": ask.id}


def _usage(ask: Ask, numbers: Numbers) -> Any:
    if ask.faults.usage == "null":
        return None
    usage: dict[str, Any] = {
        "promptTokenCount": numbers.input,
        "candidatesTokenCount": numbers.output - numbers.reasoning,
        "totalTokenCount": numbers.input + numbers.output,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": numbers.input}],
    }
    if numbers.cached:
        usage["cachedContentTokenCount"] = numbers.cached
    if numbers.reasoning:
        usage["thoughtsTokenCount"] = numbers.reasoning
    return usage
