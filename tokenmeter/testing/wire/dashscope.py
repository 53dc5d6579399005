"""DashScope's own format: input and parameters apart, a running count of usage in every event of a stream."""

from __future__ import annotations

import re
from typing import Any, Final

from tokenmeter.testing.ask import Ask
from tokenmeter.testing.dialects import Numbers
from tokenmeter.testing.reply import SSE_TYPE, Reply, compact, json_reply

__all__ = ["API", "PATH", "answer", "refuse"]

API: Final = "dashscope.generation"
PATH: Final = re.compile(r"/services/(?:aigc/(?:text|multimodal)-generation/generation|embeddings/.+)$")


def answer(ask: Ask) -> Reply:
    """Text (whole so far, or only what is new with `incremental_output`), or vectors."""
    if "/embeddings/" in ask.path:
        return _vectors(ask)
    words = ask.words()
    if ask.headers.get("x-dashscope-sse", "").lower() != "enable" and not ask.stream:
        return json_reply(_body(ask, "".join(words), "stop", ask.numbers))
    incremental = bool((ask.body.get("parameters") or {}).get("incremental_output"))
    bodies = []
    for number in range(1, len(words) + 1):
        text = words[number - 1] if incremental else "".join(words[:number])
        finish = "stop" if number == len(words) else "null"
        bodies.append(_body(ask, text, finish, ask.numbers.so_far(number, len(words))))
    frames = [_event(number, body) for number, body in enumerate(bodies, 1)]
    failure = _event(len(frames), refuse(500, "Internal server error"), "error", 500)
    bad = b'id:2\nevent:result\n:HTTP_STATUS/200\ndata:{"output": {"te\n\n'
    return Reply(200, frames, SSE_TYPE, True, error_frame=failure, bad_frame=bad)


def refuse(status: int, message: str) -> dict[str, Any]:
    """DashScope's error body."""
    codes = {400: "InvalidParameter", 401: "InvalidApiKey", 429: "Throttling.RateQuota"}
    return {"code": codes.get(status, "InternalError"), "message": message, "request_id": "req-refused"}


def _event(number: int, body: dict[str, Any], name: str = "result", status: int = 200) -> bytes:
    return f"id:{number}\nevent:{name}\n:HTTP_STATUS/{status}\ndata:".encode() + compact(body) + b"\n\n"


def _body(ask: Ask, text: str, finish: str, numbers: Numbers) -> dict[str, Any]:
    wants_message = (ask.body.get("parameters") or {}).get("result_format") == "message"
    if wants_message or "multimodal" in ask.path:
        content: Any = [{"text": text}] if "multimodal" in ask.path else text
        message = {"role": "assistant", "content": content}
        output: dict[str, Any] = {"choices": [{"finish_reason": finish, "message": message}]}
    else:
        output = {"text": text, "finish_reason": finish}
    if ask.faults.bad == "null":
        output = {"choices": [None]}
    body: dict[str, Any] = {"output": output, "request_id": f"req-{ask.id}"}
    if ask.faults.usage != "none":
        body["usage"] = _usage(ask, numbers)
    return body


def _usage(ask: Ask, numbers: Numbers) -> Any:
    if ask.faults.usage == "null":
        return None
    total = numbers.input + numbers.output
    usage: dict[str, Any] = {"input_tokens": numbers.input, "output_tokens": numbers.output, "total_tokens": total}
    usage["prompt_tokens_details"] = {"cached_tokens": numbers.cached}
    if numbers.reasoning:
        usage["output_tokens_details"] = {"reasoning_tokens": numbers.reasoning}
    return usage


def _vectors(ask: Ask) -> Reply:
    given = ask.body.get("input") or {}
    texts = given.get("texts") or given.get("contents") or [""]
    rows = [{"text_index": index, "embedding": [0.25, -0.5]} for index in range(len(texts))]
    usage = {"total_tokens": ask.numbers.input}
    return json_reply({"output": {"embeddings": rows}, "usage": usage, "request_id": f"req-{ask.id}"})
